//! `recrash diagnose`: repeats a run with what the kernel offers, one thing at a time, and concludes who freed the object.
//! What an experiment is and what follows from it is [`crate::diagnose`]'s; each run is judged as any other, by [`Bench`].
mod paper;
mod play;

use anyhow::anyhow;
use recrash_machine::capture::CaptureMode;
use recrash_machine::run::StopFlag;
use recrash_machine::setup::Provisioned;
use recrash_machine::setup::kernel_config::KernelConfig;

use super::super::{Outcome, TargetArg, capture_args};
use super::bench::Bench;
use super::plan::Plan;
use super::reproduction::Reproduction;
use super::{hardware, matrix, prune};
use crate::commands::capture_args::ModeArg;
use crate::diagnose::experiment::{self, Experiment};
use crate::diagnose::offer::{self, Ground, Offer};
use crate::diagnose::present;
use crate::diagnose::record::{Entry, State};
use crate::diagnose::text;
use crate::exit::Exit;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::ReportArgs;
use crate::{interrupt, output};
use play::Bout;

/// Finds out who freed it: repeats a run with what the kernel offers, one by one.
///
/// Experiments are: control (nothing changed), no-fault, slub-debug (slub_debug=FZPU for the caches concerned: who
/// allocated and freed the object, and what was written into it while it was free), swiotlb, iommu (a transfer that has
/// ended reaches nothing any more), init-on-free, page-poison, kfence, kasan. What a kernel does not offer is listed with
/// the reason. The conclusion names the call path that freed the object and the transfer whose bytes lie in it, and says
/// whether the transfer was in flight then; it rests on the vmcore and on what the host saw of the device.
///
/// QEMU writes the dumps unless --capture says otherwise.
///
/// Exit codes: 0 concluded; 2 wrong command line or set-up is missing; 4 not concluded, with the reason, or interrupted.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArg,
    #[command(flatten)]
    what: Box<Reproduction>,
    /// Make these experiments only, separated by commas
    #[arg(long, value_name = "EXPERIMENT", value_delimiter = ',')]
    only: Vec<Experiment>,
    /// Boot nothing: list the experiments, whether this kernel and machine offer them, and why not
    #[arg(long)]
    list: bool,
    /// Repeat an experiment up to N times, until it crashes or has its memory read [default: 1; up to 3 while
    /// swiotlb, iommu or init-on-free are silent and the control was not, as fewer silent runs prove nothing]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_ATTEMPTS))]
    attempts: Option<u32>,
    /// Print one JSON object a line on stdout; the last one is the result
    #[arg(long)]
    json: bool,
    /// Show the guest's console
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// Most attempts of an experiment: more is a slip of the finger.
const MOST_ATTEMPTS: i64 = 1000;

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        if matrix::has_lists(self.target.name(), &self.what) {
            return Err(Failure::usage(anyhow!(
                "a list of targets, controllers, speeds, faults or captures: diagnose looks at one run"
            )));
        }
        let mut what = *self.what;
        if what.capture.modes().is_empty() {
            // One boot an experiment is enough.
            what.capture = what.capture.with_mode(Some(ModeArg::Qemu));
        }
        let plan = what.resolve(self.target.load()?)?;
        if plan.capture.mode == CaptureMode::Both {
            return Err(
                Failure::usage(anyhow!("--capture both: an experiment has one dump"))
                    .hint("--capture qemu or kdump"),
            );
        }
        let golden = what.golden(&plan)?;
        let progress = Progress::new(self.json, self.verbose);
        let provisioned = what.provision(&plan.target, &progress)?;
        let config = config(&provisioned);
        let entries = entries(&plan, config.as_ref(), &self.only);
        if self.list {
            return list(&entries, self.json);
        }
        some_possible(&entries)?;
        capture_args::check(&plan.capture, &provisioned)?;
        hardware::check(&plan.target, &provisioned, &plan.device)?;
        let stop = StopFlag::from(interrupt::stop_flag()?);
        let bench = Bench {
            plan: &plan,
            provisioned: &provisioned,
            golden: &golden,
            expect: Expect::SameCrash,
            accel: what.accel.into(),
            snapshot: None,
        };
        let bout = Bout {
            bench,
            random_caches: config
                .as_ref()
                .is_some_and(|config| config.has("RANDOM_KMALLOC_CACHES")),
            hz: config
                .as_ref()
                .and_then(|config| config.value("HZ")?.parse().ok()),
            attempts: self.attempts,
            json: self.json,
            progress: &progress,
            stop: &stop,
        };
        let (diagnosis, mut document) = bout.play(entries)?;
        let exit = if diagnosis.exit == Exit::Met as u8 {
            Exit::Met
        } else {
            Exit::Inconclusive
        };
        paper::print(&diagnosis, &mut document, &self.report, self.json)?;
        prune(&plan.root, what.keep);
        Ok(exit)
    }
}

fn config(provisioned: &Provisioned) -> Option<KernelConfig> {
    let file = provisioned.config.as_ref()?;
    match KernelConfig::load(file) {
        Ok(config) => Some(config),
        Err(error) => {
            output::note(&format!("warning: {}: {error}\n", file.display()));
            None
        }
    }
}

/// All experiments, each with what it adds and whether it can be made and was asked for.
fn entries(plan: &Plan, config: Option<&KernelConfig>, only: &[Experiment]) -> Vec<Entry> {
    let ground = Ground {
        config,
        machine_type: &plan.target.machine.machine_type,
        fault: &plan.scenario.fault,
    };
    let random = config.is_some_and(|config| config.has("RANDOM_KMALLOC_CACHES"));
    let caches = experiment::caches_of(play::buffer_size(plan), random);
    let one = |experiment: Experiment| Entry {
        experiment,
        adds: experiment.append(&caches),
        state: match offer::offer(experiment, ground) {
            Offer::NotOffered { reason } => State::NotOffered { reason },
            Offer::Offered if !only.is_empty() && !only.contains(&experiment) => State::LeftOut,
            Offer::Offered => State::Waiting,
        },
    };
    Experiment::ALL.into_iter().map(one).collect()
}

fn list(entries: &[Entry], json: bool) -> Outcome {
    if json {
        for entry in entries {
            output::print_json(&paper::Line::Experiment {
                entry,
                question: entry.experiment.question(),
            })?;
        }
    } else {
        output::print(&text::sections(&[present::offered(entries)]))?;
    }
    Ok(Exit::Met)
}

fn some_possible(entries: &[Entry]) -> Result<(), Failure> {
    if entries.iter().any(|entry| entry.state == State::Waiting) {
        return Ok(());
    }
    let why: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.state {
            State::NotOffered { reason } => Some(format!("{}: {reason}", entry.experiment)),
            _ => None,
        })
        .collect();
    Err(Failure::usage(anyhow!(
        "none of these experiments can be made here: {}",
        why.join("; ")
    ))
    .hint("--list shows those that can"))
}
