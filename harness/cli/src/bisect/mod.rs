//! `recrash bisect` without its runs: which kernel is run next ([`engine`], which halves the list by [`search`]), and how many silent runs are silence
//! ([`silence`]). No I/O.
pub(crate) mod engine;
pub(crate) mod search;
pub(crate) mod silence;
