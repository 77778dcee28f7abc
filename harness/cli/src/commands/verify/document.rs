//! A verification as a document for reports: a case for the verdict and one for each run, what the runs came to, and the
//! evidence. Renders nothing.
use recrash_signature::store::Golden;
use std::path::Path;

use super::play;
use crate::exit::Exit;
use crate::report::Fact;
use crate::report::document::{
    Case, Document, GoldenRef, Kind, Outcome as CaseOutcome, Section, relative,
};
use crate::report::sides;
use crate::verify::decide::pairs;
use crate::verify::summary::{Summary, Tally, exit};
use crate::verify::{Outcome, Side, Verdict};

/// Columns of the table of two signatures in a report.
const WIDTH: usize = 110;

/// The document of this verification, whose files lie in `folder`.
pub(super) fn document(
    summary: &Summary,
    outcome: &play::Outcome,
    golden: &Golden,
    folder: &Path,
    started: &str,
) -> Document {
    let question = &summary.question;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let exit = exit(question.expected, summary.verdict);
    let headline = format!("{}: {}", summary.verdict, summary.why);
    let mut document = Document::new(Kind::Verify, name, headline, exit);
    document.verdict = Some(summary.verdict.to_string());
    document.expected = Some(question.expected.to_string());
    document.when = Some(started.to_owned());
    document.took_ms = Some(summary.wall_ms);
    document.environment = environment(summary);
    document.cases.push(whole(summary, golden, exit));
    let both = outcome.runs.iter().zip(&outcome.sorting.runs);
    document.cases.extend(
        both.map(|(played, sorted)| case(played, sorted.outcome, &sorted.why, summary, folder)),
    );
    document.sections.push(runs(summary));
    document.sections.push(evidence(summary));
    if let (Some(bug), Some(other)) = (
        outcome.bug().and_then(|one| one.run.signature.as_ref()),
        outcome
            .other_crash()
            .and_then(|one| one.run.signature.as_ref()),
    ) {
        let table = sides::sides(bug, other, false, WIDTH);
        let table = anstream::adapter::strip_str(&table).to_string();
        document.sections.push(
            Section::new("The candidate's other crash")
                .text("The bug on the baseline (golden) beside the candidate's crash (found).")
                .lines(table.lines().map(str::to_owned).collect()),
        );
    }
    for (side, tally) in [
        ("baseline", &summary.baseline),
        ("candidate", &summary.candidate),
    ] {
        let reasons = tally.reasons.iter();
        let text = reasons.map(|(why, count)| format!("{count} runs of the {side}: {why}"));
        document.missing.extend(text);
    }
    document
}

