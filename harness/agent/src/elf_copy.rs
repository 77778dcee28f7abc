//! Copies `/proc/vmcore` to a stream and leaves out long runs of zero pages.
//!
//! A stream has no holes, so a run of zeros becomes the part of a segment that the file does not hold:
//! `p_filesz < p_memsz` means "the rest is zero" (System V ABI, program header), and readers of vmcores
//! take it so. The source is read twice: once to see which pages are zero, once to copy.
//! Only the 64-bit little-endian form that the kernel writes (fs/proc/vmcore.c) is read.
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;
const EHDR_LEN: usize = 64;
const PHDR_LEN: usize = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Runs shorter than this are copied: a header costs little, a seek in a reader more.
const FIRST_THRESHOLD: u64 = 16;
/// Few enough for `e_phnum` and for readers that search them one by one.
const MAX_SEGMENTS: usize = 8192;
/// The kernel writes one segment for a range of memory.
const MAX_SOURCE_SEGMENTS: usize = 4096;
/// Notes hold registers and VMCOREINFO: kilobytes for a CPU.
const MAX_NOTES: u64 = 64 << 20;
/// x86-64 has 52 bits of physical address; 2^12 segments of this size don't overflow an offset either.
const MAX_SIZE: u64 = 1 << 51;
const CHUNK: usize = 1 << 20;

/// Why a vmcore could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("reading {length} bytes at offset {offset:#x}: {source}")]
    Read {
        offset: u64,
        length: usize,
        source: io::Error,
    },
    #[error("writing: {0}")]
    Write(#[from] io::Error),
    #[error("offset {offset:#x}: {what}")]
    Format { offset: u64, what: &'static str },
}

/// A program header (`Elf64_Phdr` without flags and alignment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
}

/// One bit a page of a segment: all bytes are zero.
struct ZeroPages(Vec<u64>);

impl ZeroPages {
    fn new(pages: u64) -> Self {
        Self(vec![0; usize::try_from(pages.div_ceil(64)).unwrap_or(0)])
    }

    fn slot(page: u64) -> (usize, u64) {
        (
            usize::try_from(page / 64).unwrap_or(usize::MAX),
            1 << (page % 64),
        )
    }

