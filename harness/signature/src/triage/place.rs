//! The places of one bug: by call chain; where that is not known, by what the allocation asked for, since two different
//! requests are two callers.

use super::{Member, tie};
use crate::Signature;
use crate::compare::place as chains;
use serde::Serialize;

/// Where a bug struck.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// What tells this place from the others.
    pub by: By,
    /// The chain, the request, or why neither is known.
    pub what: String,
    /// The crashes, by name.
    pub members: Vec<String>,
}

/// What tells a place from others, surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The call chain.
    Chain,
    /// Size and flags that the allocator was asked for; the caller itself is not known.
    Request,
    /// Nothing: neither chain nor request is known, so this may be any of the other places.
    Nothing,
}

/// The places of these crashes, by chain first.
pub(super) fn places(members: &[&Member]) -> Vec<Place> {
    let mut groups: Vec<(By, Vec<&Member>)> = Vec::new();
    for member in members {
        let by = by(&member.signature);
        let fitting = groups
            .iter_mut()
            .find(|(kind, group)| *kind == by && group.iter().any(|other| same(by, member, other)));
        match fitting {
            Some((_, group)) => group.push(member),
            None => groups.push((by, vec![member])),
        }
    }
    let mut places: Vec<Place> = groups
        .into_iter()
        .map(|(by, group)| place(by, &group))
        .collect();
    places.sort();
    places
}

fn by(signature: &Signature) -> By {
    if chains::located(&signature.frames.chain).value().is_some() {
        By::Chain
    } else if signature.context.requested_size.value().is_some() {
        By::Request
    } else {
        By::Nothing
    }
}

fn same(by: By, a: &Member, b: &Member) -> bool {
    match by {
        By::Chain => tie::same_place(&a.signature, &b.signature) == Some(true),
        By::Request => request(&a.signature) == request(&b.signature),
        By::Nothing => true,
    }
}

/// Size and flags, as people write them.
fn request(signature: &Signature) -> String {
    let context = &signature.context;
    let size = context.requested_size.value();
    let size = size.map_or_else(|| "? bytes".to_owned(), |size| format!("{size} bytes"));
    match context.gfp_flags.value() {
        Some(flags) => format!("{size}, {flags}"),
        None => format!("{size}, flags not known"),
    }
}

fn place(by: By, group: &[&Member]) -> Place {
    let first = group.first().map(|member| &member.signature);
    let what = match (by, first) {
        (By::Chain, Some(signature)) => {
            let frames = signature.frames.chain.value();
            let chain = frames.map(|frames| chains::functions(frames).join(" ← "));
            let call = signature.frames.syscall.value();
            let call = call.map(|call| format!(" ({call})")).unwrap_or_default();
            format!("{}{call}", chain.unwrap_or_default())
        }
        (By::Request, Some(signature)) => format!(
            "an allocation of {}; the caller is not known, another request is another caller",
            request(signature)
        ),
        _ => "neither chain nor request is known: any of the other places, or another".to_owned(),
    };
    Place {
        by,
        what,
        members: group.iter().map(|member| member.name.clone()).collect(),
    }
}
