//! `recrash runs`: lists the kept runs, and deletes those that are no longer wanted.
use recrash_machine::capture::CaptureMode;
use recrash_machine::run::folder::{self, Prune, RunSummary};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, DIM, HEAD};

/// Lists the kept runs with size and verdict, oldest first.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    place: Place,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Prune(PruneArgs),
}

/// Deletes runs. Those still at work, and folders that are no runs, stay.
#[derive(Debug, clap::Args)]
struct PruneArgs {
    /// Keep the newest N, delete the others
    #[arg(long, value_name = "N", required_unless_present = "older_than")]
    keep: Option<usize>,
    /// Delete those that were last changed more than DAYS days ago
    #[arg(long, value_name = "DAYS", conflicts_with = "keep")]
    older_than: Option<u32>,
    /// Only say what would be deleted
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Folder that holds the runs [default: target/recrash in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Place {
    fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.out {
            Some(dir) => Ok(dir.clone()),
            None => super::runs_folder(),
        }
    }
}

/// A run as `--json` prints it.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "run")]
struct Line<'a> {
    name: &'a str,
    path: &'a Path,
    started: &'a str,
    target: &'a str,
    fault: &'a str,
    capture: CaptureMode,
    bytes: u64,
    verdict: Option<&'a str>,
    title: Option<&'a str>,
    active: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Some(Action::Prune(args)) => args.run(),
            None => {
                let dir = self.place.folder()?;
                let runs = list(&dir)?;
                if self.json {
                    for run in &runs {
                        output::print_json(&line(run))?;
                    }
                } else if runs.is_empty() {
                    output::print(&format!("no runs in {}\n", dir.display()))?;
                } else {
                    output::print(&table(&runs))?;
                }
                Ok(Exit::Met)
            }
        }
    }
}

impl PruneArgs {
    fn run(self) -> Outcome {
        const DAY: u64 = 86_400;
        let dir = self.place.folder()?;
        let which = match (self.keep, self.older_than) {
            (Some(count), _) => Prune::Keep(count),
            (None, days) => {
                let days = u64::from(days.unwrap_or(u32::MAX));
                Prune::OlderThan(Duration::from_secs(days * DAY))
            }
        };
        let (gone, verb) = if self.dry_run {
            (folder::chosen(&dir, which), "would delete")
        } else {
            (folder::prune(&dir, which), "deleted")
        };
        let gone = gone
            .map_err(|error| Failure::usage(anyhow::Error::new(error).context(in_folder(&dir))))?;
        let mut text = String::new();
        for run in &gone {
            let _ = writeln!(text, "{verb} {} ({})", run.name, output::size(run.bytes));
        }
        let bytes = gone.iter().map(|run| run.bytes).sum();
        let _ = writeln!(
            text,
            "{} {verb}, {}",
            count(gone.len()),
            output::size(bytes)
        );
        output::print(&text)?;
        Ok(Exit::Met)
    }
}

fn list(dir: &Path) -> Result<Vec<RunSummary>, Failure> {
    folder::list(dir)
        .map_err(|error| Failure::usage(anyhow::Error::new(error).context(in_folder(dir))))
}

fn in_folder(dir: &Path) -> String {
    format!("cannot list the runs in {}", dir.display())
}

fn count(runs: usize) -> String {
    match runs {
        1 => "1 run".into(),
        n => format!("{n} runs"),
    }
}

fn line(run: &RunSummary) -> Line<'_> {
    let manifest = &run.manifest;
    Line {
        name: &run.name,
        path: &run.path,
        started: &manifest.started,
        target: &manifest.target,
        fault: &manifest.fault,
        capture: manifest.capture.mode,
        bytes: run.bytes,
        verdict: manifest.verdict.as_deref(),
        title: manifest.title.as_deref(),
        active: run.active,
    }
}

fn table(runs: &[RunSummary]) -> String {
    let rows: Vec<[String; 7]> = runs
        .iter()
        .map(|run| {
            let verdict = match (&run.manifest.verdict, run.active) {
                (Some(verdict), _) => verdict.clone(),
                (None, true) => "running".into(),
                (None, false) => "-".into(),
            };
            let age = run.changed.elapsed().map_or(0, |age| age.as_secs());
            [
                run.name.clone(),
                run.manifest.target.clone(),
                run.manifest.fault.clone(),
                run.manifest.capture.mode.to_string(),
                output::size(run.bytes),
                verdict,
                output::age(age),
            ]
        })
        .collect();
    let head = [
        "run", "target", "fault", "capture", "size", "verdict", "age",
    ]
    .map(str::to_owned);
    let mut widths = head.clone().map(|cell| cell.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = format!("{HEAD}{}{HEAD:#}\n", cells(&head, &widths));
    let mut total = 0;
    for (row, run) in rows.iter().zip(runs) {
        let _ = writeln!(out, "{}", output::printable(&cells(row, &widths)));
        total += run.bytes;
    }
    let _ = writeln!(
        out,
        "{DIM}{}, {}{DIM:#}",
        count(runs.len()),
        output::size(total)
    );
    out
}

fn cells(row: &[String; 7], widths: &[usize; 7]) -> String {
    let padded: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}
