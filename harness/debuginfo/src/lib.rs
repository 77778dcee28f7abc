//! Symbols, types and unwind tables from bytes.
//!
//! Owns the formats a kernel describes itself in: kallsyms, `System.map`, BTF, DWARF, ORC, and the vmlinux
//! or bzImage that carries them. It never reads crashed memory: whoever has a dump reads the bytes
//! and hands them in, so every input here is a byte slice and every slice is hostile.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod btf;
mod bytes;
pub mod dwarf;
pub mod kallsyms;
mod name_index;
pub mod orc;
pub mod symbols;
pub mod system_map;
pub mod types;
pub mod vmlinux;
