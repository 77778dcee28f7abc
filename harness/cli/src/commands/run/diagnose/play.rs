//! Makes the experiments, one after another, and keeps what there is after each. Concludes nothing itself.
use anyhow::Context as _;
use recrash_agent::plan::{Scenario, Step, UrbTarget};
use recrash_machine::run::folder::EVENTS;
use recrash_machine::run::{
    self, CampaignFolder, CampaignNote, Manifest, RunError, RunRecord, StopFlag,
};
use recrash_machine::scenario;
use recrash_signature::Signature;
use recrash_signature::compare::{self, Verdict};
use recrash_signature::model::Fact;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::bench::Bench;
use super::super::plan::Plan;
use super::paper::{Line, Paper};
use crate::debug_files::DebugArgs;
use crate::diagnose::conclude;
use crate::diagnose::experiment::{self, Experiment};
use crate::diagnose::present;
use crate::diagnose::record::{self, Diagnosis, Entry, Run, State};
use crate::diagnose::seen::{Effect, Seen};
use crate::diagnose::weigh;
use crate::diagnose::wire::Wire;
use crate::exit::Exit;
use crate::extract::{self, How, stale};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::document::Document;
use crate::subject::Subject;
use crate::{golden, output};

/// The verdict that the manifest of a run has whose memory was read.
const READ: &str = "memory-read";
/// The fault that is none.
const NO_FAULT: &str = "none";

/// Everything that the experiments have in common.
pub(super) struct Bout<'a> {
    /// The run as it is.
    pub(super) bench: Bench<'a>,
    /// Each size of kmalloc() has sixteen caches.
    pub(super) random_caches: bool,
    /// Jiffies a second, by the configuration.
    pub(super) hz: Option<u64>,
    /// How often an experiment is made at most, if that was asked for.
    pub(super) attempts: Option<u32>,
    pub(super) json: bool,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a StopFlag,
}

/// What is known so far.
struct Notes {
    /// The control's signature: what the others are compared with.
    control: Option<Box<Signature>>,
    seen: Seen,
}

