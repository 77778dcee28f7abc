//! Everything that a verification came to, as one value: what `verify.json` keeps and `--json` prints last. Computes the
//! numbers that are shown beside the verdict; decides nothing.
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::claim::Silence;
use super::decide::{Decision, Ended, Rules, Standing};
use super::sort::Sorted;
use super::{Outcome, Side, Verdict};
use crate::campaign::interval::Rate;
use crate::exit::Exit;

/// Most different reasons that are kept of runs that say nothing.
const MAX_REASONS: usize = 8;
/// Most pairs that are looked ahead.
const LOOK_AHEAD: u32 = 10_000;

/// The one thing in which the sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// `target`, `append`, `fault`, `device` or `qemu`.
    pub(crate) key: &'static str,
    /// The baseline's value.
    pub(crate) baseline: String,
    /// The candidate's.
    pub(crate) candidate: String,
    /// They are the same: the comparison is a check of itself.
    pub(crate) identical: bool,
}

/// What the runs of a side came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// Runs that went to their end, whatever it was.
    pub(crate) runs: u32,
    /// Crashes of the bug.
    pub(crate) bug: u32,
    /// Other crashes.
    pub(crate) other_crash: u32,
    /// Survivals that count.
    pub(crate) no_crash: u32,
    /// Deaths of which nothing is known.
    pub(crate) unread_crash: u32,
    /// Other crashes before all that the bug needs had happened.
    pub(crate) early_crash: u32,
    /// Runs that say nothing.
    pub(crate) says_nothing: u32,
    /// How often the bug showed, of the runs that say something.
    pub(crate) rate: Option<Rate>,
    /// Why runs say nothing, and how many for that reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) reasons: BTreeMap<String, u32>,
}

impl Tally {
    /// Of one side.
    pub(crate) fn of(side: Side, runs: &[Sorted]) -> Self {
        let mut tally = Self::default();
        for run in runs.iter().filter(|run| run.side == side) {
            tally.runs += 1;
            match run.outcome {
                Outcome::Bug => tally.bug += 1,
                Outcome::OtherCrash => tally.other_crash += 1,
                Outcome::NoCrash => tally.no_crash += 1,
                Outcome::UnreadCrash => tally.unread_crash += 1,
                Outcome::EarlyCrash => tally.early_crash += 1,
                Outcome::SaysNothing => tally.says_nothing += 1,
            }
            let known = tally.reasons.contains_key(&run.why);
            if !run.outcome.counts() && (known || tally.reasons.len() < MAX_REASONS) {
                *tally.reasons.entry(run.why.clone()).or_default() += 1;
            }
        }
        let counts = tally.bug + tally.other_crash + tally.no_crash;
        tally.rate = Rate::of(tally.bug, counts);
        tally
    }
}

/// A crash of the candidate that is another than the bug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OtherCrash {
    /// The signature's title.
    pub(crate) title: String,
    /// What was overwritten, by what, where that is known.
    pub(crate) bug: Option<String>,
    /// The run.
    pub(crate) run: Option<PathBuf>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Question {
    /// Target of the baseline.
    pub(crate) target: String,
    /// The scenario of both.
    pub(crate) scenario: String,
    /// The baseline's device.
    pub(crate) device: String,
    /// The baseline's fault.
    pub(crate) fault: String,
    /// The baseline's additions to the command line.
    pub(crate) append: Vec<String>,
    /// Kernel releases: the baseline's, the candidate's.
    pub(crate) kernel_releases: [String; 2],
    /// In what they differ.
    pub(crate) difference: Difference,
    /// What one must know of how they were made alike.
    pub(crate) notes: Vec<String>,
    /// The golden.
    pub(crate) golden: String,
    /// The verdict that exit code 0 stands for.
    pub(crate) expected: Verdict,
    /// How sure the claim must be.
    pub(crate) confidence: f64,
    /// Most pairs.
    pub(crate) budget: u32,
    /// How many runs at once.
    pub(crate) jobs: u32,
    /// What the order within the pairs was drawn with.
    pub(crate) seed: u64,
}

