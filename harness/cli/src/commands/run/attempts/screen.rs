//! What a campaign shows while it goes and at its end: lines or JSON objects on stdout, and on a terminal how far it
//! is. Keeps nothing.
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use super::{Made, Series};
use crate::campaign::record::Record;
use crate::campaign::tally::Tally;
use crate::campaign::text;
use crate::{golden, output};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(200);

/// The last object that `--json` prints.
#[derive(Serialize)]
#[serde(tag = "type", rename = "campaign")]
struct Line<'a> {
    name: String,
    path: &'a Path,
    report: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a Path>,
    expected: &'static str,
    golden: String,
    jobs: u32,
    from_snapshot: bool,
    notes: &'a [String],
    #[serde(flatten)]
    tally: &'a Tally,
}

/// Shows attempts as they begin and end.
pub(super) struct Screen {
    of: u32,
    json: bool,
    /// A report has stdout for itself.
    silent: bool,
    at_work: u32,
    bar: Option<ProgressBar>,
}

impl Screen {
    pub(super) fn new(series: &Series<'_>) -> Self {
        let terminal = !series.json && std::io::stderr().is_terminal();
        Self {
            of: series.of,
            json: series.json,
            silent: series.report.takes_stdout(),
            at_work: 0,
            bar: terminal.then(|| bar(series.of)),
        }
    }

    /// An attempt has begun.
    pub(super) fn begun(&mut self) {
        self.at_work += 1;
        self.tell_bar();
    }

    /// An attempt has ended.
    ///
    /// # Errors
    /// Stdout's.
    pub(super) fn ended(&mut self, record: &Record) -> anyhow::Result<()> {
        self.at_work = self.at_work.saturating_sub(1);
        if self.json {
            return output::print_json(&record.line());
        }
        let line = text::attempt(record, self.of);
        match &self.bar {
            Some(bar) if self.silent => bar.inc(1),
            None if self.silent => {}
            Some(bar) => {
                bar.inc(1);
                bar.suspend(|| output::print(&line))?;
            }
            None => output::print(&line)?,
        }
        self.tell_bar();
        Ok(())
    }

    /// What it all came to.
    ///
    /// # Errors
    /// Stdout's.
    pub(super) fn summary(
        mut self,
        made: &Made<'_>,
        report: &Path,
        page: Option<&Path>,
    ) -> anyhow::Result<()> {
        let Made {
            series,
            folder,
            started: _,
            notes,
            tally,
            records,
        } = made;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.json {
            return output::print_json(&Line {
                name: folder.name(),
                path: folder.path(),
                report,
                page,
                expected: series.bench.expect.name(),
                golden: golden::name(series.bench.golden),
                jobs: series.jobs,
                from_snapshot: series.source != super::Source::Boots,
                notes,
                tally,
            });
        }
        let page = page.map_or_else(String::new, |page| format!("page: {}\n", page.display()));
        let text = format!(
            "\n{}\n{}report: {}\n{page}",
            text::summary(tally, records, series.jobs, notes),
            text::conclusion(tally),
            report.display()
        );
        Ok(output::print(&text)?)
    }

    fn tell_bar(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} at work", self.at_work));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(of: u32) -> ProgressBar {
    let bar = ProgressBar::new(of.into());
    let form = "{spinner} {pos} of {len} attempts, {msg} {elapsed} {wide_bar:.dim} {eta:.dim}";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
