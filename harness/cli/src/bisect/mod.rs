//! `recrash bisect` without its runs: which kernel is tested next ([`search`]), and how many silent runs are silence
//! ([`silence`]). No I/O.
pub(crate) mod search;
pub(crate) mod silence;
