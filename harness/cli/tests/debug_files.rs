//! Debug files as a caller sees them: a vmlinux of another kernel is refused by name, lines appear in the report,
//! and they are drgn's.
//!
//! Runs where `RECRASH_VMCORE` names a dump and `RECRASH_DEBUG_DIR` a folder with its kernel's debug packages
//! unpacked; the comparison also needs `RECRASH_DRGN`, a Python that can import drgn.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its command has failed"
)]
use std::path::PathBuf;
use std::process::{Command, Output};

/// Prints a frame a line, innermost first: function, file below the source's root, line, whether inlined.
const DRGN: &str = r"
import os, sys, drgn
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
prog.load_debug_info([path for path in sys.argv[2:]])
for frame in prog.crashed_thread().stack_trace():
    try:
        file, line, _ = frame.source()
    except LookupError:
        continue
    print(frame.name, os.path.normpath(file), line, frame.is_inline)
";

fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).map(PathBuf::from);
    if value.is_none() {
        eprintln!("skipped: {name} is not set");
    }
    value
}

fn recrash(args: &[&str], cache: &tempfile::TempDir) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recrash"))
        .args(args)
        .env("RECRASH_CACHE", cache.path())
        .output()
        .unwrap()
}

/// The frames of the report: function, file, line, inlined.
fn frames(output: &Output) -> Vec<(String, String, u64, bool)> {
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut all = Vec::new();
    for frame in json["report"]["frames"].as_array().unwrap() {
        for line in frame["source"].as_array().into_iter().flatten() {
            all.push((
                line["function"].as_str().unwrap().to_owned(),
                line["file"].as_str().unwrap().to_owned(),
                line["line"].as_u64().unwrap(),
                line["inlined"].as_bool().unwrap(),
            ));
        }
    }
    all
}

#[test]
fn a_program_is_refused_as_vmlinux_by_name() {
    let cache = tempfile::tempdir().unwrap();
    let own = env!("CARGO_BIN_EXE_recrash");
    let Some(vmcore) = variable("RECRASH_VMCORE") else {
        return;
    };
    let vmcore = vmcore.to_str().unwrap();
    for file in [own, "/nonexistent/vmlinux", "/dev/null"] {
        let output = recrash(&["analyze", vmcore, "--vmlinux", file], &cache);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(file), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn lines_are_the_same_from_a_cold_a_warm_and_a_damaged_cache() {
    let (Some(vmcore), Some(dir)) = (variable("RECRASH_VMCORE"), variable("RECRASH_DEBUG_DIR"))
    else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let args = ["analyze", vmcore.to_str().unwrap(), "--json", "--debug-dir"];
    let run = || recrash(&[&args[..], &[dir.to_str().unwrap()]].concat(), &cache);
    let cold = frames(&run());
    assert!(cold.iter().any(|(.., inlined)| *inlined));
    assert_eq!(frames(&run()), cold);
    let builds = std::fs::read_dir(cache.path().join("debuginfo")).unwrap();
    let kept: Vec<PathBuf> = builds.map(|b| b.unwrap().path().join("index")).collect();
    assert_eq!(kept.len(), 1);
    let good = std::fs::read(&kept[0]).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 0x10;
    for bytes in [&damaged[..], &good[..good.len() / 2], b""] {
        std::fs::write(&kept[0], bytes).unwrap();
        assert_eq!(frames(&run()), cold);
        assert_eq!(std::fs::read(&kept[0]).unwrap(), good, "it was rebuilt");
    }
    // The signature does not depend on what is installed beside the dump.
    let signature = |dir: &str| {
        let output = recrash(&["analyze", args[1], "--debug-dir", dir], &cache);
        String::from_utf8(output.stdout).unwrap()
    };
    let with = signature(dir.to_str().unwrap());
    assert!(!with.is_empty());
    assert_eq!(with, signature("/nonexistent"));
}

#[test]
fn functions_and_lines_of_the_backtrace_are_drgns() {
    let (Some(vmcore), Some(dir), Some(python)) = (
        variable("RECRASH_VMCORE"),
        variable("RECRASH_DEBUG_DIR"),
        variable("RECRASH_DRGN"),
    ) else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let (vmcore, dir) = (vmcore.to_str().unwrap(), dir.to_str().unwrap());
    let ours = frames(&recrash(
        &["analyze", vmcore, "--json", "--debug-dir", dir],
        &cache,
    ));
    let find = Command::new("find")
        .args([
            dir,
            "-type",
            "f",
            "(",
            "-name",
            "vmlinux-*",
            "-o",
            "-name",
            "usbcore.ko*",
        ])
        .args(["-o", "-name", "xhci-hcd.ko*", ")"])
        .output()
        .unwrap();
    let files = String::from_utf8(find.stdout).unwrap();
    let drgn = Command::new(python)
        .args(["-c", DRGN, vmcore])
        .args(files.lines())
        .output()
        .unwrap();
    let text = String::from_utf8(drgn.stdout).unwrap();
    let theirs: Vec<(String, u64, bool)> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (
                words[1].to_owned(),
                words[2].parse().unwrap(),
                words[3] == "True",
            )
        })
        .collect();
    assert!(
        theirs.len() > 5,
        "{}",
        String::from_utf8_lossy(&drgn.stderr)
    );
    assert_eq!(ours.len(), theirs.len(), "{ours:?}\n{theirs:?}");
    for (our, their) in ours.iter().zip(&theirs) {
        // drgn shows the whole path.
        assert!(their.0.ends_with(&our.1), "{our:?} {their:?}");
        assert_eq!((our.2, our.3), (their.1, their.2), "{our:?}");
    }
}
