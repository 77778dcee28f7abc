//! The document of a matrix, made in one or in parts: a combination a case, those that are impossible among them. Runs
//! nothing.
use jiff::ZonedDateTime;
use std::path::Path;

use super::cell::{Cell, Got, Key, State, Wanted, worst};
use crate::campaign::record::millis;
use crate::report::Fact;
use crate::report::document::{self, Case, Document, Kind, Outcome};

/// The document; paths in it are relative to the matrix's folder.
pub(in crate::commands) fn document(
    cells: &[Cell],
    folder: &Path,
    started: &ZonedDateTime,
) -> Document {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut document = Document::new(Kind::Matrix, name, String::new(), worst(cells));
    document.base = Some(folder.to_owned());
    document.when = Some(started.timestamp().to_string());
    document.cases = cases(cells, "not run", &|run| document::relative(folder, run));
    let took = document.cases.iter().filter_map(|case| case.took_ms);
    document.took_ms = took.reduce(u64::saturating_add);
    document.headline = document.counts().words();
    document
}

/// The cases; `waiting` says why one was not run, `place` gives a run's folder as the document keeps it.
pub(in crate::commands) fn cases(
    cells: &[Cell],
    waiting: &str,
    place: &dyn Fn(&Path) -> Option<String>,
) -> Vec<Case> {
    let cases = cells.iter().map(|cell| case(cell, waiting, place));
    cases.collect()
}

fn case(cell: &Cell, why_waiting: &str, place: &dyn Fn(&Path) -> Option<String>) -> Case {
    let Key {
        target,
        controller,
        speed,
        fault,
        capture,
        device,
        scenario,
    } = &cell.key;
    let name = format!("{controller} {speed}, {fault}, {capture}");
    let mut case = match &cell.state {
        State::Impossible(why) => Case::new(name, Outcome::Skipped, format!("impossible: {why}")),
        State::Waiting(wanted) => Case {
            expected: Some(wanted.expect.name().into()),
            ..Case::new(name, Outcome::Skipped, why_waiting)
        },
        State::Done(wanted, got) => done(name, wanted, got, place),
    };
    case.group = Some(target.clone());
    case.facts.extend([
        Fact::new("device", device.as_str()),
        Fact::new("scenario", scenario.as_str()),
    ]);
    case
}

fn done(name: String, wanted: &Wanted, got: &Got, place: &dyn Fn(&Path) -> Option<String>) -> Case {
    let own = got.case.as_deref().cloned();
    let own = own.unwrap_or_else(|| Case::new("", Outcome::Error, ""));
    let mut case = Case {
        name,
        outcome: Outcome::of(got.exit),
        verdict: Some(got.verdict.to_string()),
        expected: Some(wanted.expect.name().into()),
        why: got.why.clone(),
        took_ms: Some(millis(got.took)),
        folder: got.run.as_deref().and_then(place),
        ..own
    };
    let because = Fact::new("expected because", wanted.reason.as_str());
    case.facts.push(because);
    case
}
