//! `recrash setup`: provides what runs need. Boots nothing.
use recrash_machine::setup::{self, Provisioned, SetupError, SetupEvent, SetupOptions};
use recrash_machine::target::Target;
use std::path::Path;

use super::Outcome;
use super::targets::TargetsArg;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// Installs and fetches what runs need, and builds repro-module.
///
/// Missing host packages are installed with apt-get (as root); the target's kernel, headers and tools are
/// fetched through the machine's own apt into the cache ($XDG_CACHE_HOME/recrash), with versions and hashes
/// in a lock file there. What is there already is used as it is. Kernels of other Debian releases come from the
/// machine's own mirrors, with lists of their own: the system's apt and its packages stay as they are.
///
/// With several targets the others are set up even if one fails; the exit code is that of the first failure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetsArg,
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
        let targets = self.targets.load()?;
        let mut failed: Vec<(&str, Failure)> = Vec::new();
        for target in &targets {
            if let Err(failure) = self.provide(target) {
                if targets.len() == 1 {
                    return Err(failure);
                }
                failure.print();
                failed.push((&target.name, failure));
            }
        }
        let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        let summary = anyhow::anyhow!(
            "{} of {} targets could not be set up: {}",
            names.len(),
            targets.len(),
            names.join(", ")
        );
        match failed.first() {
            None => Ok(Exit::Met),
            Some((_, first)) if first.is_usage() => Err(Failure::usage(summary)),
            Some(_) => Err(Failure::inconclusive(summary)),
        }
    }

    /// One target, and what is said of it.
    fn provide(&self, target: &Target) -> Result<(), Failure> {
        let progress = Progress::new(self.json, self.verbose);
        let options = SetupOptions {
            install_host_packages: true,
            update: self.update,
            verify: self.verify,
        };
        let provisioned = ensure(target, &options, &progress)?;
        drop(progress);
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
        Ok(())
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
        | SetupError::Stale { .. }
        | SetupError::LeftOut { .. }
        | SetupError::NoRoot(_)
        | SetupError::NoMirror { .. }
        | SetupError::UnknownPackage { .. } => Failure::usage(error),
        _ => Failure::inconclusive(error),
    }
}
