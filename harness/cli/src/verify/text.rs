//! A verification as text, for the terminal and for its report. Sees finished data only.
use anstyle::Style;
use std::fmt::Write;
use std::time::Duration;

use super::decide::{Ended, pairs};
use super::summary::{Summary, Tally};
use super::{Outcome, Side, Verdict};
use crate::campaign::interval::CONFIDENCE;
use crate::campaign::text::span;
use crate::output::{BAD, DIM, GOOD, WARN, printable};
use crate::report::text::heading;

/// Columns of the names.
const NAME: usize = 16;
/// Columns of the baseline's values.
const COLUMN: usize = 36;

/// A run that has ended, as its line tells it.
pub(crate) struct Line<'a> {
    /// Its pair.
    pub(crate) pair: u32,
    /// Of at most so many.
    pub(crate) budget: u32,
    /// Its side.
    pub(crate) side: Side,
    /// Its own verdict, or that it was stopped.
    pub(crate) verdict: String,
    /// What it means.
    pub(crate) outcome: Outcome,
    /// Why, if it says nothing.
    pub(crate) why: &'a str,
    /// How long it took.
    pub(crate) took: Duration,
    /// Its folder's name.
    pub(crate) run: &'a str,
}

/// One run in one line.
pub(crate) fn run(line: &Line<'_>) -> String {
    let width = line.budget.to_string().len();
    let style = match (line.side, line.outcome) {
        (_, Outcome::SaysNothing | Outcome::UnreadCrash | Outcome::EarlyCrash) => WARN,
        (Side::Baseline, Outcome::Bug) | (Side::Candidate, Outcome::NoCrash) => GOOD,
        (Side::Baseline, Outcome::NoCrash) => Style::new(),
        _ => BAD,
    };
    let mut out = format!(
        "pair {:>width$} of {}  {:<9}  {style}{:<12}{style:#}  {:>6.1} s  {DIM}{}{DIM:#}",
        line.pair,
        line.budget,
        line.side,
        line.verdict,
        line.took.as_secs_f64(),
        line.run
    );
    if !line.outcome.counts() {
        let _ = write!(out, "  {}", printable(line.why));
    }
    let out = out.trim_end().to_owned();
    out + "\n"
}

/// What it came to.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut out = String::new();
    sides(&mut out, summary);
    heading(&mut out, "Runs");
    table(&mut out, &summary.baseline, &summary.candidate);
    reasons(&mut out, summary);
    heading(&mut out, "Evidence");
    evidence(&mut out, summary);
    out
}

/// One line for people: the verdict and why.
pub(crate) fn conclusion(summary: &Summary) -> String {
    let style = match summary.verdict {
        Verdict::Inconclusive => WARN,
        found if found == summary.question.expected => GOOD,
        _ => BAD,
    };
    let mut out = format!(
        "{style}{}{style:#}: {}",
        summary.verdict,
        printable(&summary.why)
    );
    if ![summary.question.expected, Verdict::Inconclusive].contains(&summary.verdict) {
        let _ = write!(
            out,
            " (expected {}; --expect {} accepts this)",
            summary.question.expected, summary.verdict
        );
    }
    out.push('\n');
    out
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<NAME$} {text}");
}

fn sides(out: &mut String, summary: &Summary) {
    let question = &summary.question;
    let difference = &question.difference;
    heading(out, "Verify");
    let append = match question.append.join(" ") {
        words if words.is_empty() => String::new(),
        words => format!(", append {words}"),
    };
    let baseline = format!(
        "target {}, scenario {}, device {}, fault {}{append}",
        question.target, question.scenario, question.device, question.fault
    );
    row(out, "baseline", &printable(&baseline));
    let candidate = if difference.identical {
        format!(
            "the same: {} {} on both sides; a check of the comparison itself",
            difference.key, difference.candidate
        )
    } else {
        format!(
            "the same, but {} {} instead of {}",
            difference.key,
            difference.candidate,
            match difference.baseline.as_str() {
                "" => "nothing",
                value => value,
            }
        )
    };
    row(out, "candidate", &printable(&candidate));
    let [one, other] = &question.kernel_releases;
    let kernels = if one == other {
        one.clone()
    } else {
        format!("{one}, candidate {other}")
    };
    row(out, "kernel", &printable(&kernels));
    let bug = match &summary.bug_of_run {
        None => format!("golden {}", question.golden),
        Some(run) => format!(
            "the baseline's own crash ({}), which is not that of golden {}; pairs count from the next one on",
            run.display(),
            question.golden
        ),
    };
    row(out, "the bug", &printable(&bug));
    let made = format!(
        "{} of at most {}, {} at once, order drawn with seed {}, in {}",
        summary.pairs,
        question.budget,
        question.jobs,
        question.seed,
        span(Duration::from_millis(summary.wall_ms))
    );
    row(out, "pairs", &made);
    if summary.ended == Ended::Interrupted {
        let cut = format!(
            "interrupted; {} cut off, which count nowhere",
            summary.cut_off
        );
        row(out, "ended", &cut);
    }
    for note in &question.notes {
        row(out, "note", &printable(note));
    }
}

