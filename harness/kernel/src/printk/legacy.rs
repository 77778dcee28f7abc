//! Records in `log_buf` before 5.10: `struct printk_log`, text and dictionary one behind the other, from
//! `log_first_idx` to `log_next_idx`, around the buffer's end.
use super::ring::Layout;
use super::{Log, Record};
use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use recrash_vmcore::{VirtAddr, VirtMem};

/// LOG_BUF_LEN_MAX is 2 GiB.
const MAX_BUFFER: u64 = 2 << 30;
/// Bytes of the buffer that are walked.
const MAX_WALK: u64 = 256 << 20;

struct Layouts {
    size: u64,
    ts_nsec: u64,
    len: u64,
    text_len: u64,
    dict_len: u64,
    caller_id: Option<u64>,
}

impl Layouts {
    /// `struct log` up to 3.10.
    fn new(kernel: &Kernel<'_>) -> Result<Self, Missing> {
        let layout = Layout(kernel);
        let of = if layout.size("printk_log").is_ok() {
            "printk_log"
        } else {
            "log"
        };
        let text_len = layout.offset(of, "text_len")?;
        Ok(Self {
            size: layout.size(of)?,
            ts_nsec: layout.offset(of, "ts_nsec")?,
            len: layout.offset(of, "len")?,
            text_len,
            dict_len: layout
                .offset(of, "dict_len")
                .unwrap_or(text_len.wrapping_add(2)),
            caller_id: kernel.field(of, "caller_id").ok().map(|field| field.offset),
        })
    }
}

/// Reads all records.
///
/// # Errors
/// [`Missing`] when there is no such buffer, or its frame can't be read.
pub(super) fn records(kernel: &Kernel<'_>) -> Result<Log, Missing> {
    let symbol = |name: &str| {
        let told = kernel.info().symbol(name);
        told.map_or_else(|| kernel.own_symbol(name), |at| Ok(VirtAddr(at)))
    };
    let number = |name: &str| {
        let at = symbol(name)?;
        kernel
            .memory()
            .u32_at(at)
            .map(u64::from)
            .map_err(missing(name))
    };
    let buffer = kernel
        .memory()
        .u64_at(symbol("log_buf")?)
        .map_err(missing("log_buf"))?;
    let walk = Walk {
        kernel,
        buffer: VirtAddr(buffer),
        length: number("log_buf_len")?,
        layout: Layouts::new(kernel)?,
    };
    if walk.length > MAX_BUFFER {
        return Err(Missing::Implausible(format!(
            "log_buf_len is {}",
            walk.length
        )));
    }
    Ok(walk.all(number("log_first_idx")?, number("log_next_idx")?))
}

struct Walk<'k, 'd> {
    kernel: &'k Kernel<'d>,
    buffer: VirtAddr,
    length: u64,
    layout: Layouts,
}

impl Walk<'_, '_> {
    fn all(&self, first: u64, next: u64) -> Log {
        let mut log = Log {
            records: Vec::new(),
            gaps: Vec::new(),
        };
        let (mut at, mut walked) = (first, 0u64);
        while at != next {
            let size = match self.record(at, &mut log.records) {
                // The rest of the buffer was too short for a record.
                Ok(0) if at != 0 => {
                    at = 0;
                    continue;
                }
                Ok(size) if size >= self.layout.size && at.saturating_add(size) <= self.length => {
                    size
                }
                Ok(size) => {
                    log.gaps.push(Missing::Implausible(format!(
                        "the log record at {at:#x} is {size} bytes long; what follows it is not known"
                    )));
                    break;
                }
                Err(missing) => {
                    log.gaps.push(missing);
                    break;
                }
            };
            (at, walked) = (at.wrapping_add(size), walked.saturating_add(size));
            if walked > self.length.min(MAX_WALK) {
                log.gaps.push(Missing::Implausible(
                    "the log does not come to its end".into(),
                ));
                break;
            }
        }
        log
    }

    /// Adds the record at an index; its size, 0 for the mark that the next one is at the buffer's start.
    fn record(&self, index: u64, records: &mut Vec<Record>) -> Result<u64, Missing> {
        let memory = self.kernel.memory();
        let wrong = || missing("a record of the log");
        let at = self.buffer.wrapping_add(index);
        let short = |offset: u64| memory.u16_at(at.wrapping_add(offset)).map_err(wrong());
        let size = u64::from(short(self.layout.len)?);
        if size == 0 {
            return Ok(0);
        }
        let (text_len, dict_len) = (short(self.layout.text_len)?, short(self.layout.dict_len)?);
        let room = size.saturating_sub(self.layout.size);
        let text_len = u64::from(text_len).min(room);
        let dict_len = u64::from(dict_len).min(room.saturating_sub(text_len));
        let body = at.wrapping_add(self.layout.size);
        let bytes = |at: VirtAddr, length: u64| {
            memory
                .bytes(at, usize::try_from(length).unwrap_or(0))
                .map_err(wrong())
        };
        // facility and level follow the three lengths (kernel/printk/printk.c, `struct printk_log`).
        let after = self.layout.dict_len.wrapping_add(2);
        let caller = self
            .layout
            .caller_id
            .and_then(|offset| memory.u32_at(at.wrapping_add(offset)).ok());
        records.push(Record {
            seq: None,
            ts_nsec: memory
                .u64_at(at.wrapping_add(self.layout.ts_nsec))
                .map_err(wrong())?,
            level: memory
                .u8_at(at.wrapping_add(after.wrapping_add(1)))
                .map_err(wrong())?
                >> 5,
            facility: memory.u8_at(at.wrapping_add(after)).map_err(wrong())?,
            caller: caller.map(super::caller),
            text: bytes(body, text_len)?,
            dict: dict(&bytes(body.wrapping_add(text_len), dict_len)?),
            data_less: false,
        });
        Ok(size)
    }
}

/// `KEY=value` pairs with a NUL between them.
fn dict(bytes: &[u8]) -> Vec<(String, String)> {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|pair| {
            let pair = String::from_utf8_lossy(pair);
            let (key, value) = pair.split_once('=')?;
            Some((key.to_string(), value.to_string()))
        })
        .collect()
}
