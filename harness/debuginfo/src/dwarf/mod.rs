//! DWARF of a vmlinux, a module or a `.debug` file: source lines, inlined functions, and types.
//!
//! DWARF 4 and 5, parsed by gimli; only the unit that an address lies in is read. Bytes come in, nothing is read
//! from disk here, and whether a file belongs to a dump (its build id) is for the caller to compare.
//!
//! Addresses are those of the file: link addresses of a vmlinux. In a module, whose sections all begin at 0, they
//! are made by [`Dwarf::link_address`] from a section and an offset in it.

mod budget;
mod convert;
mod elf;
mod frames;
mod index;
pub mod kept;
mod lines;
mod sections;
#[cfg(test)]
mod tests;

pub use convert::Conversion;
pub use index::UnitIndex;

use std::sync::OnceLock;

use gimli::{EndianSlice, LittleEndian, SectionId};

use crate::vmlinux::gnu_build_id;
use sections::Sections;

/// The bytes of a file: a slice, or whatever keeps a mapping alive.
pub type Bytes<'a> = Box<dyn AsRef<[u8]> + Send + Sync + 'a>;

type Reader<'r> = EndianSlice<'r, LittleEndian>;

/// Sections that say what function and line an address is of.
const FOR_FRAMES: [SectionId; 9] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// A function at an address, and the line in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// Name in the source. Empty where DWARF has lines but no function, as for assembly.
    pub function: String,
    /// The file, relative to the root of the source where that can be told: `mm/slub.c`. Empty if not known.
    pub file: String,
    /// The file with the folder it was built in, `.` and `..` resolved. Empty if not known.
    pub path: String,
    /// Line, from 1; 0 where the compiler gave none.
    pub line: u32,
    /// Inlined into the frame that follows.
    pub inlined: bool,
}

/// Why DWARF could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DwarfError {
    /// Not a file that could hold it.
    #[error("{0}")]
    NotElf(&'static str),
    /// Stripped.
    #[error("the file has no .debug_info")]
    NoDebugInfo,
    /// A section does not decompress.
    #[error("section {section} does not decompress: {why}")]
    Compression {
        /// Its name.
        section: Box<str>,
        /// The decompressor's words.
        why: String,
    },
    /// A section would take more memory than any kernel's debug information needs.
    #[error(
        "section {section} would take {size} bytes, more than is left of what is decompressed of one file"
    )]
    TooLarge {
        /// Its name.
        section: Box<str>,
        /// Bytes.
        size: u64,
    },
    /// A relocation that debug sections of x86-64 do not have.
    #[error(
        "section {section} has a relocation of type {kind}, which debug information does not use"
    )]
    Relocation {
        /// The relocation section's name.
        section: Box<str>,
        /// `ELF64_R_TYPE`.
        kind: u64,
    },
    /// The DWARF itself is damaged.
    #[error("DWARF: {0}")]
    Malformed(String),
    /// A unit whose types lie in other units: type units, link-time optimisation.
    #[error("DWARF: a unit refers to types of other units, which is not followed")]
    ForeignType,
    /// Damage that would keep a reader busy for ever: reference cycles, lists that many entries share.
    #[error("DWARF: following it takes more steps than a kernel's needs")]
    TooMuch,
}

impl From<gimli::Error> for DwarfError {
    fn from(error: gimli::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The debug information of one file.
pub struct Dwarf<'a> {
    sections: Sections<'a>,
    index: OnceLock<Result<UnitIndex, DwarfError>>,
}

impl std::fmt::Debug for Dwarf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dwarf")
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

impl<'a> Dwarf<'a> {
    /// Reads the section headers of `file`; nothing else is touched yet.
    ///
    /// # Errors
    /// [`DwarfError::NotElf`]; [`DwarfError::NoDebugInfo`] for a file without DWARF.
    pub fn parse(file: impl AsRef<[u8]> + Send + Sync + 'a) -> Result<Self, DwarfError> {
        let sections = Sections::new(Box::new(file))?;
        if !sections.has(SectionId::DebugInfo) {
            return Err(DwarfError::NoDebugInfo);
        }
        Ok(Self {
            sections,
            index: OnceLock::new(),
        })
    }

    /// The file's bytes.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        self.sections.file()
    }

    /// The file's GNU build id.
    #[must_use]
    pub fn build_id(&self) -> Option<&[u8]> {
        let names = [".notes", ".note.gnu.build-id"];
        let mut notes = names.iter().filter_map(|name| self.sections.plain(name));
        notes.find_map(gnu_build_id)
    }

    /// A relocatable file, as modules are.
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        self.sections.headers.relocatable
    }

    /// The address in this file of a byte in one of its sections.
    #[must_use]
    pub fn link_address(&self, section: &str, offset: u64) -> Option<u64> {
        let (_, section) = self.sections.headers.find(section)?;
        (offset < section.size).then(|| section.address.checked_add(offset))?
    }

    /// The functions at an address, innermost inlined one first, the one that was not inlined last. Empty where
    /// the debug information knows nothing of the address.
    ///
    /// # Errors
    /// [`DwarfError`] where the unit cannot be read.
    pub fn frames_at(&self, address: u64) -> Result<Vec<SourceFrame>, DwarfError> {
        let Some(unit) = self.index()?.unit_of(address) else {
            return Ok(Vec::new());
        };
        frames::at(&self.gimli(&FOR_FRAMES)?, unit, address)
    }

    /// File and line of an address, without functions; `None` where no line table has it.
    ///
    /// # Errors
    /// As [`Dwarf::frames_at`].
    pub fn line_at(&self, address: u64) -> Result<Option<SourceFrame>, DwarfError> {
        let Some(unit) = self.index()?.unit_of(address) else {
            return Ok(None);
        };
        frames::line(&self.gimli(&FOR_FRAMES)?, unit, address)
    }

    /// Which unit an address lies in; built when first asked for. [`UnitIndex::to_bytes`] keeps it for the next
    /// time.
    ///
    /// # Errors
    /// [`DwarfError`] where the headers of the units cannot be read.
    pub fn index(&self) -> Result<&UnitIndex, DwarfError> {
        let built = self.index.get_or_init(|| {
            let wanted = [SectionId::DebugAranges];
            let aranges = self.gimli(&wanted)?;
            index::build(&aranges, || self.gimli(&FOR_FRAMES))
        });
        built.as_ref().map_err(Clone::clone)
    }

    /// Uses an index that was kept. Without effect once [`Dwarf::index`] has built one.
    pub fn set_index(&self, index: UnitIndex) {
        let _ = self.index.set(Ok(index));
    }

    /// gimli's view of these sections; the others are empty.
    fn gimli(&self, wanted: &[SectionId]) -> Result<gimli::Dwarf<Reader<'_>>, DwarfError> {
        gimli::Dwarf::load(|id| {
            let bytes = if wanted.contains(&id) {
                self.sections.get(id)?
            } else {
                &[]
            };
            Ok(EndianSlice::new(bytes, LittleEndian))
        })
    }
}
