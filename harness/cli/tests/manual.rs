//! Man pages, completions and `--help` as a user meets them. Needs bash; what groff says is checked where there is one, and
//! said where there is none.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its command has failed"
)]
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn recrash(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recrash"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = recrash(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Gives a program this input.
fn fed(program: &str, args: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(input.as_bytes())?;
    child.wait_with_output()
}

#[test]
fn every_page_is_written_and_groff_has_nothing_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/man1");
    stdout(&["man", "--out", pages.to_str().unwrap()]);
    for name in [
        "recrash",
        "recrash-run",
        "recrash-inspect-bt",
        "recrash-target-add",
        "recrash-mcp",
    ] {
        assert!(pages.join(format!("{name}.1")).is_file(), "{name}");
    }
    for page in std::fs::read_dir(&pages).unwrap().flatten() {
        let text = std::fs::read_to_string(page.path()).unwrap();
        let Ok(output) = fed("groff", &["-Kutf8", "-man", "-Tutf8", "-ww", "-z"], &text) else {
            eprintln!("there is no groff here: what it says of the pages was not checked");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "", "{}", page.path().display());
    }
}

#[test]
fn one_page_is_printed_and_an_unknown_one_lists_those_there_are() {
    assert!(stdout(&["man"]).contains(".TH RECRASH 1"));
    assert_eq!(
        stdout(&["man", "inspect", "bt"]),
        stdout(&["man", "inspect", "bt"])
    );
    assert!(stdout(&["man", "inspect", "bt"]).contains(".TH RECRASH-INSPECT-BT 1"));
    let output = recrash(&["man", "nosuch"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("next: one of: run"), "{stderr}");
}

#[test]
fn a_folder_that_cannot_be_made_is_a_usage_error_with_what_to_do() {
    let output = recrash(&["man", "--out", "/proc/nowhere/man1"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("next: give --out a folder"), "{stderr}");
}

#[test]
fn every_shell_gets_both_scripts_and_bash_reads_its_own() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        for more in [&[][..], &["--static"]] {
            let mut args = vec!["completions", shell];
            args.extend(more);
            let script = stdout(&args);
            assert!(script.contains("recrash"), "{args:?}");
            if shell == "bash" {
                let output = fed("bash", &["-n"], &script).unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(
                    (output.status.code(), said.as_str()),
                    (Some(0), ""),
                    "{args:?}"
                );
            }
        }
    }
}

/// What bash would offer for the last of these words.
fn check(words: &str, expected: &[&str]) {
    let bin = Path::new(env!("CARGO_BIN_EXE_recrash"));
    let script = format!(
        "PATH={}:$PATH\n\
         source <(recrash completions bash)\n\
         COMP_WORDS=({words})\n\
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         _clap_complete_recrash recrash \"${{COMP_WORDS[COMP_CWORD]}}\" 2>/dev/null\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        bin.parent().unwrap().display()
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let offered = String::from_utf8(output.stdout).unwrap();
    for name in expected {
        assert!(
            offered.lines().any(|line| line.trim() == *name),
            "{words}: {name} in {offered}"
        );
    }
}

#[test]
fn bash_completes_commands_options_and_names() {
    check("recrash ins", &["inspect"]);
    check("recrash run --target ''", &["debian", "el8-layout"]);
    check(
        "recrash compare vmcore --expect same",
        &["same-crash", "same-bug"],
    );
    check("recrash completions ''", &["bash", "zsh", "fish"]);
}

#[test]
fn the_short_help_is_short() {
    let help = stdout(&["-h"]);
    assert!(help.lines().count() < 50, "{help}");
    assert!(
        help.contains("Reproduce a crash:") && help.contains("Read a crash:"),
        "{help}"
    );
}
