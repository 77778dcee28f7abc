//! The options of many attempts. Makes none.
use anyhow::anyhow;
use recrash_signature::compare::Verdict;
use std::path::PathBuf;

use crate::campaign::record::Record;
use crate::exit::Exit;
use crate::failure::Failure;

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
    /// Boot once, and let every attempt go on from a snapshot taken right before the scenario
    ///
    /// Such attempts are not independent boots: addresses, the kernel's random numbers and its secrets are the same in
    /// each, and the summary says so. Use it with --capture qemu: then an attempt takes about a second, and its dump is
    /// not compressed unless --dump-compression says so. DIR is a snapshot that --keep-snapshot kept; it is refused unless it was made of
    /// exactly what this run would boot and its files are what they were.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, requires = "attempts")]
    pub(in crate::commands::run) from_snapshot: Option<Option<PathBuf>>,
    /// Keep the snapshot as DIR, which must not be there, for --from-snapshot=DIR
    #[arg(long, value_name = "DIR", requires = "from_snapshot")]
    pub(in crate::commands::run) keep_snapshot: Option<PathBuf>,
}

/// Where the attempts begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands::run) enum Source {
    /// Each with a boot of its own.
    Boots,
    /// All from one snapshot that is made first, and kept if there is a place for it.
    NewSnapshot { keep: Option<PathBuf> },
    /// All from a kept snapshot.
    KeptSnapshot(PathBuf),
}

impl AttemptsArgs {
    /// Where the attempts begin.
    ///
    /// # Errors
    /// The options contradict each other, or the place is taken.
    pub(in crate::commands::run) fn source(&self) -> Result<Source, Failure> {
        match (&self.from_snapshot, &self.keep_snapshot) {
            (None, _) => Ok(Source::Boots),
            (Some(Some(_)), Some(_)) => Err(Failure::usage(anyhow!(
                "--from-snapshot=DIR uses a snapshot that is kept already, so --keep-snapshot has nothing to keep"
            ))),
            (Some(Some(kept)), None) => Ok(Source::KeptSnapshot(kept.clone())),
            (Some(None), Some(keep)) if keep.symlink_metadata().is_ok() => {
                let error = anyhow!("--keep-snapshot {}: it is there already", keep.display());
                Err(Failure::usage(error)
                    .hint("name a folder that is not there, or delete this one"))
            }
            (Some(None), keep) => Ok(Source::NewSnapshot { keep: keep.clone() }),
        }
    }
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
    use crate::expect::{Expect, decide_verdict};
    use clap::ValueEnum;
    use recrash_machine::run::FailureKind;
    use std::time::Duration;

    fn record(verdict: Verdict, failure: Option<FailureKind>) -> Record {
        Record {
            number: 1,
            verdict,
            exit: decide_verdict(Expect::SameCrash, verdict),
            why: String::new(),
            failure,
            took: Duration::ZERO,
            run: None,
            case: None,
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

    /// What the options of a command line come to; an error's text.
    fn source(options: &[&str]) -> Result<Source, String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            many: AttemptsArgs,
        }
        let line = ["run", "--attempts", "3"].iter().chain(options);
        let line = <Line as clap::Parser>::try_parse_from(line).map_err(|e| e.to_string())?;
        line.many.source().map_err(|failure| failure.chain())
    }

    #[test]
    fn a_snapshot_is_made_kept_or_used_but_not_kept_twice() {
        assert_eq!(source(&[]), Ok(Source::Boots));
        let made = |keep: Option<&str>| Source::NewSnapshot {
            keep: keep.map(Into::into),
        };
        assert_eq!(source(&["--from-snapshot"]), Ok(made(None)));
        assert_eq!(
            source(&["--from-snapshot", "--keep-snapshot", "/gone/x"]),
            Ok(made(Some("/gone/x")))
        );
        assert_eq!(
            source(&["--from-snapshot=x"]),
            Ok(Source::KeptSnapshot("x".into()))
        );
        let twice = source(&["--from-snapshot=x", "--keep-snapshot", "y"]);
        assert!(twice.unwrap_err().contains("has nothing to keep"));
        let taken = source(&["--from-snapshot", "--keep-snapshot", "/"]);
        assert!(taken.unwrap_err().contains("it is there already"));
        assert!(source(&["--keep-snapshot", "x"]).is_err());
    }

    #[test]
    fn the_names_are_those_of_the_command_line() {
        for kind in StopAt::value_variants() {
            assert_eq!(StopAt::from_str(kind.name(), false).as_ref(), Ok(kind));
        }
    }
}