impl Bout<'_> {
    /// Makes those that wait. What was made counts, even if somebody stops it.
    pub(super) fn play(&self, entries: Vec<Entry>) -> Result<(Diagnosis, Document), Failure> {
        let begin = Instant::now();
        let started = jiff::ZonedDateTime::now();
        let plan = self.bench.plan;
        let folder = CampaignFolder::create(
            &plan.root,
            &started.strftime("%Y%m%d-%H%M%S").to_string(),
            &plan.target.name,
            &plan.scenario.fault,
        )
        .with_context(|| plan.root.display().to_string())
        .map_err(Failure::inconclusive)?;
        let paper = Paper::begin(&folder);
        let mut notes = Notes {
            control: None,
            seen: Seen::default(),
        };
        let mut diagnosis = self.diagnosis(entries, &started);
        let waiting = |entries: &[Entry]| {
            let wait = entries.iter().filter(|entry| entry.state == State::Waiting);
            u32::try_from(wait.count()).unwrap_or(u32::MAX)
        };
        let of = waiting(&diagnosis.experiments);
        let mut number = 0;
        for at in 0..diagnosis.experiments.len() {
            let crashes = record::crashes_at_once(&diagnosis.experiments);
            let Some(entry) = diagnosis.experiments.get_mut(at) else {
                break;
            };
            if entry.state != State::Waiting || self.stop.is_stopped() {
                continue;
            }
            number += 1;
            let name = entry.experiment.name();
            self.progress
                .heading(&format!("experiment {number} of {of}: {name}"));
            if entry.experiment == Experiment::SlubDebug {
                entry.adds = entry
                    .experiment
                    .append(&self.caches(notes.control.as_deref()));
            }
            let most = weigh::most_runs(entry.experiment, self.attempts, crashes);
            let runs = self.experiment(entry, most, &folder, &mut notes);
            if !runs.is_empty() {
                let effect = record::together(&runs);
                entry.state = State::Done { effect, runs };
                if !self.json {
                    output::note(&format!(
                        "{name}: {}\n",
                        output::printable(&present::became(&entry.state))
                    ));
                }
            }
            if self.json {
                output::print_json(&Line::Experiment {
                    entry,
                    question: entry.experiment.question(),
                })?;
            }
            self.settle(&mut diagnosis, &notes, begin);
            paper.write(&diagnosis);
        }
        self.settle(&mut diagnosis, &notes, begin);
        let document = paper.end(&diagnosis);
        Ok((diagnosis, document))
    }

    fn diagnosis(&self, experiments: Vec<Entry>, started: &jiff::ZonedDateTime) -> Diagnosis {
        let plan = self.bench.plan;
        let seen = Seen::default();
        Diagnosis {
            recrash_diagnosis: record::SCHEMA,
            started: started.timestamp().to_string(),
            target: plan.target.name.clone(),
            kernel_release: self.bench.provisioned.kernel_release.clone(),
            device: plan.device_name.clone(),
            scenario: plan.scenario_name.clone(),
            fault: plan.scenario.fault.clone(),
            append: plan.append.clone(),
            golden: golden::name(self.bench.golden),
            findings: conclude::conclude(&[], &seen),
            experiments,
            seen,
            interrupted: false,
            took_ms: 0,
            exit: Exit::Inconclusive as u8,
        }
    }

    /// What follows from what there is.
    fn settle(&self, diagnosis: &mut Diagnosis, notes: &Notes, begin: Instant) {
        let made = record::made(&diagnosis.experiments);
        diagnosis.findings = conclude::conclude(&made, &notes.seen);
        diagnosis.seen = notes.seen.clone();
        diagnosis.interrupted = self.stop.is_stopped();
        diagnosis.took_ms = millis(begin.elapsed());
        // What was interrupted is never met; what it has is told all the same.
        let met = diagnosis.findings.conclusion.is_there() && !diagnosis.interrupted;
        diagnosis.exit = if met { Exit::Met } else { Exit::Inconclusive } as u8;
    }

    /// Its runs: until one crashes or has its memory read, or there were `most`. One that somebody stopped is none. One that
    /// says nothing is repeated only if that was asked for.
    fn experiment(
        &self,
        entry: &Entry,
        most: u32,
        folder: &CampaignFolder,
        notes: &mut Notes,
    ) -> Vec<Run> {
        let mut runs = Vec::new();
        let plan = match changed(self.bench.plan, entry) {
            Ok(plan) => plan,
            Err(why) => {
                runs.push(Run {
                    folder: None,
                    effect: Effect::Nothing { why },
                    took_ms: 0,
                });
                return runs;
            }
        };
        let bench = Bench {
            plan: &plan,
            ..self.bench
        };
        for attempt in 1..=most {
            let begin = Instant::now();
            let note = CampaignNote {
                name: folder.name(),
                attempt,
                of: most,
            };
            let ended = bench.boot(
                self.progress,
                self.stop,
                Some(note),
                entry.experiment.extras(),
            );
            if self.stop.is_stopped() {
                return runs;
            }
            let path = match &ended {
                Ok(record) => Some(record.folder.path().to_owned()),
                Err(error) => error.folder.as_ref().map(|folder| folder.path().to_owned()),
            };
            let effect = if entry.experiment.reads_memory() {
                self.read(ended, notes)
            } else {
                let aftermath = bench.judge(ended, self.progress, begin);
                let comparison = aftermath.comparison();
                let (verdict, why) = (comparison.verdict, comparison.why.clone());
                effect(entry.experiment, verdict, &why, path.as_deref(), notes)
            };
            let last = match effect {
                Effect::Same { .. } | Effect::Other { .. } | Effect::Read { .. } => true,
                Effect::NoCrash => false,
                Effect::Nothing { .. } => self.attempts.is_none(),
            };
            runs.push(Run {
                folder: path,
                effect,
                took_ms: millis(begin.elapsed()),
            });
            if last {
                break;
            }
        }
        runs
    }

    /// The memory of a run with SLUB debugging, and what the host saw of it.
    fn read(&self, ended: Result<RunRecord, RunError>, notes: &mut Notes) -> Effect {
        let record = match ended {
            Ok(record) => record,
            Err(error) => {
                return Effect::Nothing {
                    why: error.to_string(),
                };
            }
        };
        let (vmcore, title) = match &record.outcome {
            run::Outcome::Dumped { vmcore, .. } => (vmcore, None),
            run::Outcome::Crashed { vmcore, title, .. } => (vmcore, Some(title.clone())),
            run::Outcome::NoCrash => {
                return Effect::Nothing {
                    why: "the kernel survived, and there is no dump of it".into(),
                };
            }
            run::Outcome::Inconclusive { stage, reason } => {
                return Effect::Nothing {
                    why: format!("{stage}: {reason}"),
                };
            }
        };
        self.progress
            .named_stage("analyze", "read the tracks in the vmcore");
        let accelerator = record.manifest.accel.to_string();
        let debug = record.manifest.debug_dir.as_deref();
        let debug = debug.map_or_else(DebugArgs::default, DebugArgs::in_folder);
        let how = How {
            accelerator: Some(&accelerator),
            debug: Some(&debug),
            ..How::default()
        };
        let read = extract::analyze_with(vmcore, how, stale::memory);
        self.progress.end();
        let mut memory = match read {
            Ok((_, memory)) => memory,
            Err(failure) => {
                return Effect::Nothing {
                    why: failure.chain(),
                };
            }
        };
        memory.tick_ns = memory
            .tick_ns
            .or(self.hz.and_then(|hz| 1_000_000_000u64.checked_div(hz)));
        let mut wire = wire(record.folder.path());
        if let Some(device) = &record.manifest.physical {
            let why = "what it answered, and when, is not in the run's record, so nothing says which transfer wrote";
            wire.missing.push(format!("{device}: {why}"));
        }
        notes.seen.wire = Some(wire);
        notes.seen.memory = Some(memory);
        // The diagnosis stands even if the manifest cannot be written again.
        if let Err(error) = Manifest::set_verdict(record.folder.path(), READ, title.as_deref()) {
            output::note(&format!(
                "warning: {}: {error}\n",
                record.folder.path().display()
            ));
        }
        Effect::Read { title }
    }

    /// The caches that the object can be of: that of the control's crash, else the one that serves the buffer.
    fn caches(&self, control: Option<&Signature>) -> Vec<String> {
        let cache = control.and_then(|signature| match &signature.slab.cache {
            Fact::Known { value, .. } => Some(value.clone()),
            Fact::Absent { .. } => None,
        });
        match cache
            .as_deref()
            .map(|name| (name, name.strip_prefix("kmalloc-")))
        {
            Some((_, Some(size))) => experiment::of_size(size, self.random_caches),
            Some((name, None)) => vec![name.to_owned()],
            None => experiment::caches_of(buffer_size(self.bench.plan), self.random_caches),
        }
    }
}

