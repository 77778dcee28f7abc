//! The document of a campaign: an attempt a case, the rates, and how they were made. Prints nothing.
use super::Made;
use crate::campaign::interval::Rate;
use crate::campaign::record::{Record, millis};
use crate::campaign::tally::{Ended, Tally, VERDICTS};
use crate::exit::Exit;
use crate::golden;
use crate::report::Fact;
use crate::report::document::{self, Case, Document, GoldenRef, Kind, Outcome, Section};

/// The document; paths in it are relative to the campaign's folder.
pub(super) fn document(made: &Made<'_>) -> Document {
    let Made {
        series,
        folder,
        started,
        notes,
        tally,
        records,
    } = made;
    let bench = &series.bench;
    let plan = bench.plan;
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by_key(|record| record.number);
    let mut document = Document::new(Kind::Campaign, folder.name(), headline(tally), tally.exit);
    document.expected = Some(bench.expect.name().into());
    document.when = Some(started.timestamp().to_string());
    document.took_ms = Some(tally.wall_ms);
    document.environment = vec![
        Fact::new("target", plan.target.name.as_str()),
        Fact::new("kernel", bench.provisioned.kernel_release.as_str()),
        Fact::new("scenario", plan.scenario_name.as_str()),
        Fact::new("fault", plan.scenario.fault.as_str()),
        Fact::new("device", plan.device_name.as_str()),
        Fact::new("golden", golden::name(bench.golden)),
        Fact::new(
            "begins with",
            match series.source {
                super::Source::Boots => "a boot each",
                _ => "a snapshot",
            },
        ),
    ];
    if !plan.append.is_empty() {
        let words = Fact::new("added words", plan.append.join(" "));
        document.environment.push(words);
    }
    document.sections.push(sums(tally, series.jobs));
    if !notes.is_empty() {
        document
            .sections
            .push(Section::new("Notes").list(notes.to_vec()));
    }
    let width = series.of.to_string().len();
    for record in sorted {
        document.cases.push(Case {
            name: format!("attempt {:0width$}", record.number),
            group: Some(plan.target.name.clone()),
            took_ms: Some(millis(record.took)),
            folder: record
                .run
                .as_ref()
                .and_then(|run| document::relative(folder.path(), run)),
            ..case(record, GoldenRef::of(bench.golden))
        });
    }
    let undone = tally.asked_for.saturating_sub(tally.done + tally.cut_off);
    if undone > 0 {
        document.missing.push(format!(
            "{undone} attempts that were asked for and not begun"
        ));
    }
    document
}

/// An attempt as a case. What one against the expectation has in detail, each has in its own report.
fn case(record: &Record, golden: GoldenRef) -> Case {
    let mut case = record.case.as_deref().cloned().unwrap_or_else(|| Case {
        verdict: Some(record.verdict.to_string()),
        golden: Some(golden),
        ..Case::new("", Outcome::of(record.exit), record.why.as_str())
    });
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
fn sums(tally: &Tally, jobs: u32) -> Section {
    let mut facts = vec![Fact::new(
        "made",
        format!("{} of {}, {jobs} at once", tally.done, tally.asked_for),
    )];
    match tally.ended {
        Ended::Complete => {}
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
        |rate| crate::campaign::text::rate(&rate, holds),
    )
}
