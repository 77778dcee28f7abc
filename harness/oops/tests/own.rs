//! Oopses of our own: each file of `own/` is the console of a real boot, in the format of syzkaller's report tests, with
//! a title that was written by hand. What the log prints of place, registers and frames has to be found, and soon.
//!
//! The logs are read here a second time, by plain splitting of lines at fixed words, so that the two readings share
//! nothing.
#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]
use recrash_oops::Report;
use recrash_oops::details::{Details, details};
use recrash_oops::report::{Kind, reports};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What one log may take.
const SOON: Duration = Duration::from_millis(50);
/// How many oopses there have to be.
const ENOUGH: usize = 20;

struct Case {
    name: String,
    /// The title, then its alternatives.
    titles: Vec<String>,
    corrupted: bool,
    log: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own");
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut texts: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "txt"))
        .collect();
    texts.sort();
    texts.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    let (header, log) = text.split_once("\n\n").unwrap();
    assert!(header.starts_with("TITLE: "), "{path:?}");
    let titles = header.lines().filter_map(|line| {
        let title = line.strip_prefix("TITLE: ");
        title.or_else(|| line.strip_prefix("ALT: "))
    });
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        titles: titles.map(str::to_owned).collect(),
        corrupted: header.lines().any(|line| line == "CORRUPTED: Y"),
        log: log.to_owned(),
    }
}

/// The lines of the first report: what follows its call trace below another "cut here" is the next one's.
fn first_report(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let at = |from: usize, end: &str| {
        let rest = lines.get(from..).unwrap();
        rest.iter().position(|line| line.ends_with(end))
    };
    let trace = at(0, "Call Trace:").unwrap_or_default();
    let more = at(trace, "[ cut here ]------------").map(|more| trace + more);
    lines[..more.unwrap_or(lines.len())].join("\n")
}

/// The details of everything in the log.
fn of(log: &str) -> Details {
    let report = Report {
        lines: 0..log.lines().count(),
        kind: Kind::Other,
        title: String::new(),
        alternatives: Vec::new(),
        function: None,
        corrupted: None,
    };
    details(log, &report)
}

/// What follows the time before a line, with `printk.time=0` the line.
fn message(line: &str) -> &str {
    let stamped = line.starts_with('[') && line.get(13..15) == Some("] ");
    if stamped {
        line.get(15..).unwrap()
    } else {
        line
    }
}

/// Calls `check` with the name of each log, its messages and what was found in it.
fn check(check: impl Fn(&str, &[&str], &Details)) {
    for case in cases() {
        let log = first_report(&case.log);
        let messages: Vec<&str> = log.lines().map(message).collect();
        check(&case.name, &messages, &of(&log));
    }
}

#[test]
fn there_are_enough_of_several_kernels() {
    let cases = cases();
    assert!(cases.len() >= ENOUGH, "{}", cases.len());
    for release in ["5.10.", "6.1.", "6.12."] {
        let of_it = |case: &&Case| case.log.contains(&format!(" {release}"));
        assert!(cases.iter().filter(of_it).count() >= 5, "{release}");
    }
}

#[test]
fn no_log_takes_long() {
    for case in cases() {
        let once = || {
            let start = Instant::now();
            of(&case.log);
            let _ = reports(&case.log);
            start.elapsed()
        };
        // The first call in a process compiles the rules.
        let taken = once().min(once());
        assert!(taken < SOON, "{}: {taken:?}", case.name);
    }
}

#[test]
fn the_place_is_the_first_that_is_not_user_space() {
    check(|name, messages, found| {
        let first = messages
            .iter()
            .find_map(|message| message.strip_prefix("RIP: 0010:"));
        let rip = found.rip.as_ref().map(|rip| &rip.value);
        let symbol = rip.and_then(|place| place.symbol.as_deref());
        let expected = first.and_then(|place| place.split_once('+'));
        assert_eq!(symbol, expected.map(|(symbol, _)| symbol), "{name}");
        let offset = expected.and_then(|(_, rest)| rest.split('/').next());
        let offset = offset.and_then(|hex| u64::from_str_radix(hex.strip_prefix("0x")?, 16).ok());
        let of_rip = rip.and_then(|place| place.offset);
        assert_eq!(of_rip, offset, "{name}");
    });
}

