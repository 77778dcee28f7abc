//! `recrash merge`: the parts of a campaign or matrix that was made on several machines, put together again. What fits is
//! [`crate::parts::merge`]'s to say; sums and tables are those of an undivided run; [`document`] makes the report of it.
//! Boots nothing.
mod document;

use anyhow::{Context, anyhow};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use super::run::matrix::cell::{Cell, Counts, State, worst};
use super::run::matrix::table::{self, Waiting};
use crate::campaign::record::Record;
use crate::campaign::tally::{Ended, Tally};
use crate::campaign::text;
use crate::exit::Exit;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::output::{self, BAD, DIM, printable};
use crate::partition::Scheme;
use crate::parts::merge::{Incomplete, Merged, merge};
use crate::parts::{Campaign, Matrix, Runs, read};
use crate::report::document::Document;
use crate::report::emit::{self, ReportArgs};
use crate::store;

/// The file by which a folder is known as one that `merge` wrote.
const MERGED: &str = "merged.json";
const REPORT: &str = "report.txt";
const ATTEMPTS: &str = "attempts.jsonl";
const TABLE: &str = "matrix.md";
const CELLS: &str = "matrix.jsonl";

const EXITS: &str = "\
Exit codes: the first of 1, 3, 4 that any run ended with, else 0, as of an undivided campaign or matrix.
  2  a part is of another whole, contradicts another, or is no part: nothing is merged
  4  parts are missing or were stopped, and no run is against the expectation; what there is, is shown";

/// Puts the parts of a campaign or matrix (run --partition) together.
///
/// Parts must be of one whole: the same recrash, targets, scenarios, devices, goldens, options and expectations, and each
/// target the same kernel. A part that is there twice and says the same is taken once: a task that was made again. Of a
/// part that was stopped and made again the whole one is taken, and of one in which runs failed the one that says more.
#[derive(Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Parts: part.json files, or folders that are searched for them
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Keep the result in DIR: report, runs, merged.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// What the parts were, beside the result.
#[derive(Serialize)]
struct Parts<'a> {
    id: String,
    scheme: Scheme,
    of: u32,
    missing: &'a [u32],
    incomplete: &'a [Incomplete],
    remarks: &'a [String],
}

/// The last object that `--json` prints of a campaign, and `merged.json`.
#[derive(Serialize)]
#[serde(tag = "type", rename = "campaign")]
struct CampaignLine<'a> {
    started: &'a str,
    expected: &'a str,
    golden: &'a str,
    target: &'a str,
    fault: &'a str,
    from_snapshot: bool,
    notes: &'a [String],
    #[serde(flatten)]
    tally: &'a Tally,
    parts: Parts<'a>,
}

/// The last object that `--json` prints of a matrix, and `merged.json`.
#[derive(Serialize)]
#[serde(tag = "type", rename = "matrix")]
struct MatrixLine<'a> {
    started: &'a str,
    exit: u8,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    parts: Parts<'a>,
}

/// A result, ready to be printed and kept.
struct Written {
    exit: Exit,
    /// With styles.
    text: String,
    /// A JSON object for each run.
    lines: Vec<serde_json::Value>,
    last: serde_json::Value,
    /// The table, of a matrix.
    table: Option<String>,
    document: Document,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        if let Some(out) = &self.out {
            free(out)?;
        }
        let found = read::all(&self.parts).map_err(|error| {
            Failure::usage(error.context("these are no parts that can be merged"))
        })?;
        let merged = merge(found).map_err(|why| {
            let error = anyhow!("{}", why.join("\n  "));
            Failure::usage(error.context("the parts do not fit together, so nothing is merged")).hint(
                "make the parts that differ again from one checkout, and name only the folders of this campaign or matrix",
            )
        })?;
        let mut written = match &merged.whole.runs {
            Runs::Campaign(campaign) => of_campaign(&merged, campaign),
            Runs::Matrix(matrix) => of_matrix(&merged, matrix),
        }
        .map_err(|why| Failure::usage(anyhow!("a part contradicts itself: {}", printable(&why))))?;
        if let Some(out) = &self.out {
            written
                .keep(out, &merged.whole.runs)
                .map_err(Failure::inconclusive)?;
        }
        self.print(&merged, &written)?;
        self.report.emit(&written.document)?;
        Ok(written.exit)
    }

    fn print(&self, merged: &Merged, written: &Written) -> anyhow::Result<()> {
        for remark in &merged.remarks {
            output::note(&format!("{DIM}note:{DIM:#} {remark}\n"));
        }
        if let Some(gaps) = merged.gaps() {
            output::note(&format!(
                "{BAD}error:{BAD:#} {gaps}\n{DIM}next:{DIM:#} make these parts again, and merge once more\n"
            ));
        }
        if matches!(written.exit, Exit::Differs | Exit::CrashOrNot) {
            let goldens = document::against(&written.document, &merged.whole.runs);
            let goldens: Vec<String> = goldens.into_iter().collect();
            output::note(&format!(
                "{DIM}next:{DIM:#} the runs are held against {}. If this change altered a golden, recrash golden diff tells what that \
                 means and how to bring it back; if it altered what crashes, the runs' reports tell how. A golden is changed only \
                 with new evidence: golden/README.md\n",
                printable(&goldens.join(", "))
            ));
        }
        if self.report.takes_stdout() {
            return Ok(());
        }
        if self.json {
            for line in written.lines.iter().chain([&written.last]) {
                output::print_json(line)?;
            }
            return Ok(());
        }
        let kept = self
            .out
            .as_ref()
            .map(|out| format!("report: {}\n", out.join(REPORT).display()));
        Ok(output::print(
            &(written.text.clone() + &kept.unwrap_or_default()),
        )?)
    }
}

