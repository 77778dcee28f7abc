//! `recrash run --attempts N`: makes the attempts, several at once if wanted, shows each as it ends, and sums them up.
//! Each is judged as a single run is, by [`Bench`]; the sums are [`crate::campaign`]'s.
mod args;
mod document;
mod paper;
mod screen;
mod snapshot;

pub(super) use args::{AttemptsArgs, Source};

use recrash_agent::plan::Compression;
use recrash_machine::capture::Capture;
use recrash_machine::run::{CampaignFolder, CampaignNote, StopFlag};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Instant;

use super::super::Outcome;
use super::bench::Bench;
use crate::campaign::record::Record;
use crate::campaign::tally::{Ended, Tally};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::{self, ReportArgs};
use args::StopAt;
use paper::Paper;
use screen::Screen;

/// The same capture, as fast as it goes where nothing else was asked for: next to a restore, compressing takes longer
/// than all the rest.
pub(super) fn fastest(capture: Capture) -> Capture {
    let free = !capture.strict && capture.qemu.is_some();
    Capture {
        qemu: if free {
            Some(Compression::None)
        } else {
            capture.qemu
        },
        ..capture
    }
}

/// What the attempts have in common.
pub(super) struct Series<'a> {
    pub(super) bench: Bench<'a>,
    /// How many attempts.
    pub(super) of: u32,
    /// How many at once.
    pub(super) jobs: u32,
    /// After which one no more are begun.
    pub(super) stop_at: Option<StopAt>,
    pub(super) json: bool,
    pub(super) verbose: bool,
    /// Where they begin.
    pub(super) source: Source,
    /// How many runs are kept: the others are deleted while the attempts go, so that a long campaign fills no disk.
    pub(super) keep: Option<usize>,
    /// Where its report goes besides.
    pub(super) report: &'a ReportArgs,
}

/// A campaign that has ended, and what it came to.
pub(super) struct Made<'m> {
    series: &'m Series<'m>,
    folder: &'m CampaignFolder,
    started: &'m jiff::ZonedDateTime,
    notes: &'m [String],
    tally: &'m Tally,
    records: &'m [Record],
}

/// What the workers share.
struct Shared {
    /// How many attempts were begun.
    begun: AtomicU32,
    /// No more are wanted.
    enough: AtomicBool,
}

/// What a worker tells.
enum News {
    Begun,
    Ended(anyhow::Result<Record>),
}

impl Series<'_> {
    /// Makes the attempts, prints each and then the summary. A signal ends those at work in order, and the summary is
    /// printed all the same.
    pub(super) fn run(&self, stop: &StopFlag) -> Outcome {
        let started = jiff::ZonedDateTime::now();
        let plan = self.bench.plan;
        let folder = CampaignFolder::create(
            &plan.root,
            &started.strftime("%Y%m%d-%H%M%S").to_string(),
            &plan.target.name,
            &plan.scenario.fault,
        )
        .map_err(|error| {
            let error = anyhow::Error::new(error);
            Failure::inconclusive(error.context(plan.root.display().to_string()))
        })?;
        let mut paper = Paper::begin(self, &folder, &started).map_err(Failure::inconclusive)?;
        let held = snapshot::provide(self, &folder, stop)?;
        let bench = Bench {
            snapshot: held.as_ref().map(|held| held.snapshot()),
            ..self.bench
        };
        let notes: Vec<String> = held.iter().flat_map(snapshot::Held::notes).collect();
        let mut screen = Screen::new(self);
        let begin = Instant::now();
        let mut records = Vec::new();
        let mut broken = None;
        let shared = Shared {
            begun: AtomicU32::new(0),
            enough: AtomicBool::new(false),
        };
        let (sender, news) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.min(self.of) {
                let (sender, shared, name) = (sender.clone(), &shared, folder.name());
                let bench = &bench;
                scope.spawn(move || self.work(bench, shared, &name, &sender, stop));
            }
            drop(sender);
            for news in news {
                let taken = match news {
                    News::Begun => {
                        screen.begun();
                        Ok(())
                    }
                    News::Ended(record) => record.and_then(|record| {
                        let taken = paper.add(&record).and_then(|()| screen.ended(&record));
                        records.push(record);
                        super::prune(&plan.root, self.keep);
                        taken
                    }),
                };
                // Where results can't be told any more, those at work end and no more are begun.
                if let Err(error) = taken {
                    shared.enough.store(true, Ordering::SeqCst);
                    broken.get_or_insert(error);
                }
            }
        });
        let ended = if stop.is_stopped() {
            Ended::Interrupted
        } else if records.len() < self.of as usize {
            Ended::AtFirst
        } else {
            Ended::Complete
        };
        let tally = Tally::of(&records, self.of, ended, begin.elapsed());
        let report = paper.end(self, &notes, &tally, &records);
        if let Some(error) = broken {
            return Err(Failure::inconclusive(error));
        }
        let report = report.map_err(Failure::inconclusive)?;
        let made = Made {
            series: self,
            folder: &folder,
            started: &started,
            notes: &notes,
            tally: &tally,
            records: &records,
        };
        let mut document = document::document(&made);
        let page = emit::keep(&mut document, folder.path());
        if !self.report.takes_stdout() {
            screen.summary(&made, &report, page.as_deref())?;
        }
        self.report.emit(&document)?;
        Ok(tally.exit)
    }

    /// Takes attempts until there are no more.
    fn work(
        &self,
        bench: &Bench<'_>,
        shared: &Shared,
        campaign: &str,
        to: &Sender<News>,
        stop: &StopFlag,
    ) {
        loop {
            if stop.is_stopped() || shared.enough.load(Ordering::SeqCst) {
                return;
            }
            let number = shared
                .begun
                .fetch_add(1, Ordering::SeqCst)
                .saturating_add(1);
            if number > self.of || to.send(News::Begun).is_err() {
                return;
            }
            let begin = Instant::now();
            let progress = Progress::of_attempt(number, self.json, self.verbose);
            let note = CampaignNote {
                name: campaign.into(),
                attempt: number,
                of: self.of,
            };
            let aftermath = bench.run_once(&progress, stop, Some(note));
            let record = aftermath.record(number, begin.elapsed());
            let last = |record: &Record| self.stop_at.is_some_and(|at| at.meets(record));
            if record.as_ref().is_ok_and(last) {
                shared.enough.store(true, Ordering::SeqCst);
            }
            if to.send(News::Ended(record)).is_err() {
                return;
            }
        }
    }
}
