//! `recrash setup`: provides what runs need. Boots nothing.
use recrash_machine::setup::{self, Provisioned, SetupError, SetupEvent, SetupOptions};
use recrash_machine::target::Target;
use std::path::Path;

use super::{Outcome, TargetArg};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// Installs and fetches what runs need, and builds repro-module.
///
/// Missing host packages are installed with apt-get (as root); the target's kernel, headers and tools are
/// fetched through the machine's own apt into the cache ($XDG_CACHE_HOME/recrash), with versions and hashes
/// in a lock file there. What is there already is used as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArg,
    /// Ask apt for newer packages than those in the lock file
    #[arg(long)]
    update: bool,
    /// Hash all that is cached, even what looks untouched
    #[arg(long)]
    verify: bool,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
    /// Show what apt-get and make print
    #[arg(short, long)]
    verbose: bool,
}

/// The result as `--json` prints it.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "result", rename_all = "kebab-case")]
struct Ready<'a> {
    target: &'a str,
    kernel_release: &'a str,
    /// Where vmlinux and modules with DWARF lie, if the target brings them: for `--debug-dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    debug_dir: Option<&'a Path>,
    packages: &'a [setup::LockedPackage],
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let target = self.target.load()?;
        let progress = Progress::new(self.json, self.verbose);
        let options = SetupOptions {
            install_host_packages: true,
            update: self.update,
            verify: self.verify,
        };
        let provisioned = ensure(&target, &options, &progress)?;
        if self.json {
            output::print_json(&Ready {
                target: &target.name,
                kernel_release: &provisioned.kernel_release,
                debug_dir: provisioned.debug_dir.as_deref(),
                packages: &provisioned.packages,
            })?;
        } else {
            output::print(&format!(
                "target {} is ready: Linux {}\n",
                target.name, provisioned.kernel_release
            ))?;
        }
        Ok(Exit::Met)
    }
}

/// Sets the target up and shows the steps.
pub(crate) fn ensure(
    target: &Target,
    options: &SetupOptions,
    progress: &Progress,
) -> Result<Provisioned, Failure> {
    let result = setup::ensure(target, options, &mut |event| match event {
        SetupEvent::Started { what } => progress.stage(&what),
        SetupEvent::Progress { bytes, total } => progress.bytes_of(bytes, total),
        SetupEvent::Files { done, about } => progress.count_of(done, about, "files"),
        SetupEvent::Done => progress.end(),
        SetupEvent::Log { line } => progress.console(&line),
    });
    match result {
        Ok(provisioned) => {
            progress.end();
            Ok(provisioned)
        }
        Err(error) => {
            progress.fail();
            Err(failure(error))
        }
    }
}

/// What a person has to do or has got wrong is one thing; a network, a disk or a build that failed another.
fn failure(error: SetupError) -> Failure {
    match error {
        SetupError::NeedsRoot { .. }
        | SetupError::NotSetUp { .. }
        | SetupError::NoRoot(_)
        | SetupError::NoMirror { .. }
        | SetupError::UnknownPackage { .. } => Failure::usage(error),
        _ => Failure::inconclusive(error),
    }
}
