//! What a diagnosis leaves in its folder, written anew after each experiment, and what is printed. Decides nothing.
use recrash_machine::run::CampaignFolder;
use recrash_machine::run::campaign::{DIAGNOSE, REPORT};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::diagnose::conclude::Conclusion;
use crate::diagnose::present;
use crate::diagnose::record::{Diagnosis, Entry, State};
use crate::diagnose::seen::Effect;
use crate::diagnose::text;
use crate::exit::Exit;
use crate::output::{self, BAD, GOOD, WARN};
use crate::report::Fact;
use crate::report::document::{self, Case, Document, Kind, Outcome};
use crate::report::emit::{self, ReportArgs};

/// What `--json` prints.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Line<'a> {
    /// As each ends.
    Experiment {
        #[serde(flatten)]
        entry: &'a Entry,
        /// What it asks.
        question: &'static str,
    },
    /// The last one.
    Diagnosis {
        #[serde(flatten)]
        diagnosis: &'a Diagnosis,
        /// What it comes to in one line.
        headline: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        report: Option<PathBuf>,
    },
}

/// The folder of a diagnosis.
pub(super) struct Paper<'a> {
    folder: &'a CampaignFolder,
}

impl<'a> Paper<'a> {
    pub(super) fn begin(folder: &'a CampaignFolder) -> Self {
        Self { folder }
    }

    /// Writes what there is. The diagnosis stands even if the disk is full.
    pub(super) fn write(&self, diagnosis: &Diagnosis) {
        let json = serde_json::to_string_pretty(diagnosis).unwrap_or_default() + "\n";
        let plain = anstream::adapter::strip_str(&report(diagnosis)).to_string();
        for (name, text) in [(DIAGNOSE, &json), (REPORT, &plain)] {
            let file = self.folder.file(name);
            if let Err(error) = std::fs::write(&file, text) {
                output::note(&format!("warning: {}: {error}\n", file.display()));
            }
        }
    }

    /// The same with the document in its other forms.
    pub(super) fn end(&self, diagnosis: &Diagnosis) -> Document {
        self.write(diagnosis);
        let mut document = document(diagnosis, self.folder);
        emit::keep(&mut document, self.folder.path());
        document
    }
}

/// Prints the result, and writes what `--report` asks for.
pub(super) fn print(
    diagnosis: &Diagnosis,
    document: &mut Document,
    reports: &ReportArgs,
    json: bool,
) -> Result<(), crate::failure::Failure> {
    let kept = document.base.as_ref().map(|folder| folder.join(REPORT));
    if json {
        output::print_json(&Line::Diagnosis {
            diagnosis,
            headline: diagnosis.findings.conclusion.headline(),
            report: kept,
        })?;
    } else if !reports.takes_stdout() {
        let mut out = format!("\n{}", report(diagnosis));
        if let Some(kept) = kept {
            let _ = writeln!(out, "report: {}", kept.display());
        }
        output::print(&out)?;
    }
    reports.emit(document)
}

/// As text.
fn report(diagnosis: &Diagnosis) -> String {
    let mut out = text::sections(&present::sections(diagnosis));
    let missing = missing(diagnosis);
    if !missing.is_empty() {
        crate::report::text::heading(&mut out, "Not found");
        for why in &missing {
            let _ = writeln!(out, "  {}", output::printable(why));
        }
    }
    let headline = match &diagnosis.findings.conclusion {
        Conclusion::Undecided { why, .. } => output::printable(why),
        conclusion => output::printable(&conclusion.headline()),
    };
    let there = diagnosis.findings.conclusion.is_there();
    let (style, word) = match (there, diagnosis.interrupted) {
        (true, false) => (GOOD, "concluded"),
        (true, true) => (WARN, "interrupted, concluded so far"),
        (false, true) => (WARN, "interrupted"),
        (false, false) => (BAD, "not concluded"),
    };
    let _ = writeln!(out, "\n{style}{word}{style:#}: {headline}");
    out
}

fn missing(diagnosis: &Diagnosis) -> Vec<String> {
    let memory = diagnosis
        .seen
        .memory
        .iter()
        .flat_map(|memory| &memory.missing);
    let wire = diagnosis.seen.wire.iter().flat_map(|wire| &wire.missing);
    memory.chain(wire).cloned().collect()
}

fn document(diagnosis: &Diagnosis, folder: &CampaignFolder) -> Document {
    let conclusion = &diagnosis.findings.conclusion;
    let exit = if diagnosis.exit == Exit::Met as u8 {
        Exit::Met
    } else {
        Exit::Inconclusive
    };
    let mut document = Document::new(Kind::Diagnose, folder.name(), conclusion.headline(), exit);
    document.verdict = serde_json::to_value(conclusion)
        .ok()
        .and_then(|value| Some(value.get("conclusion")?.as_str()?.to_owned()));
    document.when = Some(diagnosis.started.clone());
    document.took_ms = Some(diagnosis.took_ms);
    document.environment = [
        ("target", &diagnosis.target),
        ("kernel", &diagnosis.kernel_release),
        ("device", &diagnosis.device),
        ("scenario", &diagnosis.scenario),
        ("fault", &diagnosis.fault),
        ("golden", &diagnosis.golden),
    ]
    .into_iter()
    .map(|(name, value)| Fact::new(name, value.clone()))
    .collect();
    let cases = diagnosis.experiments.iter();
    document.cases = cases.map(|entry| case(entry, folder)).collect();
    document.sections = present::sections(diagnosis);
    document.missing = missing(diagnosis);
    document
}

/// An experiment has no expectation of its own: what was made is not judged.
fn case(entry: &Entry, folder: &CampaignFolder) -> Case {
    let (outcome, why) = match &entry.state {
        State::NotOffered { reason } => (Outcome::Skipped, format!("not offered: {reason}")),
        State::LeftOut => (Outcome::Skipped, "left out (--only)".into()),
        State::Waiting => (Outcome::Skipped, "not made".into()),
        State::Done { effect, .. } => {
            let outcome = match effect {
                Effect::Nothing { .. } => Outcome::Error,
                _ => Outcome::Unjudged,
            };
            (outcome, present::became(&entry.state))
        }
    };
    let mut case = Case::new(entry.experiment.name(), outcome, why);
    if let State::Done { effect, runs } = &entry.state {
        if let Effect::Same { title } | Effect::Other { title } = effect {
            case.title = Some(title.clone());
        }
        case.took_ms = Some(entry.took_ms());
        let last = runs.iter().rev().find_map(|run| run.folder.as_deref());
        case.folder = last.and_then(|run| document::relative(folder.path(), run));
    }
    if !entry.adds.is_empty() {
        case.facts.push(Fact::new("adds", entry.adds.join(" ")));
    }
    case
}
