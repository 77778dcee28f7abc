//! One file of a dump: its format, its notes and the memory it holds.
//!
//! Most dumps are one file; how several make one dump is in `set`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::elf::ElfCore;
use crate::kdump::{self, Kdump};
use crate::note::{self, Note};
use crate::source::{Bytes, Fault, Source};
use crate::{Format, FormatError, FormatKind, PhysAddr, ReadError, Vmcoreinfo};

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: PathBuf,
    pub(crate) source: Source,
    pub(crate) memory: Memory,
}

#[derive(Debug)]
pub(crate) enum Memory {
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
        let what = if magic == [0; 8] {
            "begins with zeros: its header is not written yet, or it is no vmcore"
        } else {
            "neither an ELF core nor a kdump-compressed dump"
        };
        Err((0, what.to_owned()))
    }
}

impl Part {
    /// Maps the file and reads its headers.
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let io = |error: std::io::Error| (0, error.to_string());
        (Bytes::open(path).map_err(io))
            .and_then(|bytes| Self::new(path.to_owned(), bytes))
            .map_err(|fault| at(path, fault))
    }

    /// A file in memory.
    pub(crate) fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let name = Path::new(name);
        Self::new(name.to_owned(), Bytes::Owned(bytes)).map_err(|fault| at(name, fault))
    }

    fn new(file: PathBuf, bytes: Bytes) -> Result<Self, Fault> {
        let source = Source::new(bytes)?;
        let memory = Memory::parse(&source)?;
        Ok(Self {
            file,
            source,
            memory,
        })
    }

    pub(crate) fn format(&self) -> Format {
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

    pub(crate) fn kdump(&self) -> Option<&Kdump> {
        match &self.memory {
            Memory::Elf(_) => None,
            Memory::Kdump(kdump) => Some(kdump),
        }
    }

    /// Page frames whose data this file holds, if it is one of a split dump.
    pub(crate) fn split_frames(&self) -> Option<Range<u64>> {
        let kdump = self.kdump()?;
        kdump.header.split.map(|_| kdump.frames())
    }

    pub(crate) fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        match &self.memory {
            Memory::Elf(core) => core.read(&self.source, at, buf),
            Memory::Kdump(kdump) => kdump.read(&self.source, at, buf),
        }
    }

    pub(crate) fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        match &self.memory {
            Memory::Elf(core) => core.next_present(&self.source, at),
            Memory::Kdump(kdump) => kdump.next_present(&self.source, at),
        }
    }

    /// Calls `visit` with each page of this file that may begin with these bytes or have them
    /// behind a note's header; gives false once `visit` does.
    pub(crate) fn pages_that_may_begin_with(
        &self,
        needle: &[u8],
        visit: &mut dyn FnMut(PhysAddr) -> bool,
    ) -> bool {
        match &self.memory {
            Memory::Elf(core) => core.pages_that_may_begin_with(&self.source, needle, visit),
            Memory::Kdump(kdump) => kdump.pages_that_may_begin_with(&self.source, needle, visit),
        }
    }

    /// Warnings about a file that is not whole.
    pub(crate) fn completeness(&self) -> Vec<String> {
        let source = &self.source;
        let mut warnings = Vec::new();
        let (end, unwritten) = match &self.memory {
            Memory::Elf(core) => (core.file_end, false),
            Memory::Kdump(kdump) => {
                let found = kdump.completeness(source);
                (found.expected_end, found.unwritten)
            }
        };
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
        if self.kdump().is_some_and(Kdump::is_incomplete) {
            warnings.push("makedumpfile marked this dump as incomplete".to_owned());
        } else if unwritten {
            warnings.push(
                "the last pages are not written: the tool that makes this dump is not done, or \
                 ended early"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Every note, in file order; what is wrong with them is added to the warnings.
    pub(crate) fn notes(&self, warnings: &mut Vec<String>) -> Vec<Note> {
        match &self.memory {
            Memory::Elf(core) => read_notes(&self.source, &core.notes, warnings),
            Memory::Kdump(kdump) => {
                read_notes(&self.source, kdump.layout.notes.as_slice(), warnings)
            }
        }
    }

    /// VMCOREINFO from where the sub header says, if it does.
    pub(crate) fn vmcoreinfo(&self, warnings: &mut Vec<String>) -> Option<Vmcoreinfo> {
        let (offset, len) = self.kdump()?.layout.vmcoreinfo?;
        let text = self.source.slice(offset, len);
        if text.is_err() {
            warnings.push(format!("VMCOREINFO at offset {offset:#x} is cut off"));
        }
        Some(Vmcoreinfo::parse(&text.ok()?))
    }
}

fn at(file: &Path, (offset, what): Fault) -> FormatError {
    FormatError {
        file: file.to_owned(),
        offset,
        what,
    }
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