fn environment(summary: &Summary) -> Vec<Fact> {
    let question = &summary.question;
    let difference = &question.difference;
    let [one, other] = &question.kernel_releases;
    let kernel = if one == other {
        one.clone()
    } else {
        format!("{one}; candidate {other}")
    };
    let mut facts = vec![
        Fact::new("target", &question.target),
        Fact::new("kernel", kernel),
        Fact::new("scenario", &question.scenario),
        Fact::new("device", &question.device),
        Fact::new("fault", &question.fault),
        Fact::new("append", question.append.join(" ")),
        Fact::new(
            "candidate",
            if difference.identical {
                format!("{} {} on both sides", difference.key, difference.candidate)
            } else {
                format!(
                    "{} {} instead of {}",
                    difference.key,
                    difference.candidate,
                    match difference.baseline.as_str() {
                        "" => "nothing",
                        value => value,
                    }
                )
            },
        ),
        Fact::new("golden", &question.golden),
        Fact::new("seed", question.seed.to_string()),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts.extend(question.notes.iter().map(|note| Fact::new("note", note)));
    facts
}

/// The verdict as a case of its own: it may fail where no single run does.
fn whole(summary: &Summary, golden: &Golden, exit: Exit) -> Case {
    let difference = &summary.question.difference;
    let name = format!("{} {}", difference.key, difference.candidate);
    let mut case = Case::new(name, CaseOutcome::of(exit), summary.why.clone());
    case.group = Some("verify".into());
    case.verdict = Some(summary.verdict.to_string());
    case.expected = Some(summary.question.expected.to_string());
    case.took_ms = Some(summary.wall_ms);
    case.golden = Some(GoldenRef::of(golden));
    case.title = summary
        .other_crash
        .as_ref()
        .map(|other| other.title.clone());
    case
}

fn case(
    played: &play::Played,
    outcome: Outcome,
    why: &str,
    summary: &Summary,
    folder: &Path,
) -> Case {
    let run = &played.run;
    let mut case = match &played.record.case {
        Some(case) => (**case).clone(),
        None => Case::new("", CaseOutcome::Error, run.why.clone()),
    };
    case.name = format!("pair {}, {}", run.pair, run.side);
    case.group = Some(run.side.to_string());
    case.outcome = of(run.side, outcome, summary);
    case.expected = Some(
        match (run.side, summary.question.expected) {
            (Side::Baseline, _) | (Side::Candidate, Verdict::NotFixed) => "the bug",
            (Side::Candidate, Verdict::Changed) => "another crash",
            (Side::Candidate, Verdict::Fixed | Verdict::Inconclusive) => "no-crash",
        }
        .into(),
    );
    // The whole has it: a run against what was expected says nothing about the golden.
    case.golden = None;
    if !why.is_empty() {
        case.why = why.to_owned();
    }
    let own = played.record.run.as_deref();
    case.folder = own.and_then(|own| relative(folder, own));
    case
}

/// How a run came out by what the whole was expected to. One that says nothing is an error only if the whole says
/// nothing.
fn of(side: Side, outcome: Outcome, summary: &Summary) -> CaseOutcome {
    let expected = summary.question.expected;
    match (side, outcome) {
        (_, Outcome::SaysNothing | Outcome::UnreadCrash | Outcome::EarlyCrash) => {
            if summary.verdict == Verdict::Inconclusive {
                CaseOutcome::Error
            } else {
                CaseOutcome::Unjudged
            }
        }
        (Side::Baseline, Outcome::Bug) => CaseOutcome::Passed,
        (Side::Baseline, _) => CaseOutcome::Unjudged,
        (Side::Candidate, outcome) => match (expected, outcome) {
            (Verdict::Fixed, Outcome::NoCrash)
            | (Verdict::NotFixed, Outcome::Bug)
            | (Verdict::Changed, Outcome::OtherCrash) => CaseOutcome::Passed,
            (Verdict::NotFixed, _) | (Verdict::Changed, Outcome::NoCrash) => CaseOutcome::Unjudged,
            _ => CaseOutcome::Failed,
        },
    }
}

fn runs(summary: &Summary) -> Section {
    type Count = fn(&Tally) -> u32;
    let counts: [(&str, Count); 7] = [
        ("runs", |t| t.runs),
        ("the bug", |t| t.bug),
        ("another crash", |t| t.other_crash),
        ("no crash", |t| t.no_crash),
        ("a death of which nothing is known", |t| t.unread_crash),
        ("another crash before the bug could show", |t| t.early_crash),
        ("says nothing", |t| t.says_nothing),
    ];
    let (a, b) = (&summary.baseline, &summary.candidate);
    let mut rows: Vec<Vec<String>> = counts
        .iter()
        .map(|(name, count)| {
            vec![
                (*name).to_owned(),
                count(a).to_string(),
                count(b).to_string(),
            ]
        })
        .collect();
    let rate = |tally: &Tally| {
        tally.rate.map_or_else(
            || "no run says anything".to_owned(),
            |rate| format!("{:.4} ({:.4} to {:.4})", rate.rate, rate.low, rate.high),
        )
    };
    rows.push(vec!["rate of the bug".into(), rate(a), rate(b)]);
    Section::new("Runs").table(
        "What the runs came to; intervals are exact (Clopper and Pearson, 95 %) for a number of runs that is fixed before",
        ["", "baseline", "candidate"],
        rows,
    )
}

fn evidence(summary: &Summary) -> Section {
    let mut facts = vec![
        Fact::new("luck", format!("{:.4} at most", summary.luck)).proven_by(
            "the chance of such evidence, at any time, if the candidate had the bug as often as the baseline",
        ),
        Fact::new(
            "e-value",
            format!(
                "{:.1} of {:.0}, from {}",
                summary.e_value,
                summary.e_value_needed,
                pairs(summary.pairs_counted)
            ),
        )
        .proven_by(format!("for a confidence of {}", summary.question.confidence)),
    ];
    if let Some(silence) = &summary.silence {
        facts.push(
            Fact::new("silence", format!("{} runs without the bug", silence.runs)).proven_by(format!(
                "the chance is {:.4} at the baseline's rate, {:.4} at the lower end of its interval",
                silence.at_rate, silence.at_low
            )),
        );
    }
    if let Some(more) = summary.pairs_needed {
        facts.push(
            Fact::new("needed", format!("about {} more", pairs(more)))
                .proven_by("if the baseline goes on at this rate and the candidate stays silent"),
        );
    }
    Section::new("Evidence").facts(facts)
}
