//! A dump file of any format: opening it, its notes, and its physical memory.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::elf::ElfCore;
use crate::kdump::{self, Compression, Kdump, KdumpHeader, Utsname};
use crate::note::{self, Note, Prstatus};
use crate::source::{Bytes, Fault, Source};
use crate::{FormatError, PhysAddr, PhysMem, ReadError, Vmcoreinfo};

/// File format of a dump. `Display` gives it in words: `kdump-compressed v6, flattened, lzo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// ELF or kdump-compressed.
    pub kind: FormatKind,
    /// Whether the file is a flattened stream (makedumpfile -F).
    pub flattened: bool,
}

/// What a dump is inside the flattened stream, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatKind {
    /// ELF64 core.
    Elf,
    /// makedumpfile's kdump-compressed format.
    Kdump {
        /// Version of its header, 1 to 6.
        version: u32,
        /// How its pages are compressed; single ones may not be.
        compression: Compression,
        /// Whether it is one file of a split dump.
        split: bool,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flattened = if self.flattened { ", flattened" } else { "" };
        match self.kind {
            FormatKind::Elf => write!(f, "ELF{flattened}"),
            FormatKind::Kdump {
                version,
                compression,
                split,
            } => {
                let split = if split { ", split" } else { "" };
                write!(
                    f,
                    "kdump-compressed v{version}{flattened}{split}, {}",
                    compression.name()
                )
            }
        }
    }
}

/// A dump, open for reading.
#[derive(Debug)]
pub struct Vmcore {
    source: Source,
    memory: Memory,
    notes: Vec<Note>,
    prstatus: Vec<Prstatus>,
    vmcoreinfo: Option<Vmcoreinfo>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Memory {
    Elf(ElfCore),
    Kdump(Box<Kdump>),
}

impl Memory {
    fn parse(source: &Source) -> Result<Self, Fault> {
        let mut magic = [0; 8];
        if source.read(0, &mut magic).is_err() {
            return Err((source.len(), "too short to be a vmcore".to_owned()));
        }
        if magic.starts_with(b"\x7fELF") {
            return ElfCore::parse(source).map(Self::Elf);
        }
        if &magic == kdump::MAGIC {
            return Kdump::parse(source).map(|kdump| Self::Kdump(Box::new(kdump)));
        }
        Err((
            0,
            "neither an ELF core nor a kdump-compressed dump".to_owned(),
        ))
    }

    /// File ranges that hold notes.
    fn notes(&self) -> Vec<(u64, u64)> {
        match self {
            Self::Elf(core) => core.notes.clone(),
            Self::Kdump(kdump) => kdump.layout.notes.into_iter().collect(),
        }
    }

    /// Where the file would have to end to be whole.
    fn expected_end(&self, source: &Source) -> u64 {
        match self {
            Self::Elf(core) => core.file_end,
            Self::Kdump(kdump) => kdump.expected_end(source),
        }
    }
}

impl Vmcore {
    /// Opens a dump. The file is mapped, and must not change while it is open.
    ///
    /// # Errors
    /// When the file cannot be opened or is no dump. A dump that was cut short opens, with a
    /// warning, as long as its headers are there.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let io = |error: std::io::Error| (0, error.to_string());
        (Bytes::open(path).map_err(io))
            .and_then(Self::from_file)
            .map_err(|(offset, what)| FormatError {
                file: path.to_owned(),
                offset,
                what,
            })
    }

