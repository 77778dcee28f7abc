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
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Bytes(Vec<u8>);

    impl FileExt for Bytes {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self
                .0
                .get(usize::try_from(offset).unwrap()..)
                .unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            unreachable!("the source is only read")
        }
    }

    const LOAD: Segment = Segment {
        kind: 1,
        flags: 7,
        offset: 0x1000,
        vaddr: 0xffff_8880_0010_0000,
        paddr: 0x10_0000,
        filesz: 0,
        memsz: 0,
    };

    /// Cuts a segment whose pages are `0` (zero) or another letter; gives (file pages, memory pages) of each cut.
    fn check(pages: &str, threshold: u64, expected: &[(u64, u64)]) {
        let size = pages.len() as u64 * PAGE;
        let whole = Segment {
            filesz: size,
            memsz: size,
            ..LOAD
        };
        let cut = plan(&whole, threshold, |page| {
            pages.as_bytes()[page as usize] == b'0'
        });
        let sizes: Vec<_> = cut
            .iter()
            .map(|part| (part.filesz / PAGE, part.memsz / PAGE))
            .collect();
        assert_eq!(sizes, expected, "{pages}");
    }

    #[test]
    fn a_long_run_of_zeros_is_kept_in_the_size_in_memory_alone() {
        check("xx0000xx", 4, &[(2, 6), (2, 2)]);
        check("xx0000", 4, &[(2, 6)]);
    }

    #[test]
    fn a_short_run_is_copied() {
        check("xx000xx", 4, &[(7, 7)]);
    }

    #[test]
    fn zeros_at_the_start_are_a_segment_without_bytes() {
        check("0000xx", 4, &[(0, 4), (2, 2)]);
        check("0000", 4, &[(0, 4)]);
    }

    #[test]
    fn a_segment_without_pages_stays() {
        check("", 4, &[(0, 0)]);
    }

    #[test]
    fn a_broken_last_page_and_what_the_source_left_out_are_counted_to_the_byte() {
        let whole = Segment {
            filesz: 5 * PAGE + 7,
            memsz: 9 * PAGE,
            ..LOAD
        };
        let cut = plan(&whole, 2, |page| page == 1 || page == 2);
        let sizes: Vec<_> = cut.iter().map(|part| (part.filesz, part.memsz)).collect();
        assert_eq!(sizes, [(PAGE, 3 * PAGE), (2 * PAGE + 7, 6 * PAGE)]);
        assert_eq!((cut[1].paddr, cut[1].offset), (0x10_3000, 0x4000));
        assert_eq!(cut[1].vaddr, 0xffff_8880_0010_3000);
    }

    #[test]
    fn an_unknown_virtual_address_stays_unknown() {
        for vaddr in [0, u64::MAX] {
            let whole = Segment {
                vaddr,
                filesz: 6 * PAGE,
                memsz: 6 * PAGE,
                ..LOAD
            };
            assert!(
                plan(&whole, 2, |page| page < 3)
                    .iter()
                    .all(|part| part.vaddr == vaddr)
            );
        }
    }

    /// A core file with notes and these segments of memory, each (physical address, bytes).
    fn core(memory: &[(u64, Vec<u8>)]) -> Bytes {
        let notes = b"notes".to_vec();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[16..18].copy_from_slice(&4u16.to_le_bytes());
        file[18..20].copy_from_slice(&62u16.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&(memory.len() as u16 + 1).to_le_bytes());
        let mut data: Vec<u8> = Vec::new();
        let start = 64 + 56 * (memory.len() as u64 + 1);
        let rows = std::iter::once((4u32, 0, &notes))
            .chain(memory.iter().map(|(paddr, bytes)| (1, *paddr, bytes)));
        for (kind, paddr, bytes) in rows {
            file.extend(kind.to_le_bytes());
            file.extend(7u32.to_le_bytes());
            let length = bytes.len() as u64;
            for field in [start + data.len() as u64, 0, paddr, length, length, 0] {
                file.extend(field.to_le_bytes());
            }
            data.extend(bytes);
        }
        file.extend(data);
        Bytes(file)
    }

    fn copied(source: &Bytes) -> Result<Vec<u8>, CopyError> {
        let mut out = Vec::new();
        copy(source, source.0.len() as u64, &mut out).map(|()| out)
    }

    /// The program headers as an independent reader sees them, and their bytes in memory.
    fn segments(file: &[u8], kind: u32) -> Vec<(u64, Vec<u8>)> {
        let header = goblin::elf64::header::Header::from_bytes(file.first_chunk().unwrap());
        let rows = goblin::elf64::program_header::ProgramHeader::from_bytes(
            &file[header.e_phoff as usize..],
            usize::from(header.e_phnum),
        );
        let of_kind = rows.into_iter().filter(|row| row.p_type == kind);
        of_kind
            .map(|row| {
                let mut bytes = file[row.p_offset as usize..][..row.p_filesz as usize].to_vec();
                bytes.resize(row.p_memsz as usize, 0);
                (row.p_paddr, bytes)
            })
            .collect()
    }

    #[test]
    fn a_copy_holds_the_same_memory_in_fewer_bytes() {
        let mut bytes = vec![0; 64 * 4096];
        bytes[3 * 4096] = 1;
        bytes[40 * 4096 + 9] = 2;
        let source = core(&[(0x1000, bytes.clone()), (0x100_0000, vec![3; 100])]);
        let copy = copied(&source).unwrap();
        assert!(copy.len() < 12 * 4096, "{} bytes", copy.len());
        let parts = segments(&copy, PT_LOAD);
        let mut joined: Vec<u8> = Vec::new();
        for (paddr, part) in &parts[..parts.len() - 1] {
            assert_eq!(*paddr, 0x1000 + joined.len() as u64);
            joined.extend(part);
        }
        assert!(joined == bytes);
        assert_eq!(parts.last().unwrap(), &(0x100_0000, vec![3; 100]));
    }

    #[test]
    fn notes_are_copied() {
        let copy = copied(&core(&[(0, vec![1; 10])])).unwrap();
        assert_eq!(segments(&copy, PT_NOTE), [(0, b"notes".to_vec())]);
    }

    #[test]
    fn a_segment_behind_the_end_of_the_file_is_an_error() {
        let mut source = core(&[(0, vec![1; 10])]);
        source.0.pop();
        assert_eq!(
            copied(&source).unwrap_err().to_string(),
            "offset 0x78: a segment ends behind the end of the file"
        );
    }

    #[test]
    fn what_is_not_elf_is_an_error() {
        assert!(
            copied(&Bytes(vec![0; 4096]))
                .unwrap_err()
                .to_string()
                .contains("ELF")
        );
    }

    proptest! {
        #[test]
        fn cuts_cover_the_segment_and_lose_no_page(zero: Vec<bool>, threshold in 1u64..6) {
            let size = zero.len() as u64 * PAGE;
            let whole = Segment { filesz: size, memsz: size, ..LOAD };
            let cut = plan(&whole, threshold, |page| zero[page as usize]);
            let mut at = 0;
            for part in &cut {
                prop_assert_eq!(part.paddr - LOAD.paddr, at);
                prop_assert_eq!(part.offset - LOAD.offset, at);
                let mut left_out = (at + part.filesz) / PAGE..(at + part.memsz) / PAGE;
                prop_assert!(left_out.all(|page| zero[page as usize]));
                at += part.memsz;
            }
            prop_assert_eq!(at, size);
        }

        #[test]
        fn a_spoilt_source_never_panics(at in 0usize..300, byte: u8, cut in 0usize..400) {
            let mut source = core(&[(0, vec![0; 200]), (0x1000, vec![1; 50])]);
            source.0.truncate(source.0.len() - cut);
            if let Some(spoilt) = source.0.get_mut(at) {
                *spoilt = byte;
            }
            let _ = copied(&source);
        }
    }
}
