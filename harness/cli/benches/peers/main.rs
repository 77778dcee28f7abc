//! recrash against its peers on one dump, in one run: wall time, peak memory, ratios, and the bars they have to clear.
//! Then how the cost grows with the dump's size and with the number of tasks. Asserts nothing: it measures.
//!
//! `RECRASH_BENCH_DUMP=vmcore RECRASH_BENCH_VMLINUX=vmlinux cargo bench -p recrash --bench peers`; the dump a
//! makedumpfile-compressed one, vmlinux with DWARF. `RECRASH_BENCH_MANY_TASKS` names another dump, of a kernel with
//! many tasks; `RECRASH_BENCH_ROUNDS` says how often each is run (default 5). `RECRASH_DRGN` and `RECRASH_CRASH` name
//! the peers where the path does not.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement whose set-up fails is none"
)]
mod growth;
mod measure;

use measure::{Contender, Sample, Summary};
use std::path::{Path, PathBuf};

/// Signature from the dump alone: seconds and MiB.
const SIGNATURE_SECONDS: f64 = 0.1;
const SIGNATURE_MIB: f64 = 100.0;
/// How many times drgn's and crash's time the signature may take at most one of.
const FASTER_THAN_DRGN: f64 = 3.0;
const FASTER_THAN_CRASH: f64 = 50.0;
const ROUNDS: usize = 5;

/// What is measured, with the names of the rows.
const SIGNATURE: &str = "recrash analyze DUMP";
const BACKTRACE: &str = "recrash inspect DUMP bt";
const DWARF_COLD: &str = "recrash bt --vmlinux, cold cache";
const DWARF_WARM: &str = "recrash bt --vmlinux, warm cache";
const DRGN: &str = "drgn with vmlinux, backtrace";
const CRASH: &str = "crash with vmlinux, bt";

fn main() {
    let input = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let Some(dump) = input("RECRASH_BENCH_DUMP") else {
        println!(
            "nothing measured: RECRASH_BENCH_DUMP names no dump (and RECRASH_BENCH_VMLINUX no vmlinux)"
        );
        return;
    };
    let vmlinux = input("RECRASH_BENCH_VMLINUX");
    if vmlinux.is_none() {
        println!("RECRASH_BENCH_VMLINUX names no vmlinux: no peers, no DWARF");
    }
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-peers");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).unwrap();

    let contenders = contenders(&dump, vmlinux.as_deref(), &scratch);
    let results = race(&contenders);
    print_results(&results);
    print_bars(&results);
    growth::by_size(&dump, &scratch);
    growth::by_tasks(&dump, input("RECRASH_BENCH_MANY_TASKS").as_deref());
    let _ = std::fs::remove_dir_all(&scratch);
}

fn contenders(dump: &Path, vmlinux: Option<&Path>, scratch: &Path) -> Vec<Contender> {
    let recrash = || Contender::recrash(&scratch.join("cache"));
    let mut all = vec![
        recrash().named(SIGNATURE).arg("analyze").arg(dump),
        recrash()
            .named(BACKTRACE)
            .arg("inspect")
            .arg(dump)
            .arg("bt"),
    ];
    let Some(vmlinux) = vmlinux else { return all };
    if measure::knows_vmlinux() {
        for name in [DWARF_COLD, DWARF_WARM] {
            let with = recrash().named(name).arg("inspect").arg(dump);
            let mut with = with.arg("bt").arg("-l").arg("--vmlinux").arg(vmlinux);
            with.forgets = (name == DWARF_COLD).then(|| scratch.join("cache"));
            all.push(with);
        }
    } else {
        println!("this recrash's inspect has no --vmlinux: not measured");
    }
    let peer = |variable: &str, program: &str| measure::find(variable, program);
    if let Some(drgn) = peer("RECRASH_DRGN", "drgn") {
        let script = "print(prog.crashed_thread().stack_trace())";
        let drgn = Contender::program(&drgn)
            .named(DRGN)
            .arg("-q")
            .arg("-c")
            .arg(dump);
        all.push(drgn.arg("-s").arg(vmlinux).arg("-e").arg(script));
    }
    if let Some(crash) = peer("RECRASH_CRASH", "crash") {
        let mut crash = Contender::program(&crash)
            .named(CRASH)
            .arg("-s")
            .arg(vmlinux)
            .arg(dump);
        crash.input = "bt\nquit\n".into();
        all.push(crash);
    }
    all
}

/// Every contender once to fill the page cache, then in turn, so that a busy minute hits all alike.
fn race(contenders: &[Contender]) -> Vec<Summary> {
    let rounds = std::env::var("RECRASH_BENCH_ROUNDS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            let sample = contender.run();
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let named = contenders.iter().zip(samples);
    named
        .map(|(contender, samples)| Summary::of(&contender.name, &samples))
        .collect()
}

fn print_results(results: &[Summary]) {
    let base = results.first().map_or(1.0, |first| first.seconds);
    println!(
        "\n{:36} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "median of the runs", "seconds", "least", "CPU s", "MiB peak", "× first"
    );
    for result in results {
        println!(
            "{:36} {:9.3} {:9.3} {:9.3} {:9.1} {:9.1}{}",
            result.name,
            result.seconds,
            result.least,
            result.cpu_seconds,
            result.mib,
            result.seconds / base,
            if result.failed { "  FAILED" } else { "" }
        );
    }
}

fn print_bars(results: &[Summary]) {
    let find = |name: &str| results.iter().find(|r| r.name == name && !r.failed);
    let Some(signature) = find(SIGNATURE) else {
        println!("\nno signature came of this dump: nothing to hold against the bars");
        return;
    };
    println!();
    bar(
        "signature, seconds at most",
        signature.seconds,
        SIGNATURE_SECONDS,
        true,
    );
    bar("signature, MiB at most", signature.mib, SIGNATURE_MIB, true);
    if let Some(drgn) = find(DRGN) {
        let ratio = drgn.seconds / signature.seconds;
        bar(
            "times faster than drgn, at least",
            ratio,
            FASTER_THAN_DRGN,
            false,
        );
        if let Some(warm) = find(DWARF_WARM) {
            let what = "DWARF and warm cache, part of drgn's time, at most";
            bar(what, warm.seconds / drgn.seconds, 1.0, true);
        }
    }
    if let Some(crash) = find(CRASH) {
        let ratio = crash.seconds / signature.seconds;
        bar(
            "times faster than crash, at least",
            ratio,
            FASTER_THAN_CRASH,
            false,
        );
    }
}

fn bar(what: &str, measured: f64, limit: f64, at_most: bool) {
    let clears = if at_most {
        measured <= limit
    } else {
        measured >= limit
    };
    let verdict = if clears { "clears" } else { "MISSES" };
    println!("{what:52} {limit:8.2}: {measured:8.3}  {verdict}");
}

/// The same command some times: its median.
fn several(contender: &Contender) -> Summary {
    let mut samples: Vec<Sample> = (0..4).map(|_| contender.run()).collect();
    samples.remove(0);
    Summary::of(&contender.name, &samples)
}
