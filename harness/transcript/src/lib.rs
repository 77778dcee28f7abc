//! A crash-utility session or an oops, as text, to the facts of the crash, each with its evidence.
//!
//! [`evidence`] holds what the text says, line by line and unweighed; [`account`] what follows from it: which registers
//! are the fault's, where they came from, what agrees and what contradicts. Pure: text in, values out. It knows no
//! signature and reads no file. Every line is untrusted.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod account;
pub mod att;
mod checks;
pub mod evidence;
mod like;
mod log;
mod session;
mod shape;
mod slice;
pub mod text;

pub use account::Account;
pub use evidence::Evidence;

/// The lines of a text that are evidence, as the tool printed them: without prose, quoting, stamps, code fences and what
/// people wrote into the lines. An empty line stands before each command.
#[must_use]
pub fn without_prose(text: &str) -> String {
    let mut out = String::new();
    for kept in log::with_reports(text).1 {
        if kept.head && !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&kept.text);
        out.push('\n');
    }
    out
}
