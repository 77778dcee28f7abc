//! `recrash titles`: the titles of the reports in a log, or a folder of logs held against the titles written above them.
//! What a title is, is decided in `recrash-oops`; how such a folder is read, in `titles/case.rs`.
mod case;
mod check;

use std::path::{Path, PathBuf};

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, BAD, DIM, GOOD};
use case::Case;
use check::{Checked, Summary, Verdict};
use recrash_oops::Report;

/// Prints the titles of kernel logs, or checks a folder of logs with known titles.
///
/// A title is what syzkaller would call the bug: `general protection fault in usb_hcd_submit_urb`. Of a FILE every
/// report is printed, the first one first, with its lines, alternative titles, and why it may be mixed or cut off.
///
/// Each file of DIR has header lines above its log, as syzkaller's report tests have them: `TITLE:` the expected
/// title, `ALT:` another one (any number), `CORRUPTED: Y` where the log is cut or mixed; then an empty line, the log,
/// and possibly `REPORT:` with the part of it that is the report. A log fits if the title or an alternative title of
/// its first report is one of those; without `TITLE:` it must have no report. Logs of other machines than x86-64
/// are skipped, corrupted ones are counted apart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  at least --at-least percent of the logs fit; a FILE was read
  1  fewer fit
  2  wrong command line, unreadable files, or no log to check")]
pub(crate) struct Args {
    /// A folder of logs with headers, or one log with or without
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// How many of the logs of DIR must fit
    #[arg(long, value_name = "PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u32).range(0..=100))]
    at_least: u32,
    /// Check corrupted logs too, as if they were whole
    #[arg(long)]
    corrupted: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        if self.path.is_dir() {
            self.folder()
        } else {
            self.file()
        }
    }

    fn file(&self) -> Outcome {
        let case = Case::read(&self.path)?;
        let reports = recrash_oops::report::reports(&case.log);
        if self.json {
            let reports: Vec<serde_json::Value> = reports
                .iter()
                .map(|report| json(report, case.first_line))
                .collect();
            output::print_json(&serde_json::json!({
                "file": self.path.display().to_string(),
                "machine": recrash_oops::machine::of(&case.log).unwrap_or("x86-64"),
                "reports": reports,
            }))?;
        } else if reports.is_empty() {
            output::print("no report of the kernel's in this log\n")?;
        } else {
            let text: String = reports
                .iter()
                .map(|report| text(report, case.first_line))
                .collect();
            output::print(&text)?;
        }
        Ok(Exit::Met)
    }

    fn folder(&self) -> Outcome {
        let mut checked = Vec::new();
        for path in files(&self.path)? {
            checked.push(Checked::of(
                &Case::read(&path)?,
                name(&path),
                self.corrupted,
            ));
        }
        let summary = Summary::of(&checked);
        if summary.counted == 0 {
            let error = anyhow::anyhow!("{} holds no log to check", self.path.display());
            return Err(Failure::usage(error).hint(
                "a log has header lines and an empty line above it; see recrash titles --help",
            ));
        }
        let enough = summary.fit.saturating_mul(100)
            >= summary.counted.saturating_mul(self.at_least as usize);
        if self.json {
            output::print_json(&summary.json(&checked, self.at_least))?;
        } else {
            output::print(&listing(&checked, &summary, self.at_least, enough))?;
        }
        Ok(if enough { Exit::Met } else { Exit::Differs })
    }
}

/// The files of the folder by name; folders within it are left alone.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = |error: std::io::Error| {
        anyhow::Error::from(error).context(format!("cannot read {}", folder.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn text(report: &Report, first_line: usize) -> String {
    let mut text = format!("{}\n", output::printable(&report.title));
    for other in &report.alternatives {
        text.push_str(&format!("  or: {}\n", output::printable(other)));
    }
    let (start, end) = (
        report.lines.start + first_line,
        report.lines.end + first_line,
    );
    text.push_str(&format!(
        "  {DIM}lines {}-{end}, {:?}{DIM:#}\n",
        start + 1,
        report.kind
    ));
    if let Some(why) = &report.corrupted {
        text.push_str(&format!("  corrupted: {why}\n"));
    }
    text
}

fn json(report: &Report, first_line: usize) -> serde_json::Value {
    serde_json::json!({
        "title": report.title,
        "alternatives": report.alternatives,
        "kind": format!("{:?}", report.kind),
        "function": report.function,
        "corrupted": report.corrupted,
        "first_line": report.lines.start + first_line + 1,
        "last_line": report.lines.end + first_line,
    })
}

/// The misses, then the summary.
fn listing(checked: &[Checked], summary: &Summary, at_least: u32, enough: bool) -> String {
    let mut text = String::new();
    for log in checked {
        if let Verdict::Misses { got } = &log.verdict {
            let expected = log.expected.first().map_or("no report", String::as_str);
            let got = got.as_deref().unwrap_or("no report");
            text.push_str(&format!(
                "{}\n  expected {}\n  got      {}\n",
                log.name,
                output::printable(expected),
                output::printable(got)
            ));
        }
    }
    let style = if enough { GOOD } else { BAD };
    text.push_str(&format!(
        "{style}{} of {} logs fit{style:#} ({:.1} %, at least {at_least} % must)\n",
        summary.fit,
        summary.counted,
        summary.percent()
    ));
    text.push_str(&format!(
        "{} corrupted ones apart: {} of them fit\n",
        summary.corrupted, summary.corrupted_fit
    ));
    for (why, count) in &summary.skipped {
        text.push_str(&format!("{count} skipped: {why}\n"));
    }
    if let Some((name, took)) = &summary.slowest {
        text.push_str(&format!(
            "{DIM}the slowest, {name}, took {:.1} ms{DIM:#}\n",
            took.as_secs_f64() * 1000.0
        ));
    }
    text
}
