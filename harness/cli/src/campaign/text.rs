//! Attempts and their sums, as text for the terminal and for the campaign's report. Sees finished data only.
use anstyle::Style;
use std::fmt::Write;
use std::time::Duration;

use super::interval::Rate;
use super::record::Record;
use super::tally::{Ended, Tally, VERDICTS};
use crate::exit::Exit;
use crate::output::{BAD, DIM, GOOD, WARN, printable};
use crate::report::text::heading;

/// Attempts against the expectation that the summary lists; `attempts.jsonl` has all.
const MAX_LISTED: usize = 20;
/// Columns of the names in the summary.
const NAME: usize = 14;

/// One attempt in one line.
pub(crate) fn attempt(record: &Record, of: u32) -> String {
    let width = of.to_string().len();
    let style = style(record.exit);
    let verdict = if record.was_stopped() {
        "stopped".to_owned()
    } else {
        record.verdict.to_string()
    };
    let mut line = format!(
        "attempt {:>width$} of {of}  {style}{verdict:<12}{style:#}  {:>6.1} s",
        record.number,
        record.took.as_secs_f64()
    );
    if let Some(name) = record.run.as_ref().and_then(|run| run.file_name()) {
        let _ = write!(line, "  {DIM}{}{DIM:#}", name.to_string_lossy());
    }
    if record.exit != Exit::Met {
        let _ = write!(line, "  {}", printable(&record.why));
    }
    line.push('\n');
    line
}

/// What all of them come to. `jobs` were made at once; `notes` are what one must know of how they were made.
pub(crate) fn summary(tally: &Tally, records: &[Record], jobs: u32, notes: &[String]) -> String {
    let mut out = String::new();
    against(&mut out, records);
    heading(&mut out, "Campaign");
    let wall = Duration::from_millis(tally.wall_ms);
    let mut made = format!(
        "{} of {} attempts, {jobs} at once, in {}",
        tally.done,
        tally.asked_for,
        span(wall)
    );
    if let Some(rate) = tally.per_minute {
        let _ = write!(made, ": {rate:.1} a minute");
    }
    row(&mut out, "made", &made);
    match tally.ended {
        Ended::Complete => {}
        Ended::AtFirst => row(&mut out, "ended", "at the first one that was waited for"),
        Ended::Interrupted => {
            let cut = format!(
                "interrupted; {} cut off, which count nowhere",
                tally.cut_off
            );
            row(&mut out, "ended", &cut);
        }
    }
    if let Some(median) = tally.median_ms {
        let text = format!(
            "{:.1} s an attempt",
            Duration::from_millis(median).as_secs_f64()
        );
        row(&mut out, "median", &text);
    }
    for verdict in VERDICTS {
        let name = verdict.to_string();
        match tally.verdicts.get(&name) {
            None | Some(0) => {}
            Some(count) if name == "inconclusive" => {
                let text = format!("{count}  {DIM}counted neither as a crash nor as none{DIM:#}");
                row(&mut out, &name, &text);
            }
            Some(count) => row(&mut out, &name, &count.to_string()),
        }
    }
    for (name, rate) in [
        ("as expected", tally.as_expected),
        ("crashed", tally.crashed),
    ] {
        let text = match rate {
            Some(rate) => self::rate(&rate, tally.intervals_hold),
            None => "no attempt says anything".into(),
        };
        row(&mut out, name, &text);
    }
    for note in notes {
        row(&mut out, "note", note);
    }
    out
}

/// One line for people: what the exit code says.
pub(crate) fn conclusion(tally: &Tally) -> String {
    let style = style(tally.exit);
    let (verb, why) = match tally.exit {
        Exit::Met => ("as expected", "every attempt"),
        Exit::Differs => ("not as expected", "an attempt crashed otherwise"),
        Exit::CrashOrNot => (
            "not as expected",
            "an attempt did not crash where a crash was expected, or the reverse",
        ),
        Exit::Usage | Exit::Inconclusive => (
            "inconclusive",
            "nothing is against the expectation, but attempts failed or are missing",
        ),
    };
    format!("{style}{verb}{style:#}: {why}\n")
}

