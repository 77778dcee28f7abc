//! `recrash run`: one run from boot to verdict. Puts the parts together; each does its own work. What the arguments
//! name is [`plan`]'s, one boot with its verdict is [`mod@bench`]'s, many attempts are [`attempts`]'s, many combinations
//! [`matrix`]'s.
mod attempts;
pub(super) mod bench;
pub(crate) mod diagnose;
mod exact;
pub(super) mod hardware;
pub(in crate::commands) mod matrix;
pub(super) mod plan;
pub(super) mod reproduction;
mod share;

use recrash_machine::run::{self, Prune, StopFlag};
use std::path::Path;

use super::{Outcome, TargetArg, capture_args};
use crate::exit::Exit;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::partition::Partition;
use crate::parts::{self, Runs, Whole};
use crate::progress::Progress;
use crate::report::emit::ReportArgs;
use crate::{git_bisect, golden, interrupt, output};
use attempts::{AttemptsArgs, Series, Source};
use bench::Bench;
use matrix::MatrixArgs;
use reproduction::Reproduction;
use share::{PartitionArg, Share};

/// Boots, submits, crashes, captures, analyses and compares: once, or many times.
///
/// Everything a run saw is kept in a folder of its own: console, events, USB traffic, vmcore, signature,
/// report and a manifest.
///
/// Lists of targets, controllers, speeds, faults or captures (a,b or all) make a matrix: each combination is run, and one
/// table tells what was expected (qemu/matrix.toml) and what came. The exit code is the first of 1, 3, 4 that any
/// of its runs ended with, else 0.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArg,
    #[command(flatten)]
    what: Reproduction,
    /// What exit code 0 shall mean [default: same-crash; in a matrix, what qemu/matrix.toml says]
    #[arg(long, value_name = "VERDICT")]
    expect: Option<Expect>,
    #[command(flatten)]
    exact: exact::ExactArg,
    /// Exit codes for git bisect run: 0 no crash, 1 the golden's bug, 125 anything else, 128 an error
    ///
    /// Of many attempts (--attempts) one that shows the bug makes it 1; 0 needs every attempt to survive.
    #[arg(long, conflicts_with_all = ["expect", "exact", "dry_run", "partition"])]
    git_bisect: bool,
    /// Print where the time went
    #[arg(long, conflicts_with = "attempts")]
    timings: bool,
    /// Print one JSON object a line on stdout; the last one is the result
    #[arg(long)]
    json: bool,
    /// Show the guest's console
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    many: AttemptsArgs,
    #[command(flatten)]
    matrix: MatrixArgs,
    #[command(flatten)]
    part: PartitionArg,
    #[command(flatten)]
    report: ReportArgs,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        if matrix::is_wanted(&self) {
            if self.git_bisect {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--git-bisect says of one combination whether it has the bug; the options name a matrix of them"
                )));
            }
            return matrix::run(&self);
        }
        // Whatever can be wrong with the input is found before anything boots.
        let partition = self.partition()?;
        let mut plan = self.what.resolve(self.target.load()?)?;
        let source = self.many.source()?;
        if source != Source::Boots {
            if plan.device.physical().is_some() {
                return Err(Failure::usage(anyhow::anyhow!(
                    "a physical device does not come back with a snapshot: it goes on while the guest is saved"
                ))
                .hint("leave --from-snapshot out, or take an emulated device"));
            }
            plan.capture = attempts::fastest(plan.capture);
            if let Some(device) = plan.device.physical() {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--from-snapshot: {device} is a physical device, whose state no snapshot has"
                )));
            }
        }
        let golden = self.what.golden(&plan)?;
        let progress = Progress::new(self.json, self.verbose);
        let provisioned = self.what.provision(&plan.target, &progress)?;
        capture_args::check(&plan.capture, &provisioned)?;
        hardware::check(&plan.target, &provisioned, &plan.device)?;
        // From here on a signal ends the run in order; during set-up it just ends the process.
        let at_once = if self.git_bisect {
            Exit::Abort
        } else {
            Exit::Inconclusive
        };
        let stop = StopFlag::from(interrupt::stop_flag_with(at_once)?);

        let bench = Bench {
            plan: &plan,
            provisioned: &provisioned,
            golden: &golden,
            expect: self.exact.expect(self.expect).unwrap_or(Expect::SameCrash),
            accel: self.what.accel.into(),
            snapshot: None,
        };
        if let Some(of) = self.many.attempts {
            let share = partition.map(|partition| self.share(partition, of, &bench));
            let series = Series {
                bench,
                share: share.transpose()?,
                keep: self.what.keep,
                report: &self.report,
                of,
                jobs: self.many.jobs,
                stop_at: self.many.stop_at_first,
                json: self.json,
                verbose: self.verbose,
                source,
            };
            let tally = series.run(&stop)?;
            prune(&plan.root, self.what.keep);
            return Ok(if self.git_bisect {
                git_bisect::of_attempts(&tally)
            } else {
                tally.exit
            });
        }
        let aftermath = bench.run_once(&progress, &stop, None);
        if !self.report.takes_stdout() {
            aftermath.print(self.json, self.timings)?;
        }
        self.report.emit(aftermath.document())?;
        prune(&plan.root, self.what.keep);
        Ok(if !self.git_bisect {
            aftermath.exit()
        } else if stop.is_stopped() {
            Exit::Abort
        } else {
            git_bisect::of_verdict(aftermath.comparison().verdict)
        })
    }

    /// Whether these are the arguments of a single run.
    pub(crate) fn is_one_run(&self) -> bool {
        self.many.attempts.is_none() && !matrix::is_wanted(self)
    }

    /// The part that is wanted of many attempts.
    fn partition(&self) -> Result<Option<Partition>, Failure> {
        let partition = self.part.settle()?;
        if partition.is_some() && self.many.attempts.is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--partition cuts many runs into parts, and this is one run"
            ))
            .hint(
                "give --attempts N, or lists of targets, controllers, speeds, faults or captures",
            ));
        }
        if partition.is_some() && self.many.stop_at_first.is_some() {
            return Err(Failure::usage(anyhow::anyhow!(
                "--stop-at-first: a part does not know what the others have seen, so --partition does not go with it"
            )));
        }
        Ok(partition)
    }

    /// What the part of a campaign is a part of.
    fn share(
        &self,
        partition: Partition,
        attempts: u32,
        bench: &Bench<'_>,
    ) -> Result<Share, Failure> {
        let (plan, golden) = (bench.plan, bench.golden);
        let from_snapshot = self.many.from_snapshot.is_some();
        let inputs = share::inputs(std::iter::once((plan, golden)), &self.options())?;
        let campaign = parts::Campaign {
            attempts,
            target: plan.target.name.clone(),
            device: plan.device_name.clone(),
            scenario: plan.scenario_name.clone(),
            fault: plan.scenario.fault.clone(),
            append: plan.append.clone(),
            golden: golden::name(golden),
            expected: bench.expect.name().into(),
            from_snapshot,
        };
        Ok(Share {
            partition,
            whole: Whole::new(inputs, Runs::Campaign(campaign)),
        })
    }

    /// Options that change what runs are and that no plan has.
    fn options(&self) -> String {
        format!("{:?} {:?}", self.what.accel, self.what.qemu)
    }
}

/// Deletes all but the newest runs, if that is wanted.
pub(super) fn prune(root: &Path, keep: Option<usize>) {
    let Some(count) = keep else { return };
    // The run has its verdict; what could not be deleted does not change it.
    if let Err(error) = run::prune(root, Prune::Keep(count)) {
        output::note(&format!("warning: --keep {count}: {error}\n"));
    }
}