/// The whole result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Why, in one line.
    pub(crate) why: String,
    /// The exit code.
    pub(crate) exit: u8,
    /// What was asked for.
    #[serde(flatten)]
    pub(crate) question: Question,
    /// Why no more runs were made.
    pub(crate) ended: Ended,
    /// Pairs of which both runs ended, with all before them.
    pub(crate) pairs: u32,
    /// Runs that were cut off by whoever stopped it; counted nowhere else.
    pub(crate) cut_off: u32,
    /// The bug was not the golden's but the crash of this run of the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bug_of_run: Option<PathBuf>,
    /// The baseline's runs.
    pub(crate) baseline: Tally,
    /// The candidate's.
    pub(crate) candidate: Tally,
    /// Pairs that count for the claim.
    pub(crate) pairs_counted: u32,
    /// The evidence that the candidate shows the bug less often.
    pub(crate) e_value: f64,
    /// How much was needed: 1 / (1 - confidence).
    pub(crate) e_value_needed: f64,
    /// The chance, at most, of evidence as strong as this was at its best, if the candidate had the bug as often.
    pub(crate) luck: f64,
    /// What the candidate's silence means by itself; absent if the baseline has not shown the bug, or the candidate has.
    pub(crate) silence: Option<Silence>,
    /// About how many more pairs would be enough at the baseline's rate, if the candidate stayed silent; absent with a
    /// verdict, and where nothing can be said.
    pub(crate) pairs_needed: Option<u32>,
    /// The first other crash of the candidate.
    pub(crate) other_crash: Option<OtherCrash>,
    /// From the first run's start to the last one's end, in milliseconds.
    pub(crate) wall_ms: u64,
}

/// What the summary is made of, beside the question.
pub(crate) struct Seen<'a> {
    /// Every run that went to its end.
    pub(crate) runs: &'a [Sorted],
    /// What they come to.
    pub(crate) standing: &'a Standing,
    /// Why no more came.
    pub(crate) ended: Ended,
    /// Runs that were cut off.
    pub(crate) cut_off: u32,
    /// The run whose crash is the bug, if it is not the golden's.
    pub(crate) bug_of_run: Option<PathBuf>,
    /// The first other crash of the candidate.
    pub(crate) other_crash: Option<OtherCrash>,
    /// How long it took.
    pub(crate) wall_ms: u64,
}

impl Summary {
    /// The numbers to it.
    pub(crate) fn of(question: Question, seen: Seen<'_>) -> Self {
        let decision = seen.standing.decision.clone().unwrap_or(Decision {
            verdict: Verdict::Inconclusive,
            why: "nothing was decided".into(),
        });
        let rules = Rules {
            confidence: question.confidence,
            budget: question.budget,
        };
        let baseline = Tally::of(Side::Baseline, seen.runs);
        let candidate = Tally::of(Side::Candidate, seen.runs);
        let silent = candidate.other_crash + candidate.no_crash;
        let reproduces = baseline.rate.filter(|rate| rate.count > 0);
        let silence = reproduces
            .filter(|_| candidate.bug == 0 && silent > 0)
            .map(|rate| Silence::of(silent, rate.rate, rate.low));
        // More of what says nothing would not be enough.
        let open = decision.verdict == Verdict::Inconclusive && seen.ended != Ended::Decided;
        let claim = &seen.standing.claim;
        let pairs_needed = reproduces
            .filter(|_| open && candidate.bug == 0)
            .and_then(|rate| claim.needed(rate.rate, rules.confidence, LOOK_AHEAD))
            .filter(|more| *more > 0);
        Self {
            verdict: decision.verdict,
            why: decision.why,
            exit: exit(question.expected, decision.verdict) as u8,
            ended: seen.ended,
            pairs: seen.standing.pairs,
            cut_off: seen.cut_off,
            bug_of_run: seen.bug_of_run,
            pairs_counted: claim.pairs(),
            e_value: claim.e_value(),
            e_value_needed: 1.0 / (1.0 - rules.confidence),
            luck: claim.luck(),
            silence,
            pairs_needed,
            other_crash: seen.other_crash,
            wall_ms: seen.wall_ms,
            baseline,
            candidate,
            question,
        }
    }
}

/// The exit code. What was expected is met (0); a bug that is still there, or another crash, where it was not expected
/// is 1; a fix where none was expected is 3, as a crash that does not come is.
pub(crate) fn exit(expected: Verdict, found: Verdict) -> Exit {
    match found {
        Verdict::Inconclusive => Exit::Inconclusive,
        _ if found == expected => Exit::Met,
        Verdict::Fixed => Exit::CrashOrNot,
        Verdict::NotFixed | Verdict::Changed => Exit::Differs,
    }
}

