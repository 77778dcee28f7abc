//! Contents of the debug sections: cut from the file, decompressed and relocated when first asked for.
//!
//! Compression: `SHF_COMPRESSED` with zlib or zstd (ELF gABI, "Section Compression"), and the older `.zdebug_*`,
//! whose twelve bytes before the zlib stream are `ZLIB` and the size, big-endian. Knows no DWARF.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gimli::SectionId;

use super::elf::{Headers, Section};
use super::{Bytes, DwarfError};
use crate::bytes::{array, cut, u16_at, u32_at, u64_at};

/// `SHF_COMPRESSED`.
const COMPRESSED: u64 = 0x800;
/// `SHT_RELA`.
const RELA: u32 = 4;
const RELA_ROW: usize = 24;
const SYMBOL_ROW: usize = 24;
/// The debug information of a kernel, decompressed, takes some 350 MB. All sections of a file together.
const DECOMPRESSED_MAX: u64 = 640 << 20;
/// The sections that are ever asked for.
const WANTED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

type Loaded = OnceLock<Result<Option<Vec<u8>>, DwarfError>>;

/// A file and what was made of its sections.
pub(super) struct Sections<'a> {
    file: Bytes<'a>,
    pub(super) headers: Headers,
    /// `None` inside: the file's bytes serve as they are.
    loaded: [Loaded; WANTED.len()],
    budget: AtomicU64,
}

impl<'a> Sections<'a> {
    pub(super) fn new(file: Bytes<'a>) -> Result<Self, DwarfError> {
        let headers = Headers::parse((*file).as_ref())?;
        Ok(Self {
            file,
            headers,
            loaded: Default::default(),
            budget: AtomicU64::new(DECOMPRESSED_MAX),
        })
    }

    pub(super) fn file(&self) -> &[u8] {
        (*self.file).as_ref()
    }

    /// Bytes of a section that is not compressed, as they are in the file.
    pub(super) fn plain(&self, name: &str) -> Option<&[u8]> {
        let (_, section) = self.headers.find(name)?;
        section.bytes(self.file())
    }

    /// Whether the file has this debug section.
    pub(super) fn has(&self, id: SectionId) -> bool {
        self.find(id)
            .is_some_and(|(_, s, _)| s.bytes(self.file()).is_some())
    }

    /// Contents of a debug section; empty where the file has none.
    pub(super) fn get(&self, id: SectionId) -> Result<&[u8], DwarfError> {
        let slot = WANTED.iter().position(|wanted| *wanted == id);
        let (Some(slot), Some((number, section, old))) =
            (slot.and_then(|n| self.loaded.get(n)), self.find(id))
        else {
            return Ok(&[]);
        };
        let raw = section.bytes(self.file()).unwrap_or_default();
        match slot.get_or_init(|| self.load(number, section, raw, old)) {
            Ok(Some(own)) => Ok(own),
            Ok(None) => Ok(raw),
            Err(error) => Err(error.clone()),
        }
    }

    fn find(&self, id: SectionId) -> Option<(usize, &Section, bool)> {
        let plain = self.headers.find(id.name()).map(|(n, s)| (n, s, false));
        plain.or_else(|| {
            let old = id.name().replacen(".debug", ".zdebug", 1);
            self.headers.find(&old).map(|(n, s)| (n, s, true))
        })
    }

    fn load(
        &self,
        number: usize,
        section: &Section,
        raw: &[u8],
        old: bool,
    ) -> Result<Option<Vec<u8>>, DwarfError> {
        let unpacked = if section.flags & COMPRESSED != 0 {
            Some(self.unpack_new(section, raw)?)
        } else if old {
            Some(self.unpack_old(section, raw)?)
        } else {
            None
        };
        if !self.headers.relocatable || !self.relocations(number).any(|_| true) {
            return Ok(unpacked);
        }
        let mut own = match unpacked {
            Some(own) => own,
            None => {
                self.take(raw.len() as u64, section)?;
                raw.to_vec()
            }
        };
        for table in self.relocations(number) {
            self.relocate(table, &mut own)?;
        }
        Ok(Some(own))
    }

    /// Takes from what may be decompressed in all.
    fn take(&self, size: u64, section: &Section) -> Result<(), DwarfError> {
        let left = |left: u64| left.checked_sub(size);
        let taken = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(|_| ()).map_err(|_| DwarfError::TooLarge {
            section: section.name.clone(),
            size,
        })
    }

