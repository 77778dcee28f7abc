//! The lockless ring buffer since 5.10 (kernel/printk/printk_ringbuffer.h): descriptors, one `printk_info` each, and a
//! ring of text. Read record by record, so that a page that is missing costs only its own records.
use super::{Log, Record};
use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use recrash_vmcore::{VirtAddr, VirtMem};

/// Upper bits of `state_var`: the state (DESC_FLAGS_SHIFT).
const STATE_SHIFT: u32 = 62;
/// The rest: the descriptor's id.
const ID_MASK: u64 = (1 << STATE_SHIFT) - 1;
const COMMITTED: u64 = 1;
const FINALIZED: u64 = 2;
/// log_buf_len is at most 2 GiB, with 32 bytes for a record on average (LOG_BUF_LEN_MAX, PRB_AVGBITS).
const MAX_COUNT_BITS: u32 = 26;
const MAX_SIZE_BITS: u32 = 31;
/// Records and bytes of text that are kept.
const MAX_RECORDS: u64 = 2 << 20;
const MAX_TEXT: usize = 256 << 20;
/// Reasons that are kept.
const MAX_GAPS: usize = 64;

/// Offsets and sizes, from VMCOREINFO (kernel/printk/printk.c, `log_buf_vmcoreinfo_setup()`), else from the types.
pub(super) struct Layout<'k, 'd>(pub(super) &'k Kernel<'d>);

impl Layout<'_, '_> {
    pub(super) fn offset(&self, of: &str, field: &str) -> Result<u64, Missing> {
        match self.0.info().offset(&format!("{of}.{field}")) {
            Some(offset) => Ok(offset),
            None => Ok(self.0.field(of, field)?.offset),
        }
    }

    pub(super) fn size(&self, of: &str) -> Result<u64, Missing> {
        self.0
            .info()
            .size(of)
            .or_else(|| self.0.own_types().size_of(of))
            .ok_or_else(|| Missing::Type(of.into()))
    }
}

/// The buffer's frame.
struct Ring<'k, 'd> {
    kernel: &'k Kernel<'d>,
    tail: u64,
    head: u64,
    /// A power of two, as is `text_size`.
    count: u64,
    descs: VirtAddr,
    infos: VirtAddr,
    text: VirtAddr,
    text_size: u64,
    desc: DescLayout,
    info: InfoLayout,
}

struct DescLayout {
    size: u64,
    state: u64,
    begin: u64,
    next: u64,
}

struct InfoLayout {
    size: u64,
    seq: u64,
    ts_nsec: u64,
    text_len: u64,
    caller_id: Option<u64>,
    /// Offset and length of subsystem and device.
    dict: Option<[(u64, u64); 2]>,
}

/// Reads all records.
///
/// # Errors
/// [`Missing::Symbol`] where there is no such buffer, another [`Missing`] where its frame can't be read.
pub(super) fn records(kernel: &Kernel<'_>) -> Result<Log, Missing> {
    let prb = kernel
        .info()
        .symbol("prb")
        .map_or_else(|| kernel.own_symbol("prb"), |at| Ok(VirtAddr(at)))?;
    let ring = Ring::open(kernel, prb)?;
    let mut log = Log {
        records: Vec::new(),
        gaps: Vec::new(),
    };
    ring.read(&mut log);
    Ok(log)
}

impl<'k, 'd> Ring<'k, 'd> {
    fn open(kernel: &'k Kernel<'d>, prb: VirtAddr) -> Result<Self, Missing> {
        let layout = Layout(kernel);
        let word = |at: VirtAddr| {
            kernel
                .memory()
                .u64_at(at)
                .map_err(missing("the log's frame"))
        };
        let bits = |at: VirtAddr, most: u32, what: &str| {
            let bits = kernel.memory().u32_at(at).map_err(missing(what))?;
            (bits <= most)
                .then_some(1u64 << bits.min(most))
                .ok_or_else(|| Missing::Implausible(format!("{what} is {bits}")))
        };
        let ring = word(prb)?;
        let ring = VirtAddr(ring);
        let of = |field| layout.offset("printk_ringbuffer", field);
        let descs = ring.wrapping_add(of("desc_ring")?);
        let text = ring.wrapping_add(of("text_data_ring")?);
        let in_descs = |field| Ok(descs.wrapping_add(layout.offset("prb_desc_ring", field)?));
        let in_text = |field| Ok(text.wrapping_add(layout.offset("prb_data_ring", field)?));
        let count = bits(
            in_descs("count_bits")?,
            MAX_COUNT_BITS,
            "prb_desc_ring.count_bits",
        )?;
        let text_size = bits(
            in_text("size_bits")?,
            MAX_SIZE_BITS,
            "prb_data_ring.size_bits",
        )?;
        Ok(Self {
            kernel,
            tail: word(in_descs("tail_id")?)? & ID_MASK,
            head: word(in_descs("head_id")?)? & ID_MASK,
            count,
            descs: VirtAddr(word(in_descs("descs")?)?),
            infos: VirtAddr(word(in_descs("infos")?)?),
            text: VirtAddr(word(in_text("data")?)?),
            text_size,
            desc: DescLayout::new(&layout)?,
            info: InfoLayout::new(&layout)?,
        })
    }

