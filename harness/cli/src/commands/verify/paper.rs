//! What a verification shows and keeps: a line a run, the summary, and in its folder `verify.json`, `runs.jsonl` and
//! `report.txt`. Decides nothing.
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use recrash_machine::run::CampaignFolder;
use recrash_machine::run::campaign::{REPORT, VERIFY};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::play::{Outcome, Played};
use crate::output;
use crate::store;
use crate::verify::sort::Sorted;
use crate::verify::summary::{Question, Summary};
use crate::verify::text::{self, Line};

/// Version of the form of `verify.json`.
const SCHEMA: u32 = 1;
/// The result of each run, one JSON object a line, in the order in which they ended.
const RUNS: &str = "runs.jsonl";
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(200);

/// `verify.json`.
#[derive(Serialize)]
struct Kept<'a> {
    recrash_verify: u32,
    started: &'a str,
    /// What was asked for, while it is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a Question>,
    /// What it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a Summary>,
}

/// The files of a verification at work.
pub(super) struct Paper {
    folder: PathBuf,
    started: String,
    runs: File,
}

impl Paper {
    /// Says what is asked for, and opens the list of the runs.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn begin(
        folder: &CampaignFolder,
        started: String,
        question: &Question,
    ) -> anyhow::Result<Self> {
        let runs = folder.file(RUNS);
        let paper = Self {
            folder: folder.path().to_owned(),
            started,
            runs: File::create_new(&runs).with_context(|| runs.display().to_string())?,
        };
        paper.store(Some(question), None)?;
        Ok(paper)
    }

    /// Adds a run's result, and gives the object that was written.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn add(&mut self, played: &Played, sorted: &Sorted) -> anyhow::Result<Value> {
        let line = object(played, sorted);
        self.runs
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| self.folder.join(RUNS).display().to_string())?;
        Ok(line)
    }

    /// Writes what it came to; gives the report's place. `text` has styles. What a run means may have become known only
    /// after its line was written, so they are written again.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn end(
        &self,
        summary: &Summary,
        outcome: &Outcome,
        text: &str,
    ) -> anyhow::Result<PathBuf> {
        self.store(None, Some(summary))?;
        let both = outcome.runs.iter().zip(&outcome.sorting.runs);
        let lines: Vec<String> = both
            .map(|(played, sorted)| object(played, sorted).to_string())
            .collect();
        if !lines.is_empty() {
            store::replace(&self.folder, RUNS, lines.join("\n").as_bytes())?;
        }
        let plain = anstream::adapter::strip_str(text).to_string();
        let file = self.folder.join(REPORT);
        std::fs::write(&file, plain).with_context(|| file.display().to_string())?;
        Ok(file)
    }

    fn store(&self, question: Option<&Question>, summary: Option<&Summary>) -> anyhow::Result<()> {
        let kept = Kept {
            recrash_verify: SCHEMA,
            started: &self.started,
            question,
            summary,
        };
        store::replace(&self.folder, VERIFY, &serde_json::to_vec_pretty(&kept)?)
    }
}

/// A run as `--json` prints it and `runs.jsonl` keeps it: its own result, and what it means here.
fn object(played: &Played, sorted: &Sorted) -> Value {
    let mut line = played.record.line();
    if let Value::Object(line) = &mut line {
        line.insert("type".into(), json!("run"));
        line.insert("pair".into(), json!(sorted.pair));
        line.insert("side".into(), json!(sorted.side));
        line.insert("outcome".into(), json!(sorted.outcome));
        if !sorted.why.is_empty() {
            line.insert("outcome_why".into(), json!(sorted.why));
        }
    }
    line
}

/// The last object that `--json` prints.
#[derive(Serialize)]
#[serde(tag = "type", rename = "verify")]
pub(super) struct Last<'a> {
    pub(super) name: String,
    pub(super) path: &'a Path,
    pub(super) report: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<&'a Path>,
    #[serde(flatten)]
    pub(super) summary: &'a Summary,
}

/// Shows runs as they begin and end.
pub(super) struct Screen {
    budget: u32,
    json: bool,
    /// Standard output is wanted for something else.
    quiet: bool,
    at_work: u32,
    bar: Option<ProgressBar>,
}

impl Screen {
    pub(super) fn new(budget: u32, json: bool, quiet: bool) -> Self {
        let terminal = !json && std::io::stderr().is_terminal();
        Self {
            budget,
            json,
            quiet,
            at_work: 0,
            bar: terminal.then(|| bar(budget)),
        }
    }

    /// A run has begun.
    pub(super) fn begun(&mut self) {
        self.at_work += 1;
        self.tell_bar();
    }

    /// A run was cut off.
    pub(super) fn gone(&mut self) {
        self.at_work = self.at_work.saturating_sub(1);
        self.tell_bar();
    }

    /// A run has ended; `object` is what was kept of it.
    ///
    /// # Errors
    /// Stdout's, or that it could not be kept.
    pub(super) fn ended(
        &mut self,
        played: &Played,
        sorted: &Sorted,
        object: anyhow::Result<Value>,
    ) -> anyhow::Result<()> {
        self.gone();
        let object = object?;
        if self.quiet {
            return Ok(());
        }
        if self.json {
            return output::print_json(&object);
        }
        let record = &played.record;
        let name = record.run.as_ref().and_then(|run| run.file_name());
        let line = text::run(&Line {
            pair: sorted.pair,
            budget: self.budget,
            side: sorted.side,
            verdict: record.verdict.to_string(),
            outcome: sorted.outcome,
            why: &sorted.why,
            took: record.took,
            run: &name.unwrap_or_default().to_string_lossy(),
        });
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.suspend(|| output::print(&line))?;
            }
            None => output::print(&line)?,
        }
        Ok(())
    }

    /// No more will come.
    pub(super) fn end(mut self) {
        self.clear();
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn tell_bar(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} at work", self.at_work));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(budget: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(budget) * 2);
    let form = "{spinner} {pos} of at most {len} runs, {msg} {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
