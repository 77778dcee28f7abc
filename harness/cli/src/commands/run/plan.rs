//! The arguments of `recrash run`, resolved to what they name. Finds whatever is wrong with them before anything boots;
//! boots nothing.
use recrash_agent::plan::Scenario;
use recrash_machine::capture::Capture;
use recrash_machine::scenario;
use recrash_machine::target::Target;
use recrash_machine::usbredir::Device;
use std::path::PathBuf;

use super::super::{config_file, runs_folder};
use super::Args;
use crate::failure::Failure;

/// What is to be run.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) device_name: String,
    pub(super) device: Device,
    pub(super) scenario_name: String,
    pub(super) scenario: Scenario,
    pub(super) module_params: String,
    pub(super) append: Vec<String>,
    pub(super) capture: Capture,
    pub(super) root: PathBuf,
}

impl Args {
    /// Reads the files that the arguments name.
    pub(super) fn resolve(&self) -> Result<Plan, Failure> {
        let target = self.target.load()?;
        let or =
            |name: &Option<String>, default: &str| name.as_deref().unwrap_or(default).to_owned();
        let device_name = or(&self.device, &target.default.device);
        let device =
            Device::load(&config_file("devices", &device_name)?).map_err(Failure::usage)?;
        let scenario_name = or(&self.scenario, &target.default.scenario);
        let file = config_file("scenarios", &scenario_name)?;
        let mut scenario = scenario::load(&file).map_err(Failure::usage)?;
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
            None => runs_folder()?,
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
}
