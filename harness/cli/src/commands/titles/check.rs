//! Holds the first report of a log against the titles expected of it, and counts. It prints nothing.
use recrash_oops::report::reports;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::case::Case;

/// What came of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The title or an alternative is one of those expected, or none was expected and none came.
    Fits,
    /// The first report has another title, or there is none.
    Misses { got: Option<String> },
    /// Marked as corrupted, so counted apart.
    Corrupted { fits: bool },
    /// Not looked at, and why.
    Skipped { why: String },
}

/// One log with its verdict.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) expected: Vec<String>,
    pub(super) verdict: Verdict,
    /// How long finding all its reports took.
    pub(super) took: Duration,
}

impl Checked {
    /// Checks a log; `whole`: as if none was corrupted.
    pub(super) fn of(case: &Case, name: String, whole: bool) -> Self {
        let start = Instant::now();
        let verdict = verdict(case, whole);
        Self {
            name,
            expected: case.titles.clone(),
            verdict,
            took: start.elapsed(),
        }
    }
}

fn verdict(case: &Case, whole: bool) -> Verdict {
    if !case.headed {
        return Verdict::Skipped {
            why: "no header above the log".to_owned(),
        };
    }
    if let Some(machine) = recrash_oops::machine::of(&case.log) {
        return Verdict::Skipped {
            why: format!("a log of {machine}"),
        };
    }
    let first = reports(&case.log).into_iter().next();
    let fits = match &first {
        Some(report) => std::iter::once(&report.title)
            .chain(&report.alternatives)
            .any(|title| case.titles.contains(title)),
        None => case.titles.is_empty(),
    };
    match (case.corrupted && !whole, fits) {
        (true, fits) => Verdict::Corrupted { fits },
        (false, true) => Verdict::Fits,
        (false, false) => Verdict::Misses {
            got: first.map(|report| report.title),
        },
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) counted: usize,
    pub(super) fit: usize,
    pub(super) corrupted: usize,
    pub(super) corrupted_fit: usize,
    /// Reasons and how many.
    pub(super) skipped: BTreeMap<String, usize>,
    pub(super) slowest: Option<(String, Duration)>,
}

impl Summary {
    /// Counts.
    pub(super) fn of(checked: &[Checked]) -> Self {
        let mut summary = Self::default();
        for log in checked {
            match &log.verdict {
                Verdict::Skipped { why } => *summary.skipped.entry(why.clone()).or_default() += 1,
                Verdict::Corrupted { fits } => {
                    summary.corrupted += 1;
                    summary.corrupted_fit += usize::from(*fits);
                }
                Verdict::Fits | Verdict::Misses { .. } => {
                    summary.counted += 1;
                    summary.fit += usize::from(log.verdict == Verdict::Fits);
                }
            }
        }
        // The first one pays for compiling the patterns.
        summary.slowest = checked
            .iter()
            .skip(1)
            .max_by_key(|log| log.took)
            .map(|log| (log.name.clone(), log.took));
        summary
    }

    /// Of those that count.
    pub(super) fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let (fit, counted) = (self.fit as f64, self.counted.max(1) as f64);
        fit * 100.0 / counted
    }

    /// The same for machines.
    pub(super) fn json(&self, checked: &[Checked], at_least: u32) -> serde_json::Value {
        let misses: Vec<serde_json::Value> = checked
            .iter()
            .filter_map(|log| match &log.verdict {
                Verdict::Misses { got } => Some(
                    serde_json::json!({ "file": log.name, "expected": log.expected, "got": got }),
                ),
                _ => None,
            })
            .collect();
        serde_json::json!({
            "checked": self.counted,
            "fit": self.fit,
            "percent": self.percent(),
            "at_least": at_least,
            "misses": misses,
            "corrupted": { "checked": self.corrupted, "fit": self.corrupted_fit },
            "skipped": self.skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, titles: &[&str], verdict: Verdict) {
        let case = Case {
            headed: true,
            titles: titles.iter().map(|title| (*title).to_owned()).collect(),
            log: log.to_owned(),
            ..Case::default()
        };
        assert_eq!(Checked::of(&case, String::new(), false).verdict, verdict);
    }

    const PANIC: &str = "Kernel panic - not syncing: out of cheese\n";

    #[test]
    fn a_log_fits_by_title_or_by_having_none() {
        check(PANIC, &["kernel panic: out of cheese"], Verdict::Fits);
        check(
            PANIC,
            &["other", "kernel panic: out of cheese"],
            Verdict::Fits,
        );
        check("all is well\n", &[], Verdict::Fits);
    }

    #[test]
    fn a_log_misses_by_another_title_by_none_and_by_one_too_many() {
        let got = Some("kernel panic: out of cheese".to_owned());
        check(PANIC, &["other"], Verdict::Misses { got: got.clone() });
        check(PANIC, &[], Verdict::Misses { got });
        check("all is well\n", &["other"], Verdict::Misses { got: None });
    }

    #[test]
    fn logs_of_other_machines_are_skipped() {
        check(
            "pstate: 60400005 (nZCv daif)\n",
            &["x"],
            Verdict::Skipped {
                why: "a log of arm64".to_owned(),
            },
        );
    }
}
