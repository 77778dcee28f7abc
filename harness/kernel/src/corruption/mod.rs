//! From the wild pointer that the faulting instruction followed to what overwrote it: which freelist holds it, what
//! lay in memory, and what those bytes are. Every step keeps its evidence and what it tried.
mod overwrite;
mod site;

pub use overwrite::{CarrierBy, Decoding, Overwrite, decode};
pub use site::{CorruptFreelist, ListSite, OperandParts, freelist_of};