fn table(out: &mut String, baseline: &Tally, candidate: &Tally) {
    let mut line = |name: &str, a: &str, b: &str| {
        let text = format!("  {name:<NAME$} {a:<COLUMN$} {b}");
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line("", "baseline", "candidate");
    type Count = fn(&Tally) -> u32;
    let counts: [(&str, Count, bool); 7] = [
        ("runs", |t| t.runs, true),
        ("the bug", |t| t.bug, true),
        ("another crash", |t| t.other_crash, false),
        ("no crash", |t| t.no_crash, true),
        ("unread crash", |t| t.unread_crash, false),
        ("early crash", |t| t.early_crash, false),
        ("says nothing", |t| t.says_nothing, false),
    ];
    for (name, count, always) in counts {
        let (a, b) = (count(baseline), count(candidate));
        if always || a > 0 || b > 0 {
            line(name, &a.to_string(), &b.to_string());
        }
    }
    let rate = |tally: &Tally| match tally.rate {
        Some(rate) => format!(
            "{} of {}: {:.4} ({:.4} to {:.4})",
            rate.count, rate.of, rate.rate, rate.low, rate.high
        ),
        None => "no run says anything".into(),
    };
    line("rate of the bug", &rate(baseline), &rate(candidate));
}

fn reasons(out: &mut String, summary: &Summary) {
    for (side, tally) in [
        (Side::Baseline, &summary.baseline),
        (Side::Candidate, &summary.candidate),
    ] {
        for (why, count) in &tally.reasons {
            let text = format!("{count} of the {side}: {}", printable(why));
            row(out, "why nothing", &text);
        }
    }
    if let Some(other) = &summary.other_crash {
        let bug = other
            .bug
            .as_deref()
            .unwrap_or("what it struck is not known");
        let text = format!("{}; {bug}", other.title);
        row(out, "another crash", &printable(&text));
        if let Some(run) = &other.run {
            row(out, "", &format!("{DIM}{}{DIM:#}", run.display()));
        }
    }
}

fn evidence(out: &mut String, summary: &Summary) {
    let claim = format!(
        "{:.4} at most: the chance of such evidence, at any time, if the candidate had the bug as often as the baseline",
        summary.luck
    );
    row(out, "luck", &claim);
    let weight = format!(
        "{:.1} of {:.0} for a confidence of {}, from {}",
        summary.e_value,
        summary.e_value_needed,
        summary.question.confidence,
        pairs(summary.pairs_counted)
    );
    row(out, "e-value", &weight);
    if let Some(silence) = &summary.silence {
        let text = format!(
            "{} runs without the bug: the chance is {:.4} at the baseline's rate, {:.4} at the lower end of its interval",
            silence.runs, silence.at_rate, silence.at_low
        );
        row(out, "silence", &text);
    }
    if let Some(more) = summary.pairs_needed {
        let text = format!(
            "about {} more, if the baseline goes on at this rate and the candidate stays silent (--budget)",
            pairs(more)
        );
        row(out, "needed", &text);
    }
    let note = format!(
        "intervals are exact (Clopper and Pearson, {:.0} %) for a number of runs that is fixed before; when to stop depended on what was seen, so the verdict rests on the e-value",
        CONFIDENCE * 100.0
    );
    row(out, "note", &note);
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::summary as made;
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn check(pairs: &str, ended: Ended, name: &str) {
        let made = made(pairs, ended);
        let text = plain(&(summary(&made) + &conclusion(&made)));
        insta::assert_snapshot!(name, text);
    }

    #[test]
    fn a_fix_is_told_with_rates_and_evidence() {
        check("BN BN BN BN", Ended::Decided, "fixed");
    }

    #[test]
    fn a_change_names_the_other_crash() {
        check("BO BN BO BN", Ended::Decided, "changed");
    }

    #[test]
    fn what_says_nothing_is_told_with_its_reasons() {
        check("BF BF BF", Ended::Decided, "inconclusive");
    }

    #[test]
    fn what_was_too_little_is_told_with_what_would_be_enough() {
        check("BN NN BN", Ended::TimeLimit, "too-little");
    }

    #[test]
    fn a_line_has_pair_side_verdict_and_time() {
        let mut line = Line {
            pair: 3,
            budget: 30,
            side: Side::Candidate,
            verdict: "no-crash".into(),
            outcome: Outcome::NoCrash,
            why: "",
            took: Duration::from_millis(4200),
            run: "r",
        };
        assert_eq!(
            plain(&run(&line)),
            "pair  3 of 30  candidate  no-crash         4.2 s  r\n"
        );
        line.outcome = Outcome::SaysNothing;
        line.why = "because\x1b[2J";
        assert_eq!(
            plain(&run(&line)),
            "pair  3 of 30  candidate  no-crash         4.2 s  r  because\u{fffd}[2J\n"
        );
    }
}
