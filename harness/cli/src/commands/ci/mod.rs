//! `recrash ci init`: writes the workflow that makes a campaign or matrix in parts on many machines, for the engines that
//! people have. Schedules nothing itself; how a template is filled is [`render`]'s.
mod render;

use anyhow::{Context, anyhow};
use clap::{Command, FromArgMatches as _};
use std::path::{Path, PathBuf};

use super::{Outcome, run};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::partition::MOST_PARTS;
use crate::{output, shell, store};
use render::Values;

/// Runs recrash in CI and on clusters.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Init(Init),
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::Init(args) => args.run(),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  recrash ci init github -- --target all
  recrash ci init gitlab --parts 8 -- --attempts 200 --capture qemu --from-snapshot
  recrash ci init slurm --parts 16 --at-once 4 -- --target el8-layout --attempts 1600 --capture qemu";

/// Writes the workflow, job script or manifest that makes these runs in parts and merges them.
///
/// GitHub and GitLab get one that caches kernels, shows what a pull request changes in the goldens, makes the parts, keeps
/// them without vmcores, and merges them; Slurm and HyperQueue a script that submits a job array and the merge; Kubernetes
/// an Indexed Job and the merge's Job. The file says how it is used. What is left after -- are arguments of recrash run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Init {
    /// For what it is written
    #[arg(value_name = "ENGINE")]
    engine: Engine,
    /// The file (`-`: stdout) [default: where the engine looks for it, or recrash-ENGINE in this folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// In how many parts the runs are made
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PARTS)))]
    parts: u32,
    /// How many parts at once (github, slurm, kubernetes; elsewhere the runners or workers decide) [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PARTS)))]
    at_once: Option<u32>,
    /// A shell command by which a machine gets recrash (github, gitlab, kubernetes); more than once: one after another
    /// [default: in a recrash checkout, installs Rust and builds it; in Kubernetes, the image has it]
    #[arg(long, value_name = "COMMAND")]
    install: Vec<String>,
    /// The image that it runs in [default: debian:12; for kubernetes it must be given, and hold recrash]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Arguments of recrash run: --attempts N, or lists that make a matrix
    #[arg(last = true, value_name = "RUN ARGUMENTS", default_values = ["--target", "all"])]
    run: Vec<String>,
}

/// What runs the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// A workflow of GitHub Actions
    Github,
    /// A pipeline of GitLab CI
    Gitlab,
    /// A job array of Slurm
    Slurm,
    /// An Indexed Job of Kubernetes
    Kubernetes,
    /// A task array of HyperQueue
    Hyperqueue,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Slurm => "slurm",
            Self::Kubernetes => "kubernetes",
            Self::Hyperqueue => "hyperqueue",
        }
    }

    /// Where it is written to, from the top of the repository where the engine looks for it there.
    fn place(self) -> &'static str {
        match self {
            Self::Github => ".github/workflows/recrash.yml",
            Self::Gitlab => ".gitlab-ci.yml",
            Self::Slurm => "recrash-slurm.sh",
            Self::Kubernetes => "recrash-kubernetes.yaml",
            Self::Hyperqueue => "recrash-hyperqueue.sh",
        }
    }

    /// What to do with the file.
    fn next(self, file: &str) -> String {
        match self {
            Self::Github | Self::Gitlab => format!("read it, commit {file} and push"),
            Self::Slurm | Self::Hyperqueue => format!(
                "read it, set up once (recrash setup), then in the checkout: bash {}",
                shell::quote(file)
            ),
            Self::Kubernetes => format!("read it, then: kubectl apply -f {}", shell::quote(file)),
        }
    }
}

/// How a machine of CI gets recrash from its own checkout.
const BUILD: [&str; 3] = [
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal",
    ". \"$HOME/.cargo/env\"",
    "cargo install --locked --debug --path harness/cli",
];

