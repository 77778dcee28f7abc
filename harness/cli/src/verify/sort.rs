//! What each run means: whether it shows the bug that is asked about, and whether one that does not had the chance to.
//! Pure; decides nothing ([`super::decide`] does).
use recrash_agent::plan::Scenario;
use recrash_machine::run::Evidence;
use recrash_signature::Signature;
use recrash_signature::compare::{self, Verdict};

use super::{Outcome, Side};

/// A run that has ended, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Its pair, from 1.
    pub(crate) pair: u32,
    /// Its side.
    pub(crate) side: Side,
    /// Against the golden.
    pub(crate) verdict: Verdict,
    /// Why that verdict.
    pub(crate) why: String,
    /// Of a crash that could be read.
    pub(crate) signature: Option<Box<Signature>>,
    /// What it did; `None` where nothing was booted.
    pub(crate) evidence: Option<Evidence>,
    /// The kernel died in the scenario, or later.
    pub(crate) died: bool,
}

/// What a run means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sorted {
    /// Its pair, from 1.
    pub(crate) pair: u32,
    /// Its side.
    pub(crate) side: Side,
    /// What it means.
    pub(crate) outcome: Outcome,
    /// Why, where that is not the run's own reason.
    pub(crate) why: String,
}

/// By which crash the bug is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The golden's.
    Golden,
    /// The baseline's own, while no run of it has shown the golden's: that of the run with this index, of this pair. What
    /// it showed itself proves nothing, as it says what is looked for; pairs count from the next one on.
    Own {
        /// Index among the runs.
        run: usize,
        /// Its pair.
        pair: u32,
    },
}

impl Reference {
    /// The first pair that counts.
    pub(crate) fn first_pair(self) -> u32 {
        match self {
            Self::Golden => 1,
            Self::Own { pair, .. } => pair.saturating_add(1),
        }
    }
}

/// Every run in the order given, and what the bug is known by.
#[derive(Debug, Clone)]
pub(crate) struct Sorting {
    /// What each means.
    pub(crate) runs: Vec<Sorted>,
    /// By which crash the bug is known.
    pub(crate) reference: Reference,
}

/// Sorts them. `scenario` is what both sides play, with the baseline's fault.
pub(crate) fn sort(runs: &[Run], scenario: &Scenario, same_device: bool) -> Sorting {
    let reference = reference(runs);
    let own = match reference {
        Reference::Golden => None,
        Reference::Own { run, .. } => runs.get(run).and_then(|run| run.signature.as_deref()),
    };
    let verdict_of = |run: &Run| match (own, &run.signature) {
        (Some(own), Some(found)) => compare::compare(own, found).verdict,
        _ => run.verdict,
    };
    let shows = |run: &&Run| is_bug(verdict_of(run)) && run.side == Side::Baseline;
    let first = runs.iter().filter(shows).min_by_key(|run| run.pair);
    let trigger = first.and_then(|run| run.evidence.as_ref());
    let sorted = runs.iter().map(|run| {
        let (outcome, why) = match verdict_of(run) {
            verdict if is_bug(verdict) => (Outcome::Bug, String::new()),
            Verdict::Inconclusive if run.died => (Outcome::UnreadCrash, run.why.clone()),
            Verdict::Inconclusive => (Outcome::SaysNothing, run.why.clone()),
            other => {
                let crashed = other != Verdict::NoCrash;
                match (crashed, missing(run, trigger, scenario, same_device)) {
                    (false, None) => (Outcome::NoCrash, String::new()),
                    (true, None) => (Outcome::OtherCrash, String::new()),
                    (false, Some(why)) => (
                        Outcome::SaysNothing,
                        format!("what the bug needs did not happen: {why}"),
                    ),
                    (true, Some(why)) => (
                        Outcome::EarlyCrash,
                        format!(
                            "it crashed ({}) before what the bug needs had happened: {why}",
                            crash(run)
                        ),
                    ),
                }
            }
        };
        Sorted {
            pair: run.pair,
            side: run.side,
            outcome,
            why,
        }
    });
    Sorting {
        runs: sorted.collect(),
        reference,
    }
}

