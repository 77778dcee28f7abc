//! The record in which the kernel said what it died of.
use super::{Log, Record};

/// What a message begins with that announces the end (kernel/panic.c, arch/x86/kernel/{dumpstack,traps}.c,
/// arch/x86/mm/fault.c, lib/bug.c, kernel/watchdog.c, kernel/hung_task.c).
const BANNERS: [&str; 19] = [
    "BUG: ",
    "Oops: ",
    "general protection fault",
    "stack segment: ",
    "divide error: ",
    "invalid opcode: ",
    "kernel BUG at ",
    "double fault: ",
    "traps: PANIC: ",
    "PANIC: double fault",
    "alignment check: ",
    "int3: ",
    "bounds: ",
    "segment not present: ",
    "control protection fault",
    "NMI watchdog: Watchdog detected ",
    "watchdog: Watchdog detected ",
    "watchdog: BUG: ",
    "Unable to handle kernel",
];
const PANIC: &str = "Kernel panic - not syncing: ";

/// What the log says of the death.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oops {
    /// Index of the record that announced the last oops, and its message's first line.
    pub banner: Option<(usize, String)>,
    /// Index of the record with the panic's message, and that message without `Kernel panic - not syncing: `.
    pub panic: Option<(usize, String)>,
}

/// Finds the last panic, and the last oops before it.
#[must_use]
pub fn last_oops(log: &Log) -> Oops {
    let panic = last(&log.records, |text| text.strip_prefix(PANIC));
    let until = panic
        .as_ref()
        .map_or(log.records.len(), |(index, _)| *index);
    let before = log.records.get(..until).unwrap_or_default();
    let starts = |text: &str| BANNERS.iter().any(|banner| text.starts_with(banner));
    Oops {
        // An oops has several such lines; the first of those that stand together is its own.
        banner: last(before, |text| starts(text).then_some(text))
            .map(|found| first_of_group(before, found, starts)),
        panic,
    }
}

/// Records between two banners of one oops: `BUG: unable to handle …`, `#PF: …` twice, `PGD …`, `Oops: …`.
const GROUP: usize = 5;

fn first_of_group(
    records: &[Record],
    found: (usize, String),
    starts: impl Fn(&str) -> bool,
) -> (usize, String) {
    let (mut index, mut text) = found;
    while let Some(earlier) = (index.saturating_sub(GROUP)..index).find_map(|at| {
        let line = first_line(records.get(at)?);
        starts(&line).then_some((at, line))
    }) {
        (index, text) = earlier;
    }
    (index, text)
}

fn last(records: &[Record], pick: impl Fn(&str) -> Option<&str>) -> Option<(usize, String)> {
    let mut found = records
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, record)| record.facility == 0);
    found.find_map(|(index, record)| Some((index, pick(&first_line(record))?.to_string())))
}

fn first_line(record: &Record) -> String {
    record
        .message()
        .lines()
        .next()
        .unwrap_or_default()
        .to_string()
}
