//! The titles of logs whose titles are known. Where the logs are says `RECRASH_CORPUS`; without it nothing is checked.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
use recrash_oops::report::{Report, reports};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of the x86-64 logs that are not marked as corrupted; the bar is 95.
const PERCENT: usize = 95;
/// For one log.
const SLOWEST: Duration = Duration::from_millis(50);

struct Case {
    name: String,
    titles: Vec<String>,
    corrupted: bool,
    log: String,
}

fn corpus() -> Option<Vec<Case>> {
    let Some(folder) = std::env::var_os("RECRASH_CORPUS").map(PathBuf::from) else {
        eprintln!("RECRASH_CORPUS is not set: nothing is checked");
        return None;
    };
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    Some(files.map(|file| case(&file.unwrap().path())).collect())
}

fn case(path: &Path) -> Case {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).replace("\r\n", "\n");
    let (header, log) = text.split_once("\n\n").unwrap_or(("", &text));
    let values = |key: &str| {
        header
            .lines()
            .filter_map(|line| line.strip_prefix(key))
            .map(|value| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let log = log.split("\nREPORT:").next().unwrap_or_default();
    Case {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        titles: [values("TITLE:"), values("ALT:")]
            .concat()
            .into_iter()
            .filter(|title| !title.is_empty())
            .collect(),
        corrupted: values("CORRUPTED:").iter().any(|value| value == "Y"),
        log: log.to_owned(),
    }
}

fn fits(case: &Case, report: &Report) -> bool {
    let mut own = std::iter::once(&report.title).chain(&report.alternatives);
    own.any(|title| case.titles.contains(title))
}

/// Other machines have their own names of registers and of exceptions.
fn is_x86(log: &str) -> bool {
    recrash_oops::machine::of(log).is_none()
}

#[test]
fn known_titles_are_found() {
    let Some(cases) = corpus() else { return };
    let cases: Vec<&Case> = cases
        .iter()
        .filter(|case| !case.titles.is_empty() && !case.corrupted && is_x86(&case.log))
        .collect();
    let missed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let first = reports(&case.log).into_iter().next();
            let fits = first.as_ref().is_some_and(|report| fits(case, report));
            (!fits).then(|| {
                format!(
                    "{}: {:?} got {:?}",
                    case.name,
                    case.titles.first(),
                    first.map(|report| report.title)
                )
            })
        })
        .collect();
    eprintln!(
        "{} of {} missed\n{}",
        missed.len(),
        cases.len(),
        missed.join("\n")
    );
    assert!(!cases.is_empty(), "no logs");
    assert!(
        missed.len() * 100 <= cases.len() * (100 - PERCENT),
        "missed:\n{}",
        missed.join("\n")
    );
}

#[test]
fn logs_without_a_title_have_no_report() {
    let Some(cases) = corpus() else { return };
    for case in cases.iter().filter(|case| case.titles.is_empty()) {
        assert_eq!(reports(&case.log), [], "{}", case.name);
    }
}

#[test]
fn no_log_takes_long() {
    let Some(cases) = corpus() else { return };
    // Patterns are compiled when they are first used.
    for case in &cases {
        let _ = reports(&case.log);
    }
    for case in &cases {
        let best = (0..3).map(|_| {
            let start = Instant::now();
            let _ = reports(&case.log);
            start.elapsed()
        });
        let best = best.min().unwrap();
        assert!(best < SLOWEST, "{} takes {best:?}", case.name);
    }
}
