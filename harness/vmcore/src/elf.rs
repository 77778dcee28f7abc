//! ELF64 cores as physical memory: the kernel's /proc/vmcore, QEMU's dump-guest-memory,
//! makedumpfile -E.
//!
//! Only the program headers are used. Layouts: ELF gABI, "ELF Header" and "Program Header".

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::bytes::{u16_le, u32_le, u64_le};
use crate::source::{Fault, Missing, Source};
use crate::{PhysAddr, ReadError, search};

const EHDR_LEN: u64 = 64;
const PHDR_LEN: u64 = 56;
const SHDR_LEN: u64 = 64;
/// Where `e_ident` has room, and what a sparse copy puts there.
const EI_PAD: u64 = 9;
const SPARSE_MARK: &[u8; 7] = b"recrash";
const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
/// `e_phnum` when the number does not fit: it is in `sh_info` of the first section header.
const PN_XNUM: u16 = 0xffff;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Page size on x86-64, in bytes.
const PAGE: u64 = 4096;
/// How often the file system is asked for holes.
const PAGES_BETWEEN_HOLES: u64 = 256;

/// The memory of an ELF core.
#[derive(Debug)]
pub(crate) struct ElfCore {
    /// Pages with bytes in the file, by address, not overlapping.
    backed: Vec<Extent>,
    /// Pages with none (`p_memsz` beyond `p_filesz`), by address, not overlapping.
    unbacked: Vec<Extent>,
    /// What the file does not hold of a segment is zero (System V ABI), not excluded: our own
    /// sparse copies say so in the padding of `e_ident`. makedumpfile -E leaves excluded pages
    /// out in the same way, and copies `e_ident` from what it reads: but it packs notes and pages
    /// without a gap, where a copy of /proc/vmcore has every segment at a page of the file.
    rest_is_zero: bool,
    /// File ranges of the note segments: offset, length.
    pub(crate) notes: Vec<(u64, u64)>,
    /// End of the last segment in the file.
    pub(crate) file_end: u64,
    /// Physical minus virtual address of the kernel image, if a segment maps it.
    pub(crate) phys_base: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    start: u64,
    /// One past the last byte.
    end: u64,
    /// Where `start` is in the file.
    offset: u64,
}

impl Extent {
    /// Where its last byte's successor is in the file.
    fn file_end(&self) -> u64 {
        self.offset.saturating_add(self.end - self.start)
    }
}

struct Phdr {
    kind: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
}

/// Where x86-64 kernels map their image (`__START_KERNEL_map`, asm/page_64_types.h).
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The kernel image's window is at most 1 GiB (`KERNEL_IMAGE_SIZE`).
const KERNEL_IMAGE_SIZE: u64 = 1 << 30;

impl ElfCore {
    pub(crate) fn parse(source: &Source) -> Result<Self, Fault> {
        let (phoff, phnum) = parse_ehdr(source)?;
        let table_len = phnum
            .checked_mul(PHDR_LEN)
            .ok_or_else(|| (phoff, format!("{phnum} program headers are too many")))?;
        let table = source.slice(phoff, table_len).map_err(|missing| {
            (
                missing.offset,
                format!("the file ends within its {phnum} program headers"),
            )
        })?;
        let phdrs = table.chunks_exact(PHDR_LEN as usize).filter_map(parse_phdr);
        let mut core = Self {
            backed: Vec::new(),
            unbacked: Vec::new(),
            rest_is_zero: source
                .slice(EI_PAD, 7)
                .is_ok_and(|pad| *pad == *SPARSE_MARK),
            notes: Vec::new(),
            file_end: 0,
            phys_base: None,
        };
        for phdr in phdrs {
            let is_aligned = phdr.offset != 0 && phdr.offset.is_multiple_of(PAGE);
            core.rest_is_zero &= phdr.kind != PT_LOAD || is_aligned;
            core.add(&phdr, phoff)?;
        }
        if core.backed.is_empty() && core.unbacked.is_empty() {
            return Err((phoff, "no PT_LOAD segment, so no memory".to_owned()));
        }
        core.backed = without_overlap(core.backed);
        core.unbacked = without_overlap(core.unbacked);
        Ok(core)
    }

