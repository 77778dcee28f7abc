//! QEMU's process: started with inherited sockets, and always reaped. It dies when it is dropped, and when
//! the harness dies, however that happens. Knows nothing of QEMU's arguments.
use rustix::io::FdFlags;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// What to start.
#[derive(Debug)]
pub struct Launch {
    /// The program, looked up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Where its stdout and stderr go.
    pub log: File,
    /// Descriptors it gets under the numbers they have here. The parent's copies are closed once it runs,
    /// so that its death is the end of the file for the other ends.
    pub inherit: Vec<OwnedFd>,
}

/// A running child in a process group of its own (a terminal's ^C reaches the harness, not QEMU).
#[derive(Debug)]
pub struct Process {
    handle: Arc<duct::Handle>,
    waiter: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the program. `on_exit` is called once, on another thread, when it has been reaped.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(
        launch: Launch,
        on_exit: impl FnOnce(io::Result<ExitStatus>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        // PR_SET_PDEATHSIG is sent when the *thread* that forked ends, so that thread stays until the
        // child is gone.
        let waiter = std::thread::Builder::new()
            .name("qemu".into())
            .spawn(move || match spawn(launch) {
                Err(error) => drop(sender.send(Err(error))),
                Ok(handle) => {
                    let handle = Arc::new(handle);
                    if sender.send(Ok(Arc::clone(&handle))).is_err() {
                        let _ = handle.kill();
                    }
                    on_exit(handle.wait().map(|output| output.status));
                }
            })?;
        let handle = receiver
            .recv()
            .map_err(|_| io::Error::other("the thread that starts QEMU has died"))??;
        Ok(Self {
            handle,
            waiter: Some(waiter),
        })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.handle.pids().first().copied()
    }

    /// Kills it (SIGKILL) and waits until it is reaped. Does nothing to a child that has ended.
    pub fn kill(&mut self) {
        let _ = self.handle.kill();
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(launch: Launch) -> io::Result<duct::Handle> {
    let fds: Vec<RawFd> = launch.inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let handle = duct::cmd(&launch.program, &launch.args)
        .dir(&launch.cwd)
        .stdin_null()
        .stdout_file(launch.log.try_clone()?)
        .stderr_file(launch.log)
        .unchecked()
        .before_spawn(move |command| {
            tie_to_parent(command, fds.clone());
            Ok(())
        })
        .start()?;
    drop(launch.inherit);
    Ok(handle)
}

/// Between fork and exec: a process group of its own, death with the parent, and the inherited sockets.
#[expect(
    unsafe_code,
    reason = "a hook between fork and exec has no safe interface"
)]
fn tie_to_parent(command: &mut Command, fds: Vec<RawFd>) {
    let parent = rustix::process::getpid();
    command.process_group(0);
    // SAFETY: the hook only makes system calls (prctl, getppid, fcntl), allocates nothing on its way, and
    // the descriptors are open: `spawn` owns them until the child has been started.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above; then nobody would tell us.
            if rustix::process::getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            for &fd in &fds {
                let fd = BorrowedFd::borrow_raw(fd);
                rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
            }
            Ok(())
        });
    }
}

/// How a child ended, for people.
#[must_use]
pub fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    fn launch(program: &str, args: &[&str], inherit: Vec<OwnedFd>) -> Launch {
        Launch {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            cwd: "/".into(),
            log: tempfile::tempfile().unwrap(),
            inherit,
        }
    }

    fn gone(pid: u32) -> bool {
        !Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_dropped_process_is_reaped() {
        let process = Process::start(launch("sleep", &["1000"], vec![]), |_| {}).unwrap();
        let pid = process.pid().unwrap();
        assert!(!gone(pid));
        drop(process);
        assert!(gone(pid));
    }

    #[test]
    fn a_panic_reaps_too() {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let process = Process::start(launch("sleep", &["1000"], vec![]), |_| {}).unwrap();
            sender.send(process.pid().unwrap()).unwrap();
            panic!("as a bug would");
        });
        assert!(thread.join().is_err());
        assert!(gone(receiver.recv().unwrap()));
    }

    #[test]
    fn the_exit_is_reported() {
        let (sender, receiver) = mpsc::channel();
        let _process = Process::start(launch("sh", &["-c", "exit 7"], vec![]), move |status| {
            sender.send(describe_exit(status.unwrap())).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv().unwrap(), "exited with code 7");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = Process::start(launch("/nonexistent/qemu", &[], vec![]), |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_inherited_socket_has_the_same_number_and_ends_with_the_child() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        let script = format!("head -c 5 <&{0} >&{0}", theirs.as_raw_fd());
        let _process =
            Process::start(launch("bash", &["-c", &script], vec![theirs]), |_| {}).unwrap();
        ours.write_all(b"hello").unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello");
    }

    #[test]
    fn the_child_leads_a_process_group_of_its_own() {
        let process = Process::start(launch("sleep", &["1000"], vec![]), |_| {}).unwrap();
        let pid = process.pid().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
        assert_eq!(group, pid.to_string());
    }
}
