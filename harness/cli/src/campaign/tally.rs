//! What many attempts come to together: counts, rates, times, and the one exit code. Judges no attempt itself.
use recrash_signature::compare::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

use super::interval::Rate;
use super::record::{Record, millis};
use crate::exit::Exit;

/// Every verdict, in the order in which they are shown.
pub(crate) const VERDICTS: [Verdict; 5] = [
    Verdict::SameCrash,
    Verdict::SameBug,
    Verdict::Different,
    Verdict::NoCrash,
    Verdict::Inconclusive,
];

/// Why a campaign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// All attempts were made.
    Complete,
    /// `--stop-at-first` had its verdict.
    AtFirst,
    /// A signal.
    Interrupted,
    /// Parts of it are missing, or were stopped.
    PartsMissing,
}

/// The sums.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// How many attempts were asked for.
    pub(crate) asked_for: u32,
    /// How many went to their end, whatever it was.
    pub(crate) done: u32,
    /// How many were cut off by whoever stopped the campaign; counted nowhere else.
    pub(crate) cut_off: u32,
    /// Why it ended.
    pub(crate) ended: Ended,
    /// How often each verdict was given.
    pub(crate) verdicts: BTreeMap<String, u32>,
    /// Attempts that met the expectation, of those that say anything.
    pub(crate) as_expected: Option<Rate>,
    /// Attempts in which the kernel died, of those that say anything.
    pub(crate) crashed: Option<Rate>,
    /// Whether the intervals hold: only if the number of attempts did not depend on what was seen.
    pub(crate) intervals_hold: bool,
    /// Median duration of an attempt that says something, in milliseconds.
    pub(crate) median_ms: Option<u64>,
    /// From the first attempt's start to the last one's end, in milliseconds.
    pub(crate) wall_ms: u64,
    /// Attempts that went to their end, by that time.
    pub(crate) per_minute: Option<f64>,
    /// The campaign's exit code.
    #[serde(serialize_with = "as_number")]
    pub(crate) exit: Exit,
}

fn as_number<S: serde::Serializer>(exit: &Exit, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(*exit as u8)
}

impl Tally {
    /// Sums up what was done of `asked_for` attempts within `wall`.
    pub(crate) fn of(records: &[Record], asked_for: u32, ended: Ended, wall: Duration) -> Self {
        let counted = |wanted: &dyn Fn(&Record) -> bool| {
            let fitting = records.iter().filter(|r| !r.was_stopped() && wanted(r));
            u32::try_from(fitting.count()).unwrap_or(u32::MAX)
        };
        let done = counted(&|_| true);
        let says_something = |r: &Record| r.exit != Exit::Inconclusive;
        let conclusive = counted(&says_something);
        let crashed = |r: &Record| says_something(r) && r.verdict != Verdict::NoCrash;
        let mut times: Vec<u64> = records
            .iter()
            .filter(|r| says_something(r))
            .map(|r| millis(r.took))
            .collect();
        times.sort_unstable();
        let minutes = wall.as_secs_f64() / 60.0;
        Self {
            asked_for,
            done,
            cut_off: u32::try_from(records.len())
                .unwrap_or(u32::MAX)
                .saturating_sub(done),
            ended,
            verdicts: VERDICTS
                .iter()
                .map(|v| (v.to_string(), counted(&|r| r.verdict == *v)))
                .collect(),
            as_expected: Rate::of(counted(&|r| r.exit == Exit::Met), conclusive),
            crashed: Rate::of(counted(&crashed), conclusive),
            intervals_hold: ended != Ended::AtFirst,
            median_ms: median(&times),
            wall_ms: millis(wall),
            per_minute: (done > 0 && minutes > 0.0).then(|| f64::from(done) / minutes),
            exit: exit(records, asked_for, ended),
        }
    }
}

