//! Reads x86-64 vmcores: bytes to physical to virtual memory.
//!
//! A [`Vmcore`] is a dump file as physical memory ([`PhysMem`]) with its notes; an
//! [`AddressSpace`] walks page tables in it and is virtual memory ([`VirtMem`]).
//!
//! ```no_run
//! use recrash_vmcore::{AddressSpace, VirtAddr, VirtMem, Vmcore};
//!
//! let vmcore = Vmcore::open("vmcore".as_ref())?;
//! for warning in vmcore.warnings() {
//!     eprintln!("{warning}");
//! }
//! let info = vmcore.vmcoreinfo().ok_or("no VMCOREINFO")?;
//! let space = AddressSpace::kernel(&vmcore, info)?;
//! let at = info.symbol("init_uts_ns").ok_or("no SYMBOL(init_uts_ns)")?;
//! println!("{:02x?}", space.bytes(VirtAddr(at), 64)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which formats, and what they can tell
//!
//! | format | written by | left out | zero | no memory |
//! |---|---|---|---|---|
//! | kdump-compressed v1–v6 (zlib, lzo, snappy, zstd, uncompressed pages) | makedumpfile, QEMU `-z -l -s` | [`ReadError::Excluded`] | read | [`ReadError::NotInDump`] |
//! | its files of a split set ([`Vmcore::open_set`]) | `makedumpfile --split` | the same | read | the same; [`ReadError::InOtherFile`] |
//! | ELF | /proc/vmcore, QEMU | (all is there) | read | `NotInDump` |
//! | ELF | `makedumpfile -E` | `Excluded` | see below | `NotInDump` |
//! | flattened stream of any of them | `makedumpfile -F` | as in the file it stands for | | |
//!
//! What the files do not tell, no reader can:
//! - with `makedumpfile -d` bit 1, zero pages are excluded pages like others;
//! - `makedumpfile -E` writes excluded runs shorter than 256 pages as zeros, so a zero there may
//!   be an excluded page;
//! - of a kdump-compressed dump that was not finished, the bitmap may not be either: page frames
//!   beyond the last one written may be given as `Excluded`;
//! - where a kdump-compressed dump has one bitmap only (very old versions), excluded pages and
//!   no memory look alike, and are given as `NotInDump`.
//!
//! A file that was cut short, or that is still being written, opens as long as its headers are
//! there; [`Vmcore::warnings`] tells, and reads of what is not there give
//! [`ReadError::Truncated`].
//!
//! # Work and memory
//!
//! The file is mapped. Opening reads headers, notes and a few descriptors; of a flattened stream
//! the header of each block; without a VMCOREINFO note, the first bytes of each page until the
//! kernel's copy is found. A page of a compressed dump costs the bits before its own, counted once
//! and remembered. Pages that were unpacked lately are kept, 16 MiB of them at most.
//!
//! Nothing here knows the version of the kernel, its types or its symbols, apart from those that
//! VMCOREINFO itself names.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod addr;
mod bytes;
mod cpu;
mod elf;
mod error;
mod flattened;
mod format;
mod kdump;
mod mem;
mod note;
mod paging;
mod part;
mod search;
mod set;
mod source;
mod vmcore;
mod vmcoreinfo;
#[cfg(test)]
mod work_tests;

pub use addr::{PagingLevels, PhysAddr, VirtAddr};
pub use cpu::{CpuSegment, CpuState};
pub use error::{FormatError, ReadError};
pub use format::{Format, FormatKind};
pub use kdump::{Compression, KdumpHeader, Utsname};
pub use mem::{MAX_READ, PhysMem, VirtMem};
pub use note::{Gregs, Note, Prstatus};
pub use paging::{AddressSpace, Mapping, SpaceError, Walk, WalkStep};
pub use vmcore::Vmcore;
pub use vmcoreinfo::Vmcoreinfo;
