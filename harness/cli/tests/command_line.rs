//! The command as a caller sees it: exit codes, stdout and stderr. Needs no QEMU and no network.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its command has failed"
)]
use recrash_synth::elf_core::{ElfCore, Segment, note};
use serde_json::Value;
use std::io::Read;
use std::process::{Command, Output, Stdio};

fn recrash(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recrash"))
        .args(args)
        .output()
        .unwrap()
}

/// Runs it and checks the exit code, and that stderr (or, for code 0, stdout) says `expected`.
fn check(args: &[&str], code: i32, expected: &str) {
    let output = recrash(args);
    let text = if code == 0 {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(text);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(expected), "{args:?}: {text}");
}

#[test]
fn help_names_the_exit_codes() {
    check(&["--help"], 0, "\n  4  inconclusive");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    check(&["setup", "--frobnicate"], 2, "--frobnicate");
}

#[test]
fn an_unknown_target_is_a_usage_error_that_lists_the_known_ones() {
    check(&["setup", "--target", "nosuch"], 2, "one of: debian");
}

#[test]
fn a_target_cannot_be_a_path_out_of_its_folder() {
    check(&["setup", "--target", "../../Cargo"], 2, "there is no");
}

#[test]
fn results_go_to_stdout_and_errors_to_stderr() {
    let output = recrash(&["setup", "--target", "nosuch"]);
    assert!(output.stdout.is_empty());
    assert!(output.stderr.starts_with(b"error: "), "no colours either");
}

#[test]
fn a_reader_that_goes_away_causes_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_recrash"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    child.wait().unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_dump_without_its_kernel_still_tells_its_release() {
    let info = b"OSRELEASE=6.1.0-test\nKERNELOFFSET=1000000\nNUMBER(phys_base)=0\n\
                 SYMBOL(init_top_pgt)=ffffffff82a10000\n";
    let core = ElfCore {
        segments: vec![Segment {
            paddr: 0x1000,
            vaddr: 0xffff_8880_0000_1000,
            data: vec![0; 0x1000],
            left_out: 0,
        }],
        notes: note("VMCOREINFO", 0, info),
        count_in_section: false,
    };
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers-only");
    std::fs::write(&file, core.build()).unwrap();
    let output = recrash(&["analyze", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    let signature = String::from_utf8_lossy(&output.stdout);
    assert!(
        signature.contains("release = { value = \"6.1.0-test\""),
        "{signature}"
    );
    assert!(signature.contains("cpu = { absent = "), "{signature}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no kernel found"));
}

const EVIDENCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.txt"
);

#[test]
fn explain_writes_both_languages_and_both_formats() {
    check(&["explain", EVIDENCE], 0, "The CPU raised #SS");
    check(&["explain", EVIDENCE, "--lang", "zh"], 0, "非规范地址");
    check(
        &["explain", EVIDENCE, "--format", "markdown"],
        0,
        "## In short",
    );
    check(
        &["explain", EVIDENCE, "--json"],
        0,
        "\"message\":\"raised\"",
    );
}

#[test]
fn explain_compares_with_what_it_is_given() {
    check(&["explain", EVIDENCE, "--with", EVIDENCE], 0, "same-crash");
    check(
        &["explain", EVIDENCE, "--with", "no/such/file"],
        0,
        "Not compared: file:",
    );
}

#[test]
fn explain_refuses_what_tells_of_no_crash() {
    check(
        &[
            "explain",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../LICENSE-MIT"),
        ],
        2,
        "nothing of a crash in it",
    );
}

/// A golden of the repository.
fn golden(name: &str) -> String {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../golden/usb-string-descriptor-freelist/"
    );
    format!("{folder}{name}.snap")
}

