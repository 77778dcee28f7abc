//! The report of parts that were put together: a case for each run, as an undivided campaign or matrix has them, and what is
//! missing. Renders nothing.
use std::path::Path;

use super::super::run::matrix::cell::{Cell, Counts, State, worst};
use crate::campaign::interval::Rate;
use crate::campaign::record::{Record, millis};
use crate::campaign::tally::Tally;
use crate::campaign::text;
use crate::exit::Exit;
use crate::expect::Expect;
use crate::parts::merge::Merged;
use crate::parts::{Campaign, Matrix, RunResult};
use crate::report::Fact;
use crate::report::document::{Case, Document, GoldenRef, Kind, Outcome, Section, relative};

/// Of a campaign.
pub(super) fn of_campaign(
    merged: &Merged,
    campaign: &Campaign,
    expect: Expect,
    tally: &Tally,
    records: &[Record],
) -> Document {
    let conclusion = text::conclusion(tally);
    let headline = anstream::adapter::strip_str(conclusion.trim_end()).to_string();
    let name = format!("{} {}", campaign.target, campaign.fault);
    let mut document = new(merged, name, headline, tally.exit);
    document.expected = Some(expect.name().into());
    let append = campaign.append.join(" ");
    for (name, value) in [
        ("target", &campaign.target),
        ("device", &campaign.device),
        ("scenario", &campaign.scenario),
        ("fault", &campaign.fault),
        ("golden", &campaign.golden),
        ("added to the command line", &append),
    ] {
        if !value.is_empty() {
            document.environment.push(Fact::new(name, value.clone()));
        }
    }
    for record in records {
        let made = merged.results.get(&record.number);
        let mut case = case(
            made,
            &format!("attempt {}", record.number),
            &campaign.golden,
        );
        case.outcome = Outcome::of(record.exit);
        case.verdict = Some(record.verdict.to_string());
        case.expected = Some(expect.name().into());
        case.why.clone_from(&record.why);
        case.took_ms = Some(millis(record.took));
        document.cases.push(case);
    }
    document.sections.push(sums(tally, &merged.notes));
    document
}

/// Of a matrix.
pub(super) fn of_matrix(merged: &Merged, matrix: &Matrix, cells: &[Cell]) -> Document {
    let Counts {
        cells: all,
        as_expected,
        unexpected,
        not_run,
        impossible,
    } = Counts::of(cells);
    let headline = format!(
        "{all} combinations: {as_expected} as expected, {unexpected} not as expected, {not_run} not run, {impossible} impossible"
    );
    let mut document = new(merged, "matrix".into(), headline, worst(cells));
    for (number, (cell, plan)) in (1..).zip(cells.iter().zip(&matrix.cells)) {
        let made = merged.results.get(&number);
        let mut case = case(made, &cell.key.to_string(), &plan.golden);
        case.expected.clone_from(&plan.expected);
        match &cell.state {
            State::Impossible(why) => {
                case.outcome = Outcome::Skipped;
                case.why = format!("impossible: {why}");
            }
            State::Waiting(_) => {
                case.outcome = Outcome::Skipped;
                case.why = "not run: its part is missing or was stopped".into();
            }
            State::Done(_, got) => {
                case.outcome = Outcome::of(got.exit);
                case.verdict = Some(got.verdict.to_string());
                case.why.clone_from(&got.why);
                case.took_ms = Some(millis(got.took));
            }
        }
        document.cases.push(case);
    }
    document
}

/// Makes the cases' folders relative to where the report is kept, where they can be reached from there.
pub(super) fn place(document: &mut Document, out: &Path) {
    for case in &mut document.cases {
        let run = case.folder.take();
        let run = run.as_deref().map(Path::new).filter(|run| run.is_dir());
        case.folder = run.and_then(|run| relative(out, run));
    }
}

/// The goldens that runs came out against: files where they are known, each once.
pub(super) fn against(document: &Document) -> Vec<String> {
    let mut goldens = Vec::new();
    for case in document
        .cases
        .iter()
        .filter(|case| case.outcome == Outcome::Failed)
    {
        let Some(golden) = &case.golden else { continue };
        let name = golden.file.clone().unwrap_or_else(|| golden.name.clone());
        if !goldens.contains(&name) {
            goldens.push(name);
        }
    }
    goldens
}

fn new(merged: &Merged, name: String, headline: String, exit: Exit) -> Document {
    let mut document = Document::new(Kind::Merged, name, headline, exit);
    document.when = Some(merged.started.clone());
    document.took_ms = Some(merged.wall_ms);
    document
        .environment
        .push(Fact::new("parts", merged.of.to_string()));
    document.missing.extend(merged.gaps());
    if !merged.remarks.is_empty() {
        let remarks = Section::new("Parts").list(merged.remarks.clone());
        document.sections.push(remarks);
    }
    document
}

/// The case that the part kept of a run, under this name; or one that says no more than the part's line.
fn case(made: Option<&RunResult>, name: &str, golden: &str) -> Case {
    let kept = made.and_then(|made| made.case.as_deref().cloned());
    let mut case = kept.unwrap_or_else(|| Case::new(name, Outcome::Skipped, ""));
    case.name = name.to_owned();
    case.group = None;
    if case.golden.is_none() {
        case.golden = Some(GoldenRef {
            name: golden.to_owned(),
            file: Some(format!("golden/{golden}.snap")),
        });
    }
    let run = made.and_then(|made| made.line.get("run")?.as_str());
    case.folder = run.map(str::to_owned);
    case
}

/// Counts, rates and their intervals.
fn sums(tally: &Tally, notes: &[String]) -> Section {
    let mut rows: Vec<Vec<String>> = tally
        .verdicts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(verdict, count)| vec![verdict.clone(), count.to_string(), String::new()])
        .collect();
    for (name, rate) in [
        ("as expected", tally.as_expected),
        ("crashed", tally.crashed),
    ] {
        let (count, interval) = match rate {
            Some(Rate {
                count,
                of,
                low,
                high,
                confidence,
                ..
            }) => (
                format!("{count} of {of}"),
                format!("{:.0} % interval {low:.4} to {high:.4}", confidence * 100.0),
            ),
            None => ("no attempt says anything".into(), String::new()),
        };
        rows.push(vec![name.into(), count, interval]);
    }
    let section =
        Section::new("Campaign").text(format!("{} of {} attempts", tally.done, tally.asked_for));
    let section = section.table("What the attempts came to", ["", "attempts", "rate"], rows);
    match notes.is_empty() {
        true => section,
        false => section.list(notes.to_vec()),
    }
}