/// What the device was asked and answered, from the run's record.
fn wire(folder: &Path) -> Wire {
    let file = folder.join(EVENTS);
    match File::open(&file) {
        Ok(file) => Wire::read(BufReader::new(file)),
        Err(error) => Wire {
            missing: vec![format!("{}: {error}", file.display())],
            ..Wire::default()
        },
    }
}

/// How a judged run ended, against the control; the control itself is what the others are compared with, whatever crash it
/// is.
fn effect(
    experiment: Experiment,
    verdict: Verdict,
    why: &str,
    folder: Option<&Path>,
    notes: &mut Notes,
) -> Effect {
    match verdict {
        Verdict::NoCrash => return Effect::NoCrash,
        Verdict::Inconclusive => return Effect::Nothing { why: why.into() },
        Verdict::SameCrash | Verdict::SameBug | Verdict::Different => {}
    }
    let subject = folder.map(|folder| Subject::read(folder, &[], &DebugArgs::default()));
    let Some(Ok(Subject::Crash(signature))) = subject else {
        return Effect::Nothing {
            why: "the run's signature could not be read again".into(),
        };
    };
    let title = signature.title.clone();
    let is_goldens = verdict != Verdict::Different;
    let is_controls = notes
        .control
        .as_ref()
        .is_some_and(|control| compare::compare(control, &signature).verdict != Verdict::Different);
    if experiment == Experiment::Control {
        notes.control = Some(signature);
        return Effect::Same { title };
    }
    // Without a control the golden says what is the same.
    let same = is_controls || (notes.control.is_none() && is_goldens);
    if same {
        Effect::Same { title }
    } else {
        Effect::Other { title }
    }
}

/// The plan of an experiment.
fn changed(plan: &Plan, entry: &Entry) -> Result<Plan, String> {
    let mut plan = plan.clone();
    plan.append.extend(entry.adds.iter().cloned());
    if entry.experiment == Experiment::NoFault {
        plan.scenario = scenario::with_fault(plan.scenario, NO_FAULT)?;
        plan.module_params = scenario::module_params(&plan.scenario, plan.device.id())?;
    }
    if entry.experiment.reads_memory() {
        plan.scenario = up_to_fault(plan.scenario);
    }
    Ok(plan)
}

/// The scenario up to its fault: what comes behind is about a victim, and would only use the object that is to be read.
/// What the module puts into the way of the write relies on freed objects being handed out again at once, which SLUB
/// debugging does not do.
fn up_to_fault(mut scenario: Scenario) -> Scenario {
    let fault = scenario.steps.iter().position(|step| *step == Step::Fault);
    if let Some(fault) = fault {
        scenario.steps.truncate(fault.saturating_add(1));
    }
    scenario
        .steps
        .retain(|step| !matches!(step, Step::Module { .. }));
    scenario
}

/// The size of the largest buffer that the scenario's requests to the device have, in bytes.
pub(super) fn buffer_size(plan: &Plan) -> u64 {
    let sizes = plan.scenario.steps.iter().filter_map(|step| match step {
        Step::Urb {
            to: UrbTarget::Device,
            setup,
        } => Some(u64::from(setup.length)),
        _ => None,
    });
    sizes.max().unwrap_or(0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
