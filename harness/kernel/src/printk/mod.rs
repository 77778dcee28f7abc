//! The kernel's log, out of its buffer: records with time, level and caller, as the kernel stored them.
//!
//! Two formats: the lockless ring since 5.10, and records in `log_buf` before. Text is made here, printed elsewhere.
mod legacy;
mod oops;
mod render;
mod ring;
#[cfg(test)]
mod tests;

pub use oops::{Oops, last_oops};

use crate::kernel::Kernel;
use crate::object::Missing;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Sequence number; `None` in `log_buf`, whose records have none of their own.
    pub seq: Option<u64>,
    /// Time of the message, nanoseconds of the log's clock since boot.
    pub ts_nsec: u64,
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// syslog's facility; 0 for the kernel, 1 for what user space wrote to `/dev/kmsg`.
    pub facility: u8,
    /// Who printed: `T` and a thread id, or `C` and a CPU; only with CONFIG_PRINTK_CALLER.
    pub caller: Option<String>,
    /// The message as its bytes, without the newline at its end; may have newlines inside.
    pub text: Vec<u8>,
    /// Key and value pairs, such as `SUBSYSTEM=usb` and `DEVICE=+usb:1-1`.
    pub dict: Vec<(String, String)>,
    /// Whether the message was stored without data: an empty line, or one that no longer fitted.
    pub data_less: bool,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Oldest first.
    pub records: Vec<Record>,
    /// What could not be read: pages that the dump does not have, records cut short.
    pub gaps: Vec<Missing>,
}

/// Reads the log.
///
/// # Errors
/// [`Missing`] when neither kind of buffer was found, or not even its frame could be read. What is missing inside it
/// is in [`Log::gaps`].
pub fn records(kernel: &Kernel<'_>) -> Result<Log, Missing> {
    match ring::records(kernel) {
        Err(Missing::Symbol(_)) => legacy::records(kernel),
        found => found,
    }
}

/// `printk_caller_id()`: a thread's id, or with the highest bit set a CPU.
fn caller(id: u32) -> String {
    match id & 0x8000_0000 {
        0 => format!("T{id}"),
        _ => format!("C{}", id & 0x7fff_ffff),
    }
}
