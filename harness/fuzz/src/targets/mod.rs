//! The targets, one module each.

pub mod btf;
pub mod decode;
mod dumps;
pub mod dwarf;
pub mod elf;
pub mod flattened;
pub mod image;
pub mod kallsyms;
pub mod kallsyms_find;
pub mod kdump;
pub mod lzo;
pub mod notes;
pub mod oops;
pub mod orc;
pub mod paging;
pub mod signature;
pub mod split;
pub mod system_map;
pub mod transcript;
pub mod usbpcap;
pub mod usbredir;
