//! Parts of matrices and what `recrash run --partition` and `recrash merge` refuse. A campaign in parts is on Slurm, in
//! `slurm.rs`. Sets up what is missing by itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{finish, one_at_a_time, scratch};

/// What tells recrash which part this is, or that it runs in an engine's job: what runs the tests may be one.
const OF_ENGINES: [&str; 13] = [
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
    "GITHUB_ACTIONS",
    "GITHUB_BASE_REF",
    "GITHUB_STEP_SUMMARY",
    "HQ_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "RECRASH_PARTITIONS",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
];

/// `recrash` with these arguments, in no engine's job.
fn command(args: &[&str]) -> Command {
    let mut command = support::command(args);
    for name in OF_ENGINES {
        command.env_remove(name);
    }
    command
}

/// Two combinations of which one crashes, on the kernel that does it in seconds.
const MATRIX: [&str; 6] = [
    "--target",
    "el8-layout",
    "--fault",
    "duplicate-dma,none",
    "--capture",
    "qemu",
];

/// The exit code, and stdout's JSON lines.
fn lines(command: &mut Command) -> (i32, Vec<Value>) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    (output.status.code().unwrap_or(-1), lines.collect())
}

/// What counts of a matrix's lines: not the times, the places and what only one of the two has.
fn counting(lines: &[Value]) -> Vec<Value> {
    let mut lines = lines.to_vec();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for key in ["took_ms", "run", "table", "parts", "started"] {
            line.remove(key);
        }
    }
    lines
}