/// Triage of these files: how many bugs, how sure the first is, in how many places.
fn triaged(files: &[&str]) -> (usize, Value, usize) {
    let words: Vec<&str> = [&["triage", "--json"], files].concat();
    let output = recrash(&words);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bugs = json["bugs"].as_array().unwrap();
    let places = bugs[0]["places"].as_array().unwrap();
    (bugs.len(), bugs[0]["sure"].clone(), places.len())
}

#[test]
fn the_goldens_of_the_real_dumps_are_one_bug_in_two_places() {
    let names = [
        "2022-02-23-kmalloc",
        "2022-05-29-kmalloc",
        "2022-06-03-kmalloc",
        "2022-06-05-usbdev-ioctl",
    ];
    let files = names.map(golden);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    assert_eq!(triaged(&files), (1, "certain".into(), 2));
}

#[test]
fn a_case_is_one_bug_wherever_it_strikes() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../golden/usb-string-descriptor-freelist"
    );
    // The real dumps' places, a request after a parked slab came back, and a worker.
    assert_eq!(triaged(&[folder]), (1, "certain".into(), 4));
    check(
        &["triage", folder, "--format", "markdown"],
        0,
        "## Bug 1: freelist of kmalloc-256",
    );
}

#[test]
fn triage_groups_what_it_can_read_and_says_what_it_could_not() {
    let folder = tempfile::tempdir().unwrap();
    let oops = "[    1.0] WARNING: CPU: 0 PID: 1 at mm/slub.c:1 foo+0x1/0x10\n\
        [    1.0] Modules linked in:\n[    1.0] CPU: 0 PID: 1 Comm: init Not tainted 6.1.0 #1\n\
        [    1.0] RIP: 0010:foo+0x1/0x10\n[    1.0] Call Trace:\n[    1.0]  bar+0x1/0x2\n\
        [    1.0]  baz+0x1/0x2\n[    1.0] ---[ end trace 0000000000000000 ]---\n";
    for name in ["a.log", "b.log"] {
        std::fs::write(folder.path().join(name), oops).unwrap();
    }
    let dull = folder.path().join("notes.txt");
    std::fs::write(&dull, "nothing here\n").unwrap();
    let folder = folder.path().to_str().unwrap();
    let output = recrash(&["triage", folder]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        // Nothing says that the trace is whole, so the place is not known.
        text.contains("Bug 1: WARNING in foo\n  likely: 2 crashes"),
        "{text}"
    );
    assert!(
        text.contains("notes.txt: nothing of a crash in it"),
        "{text}"
    );
    let output = recrash(&["triage", folder, dull.to_str().unwrap()]);
    assert_eq!(
        output.status.code(),
        Some(4),
        "one that was named could not be read"
    );
    check(&["triage", "nosuch"], 2, "nosuch: no such file");
}

#[test]
fn two_subjects_are_compared_with_one_another() {
    let (a, b) = (
        golden("2022-06-05-usbdev-ioctl"),
        golden("2022-02-23-kmalloc"),
    );
    check(
        &["compare", &a, &b, "--expect", "same-bug"],
        0,
        "Side by side",
    );
    check(&["compare", "2022-06-05", &a, "--full"], 0, "slab.cache");
    check(&["compare", "nosuch", &b], 2, "no golden of that name");
}

#[test]
fn goldens_are_listed_checked_and_held_against_older_rules() {
    check(
        &["golden", "list"],
        0,
        "usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl",
    );
    check(&["golden", "schema"], 0, "\"additionalProperties\": false");
    let table = recrash(&["golden", "check", "--json"]).stdout;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("before.json");
    let old = file.to_str().unwrap();
    std::fs::write(&file, &table).unwrap();
    check(
        &["golden", "check", "--rules-diff", old],
        0,
        "nothing moved",
    );
    check(
        &[
            "golden",
            "check",
            "--rules-diff",
            env!("CARGO_BIN_EXE_recrash"),
        ],
        0,
        "nothing moved",
    );
    let changed = String::from_utf8(table)
        .unwrap()
        .replace("same-bug", "different");
    std::fs::write(&file, changed).unwrap();
    let output = recrash(&["golden", "check", "--rules-diff", old]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("different → same-bug"));
    std::fs::write(&file, "{}").unwrap();
    check(
        &["golden", "check", "--rules-diff", old],
        2,
        "no table that",
    );
}

