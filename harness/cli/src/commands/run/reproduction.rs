//! The options that say what is reproduced: everything but the kernel, which one command takes once and another many
//! times. What they name is [`super::plan`]'s. Runs nothing.
use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::qemu::args::Accel;
use recrash_machine::qemu::program;
use recrash_machine::setup::{self, Provisioned, SetupOptions};
use recrash_machine::target::Target;
use std::path::PathBuf;

use super::hardware::HardwareArgs;
use crate::commands::capture_args::CaptureArgs;
use crate::failure::Failure;
use crate::progress::Progress;

/// What is reproduced, and by what.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::commands) struct Reproduction {
    /// What user space does: a file in qemu/scenarios, without .toml [default: the target's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) scenario: Option<String>,
    /// The emulated USB device: a file in qemu/devices, without .toml [default: the scenario's, else the target's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) device: Option<String>,
    /// What goes wrong: duplicate-dma, early-free, early-free-fixed, none; a list or all [default: the scenario's]
    #[arg(long, value_name = "FAULT")]
    pub(in crate::commands) fault: Option<String>,
    /// Add to the kernel's command line, for example swiotlb=force
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(in crate::commands) append: Vec<String>,
    /// Folder that holds the runs [default: target/recrash in the checkout]
    #[arg(long, value_name = "DIR")]
    pub(in crate::commands) out: Option<PathBuf>,
    /// The golden: case, name, case/name, or a .snap file [default: the scenario's, else the target's]
    #[arg(long, value_name = "GOLDEN")]
    pub(in crate::commands) golden: Option<String>,
    /// What executes the guest; auto: KVM if a tiny guest runs well on it, else TCG
    #[arg(long, value_name = "ACCEL", default_value = "auto")]
    pub(in crate::commands) accel: AccelArg,
    /// The QEMU to run [default: qemu-system-x86_64 on the path]
    #[arg(long, value_name = "PATH")]
    pub(in crate::commands) qemu: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::commands) capture: CaptureArgs,
    /// Set up what is missing first, as recrash setup does
    #[arg(long)]
    pub(in crate::commands) setup: bool,
    /// Afterwards delete all but the newest N runs
    #[arg(long, value_name = "N")]
    pub(in crate::commands) keep: Option<usize>,
    #[command(flatten)]
    pub(in crate::commands) hardware: HardwareArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(in crate::commands) enum AccelArg {
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

impl Reproduction {
    /// What set-up has ready for this target, or makes ready now if that is wanted; with the QEMU that was named.
    pub(in crate::commands) fn provision(
        &self,
        target: &Target,
        progress: &Progress,
    ) -> Result<Provisioned, Failure> {
        let mut provisioned = self.set_up(target, progress)?;
        if let Some(path) = &self.qemu {
            provisioned.qemu = program::check(path, &target.machine.machine_type)
                .map_err(|error| Failure::usage(error).hint("--qemu with a qemu-system-x86_64"))?;
        }
        Ok(provisioned)
    }

    fn set_up(&self, target: &Target, progress: &Progress) -> Result<Provisioned, Failure> {
        if !self.setup {
            return setup::load(target).map_err(|error| match error {
                added @ setup::SetupError::Added { .. } => crate::commands::setup::failure(added),
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
        crate::commands::setup::ensure(target, &options, progress)
    }
}
