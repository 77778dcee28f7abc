//! The target `el8-layout`: a kernel with the slab layout of the real dumps gives their crash, with their value, in each
//! fresh boot. `RECRASH_ROUNDS` says how many (2); `RECRASH_REBUILD=1` builds the kernel a second time and compares
//! the bytes. Sets up what is missing, which takes minutes the first time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[path = "peers/expected.rs"]
mod expected;
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use expected::Expected;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{Finished, checkout, command, finish, one_at_a_time, scratch};

const TARGET: &str = "el8-layout";
/// `kmem_cache_cpu.freelist` in the dump of 2022-06-05.
const VALUE: u64 = 0x0072_0069_0056_0338;
/// Why the crash may differ from the real one: QEMU's CPU raises another vector, the compiler chose another register.
/// Nothing about the slab.
const RULES: [&str; 2] = ["tcg-no-ss", "compiler-register"];
/// And which functions it inlined: there usbdev_do_ioctl has a frame of its own.
const INLINED: &str = "inlined-frame";

#[test]
fn each_fresh_boot_gives_the_crash_and_the_value_of_the_real_dump() {
    let _guard = one_at_a_time();
    let rounds = std::env::var("RECRASH_ROUNDS").map_or(2, |text| text.parse().unwrap());
    assert!(rounds > 0, "RECRASH_ROUNDS=0 shows nothing");
    for round in 0..rounds {
        let made;
        let run = match round {
            0 => crashed_run(),
            _ => {
                made = finish(&mut run_command(&format!("round-{round}"), &["--exact"]));
                &made
            }
        };
        is_exact(run);
        println!("round {round}: exact");
        if round > 0 {
            // 20 rounds are 20 dumps.
            fs::remove_dir_all(run.folder()).unwrap();
        }
    }
}

#[test]
fn a_buffer_freed_in_flight_gives_the_same_value() {
    let _guard = one_at_a_time();
    let args = ["--fault", "early-free", "--exact"];
    let run = finish(&mut run_command("early-free", &args));
    is_exact(&run);
    assert_eq!(run.reports("freed")[0]["in_flight"], true);
}

#[test]
fn the_controls_survive() {
    let _guard = one_at_a_time();
    for (fault, proof) in [("none", "nothing-done"), ("early-free-fixed", "cancelled")] {
        let args = ["--fault", fault, "--expect", "no-crash"];
        let run = finish(&mut run_command(fault, &args));
        assert_eq!(run.code, 0, "{}", run.text());
        assert_eq!(run.result["verdict"], "no-crash", "{}", run.text());
        assert_eq!(run.reports(proof).len(), 1, "{fault}: the fault's code ran");
        // Without that a control is worth nothing: the scenario's own request, by its wLength, reached the device.
        let mut device = run.said("device").into_iter();
        let asked = |event: Value| event["event"] == "request" && event["setup"]["length"] == 254;
        assert!(device.any(asked), "{fault}: the device was asked");
    }
}

#[test]
fn the_object_found_is_the_one_that_the_fault_wrote_to() {
    let _guard = one_at_a_time();
    let run = crashed_run();
    run.proves(&analysis(&run.folder(), &[]), 0);
}

/// 4.18 had no BTF. The dump has, and is enough alone; the kernel's own vmlinux adds lines and changes no fact.
#[test]
fn the_kernels_own_vmlinux_changes_no_fact_and_names_the_lines() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let debug = kept().join("usr/lib/debug");
    let with = analysis(&folder, &["--debug-dir", debug.to_str().unwrap()]);
    let without = analysis(&folder, &[]);
    assert_eq!(with["signature"], without["signature"]);
    let report = with["report"]["frames"].to_string();
    for function in ["rh_call_control", "usbdev_do_ioctl"] {
        assert!(report.contains(function), "{function} in {report}");
    }
}

/// Where drgn and crash are not installed, what they said of this crash before is the judge.
#[test]
fn what_drgn_and_crash_said_of_this_crash_holds() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let analysis = analysis(&folder, &[]);
    let registers = support::registers(&analysis);
    let release = &analysis["signature"]["context"]["release"]["value"];
    let ask = |words: &[&str]| {
        let mut asked = command(&["inspect"]);
        asked.arg(folder.join("vmcore")).args(words).arg("--json");
        let answer = finish(&mut asked);
        assert_eq!(answer.code, 0, "{words:?}: {}", answer.text());
        answer.result
    };
    let expected = Expected::read(TARGET);
    let differences = expected.differences(release.as_str().unwrap(), &registers, &ask);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The same crash with another value is not exact, and the exit code says so.
