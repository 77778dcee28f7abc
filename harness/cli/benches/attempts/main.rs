//! Attempts per minute: fresh boots with kdump, fresh boots that QEMU dumps, and restores of one snapshot that QEMU
//! dumps, one after the other in one run, each with its signature and verdict. Asserts nothing: it measures.
//!
//! `cargo bench -p recrash --bench attempts`. `RECRASH_BENCH_TARGET` names the target (default debian, which must be set
//! up), `RECRASH_BENCH_FRESH` and `RECRASH_BENCH_RESTORED` how many attempts of each kind (default 3 and 20),
//! `RECRASH_BENCH_JOBS` how many at once (default 1).
#![expect(
    clippy::unwrap_used,
    reason = "a measurement whose set-up fails is none"
)]
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What the snapshots have to be worth.
const TIMES_FRESH: f64 = 8.0;

/// A kind of attempts, measured.
struct Measured {
    name: &'static str,
    per_minute: f64,
    median_s: f64,
    verdicts: String,
    /// Everything, with what comes before the attempts.
    whole_s: f64,
}

fn main() {
    let var = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let target = var("RECRASH_BENCH_TARGET", "debian");
    let fresh = var("RECRASH_BENCH_FRESH", "3");
    let restored = var("RECRASH_BENCH_RESTORED", "20");
    let jobs = var("RECRASH_BENCH_JOBS", "1");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-attempts");
    let _ = std::fs::remove_dir_all(&scratch);
    let kinds: [(&str, &str, &[&str]); 3] = [
        ("fresh boots, kdump", &fresh, &["--capture", "kdump"]),
        ("fresh boots, QEMU's dump", &fresh, &["--capture", "qemu"]),
        (
            "one snapshot, QEMU's dump",
            &restored,
            &["--capture", "qemu", "--from-snapshot"],
        ),
    ];
    println!("target {target}, {jobs} at once");
    let mut results = Vec::new();
    for (name, attempts, options) in kinds {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recrash"));
        command
            .args(["run", "--json", "--target", &target])
            .args(["--attempts", attempts, "--jobs", &jobs])
            .args(options)
            .arg("--out")
            .arg(scratch.join(options.concat()));
        match measure(name, command) {
            Ok(result) => {
                print(&result);
                results.push(result);
            }
            Err(why) => println!("{name}: not measured: {why}"),
        }
    }
    if let [kdump, qemu, snapshot] = &results[..] {
        let times = |other: &Measured| snapshot.per_minute / other.per_minute;
        println!(
            "a snapshot gives {:.1} times as many as fresh boots with kdump, {:.1} times as many as with QEMU's dump ({TIMES_FRESH} wanted: {})",
            times(kdump),
            times(qemu),
            if times(qemu) >= TIMES_FRESH {
                "met"
            } else {
                "missed"
            }
        );
    }
    let _ = std::fs::remove_dir_all(&scratch);
}

fn measure(name: &'static str, mut command: Command) -> Result<Measured, String> {
    let begin = Instant::now();
    let output = command.current_dir(checkout()).output().unwrap();
    let whole_s = begin.elapsed().as_secs_f64();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary: Value = stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_default();
    let number = |name: &str| summary[name].as_f64();
    let (Some(per_minute), Some(median_ms)) = (number("per_minute"), number("median_ms")) else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    };
    let verdicts = summary["verdicts"].as_object().into_iter().flatten();
    let verdicts: Vec<String> = verdicts
        .filter(|(_, count)| **count != 0)
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    Ok(Measured {
        name,
        per_minute,
        median_s: median_ms / 1000.0,
        verdicts: verdicts.join(", "),
        whole_s,
    })
}

fn print(result: &Measured) {
    println!(
        "{:<26} {:>7.1} a minute, median {:>6.2} s ({}; {:.1} s in all)",
        result.name, result.per_minute, result.median_s, result.verdicts, result.whole_s
    );
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