/// Whether the folder may be written: nothing is in it, or what an earlier merge left.
fn free(out: &Path) -> Result<(), Failure> {
    let name = out.display();
    match std::fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(anyhow!(error).context(format!("--out {name}")).into()),
        Ok(mut entries) => {
            if entries.next().is_none() || out.join(MERGED).is_file() {
                return Ok(());
            }
            Err(
                Failure::usage(anyhow!("--out {name}: it holds other files"))
                    .hint("name a folder that is not there"),
            )
        }
    }
}

fn parts_of(merged: &Merged) -> Parts<'_> {
    Parts {
        id: merged.whole.id(),
        scheme: merged.scheme,
        of: merged.of,
        missing: &merged.missing,
        incomplete: &merged.incomplete,
        remarks: &merged.remarks,
    }
}

fn of_campaign(merged: &Merged, campaign: &Campaign) -> Result<Written, String> {
    let expect = Expect::from_word(&campaign.expected)?;
    let mut records = Vec::new();
    for (number, result) in &merged.results {
        let mut record = Record::from_line(&result.line, expect)
            .map_err(|why| format!("attempt {number}: {why}"))?;
        if record.number != *number {
            return Err(format!(
                "attempt {number} says that it is attempt {}",
                record.number
            ));
        }
        record.case.clone_from(&result.case);
        records.push(record);
    }
    let ended = if merged.is_whole() {
        Ended::Complete
    } else {
        Ended::PartsMissing
    };
    let wall = Duration::from_millis(merged.wall_ms);
    let tally = Tally::of(&records, campaign.attempts, ended, wall);
    let how = format!("in {} parts", merged.of);
    let mut notes = merged.notes.clone();
    notes.extend(merged.gaps());
    let text = format!(
        "{}{}",
        text::summary_of(&tally, &records, &how, &printable_all(&notes)),
        text::conclusion(&tally)
    );
    let last = CampaignLine {
        started: &merged.started,
        expected: expect.name(),
        golden: &campaign.golden,
        target: &campaign.target,
        fault: &campaign.fault,
        from_snapshot: campaign.from_snapshot,
        notes: &notes,
        tally: &tally,
        parts: parts_of(merged),
    };
    let last = serde_json::to_value(last).map_err(|error| error.to_string())?;
    Ok(Written {
        exit: tally.exit,
        text,
        lines: records.iter().map(Record::line).collect(),
        last,
        table: None,
        document: document::of_campaign(merged, campaign, expect, &tally, &records),
    })
}

fn of_matrix(merged: &Merged, matrix: &Matrix) -> Result<Written, String> {
    let mut cells = Vec::new();
    for (number, plan) in (1_u32..).zip(&matrix.cells) {
        let at = |why: String| format!("combination {number}, {}: {why}", plan.key);
        let mut cell = Cell::planned(plan).map_err(at)?;
        if let Some(result) = merged.results.get(&number) {
            cell.take(&result.line).map_err(at)?;
            if let State::Done(_, got) = &mut cell.state {
                got.case.clone_from(&result.case);
            }
        }
        cells.push(cell);
    }
    let exit = worst(&cells);
    let mut text = table::text(&cells, Waiting::NotRun);
    let _ = match merged.gaps() {
        None => writeln!(text, "{} parts, none is missing", merged.of),
        Some(gaps) => writeln!(text, "{gaps}"),
    };
    let lines: Result<Vec<_>, _> = cells
        .iter()
        .map(|cell| serde_json::to_value(cell.line(Waiting::NotRun.name())))
        .collect();
    let last = serde_json::to_value(MatrixLine {
        started: &merged.started,
        exit: exit as u8,
        dry_run: false,
        counts: Counts::of(&cells),
        parts: parts_of(merged),
    });
    Ok(Written {
        exit,
        text,
        lines: lines.map_err(|error| error.to_string())?,
        last: last.map_err(|error| error.to_string())?,
        table: Some(table::markdown(&cells, Waiting::NotRun)),
        document: document::of_matrix(merged, &cells),
    })
}

fn printable_all(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| printable(line)).collect()
}

impl Written {
    /// Puts it into a folder; `merged.json` last, so that a folder that has it has everything.
    fn keep(&mut self, out: &Path, runs: &Runs) -> anyhow::Result<()> {
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let mut lines = String::new();
        for line in &self.lines {
            let _ = writeln!(lines, "{line}");
        }
        let file = match runs {
            Runs::Campaign(_) => ATTEMPTS,
            Runs::Matrix(_) => CELLS,
        };
        let plain = anstream::adapter::strip_str(&self.text).to_string();
        store::replace(out, file, lines.trim_end().as_bytes())?;
        if let Some(table) = &self.table {
            store::replace(out, TABLE, table.trim_end().as_bytes())?;
        }
        store::replace(out, REPORT, plain.trim_end().as_bytes())?;
        document::place(&mut self.document, out);
        emit::keep(&mut self.document, out);
        store::replace(out, MERGED, &serde_json::to_vec_pretty(&self.last)?)
    }
}
