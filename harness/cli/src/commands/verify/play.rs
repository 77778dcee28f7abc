//! Makes the runs of a verification, several at once if wanted, until there is a verdict or the budget ends. Each is
//! judged as a single run is, by [`Bench`]; what they mean together is [`crate::verify`]'s.
use recrash_machine::run::manifest::{Ending, Manifest};
use recrash_machine::run::{CampaignFolder, CampaignNote, Stage, StopFlag};
use recrash_signature::Signature;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use super::paper::{Paper, Screen};
use crate::campaign::record::Record;
use crate::commands::run::bench::Bench;
use crate::debug_files::DebugArgs;
use crate::progress::Progress;
use crate::subject::{SIGNATURE, Subject};
use crate::verify::decide::{self, Decision, Ended, Rules, Standing};
use crate::verify::sort::{Reference, Run, Sorting, sort};
use crate::verify::{self, Side, Verdict};

/// What is to be compared, and how long.
pub(super) struct Match<'a> {
    pub(super) baseline: Bench<'a>,
    pub(super) candidate: Bench<'a>,
    pub(super) same_device: bool,
    pub(super) rules: Rules,
    pub(super) jobs: u32,
    pub(super) seed: u64,
    pub(super) until: Option<Instant>,
    pub(super) json: bool,
    /// Standard output is wanted for something else.
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    /// How many runs are kept, at the end and meanwhile.
    pub(super) keep: Option<usize>,
}

/// A run that has ended.
pub(super) struct Played {
    pub(super) run: Run,
    pub(super) record: Record,
}

/// What it came to.
pub(super) struct Outcome {
    pub(super) runs: Vec<Played>,
    pub(super) sorting: Sorting,
    pub(super) standing: Standing,
    pub(super) ended: Ended,
    pub(super) cut_off: u32,
}

/// What a worker tells.
enum News {
    Begun,
    /// With where to say that it was taken: only then the worker looks whether more is wanted.
    Ended(anyhow::Result<Box<Played>>, Sender<()>),
}

/// What the workers share.
struct Shared {
    /// How many runs were begun.
    begun: AtomicUsize,
    /// No more are wanted.
    enough: AtomicBool,
}

