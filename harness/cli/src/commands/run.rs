//! `recrash run`: one run from boot to verdict. Puts the parts together; each does its own work.
mod exact;

use recrash_agent::plan::Scenario;
use recrash_machine::capture::Capture;
use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::qemu::args::Accel;
use recrash_machine::run::{self, Prune, RunRequest, StopFlag};
use recrash_machine::scenario;
use recrash_machine::setup::{self, Provisioned, SetupOptions};
use recrash_machine::target::Target;
use recrash_machine::usbredir::Device;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::capture_args::{self, CaptureArgs};
use super::{Outcome, TargetArg, config_file};
use crate::aftermath::Aftermath;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::{golden, interrupt, output, watch};

/// Boots, submits, crashes, captures, analyses and compares: one run.
///
/// Everything the run saw is kept in a folder of its own: console, events, USB traffic, vmcore, signature,
/// report and a manifest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArg,
    /// What user space does: a file in qemu/scenarios, without .toml [default: the target's]
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// The emulated USB device: a file in qemu/devices, without .toml [default: the scenario's, else the target's]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// What goes wrong: duplicate-dma, early-free, early-free-fixed, none [default: the scenario's]
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
    /// What exit code 0 shall mean
    #[arg(long, value_name = "VERDICT", default_value = "same-crash")]
    expect: Expect,
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
    #[arg(long)]
    timings: bool,
    /// Print one JSON object a line on stdout; the last one is the result
    #[arg(long)]
    json: bool,
    /// Show the guest's console
    #[arg(short, long)]
    verbose: bool,
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

/// The arguments, resolved to what they name.
struct Plan {
    target: Target,
    device_name: String,
    device: Device,
    scenario_name: String,
    scenario: Scenario,
    module_params: String,
    append: Vec<String>,
    capture: Capture,
    root: PathBuf,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        // Whatever can be wrong with the input is found before anything boots.
        let plan = self.resolve()?;
        let wanted = self.golden.as_deref();
        let of_scenario = plan.scenario.golden.as_deref();
        let wanted = wanted
            .or(of_scenario)
            .unwrap_or(&plan.target.default.golden);
        let golden = golden::find(&super::checkout()?.join("golden"), wanted)?;
        let progress = Progress::new(self.json, self.verbose);
        let provisioned = self.provision(&plan.target, &progress)?;
        capture_args::check(&plan.capture, &provisioned)?;
        // From here on a signal ends the run in order; during set-up it just ends the process.
        let stop = StopFlag::from(interrupt::stop_flag()?);

        let begin = Instant::now();
        let ended = self.boot(&plan, &provisioned, &progress, &stop);
        if ended.is_err() {
            progress.fail();
        }
        let aftermath = Aftermath::of(
            ended,
            &golden,
            self.exact.expect(self.expect),
            &progress,
            begin,
        );
        aftermath.print(self.json, self.timings)?;
        self.prune(&plan.root);
        Ok(aftermath.exit())
    }

    fn resolve(&self) -> Result<Plan, Failure> {
        let target = self.target.load()?;
        let or =
            |name: &Option<String>, default: &str| name.as_deref().unwrap_or(default).to_owned();
        let scenario_name = or(&self.scenario, &target.default.scenario);
        let file = config_file("scenarios", &scenario_name)?;
        let mut scenario = scenario::load(&file).map_err(Failure::usage)?;
        super::fits::check(&target, &scenario_name, &scenario)?;
        let device_name = or(
            &self.device,
            scenario.device.as_ref().unwrap_or(&target.default.device),
        );
        let device =
            Device::load(&config_file("devices", &device_name)?).map_err(Failure::usage)?;
        if let Some(fault) = &self.fault {
            scenario = scenario::with_fault(scenario, fault)
                .map_err(|why| Failure::usage(anyhow::anyhow!("--fault {fault}: {why}")))?;
        }
        let module_params = scenario::module_params(&scenario, device.id())
            .map_err(|why| Failure::usage(anyhow::anyhow!("{}: {why}", file.display())))?;
        let words = self
            .append
            .iter()
            .flat_map(|words| words.split_whitespace());
        let root = match &self.out {
            Some(dir) => dir.clone(),
            None => super::runs_folder()?,
        };
        let capture = self.capture.settle(&target)?;
        Ok(Plan {
            capture,
            append: words.map(str::to_owned).collect(),
            target,
            device_name,
            device,
            scenario_name,
            scenario,
            module_params,
            root,
        })
    }

    fn provision(&self, target: &Target, progress: &Progress) -> Result<Provisioned, Failure> {
        if !self.setup {
            return setup::load(target).map_err(|error| {
                Failure::usage(error).hint(format!(
                    "recrash setup --target {}, or run with --setup",
                    target.name
                ))
            });
        }
        let options = SetupOptions {
            install_host_packages: true,
            ..SetupOptions::default()
        };
        super::setup::ensure(target, &options, progress)
    }

    fn boot(
        &self,
        plan: &Plan,
        provisioned: &Provisioned,
        progress: &Progress,
        stop: &StopFlag,
    ) -> Result<run::RunRecord, run::RunError> {
        let request = RunRequest {
            target: &plan.target,
            provisioned,
            device_name: &plan.device_name,
            device: &plan.device,
            scenario_name: &plan.scenario_name,
            scenario: &plan.scenario,
            append: &plan.append,
            capture: plan.capture,
            accel: self.accel.into(),
            root: &plan.root,
            module_params: &plan.module_params,
        };
        run::run(
            &request,
            &mut |record: &_| watch::show(progress, record),
            stop,
        )
    }

    fn prune(&self, root: &Path) {
        let Some(count) = self.keep else { return };
        // The run has its verdict; what could not be deleted does not change it.
        if let Err(error) = run::prune(root, Prune::Keep(count)) {
            output::note(&format!("warning: --keep {count}: {error}\n"));
        }
    }
}