    /// A dump in memory; `name` is for messages only.
    ///
    /// # Errors
    /// As [`Vmcore::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::from_file(Bytes::Owned(bytes)).map_err(|(offset, what)| FormatError {
            file: name.into(),
            offset,
            what,
        })
    }

    fn from_file(file: Bytes) -> Result<Self, Fault> {
        let source = Source::new(file)?;
        let memory = Memory::parse(&source)?;
        let mut warnings = completeness(&source, &memory);
        let notes = read_notes(&source, &memory.notes(), &mut warnings);
        let vmcoreinfo = read_vmcoreinfo(&source, &memory, &notes, &mut warnings);
        let prstatus = note::prstatus(&notes);
        Ok(Self {
            source,
            memory,
            notes,
            prstatus,
            vmcoreinfo,
            warnings,
        })
    }

    /// The file's format.
    #[must_use]
    pub fn format(&self) -> Format {
        let kind = match &self.memory {
            Memory::Elf(_) => FormatKind::Elf,
            Memory::Kdump(kdump) => FormatKind::Kdump {
                version: kdump.header.version,
                compression: kdump.compression(),
                split: kdump.header.split.is_some(),
            },
        };
        Format {
            kind,
            flattened: self.source.is_flattened(),
        }
    }

    /// Every ELF note, in file order.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What the kernel says about itself, if the dump has it.
    #[must_use]
    pub fn vmcoreinfo(&self) -> Option<&Vmcoreinfo> {
        self.vmcoreinfo.as_ref()
    }

    /// Registers of the CPUs, in CPU order.
    #[must_use]
    pub fn prstatus(&self) -> &[Prstatus] {
        &self.prstatus
    }

    /// What is wrong with the file and does not keep it from being read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the headers say, if it is a kdump-compressed dump.
    #[must_use]
    pub fn kdump_header(&self) -> Option<&KdumpHeader> {
        match &self.memory {
            Memory::Elf(_) => None,
            Memory::Kdump(kdump) => Some(&kdump.header),
        }
    }

    /// `uname` of the crashed machine, if the headers have it.
    #[must_use]
    pub fn utsname(&self) -> Option<&Utsname> {
        self.kdump_header()
            .map(|h| &h.utsname)
            .filter(|uts| !uts.release.is_empty())
    }

    /// Offset of the kernel image in physical memory (`phys_base`): from VMCOREINFO, else from
    /// the segment that maps the image, else from the sub header.
    #[must_use]
    pub fn phys_base(&self) -> Option<u64> {
        let stated = self.vmcoreinfo().and_then(|info| info.number("phys_base"));
        stated
            .map(i64::cast_unsigned)
            .or_else(|| match &self.memory {
                Memory::Elf(core) => core.phys_base,
                Memory::Kdump(kdump) => Some(kdump.header.phys_base).filter(|&base| base != 0),
            })
    }
}

impl PhysMem for Vmcore {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        match &self.memory {
            Memory::Elf(core) => core.read(&self.source, at, buf),
            Memory::Kdump(kdump) => kdump.read(&self.source, at, buf),
        }
    }

    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        match &self.memory {
            Memory::Elf(core) => core.next_present(&self.source, at),
            Memory::Kdump(kdump) => kdump.next_present(&self.source, at),
        }
    }
}

/// Warnings about a file that is not whole.
fn completeness(source: &Source, memory: &Memory) -> Vec<String> {
    let mut warnings = Vec::new();
    let end = memory.expected_end(source);
    if let Some(at) = source.broken_at() {
        warnings.push(format!(
            "file cut short at offset {at:#x}: the flattened stream has no end"
        ));
    } else if let Some(missing) = end.checked_sub(source.len()).filter(|&n| n > 0) {
        let at = source.len();
        warnings.push(format!(
            "file cut short at offset {at:#x}, {missing} bytes missing"
        ));
    }
    if let Memory::Kdump(kdump) = memory {
        if kdump.is_incomplete() {
            warnings.push("makedumpfile marked this dump as incomplete".to_owned());
        }
        if kdump.header.split.is_some() {
            let frames = kdump.frames();
            let (from, to) = (frames.start, frames.end);
            warnings.push(format!(
                "one file of a split dump: page frames {from:#x} to {to:#x}"
            ));
        }
    }
    warnings
}

fn read_notes(source: &Source, ranges: &[(u64, u64)], warnings: &mut Vec<String>) -> Vec<Note> {
    let mut notes = Vec::new();
    // Segments that overlap could name the same bytes over and over.
    let mut budget = source.file_len();
    for &(offset, len) in ranges {
        let Some(rest) = budget.checked_sub(len) else {
            warnings.push(format!(
                "more notes than the file has bytes, from offset {offset:#x}"
            ));
            break;
        };
        budget = rest;
        let Ok(bytes) = source.slice(offset, len) else {
            warnings.push(format!("the notes at offset {offset:#x} are cut off"));
            continue;
        };
        let (found, bad) = note::parse(&bytes);
        notes.extend(found);
        if let Some(bad) = bad {
            let at = offset.saturating_add(bad as u64);
            warnings.push(format!(
                "the note at offset {at:#x} does not fit its segment"
            ));
        }
    }
    notes
}

/// From where the sub header says, else from the notes.
fn read_vmcoreinfo(
    source: &Source,
    memory: &Memory,
    notes: &[Note],
    warnings: &mut Vec<String>,
) -> Option<Vmcoreinfo> {
    if let Memory::Kdump(kdump) = memory
        && let Some((offset, len)) = kdump.layout.vmcoreinfo
    {
        match source.slice(offset, len) {
            Ok(text) => return Some(Vmcoreinfo::parse(&text)),
            Err(_) => warnings.push(format!("VMCOREINFO at offset {offset:#x} is cut off")),
        }
    }
    let note = notes.iter().find(|note| note.name == "VMCOREINFO")?;
    Some(Vmcoreinfo::parse(&note.desc))
}