impl Match<'_> {
    /// Plays it. What was made is given whatever happens.
    ///
    /// # Errors
    /// Results cannot be written or printed any more.
    pub(super) fn play(
        &self,
        folder: &CampaignFolder,
        paper: &mut Paper,
        stop: &StopFlag,
    ) -> anyhow::Result<Outcome> {
        let order = order(self.rules.budget, self.seed);
        let mut screen = Screen::new(self.rules.budget, self.json, self.quiet);
        let mut outcome = Outcome {
            runs: Vec::new(),
            sorting: self.sorted(&[]),
            standing: decide::decide(&[], 1, self.rules, Ended::NotYet),
            ended: Ended::NotYet,
            cut_off: 0,
        };
        let mut broken = None;
        let shared = Shared {
            begun: AtomicUsize::new(0),
            enough: AtomicBool::new(false),
        };
        let (sender, news) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                let (sender, shared, name) = (sender.clone(), &shared, folder.name());
                let order = &order;
                scope.spawn(move || self.work(order, shared, &name, &sender, stop));
            }
            drop(sender);
            for news in news {
                let (taken, waiting) = match news {
                    News::Begun => {
                        screen.begun();
                        (Ok(()), None)
                    }
                    News::Ended(played, waiting) => {
                        let taken = played.and_then(|played| {
                            self.take(*played, &mut outcome, paper, &mut screen)
                        });
                        (taken, Some(waiting))
                    }
                };
                // Where results can't be told any more, those at work end and no more are begun.
                if let Err(error) = taken {
                    broken.get_or_insert(error);
                }
                // The first crash of the golden's bug may also take a decision back that was made about another one.
                let enough = broken.is_some() || outcome.standing.decision.is_some();
                shared.enough.store(enough, Ordering::SeqCst);
                // The worker hears that its end was dropped, and goes on if there is more to do.
                drop(waiting);
            }
        });
        screen.end();
        if let Some(error) = broken {
            return Err(error);
        }
        self.conclude(&mut outcome, stop);
        Ok(outcome)
    }

    fn sorted(&self, runs: &[Run]) -> Sorting {
        sort(runs, &self.baseline.plan.scenario, self.same_device)
    }

    /// Sorts all there is anew: the crashes of the baseline tell what the others are held against.
    fn settle(&self, outcome: &mut Outcome, ended: Ended) {
        let runs: Vec<Run> = outcome.runs.iter().map(|one| one.run.clone()).collect();
        outcome.sorting = self.sorted(&runs);
        let first = outcome.sorting.reference.first_pair();
        outcome.standing = decide::decide(&outcome.sorting.runs, first, self.rules, ended);
    }

    fn take(
        &self,
        played: Played,
        outcome: &mut Outcome,
        paper: &mut Paper,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        if played.record.was_stopped() {
            outcome.cut_off += 1;
            screen.gone();
            return Ok(());
        }
        outcome.runs.push(played);
        self.settle(outcome, Ended::NotYet);
        let told = match (outcome.runs.last(), outcome.sorting.runs.last()) {
            (Some(played), Some(sorted)) => {
                let line = paper.add(played, sorted);
                screen.ended(played, sorted, line)
            }
            _ => Ok(()),
        };
        // Those at work are not deleted in any case.
        let spare = usize::try_from(self.jobs).unwrap_or(usize::MAX);
        let keep = self.keep.map(|keep| keep.saturating_add(spare));
        crate::commands::run::prune(&self.baseline.plan.root, keep);
        told
    }

    fn conclude(&self, outcome: &mut Outcome, stop: &StopFlag) {
        let decided = outcome.standing.decision.is_some();
        let open = |decision: &Decision| decision.verdict == Verdict::Inconclusive;
        let open = outcome.standing.decision.as_ref().is_some_and(open);
        let used_up = outcome.standing.pairs >= self.rules.budget;
        outcome.ended = if open && used_up {
            Ended::Budget
        } else if decided {
            Ended::Decided
        } else if stop.is_stopped() {
            Ended::Interrupted
        } else {
            Ended::TimeLimit
        };
        // Runs that were at work when it was decided may show what the others did not: the candidate's bug, or a crash.
        let ended = outcome.ended;
        let Some(decided) = &outcome.standing.decision else {
            self.settle(outcome, ended);
            return;
        };
        if let Some(decision) = decide::late(&outcome.sorting.runs, decided) {
            outcome.standing.decision = Some(decision);
        }
    }

    /// Takes runs until there are no more.
    fn work(
        &self,
        order: &[(u32, Side)],
        shared: &Shared,
        campaign: &str,
        to: &Sender<News>,
        stop: &StopFlag,
    ) {
        loop {
            let late = self.until.is_some_and(|until| Instant::now() >= until);
            if late || stop.is_stopped() || shared.enough.load(Ordering::SeqCst) {
                return;
            }
            let at = shared.begun.fetch_add(1, Ordering::SeqCst);
            let Some((pair, side)) = order.get(at).copied() else {
                return;
            };
            if to.send(News::Begun).is_err() {
                return;
            }
            let number = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            let note = CampaignNote {
                name: campaign.into(),
                attempt: number,
                of: u32::try_from(order.len()).unwrap_or(u32::MAX),
            };
            let played = self.one(number, pair, side, note, stop);
            let (waiting, taken) = mpsc::channel();
            let ended = News::Ended(played.map(Box::new), waiting);
            if to.send(ended).is_err() {
                return;
            }
            // Nothing is ever sent: it ends once the result was taken, and what it decided is known.
            let _ = taken.recv();
        }
    }

    fn one(
        &self,
        number: u32,
        pair: u32,
        side: Side,
        note: CampaignNote,
        stop: &StopFlag,
    ) -> anyhow::Result<Played> {
        let bench = match side {
            Side::Baseline => &self.baseline,
            Side::Candidate => &self.candidate,
        };
        let begin = Instant::now();
        let progress = Progress::of_attempt(number, self.json, self.verbose);
        let aftermath = bench.run_once(&progress, stop, Some(note));
        let record = aftermath.record(number, begin.elapsed())?;
        let folder = record.run.as_deref();
        let manifest = folder.and_then(|folder| Manifest::load(folder).ok());
        let run = Run {
            pair,
            side,
            verdict: record.verdict,
            why: record.why.clone(),
            signature: folder.and_then(signature).map(Box::new),
            died: manifest.as_ref().is_some_and(died),
            evidence: manifest.map(|manifest| manifest.evidence),
        };
        Ok(Played { run, record })
    }
}

