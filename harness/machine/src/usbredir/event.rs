//! What the device saw and did, for the run's log. Times are the caller's.
use super::packet::Status;
use recrash_agent::plan::Setup;
use serde::Serialize;

/// Something happened between QEMU and the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum DeviceEvent {
    /// QEMU opened the socket.
    Connected,
    /// The connection of a restored guest goes on, without a hello.
    Resumed {
        /// The configuration that the guest had chosen.
        configuration: u8,
    },
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