#[test]
fn a_golden_of_schema_1_is_migrated_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.snap");
    let text = std::fs::read_to_string(golden("2022-06-05-usbdev-ioctl")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("report = "));
    let old: String = lines.map(|line| line.to_owned() + "\n").collect();
    std::fs::write(&file, old.replace("schema = 2", "schema = 1")).unwrap();
    let path = file.to_str().unwrap();
    check(
        &["golden", "migrate", path, "--write"],
        0,
        "schema 1 → 2, written",
    );
    check(&["golden", "migrate", path], 0, "up to date");
    check(&["compare", "2022-06-05", path], 0, "same-crash");
    std::fs::write(&file, old.replace("schema = 2", "schema = 9")).unwrap();
    let output = recrash(&["golden", "migrate", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("schema 9 is newer"));
}

#[test]
fn a_scenario_that_can_do_no_harm_on_a_target_is_refused() {
    let scenario = "short-string-in-kmalloc-32";
    check(
        &["run", "--target", "debian", "--scenario", scenario],
        2,
        "scenario short-string-in-kmalloc-32 needs freelist-offset-0, which target debian does not provide: what it \
         writes ends before the middle of the object",
    );
}

#[test]
fn typical_mistakes_are_told_what_to_do_next() {
    let scratch = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = scratch.join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty", b"");
    let packed = file(
        "vmcore.gz",
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff],
    );
    let notes = file("notes.txt", b"nothing of a crash\n");
    let below = format!("{notes}/runs");
    let folder = scratch.to_str().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["anlyze", "x"], 2, "'analyze'"),
        (&["run", "--target", "nosuch"], 2, "one of: debian"),
        (
            &["run", "--target", "debian,nosuch", "--dry-run"],
            2,
            "one of: debian",
        ),
        (&["run", "--scenario", "nosuch"], 2, "one of: "),
        (&["run", "--device", "nosuch"], 2, "one of: "),
        (
            &["run", "--fault", "nosuch"],
            2,
            "expected one of duplicate-dma",
        ),
        (
            &["run", "--controller", "nosuch"],
            2,
            "expected one of qemu-xhci",
        ),
        (&["run", "--expect", "same"], 2, "same-bug"),
        (
            &["run", "--out", &below],
            2,
            "next: name a folder that you may write to",
        ),
        (&["analyze", "nosuch"], 2, "next: check the path"),
        (&["analyze", folder], 2, "next: name a vmcore"),
        (&["analyze", &empty], 4, "next: it is empty"),
        (&["analyze", &packed], 4, "unpack it first"),
        (&["analyze", &notes], 4, "recrash explain"),
        (&["inspect", &notes, "bt"], 4, "recrash explain"),
        (&["inspect", &packed, "kmem"], 2, "slab"),
        (&["explain", folder], 2, "has no vmcore in it"),
        (&["explain", &notes], 2, "recrash analyze"),
        (&["import", &empty], 2, "recrash analyze"),
        (
            &["compare", EVIDENCE, "nosuch"],
            2,
            "no golden of that name; one of: usb-",
        ),
        (
            &["compare", EVIDENCE, "--golden", "nosuch"],
            2,
            "one of: usb-",
        ),
        (&["triage", "nosuch"], 2, "next: name dumps"),
        (&["target", "show", "nosuch"], 2, "one of: debian"),
        (&["mcp", "/nowhere"], 2, "next: name a folder"),
        (&["mcp", &notes], 2, folder),
        (&["man", "nosuch"], 2, "one of: run"),
        (&["completions", "nosuch"], 2, "bash"),
    ];
    for (args, code, next) in cases {
        check(args, *code, next);
    }
}