    fn set(&mut self, page: u64) {
        let (word, bit) = Self::slot(page);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn get(&self, page: u64) -> bool {
        let (word, bit) = Self::slot(page);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Copies the ELF core file `source`, which has `size` bytes, to `out`. Memory used: a bit for each page.
pub(crate) fn copy(
    source: &impl FileExt,
    size: u64,
    out: &mut impl Write,
) -> Result<(), CopyError> {
    let mut header = [0; EHDR_LEN];
    read_at(source, 0, &mut header)?;
    let segments = read_segments(source, size, &header)?;
    let zeros = segments
        .iter()
        .map(|segment| {
            if segment.kind == PT_LOAD {
                find_zeros(source, segment)
            } else {
                Ok(ZeroPages(Vec::new()))
            }
        })
        .collect::<Result<Vec<_>, _>>()?;

    let mut threshold = FIRST_THRESHOLD;
    let planned = loop {
        let planned: Vec<Segment> = segments
            .iter()
            .zip(&zeros)
            .flat_map(|(segment, zeros)| plan(segment, threshold, |page| zeros.get(page)))
            .collect();
        // Ends: with a threshold past the largest segment, one stays one.
        if planned.len() <= MAX_SEGMENTS {
            break planned;
        }
        threshold *= 2;
    };
    write_copy(source, &header, &planned, out)
}

/// Cuts a segment after each run of at least `threshold` zero pages; the run becomes the part before the
/// cut that only `p_memsz` counts. Offsets stay those of the source.
fn plan(segment: &Segment, threshold: u64, is_zero: impl Fn(u64) -> bool) -> Vec<Segment> {
    if segment.kind != PT_LOAD {
        return vec![*segment];
    }
    let pages = segment.filesz.div_ceil(PAGE);
    let mut cut = Vec::new();
    // Pages of the segment that is being made: from `start`, holding bytes up to `filled`.
    let (mut start, mut page) = (0, 0);
    while page < pages {
        if !is_zero(page) {
            page += 1;
            continue;
        }
        let run = page;
        while page < pages && is_zero(page) {
            page += 1;
        }
        if page - run >= threshold {
            cut.push(part(segment, start, run, page));
            start = page;
        }
    }
    if start < pages || cut.is_empty() {
        cut.push(part(segment, start, pages, pages));
    }
    // What the source itself left to be zero.
    if let Some(last) = cut.last_mut() {
        last.memsz += segment.memsz.saturating_sub(segment.filesz);
    }
    cut
}

/// The pages `start..end` of a segment, of which the file holds `start..filled`.
fn part(segment: &Segment, start: u64, filled: u64, end: u64) -> Segment {
    let at = |page: u64| (page * PAGE).min(segment.filesz);
    let from = at(start);
    // The kernel writes all ones or zero where it knows no virtual address.
    let vaddr = match segment.vaddr {
        unknown @ (0 | u64::MAX) => unknown,
        known => known.wrapping_add(from),
    };
    Segment {
        offset: segment.offset + from,
        vaddr,
        paddr: segment.paddr.wrapping_add(from),
        filesz: at(filled) - from,
        memsz: at(end) - from,
        ..*segment
    }
}

fn read_at(source: &impl FileExt, offset: u64, buffer: &mut [u8]) -> Result<(), CopyError> {
    let length = buffer.len();
    source
        .read_exact_at(buffer, offset)
        .map_err(|source| CopyError::Read {
            offset,
            length,
            source,
        })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .map_or(0, |b| u64::from_le_bytes(*b))
}

fn read_segments(
    source: &impl FileExt,
    size: u64,
    header: &[u8; EHDR_LEN],
) -> Result<Vec<Segment>, CopyError> {
    let wrong = |offset, what| Err(CopyError::Format { offset, what });
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return wrong(0, "expected a 64-bit little-endian ELF file");
    }
    if size > MAX_SIZE {
        return wrong(0, "the file is larger than any memory");
    }
    if usize::from(u16_at(header, 54)) != PHDR_LEN {
        return wrong(54, "expected program headers of 56 bytes");
    }
    let count = usize::from(u16_at(header, 56));
    if count == 0 || count > MAX_SOURCE_SEGMENTS {
        return wrong(56, "expected from 1 to 4096 program headers");
    }
    let mut table = vec![0; count * PHDR_LEN];
    let table_at = u64_at(header, 32);
    read_at(source, table_at, &mut table)?;
    let mut segments = Vec::new();
    for (row, at) in table
        .chunks_exact(PHDR_LEN)
        .zip((table_at..).step_by(PHDR_LEN))
    {
        let segment = Segment {
            kind: u32_at(row, 0),
            flags: u32_at(row, 4),
            offset: u64_at(row, 8),
            vaddr: u64_at(row, 16),
            paddr: u64_at(row, 24),
            filesz: u64_at(row, 32),
            memsz: u64_at(row, 40),
        };
        if segment
            .offset
            .checked_add(segment.filesz)
            .is_none_or(|end| end > size)
        {
            return wrong(at, "a segment ends behind the end of the file");
        }
        if segment.kind == PT_NOTE && segment.filesz > MAX_NOTES {
            return wrong(at, "notes are larger than 64 MiB");
        }
        if matches!(segment.kind, PT_LOAD | PT_NOTE) {
            segments.push(segment);
        }
    }
    Ok(segments)
}

/// Calls `each` with the bytes of a segment, in chunks of whole pages, and their offset in it.
fn for_chunks(
    source: &impl FileExt,
    segment: &Segment,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < segment.filesz {
        let length = usize::try_from(segment.filesz - done)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        read_at(source, segment.offset + done, chunk)?;
        each(done, chunk)?;
        done += length as u64;
    }
    Ok(())
}

fn find_zeros(source: &impl FileExt, segment: &Segment) -> Result<ZeroPages, CopyError> {
    let mut zeros = ZeroPages::new(segment.filesz.div_ceil(PAGE));
    for_chunks(source, segment, |at, chunk| {
        for (page, bytes) in (at / PAGE..).zip(chunk.chunks(PAGE as usize)) {
            if bytes.iter().all(|&byte| byte == 0) {
                zeros.set(page);
            }
        }
        Ok(())
    })?;
    Ok(zeros)
}

fn write_copy(
    source: &impl FileExt,
    header: &[u8; EHDR_LEN],
    segments: &[Segment],
    out: &mut impl Write,
) -> Result<(), CopyError> {
    let mut head = header.to_vec();
    let count = u16::try_from(segments.len()).map_err(|_| CopyError::Format {
        offset: 56,
        what: "too many segments",
    })?;
    let mut set = |at: usize, bytes: &[u8]| {
        if let Some(field) = head.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    // Padding of e_ident: what is left out here is zero. makedumpfile leaves excluded pages out in
    // the same way, and readers cannot tell otherwise.
    set(9, b"recrash");
    set(32, &(EHDR_LEN as u64).to_le_bytes()); // e_phoff
    set(40, &[0; 8]); // e_shoff: no sections
    set(56, &count.to_le_bytes()); // e_phnum
    set(58, &[0; 6]); // e_shentsize, e_shnum, e_shstrndx
    let mut end = (EHDR_LEN + PHDR_LEN * segments.len()) as u64;
    let mut starts = Vec::new();
    for segment in segments {
        let start = end.next_multiple_of(PAGE);
        starts.push(start);
        for word in [segment.kind, segment.flags] {
            head.extend(word.to_le_bytes());
        }
        for long in [
            start,
            segment.vaddr,
            segment.paddr,
            segment.filesz,
            segment.memsz,
            0,
        ] {
            head.extend(long.to_le_bytes());
        }
        // A segment without bytes takes no room.
        if segment.filesz > 0 {
            end = start + segment.filesz;
        }
    }
    out.write_all(&head)?;
    let mut at = head.len() as u64;
    for (segment, start) in segments
        .iter()
        .zip(starts)
        .filter(|(segment, _)| segment.filesz > 0)
    {
        let padding = usize::try_from(start - at).unwrap_or(0);
        out.write_all(&vec![0; padding])?;
        for_chunks(source, segment, |_, chunk| Ok(out.write_all(chunk)?))?;
        at = start + segment.filesz;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
#[path = "elf_copy_tests.rs"]
mod tests;
