//! `recrash run`: one run from boot to verdict. Puts the parts together; each does its own work. What the arguments
//! name is [`plan`]'s, one boot with its verdict is [`mod@bench`]'s, many attempts are [`attempts`]'s, many combinations
//! [`matrix`]'s.
mod attempts;
mod bench;
pub(crate) mod diagnose;
mod exact;
mod hardware;
mod matrix;
mod plan;

use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::qemu::args::Accel;
use recrash_machine::run::{self, Prune, StopFlag};
use recrash_machine::setup::{self, Provisioned, SetupOptions};
use recrash_machine::target::Target;
use std::path::{Path, PathBuf};

use super::capture_args::{self, CaptureArgs};
use super::{Outcome, TargetArg};
use crate::expect::Expect;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::ReportArgs;
use crate::{interrupt, output};
use attempts::{AttemptsArgs, Series, Source};
use bench::Bench;
use hardware::HardwareArgs;
use matrix::MatrixArgs;

/// Boots, submits, crashes, captures, analyses and compares: one run, or with --attempts many.
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
    /// What user space does: a file in qemu/scenarios, without .toml [default: the target's]
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// The emulated USB device: a file in qemu/devices, without .toml [default: the scenario's, else the target's]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// What goes wrong: duplicate-dma, early-free, early-free-fixed, none; a list or all [default: the scenario's]
    #[arg(long, value_name = "FAULT")]
    fault: Option<String>,
    /// Add to the kernel's command line, for example swiotlb=force
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Folder that holds the runs [default: target/recrash in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The golden: case, name, case/name, or a .snap file [default: the scenario's, else the target's]
    #[arg(long, value_name = "GOLDEN")]
    golden: Option<String>,
    /// What exit code 0 shall mean [default: same-crash; in a matrix, what qemu/matrix.toml says]
    #[arg(long, value_name = "VERDICT")]
    expect: Option<Expect>,
    #[command(flatten)]
    exact: exact::ExactArg,
    /// What executes the guest; auto: KVM if a tiny guest runs on it, else TCG
    #[arg(long, value_name = "ACCEL", default_value = "auto")]
    accel: AccelArg,
    #[command(flatten)]
    capture: CaptureArgs,
    /// Set up what is missing first, as recrash setup does
    #[arg(long)]
    setup: bool,
    /// Afterwards delete all but the newest N runs
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
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
    hardware: HardwareArgs,
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AccelArg {
    Auto,
    Kvm,
    Tcg,
}

impl From<AccelArg> for AccelChoice {
    fn from(arg: AccelArg) -> Self {
        match arg {
            AccelArg::Auto => Self::Auto,
            AccelArg::Kvm => Self::Only(Accel::Kvm),
            AccelArg::Tcg => Self::Only(Accel::Tcg),
        }
    }
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        if matrix::is_wanted(&self) {
            return matrix::run(&self);
        }
        // Whatever can be wrong with the input is found before anything boots.
        let mut plan = self.resolve()?;
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
        let golden = self.golden(&plan)?;
        let progress = Progress::new(self.json, self.verbose);
        let provisioned = self.provision(&plan.target, &progress)?;
        capture_args::check(&plan.capture, &provisioned)?;
        hardware::check(&plan.target, &provisioned, &plan.device)?;
        // From here on a signal ends the run in order; during set-up it just ends the process.
        let stop = StopFlag::from(interrupt::stop_flag()?);

        let bench = Bench {
            plan: &plan,
            provisioned: &provisioned,
            golden: &golden,
            expect: self.exact.expect(self.expect).unwrap_or(Expect::SameCrash),
            accel: self.accel.into(),
            snapshot: None,
        };
        if let Some(of) = self.many.attempts {
            let series = Series {
                bench,
                keep: self.keep,
                report: &self.report,
                of,
                jobs: self.many.jobs,
                stop_at: self.many.stop_at_first,
                json: self.json,
                verbose: self.verbose,
                source,
            };
            let exit = series.run(&stop)?;
            prune(&plan.root, self.keep);
            return Ok(exit);
        }
        let aftermath = bench.run_once(&progress, &stop, None);
        if !self.report.takes_stdout() {
            aftermath.print(self.json, self.timings)?;
        }
        self.report.emit(aftermath.document())?;
        prune(&plan.root, self.keep);
        Ok(aftermath.exit())
    }

    fn provision(&self, target: &Target, progress: &Progress) -> Result<Provisioned, Failure> {
        if !self.setup {
            return setup::load(target).map_err(|error| match error {
                added @ setup::SetupError::Added { .. } => super::setup::failure(added),
                other => Failure::usage(other).hint(format!(
                    "recrash setup --target {}, or run with --setup",
                    target.name
                )),
            });
        }
        let options = SetupOptions {
            install_host_packages: true,
            ..SetupOptions::default()
        };
        super::setup::ensure(target, &options, progress)
    }
}

/// Deletes all but the newest runs, if that is wanted.
fn prune(root: &Path, keep: Option<usize>) {
    let Some(count) = keep else { return };
    // The run has its verdict; what could not be deleted does not change it.
    if let Err(error) = run::prune(root, Prune::Keep(count)) {
        output::note(&format!("warning: --keep {count}: {error}\n"));
    }
}