/// The exit code for `git bisect run`: the commit is good if the bug is gone, bad if it is there.
pub(crate) fn git_bisect(summary: &Summary) -> Exit {
    match summary.verdict {
        Verdict::Fixed => Exit::Met,
        Verdict::NotFixed => Exit::Differs,
        Verdict::Inconclusive if summary.ended == Ended::Interrupted => Exit::Abort,
        Verdict::Changed | Verdict::Inconclusive => Exit::Skip,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::decide::decide;
    use super::super::decide::tests::runs;
    use super::*;

    fn question() -> Question {
        Question {
            target: "el8-layout".into(),
            scenario: "string-then-root-hub".into(),
            device: "virtual-media".into(),
            fault: "early-free".into(),
            append: Vec::new(),
            kernel_releases: ["5.10".into(), "5.10".into()],
            difference: Difference {
                key: "fault",
                baseline: "early-free".into(),
                candidate: "early-free-fixed".into(),
                identical: false,
            },
            notes: Vec::new(),
            golden: "case/name".into(),
            expected: Verdict::Fixed,
            confidence: 0.99,
            budget: 30,
            jobs: 1,
            seed: 7,
        }
    }

    /// The summary of these pairs (see `decide`'s tests).
    pub(in crate::verify) fn summary(pairs: &str, ended: Ended) -> Summary {
        let runs = runs(pairs);
        let question = question();
        let rules = Rules {
            confidence: question.confidence,
            budget: question.budget,
        };
        let standing = decide(&runs, 1, rules, ended);
        let other = runs.iter().find(|run| run.outcome == Outcome::OtherCrash);
        Summary::of(
            question,
            Seen {
                runs: &runs,
                standing: &standing,
                ended,
                cut_off: 0,
                bug_of_run: None,
                other_crash: other.map(|_| OtherCrash {
                    title: "general protection fault in __kmalloc".into(),
                    bug: Some("freelist of kmalloc-256 overwritten by text".into()),
                    run: Some("/runs/2".into()),
                }),
                wall_ms: 45_000,
            },
        )
    }

    fn check(expected: Verdict, found: Verdict, code: u8) {
        assert_eq!(exit(expected, found) as u8, code, "{expected} {found}");
    }

    #[test]
    fn every_verdict_has_an_exit_code_under_every_expectation() {
        use Verdict::{Changed, Fixed, Inconclusive, NotFixed};
        for (expected, codes) in [
            (Fixed, [0, 1, 1, 4]),
            (NotFixed, [3, 0, 1, 4]),
            (Changed, [3, 1, 0, 4]),
        ] {
            let found = [Fixed, NotFixed, Changed, Inconclusive];
            for (found, code) in found.into_iter().zip(codes) {
                check(expected, found, code);
            }
        }
    }

    #[test]
    fn git_bisect_is_told_good_bad_skip_and_give_up() {
        let code = |pairs: &str, ended| git_bisect(&summary(pairs, ended)) as u8;
        assert_eq!(code("BN BN BN BN", Ended::Decided), 0);
        assert_eq!(code("BB", Ended::Decided), 1);
        assert_eq!(code("BO BO BO BO", Ended::Decided), 125);
        assert_eq!(code("BF BF BF", Ended::Decided), 125);
        assert_eq!(code("BN BN", Ended::TimeLimit), 125);
        assert_eq!(code("BN BN", Ended::Interrupted), 128);
    }

    #[test]
    fn the_numbers_beside_a_fix_are_those_of_its_pairs() {
        let summary = summary("BN BN FN BN BN", Ended::Decided);
        assert_eq!(summary.verdict, Verdict::Fixed);
        assert_eq!((summary.pairs, summary.pairs_counted), (5, 4));
        assert_eq!(summary.baseline.reasons["why 3"], 1);
        let rate = summary.baseline.rate.unwrap();
        assert_eq!((rate.count, rate.of), (4, 4));
        let silence = summary.silence.unwrap();
        assert_eq!(silence.runs, 5);
        assert!(silence.at_rate.abs() < 1e-12, "{silence:?}");
        assert!((silence.at_low - (1.0 - rate.low).powi(5)).abs() < 1e-12);
        assert!(summary.luck <= 0.01 && summary.e_value >= 100.0);
        assert_eq!(summary.pairs_needed, None);
    }

    #[test]
    fn what_would_be_needed_is_told_where_it_was_not_enough() {
        let summary = summary("BN BN", Ended::TimeLimit);
        assert_eq!(summary.verdict, Verdict::Inconclusive);
        assert_eq!(summary.pairs_needed, Some(2));
        assert_eq!(tests::summary("NN NN", Ended::TimeLimit).pairs_needed, None);
    }

    #[test]
    fn different_reasons_are_bounded() {
        let pairs = vec!["FN"; 40].join(" ");
        let tally = Tally::of(Side::Baseline, &runs(&pairs));
        assert_eq!(tally.says_nothing, 40);
        assert_eq!(tally.reasons.len(), MAX_REASONS);
    }
}
