//! `recrash completions`: the script by which a shell completes recrash's command line. What is completed is `manual`'s.
use clap::ValueEnum as _;
use clap_complete::Shell;

use super::Outcome;
use crate::exit::Exit;
use crate::manual::complete;
use crate::output;

const HELP: &str = "\
Where it goes:
  bash        ~/.bashrc: source <(recrash completions bash)
              or once: recrash completions bash > ~/.local/share/bash-completion/completions/recrash
  zsh         ~/.zshrc, behind compinit: source <(recrash completions zsh)
  fish        recrash completions fish > ~/.config/fish/completions/recrash.fish
  elvish      ~/.config/elvish/rc.elv: eval (recrash completions elvish | slurp)
  powershell  $PROFILE: recrash completions powershell | Out-String | Invoke-Expression

The script asks recrash for what fits, so it knows the targets, scenarios, devices and goldens there are, and need not be
written anew after an update. With --static it has all commands and options in itself, and no names.";

/// Prints the script by which a shell completes commands, options and names.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
    /// A script that does not ask recrash
    #[arg(long = "static")]
    is_static: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        if self.is_static {
            clap_complete::generate(self.shell, &mut crate::command(), "recrash", &mut script);
        } else {
            let name = self.shell.to_possible_value();
            let name = name.as_ref().map_or("", |value| value.get_name());
            complete::script(name, &mut script)?;
        }
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Met)
    }
}
