//! The log as text: `[    1.234567] message`, further lines of a record indented, as `makedumpfile --dump-dmesg` and
//! `dmesg` show it.
use super::{Log, Record};
use std::fmt::Write;

impl Record {
    /// `[    1.234567] `: seconds and microseconds.
    #[must_use]
    pub fn timestamp(&self) -> String {
        let (seconds, rest) = (self.ts_nsec / 1_000_000_000, self.ts_nsec % 1_000_000_000);
        format!("[{seconds:5}.{:06}] ", rest / 1000)
    }

    /// The message as text: bytes that are neither printable ASCII nor white space as `\xNN`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        for byte in &self.text {
            match byte {
                b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => out.push(char::from(*byte)),
                _ => {
                    let _ = write!(out, "\\x{byte:02x}");
                }
            }
        }
        out
    }

    /// Timestamp and message, the message's further lines indented below its first; without a newline at the end.
    #[must_use]
    pub fn line(&self) -> String {
        let mut out = self.timestamp();
        let indent = format!("\n{:width$}", "", width = out.len());
        out.push_str(&self.message().replace('\n', &indent));
        out
    }
}

impl Log {
    /// The whole log, each record on lines of its own. Records without data are left out, as makedumpfile does.
    #[must_use]
    pub fn dmesg(&self) -> String {
        let mut out = String::new();
        for record in self.records.iter().filter(|record| !record.data_less) {
            out.push_str(&record.line());
            out.push('\n');
        }
        out
    }
}
