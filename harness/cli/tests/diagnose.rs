//! Who freed it: experiments on real boots, held against what repro-module says that it did, which the diagnosis never
//! reads. Sets up what is missing by itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#![expect(dead_code, reason = "the helpers serve other test binaries too")]
mod support;

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use support::{Running, command, one_at_a_time, scratch, set_up, signal};

const SMALL: &str = "el8-layout";

/// What a diagnosis printed, and how it ended.
struct Diagnosed {
    code: i32,
    experiments: Vec<Value>,
    result: Value,
    stderr: String,
}

impl Diagnosed {
    /// `recrash diagnose` on a target with these arguments, in a folder of its own.
    fn run(name: &str, target: &str, args: &[&str]) -> Self {
        provide(target);
        let mut command = command(&["diagnose", "--json", "--target", target, "--out"]);
        command.arg(scratch().join(name)).args(args);
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
            experiments: of_type("experiment"),
            result: of_type("diagnosis").pop().unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn text(&self) -> String {
        format!("{:#}\n{}", self.result, self.stderr)
    }

    fn conclusion(&self) -> &Value {
        &self.result["findings"]["conclusion"]
    }

    fn object(&self) -> &Value {
        &self.result["findings"]["object"]
    }

    /// What there is of this experiment.
    fn experiment(&self, name: &str) -> &Value {
        let found = self
            .experiments
            .iter()
            .find(|one| one["experiment"] == name);
        found.unwrap_or_else(|| panic!("{name}: {}", self.text()))
    }

    /// What this experiment gave.
    fn effect(&self, name: &str) -> &Value {
        &self.experiment(name)["effect"]
    }

    /// How many runs it took.
    fn runs(&self, name: &str) -> usize {
        self.experiment(name)["runs"].as_array().unwrap().len()
    }

    /// What the explanations came to.
    fn standing(&self, hypothesis: &str) -> &Value {
        let all = self.result["findings"]["explanations"].as_array().unwrap();
        let found = all.iter().find(|one| one["hypothesis"] == hypothesis);
        &found.unwrap()["standing"]
    }

    /// What repro-module reported of this kind in the run whose memory was read: the ground truth.
    fn truth(&self, kind: &str) -> Value {
        let run = self
            .experiments
            .iter()
            .find(|one| one["experiment"] == "slub-debug");
        let folder = PathBuf::from(run.unwrap()["runs"][0]["folder"].as_str().unwrap());
        let events = fs::read_to_string(folder.join("events.jsonl")).unwrap();
        let mut found = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|record| record["source"] == "module" && record["data"]["event"] == kind);
        found.next_back().unwrap()["data"].clone()
    }

    /// The folder with all that is kept.
    fn folder(&self) -> PathBuf {
        let report = PathBuf::from(self.result["report"].as_str().unwrap());
        report.parent().unwrap().to_owned()
    }
}

/// Sets a target up, once.
fn provide(target: &str) {
    static SMALL_IS_THERE: OnceLock<()> = OnceLock::new();
    if target != SMALL {
        return set_up();
    }
    SMALL_IS_THERE.get_or_init(|| {
        let output = command(&["setup", "--target", SMALL]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "recrash setup: {stderr}");
    });
}

const SHORT: [&str; 2] = ["--only", "control,slub-debug,swiotlb"];

#[test]
fn a_buffer_freed_in_flight_names_the_modules_function_that_freed_it() {
    let _guard = one_at_a_time();
    let found = Diagnosed::run(
        "early-free",
        SMALL,
        &[&["--fault", "early-free"], &SHORT[..]].concat(),
    );
    assert_eq!(found.code, 0, "{}", found.text());
    let conclusion = found.conclusion();
    assert_eq!(conclusion["conclusion"], "freed-early", "{}", found.text());
    assert_eq!(conclusion["function"], "repro_early_free_fire [repro]");
    assert_eq!(
        conclusion["freed"]["function"]["name"],
        "repro_early_free_fire"
    );
    // The transfer is the module's own, which the device answered a second late; the process's ended before.
    let transfer = &conclusion["transfer"];
    let [asked, answered] =
        ["asked_ms", "answered_ms"].map(|name| transfer[name].as_u64().unwrap());
    assert!(answered > asked + 900, "{transfer}");
    assert_eq!(
        found.object()["address"],
        format!("0x{}", found.truth("freed")["buffer"].as_str().unwrap())
    );
    assert_eq!(found.truth("freed")["in_flight"], true);
    // The driver's request still has the buffer that it freed.
    let urb = &found.object()["urbs"][0];
    assert_eq!(urb["complete"], "on_complete [repro]", "{}", found.text());
    // The transfer's end copies the bounce buffer into the freed object.
    assert_eq!(found.effect("control"), "same");
    assert_eq!(found.effect("swiotlb"), "same");
    assert_eq!(found.standing("early-free"), "supported");
    assert_eq!(found.standing("late-dma"), "refuted");
    for file in [
        "diagnose.json",
        "report.txt",
        "report.json",
        "report.md",
        "report.html",
    ] {
        let text = fs::read_to_string(found.folder().join(file)).unwrap();
        assert!(text.contains("repro_early_free_fire"), "{file}");
    }
}

