//! Runs `recrash` as a caller would, one boot at a time, and reads what it printed. Knows no verdict.
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Held by every test that boots: two guests on two cores only slow each other down.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder of this test binary, empty at its start; what failed stays there to be looked at.
pub(crate) fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir.canonicalize().unwrap()
    })
}

/// The checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Sets up the default target, once.
pub(crate) fn set_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = command(&["setup"]).output().unwrap();
        assert!(
            output.status.success(),
            "recrash setup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}

/// `recrash` with these arguments, in the checkout.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recrash"));
    command.args(args).current_dir(checkout()).env("CI", "1");
    command
}

/// `recrash run` with JSON output and a folder of its own.
pub(crate) fn run_command(name: &str, args: &[&str]) -> Command {
    set_up();
    let mut command = command(&["run", "--json", "--out"]);
    command.arg(scratch().join(name)).args(args);
    command
}

/// What a command printed, and how it ended.
pub(crate) struct Finished {
    /// Exit code.
    pub(crate) code: i32,
    /// The last object on stdout; null if there is none.
    pub(crate) result: Value,
    /// Stderr.
    pub(crate) stderr: String,
}

/// Runs the command to its end and reads its JSON lines.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        result: json_lines(&output.stdout).pop().unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The objects that a command printed with `--json`, one a line.
pub(crate) fn json_lines(stdout: &[u8]) -> Vec<Value> {
    let stdout = std::str::from_utf8(stdout).unwrap();
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The registers in an analysis, by name.
pub(crate) fn registers(analysis: &Value) -> BTreeMap<String, u64> {
    let rows = analysis["report"]["registers"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let name = row["name"].as_str().unwrap().to_owned();
            (name, row["value"].as_u64().unwrap())
        })
        .collect()
}

impl Finished {
    /// The run's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from(self.result["run"].as_str().unwrap())
    }

    /// For messages of assertions.
    pub(crate) fn text(&self) -> String {
        format!("{:#}\n{}", self.result, self.stderr)
    }

    /// Names of the rules that explain differences.
    pub(crate) fn rules(&self) -> Vec<&str> {
        let explained = self.result["explained"].as_array();
        explained
            .into_iter()
            .flatten()
            .filter_map(|difference| difference["rule"].as_str())
            .collect()
    }

    /// The reports of repro-module of this kind.
    pub(crate) fn reports(&self, kind: &str) -> Vec<Value> {
        let mut found = self.said("module");
        found.retain(|report| report["event"] == kind);
        found
    }

    /// The analysis reads the vmcore alone; repro-module says what it really did: the object that the analysis found must
    /// be the one written to, and the bytes those that lie where the object has its next-free pointer.
    pub(crate) fn proves(&self, analysis: &Value, pointer_offset: usize) {
        let written = self.reports("written").remove(0);
        let note = self.reports("note").remove(0);
        let observed = &analysis["signature"]["corruption"]["observed"]["value"];
        let observed = observed.as_str().unwrap().replace(' ', "");
        let digits = pointer_offset * 2..(pointer_offset + 8) * 2;
        assert_eq!(note["bytes"].as_str().unwrap()[digits], observed);
        let facts = analysis["report"]["corruption"].as_array().unwrap();
        let bytes = facts.iter().find(|fact| fact["name"] == "bytes").unwrap();
        let object = written["at_dma"].as_str().unwrap();
        assert!(
            bytes["proof"].as_str().unwrap().contains(object),
            "{object} in {bytes}"
        );
    }

    /// What a source (`device`, `module`, `guest`, …) said in the run, from its record.
    pub(crate) fn said(&self, source: &str) -> Vec<Value> {
        let file = self.folder().join("events.jsonl");
        fs::read_to_string(file)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|record| record["source"] == source)
            .map(|mut record| record["data"].take())
            .collect()
    }
}

/// A crash by the default fault, made once and looked at by several tests.
pub(crate) fn crashed_run() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| finish(&mut run_command("duplicate-dma", &[])))
}

