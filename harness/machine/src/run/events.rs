//! What a run saw, in order: the records that an observer gets and `events.jsonl` keeps. Decides nothing.
use recrash_agent::event::GuestReport;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::stage::Stage;

/// Most records that `events.jsonl` takes from guest, device, module and QEMU together; what the host says is
/// always kept.
pub const MAX_FOREIGN_RECORDS: u64 = 100_000;

/// One thing seen, with the host's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run's start.
    pub at_ms: u64,
    /// Who said what.
    #[serde(flatten)]
    pub said: Said,
}

/// Who said what: `{"source": "guest", "data": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", content = "data", rename_all = "kebab-case")]
pub enum Said {
    /// The harness itself.
    Host(HostEvent),
    /// The init inside the guest, with the guest's own clock.
    Guest(GuestReport),
    /// The USB device.
    Device(Value),
    /// repro-module, through the console: ground truth that no analysis may read.
    Module(Value),
    /// QEMU, through QMP.
    Qmp {
        /// The event's name.
        event: String,
        /// Its data.
        data: Map<String, Value>,
    },
    /// A line of the guest's console; given to the observer, kept in `console.log` only.
    Console(String),
}

/// What the harness says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum HostEvent {
    /// A stage begins; it ends the one before.
    StageStarted {
        /// The stage.
        stage: Stage,
    },
    /// A stage has ended.
    StageEnded {
        /// The stage.
        stage: Stage,
        /// How long it took.
        took_ms: u64,
    },
    /// The console says that the kernel dies.
    CrashSeen {
        /// The line.
        line: String,
    },
    /// QEMU has stopped the guest, and dumps its memory.
    GuestStopped,
    /// QEMU's dump is whole: QEMU says so, and the pipe has ended.
    QemuDumpVerified {
        /// Bytes.
        bytes: u64,
        /// SHA-256 in hexadecimal.
        sha256: String,
    },
    /// Bytes of the vmcore so far; given to the observer, not kept.
    DumpProgress {
        /// Bytes.
        bytes: u64,
    },
    /// The vmcore is whole: its length and SHA-256 are those of the trailer.
    DumpVerified {
        /// Bytes.
        bytes: u64,
        /// SHA-256 in hexadecimal.
        sha256: String,
    },
    /// QEMU has ended.
    QemuExited {
        /// How.
        how: String,
    },
    /// A line on the events port that is no report.
    UnreadableReport {
        /// The line, shortened.
        line: String,
    },
    /// Records that were left out because the guest said too much.
    RecordsLeftOut {
        /// How many.
        count: u64,
    },
}

/// Looks on while a run goes.
pub trait Observer {
    /// Called on the thread that called [`super::run`], in order.
    fn seen(&mut self, record: &Record);
}

impl<F: FnMut(&Record)> Observer for F {
    fn seen(&mut self, record: &Record) {
        self(record);
    }
}

/// Writes `events.jsonl`.
#[derive(Debug)]
pub struct EventLog {
    file: BufWriter<File>,
    foreign: u64,
}

impl EventLog {
    /// Creates the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create_new(path)?),
            foreign: 0,
        })
    }

    /// Keeps a record, unless it is only for the observer or the guest has said too much.
    ///
    /// # Errors
    /// The file system's, for example a full disk.
    pub fn keep(&mut self, record: &Record) -> io::Result<()> {
        match &record.said {
            Said::Console(_) | Said::Host(HostEvent::DumpProgress { .. }) => return Ok(()),
            Said::Host(_) => {}
            Said::Guest(_) | Said::Device(_) | Said::Module(_) | Said::Qmp { .. } => {
                self.foreign += 1;
                if self.foreign > MAX_FOREIGN_RECORDS {
                    return Ok(());
                }
            }
        }
        serde_json::to_writer(&mut self.file, record)?;
        self.file.write_all(b"\n")
    }

    /// How many records were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.foreign.saturating_sub(MAX_FOREIGN_RECORDS)
    }

    /// Brings everything to the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_agent::event::GuestEvent;

    fn check(records: &[Record]) -> Vec<Record> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut log = EventLog::create(&path).unwrap();
        for record in records {
            log.keep(record).unwrap();
        }
        log.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn record(said: Said) -> Record {
        Record { at_ms: 7, said }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let records = [
            record(Said::Host(HostEvent::StageStarted { stage: Stage::Boot })),
            record(Said::Guest(GuestReport {
                at_ms: 3,
                event: GuestEvent::ScenarioSurvived,
            })),
            record(Said::Module(serde_json::json!({"event": "fired"}))),
        ];
        assert_eq!(check(&records), records);
    }

    #[test]
    fn the_console_is_not_kept_twice() {
        assert_eq!(check(&[record(Said::Console("x".into()))]), []);
    }

    #[test]
    fn a_guest_that_says_too_much_is_cut_but_the_host_is_not() {
        let many = usize::try_from(MAX_FOREIGN_RECORDS).unwrap() + 5;
        let mut records = vec![record(Said::Module(Value::Null)); many];
        let last = record(Said::Host(HostEvent::StageStarted { stage: Stage::Dump }));
        records.push(last.clone());
        let kept = check(&records);
        assert_eq!(kept.len(), many - 5 + 1);
        assert_eq!(kept.last(), Some(&last));
    }
}