    fn add(&mut self, phdr: &Phdr, phoff: u64) -> Result<(), Fault> {
        let too_far = || (phoff, "a segment lies beyond 64 bits".to_owned());
        match phdr.kind {
            PT_NOTE => self.notes.push((phdr.offset, phdr.filesz)),
            // QEMU gives offset -1 to memory that is no RAM; /proc/kcore gives p_paddr -1.
            PT_LOAD if phdr.offset != u64::MAX && phdr.paddr != u64::MAX => {
                let filesz = phdr.filesz.min(phdr.memsz);
                let file_end = phdr.offset.checked_add(filesz).ok_or_else(too_far)?;
                let mem_end = phdr.paddr.checked_add(phdr.memsz).ok_or_else(too_far)?;
                // Cannot overflow: filesz is at most memsz.
                let middle = phdr.paddr.saturating_add(filesz);
                self.file_end = self.file_end.max(file_end);
                let backed = Extent {
                    start: phdr.paddr,
                    end: middle,
                    offset: phdr.offset,
                };
                let unbacked = Extent {
                    start: middle,
                    end: mem_end,
                    offset: file_end,
                };
                self.backed
                    .extend((backed.start < backed.end).then_some(backed));
                self.unbacked
                    .extend((unbacked.start < unbacked.end).then_some(unbacked));
                let in_image = phdr.vaddr.wrapping_sub(START_KERNEL_MAP) < KERNEL_IMAGE_SIZE;
                if in_image && self.phys_base.is_none() {
                    let image_offset = phdr.vaddr.wrapping_sub(START_KERNEL_MAP);
                    self.phys_base = Some(phdr.paddr.wrapping_sub(image_offset));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The first stretch of memory at or after `at` with bytes in the file, or known to be zero.
    pub(crate) fn next_present(&self, source: &Source, at: PhysAddr) -> Option<Range<u64>> {
        let zero = if self.rest_is_zero {
            self.unbacked.as_slice()
        } else {
            &[]
        };
        let backed = first_from(&self.backed, at.0, |e| {
            let there = source.len().saturating_sub(e.offset);
            e.start..e.end.min(e.start.saturating_add(there))
        });
        let zero = first_from(zero, at.0, |e| e.start..e.end);
        match (backed, zero) {
            (Some(a), Some(b)) => Some(if b.start < a.start { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// As [`crate::part::Part::pages_that_may_begin_with`]. What the file system keeps no blocks
    /// for is passed over unread.
    pub(crate) fn pages_that_may_begin_with(
        &self,
        source: &Source,
        needle: &[u8],
        visit: &mut dyn FnMut(PhysAddr) -> bool,
    ) -> bool {
        // Segments that overlap in the file could name its pages over and over.
        let mut budget = source.file_len() / PAGE * 2 + 16;
        for extent in &self.backed {
            // A segment in the last page of 64 bits has no page of its own.
            let first = extent.start.checked_next_multiple_of(PAGE);
            let mut at = first.unwrap_or(u64::MAX);
            while at < extent.end {
                let offset = extent.offset.saturating_add(at - extent.start);
                if (at / PAGE).is_multiple_of(PAGES_BETWEEN_HOLES) {
                    let data = source.next_data(offset);
                    let skip = data.map_or(u64::MAX, |data| data.saturating_sub(offset));
                    if skip >= PAGE {
                        at = at.saturating_add(skip / PAGE * PAGE);
                        continue;
                    }
                }
                let Some(left) = budget.checked_sub(1) else {
                    return true;
                };
                budget = left;
                let mut head = [0; search::NOTE_HEADER + search::NEEDLE.len()];
                let there = source.read(offset, &mut head).is_ok();
                let (note, text) = head.split_at(search::NOTE_HEADER);
                let found = note.starts_with(needle) || text == needle;
                if there && found && !visit(PhysAddr(at)) {
                    return false;
                }
                at = at.saturating_add(PAGE);
            }
        }
        true
    }

    /// Fills `buf`; pieces of it may lie in different segments.
    pub(crate) fn read(
        &self,
        source: &Source,
        mut at: PhysAddr,
        mut buf: &mut [u8],
    ) -> Result<(), ReadError> {
        while !buf.is_empty() {
            let Some((extent, skip)) = find(&self.backed, at.0) else {
                let Some((extent, _)) = find(&self.unbacked, at.0) else {
                    return Err(ReadError::NotInDump(at));
                };
                if !self.rest_is_zero {
                    return Err(ReadError::Excluded(at));
                }
                // No further than the next bytes in the file.
                let next = self.backed.partition_point(|e| e.start <= at.0);
                let limit = self.backed.get(next).map_or(u64::MAX, |e| e.start);
                let end = extent.end.min(limit);
                let room = end.saturating_sub(at.0).min(buf.len() as u64);
                let (now, rest) = buf.split_at_mut(room as usize);
                now.fill(0);
                at = PhysAddr(at.0.saturating_add(room));
                buf = rest;
                continue;
            };
            let room = extent.end.saturating_sub(at.0).min(buf.len() as u64);
            let (now, rest) = buf.split_at_mut(room as usize);
            let offset = extent.offset.saturating_add(skip);
            source
                .read(offset, now)
                .map_err(|Missing { offset: end }| ReadError::Truncated {
                    at: PhysAddr(at.0.saturating_add(end.saturating_sub(offset))),
                    offset: end,
                })?;
            at = PhysAddr(at.0.saturating_add(room));
            buf = rest;
        }
        Ok(())
    }
}

fn parse_ehdr(source: &Source) -> Result<(u64, u64), Fault> {
    let short = || {
        (
            source.len(),
            "the file ends within its ELF header".to_owned(),
        )
    };
    let header = source.slice(0, EHDR_LEN).map_err(|_| short())?;
    let field = |ok: bool, at: u64, what: &str| {
        if ok {
            Ok(())
        } else {
            Err((at, what.to_owned()))
        }
    };
    field(
        header.get(4) == Some(&2),
        4,
        "a 32-bit ELF file, expected 64-bit",
    )?;
    field(
        header.get(5) == Some(&1),
        5,
        "a big-endian ELF file, expected little-endian",
    )?;
    let kind = u16_le(&header, 16).ok_or_else(short)?;
    if kind != ET_CORE {
        return Err((16, format!("ELF type {kind}, expected {ET_CORE} (core)")));
    }
    let machine = u16_le(&header, 18).ok_or_else(short)?;
    if machine != EM_X86_64 {
        return Err((
            18,
            format!("ELF machine {machine}, expected {EM_X86_64} (x86-64)"),
        ));
    }
    let phoff = u64_le(&header, 32).ok_or_else(short)?;
    let shoff = u64_le(&header, 40).ok_or_else(short)?;
    let phentsize = u16_le(&header, 54).ok_or_else(short)?;
    let phnum = u16_le(&header, 56).ok_or_else(short)?;
    if u64::from(phentsize) != PHDR_LEN {
        return Err((
            54,
            format!("program headers of {phentsize} bytes, expected {PHDR_LEN}"),
        ));
    }
    if phnum != PN_XNUM {
        return Ok((phoff, u64::from(phnum)));
    }
    let section = source.slice(shoff, SHDR_LEN).map_err(|m| {
        (
            m.offset,
            "the file ends within its first section header".to_owned(),
        )
    })?;
    let count = u32_le(&section, 44).ok_or_else(short)?;
    Ok((phoff, u64::from(count)))
}

fn parse_phdr(bytes: &[u8]) -> Option<Phdr> {
    Some(Phdr {
        kind: u32_le(bytes, 0)?,
        offset: u64_le(bytes, 8)?,
        vaddr: u64_le(bytes, 16)?,
        paddr: u64_le(bytes, 24)?,
        filesz: u64_le(bytes, 32)?,
        memsz: u64_le(bytes, 40)?,
    })
}

/// Sorts by address; where several overlap, the one that comes first in the file gives the bytes:
/// the kernel puts its own image there, before all memory, and a file cut short keeps it.
fn without_overlap(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_by_key(|e| e.start);
    let mut waiting = extents.into_iter().peekable();
    // Those that have begun, by their place in the file.
    let mut open = BinaryHeap::new();
    let mut out: Vec<Extent> = Vec::new();
    let mut at = 0;
    loop {
        while let Some(begun) = waiting.next_if(|e| e.start <= at) {
            open.push(Reverse((begun.offset, begun.end, begun.start)));
        }
        let next_start = waiting.peek().map(|e| e.start);
        let Some(&Reverse((file_offset, end, start))) = open.peek() else {
            let Some(next) = next_start else { return out };
            at = next;
            continue;
        };
        if end <= at {
            open.pop();
            continue;
        }
        let until = next_start.map_or(end, |next| next.min(end));
        let offset = file_offset.saturating_add(at - start);
        match out
            .last_mut()
            .filter(|e| e.end == at && e.file_end() == offset)
        {
            Some(last) => last.end = until,
            None => out.push(Extent {
                start: at,
                end: until,
                offset,
            }),
        }
        at = until;
    }
}

/// What the first extent at or after `at` has of memory there, by what each one has.
fn first_from(
    extents: &[Extent],
    at: u64,
    has: impl Fn(&Extent) -> Range<u64>,
) -> Option<Range<u64>> {
    let from = extents.partition_point(|e| e.end <= at);
    let mut found = extents.iter().skip(from).map(|extent| {
        let range = has(extent);
        range.start.max(at)..range.end
    });
    found.find(|range| range.start < range.end)
}

/// The extent that holds `at`, and how far into it that is.
fn find(extents: &[Extent], at: u64) -> Option<(&Extent, u64)> {
    let index = extents.partition_point(|e| e.start <= at).checked_sub(1)?;
    let extent = extents.get(index).filter(|e| at < e.end)?;
    Some((extent, at - extent.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_byte_comes_from_the_first_segment_in_the_file_that_has_it(
            parts in prop::collection::vec((0..60_u64, 1..30_u64, 0..1000_u64), 0..12),
        ) {
            let extents: Vec<Extent> = (parts.iter())
                .map(|&(start, len, offset)| Extent { start, end: start + len, offset })
                .collect();
            let sorted = without_overlap(extents.clone());
            prop_assert!(sorted.iter().all(|e| e.start < e.end));
            prop_assert!(sorted.windows(2).all(|w| w[0].end <= w[1].start));
            for at in 0..100 {
                let naive = (extents.iter())
                    .filter(|e| e.start <= at && at < e.end)
                    .min_by_key(|e| (e.offset, e.end, e.start))
                    .map(|e| e.offset + at - e.start);
                let found = find(&sorted, at).map(|(e, skip)| e.offset + skip);
                prop_assert_eq!(found, naive, "at {}", at);
            }
        }
    }
}
