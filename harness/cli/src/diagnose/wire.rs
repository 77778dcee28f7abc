//! What the device was asked and answered in a run, with the host's clock, from the run's record. Reads the lines of the
//! device, of the agent and of the harness itself; those of repro-module, which are the ground truth, are passed over.
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::Setup;
use recrash_machine::run::{HostEvent, Record, Said};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::BufRead;

/// Most transfers that are kept.
const MAX_TRANSFERS: usize = 4096;
/// Longest line that is read, in bytes; the longest that a run writes is an answer's, of some two thousand.
const MAX_LINE: u64 = 1 << 20;
/// Most lines that are read.
const MAX_LINES: usize = 1 << 20;

/// One control transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// Which of the device's control transfers with an IN data stage it is, from 1.
    pub(crate) number: u64,
    /// By what the run's record pairs request and answer.
    pub(crate) id: u64,
    /// The setup packet.
    pub(crate) setup: Setup,
    /// When it reached the device, in milliseconds of the run.
    pub(crate) asked_ms: u64,
    /// When the device answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered_ms: Option<u64>,
    /// Whether the guest took it back before.
    pub(crate) cancelled: bool,
    /// The bytes of the answer in hexadecimal; the first 512.
    pub(crate) bytes: String,
}

impl Transfer {
    /// What was asked, for people.
    pub(crate) fn asked(&self) -> String {
        let setup = self.setup;
        if (setup.request_type, setup.request) == (0x80, 6) {
            let kind = match setup.value >> 8 {
                1 => "device",
                2 => "configuration",
                3 => "string",
                15 => "BOS",
                _ => "other",
            };
            return format!(
                "GET_DESCRIPTOR {kind} {}, wLength {}",
                setup.value & 0xff,
                setup.length
            );
        }
        format!(
            "request {:#04x} of type {:#04x}, wValue {:#06x}, wIndex {:#06x}, wLength {}",
            setup.request, setup.request_type, setup.value, setup.index, setup.length
        )
    }
}

/// What was seen from outside of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wire {
    /// Control transfers with an IN data stage, in order.
    pub(crate) transfers: Vec<Transfer>,
    /// When the kernel said that it dies, in milliseconds of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) death_ms: Option<u64>,
    /// Control URBs that came back to the scenario's process without an error.
    pub(crate) reaped: u64,
    /// Why some of it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
}

impl Wire {
    /// Reads `events.jsonl`.
    pub(crate) fn read(events: impl BufRead) -> Self {
        let mut wire = Self::default();
        let mut events = events;
        for _ in 0..MAX_LINES {
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut events, MAX_LINE);
            match limited.read_until(b'\n', &mut line) {
                Ok(0) => return wire,
                Ok(_) => {}
                Err(error) => {
                    wire.missing.push(format!("the run's record: {error}"));
                    return wire;
                }
            }
            // A harness that was killed leaves half a line.
            if let Ok(record) = serde_json::from_slice::<Record>(&line) {
                wire.note(&record);
            }
        }
        wire.missing
            .push(format!("the run's record has more than {MAX_LINES} lines"));
        wire
    }

    fn note(&mut self, record: &Record) {
        match &record.said {
            Said::Device(event) => self.device(record.at_ms, event),
            // A first line that was taken back is followed by the one of the death.
            Said::Host(HostEvent::CrashSeen { .. }) => self.death_ms = Some(record.at_ms),
            Said::Guest(report) => {
                if let GuestEvent::UrbReaped { status: 0, .. } = report.event {
                    self.reaped = self.reaped.saturating_add(1);
                }
            }
            Said::Host(_) | Said::Module(_) | Said::Qmp { .. } | Said::Console(_) => {}
        }
    }

    fn device(&mut self, at_ms: u64, event: &Value) {
        let Some(id) = event.get("id").and_then(Value::as_u64) else {
            return;
        };
        let kind = event.get("event").and_then(Value::as_str);
        if kind == Some("request") {
            let setup = event.get("setup").cloned().unwrap_or_default();
            let Ok(setup) = serde_json::from_value::<Setup>(setup) else {
                return;
            };
            if setup.request_type & 0x80 == 0 || setup.length == 0 {
                return;
            }
            if self.transfers.len() >= MAX_TRANSFERS {
                let why = format!("more than {MAX_TRANSFERS} transfers");
                if !self.missing.contains(&why) {
                    self.missing.push(why);
                }
                return;
            }
            self.transfers.push(Transfer {
                number: self.transfers.len() as u64 + 1,
                id,
                setup,
                asked_ms: at_ms,
                answered_ms: None,
                cancelled: false,
                bytes: String::new(),
            });
            return;
        }
        // Numbers may come again after a reset: the last one is meant.
        let open = self.transfers.iter_mut().rev().find(|one| one.id == id);
        let Some(transfer) = open else { return };
        match kind {
            Some("answer") => {
                transfer.answered_ms = Some(at_ms);
                let bytes = event.get("bytes").and_then(Value::as_str);
                transfer.bytes = hexadecimal(bytes.unwrap_or_default());
            }
            Some("cancelled") => transfer.cancelled = true,
            _ => {}
        }
    }

    /// The transfers whose answer has these bytes (hexadecimal) from byte `start` on, as far as the record of it goes.
    pub(crate) fn carrying<'w>(
        &'w self,
        start: u64,
        bytes: &'w str,
    ) -> impl Iterator<Item = &'w Transfer> {
        let start = usize::try_from(start)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        self.transfers.iter().filter(move |transfer| {
            let rest = transfer.bytes.get(start..).unwrap_or_default();
            let known = rest.len().min(bytes.len());
            // The record keeps 512 bytes of an answer; what is longer goes on unseen.
            let cut = transfer.bytes.len() >= 2 * 512;
            let same = bytes.get(..known) == rest.get(..known);
            known > 0 && same && (known == bytes.len() || cut)
        })
    }
}