#[test]
fn the_registers_are_those_printed_below_that_place() {
    check(|name, messages, found| {
        let Some(at) = messages.iter().position(|m| m.starts_with("RIP: 0010:")) else {
            return;
        };
        let Some(line) = messages[at..].iter().position(|m| m.starts_with("RAX: ")) else {
            return;
        };
        let words: Vec<&str> = messages[at + line..at + line + 5]
            .iter()
            .flat_map(|message| message.split(' '))
            .collect();
        for pair in words.as_chunks::<2>().0 {
            let register = pair[0].trim_end_matches(':').to_lowercase();
            let value = u64::from_str_radix(pair[1], 16).unwrap();
            let mut of_name = found.registers.iter().map(|found| &found.value);
            let read = of_name.find(|(name, _)| *name == register_name(&register));
            assert_eq!(
                read.map(|(_, value)| *value),
                Some(value),
                "{name}: {register}"
            );
        }
    });
}

/// `R08` is printed, `r8` is its name.
fn register_name(printed: &str) -> String {
    printed.replace("r0", "r")
}

#[test]
fn the_frames_are_those_of_the_first_call_trace() {
    check(|name, messages, found| {
        let Some(at) = messages.iter().position(|m| *m == "Call Trace:") else {
            return;
        };
        let trace: Vec<&str> = messages[at + 1..]
            .iter()
            .take_while(|message| message.starts_with(' '))
            .map(|message| message.trim())
            .collect();
        let printed = |line: &&&str| line.contains("+0x") && !line.starts_with('?');
        let expected: Vec<&str> = trace
            .iter()
            .filter(printed)
            .filter_map(|line| line.split('+').next())
            .collect();
        let reliable = found.frames.iter().filter(|frame| frame.value.reliable);
        let symbols: Vec<&str> = reliable
            .filter_map(|frame| frame.value.place.symbol.as_deref())
            .collect();
        let shown = expected.len().min(symbols.len());
        assert_eq!(symbols[..shown], expected[..], "{name}");
    });
}

#[test]
fn process_and_release_are_those_of_the_first_line_that_tells() {
    check(|name, messages, found| {
        let who = messages.iter().find(|m| m.starts_with("CPU: ")).unwrap();
        let after = |word: &str| {
            who.split(word)
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
        };
        let cpu = found.cpu.as_ref().map(|at| at.value.to_string());
        assert_eq!(cpu.as_deref(), Some(after("CPU: ")), "{name}");
        let pid = found.pid.as_ref().map(|at| at.value.to_string());
        assert_eq!(pid.as_deref(), Some(after(" PID: ")), "{name}");
        let comm = found.comm.as_ref().map(|at| at.value.as_str());
        assert_eq!(comm, Some(after(" Comm: ")), "{name}");
        let release = found.release.as_ref().unwrap();
        assert!(who.contains(&format!(" {} #1 ", release.value)), "{name}");
    });
}

#[test]
fn the_first_report_has_the_title_written_by_hand_or_one_of_its_alternatives() {
    let wrong: Vec<String> = cases()
        .iter()
        .filter_map(|case| {
            let found = reports(&case.log);
            let Some(report) = found.first() else {
                return Some(format!("{}: no report", case.name));
            };
            // Where two CPUs wrote at once, a title is a guess: what counts is that the report says so.
            let warned = case.corrupted && report.corrupted.is_some();
            let fits = warned || case.titles.contains(&report.title);
            let Report {
                title, corrupted, ..
            } = report;
            let shown = format!(
                "{}: {title} ({corrupted:?}), expected {:?}",
                case.name, case.titles
            );
            (!fits).then_some(shown)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
