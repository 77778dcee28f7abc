//! `log`: the kernel's messages.
use recrash_kernel::printk::{self, Record};
use serde::Serialize;

use super::super::Outcome;
use super::reply::{Reply, clean};
use super::session::Session;
use super::sys;
use crate::failure::Failure;

const NANOSECONDS: u64 = 1_000_000_000;
/// syslog's severities, most urgent first.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug",
];

/// Shows the kernel's log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Calendar time (UTC) instead of seconds since boot
    #[arg(short = 'T', conflicts_with = "no_times")]
    calendar: bool,
    /// No times
    #[arg(short = 't')]
    no_times: bool,
    /// The level before each message
    #[arg(short = 'm')]
    levels: bool,
    /// The dictionaries (SUBSYSTEM=, DEVICE=)
    #[arg(short)]
    dict: bool,
    /// The callers, where the kernel keeps them
    #[arg(short)]
    caller: bool,
    /// This level and more urgent ones: a number from 0 to 7, or emerg, alert, crit, err, warn, notice, info, debug
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<u8>,
}

fn level(text: &str) -> Result<u8, String> {
    let by_name = LEVELS.iter().position(|name| *name == text);
    let number = match by_name {
        Some(index) => u8::try_from(index).ok(),
        None => text.parse().ok().filter(|level| *level < 8),
    };
    number.ok_or_else(|| format!("expected 0 to 7, or one of {}", LEVELS.join(", ")))
}

#[derive(Debug, Serialize)]
struct Messages {
    records: Vec<Message>,
    #[serde(skip)]
    style: Style,
}

#[derive(Debug, Clone, Copy)]
struct Style {
    calendar: bool,
    no_times: bool,
    levels: bool,
    dict: bool,
    caller: bool,
}

#[derive(Debug, Serialize)]
struct Message {
    seq: Option<u64>,
    /// Nanoseconds since boot.
    ts_nsec: u64,
    /// Seconds since 1970, where the wall clock is known.
    date: Option<i64>,
    level: u8,
    facility: u8,
    caller: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    dict: std::collections::BTreeMap<String, String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let log = printk::records(kernel).map_err(|why| session.nothing(format!("log: {why}")))?;
        let mut missing: Vec<String> = log.gaps.iter().map(ToString::to_string).collect();
        // The log's clock begins at boot; what it does not count (suspended time) is not known per record.
        let boot = sys::clock(kernel)
            .map(|(now, uptime)| now.saturating_sub(i64::try_from(uptime).unwrap_or(i64::MAX)));
        if let (true, Err(why)) = (self.calendar, &boot) {
            return Err(Failure::inconclusive(anyhow::anyhow!(
                "calendar time: {why}"
            )));
        }
        let boot = boot.ok();
        let wanted = |record: &&Record| {
            !record.data_less && self.level.is_none_or(|level| record.level <= level)
        };
        let records: Vec<Message> = log
            .records
            .iter()
            .filter(wanted)
            .map(|record| message(record, boot))
            .collect();
        if log.records.is_empty() {
            missing.push("the log has no records".into());
        }
        let style = Style {
            calendar: self.calendar,
            no_times: self.no_times,
            levels: self.levels,
            dict: self.dict,
            caller: self.caller,
        };
        session.show(&Messages { records, style }, &missing)
    }
}

fn message(record: &Record, boot: Option<i64>) -> Message {
    let seconds = i64::try_from(record.ts_nsec / NANOSECONDS).unwrap_or(i64::MAX);
    Message {
        seq: record.seq,
        ts_nsec: record.ts_nsec,
        date: boot.map(|boot| boot.saturating_add(seconds)),
        level: record.level,
        facility: record.facility,
        caller: record.caller.clone(),
        text: record.message(),
        dict: record.dict.iter().cloned().collect(),
    }
}

impl Reply for Messages {
    const KIND: &'static str = "log";

    fn text(&self) -> String {
        self.records
            .iter()
            .map(|message| self.style.lines(message))
            .collect()
    }
}

impl Style {
    fn lines(self, message: &Message) -> String {
        let mut head = String::new();
        if self.calendar {
            let date = message
                .date
                .and_then(sys::date)
                .unwrap_or_else(|| "?".into());
            head.push_str(&format!("[{date}] "));
        } else if !self.no_times {
            let (seconds, rest) = (message.ts_nsec / NANOSECONDS, message.ts_nsec % NANOSECONDS);
            head.push_str(&format!("[{seconds:5}.{:06}] ", rest / 1000));
        }
        if self.caller
            && let Some(caller) = &message.caller
        {
            head.push_str(&format!("[{:>8}] ", clean(caller)));
        }
        if self.levels {
            head.push_str(&format!("<{}>", message.level));
        }
        let indent = format!("\n{}", " ".repeat(head.chars().count()));
        // makedumpfile and crash leave tabs as they are.
        let lines: Vec<String> = message.text.split('\n').map(tidy).collect();
        let mut text = format!("{head}{}\n", lines.join(&indent));
        if self.dict {
            for (key, value) in &message.dict {
                text.push_str(&format!(
                    "{}{key}={}\n",
                    indent.trim_start_matches('\n'),
                    clean(value)
                ));
            }
        }
        text
    }
}

/// As [`clean`], but with tabs.
fn tidy(line: &str) -> String {
    let parts: Vec<String> = line.split('\t').map(clean).collect();
    parts.join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(style: Style, expected: &str) {
        let message = Message {
            seq: Some(1),
            ts_nsec: 1_234_567_890,
            date: Some(1_795_527_155),
            level: 3,
            facility: 0,
            caller: Some("T1".into()),
            text: "one\ttab\ntwo".into(),
            dict: [("DEVICE".to_owned(), "+usb:1-1".to_owned())].into(),
        };
        assert_eq!(style.lines(&message), expected);
    }

    const PLAIN: Style = Style {
        calendar: false,
        no_times: false,
        levels: false,
        dict: false,
        caller: false,
    };

    #[test]
    fn further_lines_are_indented_below_the_first() {
        check(PLAIN, "[    1.234567] one\ttab\n               two\n");
        let bare = Style {
            no_times: true,
            ..PLAIN
        };
        check(bare, "one\ttab\ntwo\n");
    }

    #[test]
    fn options_add_to_the_head() {
        let all = Style {
            levels: true,
            caller: true,
            ..PLAIN
        };
        check(
            all,
            "[    1.234567] [      T1] <3>one\ttab\n                             two\n",
        );
        let calendar = Style {
            calendar: true,
            ..PLAIN
        };
        check(
            calendar,
            "[Tue Nov 24 13:32:35 UTC 2026] one\ttab\n                               two\n",
        );
    }

    #[test]
    fn levels_are_numbers_or_names() {
        assert_eq!(level("err"), Ok(3));
        assert_eq!(level("7"), Ok(7));
        assert!(level("8").is_err());
        assert!(level("loud").is_err());
    }
}
