//! The verdict: when there is one, and which. Takes runs as sorted ([`super::sort`]); pure.
//!
//! Pairs are taken in the order of their numbers, each once all before it have ended, however many are at work at once:
//! a crash ends sooner than a survival, so what comes first would otherwise depend on how it comes out.
use super::claim::Claim;
use super::sort::Sorted;
use super::{Outcome, Side, Verdict};

/// So many runs of a side that say nothing, before any that does, and it will say nothing.
const DEAF: u32 = 3;
/// From so many runs of a side on, more than half of them must say something.
const ENOUGH_TO_TELL: u32 = 8;

/// How sure, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How sure a claim must be.
    pub(crate) confidence: f64,
    /// Most pairs.
    pub(crate) budget: u32,
}

/// Why no more runs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// More come.
    NotYet,
    /// There is a verdict.
    Decided,
    /// The budget of pairs is used up.
    Budget,
    /// The time is.
    TimeLimit,
    /// A signal.
    Interrupted,
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Why, in one line.
    pub(crate) why: String,
}

/// What is known so far.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The verdict, if there is one.
    pub(crate) decision: Option<Decision>,
    /// The evidence of the pairs that count.
    pub(crate) claim: Claim,
    /// How many pairs have ended, with all before them.
    pub(crate) pairs: u32,
}

/// What the pairs up to here say. `first_pair` is the first that counts for the claim; `ended` why no more come.
pub(crate) fn decide(runs: &[Sorted], first_pair: u32, rules: Rules, ended: Ended) -> Standing {
    let mut standing = Standing {
        decision: None,
        claim: Claim::new(),
        pairs: 0,
    };
    let mut heard = [Hearing::default(), Hearing::default()];
    let mut sides = Sides::default();
    let mut by_pair: Vec<(Option<&Sorted>, Option<&Sorted>)> = Vec::new();
    for run in runs {
        let at = usize::try_from(run.pair)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        // Pairs are numbered from 1 without gaps, by us; a number beyond the runs there are is waited for.
        if at >= runs.len() {
            continue;
        }
        if by_pair.len() <= at {
            by_pair.resize(at + 1, (None, None));
        }
        if let Some(pair) = by_pair.get_mut(at) {
            match run.side {
                Side::Baseline => pair.0 = Some(run),
                Side::Candidate => pair.1 = Some(run),
            }
        }
    }
    for (number, pair) in (1..).zip(by_pair) {
        let (Some(baseline), Some(candidate)) = pair else {
            break;
        };
        standing.pairs = number;
        for (hearing, run) in heard.iter_mut().zip([baseline, candidate]) {
            hearing.take(run.outcome);
        }
        sides.take(baseline, candidate);
        if number >= first_pair && baseline.outcome.counts() && candidate.outcome.counts() {
            let [baseline, candidate] = [baseline, candidate].map(|run| run.outcome);
            standing
                .claim
                .add(baseline == Outcome::Bug, candidate == Outcome::Bug);
        }
        standing.decision = sides.not_fixed().or_else(|| {
            let deaf = [Side::Baseline, Side::Candidate].into_iter().zip(&heard);
            let deaf = deaf.filter_map(|(side, hearing)| hearing.verdict(side, runs));
            deaf.into_iter().next()
        });
        if standing.decision.is_none() && standing.claim.holds(rules.confidence) {
            standing.decision = Some(sides.claimed(runs));
        }
        if standing.decision.is_some() {
            return standing;
        }
    }
    let used_up = standing.pairs >= rules.budget;
    if used_up || ended != Ended::NotYet {
        // Pairs that were left behind cannot make a claim, but a candidate that shows the bug has it.
        let ended = if used_up { Ended::Budget } else { ended };
        standing.decision =
            late_bug(runs).or_else(|| Some(sides.undecided(&standing, rules, ended)));
    }
    standing
}

/// What runs that were at work when it was decided make of the decision, if they change it: the candidate's bug is there,
/// or a claim that the candidate does not crash is broken by a crash of it.
pub(crate) fn late(runs: &[Sorted], decided: &Decision) -> Option<Decision> {
    if let Some(bug) = late_bug(runs) {
        return Some(bug);
    }
    if !matches!(decided.verdict, Verdict::Fixed | Verdict::Changed) {
        return None;
    }
    let mut all = Sides::default();
    for run in runs {
        all.count(run);
    }
    Some(all.claimed(runs)).filter(|now| now.verdict != decided.verdict)
}

