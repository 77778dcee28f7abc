//! The document of a matrix: a combination a case, those that are impossible among them. Runs nothing.
use jiff::ZonedDateTime;
use std::path::Path;

use super::cell::{Cell, Got, Key, State, Wanted, worst};
use crate::report::Fact;
use crate::report::document::{self, Case, Document, Kind, Outcome};

/// The document; paths in it are relative to the matrix's folder.
pub(super) fn document(cells: &[Cell], folder: &Path, started: &ZonedDateTime) -> Document {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut document = Document::new(Kind::Matrix, name, String::new(), worst(cells));
    document.base = Some(folder.to_owned());
    document.when = Some(started.timestamp().to_string());
    document.cases = cells.iter().map(|cell| case(cell, folder)).collect();
    let took = document.cases.iter().filter_map(|case| case.took_ms);
    document.took_ms = took.reduce(u64::saturating_add);
    document.headline = document.counts().words();
    document
}

fn case(cell: &Cell, folder: &Path) -> Case {
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
        State::Waiting(wanted) => waiting(name, wanted),
        State::Done(wanted, got) => done(name, wanted, got, folder),
    };
    case.group = Some(target.clone());
    case.facts.extend([
        Fact::new("device", device.as_str()),
        Fact::new("scenario", scenario.as_str()),
    ]);
    case
}

fn waiting(name: String, wanted: &Wanted) -> Case {
    Case {
        expected: Some(wanted.expect.name().into()),
        ..Case::new(name, Outcome::Skipped, "not run")
    }
}

fn done(name: String, wanted: &Wanted, got: &Got, folder: &Path) -> Case {
    let own = got.case.as_deref().cloned();
    let mut case = own.unwrap_or_else(|| Case {
        verdict: Some(got.verdict.to_string()),
        ..Case::new("", Outcome::of(got.exit), got.why.as_str())
    });
    case.name = name;
    case.expected = Some(wanted.expect.name().into());
    case.took_ms = Some(u64::try_from(got.took.as_millis()).unwrap_or(u64::MAX));
    let run = got.run.as_deref();
    case.folder = run.and_then(|run| document::relative(folder, run));
    case.facts
        .push(Fact::new("expected because", wanted.reason.as_str()));
    case
}
