//! Symbols, types and unwind tables from bytes.
//!
//! Owns the formats a kernel describes itself in: kallsyms, `System.map`, BTF, DWARF, ORC, and the vmlinux
//! or bzImage that carries them. It never reads crashed memory: whoever has a dump reads the bytes
//! and hands them in, so every input here is a byte slice and every slice is hostile.
//!
//! ```no_run
//! use recrash_debuginfo::types::Types;
//! use recrash_debuginfo::vmlinux::{self, Vmlinux};
//! use recrash_debuginfo::btf::Btf;
//! use std::sync::Arc;
//!
//! let image = vmlinux::extract(&std::fs::read("vmlinuz")?)?;
//! let vmlinux = Vmlinux::parse(&image)?;
//! let (_, btf) = vmlinux.section(".BTF").ok_or("no BTF")?;
//! let types = Types::new(Arc::new(Btf::parse(btf.to_vec(), None)?));
//! for (name, field) in types.find_struct("kmem_cache").ok_or("no kmem_cache")?.fields {
//!     println!("{:>5} {} {name}", field.offset, field.type_name);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | bytes | become | by |
//! |---|---|---|
//! | kallsyms tables, named or found by their shape; `System.map`; an ELF symbol table | [`symbols::SymbolTable`] | [`kallsyms`], [`system_map`], [`vmlinux`] |
//! | vmlinuz of every compression | an ELF image | [`vmlinux::extract`] |
//! | BTF, split BTF of modules; DWARF, converted to BTF | [`types::Types`]: structs, fields by path, prototypes | [`btf`], [`dwarf`] |
//! | DWARF line tables and inlined calls | source frames of an address | [`dwarf`] |
//! | ORC in each of its layouts | rules in the newest one | [`orc`] |
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
