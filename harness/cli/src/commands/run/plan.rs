//! What is reproduced, resolved from options to what they name. Finds whatever is wrong with them before anything boots;
//! boots nothing.
use recrash_agent::plan::Scenario;
use recrash_machine::capture::Capture;
use recrash_machine::device::UsbDevice;
use recrash_machine::scenario;
use recrash_machine::target::Target;
use recrash_signature::store::Golden;
use std::path::PathBuf;

use super::super::{checkout, config_file, fits, must_be_writable, runs_folder};
use super::hardware::Named;
use super::reproduction::Reproduction;
use crate::failure::Failure;
use crate::golden;

/// What is to be run.
#[derive(Clone)]
pub(in crate::commands) struct Plan {
    pub(in crate::commands) target: Target,
    pub(in crate::commands) device_name: String,
    pub(in crate::commands) device: UsbDevice,
    pub(in crate::commands) scenario_name: String,
    pub(in crate::commands) scenario: Scenario,
    pub(in crate::commands) module_params: String,
    pub(in crate::commands) append: Vec<String>,
    pub(in crate::commands) capture: Capture,
    pub(in crate::commands) root: PathBuf,
}

impl Reproduction {
    /// Reads the files that the options name, and puts the hardware together.
    pub(in crate::commands) fn resolve(&self, target: Target) -> Result<Plan, Failure> {
        let (plan, together) = self.resolve_parts(target)?;
        together?;
        Ok(plan)
    }

    /// The same; whether device, controller, scenario and target go together is for the caller to judge.
    pub(in crate::commands) fn resolve_parts(
        &self,
        mut target: Target,
    ) -> Result<(Plan, Result<(), Failure>), Failure> {
        let or =
            |name: &Option<String>, default: &str| name.as_deref().unwrap_or(default).to_owned();
        let scenario_name = or(&self.scenario, &target.default.scenario);
        let file = config_file("scenarios", &scenario_name)?;
        let mut scenario = scenario::load(&file).map_err(Failure::usage)?;
        let device_name = or(
            &self.device,
            scenario.device.as_ref().unwrap_or(&target.default.device),
        );
        let Named {
            name: device_name,
            mut device,
        } = self.hardware.device(&device_name)?;
        let together = self.hardware.assemble(&mut target, &mut device)?;
        let together = together.map_err(Failure::usage);
        let together = together.and_then(|()| fits::check(&target, &scenario_name, &scenario));
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
        let capture = self.capture.settle(&target)?;
        let plan = Plan {
            capture,
            append: words.map(str::to_owned).collect(),
            target,
            device_name,
            device,
            scenario_name,
            scenario,
            module_params,
            root: self.root()?,
        };
        Ok((plan, together))
    }

    /// Where the runs are kept.
    pub(in crate::commands) fn root(&self) -> Result<PathBuf, Failure> {
        match &self.out {
            Some(dir) => must_be_writable(dir).map(|()| dir.clone()),
            None => runs_folder(),
        }
    }

    /// The golden that the outcome is held against.
    pub(in crate::commands) fn golden(&self, plan: &Plan) -> Result<Golden, Failure> {
        let of_scenario = plan.scenario.golden.as_deref();
        let wanted = self.golden.as_deref().or(of_scenario);
        let wanted = wanted.unwrap_or(&plan.target.default.golden);
        golden::find(&checkout()?.join("golden"), wanted)
    }
}
