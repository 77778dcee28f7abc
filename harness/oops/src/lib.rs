//! Console and dmesg text to what the kernel reported in it: where each report lies, its title in syzkaller's style,
//! and the details that an x86-64 oops prints (registers, code bytes, frames).
//!
//! Pure: text in, values out. It knows no signature, reads no file and decides nothing about sameness. Every line is
//! untrusted: any bytes, any length, cut or interleaved with others.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod details;
pub mod lines;
pub mod machine;
pub mod report;
mod scope;
mod titles;
mod window;

pub use details::Details;
pub use report::Report;
