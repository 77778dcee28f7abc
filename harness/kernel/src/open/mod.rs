//! Opening a kernel: from a dump's memory, and where that is not enough from the files that came with it.
//!
//! What is needed to find anything (symbols, types of the kernel itself, the list of modules) is read at once; what
//! some questions need (a module's symbols and types, unwind tables) when the first of them comes.
pub mod build_id;
mod image;
mod orc;
mod scan;
mod sources;
mod symbols;
mod types;

pub(crate) use build_id::{hexadecimal, of_kernel as build_id_of_kernel};
pub(crate) use image::Image;
pub(crate) use orc::{of_kernel as orc_of_kernel, of_module as orc_of_module};
pub use sources::{ModuleFile, Sources};
pub use symbols::SymbolSource;
pub(crate) use symbols::{FoundSymbols, find as find_symbols};
pub use types::TypeSource;
pub(crate) use types::of_kernel as types_of_kernel;