    fn read(&self, log: &mut Log) {
        let waiting = self.head.wrapping_sub(self.tail) & ID_MASK;
        let mut number = waiting.saturating_add(1);
        if number > self.count {
            note(
                log,
                Missing::Implausible(format!(
                    "the log's ends {} and {} lie further apart than its {} descriptors",
                    self.tail, self.head, self.count
                )),
            );
            number = self.count;
        }
        if number > MAX_RECORDS {
            note(
                log,
                Missing::Implausible(format!(
                    "only the last {MAX_RECORDS} of {number} records are read"
                )),
            );
            number = MAX_RECORDS;
        }
        let first = self.head.wrapping_sub(number.saturating_sub(1)) & ID_MASK;
        let mut room = MAX_TEXT;
        let mut unread = None;
        for step in 0..number {
            let id = first.wrapping_add(step) & ID_MASK;
            let desc = self.place(self.descs, id, self.desc.size);
            // A page that is missing is asked for once.
            if unread == Some(desc.0 >> 12) {
                continue;
            }
            match self.record(id, desc, &mut log.gaps) {
                Ok(Some(record)) => {
                    room = room.saturating_sub(record.text.len());
                    log.records.push(record);
                }
                Ok(None) => {}
                Err(missing) => {
                    let readable = self.kernel.memory().u64_at(desc).is_ok();
                    unread = (!readable).then_some(desc.0 >> 12);
                    note(log, missing);
                }
            }
            if room == 0 {
                return note(
                    log,
                    Missing::Implausible(format!("the log has more than {MAX_TEXT} bytes of text")),
                );
            }
        }
    }

    fn place(&self, array: VirtAddr, id: u64, size: u64) -> VirtAddr {
        array.wrapping_add((id & (self.count - 1)).wrapping_mul(size))
    }

    /// `None` for a descriptor that holds no finished record.
    fn record(
        &self,
        id: u64,
        desc: VirtAddr,
        gaps: &mut Vec<Missing>,
    ) -> Result<Option<Record>, Missing> {
        let word = |offset: u64| {
            let at = desc.wrapping_add(offset);
            self.kernel
                .memory()
                .u64_at(at)
                .map_err(missing("a descriptor of the log"))
        };
        let state = word(self.desc.state)?;
        if state & ID_MASK != id || ![COMMITTED, FINALIZED].contains(&(state >> STATE_SHIFT)) {
            return Ok(None);
        }
        let (begin, next) = (word(self.desc.begin)?, word(self.desc.next)?);
        let mut record = self.info(self.place(self.infos, id, self.info.size))?;
        let length = record.1;
        match self.text(id, begin, next, length) {
            Ok(Some(text)) => record.0.text = text,
            Ok(None) => record.0.data_less = true,
            Err(missing) if gaps.len() < MAX_GAPS => {
                gaps.push(missing);
                record.0.data_less = true;
            }
            Err(_) => record.0.data_less = true,
        }
        Ok(Some(record.0))
    }

