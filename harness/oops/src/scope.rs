//! Which lines of a log belong to one report: those of the same caller, up to the next report.
//!
//! It decides nothing about what the report says.
use crate::lines::{Caller, Line};
use crate::titles;
use crate::titles::frame;

/// Lines looked through for one report: longer ones are loops of the same.
const MOST_LINES: usize = 3000;
/// Reports of one log: more are floods.
pub(crate) const MOST_REPORTS: usize = 400;
/// Bytes of a line that are looked at; printk's own limit is 1024.
const LONGEST_LINE: usize = 1200;
/// A report is complete after this many lines: what a panic prints below it is the same stack again.
const COMPLETE: usize = 22;

/// What can be compared of the places that two lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Context {
    caller: Option<Caller>,
    stamped: bool,
}

/// The lines of one report.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// Texts, the headline first; addresses that merely lie on the stack are left out.
    pub(crate) texts: Vec<&'a str>,
    /// The last line that belongs to it.
    pub(crate) last: usize,
}

fn context(line: &Line<'_>) -> Context {
    Context {
        caller: line.caller,
        stamped: line.time.is_some(),
    }
}

/// The text as far as it is looked at.
pub(crate) fn text<'a>(line: &Line<'a>) -> &'a str {
    let mut end = LONGEST_LINE.min(line.text.len());
    while !line.text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    line.text.get(..end).unwrap_or_default()
}

/// Indices of lines that begin a report.
pub(crate) fn starts(lines: &[Line<'_>]) -> Vec<usize> {
    let mut open: Vec<Context> = Vec::new();
    let mut starts = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let rules = titles::rules_of(text(line));
        let Some(first) = rules.first() else { continue };
        let context = context(line);
        if first.inner && !open.is_empty() && (line.caller.is_none() || open.contains(&context)) {
            continue;
        }
        if !open.contains(&context) {
            open.push(context);
        }
        starts.push(at);
        if starts.len() >= MOST_REPORTS {
            break;
        }
    }
    starts
}

/// The report that begins at `start`; `starts` are those of all.
pub(crate) fn scope<'a>(lines: &[Line<'a>], start: usize, starts: &[usize]) -> Scope<'a> {
    let mut scope = Scope {
        texts: Vec::new(),
        last: start,
    };
    let Some(headline) = lines.get(start) else {
        return scope;
    };
    let own = context(headline);
    let mut all_cpus = false;
    for (at, line) in lines.iter().enumerate().skip(start).take(MOST_LINES) {
        let theirs = context(line);
        let text = text(line);
        if at > start
            && starts.binary_search(&at).is_ok()
            && (own.caller.is_none() || theirs == own)
        {
            break;
        }
        let other_cpu = all_cpus && matches!(theirs.caller, Some(Caller::Cpu(_)));
        let foreign = theirs != own && !other_cpu;
        if at > start && (foreign || frame::is_unreliable(text)) {
            continue;
        }
        all_cpus |= text.contains("Sending NMI from CPU");
        if scope.texts.len() > COMPLETE && repeats(text) {
            scope.last = at;
            break;
        }
        if !text.contains("Disabling lock debugging due to kernel taint") {
            scope.texts.push(text);
            scope.last = at;
        }
    }
    scope
}

/// The panic after a report, or the complaint of lockdep about printing it.
fn repeats(text: &str) -> bool {
    text.contains("Kernel panic - not syncing")
        || text.contains("WARNING: possible circular locking dependency detected")
}