/// A `recrash run` that is still at work.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it and reads its events until this stage begins.
    pub(crate) fn until_stage(command: &mut Command, stage: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let mut line = String::new();
        while running.stdout.read_line(&mut line).unwrap() > 0 {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == "stage-started" && event["stage"] == stage {
                return running;
            }
            line.clear();
        }
        let _ = running.child.wait();
        panic!("stage {stage} never began");
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads the rest and waits for its end.
    pub(crate) fn end(mut self) -> Finished {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        let result = rest.lines().last().map(serde_json::from_str);
        Finished {
            code: status.code().unwrap_or(-1),
            result: result.transpose().unwrap().unwrap_or(Value::Null),
            stderr: String::new(),
        }
    }
}

/// Pids of the QEMUs that descend from this process.
pub(crate) fn qemus_of(ancestor: u32) -> Vec<u32> {
    let all = processes();
    let parent_of = |pid| all.iter().find(|p| p.0 == pid).map(|p| p.1);
    all.iter()
        .filter(|process| process.2.starts_with("qemu-system"))
        .map(|process| process.0)
        .filter(|pid| {
            let mut at = Some(*pid);
            while let Some(pid) = at.filter(|pid| *pid > 1 && *pid != ancestor) {
                at = parent_of(pid);
            }
            at == Some(ancestor)
        })
        .collect()
}

/// Whether this process still runs (a zombie does not).
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.starts_with(['Z', 'X'])
    })
}

/// Sends a signal by its name (`KILL`, `INT`).
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Waits until it holds, for at most so long.
pub(crate) fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Pid, parent and name of every process.
fn processes() -> Vec<(u32, u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (head, tail) = stat.rsplit_once(") ")?;
            let name = head.split_once('(')?.1.to_owned();
            let parent = tail.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent, name))
        })
        .collect()
}

/// The kernel's lines on a console, `[    0.123456] text`, until a second kernel boots.
pub(crate) fn first_boot(console: &str) -> Vec<&str> {
    const BANNER: &str = "] Linux version ";
    let mut banners = 0;
    console
        .lines()
        .map(str::trim_end)
        .filter(|line| line.starts_with('[') && line.get(13..15) == Some("] "))
        .take_while(|line| {
            banners += u32::from(line.contains(BANNER));
            banners < 2
        })
        .collect()
}

/// What an x86-64 oops on the console says about the context that died.
pub(crate) struct Oops {
    /// General registers with their values as printed.
    pub(crate) registers: Vec<(String, String)>,
    /// The faulting place and the return addresses that the kernel vouches for (no `?`), innermost first, as
    /// `function+0xoffset [module]`.
    pub(crate) frames: Vec<String>,
}

/// The first oops in a console log.
pub(crate) fn oops(console: &str) -> Oops {
    let lines = console.lines().map(|line| {
        let line = line.trim_start();
        let stamped = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        stamped.map_or(line, |(_, text)| text.trim())
    });
    let mut oops = Oops {
        registers: Vec::new(),
        frames: Vec::new(),
    };
    // From the faulting context's RIP to user space's.
    let kernel = lines
        .skip_while(|line| !line.starts_with("RIP: 0010:"))
        .take_while(|line| !line.starts_with("RIP: 0033:"));
    let mut in_trace = false;
    for line in kernel {
        in_trace |= line == "Call Trace:";
        if let Some(place) = line.strip_prefix("RIP: 0010:") {
            oops.frames.push(without_size(place));
        } else if in_trace && line.contains("+0x") && !line.starts_with('?') {
            oops.frames.push(without_size(line));
        } else if !in_trace {
            let words: Vec<&str> = line.split_whitespace().collect();
            let pairs = words.windows(2).filter_map(|pair| match pair {
                [name, value]
                    if name.starts_with('R') && name.ends_with(':') && value.len() == 16 =>
                {
                    Some((name.trim_end_matches(':'), *value))
                }
                _ => None,
            });
            oops.registers.extend(pairs.map(|(name, value)| {
                // R08 and R09 there, r8 and r9 everywhere else.
                (name.replace("R0", "R"), value.to_owned())
            }));
        }
    }
    oops
}

/// `function+0x1b6/0xba0 [module]` without the size behind the slash.
fn without_size(place: &str) -> String {
    let (head, tail) = place.split_once('/').unwrap_or((place, ""));
    match tail.split_once(' ') {
        Some((_, module)) => format!("{head} {module}"),
        None => head.to_owned(),
    }
}