    /// `Elf64_Chdr`: type, reserved, size, alignment.
    fn unpack_new(&self, section: &Section, raw: &[u8]) -> Result<Vec<u8>, DwarfError> {
        let header = u32_at(raw, 0).zip(u64_at(raw, 8)).zip(raw.get(24..));
        let ((kind, size), packed) = header.ok_or_else(|| compressed(section, "no header"))?;
        self.take(size, section)?;
        match kind {
            1 => unzip(section, packed, size),
            2 => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(packed)
                    .map_err(|error| compressed(section, error))?;
                read_exactly(section, decoder, size)
            }
            other => Err(compressed(
                section,
                format_args!("compression {other} is not known"),
            )),
        }
    }

    fn unpack_old(&self, section: &Section, raw: &[u8]) -> Result<Vec<u8>, DwarfError> {
        let size = array(raw, 4).map(u64::from_be_bytes);
        let (Some(size), Some(packed), true) = (size, raw.get(12..), raw.starts_with(b"ZLIB"))
        else {
            return Err(compressed(section, "no ZLIB header"));
        };
        self.take(size, section)?;
        unzip(section, packed, size)
    }

    /// The relocation tables of section `number`.
    fn relocations(&self, number: usize) -> impl Iterator<Item = &Section> {
        let number = u32::try_from(number).ok();
        let sections = self.headers.sections.iter();
        sections.filter(move |s| s.kind == RELA && Some(s.info) == number)
    }

    /// Applies one table. Relocations of symbols that lie in no section leave their place as it is.
    fn relocate(&self, table: &Section, target: &mut [u8]) -> Result<(), DwarfError> {
        let file = self.file();
        let symbols = usize::try_from(table.link).ok();
        let symbols = symbols.and_then(|n| self.headers.sections.get(n)?.bytes(file));
        let symbols = symbols.unwrap_or_default();
        for row in table.bytes(file).unwrap_or_default().chunks_exact(RELA_ROW) {
            let (at, info, addend) = (u64_at(row, 0), u64_at(row, 8), u64_at(row, 16));
            let (Some(at), Some(info), Some(addend)) = (at, info, addend) else {
                continue;
            };
            let Some(symbol) = self.symbol_address(symbols, info >> 32) else {
                continue;
            };
            let kind = info & 0xffff_ffff;
            let value = symbol.wrapping_add(addend).to_le_bytes();
            // R_X86_64_NONE, _64, _32, _32S, DTPOFF32, DTPOFF64 (psABI, table 4.9). The last two are offsets of
            // thread-local variables, which no kernel has.
            let width = match kind {
                0 | 17 | 21 => continue,
                1 => 8,
                10 | 11 => 4,
                kind => {
                    return Err(DwarfError::Relocation {
                        section: table.name.clone(),
                        kind,
                    });
                }
            };
            let place = usize::try_from(at)
                .ok()
                .and_then(|at| target.get_mut(at..at.checked_add(width)?));
            if let (Some(place), Some(value)) = (place, value.get(..width)) {
                place.copy_from_slice(value);
            }
        }
        Ok(())
    }

    fn symbol_address(&self, symbols: &[u8], number: u64) -> Option<u64> {
        let at = usize::try_from(number).ok()?.checked_mul(SYMBOL_ROW)?;
        let row = cut(symbols, at, SYMBOL_ROW)?;
        let section = usize::from(u16_at(row, 6)?);
        let base = match section {
            0 => return None,
            0xfff1 => 0,
            n => self.headers.sections.get(n)?.address,
        };
        Some(base.wrapping_add(u64_at(row, 8)?))
    }
}

impl std::fmt::Debug for Sections<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sections")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

fn compressed(section: &Section, why: impl std::fmt::Display) -> DwarfError {
    DwarfError::Compression {
        section: section.name.clone(),
        why: why.to_string(),
    }
}

fn unzip(section: &Section, packed: &[u8], size: u64) -> Result<Vec<u8>, DwarfError> {
    read_exactly(section, flate2::read::ZlibDecoder::new(packed), size)
}

/// Grows with what comes, so that a header's size alone allocates nothing.
fn read_exactly(section: &Section, from: impl Read, size: u64) -> Result<Vec<u8>, DwarfError> {
    let mut out = Vec::new();
    let read = from.take(size).read_to_end(&mut out);
    read.map_err(|error| compressed(section, error))?;
    if out.len() as u64 != size {
        let why = format_args!("{} bytes came instead of {size}", out.len());
        return Err(compressed(section, why));
    }
    Ok(out)
}