impl Init {
    fn run(self) -> Outcome {
        check_run(&self.run)?;
        let install = self.install()?;
        let image = self.image()?;
        if self.at_once.is_some() && matches!(self.engine, Engine::Gitlab | Engine::Hyperqueue) {
            return Err(Failure::usage(anyhow!(
                "--at-once: how many jobs of {} are at work, its runners or workers decide",
                self.engine.name()
            )));
        }
        let out = self.out.clone();
        let file = out.unwrap_or_else(|| PathBuf::from(self.engine.place()));
        let shown = file.display().to_string();
        let mut arguments = vec!["recrash", "ci", "init", self.engine.name()];
        let parts = self.parts.to_string();
        arguments.extend(["--parts", &parts]);
        let at_once = self.at_once.map(|count| count.to_string());
        for (option, value) in [("--at-once", &at_once), ("--image", &self.image)] {
            if let Some(value) = value {
                arguments.extend([option, value]);
            }
        }
        for command in &self.install {
            arguments.extend(["--install", command]);
        }
        arguments.push("--");
        arguments.extend(self.run.iter().map(String::as_str));
        let values = Values {
            written: format!("Written by: {}", shell::line(arguments)),
            file: shown.clone(),
            parts: self.parts,
            at_once: self.at_once.unwrap_or(self.parts).min(self.parts),
            run: shell::line(&self.run),
            install: install.clone(),
            image,
        };
        let text =
            render::render(self.engine, &values).map_err(|why| Failure::usage(anyhow!(why)))?;
        if file == Path::new("-") {
            output::print(&text)?;
            return Ok(Exit::Met);
        }
        self.write(&file, &text)?;
        output::print(&format!("written: {}\n", output::printable(&shown)))?;
        for command in &install {
            output::note(&format!("a machine gets recrash by: {command}\n"));
        }
        output::note(&format!("next: {}\n", self.engine.next(&shown)));
        Ok(Exit::Met)
    }

    /// The commands by which a machine gets recrash.
    fn install(&self) -> Result<Vec<String>, Failure> {
        let by_commands = matches!(
            self.engine,
            Engine::Github | Engine::Gitlab | Engine::Kubernetes
        );
        if !by_commands {
            if self.install.is_empty() {
                return Ok(Vec::new());
            }
            let error = anyhow!(
                "--install: the nodes of {} have recrash already, or RECRASH names it",
                self.engine.name()
            );
            return Err(Failure::usage(error));
        }
        if !self.install.is_empty() || self.engine == Engine::Kubernetes {
            return Ok(self.install.clone());
        }
        let here =
            Path::new("harness/cli/Cargo.toml").is_file() && Path::new("repro-module").is_dir();
        if here {
            return Ok(BUILD.map(str::to_owned).into());
        }
        Err(Failure::usage(anyhow!(
            "this folder is no recrash checkout, so how its CI gets recrash must be said"
        ))
        .hint("run it at the top of the checkout, or give --install COMMAND, for example: --install 'cargo install --locked --git URL recrash'"))
    }

    fn image(&self) -> Result<String, Failure> {
        match (&self.image, self.engine) {
            (Some(image), _) => {
                // The grammar of image references has no other characters.
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
                if image.is_empty() || !image.bytes().all(plain) || image.starts_with('-') {
                    return Err(Failure::usage(anyhow!("--image {image:?} is no name of an image")));
                }
                Ok(image.clone())
            }
            (None, Engine::Kubernetes) => Err(Failure::usage(anyhow!(
                "--image is missing: pods have neither recrash nor its checkout by themselves"
            ))
            .hint("give --image IMAGE of an image that holds both; --install COMMAND adds what it lacks")),
            (None, _) => Ok("debian:12".into()),
        }
    }

    /// Writes the file whole, in place of none or, with `--force`, of one that is there.
    fn write(&self, file: &Path, text: &str) -> Result<(), Failure> {
        let name = file.display();
        let there = file.symlink_metadata().is_ok();
        if there && !self.force {
            return Err(Failure::usage(anyhow!("{name} is there already"))
                .hint("--force replaces it; --out FILE writes another; --out - prints it"));
        }
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| name.to_string())?;
        let last = file.file_name().unwrap_or_default();
        store::replace(folder, &last.to_string_lossy(), text.as_bytes())?;
        Ok(())
    }
}

/// Whether `recrash run` takes these arguments, and they leave parts and places to the workflow.
fn check_run(words: &[String]) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::usage(anyhow!("arguments of recrash run: {why}")));
    for set in [
        "--partition",
        "--out",
        "--json",
        "--dry-run",
        "--stop-at-first",
    ] {
        let is = |word: &String| word == set || word.starts_with(&format!("{set}="));
        if words.iter().any(is) {
            return wrong(format!(
                "{set} does not go with parts that are merged, or is the workflow's to say"
            ));
        }
    }
    let command =
        <run::Args as clap::Args>::augment_args(Command::new("recrash run").no_binary_name(true));
    let parsed = command
        .try_get_matches_from(words)
        .and_then(|matches| run::Args::from_arg_matches(&matches));
    match parsed {
        // Clap's own text has the usage of a command that nobody typed.
        Err(error) => wrong(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .into(),
        ),
        Ok(args) if args.is_one_run() => Err(Failure::usage(anyhow!(
            "arguments of recrash run: these make one run, which has no parts"
        ))
        .hint("add --attempts N, or lists of targets, controllers, speeds, faults or captures")),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
