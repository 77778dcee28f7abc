//! A dump of any format: opening it, its notes, and its physical memory.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cpu::{self, CpuState};
use crate::kdump::{KdumpHeader, Utsname};
use crate::note::{self, Note, Prstatus};
use crate::part::{Memory, Part};
use crate::search;
use crate::set::Set;
use crate::{Format, FormatError, PhysAddr, PhysMem, ReadError, Vmcoreinfo};

/// A dump, open for reading.
#[derive(Debug)]
pub struct Vmcore {
    files: Set,
    notes: Vec<Note>,
    prstatus: Vec<Prstatus>,
    cpu_states: Vec<CpuState>,
    vmcoreinfo: Option<Vmcoreinfo>,
    warnings: Vec<String>,
}

impl Vmcore {
    /// Opens a dump. The file is mapped as long as it is now; of what is written to it later,
    /// only the bytes within that length are seen.
    ///
    /// # Errors
    /// When the file cannot be opened or is no dump. A dump that was cut short, or that is still
    /// being written, opens with a warning as long as its headers are there.
    ///
    /// # Signals
    /// If someone cuts the file short while it is open, reading what is gone ends the process
    /// with SIGBUS, as for any mapped file. Tools that write dumps only let them grow.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        Ok(Self::from_set(Set::one(Part::open(path)?)))
    }

    /// Opens the files of one dump that `makedumpfile --split` wrote, in any order; each may be
    /// flattened. One file alone is opened as [`Vmcore::open`] does.
    ///
    /// Where a file is missing, the warnings name the page frames that are in none of the files,
    /// and reads there give [`ReadError::InOtherFile`].
    ///
    /// # Errors
    /// When a file cannot be opened, is not one of a split dump, or is one of another dump than
    /// the first one: told by number of page frames, time, `uname` and bitmap (of a long bitmap,
    /// samples are compared).
    pub fn open_set(paths: &[PathBuf]) -> Result<Self, FormatError> {
        let parts = paths.iter().map(|path| Part::open(path));
        Ok(Self::from_set(Set::join(parts.collect::<Result<_, _>>()?)?))
    }

    /// A dump in memory; `name` is for messages only.
    ///
    /// # Errors
    /// As [`Vmcore::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, FormatError> {
        Ok(Self::from_set(Set::one(Part::from_bytes(name, bytes)?)))
    }

    /// The files of a split dump in memory, with their names.
    ///
    /// # Errors
    /// As [`Vmcore::open_set`].
    pub fn from_bytes_set(files: Vec<(String, Vec<u8>)>) -> Result<Self, FormatError> {
        let parts = files
            .into_iter()
            .map(|(name, bytes)| Part::from_bytes(&name, bytes));
        Ok(Self::from_set(Set::join(parts.collect::<Result<_, _>>()?)?))
    }

    /// Bytes of the files that were asked for so far.
    #[cfg(test)]
    pub(crate) fn touched(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        self.files.first().source.touched.load(Relaxed)
    }

    fn from_set(files: Set) -> Self {
        let mut warnings = files.warnings();
        let notes = files.first_some(|part| {
            let notes = part.notes(&mut warnings);
            (!notes.is_empty()).then_some(notes)
        });
        let notes = notes.unwrap_or_default();
        let vmcoreinfo = files
            .first_some(|part| part.vmcoreinfo(&mut warnings).filter(says_something))
            .or_else(|| {
                let note = notes.iter().find(|note| note.name == "VMCOREINFO")?;
                Some(Vmcoreinfo::parse(&note.desc)).filter(says_something)
            });
        let prstatus = note::prstatus(&notes);
        let cpu_states = cpu::states(&notes);
        let vmcoreinfo = vmcoreinfo.or_else(|| find_in_memory(&files, &cpu_states, &mut warnings));
        Self {
            files,
            cpu_states,
            notes,
            prstatus,
            vmcoreinfo,
            warnings,
        }
    }

    /// The file's format; of a split dump, the first file's.
    #[must_use]
    pub fn format(&self) -> Format {
        self.files.first().format()
    }

    /// Every ELF note, in file order.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What the kernel says about itself: from the dump's headers or notes, else from the
    /// kernel's own copy in memory, which a warning tells.
    #[must_use]
    pub fn vmcoreinfo(&self) -> Option<&Vmcoreinfo> {
        self.vmcoreinfo.as_ref()
    }

    /// Registers of the CPUs, in CPU order.
    #[must_use]
    pub fn prstatus(&self) -> &[Prstatus] {
        &self.prstatus
    }

    /// The CPUs' registers with control registers and descriptor tables, in CPU order: only QEMU
    /// writes them.
    #[must_use]
    pub fn cpu_states(&self) -> &[CpuState] {
        &self.cpu_states
    }

    /// What is wrong with the file and does not keep it from being read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the headers say, if it is a kdump-compressed dump.
    #[must_use]
    pub fn kdump_header(&self) -> Option<&KdumpHeader> {
        self.files.first().kdump().map(|kdump| &kdump.header)
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
            .or_else(|| match &self.files.first().memory {
                Memory::Elf(core) => core.phys_base,
                Memory::Kdump(kdump) => Some(kdump.header.phys_base).filter(|&base| base != 0),
            })
    }
}

/// Whether there is a line in it: a place that was never written reads as nothing.
fn says_something(info: &Vmcoreinfo) -> bool {
    info.iter().next().is_some()
}

/// Looks for VMCOREINFO in memory, and tells where it was.
fn find_in_memory(
    files: &Set,
    cpus: &[CpuState],
    warnings: &mut Vec<String>,
) -> Option<Vmcoreinfo> {
    let found = search::find(files, cpus)?;
    let mut warning = format!(
        "the dump has no VMCOREINFO note; the kernel's copy in memory at {} is used",
        found.at
    );
    if !found.verified {
        warning.push_str(", unchecked: the page tables that it names do not translate its symbols");
    } else if found.others > 0 {
        warning.push_str(&format!(", the best of {} that differ", found.others + 1));
    }
    warnings.push(warning);
    Some(found.info)
}

impl PhysMem for Vmcore {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.files.read(at, buf)
    }

    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        self.files.next_present(at)
    }
}