/// That the candidate has shown the bug, also in a run that was left behind when it was decided.
fn late_bug(runs: &[Sorted]) -> Option<Decision> {
    let mut all = Sides::default();
    for run in runs {
        all.count(run);
    }
    all.not_fixed()
}

/// Whether a side says anything.
#[derive(Debug, Clone, Copy, Default)]
struct Hearing {
    runs: u32,
    silent: u32,
}

impl Hearing {
    fn take(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.silent += u32::from(!outcome.counts());
    }

    /// That there will be none, if it is clear from one side alone.
    fn verdict(&self, side: Side, runs: &[Sorted]) -> Option<Decision> {
        let from_the_start = self.silent == self.runs && self.runs >= DEAF;
        let mostly = self.runs >= ENOUGH_TO_TELL && self.silent * 2 > self.runs;
        if !from_the_start && !mostly {
            return None;
        }
        let deaf = |run: &&Sorted| run.side == side && !run.outcome.counts();
        let last = runs.iter().filter(deaf).max_by_key(|run| run.pair);
        let why = last.map_or("", |run| run.why.as_str());
        Some(Decision {
            verdict: Verdict::Inconclusive,
            why: format!(
                "{} of {} runs of the {side} say nothing: {why}",
                self.silent, self.runs
            ),
        })
    }
}

/// What the sides have shown.
#[derive(Debug, Clone, Copy, Default)]
struct Sides {
    baseline_bug: u32,
    baseline_counts: u32,
    candidate_bug: u32,
    candidate_other: u32,
    candidate_counts: u32,
}

impl Sides {
    fn take(&mut self, baseline: &Sorted, candidate: &Sorted) {
        self.count(baseline);
        self.count(candidate);
    }

    fn count(&mut self, run: &Sorted) {
        let is = |outcome: Outcome| u32::from(run.outcome == outcome);
        let counts = u32::from(run.outcome.counts());
        match run.side {
            Side::Baseline => {
                self.baseline_bug += is(Outcome::Bug);
                self.baseline_counts += counts;
            }
            Side::Candidate => {
                self.candidate_bug += is(Outcome::Bug);
                self.candidate_other += is(Outcome::OtherCrash);
                self.candidate_counts += counts;
            }
        }
    }

    /// One crash of the bug is proof.
    fn not_fixed(&self) -> Option<Decision> {
        if self.candidate_bug == 0 {
            return None;
        }
        let reproduces = if self.baseline_bug > 0 {
            "so does the baseline"
        } else {
            "the baseline has not shown it yet"
        };
        Some(Decision {
            verdict: Verdict::NotFixed,
            why: format!(
                "the candidate shows the bug ({} of {} runs); {reproduces}",
                self.candidate_bug, self.candidate_counts
            ),
        })
    }

    /// The claim holds.
    fn claimed(&self, runs: &[Sorted]) -> Decision {
        let unclear = |run: &&Sorted| {
            let crash = matches!(run.outcome, Outcome::UnreadCrash | Outcome::EarlyCrash);
            run.side == Side::Candidate && crash
        };
        let shown = format!(
            "the baseline shows the bug ({} of {} runs)",
            self.baseline_bug, self.baseline_counts
        );
        if let Some(run) = runs.iter().find(unclear) {
            let what = match run.outcome {
                Outcome::EarlyCrash => "says nothing of the bug",
                _ => "died, and of what is not known",
            };
            return Decision {
                verdict: Verdict::Inconclusive,
                why: format!("in pair {} the candidate {what}: {}", run.pair, run.why),
            };
        }
        if self.candidate_other > 0 {
            return Decision {
                verdict: Verdict::Changed,
                why: format!(
                    "{shown}, the candidate never, but it crashes otherwise ({} of {} runs)",
                    self.candidate_other, self.candidate_counts
                ),
            };
        }
        Decision {
            verdict: Verdict::Fixed,
            why: format!(
                "{shown}, the candidate never and does not crash ({} runs)",
                self.candidate_counts
            ),
        }
    }

