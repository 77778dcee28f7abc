//! The targets, one module each.

pub mod btf;
pub mod descriptor;
mod dumps;
pub mod elf;
pub mod flattened;
pub mod image;
pub mod kallsyms;
pub mod kdump;
pub mod notes;
pub mod orc;
pub mod paging;
pub mod signature;
pub mod split;
pub mod system_map;
pub mod usbredir;
