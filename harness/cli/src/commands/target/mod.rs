//! `recrash target`: the kernels that can be booted.
mod list;

use super::Outcome;

/// Lists the kernels that can be booted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::Args),
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::List(args) => args.run(),
        }
    }
}
