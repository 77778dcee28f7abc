//! Writes vmcores and debug information from scratch, for tests.
//!
//! Shares no constants with the readers: a mistake in one of them must show.

pub mod btf;
pub mod dwarf;
pub mod elf_core;
pub mod elf_image;
pub mod kallsyms;
pub mod kdump;
pub mod orc;
pub mod paging;
