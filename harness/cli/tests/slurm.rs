//! A campaign in 16 parts on Slurm: controller, node and munge run on loopback as long as the test does, the script is the one
//! that `recrash ci init slurm` writes, one task is killed while its guest runs, and what is merged is what an undivided
//! campaign gives. Sets up what is missing by itself; Slurm (slurmctld, slurmd, slurm-client) and munge are Debian's.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[path = "slurm/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use cluster::Cluster;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{command, one_at_a_time, qemus_of, scratch, signal, wait_for};

const PARTS: &str = "16";
/// The kernel that crashes in seconds.
const RUN: [&str; 6] = [
    "--target",
    "el8-layout",
    "--attempts",
    PARTS,
    "--capture",
    "qemu",
];
/// The part whose process is killed.
const KILLED: u32 = 3;
/// Boots of 16 guests, two at once, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(600);

fn json(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// Runs it to its end; its stdout.
fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout
}

/// What two campaigns must have in common: everything but times and places.
fn sums(summary: &Value) -> Vec<(&'static str, Value)> {
    let keys = [
        "type",
        "exit",
        "asked_for",
        "done",
        "cut_off",
        "ended",
        "verdicts",
        "as_expected",
        "crashed",
        "intervals_hold",
        "expected",
        "golden",
        "from_snapshot",
    ];
    keys.map(|key| (key, summary[key].clone())).into()
}

/// The summary's lines that tell no times.
fn lines(report: &str) -> Vec<&str> {
    let told = |line: &&str| {
        let words = ["made", "median", "note", "attempt"];
        !line.is_empty() && !words.iter().any(|word| line.trim_start().starts_with(word))
    };
    report.lines().filter(told).collect()
}

/// The submitting script at work.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_campaign_in_parts_of_which_one_is_killed_comes_to_what_an_undivided_one_does() {
    let _guard = one_at_a_time();
    succeed(&mut command(&["setup", "--target", "el8-layout"]));
    let cluster = Cluster::start(&scratch().join("cluster"));

    let script = scratch().join("campaign.sh");
    let mut write = command(&[
        "ci",
        "init",
        "slurm",
        "--parts",
        PARTS,
        "--at-once",
        "2",
        "--out",
    ]);
    succeed(write.arg(&script).arg("--").args(RUN));
    let parts = scratch().join("parts");
    let mut submit = Command::new("bash");
    submit
        .arg(&script)
        .arg("--wait")
        .current_dir(support::checkout())
        .env("RECRASH", env!("CARGO_BIN_EXE_recrash"))
        .env("RECRASH_OUT", &parts)
        .env("CI", "1")
        .stdin(Stdio::null());
    cluster.of(&mut submit);
    let mut at_work = Script(submit.spawn().unwrap());

    let mut killed = None;
    wait_for("a guest of the part that is killed", PATIENCE, || {
        killed = cluster
            .task(KILLED, "recrash")
            .filter(|pid| !qemus_of(*pid).is_empty());
        killed.is_some() || at_work.0.try_wait().unwrap().is_some()
    });
    signal(
        "KILL",
        killed.unwrap_or_else(|| panic!("the script ended first\n{}", cluster.logs())),
    );
    let mut ended = None;
    wait_for("all parts and their merge", PATIENCE, || {
        ended = at_work.0.try_wait().unwrap();
        ended.is_some()
    });
    let log = fs::read_to_string(parts.join(format!("logs/part-{KILLED}.log"))).unwrap_or_default();
    assert!(
        ended.unwrap().success(),
        "{ended:?}\n{log}\n{}",
        cluster.logs()
    );
    assert!(log.contains("exit code 137: made again"), "{log}");
    drop(cluster);

    let merged = json(&parts.join("merged/merged.json"));
    assert_eq!(merged["parts"]["of"], 16, "{merged:#}");
    assert_eq!(
        merged["parts"]["missing"],
        serde_json::json!([]),
        "{merged:#}"
    );
    assert_eq!(
        merged["parts"]["incomplete"],
        serde_json::json!([]),
        "{merged:#}"
    );

    let mut whole = command(&["run", "--json", "--jobs", "2", "--out"]);
    let whole = succeed(whole.arg(scratch().join("whole")).args(RUN));
    let whole: Value = serde_json::from_str(whole.lines().last().unwrap()).unwrap();
    assert_eq!(sums(&merged), sums(&whole));
    assert_eq!(merged["done"], 16);
    assert_eq!(merged["verdicts"]["same-crash"], 16, "{merged:#}");
    let report = fs::read_to_string(whole["report"].as_str().unwrap()).unwrap();
    let of_parts = fs::read_to_string(parts.join("merged/report.txt")).unwrap();
    assert_eq!(lines(&of_parts), lines(&report));

    // Without one part the same merge is no success, and says which part it is.
    let lost = part_file(&parts, 7);
    fs::remove_file(&lost).unwrap();
    let output = command(&["merge", "--json"]).arg(&parts).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("missing: 1 of 16 parts: 7"), "{stderr}");
}

/// The `part.json` of this part.
fn part_file(parts: &Path, number: u32) -> std::path::PathBuf {
    let campaigns = fs::read_dir(parts.join("campaigns")).unwrap().flatten();
    let mut files = campaigns.map(|entry| entry.path().join("part.json"));
    files
        .find(|file| file.is_file() && json(file)["partition"]["number"] == number)
        .unwrap()
}
