//! Section headers of an x86-64 ELF file, and where its sections lie in memory.
//!
//! Knows neither DWARF nor compression. A relocatable file (`.ko`) has all its sections at address 0; here each
//! allocated one gets a range of its own, so that an address says which section it is in.

use super::DwarfError;
use crate::bytes::{array, cut, u16_at, u32_at, u64_at};

/// `ET_REL`.
const RELOCATABLE: u16 = 1;
/// `EM_X86_64`.
const X86_64: u16 = 62;
const HEADER: usize = 64;
/// More sections than `-ffunction-sections` gives a kernel module.
const SECTIONS_MAX: usize = 1 << 17;
/// `SHT_NOBITS`: takes no bytes in the file.
const NOBITS: u32 = 8;
/// `SHF_ALLOC`.
const ALLOC: u64 = 2;
/// Where the first section of a relocatable file is put; so that small numbers stay in no section.
const FIRST_ADDRESS: u64 = 0x1000_0000;
/// A section's alignment beyond this is taken for damage.
const ALIGN_MAX: u64 = 1 << 21;

/// A section header, fields as in the ELF-64 object file format.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: Box<str>,
    pub(super) kind: u32,
    pub(super) flags: u64,
    /// As linked; in a relocatable file as laid out here. 0 for sections that are not loaded.
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
    pub(super) info: u32,
    align: u64,
}

/// The headers of a file.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) sections: Vec<Section>,
    /// A `.ko`: its debug sections are yet to be relocated.
    pub(super) relocatable: bool,
}

impl Section {
    /// Its bytes in the file; `None` where the file holds none.
    pub(super) fn bytes<'b>(&self, file: &'b [u8]) -> Option<&'b [u8]> {
        if self.kind == NOBITS {
            return None;
        }
        let (offset, size) = (self.offset.try_into().ok()?, self.size.try_into().ok()?);
        cut(file, offset, size)
    }
}

impl Headers {
    pub(super) fn parse(file: &[u8]) -> Result<Self, DwarfError> {
        let header =
            cut(file, 0, HEADER).ok_or(DwarfError::NotElf("shorter than an ELF header"))?;
        let ident = array::<6>(header, 0).unwrap_or_default();
        if ident != *b"\x7fELF\x02\x01" || u16_at(header, 18) != Some(X86_64) {
            return Err(DwarfError::NotElf("no ELF file for x86-64"));
        }
        let mut sections = read_sections(file, header)
            .ok_or(DwarfError::NotElf("the section headers leave the file"))?;
        let relocatable = u16_at(header, 16) == Some(RELOCATABLE);
        if relocatable {
            lay_out(&mut sections).ok_or(DwarfError::NotElf("the sections have no room"))?;
        }
        Ok(Self {
            sections,
            relocatable,
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<(usize, &Section)> {
        let mut numbered = self.sections.iter().enumerate();
        numbered.find(|(_, s)| &*s.name == name)
    }
}

fn read_sections(file: &[u8], header: &[u8]) -> Option<Vec<Section>> {
    let table = usize::try_from(u64_at(header, 40)?).ok()?;
    let each = usize::from(u16_at(header, 58)?);
    let row = |n: usize| cut(file, table.checked_add(n.checked_mul(each)?)?, each);
    // Counts that do not fit their field stand in the first header.
    let count = match u16_at(header, 60)? {
        0 if table != 0 => usize::try_from(u64_at(row(0)?, 32)?).ok()?,
        count => usize::from(count),
    };
    let names = match u16_at(header, 62)? {
        0xffff => usize::try_from(u32_at(row(0)?, 40)?).ok()?,
        names => usize::from(names),
    };
    if count > SECTIONS_MAX {
        return None;
    }
    let names = section(row(names)?, &[])?.bytes(file).unwrap_or_default();
    (0..count).map(|n| section(row(n)?, names)).collect()
}

fn section(row: &[u8], names: &[u8]) -> Option<Section> {
    let name = usize::try_from(u32_at(row, 0)?).ok()?;
    let name = names.get(name..).unwrap_or_default();
    let end = name.iter().position(|&b| b == 0).unwrap_or(0);
    Some(Section {
        name: String::from_utf8_lossy(name.get(..end)?).into(),
        kind: u32_at(row, 4)?,
        flags: u64_at(row, 8)?,
        address: u64_at(row, 16)?,
        offset: u64_at(row, 24)?,
        size: u64_at(row, 32)?,
        link: u32_at(row, 40)?,
        info: u32_at(row, 44)?,
        align: u64_at(row, 48)?,
    })
}

/// One after the other, a page apart, so that an address one past a section's end is in none.
fn lay_out(sections: &mut [Section]) -> Option<()> {
    let mut next = FIRST_ADDRESS;
    for section in sections {
        if section.flags & ALLOC == 0 {
            section.address = 0;
            continue;
        }
        let align = section.align.clamp(1, ALIGN_MAX);
        section.address = next.checked_next_multiple_of(align)?;
        next = section
            .address
            .checked_add(section.size)?
            .checked_add(4096)?;
    }
    Some(())
}
