//! The `recrash` command: reads its arguments, runs one of [`commands`], prints an error once, and
//! ends with a documented exit code. The work is done in the library crates.
mod aftermath;
mod bisect;
mod campaign;
mod captures;
mod combination;
mod commands;
mod debug_cache;
mod debug_files;
mod diagnose;
mod dump;
mod exit;
mod expect;
mod explain;
mod extract;
mod failure;
mod git_bisect;
mod github;
mod golden;
mod import;
mod interrupt;
mod judge;
mod manual;
mod output;
mod partition;
mod parts;
mod progress;
mod report;
mod shell;
mod store;
mod subject;
mod timings;
mod verify;
mod watch;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use exit::Exit;
use failure::Failure;
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

/// Makes a kernel crash happen again and says whether it is the same one.
///
/// recrash boots a kernel in QEMU with an emulated USB device, does what the crashed machine did, lets kdump
/// write the vmcore, reads it without debug packages, and compares what identifies the crash with a golden.
///
/// Begin with: recrash run --setup
#[derive(Debug, Parser)]
#[command(
    name = "recrash",
    version,
    after_help = "recrash COMMAND --help tells a command's options; recrash --help the exit codes.",
    after_long_help = exit::HELP,
    subcommand_required = true,
    subcommand_value_name = "COMMAND",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

/// The command line as it is parsed, shown and completed.
fn command() -> clap::Command {
    manual::dressed(Cli::command())
}

/// The command of a command line, whose first word is the program's name.
fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(commands::inspect::respell(args))?;
    Cli::from_arg_matches(&matches)
}

fn main() -> ExitCode {
    match manual::complete::answered(command) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
    let bisecting = git_bisect::is_wanted(std::env::args_os());
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let error = commands::inspect::without_bad_advice(error);
            if bisecting && error.use_stderr() {
                // Nobody is left to tell if that fails.
                let _ = error.print();
                return Exit::Abort.into();
            }
            error.exit()
        }
    };
    if !bisecting {
        return ended(cli.command.run(), |failure| failure.exit());
    }
    // A panic's own exit code, 101, would make the commit a bad one.
    match std::panic::catch_unwind(AssertUnwindSafe(|| cli.command.run())) {
        Ok(outcome) => ended(outcome, |_| Exit::Abort),
        Err(_) => Exit::Abort.into(),
    }
}

/// Prints the error, if it is one.
fn ended(outcome: commands::Outcome, of: impl Fn(&Failure) -> Exit) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            of(&failure).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
