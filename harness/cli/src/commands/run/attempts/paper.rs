//! What a campaign leaves in its folder: what was asked for and what it came to, a line an attempt, and a report for
//! people. Prints nothing.
use anyhow::Context;
use jiff::ZonedDateTime;
use recrash_machine::run::CampaignFolder;
use recrash_machine::run::campaign::{ATTEMPTS, CAMPAIGN, REPORT};
use recrash_signature::store::Golden;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::super::share::Share;
use super::Series;
use crate::campaign::record::Record;
use crate::campaign::tally::{Ended, Tally};
use crate::campaign::text;
use crate::golden;
use crate::partition::Partition;
use crate::parts::{self, Part, RunResult};
use crate::store;

/// Version of the form of `campaign.json`.
const SCHEMA: u32 = 1;

/// `campaign.json`.
#[derive(Serialize)]
struct Campaign<'a> {
    recrash_campaign: u32,
    started: String,
    target: &'a str,
    kernel_release: &'a str,
    device: &'a str,
    scenario: &'a str,
    fault: &'a str,
    append: &'a [String],
    golden: String,
    expected: &'static str,
    attempts: u32,
    jobs: u32,
    stop_at_first: Option<&'static str>,
    from_snapshot: bool,
    /// Which part of the attempts, if of a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Partition>,
    notes: &'a [String],
    /// What it came to; absent while it is at work.
    summary: Option<&'a Tally>,
}

/// The files of a campaign at work.
pub(super) struct Paper {
    folder: PathBuf,
    started: String,
    golden: String,
    attempts: File,
}

impl Paper {
    /// Says what is asked for, and opens the list of the attempts.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn begin(
        series: &Series<'_>,
        folder: &CampaignFolder,
        started: &ZonedDateTime,
    ) -> anyhow::Result<Self> {
        let attempts = folder.file(ATTEMPTS);
        let golden: &Golden = series.bench.golden;
        let paper = Self {
            folder: folder.path().to_owned(),
            started: started.timestamp().to_string(),
            golden: golden::name(golden),
            attempts: File::create_new(&attempts)
                .with_context(|| attempts.display().to_string())?,
        };
        paper.store(series, &[], None)?;
        Ok(paper)
    }

    /// Adds an attempt's result.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        let line = format!("{}\n", record.line());
        self.attempts
            .write_all(line.as_bytes())
            .with_context(|| self.folder.join(ATTEMPTS).display().to_string())
    }

    /// Writes what it came to; gives the report's place.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn end(
        &self,
        series: &Series<'_>,
        notes: &[String],
        tally: &Tally,
        records: &[Record],
    ) -> anyhow::Result<PathBuf> {
        self.store(series, notes, Some(tally))?;
        let mut sorted: Vec<&Record> = records.iter().collect();
        sorted.sort_by_key(|record| record.number);
        let mut report = text::summary(tally, records, series.jobs, notes);
        report.push_str(&text::conclusion(tally));
        report.push('\n');
        report.extend(sorted.iter().map(|record| text::attempt(record, series.of)));
        let plain = anstream::adapter::strip_str(&report).to_string();
        let file = self.folder.join(REPORT);
        std::fs::write(&file, plain).with_context(|| file.display().to_string())?;
        Ok(file)
    }

    /// Writes what a part says of itself; last of all, so that a part that has it has everything.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn part(
        &self,
        series: &Series<'_>,
        share: &Share,
        notes: &[String],
        tally: &Tally,
        records: &[Record],
    ) -> anyhow::Result<()> {
        let mut results: Vec<RunResult> = records
            .iter()
            .filter(|record| !record.was_stopped())
            .map(|record| RunResult {
                run: record.number,
                line: record.line(),
                case: record.case.clone(),
            })
            .collect();
        results.sort_by_key(|result| result.run);
        let part = Part {
            recrash_part: parts::SCHEMA,
            id: share.whole.id(),
            whole: share.whole.clone(),
            partition: share.partition,
            started: self.started.clone(),
            complete: tally.ended == Ended::Complete,
            jobs: series.jobs,
            wall_ms: tally.wall_ms,
            notes: notes.to_vec(),
            kernels: std::iter::once(series.kernel()).collect(),
            results,
        };
        part.store(&self.folder)
    }

    fn store(
        &self,
        series: &Series<'_>,
        notes: &[String],
        summary: Option<&Tally>,
    ) -> anyhow::Result<()> {
        let plan = series.bench.plan;
        let campaign = Campaign {
            recrash_campaign: SCHEMA,
            started: self.started.clone(),
            target: &plan.target.name,
            kernel_release: &series.bench.provisioned.kernel_release,
            device: &plan.device_name,
            scenario: &plan.scenario_name,
            fault: &plan.scenario.fault,
            append: &plan.append,
            golden: self.golden.clone(),
            expected: series.bench.expect.name(),
            attempts: series.of,
            jobs: series.jobs,
            stop_at_first: series.stop_at.map(super::StopAt::name),
            from_snapshot: series.source != super::Source::Boots,
            partition: series.share.as_ref().map(|share| share.partition),
            notes,
            summary,
        };
        store::replace(
            &self.folder,
            CAMPAIGN,
            &serde_json::to_vec_pretty(&campaign)?,
        )
    }
}
