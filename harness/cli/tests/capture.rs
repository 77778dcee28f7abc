//! The ways to save a dying guest's memory, on real parts: QEMU's dump, both dumps of one death, their forms. One boot at
//! a time, and no boot twice for the same question.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#![expect(dead_code, reason = "the helpers serve another test binary too")]
mod support;

use recrash_machine::makedumpfile;
use recrash_machine::setup;
use recrash_machine::target::Target;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use support::{Finished, checkout, command, finish, one_at_a_time, run_command, scratch, set_up};

/// How long makedumpfile may take for one dump.
const REFILTER: Duration = Duration::from_secs(120);

/// A crash that both wrote down, QEMU as plain ELF and makedumpfile with every page and uncompressed.
fn both() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| {
        let form = ["--dump-compression", "none", "--dump-level", "0"];
        finish(run_command("both", &["--capture", "both"]).args(form))
    })
}

fn is_the_same_crash(run: &Finished) {
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(run.result["unexplained"], serde_json::json!([]));
}

fn stages(run: &Finished) -> Vec<String> {
    let stages = run.result["timings"]["stages"].as_array().unwrap();
    let names = stages.iter().map(|stage| stage[0].as_str().unwrap());
    names.map(str::to_owned).collect()
}

fn analyzed(vmcore: &Path) -> String {
    let output = command(&["analyze"]).arg(vmcore).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", vmcore.display());
    text
}

#[test]
fn qemu_writes_a_dump_of_the_same_crash_without_a_second_kernel() {
    let _guard = one_at_a_time();
    let run = finish(&mut run_command("qemu", &["--capture", "qemu"]));
    is_the_same_crash(&run);
    let stages = stages(&run);
    assert!(
        stages.iter().any(|stage| stage == "qemu-dump"),
        "{stages:?}"
    );
    assert!(
        !stages.iter().any(|stage| stage == "capture-boot"),
        "{stages:?}"
    );
    let capture = &run.result["capture"];
    assert_eq!(capture["mode"], "qemu");
    assert_eq!(capture["stop_by"], "module");
    let dumps = capture["dumps"].as_array().unwrap();
    assert_eq!(dumps.len(), 1, "{capture}");
    assert_eq!(dumps[0]["by"], "qemu");
    assert_eq!(dumps[0]["compression"], "zlib");
    let size = fs::metadata(run.folder().join("vmcore")).unwrap().len();
    assert_eq!(dumps[0]["bytes"], size);
    let manifest = fs::read_to_string(run.folder().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["capture"]["dumps"], capture["dumps"]);
    let cmdline = manifest["cmdline"].as_str().unwrap();
    assert!(!cmdline.contains("crashkernel"), "{cmdline}");
    let report = fs::read_to_string(run.folder().join("report.txt")).unwrap();
    assert!(report.contains("by QEMU, zlib"), "{report}");
    // The module told QEMU; the kernel went no further.
    let module = run.said("module");
    assert!(
        module.iter().any(|said| said["event"] == "stop"),
        "{module:?}"
    );
    let listed = finish(command(&["runs", "--json", "--out"]).arg(scratch().join("qemu")));
    assert_eq!(listed.result["capture"], "qemu");
}

#[test]
fn a_panic_that_the_console_ends_can_be_dumped_too() {
    let _guard = one_at_a_time();
    let args = ["--capture", "qemu", "--stop-by", "console"];
    let run = finish(&mut run_command("console", &args));
    is_the_same_crash(&run);
    assert_eq!(run.result["capture"]["stop_by"], "console");
    let events = run.said("qmp");
    assert!(
        events
            .iter()
            .all(|event| event["event"] != "GUEST_PANICKED"),
        "{events:?}"
    );
}

#[test]
fn a_guest_that_survives_has_no_dump() {
    let _guard = one_at_a_time();
    let args = [
        "--capture",
        "qemu",
        "--fault",
        "none",
        "--expect",
        "no-crash",
    ];
    let run = finish(&mut run_command("survives", &args));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "no-crash", "{}", run.text());
    assert_eq!(run.result["capture"]["dumps"], serde_json::json!([]));
    assert!(!run.folder().join("vmcore").exists());
}

