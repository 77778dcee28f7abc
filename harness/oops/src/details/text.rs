//! The lines of one report as they are read: prefixes stripped, other callers' lines left out, wrapped lines joined.
//!
//! It knows what opens a line of an oops only so far as wrapping needs it.
use super::openings::opens;
use crate::lines::{Caller, Line, line};
use crate::window::Start;
use std::borrow::Cow;
use std::ops::Range;

/// More lines than any report has: a stall with the stacks of hundreds of tasks has a few thousand.
const MOST_LINES: usize = 20_000;
/// printk cuts records at 1024 bytes (`LOG_LINE_MAX`, kernel/printk/printk.c); the rest is for what tools add.
const LONGEST_LINE: usize = 16 * 1024;
/// A log whose lines are all at most this long may have been wrapped by a terminal or a mailer.
const WIDEST_WRAP: usize = 132;
/// Narrower than this nobody wraps.
const NARROWEST_WRAP: usize = 60;

/// One line to be read.
pub(super) struct Text<'a> {
    /// Number in the log; of wrapped lines the first.
    pub(super) number: usize,
    /// What the kernel printed.
    pub(super) text: Cow<'a, str>,
    caller: Option<Caller>,
    prefixed: bool,
    /// Characters of the line as it stands.
    width: usize,
    /// A blank at its end, which only matters to what is joined.
    blank: bool,
}

/// The lines of a report.
#[derive(Default)]
pub(super) struct Texts<'a> {
    /// In order.
    pub(super) lines: Vec<Text<'a>>,
    /// What was left out.
    pub(super) lost: Vec<String>,
}

/// The lines of `range`, of which the first begins at `start`.
pub(super) fn of<'a>(log: &'a str, start: Start, range: &Range<usize>) -> Texts<'a> {
    let mut texts = Texts::default();
    let count = range.end.saturating_sub(range.start);
    for (number, raw) in start.raw(log).take(count) {
        if texts.lines.len() >= MOST_LINES {
            let more = range.end - number;
            texts
                .lost
                .push(format!("only {MOST_LINES} lines are read, {more} are not"));
            break;
        }
        if raw.len() > LONGEST_LINE {
            texts.lost.push(format!(
                "line {number}: {} bytes long, the first {LONGEST_LINE} are read",
                raw.len()
            ));
        }
        texts.lines.push(text(line(number, cut(raw))));
    }
    texts.lines = joined(std::mem::take(&mut texts.lines));
    one_caller(&mut texts);
    texts
}

/// `raw` up to the longest length, at a character's end.
fn cut(raw: &str) -> &str {
    let mut end = raw.len().min(LONGEST_LINE);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw.get(..end).unwrap_or_default()
}

fn text(line: Line<'_>) -> Text<'_> {
    Text {
        number: line.number,
        text: Cow::Borrowed(line.text),
        caller: line.caller,
        prefixed: line.caller.is_some() || line.time.is_some(),
        width: line.raw.chars().count(),
        blank: line.raw.ends_with(' '),
    }
}

/// Leaves the lines of the caller that printed the headline, where callers are printed, and those of [`asked`].
fn one_caller(texts: &mut Texts<'_>) {
    let Some(own) = texts.lines.iter().find_map(|text| text.caller) else {
        return;
    };
    let other = asked(&texts.lines, own);
    if let Some(other) = other {
        let told =
            format!("{own:?} printed the headline, {other:?} the registers and the call trace");
        texts.lost.push(told);
    }
    let keep = |text: &Text<'_>| {
        text.caller
            .is_some_and(|caller| caller == own || Some(caller) == other)
    };
    texts.lines.retain(keep);
}

/// The CPU that prints the context of a stall which another one reports.
///
/// Where `own` prints neither registers nor a call trace, the first caller that does is followed. Where it prints a
/// trace, and is a CPU whose timer found the stall, and asks others by NMI (lib/nmi_backtrace.c), it is the first that
/// answers with kernel registers. A hung task is reported by a thread, and the stacks of all CPUs below it are not its.
fn asked(lines: &[Text<'_>], own: Caller) -> Option<Caller> {
    let kernel = |text: &&Text<'_>| text.text.trim_start().starts_with("RIP: 0010:");
    let trace = |text: &&Text<'_>| text.text.trim_start().starts_with("Call Trace:");
    let is_own = |text: &&Text<'_>| text.caller == Some(own);
    let foreign = |text: &&Text<'_>| !is_own(text);
    if lines.iter().filter(kernel).any(|text| is_own(&text)) {
        return None;
    }
    if !lines.iter().filter(trace).any(|text| is_own(&text)) {
        let context = |text: &&Text<'_>| kernel(text) || trace(text);
        return lines.iter().filter(context).find_map(|text| text.caller);
    }
    let asks = |text: &Text<'_>| is_own(&text) && text.text.contains("Sending NMI from CPU");
    let from = lines.iter().position(asks)?;
    let answers = lines.iter().skip(from).filter(foreign).filter(kernel);
    let cpu = answers.filter_map(|text| text.caller).next();
    cpu.filter(|cpu| matches!((own, cpu), (Caller::Cpu(_), Caller::Cpu(_))))
}

/// Joins lines that were wrapped at a width that no line exceeds.
///
/// A line that was broken in a word is as wide as the widest; one that was broken at a blank could not have taken the
/// next line's first word.
fn joined(lines: Vec<Text<'_>>) -> Vec<Text<'_>> {
    let width = lines
        .iter()
        .map(|text| text.width)
        .max()
        .unwrap_or_default();
    if !(NARROWEST_WRAP..=WIDEST_WRAP).contains(&width) {
        return lines;
    }
    let prefixes = lines.iter().any(|text| text.prefixed);
    let mut done: Vec<Text<'_>> = Vec::with_capacity(lines.len());
    let mut last_width = 0;
    for next in lines {
        let this_width = next.width;
        match done.last_mut() {
            Some(last) if continues(last, last_width, &next, width, prefixes) => {
                let hard = last_width == width || last.blank || next.text.starts_with(' ');
                let space = if hard && !last.blank { "" } else { " " };
                last.text = Cow::Owned(format!("{}{space}{}", last.text, next.text));
                last.blank = next.blank;
            }
            _ => done.push(next),
        }
        last_width = this_width;
    }
    done
}

fn continues(
    last: &Text<'_>,
    last_width: usize,
    next: &Text<'_>,
    width: usize,
    prefixes: bool,
) -> bool {
    let word = next.text.split(' ').next().unwrap_or_default();
    let full = last_width == width || last_width + 1 + word.chars().count() > width;
    let own = next.prefixed || next.text.is_empty() || last.text.len() > LONGEST_LINE;
    full && !own && last.prefixed == prefixes && (prefixes || !opens(&next.text))
}
