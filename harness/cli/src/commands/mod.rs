//! One file a subcommand: its arguments, and the calls into the libraries that carry it out.
pub(crate) mod analyze;
pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod golden;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod setup;
pub(crate) mod target;
pub(crate) mod targets;
pub(crate) mod titles;
pub(crate) mod triage;

use recrash_machine::setup::root;
use recrash_machine::target::Target;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::failure::Failure;

/// How a command ends: with an exit code, or with an error that has one.
pub(crate) type Outcome = Result<Exit, Failure>;

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Setup(setup::Args),
    Doctor(doctor::Args),
    Target(target::Args),
    Analyze(analyze::Args),
    Import(import::Args),
    Inspect(inspect::Args),
    Compare(compare::Args),
    Triage(triage::Args),
    Golden(golden::Args),
    Explain(explain::Args),
    Runs(runs::Args),
    Titles(titles::Args),
}

impl Command {
    /// Carries it out.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Run(args) => args.run(),
            Self::Setup(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Target(args) => args.run(),
            Self::Analyze(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::Inspect(args) => args.run(),
            Self::Compare(args) => args.run(),
            Self::Triage(args) => args.run(),
            Self::Golden(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Runs(args) => args.run(),
            Self::Titles(args) => args.run(),
        }
    }
}

/// `--target NAME`.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArg {
    /// The kernel to boot: a file in qemu/targets, without .toml
    #[arg(long, default_value = "debian", value_name = "NAME")]
    target: String,
}

impl TargetArg {
    /// Reads the target's file.
    pub(crate) fn load(&self) -> Result<Target, Failure> {
        let file = config_file("targets", &self.target)?;
        Target::load(&file).map_err(Failure::usage)
    }
}

/// The checkout that holds targets, devices, scenarios, goldens and the module.
pub(crate) fn checkout() -> Result<PathBuf, Failure> {
    root::find().map_err(Failure::usage)
}

/// Where runs are kept unless `--out` says otherwise.
pub(crate) fn runs_folder() -> Result<PathBuf, Failure> {
    Ok(checkout()?.join("target/recrash"))
}

/// `qemu/<folder>/<name>.toml`, or an error that lists the names there are.
pub(crate) fn config_file(folder: &str, name: &str) -> Result<PathBuf, Failure> {
    let dir = checkout()?.join("qemu").join(folder);
    let file = dir.join(format!("{name}.toml"));
    let plain = !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
    if plain && file.is_file() {
        return Ok(file);
    }
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    Err(
        Failure::usage(anyhow::anyhow!("there is no {name:?} in {}", dir.display()))
            .hint(format!("one of: {}", names.join(", "))),
    )
}
