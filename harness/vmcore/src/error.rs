//! What can go wrong when a dump is opened ([`FormatError`]) and when memory is read from it
//! ([`ReadError`]).

use std::path::PathBuf;

use crate::{PhysAddr, VirtAddr};

/// The file cannot be read as a vmcore.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what} at offset {offset:#x}", file.display())]
pub struct FormatError {
    /// The file.
    pub file: PathBuf,
    /// Where in the file the trouble lies, in bytes.
    pub offset: u64,
    /// What was found there, and what was expected.
    pub what: String,
}

/// Memory that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The machine had this page, the dump leaves it out on purpose.
    #[error("page at {0} was left out of the dump (makedumpfile filter?)")]
    Excluded(PhysAddr),
    /// The dump knows of no memory at this address.
    #[error("{0} is not memory that the dump covers")]
    NotInDump(PhysAddr),
    /// This file is one of a split dump, and the page is in another one.
    #[error("page at {0} is in another file of this split dump")]
    InOtherFile(PhysAddr),
    /// The dump should have these bytes, the file ends before them.
    #[error("{at}: the file is cut short or unfinished at offset {offset:#x}")]
    Truncated {
        /// The memory asked for.
        at: PhysAddr,
        /// Where the bytes should be in the file (in a flattened file: after rearranging).
        offset: u64,
    },
    /// The dump has this page, but its data cannot be restored.
    #[error("page at {at}: {what}, at offset {offset:#x} of the file")]
    Corrupt {
        /// The page.
        at: PhysAddr,
        /// Where its data or descriptor lies (in a flattened file: after rearranging).
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A page-table entry on the way is not present.
    #[error("{at} is not mapped: {level} entry {entry:#x} is not present")]
    NotPresent {
        /// The address being translated.
        at: VirtAddr,
        /// Name of the table: PML5, PML4, PDPT, PD or PT.
        level: &'static str,
        /// The entry, with its present bit clear.
        entry: u64,
    },
    /// A page-table entry has bits set that the processor reserves.
    #[error("{at}: {level} entry {entry:#x} has reserved bits set")]
    BadEntry {
        /// The address being translated.
        at: VirtAddr,
        /// Name of the table: PML5, PML4, PDPT, PD or PT.
        level: &'static str,
        /// The entry.
        entry: u64,
    },
    /// A page table itself cannot be read.
    #[error("{at}: the {level} cannot be read: {cause}")]
    Table {
        /// The address being translated.
        at: VirtAddr,
        /// Name of the table: PML5, PML4, PDPT, PD or PT.
        level: &'static str,
        /// Why not.
        cause: Box<ReadError>,
    },
    /// A virtual address's page is mapped, but its memory cannot be read.
    #[error("{at}: {cause}")]
    Page {
        /// The first address of the read that failed.
        at: VirtAddr,
        /// Why the physical page cannot be read.
        cause: Box<ReadError>,
    },
    /// No page tables can map this address.
    #[error("{0} is not canonical")]
    NonCanonical(VirtAddr),
    /// More bytes asked for than any object in a kernel has.
    #[error("{at}: a read of {len} bytes is more than the limit of {limit}", limit = crate::MAX_READ)]
    TooLong {
        /// Where the read would begin.
        at: VirtAddr,
        /// How many bytes it would take.
        len: u64,
    },
}

impl ReadError {
    /// The reason below [`ReadError::Page`] and [`ReadError::Table`], or the error itself.
    #[must_use]
    pub fn root_cause(&self) -> &ReadError {
        match self {
            Self::Page { cause, .. } | Self::Table { cause, .. } => cause.root_cause(),
            other => other,
        }
    }

    /// Whether the bytes are absent because the dump was filtered.
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        matches!(self.root_cause(), Self::Excluded(_))
    }
}
