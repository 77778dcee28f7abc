//! What a caller expects, and the one place where a verdict becomes an exit code. Prints nothing.
use recrash_signature::compare::Verdict;

use crate::exit::Exit;

/// What the caller expects a comparison to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Expect {
    /// The same corruption in the same place.
    SameCrash,
    /// The same corruption, wherever it struck.
    SameBug,
    /// A crash that the golden does not describe.
    Different,
    /// Any crash.
    Crash,
    /// The kernel survives.
    NoCrash,
}

impl Expect {
    /// The word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SameCrash => "same-crash",
            Self::SameBug => "same-bug",
            Self::Different => "different",
            Self::Crash => "crash",
            Self::NoCrash => "no-crash",
        }
    }
}

/// The exit code for this verdict under this expectation.
///
/// A same crash is the same bug too, so it meets `same-bug`.
pub(crate) fn decide(expect: Expect, verdict: Verdict) -> Exit {
    match (verdict, expect) {
        (Verdict::Inconclusive, _) => Exit::Inconclusive,
        (Verdict::NoCrash, Expect::NoCrash) => Exit::Met,
        (Verdict::NoCrash, _) | (_, Expect::NoCrash) => Exit::CrashOrNot,
        (_, Expect::Crash)
        | (Verdict::SameCrash, Expect::SameCrash | Expect::SameBug)
        | (Verdict::SameBug, Expect::SameBug)
        | (Verdict::Different, Expect::Different) => Exit::Met,
        (Verdict::SameCrash | Verdict::SameBug | Verdict::Different, _) => Exit::Differs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verdict: Verdict, expected: [Exit; 5]) {
        let expectations = [
            Expect::SameCrash,
            Expect::SameBug,
            Expect::Different,
            Expect::Crash,
            Expect::NoCrash,
        ];
        for (expect, exit) in expectations.into_iter().zip(expected) {
            assert_eq!(
                decide(expect, verdict),
                exit,
                "{verdict:?} under --expect {}",
                expect.name()
            );
        }
    }

    #[test]
    fn every_verdict_has_an_exit_code_under_every_expectation() {
        use Exit::{CrashOrNot, Differs, Inconclusive, Met};
        check(Verdict::SameCrash, [Met, Met, Differs, Met, CrashOrNot]);
        check(Verdict::SameBug, [Differs, Met, Differs, Met, CrashOrNot]);
        check(Verdict::Different, [Differs, Differs, Met, Met, CrashOrNot]);
        check(
            Verdict::NoCrash,
            [CrashOrNot, CrashOrNot, CrashOrNot, CrashOrNot, Met],
        );
        check(Verdict::Inconclusive, [Inconclusive; 5]);
    }

    #[test]
    fn the_names_are_those_of_the_command_line() {
        use clap::ValueEnum;
        for value in Expect::value_variants() {
            assert_eq!(Expect::from_str(value.name(), false).as_ref(), Ok(value));
        }
    }
}
