//! Tests one kernel of a bisection: runs it until it shows the bug, or is silent for long enough, or cannot be told. Prints
//! each run; decides nothing about the search.
use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::run::{CampaignNote, StopFlag};
use recrash_signature::compare::Verdict;
use recrash_signature::store::Golden;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

use super::Kernel;
use super::paper::Paper;
use crate::bisect::silence;
use crate::campaign::record::millis;
use crate::commands::run::bench::Bench;
use crate::expect::Expect;
use crate::progress::Progress;

/// So many runs that say nothing, before any that does, and a kernel cannot be tested.
const DEAF: u32 = 3;
/// Runs that say nothing may be this many times as many as the runs that are wanted.
const PATIENCE: u32 = 2;
/// Most runs that a hint looks ahead.
const LOOK_AHEAD: u32 = 10_000;

/// What a kernel was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// It has the bug.
    Bug,
    /// It does not.
    Silence,
    /// It cannot be told.
    Unknown,
    /// Somebody stopped it.
    Stopped,
}

/// What the ends were found to do.
pub(super) enum Ends {
    /// One has the bug and the other does not.
    Differ {
        /// The first one has it.
        first_shows: bool,
    },
    /// Both have it, or neither; in words.
    Alike(String),
    /// It cannot be told; why.
    Unknown(String),
}

/// The runs of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tested {
    /// Runs that went to their end.
    pub(super) runs: u32,
    /// Those that showed the bug.
    pub(super) bug: u32,
    /// Those without a crash.
    pub(super) silent: u32,
    /// Those that say nothing, or crashed otherwise.
    pub(super) nothing: u32,
    /// Why the last one of those says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What it was found to do; absent while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is: Option<&'static str>,
    /// From the first run's start to the last one's end, as far as it was busy with this kernel, in milliseconds.
    pub(super) took_ms: u64,
    /// Folders of its runs.
    #[serde(skip)]
    pub(super) folders: Vec<PathBuf>,
}

impl Shows {
    /// The word of `--json`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bug => "has-the-bug",
            Self::Silence => "silent",
            Self::Unknown | Self::Stopped => "cannot-be-tested",
        }
    }
}

impl Tested {
    fn is_deaf(&self) -> bool {
        self.runs == self.nothing && self.runs >= DEAF
    }

    fn take(&mut self, verdict: Verdict, why: &str) {
        self.runs += 1;
        match verdict {
            Verdict::SameCrash | Verdict::SameBug => self.bug += 1,
            Verdict::NoCrash => self.silent += 1,
            Verdict::Different | Verdict::Inconclusive => {
                self.nothing += 1;
                self.why = Some(format!("{verdict}: {why}"));
            }
        }
    }
}

/// What tests the kernels of a list.
pub(super) struct Tester<'a> {
    pub(super) kernels: &'a [Kernel],
    pub(super) golden: &'a Golden,
    pub(super) accel: AccelChoice,
    /// Most runs of a kernel that count.
    pub(super) attempts: u32,
    /// Chance that the silence of one kernel may be luck.
    pub(super) alpha: f64,
    pub(super) campaign: String,
    pub(super) stop: &'a StopFlag,
    pub(super) json: bool,
    pub(super) verbose: bool,
    pub(super) paper: Paper,
    /// By kernel.
    pub(super) tested: Vec<Tested>,
    pub(super) runs: u32,
}

