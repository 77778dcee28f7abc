//! Slices of functions whose answers are known: the real crash's, small ones, random ones.
mod callers;
mod hostile;
mod real;
mod small;
mod world;

use super::*;
use world::World;

/// What is said of a register, `register ← …`.
fn said(slice: &Slice, register: &str) -> String {
    slice
        .origins
        .iter()
        .find(|origin| origin.register == register && origin.current)
        .map_or_else(|| "nothing".into(), ToString::to_string)
}

fn argument(slice: &Slice, number: usize) -> Option<u64> {
    let found = slice
        .arguments
        .iter()
        .find(|argument| argument.number == number)?;
    found.value.as_ref().ok().copied()
}
