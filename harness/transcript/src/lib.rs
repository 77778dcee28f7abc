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
mod shape;
mod slice;

pub use account::Account;
pub use evidence::Evidence;