fn is_bug(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::SameCrash | Verdict::SameBug)
}

/// The crash of a run in words.
fn crash(run: &Run) -> &str {
    let title = run.signature.as_ref().map(|one| one.title.as_str());
    title.unwrap_or("its signature is not there")
}

/// The golden's crash, if the baseline has ever shown it; else the baseline's first crash that could be read. So a stray
/// crash of the baseline does not stand for the bug once the bug is there.
fn reference(runs: &[Run]) -> Reference {
    let baseline = |run: &&Run| run.side == Side::Baseline;
    if runs.iter().filter(baseline).any(|run| is_bug(run.verdict)) {
        return Reference::Golden;
    }
    let crashed = |(_, run): &(usize, &Run)| {
        let other = run.verdict == Verdict::Different && run.signature.is_some();
        run.side == Side::Baseline && other
    };
    let first = runs.iter().enumerate().filter(crashed);
    match first.min_by_key(|(_, run)| run.pair) {
        Some((index, run)) => Reference::Own {
            run: index,
            pair: run.pair,
        },
        None => Reference::Golden,
    }
}

/// What a run of the candidate lacks that led to the bug on the baseline.
fn missing(
    run: &Run,
    trigger: Option<&Evidence>,
    scenario: &Scenario,
    same_device: bool,
) -> Option<String> {
    if run.side == Side::Baseline {
        return None;
    }
    let Some(evidence) = &run.evidence else {
        return Some("there is no record of what it did".into());
    };
    trigger?.reached_by(evidence, scenario, same_device).err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_agent::plan::{Setup, Step, UrbTarget};
    use recrash_machine::run::evidence::{ModuleWords, Urb};
    use recrash_signature::model::{Fact, Source};

    fn scenario() -> Scenario {
        let setup = Setup {
            request_type: 0x80,
            request: 6,
            value: 0x0302,
            index: 0x0409,
            length: 254,
        };
        let urb = |to| Step::Urb { to, setup };
        Scenario {
            summary: String::new(),
            comm: "c".into(),
            cpu: 0,
            fault: "duplicate-dma".into(),
            device: None,
            golden: None,
            needs: Vec::new(),
            steps: vec![urb(UrbTarget::Device), Step::Fault, urb(UrbTarget::RootHub)],
        }
    }

    fn signature(cache: &str) -> Box<Signature> {
        let snap = include_str!(
            "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
        );
        let mut signature = Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap();
        signature.slab.cache = Fact::known(cache.to_owned(), Source::Vmcore);
        Box::new(signature)
    }

    /// What a run did that was served `length` bytes, or nothing.
    fn served(length: Option<u32>) -> Option<Evidence> {
        let urb = length.map(|actual_length| Urb {
            step: 0,
            status: 0,
            actual_length,
        });
        Some(Evidence {
            asked: u64::from(length.is_some()),
            answered: u64::from(length.is_some()),
            console: ModuleWords {
                fired: u64::from(length.is_some()),
                ..ModuleWords::default()
            },
            urbs: urb.into_iter().collect(),
            ..Evidence::default()
        })
    }

    fn run(pair: u32, side: Side, verdict: Verdict) -> Run {
        let cache = match verdict {
            Verdict::SameCrash | Verdict::SameBug => Some("kmalloc-256"),
            Verdict::Different => Some("kmalloc-512"),
            Verdict::NoCrash | Verdict::Inconclusive => None,
        };
        Run {
            pair,
            side,
            verdict,
            why: "its own reason".into(),
            signature: cache.map(signature),
            evidence: served(Some(56)),
            died: false,
        }
    }

    fn check(runs: &[Run], same_device: bool, reference: Reference, expected: &[Outcome]) {
        let found = sort(runs, &scenario(), same_device);
        assert_eq!(found.reference, reference);
        let outcomes: Vec<Outcome> = found.runs.iter().map(|run| run.outcome).collect();
        assert_eq!(outcomes, expected, "{:?}", found.runs);
    }

    use Outcome::{Bug, EarlyCrash, NoCrash, OtherCrash, SaysNothing, UnreadCrash};
    use Side::{Baseline, Candidate};

    #[test]
    fn a_crash_of_the_golden_s_bug_is_the_bug_wherever_it_struck() {
        check(
            &[
                run(1, Baseline, Verdict::SameCrash),
                run(1, Candidate, Verdict::SameBug),
                run(2, Candidate, Verdict::Different),
                run(3, Candidate, Verdict::NoCrash),
            ],
            true,
            Reference::Golden,
            &[Bug, Bug, OtherCrash, NoCrash],
        );
    }

    #[test]
    fn where_the_baseline_crashes_otherwise_than_the_golden_its_own_crash_is_the_bug() {
        check(
            &[
                run(2, Baseline, Verdict::Different),
                run(1, Candidate, Verdict::Different),
                run(1, Baseline, Verdict::Different),
                run(2, Candidate, Verdict::SameCrash),
            ],
            true,
            Reference::Own { run: 2, pair: 1 },
            &[Bug, Bug, Bug, OtherCrash],
        );
        assert_eq!(Reference::Own { run: 2, pair: 1 }.first_pair(), 2);
    }

    #[test]
    fn a_stray_crash_of_the_baseline_is_not_the_bug_once_the_golden_s_was_there() {
        let stray = run(1, Baseline, Verdict::Different);
        let candidate = run(1, Candidate, Verdict::NoCrash);
        check(
            &[stray.clone(), candidate.clone()],
            true,
            Reference::Own { run: 0, pair: 1 },
            &[Bug, NoCrash],
        );
        let later = [
            stray,
            candidate,
            run(2, Candidate, Verdict::SameCrash),
            run(2, Baseline, Verdict::SameBug),
        ];
        let outcomes = [OtherCrash, NoCrash, Bug, Bug];
        check(&later, true, Reference::Golden, &outcomes);
        assert_eq!(Reference::Golden.first_pair(), 1);
    }

    #[test]
    fn silence_without_the_same_urbs_says_nothing() {
        let unserved = Run {
            evidence: served(None),
            ..run(1, Candidate, Verdict::NoCrash)
        };
        let unbooted = Run {
            evidence: None,
            ..run(1, Candidate, Verdict::NoCrash)
        };
        let baseline = run(1, Baseline, Verdict::SameCrash);
        check(
            &[baseline, unserved, unbooted],
            true,
            Reference::Golden,
            &[Bug, SaysNothing, SaysNothing],
        );
    }

    #[test]
    fn another_crash_before_the_fault_is_neither_the_bug_nor_a_survival() {
        let early = Run {
            evidence: served(None),
            ..run(1, Candidate, Verdict::Different)
        };
        let title = early.signature.as_ref().unwrap().title.clone();
        let runs = [run(1, Baseline, Verdict::SameCrash), early];
        check(&runs, true, Reference::Golden, &[Bug, EarlyCrash]);
        let why = &sort(&runs, &scenario(), true).runs[1].why;
        let begin = format!("it crashed ({title}) before what the bug needs had happened: ");
        assert!(why.starts_with(&begin), "{why}");
    }

    #[test]
    fn another_device_may_answer_other_bytes_and_the_same_one_may_not() {
        let other = Run {
            evidence: served(Some(254)),
            ..run(1, Candidate, Verdict::NoCrash)
        };
        let runs = [run(1, Baseline, Verdict::SameCrash), other];
        check(&runs, false, Reference::Golden, &[Bug, NoCrash]);
        check(&runs, true, Reference::Golden, &[Bug, SaysNothing]);
    }

    #[test]
    fn a_kernel_that_died_of_something_unknown_did_not_survive() {
        let died = Run {
            died: true,
            ..run(1, Candidate, Verdict::Inconclusive)
        };
        check(
            &[died, run(1, Baseline, Verdict::Inconclusive)],
            true,
            Reference::Golden,
            &[UnreadCrash, SaysNothing],
        );
    }
}