/// The campaign's exit code.
///
/// A conclusive attempt against the expectation stands, whatever the others would have said: so 1 and 3 come before 4.
/// What was not done, or failed, may have been against it as well: so 4 comes before 0.
fn exit(records: &[Record], asked_for: u32, ended: Ended) -> Exit {
    let any = |exit: Exit| records.iter().any(|record| record.exit == exit);
    // A part may have nothing to do.
    let nothing = records.is_empty() && asked_for > 0;
    let missing = nothing || matches!(ended, Ended::Interrupted | Ended::PartsMissing);
    for (exit, found) in [
        (Exit::Differs, any(Exit::Differs)),
        (Exit::CrashOrNot, any(Exit::CrashOrNot)),
        (Exit::Inconclusive, any(Exit::Inconclusive) || missing),
    ] {
        if found {
            return exit;
        }
    }
    Exit::Met
}

/// Of sorted values; of the two in the middle, their mean.
fn median(sorted: &[u64]) -> Option<u64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(middle.checked_sub(1)?)?;
    Some(lower + (upper - lower) / 2)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use recrash_machine::run::FailureKind;

    /// An attempt of this verdict, which took so many seconds, where a same crash is expected.
    pub(crate) fn record(number: u32, verdict: Verdict, seconds: u64) -> Record {
        Record {
            number,
            verdict,
            exit: crate::expect::decide_verdict(crate::expect::Expect::SameCrash, verdict),
            why: format!("why {number}"),
            failure: None,
            took: Duration::from_secs(seconds),
            run: Some(format!("/runs/{number}").into()),
            case: None,
            result: serde_json::json!({"type": "result", "verdict": verdict.to_string()}),
        }
    }

    fn records(verdicts: &[Verdict]) -> Vec<Record> {
        let all = (1..).zip(verdicts);
        all.map(|(number, verdict)| record(number, *verdict, u64::from(number)))
            .collect()
    }

    fn check(verdicts: &[Verdict], ended: Ended, expected: Exit) {
        let records = records(verdicts);
        let tally = Tally::of(&records, 9, ended, Duration::from_secs(60));
        assert_eq!(tally.exit, expected, "{verdicts:?} {ended:?}");
    }

    use Verdict::{Different, Inconclusive, NoCrash, SameCrash};

    #[test]
    fn a_conclusive_failure_outranks_a_failed_attempt_which_outranks_success() {
        check(&[SameCrash, SameCrash], Ended::Complete, Exit::Met);
        check(
            &[SameCrash, Inconclusive],
            Ended::Complete,
            Exit::Inconclusive,
        );
        check(
            &[SameCrash, Inconclusive, NoCrash],
            Ended::Complete,
            Exit::CrashOrNot,
        );
        check(
            &[NoCrash, Inconclusive, Different],
            Ended::Complete,
            Exit::Differs,
        );
    }

    #[test]
    fn what_was_interrupted_is_never_a_success() {
        check(&[SameCrash], Ended::Interrupted, Exit::Inconclusive);
        check(&[SameCrash], Ended::AtFirst, Exit::Met);
        check(&[NoCrash], Ended::Interrupted, Exit::CrashOrNot);
        check(&[], Ended::Complete, Exit::Inconclusive);
    }

    #[test]
    fn failed_attempts_are_in_no_rate_and_cut_off_ones_in_no_count() {
        let mut records = records(&[SameCrash, NoCrash, Inconclusive, Inconclusive]);
        records[3].failure = Some(FailureKind::Stopped);
        let tally = Tally::of(&records, 5, Ended::Interrupted, Duration::from_secs(30));
        assert_eq!((tally.done, tally.cut_off), (3, 1));
        let crashed = tally.crashed.unwrap();
        assert_eq!((crashed.count, crashed.of), (1, 2));
        assert_eq!(tally.verdicts["inconclusive"], 1);
        assert_eq!(tally.median_ms, Some(1500));
        assert_eq!(tally.per_minute, Some(6.0));
    }

    #[test]
    fn a_number_of_attempts_that_depends_on_what_was_seen_gives_no_interval() {
        let records = records(&[NoCrash, SameCrash]);
        let wall = Duration::from_secs(1);
        assert!(!Tally::of(&records, 9, Ended::AtFirst, wall).intervals_hold);
        assert!(Tally::of(&records, 2, Ended::Complete, wall).intervals_hold);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1, 5, 100]), Some(5));
        assert_eq!(median(&[1, 5, 8, u64::MAX]), Some(6));
    }
}
