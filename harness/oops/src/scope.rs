//! Which lines of a log belong to one report: those of the same caller, up to the next report.
//!
//! It decides nothing about what the report says.
use crate::lines::{Caller, Line};
use crate::titles;
use crate::titles::frame;

/// Lines looked through for one report: longer ones are loops of the same.
pub(crate) const MOST_LINES: usize = 3000;
/// Reports of one log: more are floods.
pub(crate) const MOST_REPORTS: usize = 400;
/// Bytes of a line that are looked at; printk's own limit is 1024.
const LONGEST_LINE: usize = 1200;
/// A report is complete after this many lines: what a panic prints below it is the same stack again.
const COMPLETE: usize = 22;

/// The last line of an oops or a warning (kernel/panic.c, `print_oops_end_marker`).
const END: &str = "---[ end trace";

/// The first line of the next kernel: the capture kernel of kdump, or a reboot (init/version.c, `linux_banner`).
const BANNER: &str = "Linux version ";

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

/// Numbers of the lines that begin a report.
pub(crate) fn starts<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<usize> {
    let mut open: Vec<Context> = Vec::new();
    let mut starts = Vec::new();
    let mut running = false;
    for line in lines {
        // Logs of 100 MB may be all line ends.
        if line.raw.is_empty() {
            continue;
        }
        let text = text(&line);
        let own = context(&line);
        let earlier = running;
        running |= own.stamped;
        if text.contains(END) {
            open.retain(|other| own.caller.is_some() && *other != own);
        }
        let rules = titles::rules_of(text);
        let Some(first) = rules.first() else { continue };
        // A remnant belongs to whatever came before; a panic or trap only while a report is being printed.
        if first.again && (!earlier || !starts.is_empty()) {
            continue;
        }
        let within = open.contains(&own) || (own.caller.is_none() && !open.is_empty());
        if first.inner && (within || (first.remnant && !starts.is_empty())) {
            continue;
        }
        if !open.contains(&own) {
            open.push(own);
        }
        starts.push(line.number);
        if starts.len() >= MOST_REPORTS {
            break;
        }
    }
    starts
}

/// The report that begins at `start` with the first of `lines`; `starts` are those of all. With `beyond` it does not
/// end where its caller reports something else: printing one report may trip over another bug before the first one's
/// stack is out.
pub(crate) fn scope<'a>(
    lines: &[Line<'a>],
    start: usize,
    starts: &[usize],
    beyond: bool,
) -> Scope<'a> {
    let mut scope = Scope {
        texts: Vec::new(),
        last: start,
    };
    let Some(headline) = lines.first() else {
        return scope;
    };
    let own = context(headline);
    let mut all_cpus = false;
    for (at, line) in (start..).zip(lines).take(MOST_LINES) {
        let theirs = context(line);
        let text = text(line);
        if at > start
            && starts.binary_search(&at).is_ok()
            && (own.caller.is_none() || theirs == own)
            && !(beyond && own.caller.is_some())
        {
            break;
        }
        if at > start && text.starts_with(BANNER) {
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
