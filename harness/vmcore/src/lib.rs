//! Reads x86-64 vmcores: bytes to physical to virtual memory.
//!
//! A [`Vmcore`] is a dump file as physical memory ([`PhysMem`]) with its notes; an
//! [`AddressSpace`] walks page tables in it and is virtual memory ([`VirtMem`]).
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
pub use paging::{AddressSpace, SpaceError};
pub use vmcore::Vmcore;
pub use vmcoreinfo::Vmcoreinfo;
