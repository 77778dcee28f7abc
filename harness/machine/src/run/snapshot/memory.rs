//! A run's own copy of a snapshot's memory, in a file that QEMU maps and the harness has open too: once the guest is
//! stopped the file is its memory, and the vmcore is written from it without QEMU copying every page. Knows nothing of
//! what is in the memory.
//!
//! The file's offset is the physical address: QEMU puts guest memory below 4 GiB at 0, in one piece, as long as it is
//! no more than [`MOST_MIB`] (`hw/i386/pc_q35.c` and `pc_piix.c`, 7.2).
use goblin::elf::Elf;
use goblin::elf::header::{EM_X86_64, ET_CORE};
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};
use rustix::fs::{MemfdFlags, SeekFrom as Seek, memfd_create, seek, sendfile};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::capture::{Whole, hex};

/// Largest memory for which offset and physical address are the same, in MiB.
pub(in crate::run) const MOST_MIB: u32 = 2048;
/// Holes that are smaller are written as zeros, so that the segments stay few.
const LEAST_HOLE: u64 = 64 << 10;
/// Page size, in bytes.
const PAGE: u64 = 4096;
/// Most segments: e_phnum has 16 bits, of which the last value means another.
const MOST_SEGMENTS: usize = 0xfff0;
/// Padding of e_ident by which `vmcore` knows that what a segment does not have in the file is zero.
const REST_IS_ZERO: &[u8; 7] = b"recrash";
const HEADER_BYTES: u16 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;

/// The copy.
pub(in crate::run) struct OwnMemory {
    file: File,
    /// QEMU's descriptor, until it is handed over.
    for_qemu: Cell<Option<OwnedFd>>,
    path: PathBuf,
}