    /// The text between two positions of the ring; a block that would not fit before the ring's end begins at its
    /// start. `None` for a record without data.
    fn text(
        &self,
        id: u64,
        begin: u64,
        next: u64,
        length: u16,
    ) -> Result<Option<Vec<u8>>, Missing> {
        let mask = self.text_size - 1;
        let (begin, next) = (begin & mask, next & mask);
        if begin == next {
            return Ok(None);
        }
        let owner = |begin: u64| {
            let at = self.text.wrapping_add(begin);
            let word = self.kernel.memory().u64_at(at);
            word.map_err(missing("text of the log"))
        };
        // A block that ends with the ring was put to its start too until kernels learned better (is_blk_wrapped()).
        let (begin, next) = match begin > next {
            true if next == 0 && owner(begin) == Ok(id) => (begin, self.text_size),
            true => (0, next),
            false => (begin, next),
        };
        let found = owner(begin)?;
        if found != id {
            return Err(Missing::Implausible(format!(
                "the text of log record {id} has been overwritten by that of {found}"
            )));
        }
        let room = next.saturating_sub(begin).saturating_sub(8);
        let length = usize::try_from(u64::from(length).min(room)).unwrap_or(0);
        let at = self.text.wrapping_add(begin).wrapping_add(8);
        let text = self.kernel.memory().bytes(at, length);
        text.map(Some).map_err(missing("text of the log"))
    }

    /// The record without its text, and its text's length.
    fn info(&self, at: VirtAddr) -> Result<(Record, u16), Missing> {
        let memory = self.kernel.memory();
        let wrong = || missing("printk_info");
        let layout = &self.info;
        let length_at = at.wrapping_add(layout.text_len);
        let caller = layout
            .caller_id
            .and_then(|offset| memory.u32_at(at.wrapping_add(offset)).ok());
        // facility follows the length, then five bits of flags with the level above them: not in VMCOREINFO, and the
        // same since 5.10.
        let facility = memory.u8_at(length_at.wrapping_add(2)).map_err(wrong())?;
        let level = memory.u8_at(length_at.wrapping_add(3)).map_err(wrong())? >> 5;
        let record = Record {
            seq: Some(
                memory
                    .u64_at(at.wrapping_add(layout.seq))
                    .map_err(wrong())?,
            ),
            ts_nsec: memory
                .u64_at(at.wrapping_add(layout.ts_nsec))
                .map_err(wrong())?,
            level,
            facility,
            caller: caller.map(super::caller),
            text: Vec::new(),
            dict: self.dict(at),
            data_less: false,
        };
        Ok((record, memory.u16_at(length_at).map_err(wrong())?))
    }

    fn dict(&self, info: VirtAddr) -> Vec<(String, String)> {
        let Some(parts) = &self.info.dict else {
            return Vec::new();
        };
        let value = |(offset, length): (u64, u64)| {
            let length = usize::try_from(length).ok()?;
            let text = self
                .kernel
                .memory()
                .cstr(info.wrapping_add(offset), length)
                .ok()?;
            (!text.is_empty()).then_some(text)
        };
        ["SUBSYSTEM", "DEVICE"]
            .into_iter()
            .zip(parts)
            .filter_map(|(key, part)| Some((key.to_string(), value(*part)?)))
            .collect()
    }
}

impl DescLayout {
    fn new(layout: &Layout<'_, '_>) -> Result<Self, Missing> {
        let text = layout.offset("prb_desc", "text_blk_lpos")?;
        Ok(Self {
            size: layout.size("prb_desc")?,
            state: layout.offset("prb_desc", "state_var")?,
            begin: text.wrapping_add(layout.offset("prb_data_blk_lpos", "begin")?),
            next: text.wrapping_add(layout.offset("prb_data_blk_lpos", "next")?),
        })
    }
}

impl InfoLayout {
    fn new(layout: &Layout<'_, '_>) -> Result<Self, Missing> {
        let info = |field| layout.offset("printk_info", field);
        Ok(Self {
            size: layout.size("printk_info")?,
            seq: info("seq")?,
            ts_nsec: info("ts_nsec")?,
            text_len: info("text_len")?,
            caller_id: info("caller_id").ok(),
            dict: Self::dict(layout).ok(),
        })
    }

    /// Lengths of the two arrays are in VMCOREINFO only as `LENGTH(printk_info_subsystem)`; the offsets give them too.
    fn dict(layout: &Layout<'_, '_>) -> Result<[(u64, u64); 2], Missing> {
        let base = layout.offset("printk_info", "dev_info")?;
        let subsystem = layout.offset("dev_printk_info", "subsystem")?;
        let device = layout.offset("dev_printk_info", "device")?;
        let size = layout.size("dev_printk_info")?;
        let at = |offset: u64| base.wrapping_add(offset);
        Ok([
            (at(subsystem), device.saturating_sub(subsystem).min(256)),
            (at(device), size.saturating_sub(device).min(256)),
        ])
    }
}

fn note(log: &mut Log, missing: Missing) {
    if log.gaps.len() < MAX_GAPS && !log.gaps.contains(&missing) {
        log.gaps.push(missing);
    }
}
