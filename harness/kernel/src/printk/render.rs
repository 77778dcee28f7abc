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
        self.after(self.timestamp())
    }

    /// As [`Record::line`], with the caller behind the timestamp, as `[      T1] `.
    #[must_use]
    pub fn line_with_caller(&self) -> String {
        let caller = self.caller.as_deref().unwrap_or_default();
        self.after(format!("{}[{caller:>8}] ", self.timestamp()))
    }

    fn after(&self, mut start: String) -> String {
        let indent = format!("\n{:width$}", "", width = start.len());
        start.push_str(&self.message().replace('\n', &indent));
        start
    }
}

impl Log {
    /// The whole log, each record on lines of its own: what makedumpfile's `--dump-dmesg` writes up to 1.7.5. Records
    /// without data are left out, as there.
    #[must_use]
    pub fn dmesg(&self) -> String {
        self.lines(Record::line)
    }

    /// As [`Log::dmesg`] with each record's caller, as makedumpfile writes it since 1.7.6.
    #[must_use]
    pub fn dmesg_with_callers(&self) -> String {
        self.lines(Record::line_with_caller)
    }

    fn lines(&self, line: impl Fn(&Record) -> String) -> String {
        let with_data = self.records.iter().filter(|record| !record.data_less);
        with_data
            .flat_map(|record| [line(record), "\n".into()])
            .collect()
    }
}
