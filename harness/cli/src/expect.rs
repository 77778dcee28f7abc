//! What a caller expects, and the one place where a verdict becomes an exit code. Prints nothing.
use recrash_signature::compare::{Comparison, Exactness, Verdict};

use crate::exit::Exit;

/// What the caller expects a comparison to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Expect {
    /// The same crash, with the golden's own value in the corrupted pointer.
    Exact,
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
            Self::Exact => "exact",
            Self::SameCrash => "same-crash",
            Self::SameBug => "same-bug",
            Self::Different => "different",
            Self::Crash => "crash",
            Self::NoCrash => "no-crash",
        }
    }
}

impl Expect {
    /// The expectation of this word.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn from_word(word: &str) -> Result<Self, String> {
        let all = <Self as clap::ValueEnum>::value_variants();
        let found = all.iter().find(|expect| expect.name() == word);
        found
            .copied()
            .ok_or_else(|| format!("{word:?} is no expectation"))
    }
}

/// The verdict of this word.
///
/// # Errors
/// There is none.
pub(crate) fn verdict(word: &str) -> Result<Verdict, String> {
    let all = [
        Verdict::SameCrash,
        Verdict::SameBug,
        Verdict::Different,
        Verdict::NoCrash,
        Verdict::Inconclusive,
    ];
    let found = all.into_iter().find(|verdict| verdict.to_string() == word);
    found.ok_or_else(|| format!("{word:?} is no verdict"))
}

/// The exit code for this comparison under this expectation.
///
/// A same crash is the same bug too, so it meets `same-bug`; an exact one is the same crash too. The verdict alone
/// cannot tell whether a crash is exact, so nothing but the comparison decides.
pub(crate) fn decide(expect: Expect, comparison: &Comparison) -> Exit {
    let exact = comparison.exactness() == Exactness::Exact;
    of_verdict(expect, comparison.verdict, exact)
}

/// The same for a comparison of which only this is left: its verdict, and whether the crash had the golden's value.
pub(crate) fn of_verdict(expect: Expect, verdict: Verdict, exact: bool) -> Exit {
    match (verdict, expect) {
        (Verdict::Inconclusive, _) => Exit::Inconclusive,
        (Verdict::NoCrash, Expect::NoCrash) => Exit::Met,
        (Verdict::NoCrash, _) | (_, Expect::NoCrash) => Exit::CrashOrNot,
        (Verdict::SameCrash, Expect::Exact) if exact => Exit::Met,
        (_, Expect::Crash)
        | (Verdict::SameCrash, Expect::SameCrash | Expect::SameBug)
        | (Verdict::SameBug, Expect::SameBug)
        | (Verdict::Different, Expect::Different) => Exit::Met,
        (Verdict::SameCrash | Verdict::SameBug | Verdict::Different, _) => Exit::Differs,
    }
}

/// For tests that have only a verdict: the exit code of a comparison that ended in it without any difference.
#[cfg(test)]
pub(crate) fn decide_verdict(expect: Expect, verdict: Verdict) -> Exit {
    let mut comparison = Comparison::inconclusive("");
    comparison.verdict = verdict;
    decide(expect, &comparison)
}

/// The difference of a crash that is the golden's with another value.
#[cfg(test)]
pub(crate) fn another_value() -> recrash_signature::compare::Difference {
    recrash_signature::compare::Difference {
        field: "corruption.observed".into(),
        part: recrash_signature::compare::Part::Detail,
        golden: "38 03".into(),
        found: "74 00".into(),
        rule: Some("freelist-mid-object"),
        reason: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `value`: whether the corrupted value is the golden's.
    fn check(verdict: Verdict, value: bool, expected: [Exit; 6]) {
        let mut comparison = Comparison::inconclusive("");
        comparison.verdict = verdict;
        if !value {
            comparison.explained.push(another_value());
        }
        let expectations = [
            Expect::Exact,
            Expect::SameCrash,
            Expect::SameBug,
            Expect::Different,
            Expect::Crash,
            Expect::NoCrash,
        ];
        for (expect, exit) in expectations.into_iter().zip(expected) {
            assert_eq!(
                decide(expect, &comparison),
                exit,
                "{verdict:?} under --expect {}",
                expect.name()
            );
        }
    }

    #[test]
    fn every_verdict_has_an_exit_code_under_every_expectation() {
        use Exit::{CrashOrNot, Differs, Inconclusive, Met};
        let not_there = [
            CrashOrNot, CrashOrNot, CrashOrNot, CrashOrNot, CrashOrNot, Met,
        ];
        for value in [true, false] {
            let exact = if value { Met } else { Differs };
            let same = [exact, Met, Met, Differs, Met, CrashOrNot];
            check(Verdict::SameCrash, value, same);
            let bug = [Differs, Differs, Met, Differs, Met, CrashOrNot];
            check(Verdict::SameBug, value, bug);
            let different = [Differs, Differs, Differs, Met, Met, CrashOrNot];
            check(Verdict::Different, value, different);
            check(Verdict::NoCrash, value, not_there);
            check(Verdict::Inconclusive, value, [Inconclusive; 6]);
        }
    }

    #[test]
    fn the_names_are_those_of_the_command_line() {
        use clap::ValueEnum;
        for value in Expect::value_variants() {
            assert_eq!(Expect::from_str(value.name(), false).as_ref(), Ok(value));
        }
    }
}
