//! The clocks of a run: the host's, by which it learned of things, and the guest's, by which they happened. A record
//! says both times of its own event, and the way to the host takes some milliseconds: the shortest one puts the clocks
//! side by side. The kernel's log has a third one, which repro-module's lines tie to the second.
use recrash_agent::MODULE_LINE;
use recrash_machine::run::events::{Record, Said};
use recrash_machine::run::folder::CONSOLE;
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::At;
use crate::report::document::crash::Clock;

/// How much of the console's end is looked at, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The module's last lines, by which the log's clock is set.
const NEAR: usize = 4;

/// How a time of the guest becomes one of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Clocks {
    /// Added to a time of the guest's.
    offset: Option<f64>,
    /// Added to a time stamp of the kernel's log to get the guest's time.
    printk: Option<f64>,
    /// The log's lines with their time stamps, in milliseconds.
    stamped: Vec<(f64, String)>,
    /// Why the clocks cannot be put side by side.
    pub(super) unknown: Option<String>,
}

impl Clocks {
    /// From the records of a run and its console.
    pub(super) fn of(records: &[Record], folder: &Path) -> Self {
        let mut clocks = Self {
            offset: offset(records),
            ..Self::default()
        };
        if clocks.offset.is_none() {
            clocks.unknown = Some("the agent in the guest told no time of its own".into());
        }
        match console(folder) {
            Ok(log) => clocks.read_log(&log),
            Err(error) => clocks.unknown = Some(format!("{CONSOLE}: {error}")),
        }
        clocks
    }

    fn read_log(&mut self, log: &str) {
        let mut differences = Vec::new();
        for line in log.lines() {
            let Some((stamp, text)) = stamp(line) else {
                continue;
            };
            let reported = text
                .strip_prefix(MODULE_LINE)
                .and_then(|json| serde_json::from_str::<Value>(json).ok());
            match reported.as_ref().and_then(ktime) {
                Some(ktime) => differences.push(ktime - stamp),
                None => self.stamped.push((stamp, text.trim_end().to_owned())),
            }
        }
        // The stamp is taken behind the module's own look at the clock; long before the end the two clocks still drift.
        let last = differences.into_iter().rev().take(NEAR);
        self.printk = last.max_by(f64::total_cmp);
    }

    /// A time of the guest's own clock, not later than the host learned of it.
    pub(super) fn guest(&self, ms: f64, record: &Record) -> At {
        // The host's time is cut to whole milliseconds.
        let heard = super::ms(record.at_ms) + 1.0;
        match self.offset {
            Some(offset) => At {
                ms: (ms + offset).clamp(0.0, heard),
                clock: Clock::Guest,
            },
            None => self.host(record),
        }
    }

    /// When the host learned of it.
    pub(super) fn host(&self, record: &Record) -> At {
        At {
            ms: super::ms(record.at_ms),
            clock: Clock::Host,
        }
    }

    /// When the kernel wrote this line.
    pub(super) fn line(&self, line: &str, record: &Record) -> At {
        let found = self.stamped.iter().find(|(_, text)| text == line);
        match (found, self.printk, self.offset) {
            (Some((stamp, _)), Some(printk), Some(_)) => self.guest(stamp + printk, record),
            _ => self.host(record),
        }
    }
}

/// The time that repro-module gives, in milliseconds.
pub(super) fn ktime(report: &Value) -> Option<f64> {
    let ns = report.get("ktime_ns")?.as_u64()?;
    #[expect(clippy::cast_precision_loss, reason = "microseconds are enough")]
    Some(ns as f64 / 1e6)
}

/// The host's time minus the guest's, by the report that came fastest. The second boot has a clock of its own.
fn offset(records: &[Record]) -> Option<f64> {
    use recrash_agent::event::GuestEvent;
    let mut least: Option<f64> = None;
    for record in records {
        let Said::Guest(report) = &record.said else {
            continue;
        };
        if matches!(&report.event, GuestEvent::Init { boot, .. } if boot != "first") {
            break;
        }
        let way = super::ms(record.at_ms) - super::ms(report.at_ms);
        least = Some(least.map_or(way, |least| least.min(way)));
    }
    least
}

fn console(folder: &Path) -> std::io::Result<String> {
    let mut file = File::open(folder.join(CONSOLE))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `[   11.031469] text`: milliseconds and the text; with CONFIG_PRINTK_CALLER a second bracket stands before it.
fn stamp(line: &str) -> Option<(f64, &str)> {
    let (stamp, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let seconds: f64 = stamp.trim().parse().ok()?;
    let mut text = rest.trim_start();
    if let Some((caller, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']'))
        && caller.trim_start().starts_with(['T', 'C'])
    {
        text = rest.trim_start();
    }
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_begins_with_its_time() {
        assert_eq!(stamp("[   11.5] a b\r"), Some((11500.0, "a b\r")));
        assert_eq!(stamp("[    1.0][   T12] a"), Some((1000.0, "a")));
        assert_eq!(stamp("[ end trace ]"), None);
        assert_eq!(stamp("a [1.0]"), None);
        assert_eq!(stamp("[inf] a"), None);
    }

    #[test]
    fn the_module_s_lines_tie_the_log_to_the_guest_s_clock() {
        let mut clocks = Clocks::default();
        clocks.read_log(
            "[    9.0] recrash-module: {\"event\":\"fire\",\"ktime_ns\":9004000000}\n\
             [    9.5] recrash-module: {\"event\":\"fired\",\"ktime_ns\":9505500000}\n\
             [   10.0] Oops: 0000\n",
        );
        let difference = clocks.printk.unwrap();
        assert!((difference - 5.5).abs() < 0.001, "{difference}");
        assert_eq!(clocks.stamped.len(), 1);
    }
}
