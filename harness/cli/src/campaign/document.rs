//! The document of a campaign, made in one or in parts: an attempt a case, the rates, and how they were made. Sees finished
//! data only.
use std::path::Path;

use super::interval::Rate;
use super::record::{Record, millis};
use super::tally::{Ended, Tally, VERDICTS};
use super::text;
use crate::exit::Exit;
use crate::expect::Expect;
use crate::report::Fact;
use crate::report::document::{Case, Document, GoldenRef, Kind, Outcome, Section};

/// What its attempts have in common.
#[derive(Debug, Clone)]
pub(crate) struct About<'a> {
    pub(crate) target: &'a str,
    /// `uname -r`; empty where it is not known.
    pub(crate) kernel: &'a str,
    pub(crate) scenario: &'a str,
    pub(crate) fault: &'a str,
    pub(crate) device: &'a str,
    pub(crate) append: &'a [String],
    /// What they are compared with.
    pub(crate) golden: GoldenRef,
    pub(crate) expect: Expect,
    pub(crate) from_snapshot: bool,
    /// How many the whole campaign has: so wide are their numbers.
    pub(crate) of: u32,
    /// How they were made: so many at once, or in so many parts.
    pub(crate) how: String,
    /// When it began, RFC 3339.
    pub(crate) started: String,
    /// What one must know of how they were made.
    pub(crate) notes: &'a [String],
}

/// The document; `place` gives a run's folder as the document keeps it.
pub(crate) fn document(
    (kind, name): (Kind, String),
    about: &About<'_>,
    tally: &Tally,
    records: &[Record],
    place: &dyn Fn(&Path) -> Option<String>,
) -> Document {
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by_key(|record| record.number);
    let mut document = Document::new(kind, name, headline(tally), tally.exit);
    document.expected = Some(about.expect.name().into());
    document.when = Some(about.started.clone());
    document.took_ms = Some(tally.wall_ms);
    document.environment = environment(about);
    document.sections.push(sums(tally, &about.how));
    if !about.notes.is_empty() {
        let notes = Section::new("Notes").list(about.notes.to_vec());
        document.sections.push(notes);
    }
    let cases = sorted.into_iter().map(|record| case(about, record, place));
    document.cases = cases.collect();
    let undone = tally.asked_for.saturating_sub(tally.done + tally.cut_off);
    // Of parts that are missing nobody knows what they did.
    if undone > 0 && tally.ended != Ended::PartsMissing {
        document.missing.push(format!(
            "{undone} attempts that were asked for and not begun"
        ));
    }
    document
}

fn environment(about: &About<'_>) -> Vec<Fact> {
    let start = if about.from_snapshot {
        "a snapshot"
    } else {
        "a boot each"
    };
    let added = about.append.join(" ");
    let facts = [
        ("target", about.target),
        ("kernel", about.kernel),
        ("scenario", about.scenario),
        ("fault", about.fault),
        ("device", about.device),
        ("golden", about.golden.name.as_str()),
        ("begins with", start),
        ("added words", added.as_str()),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| Fact::new(name, value)).collect()
}

/// An attempt as a case. What one against the expectation has in detail, each has in its own report.
fn case(about: &About<'_>, record: &Record, place: &dyn Fn(&Path) -> Option<String>) -> Case {
    let width = about.of.to_string().len();
    let own = record.case.as_deref().cloned();
    let own = own.unwrap_or_else(|| Case {
        golden: Some(about.golden.clone()),
        ..Case::new("", Outcome::Error, "")
    });
    let mut case = Case {
        name: format!("attempt {:0width$}", record.number),
        group: Some(about.target.to_owned()),
        outcome: Outcome::of(record.exit),
        verdict: Some(record.verdict.to_string()),
        expected: Some(about.expect.name().into()),
        why: record.why.clone(),
        took_ms: Some(millis(record.took)),
        folder: record.run.as_deref().and_then(place),
        ..own
    };
    if record.was_stopped() {
        case.outcome = Outcome::Skipped;
        case.verdict = None;
    }
    if record.exit == Exit::Met {
        case.explained.clear();
        case.context.clear();
        case.uncovered.clear();
    }
    case
}

fn headline(tally: &Tally) -> String {
    let told: Vec<String> = VERDICTS
        .iter()
        .map(ToString::to_string)
        .filter_map(|name| {
            let count = tally
                .verdicts
                .get(&name)
                .copied()
                .filter(|count| *count > 0)?;
            Some(format!("{count} {name}"))
        })
        .collect();
    format!(
        "{} of {} attempts: {}",
        tally.done,
        tally.asked_for,
        told.join(", ")
    )
}

/// Counts and rates.
fn sums(tally: &Tally, how: &str) -> Section {
    let mut facts = vec![Fact::new(
        "made",
        format!("{} of {}, {how}", tally.done, tally.asked_for),
    )];
    match tally.ended {
        Ended::Complete => {}
        Ended::PartsMissing => facts.push(Fact::new("ended", "parts are missing")),
        Ended::AtFirst => facts.push(Fact::new("ended", "at the first one that was waited for")),
        Ended::Interrupted => facts.push(Fact::new(
            "ended",
            format!(
                "interrupted; {} cut off, which count nowhere",
                tally.cut_off
            ),
        )),
    }
    facts.extend(VERDICTS.iter().filter_map(|verdict| {
        let name = verdict.to_string();
        let count = tally
            .verdicts
            .get(&name)
            .copied()
            .filter(|count| *count > 0)?;
        Some(Fact::new(name, count.to_string()))
    }));
    for (name, rate) in [
        ("as expected", tally.as_expected),
        ("crashed", tally.crashed),
    ] {
        facts.push(Fact::new(name, rate_text(rate, tally.intervals_hold)));
    }
    Section::new("Campaign").facts(facts)
}

fn rate_text(rate: Option<Rate>, holds: bool) -> String {
    rate.map_or_else(
        || "no attempt says anything".into(),
        |rate| text::rate(&rate, holds),
    )
}