    /// No more runs come.
    fn undecided(&self, standing: &Standing, rules: Rules, ended: Ended) -> Decision {
        let after = match ended {
            Ended::Interrupted => "interrupted",
            Ended::TimeLimit => "the time is up",
            Ended::Budget | Ended::Decided | Ended::NotYet => "the budget is used up",
        };
        let why = if self.baseline_counts == 0 {
            format!("{after}, and no run of the baseline says anything")
        } else if self.baseline_bug == 0 {
            format!(
                "{after}, and the baseline has not shown the bug in {} runs",
                self.baseline_counts
            )
        } else if self.candidate_counts == 0 {
            format!("{after}, and no run of the candidate says anything")
        } else {
            format!(
                "{after}: the evidence after {} is {:.1}, and {:.0} would be enough",
                pairs(standing.claim.pairs()),
                standing.claim.e_value(),
                1.0 / (1.0 - rules.confidence)
            )
        };
        Decision {
            verdict: Verdict::Inconclusive,
            why,
        }
    }
}

/// A number of pairs in words.
pub(crate) fn pairs(count: u32) -> String {
    match count {
        1 => "1 pair".into(),
        n => format!("{n} pairs"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs in words, a pair each: baseline and candidate as `B` (bug), `O` (other crash), `N` (no crash), `U` (unread
    /// crash), `E` (early crash), `F` (says nothing), `-` (not there).
    pub(in crate::verify) fn runs(pairs: &str) -> Vec<Sorted> {
        let mut runs = Vec::new();
        for (pair, word) in (1..).zip(pairs.split_whitespace()) {
            for (side, letter) in [Side::Baseline, Side::Candidate]
                .into_iter()
                .zip(word.chars())
            {
                let outcome = match letter {
                    'B' => Outcome::Bug,
                    'O' => Outcome::OtherCrash,
                    'N' => Outcome::NoCrash,
                    'U' => Outcome::UnreadCrash,
                    'E' => Outcome::EarlyCrash,
                    'F' => Outcome::SaysNothing,
                    _ => continue,
                };
                runs.push(Sorted {
                    pair,
                    side,
                    outcome,
                    why: format!("why {pair}"),
                });
            }
        }
        runs
    }

    const RULES: Rules = Rules {
        confidence: 0.99,
        budget: 10,
    };

    fn check_ended(pairs: &str, ended: Ended, expected: Option<(Verdict, &str)>) {
        let standing = decide(&runs(pairs), 1, RULES, ended);
        let found = standing.decision.as_ref();
        let found = found.map(|decision| (decision.verdict, decision.why.as_str()));
        assert_eq!(found, expected, "{pairs}");
    }

    fn check(pairs: &str, expected: Option<(Verdict, &str)>) {
        check_ended(pairs, Ended::NotYet, expected);
    }

    use Verdict::{Changed, Fixed, Inconclusive, NotFixed};

    #[test]
    fn four_pairs_with_and_without_the_bug_are_a_fix() {
        check("BN BN BN", None);
        check(
            "BN BN BN BN",
            Some((
                Fixed,
                "the baseline shows the bug (4 of 4 runs), the candidate never and does not crash (4 runs)",
            )),
        );
    }

    #[test]
    fn one_crash_of_the_bug_is_no_fix() {
        check(
            "BN BN BB",
            Some((
                NotFixed,
                "the candidate shows the bug (1 of 3 runs); so does the baseline",
            )),
        );
        check(
            "NB",
            Some((
                NotFixed,
                "the candidate shows the bug (1 of 1 runs); the baseline has not shown it yet",
            )),
        );
        // The pair is completed first.
        check("BN -B", None);
    }

    #[test]
    fn another_crash_in_its_place_is_a_change() {
        let why = "the baseline shows the bug (4 of 4 runs), the candidate never, but it crashes otherwise";
        check(
            "BO BO BO BO",
            Some((Changed, &format!("{why} (4 of 4 runs)"))),
        );
        check(
            "BN BO BN BN",
            Some((Changed, &format!("{why} (1 of 4 runs)"))),
        );
    }

    #[test]
    fn a_side_that_says_nothing_is_not_asked_again_and_again() {
        let why = "3 of 3 runs of the candidate say nothing: why 3";
        check("BF BF", None);
        check("BF BF BF", Some((Inconclusive, why)));
        check(
            "FN FN FN",
            Some((
                Inconclusive,
                "3 of 3 runs of the baseline say nothing: why 3",
            )),
        );
        check(
            "NN FN FN NN FN FN FN NN",
            Some((
                Inconclusive,
                "5 of 8 runs of the baseline say nothing: why 7",
            )),
        );
    }

    #[test]
    fn pairs_of_which_a_run_says_nothing_do_not_count() {
        check("BN BF BN FN BN", None);
        check(
            "BN BF BN FN BN BN",
            Some((
                Fixed,
                "the baseline shows the bug (5 of 5 runs), the candidate never and does not crash (5 runs)",
            )),
        );
    }

    #[test]
    fn a_candidate_that_died_of_something_unknown_is_not_fixed_by_silence() {
        check(
            "BN BU BN BN BN",
            Some((
                Inconclusive,
                "in pair 2 the candidate died, and of what is not known: why 2",
            )),
        );
        check(
            "BU BB",
            Some((
                NotFixed,
                "the candidate shows the bug (1 of 1 runs); so does the baseline",
            )),
        );
    }

    #[test]
    fn a_candidate_that_crashes_before_the_bug_could_show_is_not_fixed_by_silence() {
        check("BN BE BN FN BN", None);
        check(
            "BN BE BN FN BN BN",
            Some((
                Inconclusive,
                "in pair 2 the candidate says nothing of the bug: why 2",
            )),
        );
        check(
            "BE BE BE",
            Some((
                Inconclusive,
                "3 of 3 runs of the candidate say nothing: why 3",
            )),
        );
        // A failing baseline is none of the candidate's doing.
        let fixed = decide(&runs("BN EN BN BN BN"), 1, RULES, Ended::NotYet);
        assert_eq!(fixed.decision.unwrap().verdict, Fixed);
    }

    #[test]
    fn a_crash_that_comes_after_the_decision_changes_it() {
        let check = |decided: &str, all: &str, expected: Option<Verdict>| {
            let standing = decide(&runs(decided), 1, RULES, Ended::NotYet);
            let found = late(&runs(all), &standing.decision.unwrap());
            assert_eq!(found.map(|one| one.verdict), expected, "{all}");
        };
        let fixed = "BN BN BN BN";
        check(fixed, "BN BN BN BN -N B-", None);
        check(fixed, "BN BN BN BN -B", Some(NotFixed));
        check(fixed, "BN BN BN BN -O", Some(Changed));
        check(fixed, "BN BN BN BN -U", Some(Inconclusive));
        check(fixed, "BN BN BN BN BF BE", Some(Inconclusive));
        // The baseline may crash as it likes, and what fails is no crash.
        check(fixed, "BN BN BN BN OF U-", None);
        let changed = "BO BN BN BN";
        check(changed, "BO BN BN BN -O", None);
        check(changed, "BO BN BN BN -U", Some(Inconclusive));
        let inconclusive = "BF BF BF";
        check(inconclusive, "BF BF BF -O", None);
        check(inconclusive, "BF BF BF -B", Some(NotFixed));
    }

    #[test]
    fn a_baseline_that_never_shows_the_bug_proves_nothing() {
        let ten = ["NN"; 10].join(" ");
        check(&ten[..26], None);
        let why = "the budget is used up, and the baseline has not shown the bug in 10 runs";
        check(&ten, Some((Inconclusive, why)));
    }

    #[test]
    fn what_comes_later_in_the_order_waits_for_what_is_before_it() {
        check("B- BN BN BN BN BN", None);
        check("-- BN BN BN BN BN", None);
    }

    #[test]
    fn what_was_interrupted_is_inconclusive_unless_the_candidate_has_shown_the_bug() {
        check_ended(
            "BN B-",
            Ended::Interrupted,
            Some((
                Inconclusive,
                "interrupted: the evidence after 1 pair is 3.2, and 100 would be enough",
            )),
        );
        check_ended(
            "BN -B",
            Ended::Interrupted,
            Some((
                NotFixed,
                "the candidate shows the bug (1 of 2 runs); so does the baseline",
            )),
        );
        check_ended(
            "",
            Ended::TimeLimit,
            Some((
                Inconclusive,
                "the time is up, and no run of the baseline says anything",
            )),
        );
    }

    #[test]
    fn pairs_before_the_bug_was_known_do_not_count() {
        let standing = decide(&runs("BN BN BN BN"), 2, RULES, Ended::NotYet);
        assert_eq!(standing.decision, None);
        assert_eq!(standing.claim.pairs(), 3);
        let standing = decide(&runs("BN BN BN BN BN"), 2, RULES, Ended::NotYet);
        assert_eq!(standing.decision.unwrap().verdict, Fixed);
    }
}
