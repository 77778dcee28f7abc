//! `recrash target remove`: deletes a kernel that was added. Targets of the checkout are files in git.
use recrash_machine::setup::added::Store;

use super::failure;
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Deletes a kernel that was added, with all its files. Runs of it stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "removed")]
struct Removed<'a> {
    name: &'a str,
    folder: String,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let store = Store::find().map_err(failure)?;
        let result = store.remove(&self.name);
        let is_of_checkout = super::of_checkout()?.contains(&self.name);
        let folder = result.map_err(|error| match failure(error) {
            failure if is_of_checkout => failure.hint(format!(
                "{} is a target of the checkout: qemu/targets/{}.toml",
                self.name, self.name
            )),
            failure => failure,
        })?;
        if self.json {
            output::print_json(&Removed {
                name: &self.name,
                folder: super::shown(&folder),
            })?;
        } else {
            output::print(&format!(
                "target {} removed: {}\n",
                self.name,
                folder.display()
            ))?;
        }
        Ok::<Exit, Failure>(Exit::Met)
    }
}
