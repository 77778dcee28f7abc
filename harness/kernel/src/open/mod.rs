//! Opening a kernel: from a dump's memory, and where that is not enough from the files that came with it.
mod sources;

pub use sources::{ModuleFile, Sources};
