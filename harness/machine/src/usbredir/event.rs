//! What the device saw and did, for the run's log, and the count of requests. Times are the caller's.
use super::packet::Status;
use recrash_agent::plan::Setup;
use serde::Serialize;
use std::collections::BTreeMap;

/// Something happened between QEMU and the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum DeviceEvent {
    /// QEMU opened the socket.
    Connected,
    /// QEMU said hello.
    Hello {
        /// Its version text.
        version: String,
    },
    /// A control transfer was asked for.
    Request {
        /// Pairs it with its answer.
        id: u64,
        /// 0x00 or 0x80.
        endpoint: u8,
        /// The setup packet.
        setup: Setup,
    },
    /// A control transfer was answered.
    Answer {
        /// Pairs it with its request.
        id: u64,
        /// The setup packet again.
        setup: Setup,
        /// How it ended.
        status: Status,
        /// Bytes transferred.
        length: usize,
        /// The first 512 of them (IN only), in hex.
        bytes: String,
        /// Milliseconds between request and answer that a rule asked for.
        delayed_ms: u64,
    },
    /// A control transfer was given up by the guest before it was answered.
    Cancelled {
        /// Pairs it with its request.
        id: u64,
        /// The setup packet again.
        setup: Setup,
    },
    /// The guest chose a configuration.
    Configured {
        /// bConfigurationValue; 0: none.
        configuration: u8,
    },
    /// The guest reset the device.
    Reset,
    /// QEMU does not take the device (its filter, the bus speed, or missing capabilities).
    Rejected,
    /// The connection ended.
    Disconnected {
        /// Why.
        why: String,
    },
    /// QEMU sent what the protocol does not allow, or what we don't know.
    ProtocolError {
        /// What.
        what: String,
    },
}

/// How often a setup packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The setup packet.
    pub setup: Setup,
    /// Times it was asked.
    pub asked: u64,
    /// Times it was answered, whatever the status.
    pub answered: u64,
    /// Times it was cancelled.
    pub cancelled: u64,
}

/// Different setup packets that are counted; a hostile guest could send 2^64.
const MOST: usize = 4096;

/// Counts the requests of all sessions.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<(u8, u8, u16, u16, u16), Seen>);

impl Tally {
    pub(super) fn note(&mut self, event: &DeviceEvent) {
        match event {
            DeviceEvent::Request { setup, .. } => self.count(*setup, |seen| seen.asked += 1),
            DeviceEvent::Answer { setup, .. } => self.count(*setup, |seen| seen.answered += 1),
            DeviceEvent::Cancelled { setup, .. } => self.count(*setup, |seen| seen.cancelled += 1),
            _ => {}
        }
    }

    fn count(&mut self, setup: Setup, add: impl FnOnce(&mut Seen)) {
        let key = (
            setup.request_type,
            setup.request,
            setup.value,
            setup.index,
            setup.length,
        );
        if self.0.len() < MOST || self.0.contains_key(&key) {
            add(self.0.entry(key).or_insert(Seen {
                setup,
                asked: 0,
                answered: 0,
                cancelled: 0,
            }));
        }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.0.values().copied().collect()
    }
}