#[test]
fn for_a_late_dma_no_code_path_freed_the_buffer_early() {
    let _guard = one_at_a_time();
    let found = Diagnosed::run("duplicate-dma", SMALL, &SHORT);
    assert_eq!(found.code, 0, "{}", found.text());
    let conclusion = found.conclusion();
    assert_eq!(
        conclusion["conclusion"],
        "not-freed-early",
        "{}",
        found.text()
    );
    assert_eq!(conclusion["freed"]["function"]["name"], "free_async");
    assert_eq!(conclusion["writer"], "controller");
    let headline = found.result["headline"].as_str().unwrap();
    assert!(
        headline.starts_with("no code path freed the buffer early"),
        "{headline}"
    );
    assert_eq!(
        found.object()["address"],
        format!("0x{}", found.truth("written")["at_dma"].as_str().unwrap())
    );
    assert_eq!(found.effect("swiotlb"), "no-crash");
    // One silent run would be no proof.
    assert_eq!(found.runs("swiotlb"), 3, "{}", found.text());
    assert_eq!(found.runs("control"), 1, "{}", found.text());
    assert_eq!(found.standing("early-free"), "refuted");
    assert_eq!(found.standing("cpu-store"), "refuted");
    // A run whose kernel was made to die, or died of what was found, is never taken for the crash.
    let runs = command(&["runs", "--json", "--out"])
        .arg(scratch().join("duplicate-dma"))
        .output()
        .unwrap();
    let runs = String::from_utf8(runs.stdout).unwrap();
    assert_eq!(runs.matches("\"memory-read\"").count(), 1, "{runs}");
}

/// A stock kernel saves whole stacks.
#[test]
fn on_a_stock_kernel_the_call_path_that_freed_the_buffer_is_told() {
    let _guard = one_at_a_time();
    let args = ["--fault", "early-free", "--only", "slub-debug"];
    let found = Diagnosed::run("stock", "debian", &args);
    assert_eq!(found.code, 0, "{}", found.text());
    assert_eq!(
        found.conclusion()["function"],
        "repro_early_free_fire [repro]"
    );
    let path = found.conclusion()["freed"]["path"].to_string();
    for function in ["recrash_write", "vfs_write", "do_syscall_64"] {
        assert!(path.contains(function), "{function} in {path}");
    }
    let allocated = found.object()["allocated"]["path"].to_string();
    assert!(allocated.contains("repro_early_free_fire"), "{allocated}");
}

#[test]
fn a_driver_that_is_mended_leaves_nothing_to_conclude_from() {
    let _guard = one_at_a_time();
    let args = ["--fault", "early-free-fixed", "--only", "slub-debug"];
    let found = Diagnosed::run("fixed", SMALL, &args);
    assert_eq!(found.code, 4, "{}", found.text());
    assert_eq!(found.conclusion()["conclusion"], "undecided");
    let why = found.conclusion()["why"].as_str().unwrap();
    assert!(
        why.contains("no free object of the debugged caches has been written to"),
        "{why}"
    );
    assert_eq!(found.effect("slub-debug"), "read");
    assert!(
        found.experiments[0]["runs"][0].get("title").is_none(),
        "it survived"
    );
}

#[test]
fn what_is_interrupted_is_told_with_what_there_is_and_never_0() {
    let _guard = one_at_a_time();
    provide(SMALL);
    let mut command = command(&["diagnose", "--json", "--target", SMALL, "--out"]);
    command.arg(scratch().join("interrupted"));
    let running = Running::until_stage(&mut command, "boot");
    signal("INT", running.pid());
    let ended = running.end();
    assert_eq!(ended.code, 4, "{}", ended.text());
    assert_eq!(ended.result["type"], "diagnosis");
    assert_eq!(ended.result["interrupted"], true);
    assert_eq!(ended.result["experiments"][0]["state"], "waiting");
    let report = PathBuf::from(ended.result["report"].as_str().unwrap());
    let kept = fs::read_to_string(report.with_file_name("diagnose.json")).unwrap();
    assert!(kept.contains("\"interrupted\": true"), "{kept}");
}

#[test]
fn what_a_kernel_does_not_offer_is_listed_with_the_reason() {
    let found = Diagnosed::run("list", SMALL, &["--list"]);
    assert_eq!(found.code, 0, "{}", found.text());
    let of = |name: &str| {
        let found = found
            .experiments
            .iter()
            .find(|one| one["experiment"] == name);
        found.unwrap().clone()
    };
    assert_eq!(of("kasan")["reason"], "CONFIG_KASAN is not set");
    assert_eq!(of("iommu")["state"], "not-offered");
    assert_eq!(of("slub-debug")["state"], "waiting");
    assert_eq!(of("slub-debug")["adds"][0], "slub_debug=FZPU,kmalloc-256");
    assert!(!scratch().join("list").exists(), "nothing was run");
}

#[test]
fn what_cannot_be_made_or_is_no_single_run_is_refused() {
    for (args, why) in [
        (["--only", "kasan"], "CONFIG_KASAN is not set"),
        (["--fault", "all"], "diagnose looks at one run"),
        (["--capture", "both"], "an experiment has one dump"),
        (["--expect", "no-crash"], "unexpected argument"),
    ] {
        let found = Diagnosed::run("refused", SMALL, &args);
        assert_eq!(found.code, 2, "{args:?}: {}", found.text());
        assert!(found.stderr.contains(why), "{args:?}: {}", found.stderr);
    }
}
