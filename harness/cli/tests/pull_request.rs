//! A pull request that breaks a golden, played through with the commands of the workflow that `recrash ci init github` writes:
//! the repository, its clone and its branch are made here, `run:` steps are taken from the workflow's YAML, and what its actions
//! do (checkout, artifacts) is done by hand. Sets up what is missing by itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{checkout, command, one_at_a_time, scratch};

const GOLDEN: &str = "golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap";
/// What the machine's own set-up is in the workflow, and is there already.
const GIVEN: [&str; 2] = ["packages", "recrash"];

/// A clone of a repository with goldens and configurations, on a branch.
struct Clone {
    folder: PathBuf,
    home: PathBuf,
}

/// How a step ended, and what it said.
struct Step {
    code: i32,
    said: String,
    summary: String,
}

impl Clone {
    fn new() -> Self {
        let home = scratch().join("home");
        let origin = scratch().join("origin");
        let this = Self {
            folder: scratch().join("work"),
            home,
        };
        fs::create_dir_all(&this.home).unwrap();
        fs::create_dir_all(&origin).unwrap();
        for folder in ["golden", "qemu", "repro-module"] {
            let from = checkout().join(folder);
            succeed(Command::new("cp").arg("-a").arg(from).arg(&origin));
        }
        this.git(&origin, &["init", "--quiet", "--initial-branch=main"]);
        let mut write = command(&[
            "ci",
            "init",
            "github",
            "--parts",
            "2",
            "--install",
            "recrash --version",
            "--",
        ]);
        write
            .args([
                "--target",
                "el8-layout",
                "--attempts",
                "2",
                "--capture",
                "qemu",
            ])
            .current_dir(&origin);
        succeed(&mut write);
        this.git(&origin, &["add", "--all"]);
        this.git(
            &origin,
            &["commit", "--quiet", "-m", "goldens and their workflow"],
        );
        this.git(scratch(), &["clone", "--quiet", "origin", "work"]);
        this.git(&this.folder, &["checkout", "--quiet", "-b", "branch"]);
        this
    }

    fn git(&self, folder: &Path, args: &[&str]) {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(folder)
            .args(who)
            .args(args)
            .env("HOME", &self.home);
        succeed(&mut command);
    }

    fn commit(&self, message: &str) {
        self.git(&self.folder, &["commit", "--quiet", "--all", "-m", message]);
    }

    /// Runs the job's commands in order, up to the first that fails, as a pull request's.
    fn job(&self, name: &str, part: Option<u64>) -> Step {
        let workflow =
            fs::read_to_string(self.folder.join(".github/workflows/recrash.yml")).unwrap();
        let workflow: Value = serde_yaml_ng::from_str(&workflow).unwrap();
        let job = &workflow["jobs"][name];
        let summary = scratch().join("summary.md");
        let _ = fs::remove_file(&summary);
        let mut all = Step {
            code: 0,
            said: String::new(),
            summary: String::new(),
        };
        let steps = job["steps"].as_array().unwrap().iter();
        let mut ran = 0;
        for step in steps.filter(|step| !GIVEN.contains(&step["name"].as_str().unwrap_or_default()))
        {
            let Some(run) = step["run"].as_str() else {
                continue;
            };
            assert!(!run.contains("${{"), "an expression in {run}");
            ran += 1;
            // `shell: bash` of the workflow.
            let mut shell = Command::new("bash");
            shell.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", run]);
            shell.current_dir(&self.folder).stdin(Stdio::null());
            self.environment(&mut shell, &summary);
            if let Some(part) = part {
                assert_eq!(job["env"]["PART"], "${{ matrix.part }}");
                shell.env("PART", part.to_string());
            }
            let output = shell.output().unwrap();
            all.said += &String::from_utf8_lossy(&output.stdout);
            all.said += &String::from_utf8_lossy(&output.stderr);
            all.code = output.status.code().unwrap_or(-1);
            if all.code != 0 {
                break;
            }
        }
        assert!(ran > 0, "{name} has no commands");
        all.summary = fs::read_to_string(&summary).unwrap_or_default();
        all
    }

