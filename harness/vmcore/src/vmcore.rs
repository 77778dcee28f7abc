//! A dump file of any format: opening it, its notes, and its physical memory.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::elf::ElfCore;
use crate::note::{self, Note, Prstatus};
use crate::source::Source;
use crate::{FormatError, PhysAddr, PhysMem, ReadError, Vmcoreinfo};

/// File format of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// ELF64 core.
    Elf {
        /// Whether the file is a flattened stream (makedumpfile -F).
        flattened: bool,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf { flattened: false } => f.write_str("ELF"),
            Self::Elf { flattened: true } => f.write_str("ELF, flattened"),
        }
    }
}

/// A dump, open for reading.
#[derive(Debug)]
pub struct Vmcore {
    source: Source,
    memory: ElfCore,
    format: Format,
    notes: Vec<Note>,
    prstatus: Vec<Prstatus>,
    vmcoreinfo: Option<Vmcoreinfo>,
    warnings: Vec<String>,
}

impl Vmcore {
    /// Opens a dump. The file is mapped, and must not change while it is open.
    ///
    /// # Errors
    /// When the file cannot be opened or is no dump. A dump that was cut short opens, with a
    /// warning, as long as its headers are there.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let source = Source::open(path).map_err(|error| FormatError {
            file: path.to_owned(),
            offset: 0,
            what: error.to_string(),
        })?;
        Self::from_source(path, source)
    }

    /// A dump in memory; `name` is for messages only.
    ///
    /// # Errors
    /// As [`Vmcore::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::from_source(&PathBuf::from(name), Source::from_bytes(bytes))
    }

    fn from_source(path: &Path, source: Source) -> Result<Self, FormatError> {
        let fault = |(offset, what)| FormatError {
            file: path.to_owned(),
            offset,
            what,
        };
        let mut magic = [0; 4];
        source
            .read(0, &mut magic)
            .map_err(|_| fault((0, "too short to be a vmcore".to_owned())))?;
        if &magic != b"\x7fELF" {
            return Err(fault((
                0,
                "neither an ELF core nor a kdump-compressed dump".to_owned(),
            )));
        }
        let memory = ElfCore::parse(&source).map_err(fault)?;
        let mut warnings = Vec::new();
        let mut notes = Vec::new();
        for &(offset, len) in &memory.notes {
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
        if let Some(missing) = memory.file_end.checked_sub(source.len()).filter(|&n| n > 0) {
            let end = source.len();
            warnings.push(format!(
                "file cut short at offset {end:#x}, {missing} bytes missing"
            ));
        }
        let vmcoreinfo = (notes.iter())
            .find(|note| note.name == "VMCOREINFO")
            .map(|note| Vmcoreinfo::parse(&note.desc));
        Ok(Self {
            source,
            memory,
            format: Format::Elf { flattened: false },
            prstatus: note::prstatus(&notes),
            vmcoreinfo,
            notes,
            warnings,
        })
    }

    /// The file's format, with `Display`.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
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
}

impl PhysMem for Vmcore {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(&self.source, at, buf)
    }
}
