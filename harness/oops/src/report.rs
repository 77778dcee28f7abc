//! One report of the kernel's in a log: where it lies, what kind it is, and its titles.
use std::ops::Range;

use crate::window::Start;
use crate::{scope, titles};

/// What kind of report it is: the family of its headline, whatever the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A CPU exception in kernel mode other than a page fault: #GP, #SS, #DE, #UD, #DF, …
    Exception,
    /// A page fault at an address without a mapping, or against its rights.
    PagingRequest,
    /// A page fault in the first page.
    NullDereference,
    /// `BUG()`.
    Bug,
    /// `WARN()`.
    Warning,
    /// A report of KASAN, KMSAN, KCSAN, KFENCE or UBSAN.
    Sanitizer,
    /// A debug check of the allocator, of a list, a reference count, a usercopy.
    Integrity,
    /// lockdep and other lock checks.
    Locking,
    /// Soft or hard lockup, RCU stall, hung task, workqueue lockup.
    Stall,
    /// kmemleak.
    Leak,
    /// `panic()` with nothing above before it.
    Panic,
    /// Anything else that counts as a report.
    Other,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its lines in the log, 0 the first; the end is exclusive.
    pub lines: Range<usize>,
    /// What kind it is.
    pub kind: Kind,
    /// One line in syzkaller's style: `general protection fault in usb_hcd_submit_urb`.
    pub title: String,
    /// Other titles that the same bug is given: by another compiler, configuration or sanitizer.
    pub alternatives: Vec<String>,
    /// The function that the title names, suffixes stripped.
    pub function: Option<String>,
    /// Why title and frames are not to be trusted: cut off, or lines of several CPUs mixed.
    pub corrupted: Option<String>,
}

/// Every report in `log`, the first one first. Reports of different callers may overlap. At most 400 are told apart;
/// what follows belongs to the last one.
#[must_use]
pub fn reports(log: &str) -> Vec<Report> {
    let starts = scope::starts(crate::lines::lines(log));
    let mut at = Start::default();
    starts
        .iter()
        .filter_map(|start| {
            at = at.seek(log, *start);
            report(&at.lines(log, scope::MOST_LINES), *start, &starts)
        })
        .collect()
}

fn report(lines: &[crate::lines::Line<'_>], start: usize, starts: &[usize]) -> Option<Report> {
    let mut scope = scope::scope(lines, start, starts, false);
    let mut titled = titles::titled(&scope.texts)?;
    if titled.frameless {
        let wider = scope::scope(lines, start, starts, true);
        if let Some(more) = titles::titled(&wider.texts).filter(|more| !more.frameless) {
            (scope, titled) = (wider, more);
        }
    }
    Some(Report {
        lines: start..scope.last.saturating_add(1),
        kind: titled.kind,
        title: titled.title,
        alternatives: titled.alternatives,
        function: titled.function,
        corrupted: titled.corrupted,
    })
}