#[test]
fn two_dumps_of_one_death_have_one_signature() {
    let _guard = one_at_a_time();
    let run = both();
    is_the_same_crash(run);
    let capture = &run.result["capture"];
    assert_eq!(capture["equal"], true, "{capture}");
    let by: Vec<&Value> = capture["dumps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dump| &dump["by"])
        .collect();
    assert_eq!(by, ["qemu", "makedumpfile"]);
    let read = |name| fs::read_to_string(run.folder().join(name)).unwrap();
    assert_eq!(read("signature.toml"), read("signature.qemu.toml"));
    let report = read("report.txt");
    assert!(report.contains("the same in both"), "{report}");
}

/// What makedumpfile leaves out and how it compresses changes nothing that a signature is made of. It filters the dump
/// that has all pages, as it does in the capture kernel; the pages are those of one death.
#[test]
fn every_level_and_compression_gives_the_same_signature() {
    let _guard = one_at_a_time();
    set_up();
    let folder = both().folder();
    let expected = analyzed(&folder.join("vmcore"));
    assert_eq!(analyzed(&folder.join("vmcore.qemu")), expected);
    let target = Target::load(&checkout().join("qemu/targets/debian.toml")).unwrap();
    let tool = setup::load(&target).unwrap().makedumpfile.unwrap();
    let run = |args: &[&OsStr], stdin: Option<&Path>| {
        let (well, said) = makedumpfile::run(&tool, args, stdin, REFILTER).unwrap();
        assert!(well, "{args:?}: {said}");
    };
    // The flattened form is for a port that cannot seek; it is put in order before it is read again.
    let whole = folder.join("vmcore.whole");
    let flattened = folder.join("vmcore");
    run(&["-R".as_ref(), whole.as_ref()], Some(&flattened));
    for (level, compress) in [
        ("0", "-c"),
        ("1", "-l"),
        ("3", "-c"),
        ("8", "-l"),
        ("15", "-c"),
        ("16", "-l"),
        ("31", "-c"),
        ("31", "-l"),
    ] {
        let out = folder.join("vmcore.filtered");
        let _ = fs::remove_file(&out);
        let words: [&OsStr; 5] = [
            compress.as_ref(),
            "-d".as_ref(),
            level.as_ref(),
            whole.as_ref(),
            out.as_ref(),
        ];
        run(&words, None);
        assert_eq!(analyzed(&out), expected, "-d {level} {compress}");
    }
}

#[test]
fn a_run_whose_dumps_contradict_each_other_says_nothing() {
    let _guard = one_at_a_time();
    let folder = both().folder();
    let file = folder.join("manifest.json");
    let before = fs::read_to_string(&file).unwrap();
    let mut manifest: Value = serde_json::from_str(&before).unwrap();
    manifest["capture"]["equal"] = false.into();
    fs::write(&file, manifest.to_string()).unwrap();
    let judged = finish(command(&["compare", "--json"]).arg(&folder));
    fs::write(&file, before).unwrap();
    assert_eq!(judged.code, 4, "{}", judged.text());
    assert_eq!(judged.result["verdict"], "inconclusive");
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_boots() {
    set_up();
    for (args, expected) in [
        (
            &["--capture", "qemu", "--dump-compression", "zstd"][..],
            "QEMU does not compress dumps with zstd",
        ),
        (
            &["--capture", "qemu", "--dump-level", "1"],
            "--dump-level is makedumpfile's",
        ),
        (
            &["--capture", "both", "--stop-by", "console"],
            "--capture both needs --stop-by module",
        ),
        (&["--stop-by", "console"], "use it with --capture qemu"),
        (&["--dump-level", "32"], "0..=31"),
        (
            &["--dump-compression", "zstd"],
            "the target's makedumpfile was built without zstd; it has none, zlib, lzo",
        ),
    ] {
        let folder = scratch().join("refused");
        let output = command(&["run", "--out"])
            .arg(&folder)
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert!(!folder.exists(), "{args:?}");
    }
}
