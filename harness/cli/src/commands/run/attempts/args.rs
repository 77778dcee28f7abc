//! The options of many attempts. Makes none.
use recrash_signature::compare::Verdict;

use crate::campaign::record::Record;
use crate::exit::Exit;

/// Most attempts, and most at once: more is a slip of the finger.
const MOST_ATTEMPTS: i64 = 100_000;
const MOST_JOBS: i64 = 256;

/// Options of `recrash run`.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Many attempts")]
pub(in crate::commands::run) struct AttemptsArgs {
    /// Make N attempts, each a fresh boot with a folder of its own, and sum them up
    ///
    /// The exit code is the first of 1, 3, 4 that any attempt ended with, else 0: what one of them proves, others that
    /// failed do not take back. What failed counts neither as a crash nor as none. The summary has the rates with exact
    /// 95 % intervals (Clopper and Pearson), and is kept in campaigns/ beside the runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_ATTEMPTS))]
    pub(in crate::commands::run) attempts: Option<u32>,
    /// How many attempts at once; each has a guest of its own, with its memory and its processors
    #[arg(long, value_name = "J", default_value_t = 1, requires = "attempts", value_parser = clap::value_parser!(u32).range(1..=MOST_JOBS))]
    pub(in crate::commands::run) jobs: u32,
    /// Begin no more attempts after the first one of this kind
    #[arg(long, value_name = "WHAT", requires = "attempts")]
    pub(in crate::commands::run) stop_at_first: Option<StopAt>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::commands::run) enum StopAt {
    /// The verdict same-crash.
    SameCrash,
    /// The verdict same-bug.
    SameBug,
    /// The verdict different.
    Different,
    /// Any crash.
    Crash,
    /// The verdict no-crash.
    NoCrash,
    /// The verdict inconclusive.
    Inconclusive,
    /// A verdict against --expect; inconclusive is none.
    Mismatch,
}

impl StopAt {
    /// Whether this attempt is what was waited for. One that somebody stopped never is.
    pub(super) fn meets(self, record: &Record) -> bool {
        let crashed = matches!(
            record.verdict,
            Verdict::SameCrash | Verdict::SameBug | Verdict::Different
        );
        !record.was_stopped()
            && match self {
                Self::SameCrash => record.verdict == Verdict::SameCrash,
                Self::SameBug => record.verdict == Verdict::SameBug,
                Self::Different => record.verdict == Verdict::Different,
                Self::Crash => crashed,
                Self::NoCrash => record.verdict == Verdict::NoCrash,
                Self::Inconclusive => record.verdict == Verdict::Inconclusive,
                Self::Mismatch => matches!(record.exit, Exit::Differs | Exit::CrashOrNot),
            }
    }

    /// The word of the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SameCrash => "same-crash",
            Self::SameBug => "same-bug",
            Self::Different => "different",
            Self::Crash => "crash",
            Self::NoCrash => "no-crash",
            Self::Inconclusive => "inconclusive",
            Self::Mismatch => "mismatch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::{Expect, decide};
    use clap::ValueEnum;
    use recrash_machine::run::FailureKind;
    use std::time::Duration;

    fn record(verdict: Verdict, failure: Option<FailureKind>) -> Record {
        Record {
            number: 1,
            verdict,
            exit: decide(Expect::SameCrash, verdict),
            why: String::new(),
            failure,
            took: Duration::ZERO,
            run: None,
            result: serde_json::Value::Null,
        }
    }

    /// The kinds that an attempt of this verdict is, where a same crash is expected.
    fn check(verdict: Verdict, failure: Option<FailureKind>, expected: &[&str]) {
        let record = record(verdict, failure);
        let kinds: Vec<&str> = StopAt::value_variants()
            .iter()
            .filter(|kind| kind.meets(&record))
            .map(|kind| kind.name())
            .collect();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn an_attempt_is_of_its_verdicts_kind_and_perhaps_of_wider_ones() {
        check(Verdict::SameCrash, None, &["same-crash", "crash"]);
        check(Verdict::SameBug, None, &["same-bug", "crash", "mismatch"]);
        check(Verdict::NoCrash, None, &["no-crash", "mismatch"]);
        check(Verdict::Inconclusive, None, &["inconclusive"]);
        check(Verdict::Inconclusive, Some(FailureKind::Stopped), &[]);
    }

    #[test]
    fn the_names_are_those_of_the_command_line() {
        for kind in StopAt::value_variants() {
            assert_eq!(StopAt::from_str(kind.name(), false).as_ref(), Ok(kind));
        }
    }
}