impl OwnMemory {
    /// Copies a snapshot's memory file, holes as holes, into one that has no name and lies in the host's memory.
    ///
    /// # Errors
    /// There is no such file, or no room.
    pub(in crate::run) fn copy_of(snapshot: &Path) -> io::Result<Self> {
        let from = File::open(snapshot)?;
        let length = from.metadata()?.len();
        let file = File::from(memfd_create("recrash-guest", MemfdFlags::CLOEXEC)?);
        file.set_len(length)?;
        for extent in extents(&from, length)? {
            seek(&file, Seek::Start(extent.start))?;
            let mut at = extent.start;
            while at < extent.end {
                let count = usize::try_from(extent.end - at).unwrap_or(usize::MAX);
                if sendfile(&file, &from, Some(&mut at), count)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        let for_qemu = OwnedFd::from(file.try_clone()?);
        Ok(Self {
            path: format!("/proc/self/fd/{}", for_qemu.as_raw_fd()).into(),
            for_qemu: Cell::new(Some(for_qemu)),
            file,
        })
    }

    /// Its path in a QEMU that has inherited [`OwnMemory::for_qemu`].
    pub(in crate::run) fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor for QEMU; once.
    pub(in crate::run) fn for_qemu(&self) -> Option<OwnedFd> {
        self.for_qemu.take()
    }

    /// Writes the vmcore of the stopped guest to `out`: the notes that QEMU wrote into `dump`, an ELF core of hardly
    /// any memory, and all of the memory from the file.
    ///
    /// # Errors
    /// `dump` has no notes, or the file system's.
    pub(in crate::run) fn write_vmcore(&self, dump: &[u8], out: &mut File) -> io::Result<Whole> {
        let malformed = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let elf = Elf::parse(dump).map_err(|error| malformed(error.to_string()))?;
        let notes = elf.program_headers.iter().find(|p| p.p_type == PT_NOTE);
        let notes = notes
            .and_then(|p| dump.get(p.file_range()))
            .filter(|notes| !notes.is_empty())
            .ok_or_else(|| malformed("QEMU's dump has no notes".into()))?;
        let length = self.file.metadata()?.len();
        let segments = coalesced(extents(&self.file, length)?);
        if segments.len() > MOST_SEGMENTS {
            return Err(malformed("the memory has too many holes".into()));
        }
        let head = head(notes, &segments, length);
        let mut out = Hashed {
            out,
            hash: Sha256::new(),
            bytes: 0,
        };
        out.write_all(&head)?;
        let mut buffer = vec![0; 1 << 20];
        for segment in &segments {
            let mut at = segment.start;
            while at < segment.end {
                let room = (segment.end - at).min(buffer.len() as u64);
                let room = usize::try_from(room).unwrap_or(0);
                let piece = buffer.get_mut(..room).unwrap_or_default();
                self.file.read_exact_at(piece, at)?;
                out.write_all(piece)?;
                at += room as u64;
            }
        }
        Ok(Whole {
            bytes: out.bytes,
            sha256: hex(&out.hash.finalize()),
        })
    }
}

/// Writes and hashes.
struct Hashed<'a> {
    out: &'a mut File,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// ELF header, program headers and notes, up to the next page: there the first segment's bytes begin. Behind what a
/// segment has in the file it is zero, up to the next one.
fn head(notes: &[u8], segments: &[Range<u64>], length: u64) -> Vec<u8> {
    // A guest that has written nothing at all is one segment of zeros.
    let nothing = 0..0;
    let segments = if segments.is_empty() {
        std::slice::from_ref(&nothing)
    } else {
        segments
    };
    let count = u16::try_from(segments.len() + 1).unwrap_or(u16::MAX);
    let notes_at = u64::from(HEADER_BYTES) + u64::from(PROGRAM_HEADER_BYTES) * u64::from(count);
    let mut offset = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    let mut head = Vec::new();
    // e_ident: 64 bits, little endian, version 1, no ABI.
    head.extend(b"\x7fELF\x02\x01\x01\0\0");
    head.extend(REST_IS_ZERO);
    head.extend(ET_CORE.to_le_bytes());
    head.extend(EM_X86_64.to_le_bytes());
    head.extend(1_u32.to_le_bytes());
    for word in [0, u64::from(HEADER_BYTES), 0] {
        head.extend(word.to_le_bytes());
    }
    head.extend(0_u32.to_le_bytes());
    for half in [HEADER_BYTES, PROGRAM_HEADER_BYTES, count, 0, 0, 0] {
        head.extend(half.to_le_bytes());
    }
    let mut program_header = |kind: u32, words: [u64; 6]| {
        head.extend(kind.to_le_bytes());
        head.extend(0_u32.to_le_bytes());
        head.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    let bytes = notes.len() as u64;
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    program_header(PT_NOTE, [notes_at, 0, 0, bytes, bytes, 0]);
    let ends = segments.iter().skip(1).map(|next| next.start);
    for (segment, end) in segments.iter().zip(ends.chain([length])) {
        let bytes = segment.end - segment.start;
        let memory = end - segment.start;
        program_header(PT_LOAD, [offset, 0, segment.start, bytes, memory, 0]);
        offset += bytes;
    }
    head.extend(notes);
    let padded = head
        .len()
        .next_multiple_of(usize::try_from(PAGE).unwrap_or(1));
    head.resize(padded, 0);
    head
}

/// The parts of a file that are no holes, in whole pages.
fn extents(file: &File, length: u64) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match seek(file, Seek::Data(at)) {
            Ok(start) => start / PAGE * PAGE,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = seek(file, Seek::Hole(start.max(at)))?;
        let end = end.next_multiple_of(PAGE).min(length);
        if end <= at {
            break;
        }
        found.push(start..end);
        at = end;
    }
    Ok(found)
}

/// The same with small holes filled, and a first one that begins at 0.
fn coalesced(extents: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        match out.last_mut() {
            Some(last) if extent.start.saturating_sub(last.end) < LEAST_HOLE => {
                last.end = extent.end;
            }
            None if extent.start > 0 => out.extend([0..PAGE.min(extent.start), extent]),
            _ => out.push(extent),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 4 << 20;

    /// A memory file in which these pages are not zero but hold their number.
    fn memory(pages: &[u64]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LENGTH).unwrap();
        for page in pages {
            let bytes = [u8::try_from(page % 251).unwrap() + 1; 4096];
            file.as_file().write_all_at(&bytes, page * PAGE).unwrap();
        }
        file
    }

    /// An ELF core with these notes and no memory.
    fn dump(notes: &[u8]) -> Vec<u8> {
        head(notes, &[], 0)
    }

    /// What a reader makes of a vmcore: its notes and its memory.
    fn read(vmcore: &[u8]) -> (Vec<u8>, Vec<u8>) {
        assert_eq!(&vmcore[9..16], REST_IS_ZERO);
        let elf = Elf::parse(vmcore).unwrap();
        let mut memory = Vec::new();
        let mut notes = Vec::new();
        for header in &elf.program_headers {
            let bytes = &vmcore[header.file_range()];
            if header.p_type == PT_NOTE {
                notes.extend(bytes);
                continue;
            }
            assert_eq!(header.p_paddr, memory.len() as u64, "without a gap");
            assert_eq!(header.p_offset % PAGE, 0);
            memory.extend(bytes);
            memory.resize(usize::try_from(header.p_paddr + header.p_memsz).unwrap(), 0);
        }
        (notes, memory)
    }

    /// Copies a memory of these pages, has the guest write one more, and reads the vmcore of it.
    fn check(pages: &[u64], written: u64) {
        let snapshot = memory(pages);
        let own = OwnMemory::copy_of(snapshot.path()).unwrap();
        let qemu = File::options().write(true).open(own.path()).unwrap();
        qemu.write_all_at(&[0xee; 16], written * PAGE).unwrap();
        let mut out = tempfile::NamedTempFile::new().unwrap();
        let notes = b"CPU0 and VMCOREINFO";
        let whole = own.write_vmcore(&dump(notes), out.as_file_mut()).unwrap();
        let vmcore = std::fs::read(out.path()).unwrap();
        assert_eq!(whole.bytes, vmcore.len() as u64);
        assert_eq!(whole.sha256, hex(&Sha256::digest(&vmcore)));
        let (found, found_memory) = read(&vmcore);
        assert_eq!(found, notes);
        let mut expected = std::fs::read(snapshot.path()).unwrap();
        let at = usize::try_from(written * PAGE).unwrap();
        expected[at..at + 16].fill(0xee);
        assert!(found_memory == expected, "pages {pages:?}, then {written}");
        assert!(vmcore.len() < 1 << 20, "holes are left out");
    }

    #[test]
    fn a_vmcore_has_the_memory_that_the_guest_left_and_the_notes_of_qemu() {
        check(&[0, 1, 7, 500, 1023], 600);
        check(&[3], 3);
        check(&[400, 402, 460], 401);
        check(&[], 1000);
    }

    #[test]
    fn a_snapshot_is_not_touched() {
        let snapshot = memory(&[2]);
        let before = std::fs::read(snapshot.path()).unwrap();
        check(&[2], 2);
        let own = OwnMemory::copy_of(snapshot.path()).unwrap();
        own.file.write_all_at(b"x", 2 * PAGE).unwrap();
        assert!(std::fs::read(snapshot.path()).unwrap() == before);
    }

    #[test]
    fn a_dump_without_notes_gives_no_vmcore() {
        let own = OwnMemory::copy_of(memory(&[1]).path()).unwrap();
        let mut out = tempfile::tempfile().unwrap();
        assert!(own.write_vmcore(&dump(b""), &mut out).is_err());
        assert!(own.write_vmcore(b"not an ELF", &mut out).is_err());
    }
}
