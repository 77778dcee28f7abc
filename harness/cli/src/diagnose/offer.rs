//! What a kernel and a machine offer of the experiments, told by the kernel's configuration before anything boots. What
//! is not offered has its reason, in words.
use recrash_machine::setup::kernel_config::KernelConfig;
use serde::{Deserialize, Serialize};

use super::experiment::Experiment;

/// Whether an experiment can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "offer", rename_all = "kebab-case")]
pub(crate) enum Offer {
    /// It can.
    Offered,
    /// It cannot.
    NotOffered {
        /// Why.
        reason: String,
    },
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The kernel's configuration; `None` where it is not at hand.
    pub(crate) config: Option<&'a KernelConfig>,
    /// QEMU's machine type.
    pub(crate) machine_type: &'a str,
    /// The fault.
    pub(crate) fault: &'a str,
}

/// The name of the fault that is none.
const NO_FAULT: &str = "none";

/// Whether this experiment can be made here.
pub(crate) fn offer(experiment: Experiment, ground: Ground<'_>) -> Offer {
    match reason(experiment, ground) {
        None => Offer::Offered,
        Some(reason) => Offer::NotOffered { reason },
    }
}

fn reason(experiment: Experiment, ground: Ground<'_>) -> Option<String> {
    let needs: &[&str] = match experiment {
        Experiment::Control => return None,
        Experiment::NoFault => {
            let none = ground.fault == NO_FAULT;
            return none.then(|| "the run has no fault that could be left out".into());
        }
        Experiment::SlubDebug => &["SLUB_DEBUG", "MAGIC_SYSRQ"],
        Experiment::InitOnFree => &[],
        Experiment::PagePoison => &["PAGE_POISONING"],
        Experiment::Kasan => &["KASAN"],
        Experiment::Kfence => &["KFENCE"],
        Experiment::Swiotlb => &["SWIOTLB"],
        Experiment::Iommu => &["INTEL_IOMMU"],
    };
    let Some(config) = ground.config else {
        return Some(
            "the kernel's configuration is not at hand, so what it offers is not known".into(),
        );
    };
    let lacking: Vec<String> = needs
        .iter()
        .filter(|name| !config.has(name))
        .map(|name| format!("CONFIG_{name} is not set"))
        .collect();
    if !lacking.is_empty() {
        return Some(lacking.join(", "));
    }
    match experiment {
        // The parameter came with its default's option (commit 6471384af2a6, 5.3).
        Experiment::InitOnFree if !config.knows("INIT_ON_FREE_DEFAULT_ON") => {
            Some("the kernel has no init_on_free, which came with Linux 5.3".into())
        }
        Experiment::Iommu if !is_q35(ground.machine_type) => Some(format!(
            "the machine is a {}, and QEMU has an IOMMU for q35 only",
            ground.machine_type
        )),
        _ => None,
    }
}

fn is_q35(machine_type: &str) -> bool {
    let name = machine_type.split(',').next().unwrap_or_default();
    name == "q35" || name.starts_with("pc-q35-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "CONFIG_SLUB_DEBUG=y\nCONFIG_MAGIC_SYSRQ=y\n# CONFIG_INIT_ON_FREE_DEFAULT_ON is not set\n\
                          # CONFIG_KASAN is not set\nCONFIG_SWIOTLB=y\nCONFIG_INTEL_IOMMU=y\nCONFIG_KFENCE=y\n";

    fn check(
        experiment: Experiment,
        config: Option<&str>,
        machine_type: &str,
        expected: Option<&str>,
    ) {
        let config = config.map(KernelConfig::parse);
        let ground = Ground {
            config: config.as_ref(),
            machine_type,
            fault: "duplicate-dma",
        };
        assert_eq!(
            reason(experiment, ground).as_deref(),
            expected,
            "{experiment}"
        );
    }

    #[test]
    fn what_the_configuration_has_is_offered() {
        for experiment in [
            Experiment::Control,
            Experiment::NoFault,
            Experiment::SlubDebug,
            Experiment::InitOnFree,
            Experiment::Kfence,
            Experiment::Swiotlb,
            Experiment::Iommu,
        ] {
            check(experiment, Some(DEBIAN), "q35", None);
        }
    }

    #[test]
    fn what_it_lacks_is_not_offered_and_says_why() {
        let (kasan, poison) = (Experiment::Kasan, Experiment::PagePoison);
        check(kasan, Some(DEBIAN), "q35", Some("CONFIG_KASAN is not set"));
        check(
            poison,
            Some(DEBIAN),
            "q35",
            Some("CONFIG_PAGE_POISONING is not set"),
        );
        let old = "the kernel has no init_on_free, which came with Linux 5.3";
        check(
            Experiment::InitOnFree,
            Some("CONFIG_SLUB=y\n"),
            "q35",
            Some(old),
        );
        let pc = "the machine is a pc, and QEMU has an IOMMU for q35 only";
        check(Experiment::Iommu, Some(DEBIAN), "pc", Some(pc));
        check(Experiment::Iommu, Some(DEBIAN), "pc-q35-7.2,smm=off", None);
    }

    #[test]
    fn without_a_configuration_only_the_runs_as_they_are_can_be_made() {
        let why = "the kernel's configuration is not at hand, so what it offers is not known";
        check(Experiment::Control, None, "q35", None);
        check(Experiment::SlubDebug, None, "q35", Some(why));
    }

    #[test]
    fn a_run_without_a_fault_has_none_to_leave_out() {
        let ground = Ground {
            config: None,
            machine_type: "q35",
            fault: "none",
        };
        let Offer::NotOffered { reason } = offer(Experiment::NoFault, ground) else {
            panic!("it was offered");
        };
        assert_eq!(reason, "the run has no fault that could be left out");
    }
}