/// Only the digits, in lower case.
fn hexadecimal(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_hexdigit)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: &str = r#"{"at_ms":10,"source":"device","data":{"event":"request","id":1,"endpoint":128,"setup":{"request_type":128,"request":6,"value":770,"index":1033,"length":254}}}
{"at_ms":12,"source":"device","data":{"event":"answer","id":1,"setup":{"request_type":128,"request":6,"value":770,"index":1033,"length":254},"status":"success","length":4,"bytes":"38035600","delayed_ms":0}}
{"at_ms":20,"source":"device","data":{"event":"request","id":2,"endpoint":0,"setup":{"request_type":0,"request":9,"value":1,"index":0,"length":0}}}
{"at_ms":30,"source":"module","data":{"event":"freed","in_flight":true}}
{"at_ms":40,"source":"host","data":{"event":"crash-seen","line":"x"}}
{"at_ms":50,"source":"host","data":{"event":"crash-seen","line":"Kernel panic"}}
{"at_ms":60,"source":"guest","data":{"at_ms":1,"event":"urb-reaped","step":0,"status":0,"actual_length":4}}
half a li"#;

    #[test]
    fn transfers_have_their_bytes_and_times() {
        let wire = Wire::read(EVENTS.as_bytes());
        assert_eq!(wire.transfers.len(), 1, "OUT has no bytes of the device");
        let one = &wire.transfers[0];
        assert_eq!(
            (one.number, one.asked_ms, one.answered_ms),
            (1, 10, Some(12))
        );
        assert_eq!(one.bytes, "38035600");
        assert_eq!(one.asked(), "GET_DESCRIPTOR string 2, wLength 254");
        assert_eq!((wire.death_ms, wire.reaped), (Some(50), 1));
        assert_eq!(wire.missing, Vec::<String>::new());
    }

    fn check(start: u64, bytes: &str, expected: usize) {
        let wire = Wire::read(EVENTS.as_bytes());
        assert_eq!(
            wire.carrying(start, bytes).count(),
            expected,
            "{bytes} at {start}"
        );
    }

    #[test]
    fn bytes_are_carried_where_they_stand_in_the_answer() {
        check(0, "38035600", 1);
        check(0, "3803", 1);
        check(1, "0356", 1);
        check(1, "3803", 0);
        check(0, "3803560000", 0);
        check(4, "00", 0);
        check(u64::MAX, "00", 0);
    }

    proptest! {
        #[test]
        fn no_record_makes_the_reader_panic(bytes: Vec<u8>, start: u64) {
            let wire = Wire::read(bytes.as_slice());
            let _ = wire.carrying(start, "3803").count();
        }
    }
}