#[test]
fn another_value_of_the_same_crash_is_refused_by_exact_alone() {
    let session = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions/debian-5.10.toml");
    for (expect, code) in [("same-crash", 0), ("exact", 1)] {
        let judged = finish(command(&["compare", "--json", "--expect", expect]).arg(&session));
        assert_eq!(judged.code, code, "{}", judged.text());
        assert_eq!(judged.result["verdict"], "same-crash", "{}", judged.text());
        assert_eq!(judged.result["exact"], false);
        assert_eq!(judged.result["exit"], code);
    }
    let text = command(&["compare", "--expect", "exact"])
        .arg(&session)
        .output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "not as expected: same-crash with the value 74 00 61 00 20 00 30 00 for 38 03 56 00 69 00 72 00, \
         expected exact (--expect same-crash accepts this)"
    );
}

/// In another cache, so in other folders: what is kept has the same bytes.
#[test]
fn the_kernel_built_twice_has_the_same_bytes() {
    if std::env::var_os("RECRASH_REBUILD").is_none_or(|value| value != "1") {
        println!("skipped: RECRASH_REBUILD=1 builds the kernel a second time");
        return;
    }
    let _guard = one_at_a_time();
    let first = kept();
    let cache = scratch().join("second-cache");
    for folder in ["locks", "downloads"] {
        let from = first.join("../..").join(folder);
        fs::create_dir_all(cache.join(folder)).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, cache.join(folder).join(file.file_name().unwrap())).unwrap();
        }
    }
    let mut again = command(&["setup", "--target", TARGET]);
    let output = again.env("RECRASH_CACHE", &cache).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let second = cache.join("trees").join(first.file_name().unwrap());
    let (first, second) = (bytes_below(&first), bytes_below(&second));
    assert!(first.len() > 1000, "{} files", first.len());
    let names: BTreeSet<&PathBuf> = first.keys().chain(second.keys()).collect();
    let differ: Vec<_> = names
        .into_iter()
        .filter(|name| first.get(*name) != second.get(*name))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// `recrash run` on the target, with JSON output and a folder of its own.
fn run_command(name: &str, args: &[&str]) -> Command {
    set_up();
    let mut command = command(&["run", "--json", "--target", TARGET, "--out"]);
    command.arg(scratch().join(name)).args(args);
    command
}

fn set_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = command(&["setup", "--target", TARGET]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "recrash setup: {said}");
    });
}

/// A crash by the default fault, made once and looked at by several tests.
fn crashed_run() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| finish(&mut run_command("duplicate-dma", &["--exact"])))
}

/// Same crash, same value, and nothing to explain but the CPU and the compiler.
fn is_exact(run: &Finished) {
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(run.result["exact"], true, "{}", run.text());
    assert_eq!(run.result["unexplained"], Value::Array(vec![]));
    let unknown = run.result["unknown"].as_array().unwrap();
    let counts = |gap: &&Value| gap["part"] != "context";
    assert_eq!(unknown.iter().find(counts), None, "{}", run.text());
    let explained = run.result["explained"].as_array().unwrap();
    for difference in explained {
        let rule = difference["rule"].as_str().unwrap();
        let inlined = rule == INLINED && difference["field"] == "frames.chain";
        assert!(RULES.contains(&rule) || inlined, "{difference:#}");
    }
    assert_eq!(freelist(&run.folder()), VALUE, "{}", run.text());
}

/// `kmem_cache_cpu.freelist` of kmalloc-256 on the CPU that crashed.
fn freelist(folder: &Path) -> u64 {
    let analysis = analysis(folder, &[]);
    let facts = analysis["report"]["corruption"].as_array().unwrap();
    let site = facts.iter().find(|fact| fact["name"] == "where").unwrap();
    let proof = site["proof"].as_str().unwrap();
    // "kmem_cache_cpu.freelist at ADDRESS is VALUE == register; …"
    let value = proof
        .split_once(" is 0x")
        .and_then(|(_, rest)| rest.split_once(' '));
    let (digits, _) = value.unwrap_or_else(|| panic!("{proof}"));
    assert!(proof.starts_with("kmem_cache_cpu.freelist at "), "{proof}");
    u64::from_str_radix(digits, 16).unwrap()
}

/// What `recrash analyze` says of the run's vmcore.
fn analysis(folder: &Path, args: &[&str]) -> Value {
    let mut asked = command(&["analyze", "--json"]);
    let judged = finish(asked.args(args).arg(folder.join("vmcore")));
    assert_eq!(judged.code, 0, "{}", judged.text());
    judged.result
}

/// The kept build, by what set-up says.
fn kept() -> PathBuf {
    set_up();
    let ready = finish(&mut command(&["setup", "--json", "--target", TARGET]));
    let debug = ready.result["debug-dir"].as_str().unwrap();
    let debug = checkout().join(debug).canonicalize().unwrap();
    debug.ancestors().nth(3).unwrap().to_owned()
}

/// Every file and link below a folder.
fn bytes_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                out.insert(name, target.into_os_string().into_encoded_bytes());
            } else if kind.is_dir() {
                folders.push(path);
            } else {
                out.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    out
}
