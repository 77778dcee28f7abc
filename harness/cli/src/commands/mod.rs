//! One file a subcommand: its arguments, and the calls into the libraries that carry it out.
pub(crate) mod analyze;
pub(crate) mod bisect;
pub(crate) mod capture_args;
pub(crate) mod ci;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
mod fits;
pub(crate) mod golden;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod merge;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod setup;
pub(crate) mod target;
pub(crate) mod targets;
pub(crate) mod titles;
pub(crate) mod triage;
pub(crate) mod verify;

use recrash_machine::setup::root;
use recrash_machine::target::Target;
use rustix::fs::Access;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::failure::Failure;

/// How a command ends: with an exit code, or with an error that has one.
pub(crate) type Outcome = Result<Exit, Failure>;

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Verify(verify::Args),
    Bisect(bisect::Args),
    Setup(setup::Args),
    Doctor(doctor::Args),
    Target(target::Args),
    Analyze(analyze::Args),
    Import(import::Args),
    Inspect(inspect::Args),
    Compare(compare::Args),
    Triage(triage::Args),
    Golden(golden::Args),
    Report(report::Args),
    Explain(explain::Args),
    Diagnose(run::diagnose::Args),
    Runs(runs::Args),
    Merge(merge::Args),
    Ci(ci::Args),
    Titles(titles::Args),
    Mcp(mcp::Args),
    Man(man::Args),
    Completions(completions::Args),
}

impl Command {
    /// Carries it out.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Run(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::Bisect(args) => args.run(),
            Self::Setup(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Target(args) => args.run(),
            Self::Analyze(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::Inspect(args) => args.run(),
            Self::Compare(args) => args.run(),
            Self::Triage(args) => args.run(),
            Self::Golden(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Diagnose(args) => args.run(),
            Self::Runs(args) => args.run(),
            Self::Merge(args) => args.run(),
            Self::Ci(args) => args.run(),
            Self::Titles(args) => args.run(),
            Self::Mcp(args) => args.run(),
            Self::Man(args) => args.run(),
            Self::Completions(args) => args.run(),
        }
    }
}

/// The target where none is named.
pub(crate) const DEFAULT_TARGET: &str = "debian";

/// `--target NAME`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TargetArg {
    /// The kernel to boot: a file in qemu/targets, without .toml, or one that recrash target add has added
    #[arg(long, default_value = DEFAULT_TARGET, value_name = "NAME")]
    target: String,
}

impl TargetArg {
    /// Its text.
    pub(crate) fn name(&self) -> &str {
        &self.target
    }

    /// Reads the target's file.
    pub(crate) fn load(&self) -> Result<Target, Failure> {
        target::load(&self.target)
    }
}

/// The checkout that holds targets, devices, scenarios, goldens and the module.
pub(crate) fn checkout() -> Result<PathBuf, Failure> {
    root::find().map_err(|error| {
        Failure::usage(error).hint("work in a checkout of recrash, or set RECRASH_ROOT to one")
    })
}

/// Refuses a folder in which nothing can be written or made, before anything takes long. Makes nothing.
pub(crate) fn must_be_writable(dir: &Path) -> Result<(), Failure> {
    let there = dir.ancestors().find(|above| above.exists());
    // A relative path of one part has nothing above it.
    let there = there.filter(|path| !path.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    let wrong = |why: String| {
        let error = anyhow::anyhow!("nothing can be written to {}: {why}", dir.display());
        Err(Failure::usage(error).hint("name a folder that you may write to"))
    };
    if !there.is_dir() {
        return wrong(format!("{} is no folder", there.display()));
    }
    match rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(error) => wrong(format!("{}: {error}", there.display())),
    }
}

/// Where runs are kept unless `--out` says otherwise.
pub(crate) fn runs_folder() -> Result<PathBuf, Failure> {
    Ok(checkout()?.join("target/recrash"))
}

/// `qemu/<folder>/<name>.toml`, or an error that lists the names there are.
pub(crate) fn config_file(folder: &str, name: &str) -> Result<PathBuf, Failure> {
    if let Some(file) = config_path(folder, name)? {
        return Ok(file);
    }
    let dir = checkout()?.join("qemu").join(folder);
    Err(
        Failure::usage(anyhow::anyhow!("there is no {name:?} in {}", dir.display()))
            .hint(format!("one of: {}", config_names(&dir).join(", "))),
    )
}

/// `qemu/<folder>/<name>.toml`, if there is such a file.
pub(crate) fn config_path(folder: &str, name: &str) -> Result<Option<PathBuf>, Failure> {
    let file = checkout()?
        .join("qemu")
        .join(folder)
        .join(format!("{name}.toml"));
    let plain = !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
    Ok((plain && file.is_file()).then_some(file))
}

/// The names of a folder's files, without .toml, sorted.
pub(crate) fn config_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_before_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::write(at("file"), "").unwrap();
        for fine in [at(""), at("new"), at("new/below"), "new".into()] {
            assert!(must_be_writable(&fine).is_ok(), "{}", fine.display());
        }
        assert!(!at("new").exists());
        for wrong in [at("file"), at("file/below")] {
            let failure = must_be_writable(&wrong).unwrap_err();
            assert!(
                failure.chain().contains("is no folder"),
                "{}",
                failure.chain()
            );
            assert!(
                failure
                    .next()
                    .is_some_and(|next| next.contains("may write to"))
            );
        }
    }
}
