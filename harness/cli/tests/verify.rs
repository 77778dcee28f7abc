//! Whether a fix is one, on pairs whose answer is known; kernels bisected by their behaviour; what `git bisect run` is
//! told. On `el8-layout`, whose runs take seconds. Sets up what is missing by itself.
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
use std::sync::OnceLock;
use support::{checkout, command, finish, one_at_a_time, scratch};

const TARGET: &str = "el8-layout";

fn set_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = command(&["setup", "--target", TARGET]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "recrash setup: {said}");
    });
}

/// What a comparison or a bisection printed, and how it ended.
struct Found {
    code: i32,
    runs: Vec<Value>,
    kernels: Vec<Value>,
    last: Value,
    stderr: String,
}

impl Found {
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        let of_type = |wanted: &str| {
            let found = lines.iter().filter(|line| line["type"] == wanted);
            found.cloned().collect::<Vec<_>>()
        };
        Self {
            code: output.status.code().unwrap_or(-1),
            runs: of_type("run"),
            kernels: of_type("kernel"),
            last: lines.last().cloned().unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `recrash verify` on the target, QEMU saving the memory.
    fn verify(name: &str, candidate: &str, args: &[&str]) -> Self {
        set_up();
        let mut command = command(&["verify", "--json", "--target", TARGET, "--capture", "qemu"]);
        command.args(["--seed", "7", "--candidate", candidate, "--out"]);
        Self::of(command.arg(scratch().join(name)).args(args))
    }

    fn text(&self) -> String {
        format!("{:#}\n{:#?}\n{}", self.last, self.runs, self.stderr)
    }

    fn check(&self, code: i32, verdict: &str) {
        assert_eq!(self.last["type"], "verify", "{}", self.text());
        assert_eq!(self.last["verdict"], verdict, "{}", self.text());
        assert_eq!(self.code, code, "{}", self.text());
    }

    fn count(&self, side: &str, what: &str) -> u64 {
        let count = &self.last[side][what];
        count.as_u64().unwrap_or_else(|| panic!("{}", self.text()))
    }

    fn why(&self) -> &str {
        self.last["why"].as_str().unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.last["path"].as_str().unwrap().into()
    }

    fn report(&self) -> String {
        fs::read_to_string(self.last["report"].as_str().unwrap()).unwrap()
    }
}

fn json(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn a_driver_that_cancels_before_it_frees_is_a_fix() {
    let _guard = one_at_a_time();
    let fault = ["--fault", "early-free"];
    let found = Found::verify("driver", "fault=early-free-fixed", &fault);
    found.check(0, "fixed");
    assert_eq!(found.last["exit"], 0);
    // Four pairs are enough where the baseline always crashes; a run that failed costs its pair.
    let pairs = found.last["pairs_counted"].as_u64().unwrap();
    assert_eq!(pairs, 4, "{}", found.text());
    assert!(found.last["luck"].as_f64().unwrap() <= 0.01);
    assert_eq!(found.count("candidate", "bug"), 0);
    assert_eq!(
        found.count("candidate", "no_crash"),
        found.last["silence"]["runs"].as_u64().unwrap()
    );
    // 4 of 4: the fourth root of 0.025.
    let low = found.last["baseline"]["rate"]["low"].as_f64().unwrap();
    assert!((low - 0.397_64).abs() < 1e-4, "{low}");
    assert_eq!(found.last["difference"]["key"], "fault");
    assert_eq!(found.last["difference"]["identical"], false);
    for run in &found.runs {
        let fault = &json(&Path::new(run["run"].as_str().unwrap()).join("manifest.json"))["fault"];
        let expected = match run["side"].as_str() {
            Some("baseline") => "early-free",
            _ => "early-free-fixed",
        };
        assert_eq!(fault, expected, "{run:#}");
    }

    let kept = json(&found.folder().join("verify.json"));
    assert_eq!(kept["summary"]["verdict"], "fixed");
    assert!(found.report().contains("fixed: the baseline shows the bug"));
    assert_eq!(json(&found.folder().join("report.json"))["kind"], "verify");
    assert!(found.folder().join("report.html").is_file());
    let name = found.last["name"].as_str().unwrap();
    let mut list = command(&["runs", "--json", "--campaign", name, "--out"]);
    let listed = list.arg(scratch().join("driver")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), found.runs.len(), "{listed}");
}

#[test]
fn a_command_line_that_keeps_the_write_away_is_a_fix_and_good_to_git() {
    let _guard = one_at_a_time();
    let args = ["--git-bisect", "--jobs", "2", "--confidence", "0.95"];
    let found = Found::verify("swiotlb", "append=swiotlb=force", &args);
    found.check(0, "fixed");
    assert!(found.count("baseline", "bug") >= 3, "{}", found.text());
}

#[test]
fn a_device_that_never_connects_proves_nothing() {
    let _guard = one_at_a_time();
    let found = Found::verify("device", "device=never-connects", &["--git-bisect"]);
    found.check(125, "inconclusive");
    assert_eq!(found.last["exit"], 4);
    assert_eq!(
        found.count("candidate", "says_nothing"),
        3,
        "{}",
        found.text()
    );
    assert_eq!(found.count("candidate", "runs"), 3, "{}", found.text());
    assert!(
        found
            .why()
            .contains("3 of 3 runs of the candidate say nothing")
    );
    assert!(
        found.why().contains("gave up on the USB device"),
        "{}",
        found.why()
    );
}

#[test]
fn another_crash_in_its_place_is_a_change_and_is_shown() {
    let _guard = one_at_a_time();
    let found = Found::verify("other", "device=wrong-type", &["--expect", "changed"]);
    found.check(0, "changed");
    assert!(
        found.count("candidate", "other_crash") >= 4,
        "{}",
        found.text()
    );
    let other = &found.last["other_crash"];
    assert!(
        other["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty())
    );
    let report = found.report();
    assert!(report.contains("Side by side"), "{report}");
    assert!(report.contains("corruption."), "{report}");
}

#[test]
fn sides_that_are_the_same_are_no_fix() {
    let _guard = one_at_a_time();
    let found = Found::verify("same", "fault=duplicate-dma", &[]);
    found.check(1, "not-fixed");
    assert_eq!(found.last["difference"]["identical"], true);
    assert_eq!(found.last["pairs"], 1, "{}", found.text());
    assert!(
        found.why().ends_with("so does the baseline"),
        "{}",
        found.why()
    );
    assert!(found.report().contains("a check of the comparison itself"));
}

/// The exit codes of `git bisect run` where nothing is run: an error must make no commit a bad one.
#[test]
fn an_error_makes_git_bisect_give_up() {
    let check = |args: &[&str], code: i32, why: &str| {
        let output = command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    };
    check(&["run", "--target", "nosuch"], 2, "nosuch");
    check(
        &["run", "--git-bisect", "--target", "nosuch"],
        128,
        "nosuch",
    );
    check(&["run", "--git-bisect", "--nosuch"], 128, "--nosuch");
    check(
        &["run", "--git-bisect", "--expect", "crash"],
        128,
        "--expect",
    );
    check(&["run", "--git-bisect", "--fault", "all"], 128, "a matrix");
    check(
        &[
            "run",
            "--git-bisect",
            "--qemu",
            "/nosuch",
            "--target",
            TARGET,
        ],
        128,
        "",
    );
    check(&["verify", "--git-bisect"], 128, "--candidate");
    check(
        &["verify", "--git-bisect", "--candidate", "speed=high"],
        128,
        "there is no \"speed\" to change",
    );
    check(&["verify", "--candidate", "fault=nosuch"], 2, "nosuch");
    check(
        &["verify", "--candidate", "fault=none", "--capture", "all"],
        2,
        "not a list",
    );
    check(&["bisect", TARGET], 2, "2 values required");
    check(&["bisect", TARGET, TARGET], 2, "in the list twice");
}

#[test]
fn a_program_that_is_no_qemu_is_refused_before_anything_boots() {
    set_up();
    let out = scratch().join("no-qemu");
    let mut run = command(&["run", "--target", TARGET, "--qemu", "/bin/true", "--out"]);
    let output = run.arg(&out).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("/bin/true is no QEMU"), "{stderr}");
    assert!(!out.exists(), "nothing was run");
}

/// Kernels of the user's own that are el8-layout, one of them with another command line from some point on.
fn add_kernels(data: &Path, names: &[(&str, &str)]) {
    set_up();
    let shown = finish(&mut command(&["target", "show", TARGET, "--json"])).result;
    let text = |key: &str| shown[key].as_str().unwrap();
    let root = Path::new(text("debug-dir")).ancestors().nth(3).unwrap();
    for (name, append) in names {
        let mut add = command(&["target", "add", name, "--json", "--from", TARGET]);
        add.args([
            "--host",
            text("kernel-release"),
            "--module",
            text("module-ko"),
        ]);
        add.arg("--root").arg(root).env("RECRASH_DATA", data);
        let added = finish(&mut add);
        assert_eq!(added.code, 0, "{}", added.text());
        let file = data.join("targets").join(name).join("target.toml");
        let toml = fs::read_to_string(&file).unwrap();
        let changed = toml.replacen("oops=panic", &format!("oops=panic {append}"), 1);
        assert!(append.is_empty() || changed != toml, "{toml}");
        fs::write(&file, changed).unwrap();
    }
}

#[test]
fn the_kernel_with_which_the_bug_went_is_found() {
    let _guard = one_at_a_time();
    let data = scratch().join("kernels");
    let kernels = [("k1", ""), ("k2", ""), ("k3", "swiotlb=force")];
    add_kernels(&data, &kernels);
    let mut bisect = command(&["bisect", "--json", "--targets", "k1,k2,k3"]);
    bisect.args([
        "--capture",
        "qemu",
        "--attempts",
        "4",
        "--confidence",
        "0.95",
        "--out",
    ]);
    bisect
        .arg(scratch().join("bisect"))
        .env("RECRASH_DATA", &data);
    let found = Found::of(&mut bisect);
    assert_eq!(found.code, 0, "{}", found.text());
    assert_eq!(found.last["type"], "bisect", "{}", found.text());
    assert_eq!(found.last["answer"], "found", "{}", found.text());
    assert_eq!(found.last["found"], serde_json::json!(["k3"]));
    assert_eq!(found.last["change"], "gone");
    let is: Vec<_> = found.kernels.iter().map(|kernel| &kernel["is"]).collect();
    assert_eq!(
        is,
        ["has-the-bug", "silent", "has-the-bug"],
        "{}",
        found.text()
    );
    assert!(found.report().contains("→ k3"), "{}", found.report());
}

/// A repository in whose third commit the bug came back, and git's own search for it.
#[test]
fn git_bisect_run_finds_the_commit() {
    let _guard = one_at_a_time();
    set_up();
    let repository = scratch().join("repository");
    fs::create_dir_all(&repository).unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
        git.args(identity).args(args).current_dir(&repository);
        git.env("RECRASH_ROOT", checkout().canonicalize().unwrap());
        let output = git.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {stdout}{stderr}");
        stdout
    };
    git(&["init", "--quiet"]);
    let words = [
        "swiotlb=force",
        "swiotlb=force quiet",
        "quiet",
        "quiet nosmt",
    ];
    for words in words {
        fs::write(repository.join("words"), words).unwrap();
        git(&["add", "words"]);
        git(&["commit", "--quiet", "-m", words]);
    }
    git(&["bisect", "start", "HEAD", "HEAD~3"]);
    let line = format!(
        "{} run --git-bisect --target {TARGET} --capture qemu --out {} --append \"$(cat words)\"",
        env!("CARGO_BIN_EXE_recrash"),
        scratch().join("commits").display()
    );
    let said = git(&["bisect", "run", "sh", "-c", &line]);
    assert!(said.contains("is the first bad commit"), "{said}");
    assert_eq!(
        git(&["log", "-1", "--format=%s", "refs/bisect/bad"]),
        "quiet\n"
    );
}
