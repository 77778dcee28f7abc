//! Runs a command and measures it: wall time, processor time, peak memory. Knows no peer.
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command line with a name.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where it keeps what it worked out.
    cache: Option<PathBuf>,
    /// What it reads from standard input.
    pub(crate) input: String,
    /// A folder that is emptied before each run.
    pub(crate) forgets: Option<PathBuf>,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Of all its threads, in user and kernel mode.
    pub(crate) cpu_seconds: f64,
    /// Largest resident set.
    pub(crate) mib: f64,
    pub(crate) succeeded: bool,
}

/// Several runs.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) name: String,
    /// Median wall time.
    pub(crate) seconds: f64,
    /// Shortest wall time.
    pub(crate) least: f64,
    pub(crate) cpu_seconds: f64,
    /// Largest of all.
    pub(crate) mib: f64,
    pub(crate) failed: bool,
}

impl Contender {
    pub(crate) fn program(program: &Path) -> Self {
        Self {
            name: String::new(),
            program: program.into(),
            arguments: Vec::new(),
            cache: None,
            input: String::new(),
            forgets: None,
        }
    }

    /// The command that is measured, with a cache folder of its own.
    pub(crate) fn recrash(cache: &Path) -> Self {
        Self {
            cache: Some(cache.into()),
            ..Self::program(Path::new(env!("CARGO_BIN_EXE_recrash")))
        }
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs it to its end. Its output goes to a file, as a pipe would make it wait for us.
    pub(crate) fn run(&self) -> Sample {
        if let Some(folder) = &self.forgets {
            let _ = std::fs::remove_dir_all(folder);
        }
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(cache) = &self.cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        let begin = Instant::now();
        let mut child = command.spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(self.input.as_bytes());
        }
        let (status, usage) = wait(child.id());
        Sample {
            seconds: begin.elapsed().as_secs_f64(),
            cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            mib: usage.ru_maxrss as f64 / 1024.0,
            succeeded: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        }
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// Reaps the child, with what it used.
#[expect(
    unsafe_code,
    reason = "the standard library's wait does not tell the child's peak memory"
)]
fn wait(pid: u32) -> (i32, libc::rusage) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid rusage, which is plain integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the right types; the child is ours and not yet reaped.
    let reaped = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(reaped, pid, "{}", std::io::Error::last_os_error());
    (status, usage)
}

impl Summary {
    pub(crate) fn of(name: &str, samples: &[Sample]) -> Self {
        let all = |field: fn(&Sample) -> f64| samples.iter().map(field).collect::<Vec<f64>>();
        Self {
            name: name.into(),
            seconds: median(&all(|sample| sample.seconds)),
            least: all(|sample| sample.seconds)
                .into_iter()
                .fold(f64::MAX, f64::min),
            cpu_seconds: median(&all(|sample| sample.cpu_seconds)),
            mib: all(|sample| sample.mib).into_iter().fold(0.0, f64::max),
            failed: !samples.iter().all(|sample| sample.succeeded),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What the variable names, else the program on the path; says so where there is none.
pub(crate) fn find(variable: &str, program: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        println!("{program} is not installed ({variable} may name it): not measured");
    }
    found
}

/// Whether `inspect` takes `--vmlinux`.
pub(crate) fn knows_vmlinux() -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_recrash"))
        .args(["inspect", "--help"])
        .output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--vmlinux"))
}
