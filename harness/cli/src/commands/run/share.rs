//! `--partition` of `recrash run`: the argument, and what a part says of the whole that it belongs to. Runs nothing; which
//! runs are whose is [`crate::partition`]'s to say.
use anyhow::anyhow;
use recrash_machine::setup::module;
use recrash_machine::setup::{Provisioned, Role};
use recrash_signature::store::Golden;
use std::collections::BTreeMap;

use super::super::checkout;
use super::plan::Plan;
use crate::failure::Failure;
use crate::golden;
use crate::partition::{Partition, Wanted};
use crate::parts::{self, Kernel, Whole};

/// The argument.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Many machines")]
pub(crate) struct PartitionArg {
    /// Make only part K of N of the attempts or combinations: slice:K/N, hash:K/N, K/N (a slice), auto
    ///
    /// A slice deals the runs out one by one; a hash keeps a run in its part when others are added. auto, auto/N and
    /// hash:auto/N take K (and N) from the job engine: SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX (Kubernetes), HQ_TASK_ID
    /// (HyperQueue), CI_NODE_INDEX (GitLab); where the engine does not tell N and the option does not,
    /// RECRASH_PARTITIONS does. Attempts keep the numbers that they have in the whole. The part leaves part.json in its
    /// folder; recrash merge puts the parts together, and recrash ci init writes the workflow that makes them.
    #[arg(long, value_name = "PART")]
    partition: Option<Wanted>,
}

impl PartitionArg {
    /// The part, if only one is wanted.
    ///
    /// # Errors
    /// The job engine's variables do not say which.
    pub(super) fn settle(&self) -> Result<Option<Partition>, Failure> {
        let Some(wanted) = self.partition else {
            return Ok(None);
        };
        let settled = wanted.settle(&|variable| {
            let value = std::env::var_os(variable)?;
            Some(value.to_string_lossy().into_owned())
        });
        settled
            .map(Some)
            .map_err(|why| Failure::usage(anyhow!("--partition {why}")))
    }
}

/// A part, and the whole that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) partition: Partition,
    pub(super) whole: Whole,
}

impl Share {
    /// Numbers of its runs in the whole.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.whole.of(self.partition)
    }

    /// For people: which part, and of which runs.
    pub(super) fn note(&self) -> String {
        let numbers = self.numbers();
        let Partition { number, of, .. } = self.partition;
        let which = match self.whole.runs {
            parts::Runs::Campaign(_) if !numbers.is_empty() => {
                format!(": {}", parts::merge::list(&numbers))
            }
            _ => String::new(),
        };
        format!(
            "part {number} of {of} ({}): {} of {} {}{which}",
            self.partition,
            numbers.len(),
            self.whole.dealt().len(),
            self.whole.unit()
        )
    }
}

/// Hashes of all that is read for these runs, by name. What they were resolved to is hashed, so that an added kernel's
/// settings, or an option that changes them, count as well.
pub(super) fn inputs<'a>(
    plans: impl Iterator<Item = (&'a Plan, &'a Golden)>,
    options: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |name: String, text: &str| {
        let known = texts.entry(name).or_default();
        // The same target with another controller is another input of the same name.
        if !known.contains(text) {
            known.push_str(text);
        }
    };
    for (plan, golden) in plans {
        let Plan {
            target,
            device_name,
            device,
            scenario_name,
            scenario,
            module_params,
            append,
            capture,
            root: _,
        } = plan;
        add(format!("target {}", target.name), &format!("{target:?}\n"));
        add(format!("device {device_name}"), &format!("{device:?}\n"));
        let of_scenario = format!("{scenario:?} {module_params}\n");
        add(format!("scenario {scenario_name}"), &of_scenario);
        add(
            "options".into(),
            &format!("{append:?} {capture:?} {options}\n"),
        );
        let signature = golden.signature.to_toml().map_err(anyhow::Error::new)?;
        add(format!("golden {}", golden::name(golden)), &signature);
    }
    let mut inputs: BTreeMap<String, String> = texts
        .into_iter()
        .map(|(name, text)| (name, parts::digest(text)))
        .collect();
    let sources = module::sources_hash(&checkout()?.join("repro-module"));
    inputs.insert("repro-module".into(), sources.map_err(Failure::usage)?);
    Ok(inputs)
}

/// The kernel that is booted.
pub(super) fn kernel(provisioned: &Provisioned) -> Kernel {
    let mut packages: Vec<String> = provisioned
        .packages
        .iter()
        .filter(|package| package.role == Role::Image || package.role == Role::Source)
        .map(|package| format!("{} {} {}\n", package.name, package.version, package.sha256))
        .collect();
    packages.sort();
    Kernel {
        release: provisioned.kernel_release.clone(),
        packages: parts::digest(packages.concat()),
    }
}
