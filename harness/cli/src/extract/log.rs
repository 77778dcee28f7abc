//! What the kernel's own log in a dump reports of the crash: titles, and what kind of report it is. Decides which of
//! several reports is the crash's.
use recrash_kernel::crash::Calm;
use recrash_kernel::{Crash, Kernel, printk};
use recrash_oops::report::{self, Kind, Report};
use recrash_signature::model::{Fact, FaultClass, Source};

/// Most bytes of the log that are looked at, its newest: kernels keep at most 32 MB (`log_buf_len`), and a report has a
/// few kilobytes.
const MAX_BYTES: usize = 4 << 20;

/// The crash's report.
pub(super) struct Told {
    /// Its title.
    pub(super) title: Fact<String>,
    /// Other titles.
    pub(super) alternatives: Vec<String>,
    /// What kind it is, where that says more than vector and address do.
    pub(super) class: Option<FaultClass>,
}

impl Told {
    fn nothing(why: &str) -> Self {
        Self {
            title: Fact::absent(why),
            alternatives: Vec::new(),
            class: None,
        }
    }
}

/// Reads the log for the report of the crash.
pub(super) fn told(kernel: &Kernel<'_>, crash: &Crash) -> Told {
    if let Some(Calm::Running | Calm::Survived) = crash.calm {
        return Told::nothing("the kernel ran on: no report in its log is of a crash");
    }
    let log = match printk::records(kernel) {
        Ok(log) => log,
        Err(missing) => return Told::nothing(&format!("the kernel's log: {missing}")),
    };
    let text = newest(&log.records);
    let reports = report::reports(&text);
    let Some(report) = of_crash(&reports, crash.exception.is_ok()) else {
        return Told::nothing("the kernel's log in the dump has no report of a crash");
    };
    Told {
        title: Fact::known(report.title.clone(), Source::Vmcore),
        alternatives: report.alternatives.clone(),
        class: class(report.kind),
    }
}

/// The newest records as text, a line each, no more than [`MAX_BYTES`].
fn newest(records: &[printk::Record]) -> String {
    let mut room = MAX_BYTES;
    let fits = |record: &&printk::Record| {
        let left = room.checked_sub(record.text.len().saturating_add(1));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut lines: Vec<_> = records.iter().rev().take_while(fits).collect();
    lines.reverse();
    let mut text = String::new();
    for record in lines {
        text.push_str(&String::from_utf8_lossy(&record.text));
        text.push('\n');
    }
    text
}

/// The last report: what came before, the kernel outlived. The panic that an oops ends with is no report of its own.
fn of_crash(reports: &[Report], exception: bool) -> Option<&Report> {
    let last = reports.last()?;
    if exception && last.kind == Kind::Panic {
        let before = reports
            .iter()
            .rev()
            .find(|report| report.kind != Kind::Panic);
        return before.or(Some(last));
    }
    Some(last)
}

/// What the kind of a report says of the class; `None` where the vector and the address tell.
fn class(kind: Kind) -> Option<FaultClass> {
    match kind {
        Kind::Warning => Some(FaultClass::Warning),
        Kind::Sanitizer => Some(FaultClass::Sanitizer),
        Kind::Stall => Some(FaultClass::Stall),
        Kind::Panic => Some(FaultClass::Panic),
        Kind::Exception
        | Kind::PagingRequest
        | Kind::NullDereference
        | Kind::Bug
        | Kind::Integrity
        | Kind::Locking
        | Kind::Leak
        | Kind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: Kind, title: &str) -> Report {
        Report {
            lines: 0..1,
            kind,
            title: title.into(),
            alternatives: Vec::new(),
            function: None,
            corrupted: None,
        }
    }

    fn check(kinds: &[Kind], exception: bool, expected: Option<usize>) {
        let reports: Vec<Report> = (kinds.iter().enumerate())
            .map(|(i, kind)| report(*kind, &i.to_string()))
            .collect();
        let found = of_crash(&reports, exception).map(|r| r.title.clone());
        assert_eq!(found, expected.map(|i| i.to_string()), "{kinds:?}");
    }

    #[test]
    fn the_last_report_is_the_crash_s_and_the_panic_after_an_oops_is_none() {
        check(&[], true, None);
        check(&[Kind::Warning, Kind::PagingRequest], true, Some(1));
        check(&[Kind::PagingRequest, Kind::Panic], true, Some(0));
        check(&[Kind::Panic], true, Some(0));
        check(&[Kind::Warning, Kind::Panic], false, Some(1));
    }

    #[test]
    fn only_the_newest_of_a_long_log_is_looked_at() {
        let record = |text: &str| printk::Record {
            seq: None,
            ts_nsec: 0,
            level: 0,
            facility: 0,
            caller: None,
            text: text.into(),
            dict: Vec::new(),
            data_less: false,
        };
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(newest(&[record(&long), record("a"), record("b")]), "a\nb\n");
    }
}
