//! `recrash target`: the kernels that can be booted, and a person's own among them. What a name stands for is
//! decided here for every command.
mod add;
mod list;
mod remove;
mod show;

use recrash_machine::setup::SetupError;
use recrash_machine::setup::added::Store;
use recrash_machine::target::{self, Target};
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::failure::Failure;

/// Lists the kernels that can be booted; adds, shows and removes kernels of your own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Add(Box<add::Args>),
    Show(show::Args),
    Remove(remove::Args),
    List(list::Args),
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::Add(args) => args.run(),
            Action::List(args) => args.run(),
            Action::Show(args) => args.run(),
            Action::Remove(args) => args.run(),
        }
    }
}

/// The targets of the checkout, sorted.
fn of_checkout() -> Result<Vec<String>, Failure> {
    target::names(&super::checkout()?.join("qemu/targets")).map_err(Failure::usage)
}

/// Names of the kernels that were added, sorted.
pub(crate) fn added() -> Vec<String> {
    // Without a home there is no place for any.
    Store::find().map(|store| store.names()).unwrap_or_default()
}

/// The file of a target: of the checkout, or added.
pub(crate) fn file(name: &str) -> Result<PathBuf, Failure> {
    let added = Store::find().ok().and_then(|store| store.target_file(name));
    match (super::config_path("targets", name)?, added) {
        (Some(file), None) | (None, Some(file)) => Ok(file),
        (Some(file), Some(added)) => Err(Failure::usage(anyhow::anyhow!(
            "two targets have the name {name}: {} and {}",
            file.display(),
            added.display()
        ))
        .hint(format!(
            "recrash target remove {name}, and add the kernel again under another name"
        ))),
        (None, None) => {
            let mut names = of_checkout()?;
            names.extend(self::added());
            names.sort();
            Err(
                Failure::usage(anyhow::anyhow!("there is no target {name:?}")).hint(format!(
                    "one of: {}; recrash target add adds another kernel",
                    names.join(", ")
                )),
            )
        }
    }
}

/// Reads a target by its name.
pub(crate) fn load(name: &str) -> Result<Target, Failure> {
    let file = file(name)?;
    let mut target = Target::load(&file).map_err(Failure::usage)?;
    // Its file is called target.toml in the folder of that name.
    target.name = name.to_owned();
    Ok(target)
}

/// What went wrong with an added kernel, with what to do about it.
fn failure(error: SetupError) -> Failure {
    super::setup::failure(error)
}

/// A path as it is shown, and as `--json` has it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