    fn environment(&self, shell: &mut Command, summary: &Path) {
        let recrash = Path::new(env!("CARGO_BIN_EXE_recrash")).parent().unwrap();
        let path = format!("{}:{}", recrash.display(), std::env::var("PATH").unwrap());
        // git's own settings are not this user's; the cache is.
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
            PathBuf::from,
        );
        shell
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("XDG_CACHE_HOME", cache)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_BASE_REF", "main")
            .env("GITHUB_WORKSPACE", &self.folder)
            .env("GITHUB_STEP_SUMMARY", summary)
            .env_remove("RECRASH_ROOT");
    }

    /// The jobs of the pull request: the golden's, each part's, the merge's.
    fn pull_request(&self) -> [Step; 4] {
        for folder in ["parts", "merged"] {
            let _ = fs::remove_dir_all(self.folder.join(folder));
        }
        let golden = self.job("golden", None);
        let artifacts = scratch().join("artifacts");
        let _ = fs::remove_dir_all(&artifacts);
        fs::create_dir_all(&artifacts).unwrap();
        let parts = [1, 2].map(|part| {
            let step = self.job("part", Some(part));
            // What upload-artifact takes and download-artifact puts back, a folder for each.
            let kept = artifacts.join(format!("recrash-part-{part}"));
            fs::rename(self.folder.join("parts"), kept)
                .unwrap_or_else(|error| panic!("{error}: {}", step.said));
            step
        });
        fs::rename(&artifacts, self.folder.join("parts")).unwrap();
        let merge = self.job("merge", None);
        let [first, second] = parts;
        [golden, first, second, merge]
    }
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn a_pull_request_that_breaks_a_golden_fails_and_says_what_to_do() {
    let _guard = one_at_a_time();
    succeed(&mut command(&["setup", "--target", "el8-layout"]));
    let clone = Clone::new();
    let file = clone.folder.join(GOLDEN);
    let text = fs::read_to_string(&file).unwrap();
    let broken = text.replace(r#"descriptor = "string""#, r#"descriptor = "device""#);
    assert_ne!(text, broken);
    fs::write(&file, broken).unwrap();
    clone.commit("another descriptor");

    let [golden, first, second, merge] = clone.pull_request();
    // What changed is told beside the file, and is not itself a failure: a change may be meant.
    assert_eq!(golden.code, 0, "{}", golden.said);
    let warning = format!("::warning file={GOLDEN},title=This golden counts otherwise::");
    assert!(golden.said.contains(&warning), "{}", golden.said);
    for text in [&golden.said, &golden.summary] {
        assert!(
            text.contains("this change alters what counts as the same crash"),
            "{text}"
        );
        assert!(text.contains("corruption.decoded"), "{text}");
    }
    // The runs are no longer what the golden says.
    assert_eq!(
        (first.code, second.code),
        (1, 1),
        "{}\n{}",
        first.said,
        second.said
    );
    assert_eq!(merge.code, 1, "{}", merge.said);
    assert!(
        merge.said.contains(&format!("::error file={GOLDEN},")),
        "{}",
        merge.said
    );
    assert!(
        merge.said.contains("different instead of same-crash"),
        "{}",
        merge.said
    );
    assert!(
        merge
            .said
            .contains("recrash golden diff tells what that means"),
        "{}",
        merge.said
    );
    assert!(
        merge.summary.contains("corruption.decoded"),
        "{}",
        merge.summary
    );

    // A newcomer does what it says: the line is run as it stands.
    let line = golden
        .said
        .lines()
        .find_map(|line| line.split_once("bring the file back: "));
    let (_, line) = line.unwrap_or_else(|| panic!("{}", golden.said));
    assert!(
        line.starts_with("git checkout ") && line.ends_with(GOLDEN),
        "{line}"
    );
    succeed(
        Command::new("bash")
            .args(["-c", line])
            .current_dir(&clone.folder),
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    clone.commit("as it was");
    let [golden, first, second, merge] = clone.pull_request();
    assert!(golden.said.contains("no golden changed"), "{}", golden.said);
    for step in [&golden, &first, &second, &merge] {
        assert_eq!(step.code, 0, "{}", step.said);
    }
    assert!(!merge.said.contains("::error"), "{}", merge.said);
}
