//! Many attempts at one question: fresh boots at once, restores of one snapshot, what is refused, what an interrupt
//! leaves. Sets up what is missing by itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#![expect(dead_code, reason = "the helpers serve other test binaries too")]
mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{command, lives, one_at_a_time, qemus_of, run_command, scratch, signal, wait_for};

/// How long a guest may take to start, and a killed one to vanish.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a campaign printed, and how it ended.
struct Campaign {
    code: i32,
    attempts: Vec<Value>,
    summary: Value,
    stderr: String,
}

impl Campaign {
    /// Runs the command to its end.
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let lines = support::json_lines(&output.stdout);
        let of_type = |wanted: &str| {
            let found = lines.iter().filter(|line| line["type"] == wanted);
            found.cloned().collect::<Vec<_>>()
        };
        Self {
            code: output.status.code().unwrap_or(-1),
            attempts: of_type("attempt"),
            summary: of_type("campaign").pop().unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `--attempts N` with these arguments, QEMU saving the memory.
    fn run(name: &str, attempts: &str, args: &[&str]) -> Self {
        let mut command = run_command(name, &["--attempts", attempts, "--capture", "qemu"]);
        Self::of(command.args(args))
    }

    fn text(&self) -> String {
        format!("{:#}\n{:#?}\n{}", self.summary, self.attempts, self.stderr)
    }

    /// Checks the exit code, and how many attempts came to this verdict: all of them.
    fn check(&self, code: i32, verdict: &str, count: usize) {
        assert_eq!(self.code, code, "{}", self.text());
        assert_eq!(self.summary["exit"], code, "{}", self.text());
        assert_eq!(self.attempts.len(), count, "{}", self.text());
        assert_eq!(self.summary["done"], count, "{}", self.text());
        assert_eq!(self.summary["verdicts"][verdict], count, "{}", self.text());
        for attempt in &self.attempts {
            assert_eq!(attempt["verdict"], verdict, "{}", self.text());
        }
    }

    fn runs(&self) -> Vec<PathBuf> {
        let runs = self.attempts.iter().map(|attempt| attempt["run"].as_str());
        runs.map(|run| PathBuf::from(run.unwrap())).collect()
    }

    /// Names of the stages of an attempt's run.
    fn stages(&self, attempt: usize) -> Vec<String> {
        let manifest = json(&self.runs()[attempt].join("manifest.json"));
        let stages = manifest["stages"].as_array().unwrap().iter();
        stages
            .map(|stage| stage["stage"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn json(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn fresh_boots_at_once_are_judged_one_by_one_and_summed_up() {
    let _guard = one_at_a_time();
    let campaign = Campaign::run("fresh", "2", &["--jobs", "2"]);
    campaign.check(0, "same-crash", 2);
    assert_ne!(campaign.runs()[0], campaign.runs()[1]);
    let mut numbers: Vec<_> = campaign.attempts.iter().map(|a| &a["attempt"]).collect();
    numbers.sort_by_key(|number| number.as_u64());
    assert_eq!(numbers, [1, 2]);
    // 2 of 2: the root of 0.025.
    let low = campaign.summary["crashed"]["low"].as_f64().unwrap();
    assert!((low - 0.158_11).abs() < 1e-4, "{low}");
    assert_eq!(campaign.summary["from_snapshot"], false);

    let report = campaign.summary["report"].as_str().unwrap();
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("2 of 2: 1.0000, 95 % interval"), "{report}");
    let folder = PathBuf::from(campaign.summary["path"].as_str().unwrap());
    let kept = json(&folder.join("campaign.json"));
    assert_eq!(kept["summary"]["done"], 2);
    let lines = fs::read_to_string(folder.join("attempts.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2);

    let name = campaign.summary["name"].as_str().unwrap();
    let mut list = command(&["runs", "--json", "--campaign", name, "--out"]);
    let listed = list.arg(scratch().join("fresh")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(r#""attempt":2"#), "{listed}");
}

#[test]
fn attempts_from_a_kept_snapshot_boot_nothing_and_crash_alike() {
    let _guard = one_at_a_time();
    let kept = scratch().join("kept");
    let keep = ["--from-snapshot", "--keep-snapshot", kept.to_str().unwrap()];
    let campaign = Campaign::run("snapshot", "3", &keep);
    campaign.check(0, "same-crash", 3);
    for attempt in 0..3 {
        let stages = campaign.stages(attempt);
        assert!(stages.contains(&"restore".to_owned()), "{stages:?}");
        assert!(!stages.contains(&"boot".to_owned()), "{stages:?}");
    }
    let note = campaign.summary["notes"][0].as_str().unwrap();
    assert!(note.contains("not independent boots"), "{note}");
    assert_eq!(campaign.summary["from_snapshot"], true);
    for file in ["snapshot.json", "memory", "state", "boot/console.log"] {
        assert!(kept.join(file).is_file(), "{file}");
    }

    // Another process uses it.
    let from_kept = format!("--from-snapshot={}", kept.display());
    let again = Campaign::run("snapshot", "1", &[&from_kept]);
    again.check(0, "same-crash", 1);
    // What would be another guest does not.
    let refused = |args: &[&str], why: &str| {
        let other = Campaign::run("snapshot", "1", &[&[&*from_kept][..], args].concat());
        assert_eq!(other.code, 2, "{}", other.text());
        assert!(other.stderr.contains(why), "{}", other.stderr);
    };
    refused(&["--append", "quiet"], "kernel command line: ");
    refused(
        &["--fault", "early-free"],
        "fault: duplicate-dma, now early-free",
    );
    refused(&["--device", "wrong-type"], "USB device: ");
    // Nor is one used that is no longer what it was.
    let memory = fs::File::options()
        .write(true)
        .open(kept.join("memory"))
        .unwrap();
    memory.set_len(1 << 20).unwrap();
    refused(&[], "memory is not what it was");
}

#[test]
fn a_kernel_that_survives_survives_from_a_snapshot_too() {
    let _guard = one_at_a_time();
    let args = ["--fault", "none", "--from-snapshot", "--expect", "no-crash"];
    let campaign = Campaign::run("none", "2", &args);
    campaign.check(0, "no-crash", 2);
    // Without a crash the device must have been asked: that is counted from the restored guest's requests.
    for run in campaign.runs() {
        let evidence = &json(&run.join("manifest.json"))["evidence"];
        assert!(evidence["asked"].as_u64().unwrap() > 0, "{evidence}");
    }
    let folder = campaign.summary["path"].as_str().unwrap();
    let left: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with('.')),
        "the snapshot is gone: {left:?}"
    );
}

#[test]
fn an_interrupt_ends_the_guests_and_the_summary_is_printed_all_the_same() {
    let _guard = one_at_a_time();
    let mut command = run_command("interrupted", &["--attempts", "4", "--jobs", "2"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    wait_for("two guests", PATIENCE, || qemus_of(pid).len() == 2);
    let guests = qemus_of(pid);
    signal("INT", pid);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    wait_for("no guest is left", PATIENCE, || {
        !guests.iter().any(|guest| lives(*guest))
    });
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["type"], "campaign", "{stdout}");
    assert_eq!(summary["ended"], "interrupted", "{stdout}");
    assert_eq!(summary["cut_off"], 2, "{stdout}");
    assert_eq!(summary["done"], 0, "{stdout}");
    assert_eq!(summary["crashed"], Value::Null, "{stdout}");
}

#[test]
fn options_of_many_attempts_need_many_attempts() {
    let check = |args: &[&str], why: &str| {
        let output = command(&[&["run"], args].concat()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    };
    check(&["--jobs", "2"], "--attempts <N>");
    check(&["--from-snapshot"], "--attempts <N>");
    check(&["--attempts", "0"], "0 is not in 1..=");
    let taken = ["--attempts", "1", "--from-snapshot", "--keep-snapshot", "/"];
    check(&taken, "it is there already");
}
