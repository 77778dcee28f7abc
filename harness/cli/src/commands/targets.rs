//! `--target` where several are meant: names with commas between them, or `all`. Reads the targets' files only.
use recrash_machine::target::{self, Target};

use super::{checkout, config_file};
use crate::failure::Failure;

/// `--target NAME[,NAME…]` or `--target all`.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetsArg {
    /// The kernels: files in qemu/targets, without .toml, with commas between them; or all
    #[arg(
        long = "target",
        default_value = "debian",
        value_name = "NAME",
        value_delimiter = ','
    )]
    names: Vec<String>,
}

impl TargetsArg {
    /// Reads the targets' files; for `all` those that can be used. Each is there once, in the order given.
    pub(crate) fn load(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for name in &self.names {
            if name == "all" {
                targets.extend(all()?.into_iter().filter(|one| one.left_out.is_none()));
            } else {
                targets.push(load(name)?);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        targets.retain(|target| seen.insert(target.name.clone()));
        Ok(targets)
    }
}

/// Every target of the checkout, by name.
pub(crate) fn all() -> Result<Vec<Target>, Failure> {
    let names = target::names(&checkout()?.join("qemu/targets")).map_err(Failure::usage)?;
    names.iter().map(|name| load(name)).collect()
}

fn load(name: &str) -> Result<Target, Failure> {
    Target::load(&config_file("targets", name)?).map_err(Failure::usage)
}
