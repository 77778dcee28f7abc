//! Looks for the kallsyms tables in the memory of the kernel image, page by page, where nothing names them.
//!
//! The tables' shape is known to `debuginfo`; here is only what to read: the image as the kernel's page tables map
//! it, from `_stext` on, and no further than an image reaches.
use crate::object::Missing;
use recrash_debuginfo::kallsyms::{self, FindError};
use recrash_debuginfo::symbols::SymbolTable;
use recrash_vmcore::{AddressSpace, ReadError, VirtAddr, VirtMem, Vmcoreinfo};

const PAGE: u64 = 4096;
/// Where x86-64 kernels map their image (`__START_KERNEL_map`, asm/page_64_types.h).
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// `KERNEL_IMAGE_SIZE` with KASLR; modules begin behind it.
const IMAGE_SIZE_MAX: u64 = 1 << 30;
/// The tables lie in the read-only data, which reaches from the text up to the data: this far back from the data they
/// are looked for first.
const RODATA: u64 = 16 << 20;
/// Searched at a time.
const WINDOW: usize = 4 << 20;
/// More than tokens and their index take; windows overlap by it.
const OVERLAP: usize = 128 << 10;
/// How far from the tokens the other tables are looked for: as far as most kernels need, then as far as any does.
const REACHES: [u64; 2] = [8 << 20, 40 << 20];
/// Places that look like tokens and are followed up; a kernel has one.
const TOKEN_TABLES_MAX: usize = 8;

/// The symbols whose tables are found, the first for which `accept` has no objection.
///
/// # Errors
/// What came nearest to tables, and which part of the image could not be read.
pub(super) fn kallsyms(
    memory: &AddressSpace<'_>,
    info: &Vmcoreinfo,
    accept: impl Fn(&SymbolTable) -> Result<(), Missing>,
) -> Result<SymbolTable, Missing> {
    let mut walk = Walk::new(memory, info)?;
    let mut window = Vec::with_capacity(WINDOW);
    let (mut start, mut seen, mut error) = (walk.at, Vec::new(), None);
    loop {
        let more = walk.fill(&mut window, &mut start);
        for tokens in kallsyms::token_tables(&window) {
            let at = start.wrapping_add(tokens.index as u64);
            if seen.contains(&at) || seen.len() >= TOKEN_TABLES_MAX {
                continue;
            }
            seen.push(at);
            match around(memory, at, walk.limit, &accept) {
                Ok(table) => return Ok(table),
                Err(reason) => error = Some(reason),
            }
        }
        if !more {
            return Err(walk.describe(error));
        }
    }
}

/// Decodes the tables around a token index.
fn around(
    memory: &AddressSpace<'_>,
    at: VirtAddr,
    end: VirtAddr,
    accept: &impl Fn(&SymbolTable) -> Result<(), Missing>,
) -> Result<SymbolTable, Missing> {
    let mut error = None;
    for reach in REACHES {
        let bytes = stretch(memory, at, reach, end);
        let mut objection = None;
        let found = kallsyms::find(&bytes, |table| {
            objection = accept(table).err();
            objection.is_none()
        });
        error = match found {
            Ok(found) => return Ok(found.symbols),
            Err(FindError::Refused { .. }) if objection.is_some() => objection,
            Err(error) => Some(Missing::Implausible(format!("around {at}: {error}"))),
        };
    }
    Err(error.unwrap_or_else(|| Missing::Implausible(format!("nothing around {at}"))))
}

/// The memory around `at` without a gap, at most `reach` bytes to either side.
fn stretch(memory: &AddressSpace<'_>, at: VirtAddr, reach: u64, end: VirtAddr) -> Vec<u8> {
    let page = at.0 / PAGE * PAGE;
    let from = page.saturating_sub(reach).max(START_KERNEL_MAP);
    let to = page.saturating_add(reach).min(end.0);
    let mut out = Vec::new();
    let mut buf = [0; PAGE as usize];
    for next in (from..to).step_by(PAGE as usize) {
        match memory.read(VirtAddr(next), &mut buf) {
            Ok(()) => out.extend_from_slice(&buf),
            Err(_) if next <= page => out.clear(),
            Err(_) => break,
        }
    }
    out
}