/// The signature that the run left, if it crashed and could be read.
pub(in crate::commands) fn signature(folder: &Path) -> Option<Signature> {
    if !folder.join(SIGNATURE).is_file() {
        return None;
    }
    match Subject::read(folder, &[], &DebugArgs::default()) {
        Ok(Subject::Crash(signature)) => Some(*signature),
        _ => None,
    }
}

/// Whether the kernel died once its scenario had begun, or its console looked so: that is no silence, whatever the guest
/// said afterwards.
pub(in crate::commands) fn died(manifest: &Manifest) -> bool {
    let seen = manifest.crash.as_ref();
    seen.is_some_and(|crash| crash.stage >= Stage::Scenario)
        || matches!(manifest.outcome, Some(Ending::Crashed { .. }))
}

/// Every run: each pair is its two sides, in an order that is drawn.
fn order(pairs: u32, seed: u64) -> Vec<(u32, Side)> {
    let mut random = fastrand::Rng::with_seed(seed);
    (1..=pairs)
        .flat_map(|pair| {
            let sides = if random.bool() {
                [Side::Baseline, Side::Candidate]
            } else {
                [Side::Candidate, Side::Baseline]
            };
            sides.map(|side| (pair, side))
        })
        .collect()
}

impl Outcome {
    /// The first crash of the candidate that is another than the bug, with what it is held against.
    pub(super) fn other_crash(&self) -> Option<&Played> {
        let other = |side: Side, outcome: verify::Outcome| {
            side == Side::Candidate && outcome == verify::Outcome::OtherCrash
        };
        let mut both = self.runs.iter().zip(&self.sorting.runs);
        both.find(|(_, sorted)| other(sorted.side, sorted.outcome))
            .map(|(played, _)| played)
    }

    /// The first crash of the baseline that is the bug.
    pub(super) fn bug(&self) -> Option<&Played> {
        let mut both = self.runs.iter().zip(&self.sorting.runs);
        both.find(|(_, sorted)| {
            sorted.side == Side::Baseline && sorted.outcome == verify::Outcome::Bug
        })
        .map(|(played, _)| played)
    }

    /// The run whose crash is the bug, if it is not the golden's.
    pub(super) fn bug_of_run(&self) -> Option<PathBuf> {
        match self.sorting.reference {
            Reference::Golden => None,
            Reference::Own { run, .. } => self.runs.get(run).and_then(|one| one.record.run.clone()),
        }
    }
}

/// How long a duration that a person wrote is: `90s`, `30m`, `1h 30m`, or seconds.
pub(in crate::commands) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; expected for example 90s, 30m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_both_sides_in_an_order_that_the_seed_gives() {
        let found = order(50, 7);
        assert_eq!(found, order(50, 7));
        assert_ne!(found, order(50, 8));
        let mut first = 0;
        for (number, pair) in (1..).zip(found.chunks(2)) {
            assert_eq!((pair[0].0, pair[1].0), (number, number));
            assert_ne!(pair[0].1, pair[1].1);
            first += usize::from(pair[0].1 == Side::Baseline);
        }
        assert!((10..=40).contains(&first), "{first}");
    }

    #[test]
    fn a_time_is_what_people_write() {
        let seconds = |text: &str| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5400));
        for wrong in ["", "x", "-5s", "5 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