/// The attempts that did not meet the expectation.
fn against(out: &mut String, records: &[Record]) {
    let against = |record: &&Record| record.exit != Exit::Met && !record.was_stopped();
    let count = records.iter().filter(against).count();
    if count == 0 {
        return;
    }
    heading(out, "Not as expected");
    let mut listed: Vec<&Record> = records.iter().filter(against).collect();
    listed.sort_by_key(|record| record.number);
    for record in listed.into_iter().take(MAX_LISTED) {
        let _ = writeln!(
            out,
            "  {:>4}  {:<12}  {}",
            record.number,
            record.verdict.to_string(),
            printable(&record.why)
        );
        if let Some(run) = &record.run {
            let _ = writeln!(out, "        {DIM}{}{DIM:#}", run.display());
        }
    }
    if count > MAX_LISTED {
        let _ = writeln!(out, "  {DIM}… {} more{DIM:#}", count - MAX_LISTED);
    }
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<NAME$} {text}");
}

/// `19 of 20: 0.9500, 95 % interval 0.7513 to 0.9987`
pub(crate) fn rate(rate: &Rate, holds: bool) -> String {
    let mut text = format!("{} of {}: {:.4}", rate.count, rate.of, rate.rate);
    if holds {
        let _ = write!(
            text,
            ", {:.0} % interval {:.4} to {:.4}",
            rate.confidence * 100.0,
            rate.low,
            rate.high
        );
    } else {
        text.push_str(", no interval: when to stop depended on what was seen");
    }
    text
}

fn style(exit: Exit) -> Style {
    match exit {
        Exit::Met => GOOD,
        Exit::Inconclusive | Exit::Usage => WARN,
        Exit::Differs | Exit::CrashOrNot => BAD,
    }
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = time.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::super::tally::tests::record;
    use super::*;
    use recrash_signature::compare::Verdict;

    /// The summary of attempts with these verdicts, of which the n-th took n seconds.
    fn check(verdicts: &[Verdict], ended: Ended, notes: &[String], expected: &str) {
        let records: Vec<Record> = (1..)
            .zip(verdicts)
            .map(|(number, verdict)| record(number, *verdict, u64::from(number)))
            .collect();
        let tally = Tally::of(&records, 20, ended, Duration::from_secs(150));
        let text = summary(&tally, &records, 2, notes) + &conclusion(&tally);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn a_summary_has_counts_rates_and_intervals() {
        check(
            &[Verdict::SameCrash; 20],
            Ended::Complete,
            &["of one kind".into()],
            "\
Campaign
  made           20 of 20 attempts, 2 at once, in 2 min 30 s: 8.0 a minute
  median         10.5 s an attempt
  same-crash     20
  as expected    20 of 20: 1.0000, 95 % interval 0.8316 to 1.0000
  crashed        20 of 20: 1.0000, 95 % interval 0.8316 to 1.0000
  note           of one kind
as expected: every attempt
",
        );
    }

    #[test]
    fn attempts_against_the_expectation_are_listed_with_their_reason() {
        check(
            &[Verdict::NoCrash, Verdict::Inconclusive, Verdict::SameCrash],
            Ended::AtFirst,
            &[],
            "\
Not as expected
     1  no-crash      why 1
        /runs/1
     2  inconclusive  why 2
        /runs/2

Campaign
  made           3 of 20 attempts, 2 at once, in 2 min 30 s: 1.2 a minute
  ended          at the first one that was waited for
  median         2.0 s an attempt
  same-crash     1
  no-crash       1
  inconclusive   1  counted neither as a crash nor as none
  as expected    1 of 2: 0.5000, no interval: when to stop depended on what was seen
  crashed        1 of 2: 0.5000, no interval: when to stop depended on what was seen
not as expected: an attempt did not crash where a crash was expected, or the reverse
",
        );
    }

    #[test]
    fn a_line_has_number_verdict_time_folder_and_what_was_wrong() {
        let line = attempt(&record(3, Verdict::NoCrash, 7), 100);
        assert_eq!(
            anstream::adapter::strip_str(&line).to_string(),
            "attempt   3 of 100  no-crash         7.0 s  3  why 3\n"
        );
    }
}
