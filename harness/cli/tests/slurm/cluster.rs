//! A Slurm of one node on loopback: munge, controller and node with a configuration, keys, ports and folders of their own.
//! All of it ends with the value, however the test ends. Knows nothing of recrash.
use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{lives, signal, wait_for};

/// How long a daemon may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster at work.
pub(crate) struct Cluster {
    folder: PathBuf,
    daemons: Vec<Child>,
    /// munge's socket: a socket's path may have a hundred bytes, which a checkout's own may use up.
    _socket: tempfile::TempDir,
}

impl Cluster {
    /// Starts it; what it writes lies in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        for (program, package) in [
            ("munged", "munge"),
            ("slurmctld", "slurmctld"),
            ("slurmd", "slurmd"),
            ("sbatch", "slurm-client"),
        ] {
            assert!(
                find(program).is_some(),
                "{program} is not there: apt-get install {package} (cargo verify installs it)"
            );
        }
        let socket_folder = tempfile::tempdir().unwrap();
        // Everybody may ask munge.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(socket_folder.path(), open).unwrap();
        let socket = socket_folder.path().join("munge");
        for name in ["state", "spool"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        // The owner may read it and nobody else, or munged refuses it.
        let key = folder.join("key");
        let mut random = vec![0; 1024];
        File::open("/dev/urandom")
            .unwrap()
            .read_exact(&mut random)
            .unwrap();
        fs::write(&key, random).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        fs::set_permissions(&key, private).unwrap();
        fs::write(folder.join("slurm.conf"), configuration(folder, &socket)).unwrap();
        // Nothing of cgroups is used: in a container they are not ours to change.
        fs::write(folder.join("cgroup.conf"), without_cgroups()).unwrap();

        let mut cluster = Self {
            folder: folder.to_owned(),
            daemons: Vec::new(),
            _socket: socket_folder,
        };
        let at = |name: &str| folder.join(name).display().to_string();
        let munged = [
            "--foreground".into(),
            format!("--key-file={}", at("key")),
            format!("--socket={}", socket.display()),
            format!("--pid-file={}", at("munge.pid")),
            format!("--log-file={}", at("munge.log")),
            format!("--seed-file={}", at("munge.seed")),
            // The temporary folder may belong to another user.
            "--force".into(),
        ];
        cluster.daemon("munged", &munged);
        wait_for("munge's socket", PATIENCE, || socket.exists());
        cluster.daemon("slurmctld", &["-D".into(), "-f".into(), at("slurm.conf")]);
        cluster.daemon("slurmd", &["-D".into(), "-f".into(), at("slurm.conf")]);
        let begin = Instant::now();
        while !cluster
            .asks("sinfo", &["--noheader", "--format=%T"])
            .contains("idle")
        {
            assert!(
                begin.elapsed() < PATIENCE,
                "no node is idle\n{}",
                cluster.logs()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        cluster
    }

    fn daemon(&mut self, program: &str, args: &[String]) {
        let out = File::create(self.folder.join(format!("{program}.out"))).unwrap();
        let mut command = Command::new(find(program).unwrap());
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        self.of(&mut command);
        self.daemons.push(command.spawn().unwrap());
    }

    /// Lets the command talk to this Slurm and no other.
    pub(crate) fn of(&self, command: &mut Command) {
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
    }

    fn asks(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        self.of(command.args(args));
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The process of this name in the array's task.
    pub(crate) fn task(&self, number: u32, name: &str) -> Option<u32> {
        let task = format!("SLURM_ARRAY_TASK_ID={number}");
        let all = self.processes().into_iter();
        let mut of_task = all.filter(|(_, environment)| environment.contains(&task));
        of_task
            .find(|(pid, _)| {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
                comm.is_ok_and(|comm| comm.trim_end() == name)
            })
            .map(|(pid, _)| pid)
    }

    /// All processes that were told of this Slurm, with their environments.
    fn processes(&self) -> Vec<(u32, Vec<String>)> {
        let mark = format!("SLURM_CONF={}", self.folder.join("slurm.conf").display());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let bytes = fs::read(entry.path().join("environ")).ok()?;
                let environment = bytes.split(|byte| *byte == 0);
                let environment: Vec<String> = environment
                    .map(|one| String::from_utf8_lossy(one).into_owned())
                    .collect();
                environment.contains(&mark).then_some((pid, environment))
            })
            .collect()
    }

    /// What its daemons and the queue say, for messages of assertions.
    pub(crate) fn logs(&self) -> String {
        let mut text = self.asks("squeue", &[]);
        for name in ["munged.out", "slurmctld.out", "slurmd.out"] {
            let log = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines
                .get(lines.len().saturating_sub(20)..)
                .unwrap_or_default();
            text += &format!("{name}:\n{}\n", last.join("\n"));
        }
        text
    }
}

impl Drop for Cluster {
    /// Ends the jobs, the daemons and whatever else was told of this Slurm; each by its number.
    fn drop(&mut self) {
        self.asks("scancel", &[&format!("--user={}", user())]);
        for daemon in self.daemons.iter_mut().rev() {
            end(daemon);
        }
        for (pid, _) in self.processes() {
            if pid != std::process::id() && lives(pid) {
                signal("KILL", pid);
            }
        }
    }
}

/// Asks the daemon to end, and ends it if it does not.
fn end(daemon: &mut Child) {
    let pid = daemon.id();
    if daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
        signal("TERM", pid);
    }
    let begin = Instant::now();
    while daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
        if begin.elapsed() > Duration::from_secs(10) {
            let _ = daemon.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where a program is; daemons lie where only root's path leads.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut files = folders.map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}

/// The `cgroup.conf` by which this Slurm leaves cgroups alone.
fn without_cgroups() -> &'static str {
    let output = Command::new(find("slurmd").unwrap())
        .arg("-V")
        .output()
        .unwrap();
    // `slurm-wlm 22.05.8`, `slurm 24.05.2`.
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().last().unwrap_or_default();
    let mut numbers = version.split('.').map_while(|one| one.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // Before, there was no `disabled`; after, no CgroupAutomount.
    match version >= (23, 11) {
        true => "CgroupPlugin=disabled\n",
        false => "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n",
    }
}

/// Who runs this: Slurm's own user, and the only one whose jobs it runs.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn configuration(folder: &Path, socket: &Path) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    // Slurm takes the name up to the first dot.
    let host = host.trim().split('.').next().unwrap().to_owned();
    let (controller, node) = (free_port(), free_port());
    let (folder, socket, user) = (folder.display(), socket.display(), user());
    format!(
        "\
ClusterName=recrash
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A task that is requeued waits until its old credential has expired.
AuthInfo=socket={socket},cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"
    )
}