/// A walk over the pages of the image.
struct Walk<'a> {
    memory: &'a AddressSpace<'a>,
    at: VirtAddr,
    end: VirtAddr,
    /// What is left for later.
    later: Option<(VirtAddr, VirtAddr)>,
    /// The end of the image, or past it.
    limit: VirtAddr,
    first: VirtAddr,
    pages: u64,
    /// Pages that are mapped and can't be read, and why the first of them can't.
    gaps: u64,
    gap: Option<ReadError>,
}

impl<'a> Walk<'a> {
    fn new(memory: &'a AddressSpace<'a>, info: &Vmcoreinfo) -> Result<Self, Missing> {
        let text = info
            .symbol("_stext")
            .or_else(|| {
                info.kernel_offset()
                    .map(|kaslr| START_KERNEL_MAP.wrapping_add(kaslr))
            })
            .filter(|at| *at >= START_KERNEL_MAP)
            .ok_or_else(|| {
                Missing::Symbol("_stext in VMCOREINFO, where the image begins".into())
            })?;
        let size = info.number("KERNEL_IMAGE_SIZE").map(i64::cast_unsigned);
        let size = size.unwrap_or(IMAGE_SIZE_MAX).min(IMAGE_SIZE_MAX);
        let first = VirtAddr(text / PAGE * PAGE);
        let limit = VirtAddr(START_KERNEL_MAP + size);
        let data = info.symbol("init_uts_ns").unwrap_or(0) / PAGE * PAGE;
        let at = VirtAddr(data.saturating_sub(RODATA)).clamp(first, limit.max(first));
        Ok(Self {
            memory,
            at,
            end: limit,
            later: (at > first).then_some((first, at)),
            limit,
            first,
            pages: 0,
            gaps: 0,
            gap: None,
        })
    }

    /// The next window, which begins at `start` and overlaps the one before if nothing lies between; false for the
    /// last one.
    fn fill(&mut self, window: &mut Vec<u8>, start: &mut VirtAddr) -> bool {
        let keep = window.len().min(OVERLAP);
        let gone = window.len() - keep;
        window.drain(..gone);
        *start = start.wrapping_add(gone as u64);
        let mut buf = [0; PAGE as usize];
        let mut added = false;
        while self.at < self.end {
            match self.memory.read(self.at, &mut buf) {
                Ok(()) => {
                    if *start != VirtAddr(self.at.0.wrapping_sub(window.len() as u64)) {
                        window.clear();
                        *start = self.at;
                    }
                    self.pages += 1;
                    added = true;
                    window.extend_from_slice(&buf);
                    self.at = self.at.wrapping_add(PAGE);
                    if window.len() >= WINDOW {
                        return true;
                    }
                }
                Err(error) => {
                    self.skip(error);
                    // What was read so far is searched before the gap makes it go.
                    if added {
                        return true;
                    }
                }
            }
        }
        match self.later.take() {
            Some((at, end)) => {
                (self.at, self.end) = (at, end);
                true
            }
            None => false,
        }
    }

    fn skip(&mut self, error: ReadError) {
        let unmapped = match &error {
            ReadError::NotPresent { level: "PT", .. } => Some(PAGE),
            ReadError::NotPresent { level: "PD", .. } => Some(2 << 20),
            ReadError::NotPresent { .. } => Some(1 << 30),
            _ => None,
        };
        if unmapped.is_none() {
            self.gaps += 1;
            self.gap.get_or_insert(error);
        }
        let step = unmapped.unwrap_or(PAGE);
        self.at = VirtAddr((self.at.0 / step * step).saturating_add(step));
    }

    fn describe(&self, error: Option<Missing>) -> Missing {
        let found = error.map_or_else(
            || "no kallsyms token table".to_owned(),
            |error| error.to_string(),
        );
        let gaps = match &self.gap {
            Some(gap) => format!(", {} can't be read (the first: {gap})", self.gaps),
            None => String::new(),
        };
        Missing::Implausible(format!(
            "{found} (searched {} pages of the image from {}{gaps})",
            self.pages, self.first
        ))
    }
}