impl Tester<'_> {
    /// Tests the first and the last kernel: in turns until one shows the bug, then that one until it is known how often
    /// it does, then the other one.
    pub(super) fn ends(&mut self, last: usize) -> anyhow::Result<Ends> {
        let mut bad = None;
        while bad.is_none() {
            for end in [0, last] {
                if !self.once(end)? {
                    return Ok(Ends::Unknown("interrupted".into()));
                }
                let tested = self.of(end);
                if tested.is_deaf() {
                    return Ok(Ends::Unknown(self.cannot_tell(end)));
                }
                if tested.bug > 0 {
                    bad = Some(end);
                    break;
                }
            }
            let spent = |end: usize| self.of(end).silent >= self.attempts || self.tired(end);
            if bad.is_none() && spent(0) && spent(last) {
                let runs = self.of(0).silent + self.of(last).silent;
                return Ok(Ends::Alike(format!(
                    "neither end shows the bug, in {runs} silent runs together"
                )));
            }
        }
        let Some(bad) = bad else {
            return Ok(Ends::Unknown("no end shows the bug".into()));
        };
        while self.of(bad).bug + self.of(bad).silent < self.attempts && !self.tired(bad) {
            if !self.once(bad)? {
                return Ok(Ends::Unknown("interrupted".into()));
            }
        }
        self.paper
            .kernel(self.kernels, bad, &self.of(bad), Shows::Bug)?;
        let good = if bad == 0 { last } else { 0 };
        let (shown, of) = self.rate();
        if silence::needed(shown, of, self.alpha, self.attempts).is_none() {
            let enough = silence::needed(shown, of, self.alpha, LOOK_AHEAD);
            let hint = enough.map_or_else(String::new, |runs| format!("; --attempts {runs} are"));
            return Ok(Ends::Unknown(format!(
                "{} shows the bug in {shown} of {of} runs: {} silent runs of another kernel are not enough to tell it from that{hint}",
                self.name(bad),
                self.attempts
            )));
        }
        Ok(match self.test(good)? {
            Shows::Silence => Ends::Differ {
                first_shows: bad == 0,
            },
            Shows::Bug => Ends::Alike("both ends show the bug".into()),
            Shows::Unknown => Ends::Unknown(self.cannot_tell(good)),
            Shows::Stopped => Ends::Unknown("interrupted".into()),
        })
    }

    /// Tests a kernel, once it is known how often the end with the bug shows it.
    pub(super) fn test(&mut self, at: usize) -> anyhow::Result<Shows> {
        let (shown, of) = self.rate();
        let needed = silence::needed(shown, of, self.alpha, self.attempts);
        let needed = needed.unwrap_or(u32::MAX);
        let found = loop {
            let tested = self.of(at);
            if tested.bug > 0 {
                break Shows::Bug;
            }
            if tested.silent >= needed {
                break Shows::Silence;
            }
            let possible = self.kernels.get(at).is_some_and(|one| one.ready.is_ok());
            if !possible || tested.is_deaf() || self.tired(at) {
                break Shows::Unknown;
            }
            if !self.once(at)? {
                return Ok(Shows::Stopped);
            }
        };
        self.settle(at, found)?;
        Ok(found)
    }

    /// It is known what a kernel does.
    fn settle(&mut self, at: usize, found: Shows) -> anyhow::Result<()> {
        if let Some(tested) = self.tested.get_mut(at) {
            tested.is = Some(found.word());
        }
        self.paper.kernel(self.kernels, at, &self.of(at), found)
    }

    /// How often the end with the bug has shown it. Only ends are run more often than until the first crash.
    fn rate(&self) -> (u32, u32) {
        let ends = [self.tested.first(), self.tested.last()];
        let most = ends.into_iter().flatten().max_by_key(|end| end.bug);
        most.map_or((0, 0), |end| (end.bug, end.bug + end.silent))
    }

    fn of(&self, at: usize) -> Tested {
        self.tested.get(at).cloned().unwrap_or_default()
    }

    fn name(&self, at: usize) -> &str {
        self.kernels.get(at).map_or("", |kernel| &kernel.name)
    }

    /// Whether too many runs of a kernel said nothing.
    fn tired(&self, at: usize) -> bool {
        self.of(at).runs >= self.attempts.saturating_mul(PATIENCE).max(DEAF)
    }

    fn cannot_tell(&self, at: usize) -> String {
        let tested = self.of(at);
        format!(
            "{} of {} runs of {} say nothing: {}",
            tested.nothing,
            tested.runs,
            self.name(at),
            tested.why.unwrap_or_default()
        )
    }

    /// One run of a kernel; `false` if somebody stopped it.
    fn once(&mut self, at: usize) -> anyhow::Result<bool> {
        let Some(kernel) = self.kernels.get(at) else {
            return Ok(false);
        };
        let Ok((plan, provisioned)) = &kernel.ready else {
            return Ok(false);
        };
        if self.stop.is_stopped() {
            return Ok(false);
        }
        self.runs += 1;
        let bench = Bench {
            plan,
            provisioned,
            golden: self.golden,
            expect: Expect::SameCrash,
            accel: self.accel,
            snapshot: None,
        };
        let kernels = u32::try_from(self.kernels.len()).unwrap_or(u32::MAX);
        let note = CampaignNote {
            name: self.campaign.clone(),
            attempt: self.runs,
            of: kernels
                .saturating_mul(self.attempts)
                .saturating_mul(PATIENCE),
        };
        let begin = Instant::now();
        let progress = Progress::of_attempt(self.runs, self.json, self.verbose);
        self.paper.begun(&kernel.name);
        let aftermath = bench.run_once(&progress, self.stop, Some(note));
        let record = aftermath.record(self.runs, begin.elapsed())?;
        if record.was_stopped() {
            return Ok(false);
        }
        if let Some(tested) = self.tested.get_mut(at) {
            tested.take(record.verdict, &record.why);
            tested.took_ms = tested.took_ms.saturating_add(millis(record.took));
            tested.folders.extend(record.run.clone());
        }
        self.paper.run(&kernel.name, &record)?;
        Ok(true)
    }
}
