//! From the wild pointer that the faulting instruction followed to what overwrote it: which freelist holds it, what
//! lay in memory, and what those bytes are. Every step keeps its evidence and what it tried.
//!
//! A wild pointer that no freelist held may have been read from a field of another structure: [`field_of`].
mod field;
mod overwrite;
mod site;

pub use field::{CorruptField, field_of, written};
pub use overwrite::{CarrierBy, Decoding, Overwrite, decode};
pub use site::{CorruptFreelist, ListSite, OperandParts, freelist_of};
