//! The `recrash` command: reads its arguments, runs one of [`commands`], prints an error once, and
//! ends with a documented exit code. The work is done in the library crates.
mod aftermath;
mod campaign;
mod captures;
mod combination;
mod commands;
mod debug_cache;
mod debug_files;
mod dump;
mod exit;
mod expect;
mod explain;
mod extract;
mod failure;
mod github;
mod golden;
mod import;
mod interrupt;
mod judge;
mod output;
mod partition;
mod parts;
mod progress;
mod report;
mod shell;
mod subject;
mod timings;
mod watch;

use clap::Parser;
use std::process::ExitCode;

/// Makes a kernel crash happen again and says whether it is the same one.
///
/// recrash boots a kernel in QEMU with an emulated USB device, does what the crashed machine did, lets kdump
/// write the vmcore, reads it without debug packages, and compares what identifies the crash with a golden.
///
/// Begin with: recrash run --setup
#[derive(Debug, Parser)]
#[command(name = "recrash", version, after_help = exit::HELP, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = Cli::try_parse_from(commands::inspect::respell(std::env::args_os()))
        .unwrap_or_else(|error| commands::inspect::without_bad_advice(error).exit());
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
