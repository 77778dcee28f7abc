//! What two crashes have in common, as people would say it: the victim, the bytes, the place. Decides nothing.
use recrash_signature::Signature;
use recrash_signature::model::{Frame, Site};

use super::compose::in_allocator;
use super::findings::Finding;
use super::story::{Told, told};
use crate::output;

/// What ties one crash to another.
pub(crate) fn of(own: &Signature, other: &Signature) -> Vec<Told> {
    let mut ties = Vec::new();
    if let Some(what) = same(cache(own), cache(other)) {
        let what = what.to_owned();
        ties.push(told(Finding::TieSite { what }, Vec::new()));
    }
    let observed = |of: &Signature| of.corruption.observed.value().map(|bytes| bytes.0.clone());
    if let Some(bytes) = same(observed(own), observed(other)) {
        let what = output::bytes(&bytes);
        ties.push(told(Finding::TieDecoded { what }, Vec::new()));
    }
    if let Some(what) = same(place(own), place(other)) {
        let what = what.to_owned();
        ties.push(told(Finding::TiePlace { what }, Vec::new()));
    }
    if let (Some(own), Some(other)) = (request(own), request(other))
        && own != other
    {
        ties.push(told(Finding::OtherRequest { own, other }, Vec::new()));
    }
    ties
}

/// What shows that the other crash struck another caller, as a name of that place; `None` where nothing does.
pub(crate) fn elsewhere(own: &Signature, other: &Signature) -> Option<String> {
    if let (Some(own), Some(other)) = (place(own), place(other)) {
        return (own != other).then(|| other.to_owned());
    }
    let (own, other) = (request(own)?, request(other)?);
    (own != other).then_some(other)
}

/// What the allocator was asked for: one caller asks for one size with one set of flags, as good as always.
fn request(of: &Signature) -> Option<String> {
    let size = of.context.requested_size.value()?;
    let flags = of.context.gfp_flags.value();
    Some(match flags {
        Some(flags) => format!("{size}, {flags}"),
        None => size.to_string(),
    })
}

fn same<T: PartialEq>(own: Option<T>, other: Option<T>) -> Option<T> {
    own.zip(other)
        .and_then(|(own, other)| (own == other).then_some(own))
}

fn cache(of: &Signature) -> Option<&str> {
    match of.corruption.site.value() {
        Some(Site::FreelistPointer { cache }) => Some(cache),
        _ => None,
    }
}

/// The first function outside of the allocator that has a frame of its own.
fn place(of: &Signature) -> Option<&str> {
    let chain = of.frames.chain.value()?;
    let outside = |frame: &&Frame| !frame.inlined && !in_allocator(&frame.function);
    chain.iter().find(outside).map(|frame| &*frame.function)
}