#[test]
fn a_matrix_in_parts_comes_to_what_an_undivided_one_does() {
    let _guard = one_at_a_time();
    let output = command(&["setup", "--target", "el8-layout"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let run = |name: &str, args: &[&str]| {
        let mut command = command(&["run", "--json", "--out"]);
        lines(command.arg(scratch().join(name)).args(MATRIX).args(args))
    };
    let (code, whole) = run("whole", &[]);
    assert_eq!((code, whole.len()), (0, 3), "{whole:#?}");
    for part in ["1/2", "2/2"] {
        let (code, lines) = run(&format!("parts/{part}"), &["--partition", part]);
        assert_eq!((code, lines.len()), (0, 2), "{lines:#?}");
        assert_eq!(lines[1]["partition"]["of"], 2, "{lines:#?}");
    }
    let merged = scratch().join("merged");
    let mut merge = command(&["merge", "--json", "--out"]);
    let (code, together) = lines(merge.arg(&merged).arg(scratch().join("parts")));
    assert_eq!(code, 0, "{together:#?}");
    assert_eq!(counting(&together), counting(&whole));
    for file in [
        "matrix.md",
        "matrix.jsonl",
        "report.txt",
        "report.json",
        "report.html",
        "merged.json",
    ] {
        assert!(merged.join(file).is_file(), "{file}");
    }

    // One alone shows what it has and is no success; and a folder that holds something else is not written into.
    let alone = lines(command(&["merge", "--json"]).arg(scratch().join("parts/1")));
    assert_eq!(alone.0, 4, "{alone:#?}");
    assert_eq!(
        alone.1[2]["parts"]["missing"],
        serde_json::json!([2]),
        "{alone:#?}"
    );
    assert_eq!(alone.1[1]["state"], "not-run", "{alone:#?}");
    let mut into = command(&["merge", "--out"]);
    refused(
        into.arg(scratch().join("whole"))
            .arg(scratch().join("parts")),
        "it holds other files",
    );
    // What is not recrash's is told by its file.
    let other = scratch().join("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("part.json"), "{}").unwrap();
    refused(
        command(&["merge"]).arg(&other),
        "other/part.json: no part.json of recrash",
    );
}

/// The command ends with 2 and says this.
fn refused(command: &mut Command, expected: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn what_cannot_be_cut_is_refused_before_anything_boots() {
    let run = |args: &[&str]| command(&[&["run"], args].concat());
    refused(&mut run(&["--partition", "1/2"]), "this is one run");
    refused(
        &mut run(&["--partition", "3/2", "--attempts", "4"]),
        "there is no part 3 of 2",
    );
    refused(
        &mut run(&["--partition", "auto/2", "--attempts", "4"]),
        "none of SLURM_ARRAY_TASK_ID",
    );
    let mut kubernetes = run(&["--partition", "auto/2", "--attempts", "4"]);
    refused(
        kubernetes.env("JOB_COMPLETION_INDEX", "2"),
        "JOB_COMPLETION_INDEX is 2",
    );
    let stops = [
        "--partition",
        "1/2",
        "--attempts",
        "4",
        "--stop-at-first",
        "crash",
    ];
    refused(&mut run(&stops), "--stop-at-first");
    refused(&mut command(&["merge", "/no/such/place"]), "/no/such/place");
}

/// `--dry-run` boots nothing; the engine's variable says which part.
#[test]
fn each_combination_is_in_one_part_and_impossible_ones_are_in_none() {
    let plan = |index: Option<u32>| {
        let args = [
            "run",
            "--dry-run",
            "--json",
            "--controller",
            "all",
            "--fault",
            "all",
            "--speed",
            "all",
        ];
        let mut command = command(&args);
        if let Some(index) = index {
            command
                .args(["--partition", "hash:auto/3"])
                .env("JOB_COMPLETION_INDEX", index.to_string());
        }
        let (code, lines) = lines(&mut command);
        assert_eq!(code, 0, "{lines:#?}");
        let planned = lines.into_iter().filter(|line| line["state"] == "planned");
        planned.map(|line| line.to_string()).collect::<Vec<_>>()
    };
    let mut whole = plan(None);
    let mut parts: Vec<String> = (0..3).flat_map(|index| plan(Some(index))).collect();
    assert!(whole.len() > 10, "{whole:?}");
    whole.sort();
    parts.sort();
    assert_eq!(parts, whole);
}

#[test]
fn ci_init_writes_where_the_engine_looks_and_replaces_nothing_by_itself() {
    let folder = scratch().join("repository");
    fs::create_dir_all(&folder).unwrap();
    let init = |args: &[&str]| {
        let mut command = command(&[&["ci", "init"], args].concat());
        command.current_dir(&folder);
        command
    };
    refused(&mut init(&["github"]), "no recrash checkout");
    refused(&mut init(&["kubernetes"]), "--image is missing");
    refused(
        &mut init(&["kubernetes", "--image", "x y"]),
        "no name of an image",
    );
    refused(
        &mut init(&["slurm", "--install", "true"]),
        "RECRASH names it",
    );
    refused(
        &mut init(&["slurm", "--", "--fault", "none"]),
        "one run, which has no parts",
    );
    refused(&mut init(&["slurm", "--", "--no-such"]), "--no-such");
    let written = finish_text(&mut init(&["github", "--install", "true"]));
    assert!(
        written.contains("written: .github/workflows/recrash.yml"),
        "{written}"
    );
    refused(
        &mut init(&["github", "--install", "true"]),
        "is there already",
    );
    finish_text(&mut init(&[
        "github",
        "--install",
        "true",
        "--force",
        "--parts",
        "2",
    ]));
    let text = fs::read_to_string(folder.join(".github/workflows/recrash.yml")).unwrap();
    // The file says which command writes it again.
    let line = text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("# Written by: ")
        .unwrap();
    assert_eq!(
        line,
        "recrash ci init github --parts 2 --install true -- --target all"
    );
    let printed = finish_text(&mut init(&["gitlab", "--out", "-", "--install", "true"]));
    assert!(
        printed.contains("parallel: 4") && !Path::new("-").exists(),
        "{printed}"
    );
}

/// Stdout and stderr of a command that succeeds.
fn finish_text(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

/// A part of nothing is no failure: a hash may leave one empty.
#[test]
fn a_part_without_runs_boots_nothing_and_is_met() {
    let _guard = one_at_a_time();
    let output = command(&["setup", "--target", "el8-layout"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut run = command(&[
        "run",
        "--json",
        "--target",
        "el8-layout",
        "--attempts",
        "1",
        "--partition",
        "2/2",
        "--out",
    ]);
    let run = finish(run.arg(scratch().join("empty")));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(
        (&run.result["asked_for"], &run.result["done"]),
        (&0.into(), &0.into()),
        "{}",
        run.text()
    );
}
