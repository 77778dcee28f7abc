//! The report of parts that were put together: cases, facts and sums are those of an undivided campaign or matrix, made by
//! what makes theirs; here is what tells of the parts, and what is missing. Renders nothing.
use std::collections::BTreeSet;
use std::path::Path;

use super::super::run::matrix;
use super::super::run::matrix::cell::{Cell, Counts, worst};
use crate::campaign;
use crate::campaign::document::About;
use crate::campaign::record::Record;
use crate::campaign::tally::Tally;
use crate::campaign::text;
use crate::expect::Expect;
use crate::parts::merge::Merged;
use crate::parts::{Campaign, Runs};
use crate::report::Fact;
use crate::report::document::{Document, GoldenRef, Kind, Outcome, Section, relative};

/// Of a campaign.
pub(super) fn of_campaign(
    merged: &Merged,
    campaign: &Campaign,
    expect: Expect,
    tally: &Tally,
    records: &[Record],
) -> Document {
    let kernel = merged.kernels.get(&campaign.target);
    let about = About {
        target: &campaign.target,
        kernel: kernel.map_or("", |kernel| &kernel.release),
        scenario: &campaign.scenario,
        fault: &campaign.fault,
        device: &campaign.device,
        append: &campaign.append,
        golden: GoldenRef {
            name: campaign.golden.clone(),
            file: Some(file_of(&campaign.golden)),
        },
        expect,
        from_snapshot: campaign.from_snapshot,
        of: campaign.attempts,
        how: format!("in {} parts", merged.of),
        started: merged.started.clone(),
        notes: &merged.notes,
    };
    let name = format!("{} {}", campaign.target, campaign.fault);
    let kind = (Kind::Merged, name);
    let mut document = campaign::document::document(kind, &about, tally, records, &unplaced);
    let conclusion = text::conclusion(tally);
    document.headline = anstream::adapter::strip_str(conclusion.trim_end()).to_string();
    add(&mut document, merged);
    document
}

/// Of a matrix.
pub(super) fn of_matrix(merged: &Merged, cells: &[Cell]) -> Document {
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
    let mut document = Document::new(Kind::Merged, "matrix", headline, worst(cells));
    let waiting = "not run: its part is missing or was stopped";
    document.cases = matrix::document::cases(cells, waiting, &unplaced);
    add(&mut document, merged);
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
pub(super) fn against(document: &Document, runs: &Runs) -> BTreeSet<String> {
    let planned = |at: usize| match runs {
        Runs::Campaign(campaign) => Some(&campaign.golden),
        Runs::Matrix(matrix) => matrix.cells.get(at).map(|cell| &cell.golden),
    };
    let cases = document.cases.iter().enumerate();
    let failed = cases.filter(|(_, case)| case.outcome == Outcome::Failed);
    failed
        .filter_map(|(at, case)| match (&case.golden, planned(at)) {
            (
                Some(GoldenRef {
                    file: Some(file), ..
                }),
                _,
            ) => Some(file.clone()),
            (Some(golden), _) => Some(golden.name.clone()),
            (None, planned) => planned.map(|name| file_of(name)),
        })
        .collect()
}

/// Where a golden of the store lies in the checkout.
fn file_of(golden: &str) -> String {
    format!("golden/{golden}.snap")
}

/// What tells that it was made in parts, and what is missing of them.
fn add(document: &mut Document, merged: &Merged) {
    document.when = Some(merged.started.clone());
    document.took_ms = Some(merged.wall_ms);
    let parts = Fact::new("parts", merged.of.to_string());
    document.environment.push(parts);
    document.missing.extend(merged.gaps());
    if !merged.remarks.is_empty() {
        let remarks = Section::new("Parts").list(merged.remarks.clone());
        document.sections.push(remarks);
    }
}

/// As it is until it is known where the report is kept.
fn unplaced(run: &Path) -> Option<String> {
    run.to_str().map(str::to_owned)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
