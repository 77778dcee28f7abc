//! What `git bisect run` is told (git-bisect(1), "Bisect run"): 0 the commit is good, 1 it is bad, 125 it cannot be
//! tested, 128 and above: give up, so that a mistake of ours or of the command line makes no commit a bad one. Bad is
//! the commit that has the golden's bug. Judges no run.
use recrash_signature::compare::Verdict;
use std::ffi::OsString;

use crate::campaign::tally::{Ended, Tally};
use crate::exit::Exit;

/// The option, of every command that has it.
const OPTION: &str = "--git-bisect";

/// Whether a command line asks for these exit codes. What cannot be parsed may ask for them too.
pub(crate) fn is_wanted(line: impl IntoIterator<Item = OsString>) -> bool {
    line.into_iter()
        .take_while(|word| word != "--")
        .any(|word| word == OPTION)
}

/// Of one run. Another crash than the golden's hides whether the bug is there.
pub(crate) fn of_verdict(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::NoCrash => Exit::Met,
        Verdict::SameCrash | Verdict::SameBug => Exit::Differs,
        Verdict::Different | Verdict::Inconclusive => Exit::Skip,
    }
}

/// Of many attempts: one that shows the bug proves it; only if every one was made and survived there is none.
pub(crate) fn of_attempts(tally: &Tally) -> Exit {
    let count = |verdict: Verdict| {
        let count = tally.verdicts.get(&verdict.to_string());
        count.copied().unwrap_or(0)
    };
    let shown = count(Verdict::SameCrash) + count(Verdict::SameBug);
    let survived = count(Verdict::NoCrash);
    if shown > 0 {
        Exit::Differs
    } else if tally.ended == Ended::Interrupted {
        Exit::Abort
    } else if survived > 0 && survived == tally.asked_for {
        Exit::Met
    } else {
        Exit::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::tally::tests::record;
    use std::time::Duration;

    /// The codes are git's: the numbers are what counts.
    fn check(verdicts: &[Verdict], ended: Ended, expected: u8) {
        let records: Vec<_> = (1..)
            .zip(verdicts)
            .map(|(number, verdict)| record(number, *verdict, 1))
            .collect();
        let tally = Tally::of(&records, 2, ended, Duration::from_secs(1));
        assert_eq!(
            of_attempts(&tally) as u8,
            expected,
            "{verdicts:?} {ended:?}"
        );
    }

    use Verdict::{Different, Inconclusive, NoCrash, SameBug, SameCrash};

    #[test]
    fn a_verdict_is_good_bad_or_skipped() {
        let codes = [SameCrash, SameBug, Different, NoCrash, Inconclusive];
        let codes = codes.map(|verdict| of_verdict(verdict) as u8);
        assert_eq!(codes, [1, 1, 125, 0, 125]);
    }

    #[test]
    fn one_attempt_that_shows_the_bug_is_bad_and_only_all_that_survive_are_good() {
        check(&[NoCrash, SameBug], Ended::Complete, 1);
        check(&[SameCrash], Ended::AtFirst, 1);
        check(&[SameCrash], Ended::Interrupted, 1);
        check(&[NoCrash, NoCrash], Ended::Complete, 0);
        check(&[NoCrash], Ended::AtFirst, 125);
        check(&[NoCrash, Inconclusive], Ended::Complete, 125);
        check(&[NoCrash, Different], Ended::Complete, 125);
        check(&[NoCrash], Ended::Interrupted, 128);
        check(&[], Ended::Complete, 125);
    }

    #[test]
    fn the_option_counts_wherever_it_stands_but_behind_two_dashes() {
        let line = |words: &[&str]| is_wanted(words.iter().map(OsString::from));
        assert!(line(&["recrash", "run", "--nonsense", OPTION]));
        assert!(!line(&["recrash", "run", "--", OPTION]));
        assert!(!line(&["recrash", "run"]));
    }
}
