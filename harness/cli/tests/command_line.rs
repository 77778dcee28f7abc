//! The command as a caller sees it: exit codes, stdout and stderr. Needs no QEMU and no network.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its command has failed"
)]
use recrash_synth::elf_core::{ElfCore, Segment, note};
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
        &["explain", env!("CARGO_MANIFEST_PATH")],
        2,
        "nothing of a crash in it",
    );
}
