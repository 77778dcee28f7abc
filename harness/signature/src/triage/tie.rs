//! What ties two crashes together, and how surely. Symmetric; places are told apart elsewhere.

use super::{Sureness, rests_on_corruption};
use crate::Signature;
use crate::compare::basis;
use crate::compare::decoded::{self, Relation as Contents};
use crate::compare::place as chains;
use crate::compare::walk::same_site;
use crate::model::{Confidence, Decoded, Fact, Site};
use crate::normalise;

/// What two crashes are to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Relation {
    /// One bug, so surely, by this.
    Tied(Sureness, String),
    /// Known to be two bugs.
    Different,
    /// Nothing says either.
    Nothing,
}

/// Whether it is known what was overwritten and by what.
pub(super) fn has_corruption(signature: &Signature) -> bool {
    let corruption = &signature.corruption;
    corruption.site.value().is_some() && corruption.decoded.value().is_some()
}

/// The relation of two crashes; the order does not matter.
pub(super) fn relation(a: &Signature, b: &Signature) -> Relation {
    if both_differ(&a.fault.class, &b.fault.class, |a, b| {
        a.family() == b.family()
    }) {
        return Relation::Different;
    }
    match (has_corruption(a), has_corruption(b)) {
        (true, true) => by_corruption(a, b),
        (false, false) => by_title(a, b),
        _ => one_sided(a, b),
    }
}

/// Whether the overwritten value is known only as the contents of a register.
fn in_register(signature: &Signature) -> bool {
    matches!(
        signature.corruption.site.value(),
        Some(Site::Register { .. })
    )
}

/// Both known, and not the same.
fn both_differ<T>(a: &Fact<T>, b: &Fact<T>, same: impl Fn(&T, &T) -> bool) -> bool {
    matches!((a.value(), b.value()), (Some(a), Some(b)) if !same(a, b))
}

fn by_corruption(a: &Signature, b: &Signature) -> Relation {
    let may_be_one = |a: &Site, b: &Site| {
        // Where the value was read from is not where it was overwritten.
        let register = |site: &Site| matches!(site, Site::Register { .. });
        same_site(a, b) || register(a) || register(b)
    };
    if both_differ(&a.corruption.site, &b.corruption.site, may_be_one)
        || both_differ(&a.slab.cache, &b.slab.cache, |a, b| {
            normalise::cache(a) == normalise::cache(b)
        })
    {
        return Relation::Different;
    }
    let (Some(x), Some(y)) = (a.corruption.decoded.value(), b.corruption.decoded.value()) else {
        return Relation::Nothing;
    };
    let what = match (&a.bug, &b.bug) {
        (Some(a), Some(b)) if a == b => a.clone(),
        (Some(a), Some(b)) => format!("{} | {}", a.min(b), a.max(b)),
        (a, b) => a.as_ref().or(b.as_ref()).cloned().unwrap_or_default(),
    };
    match (decoded::relation(a, b, x, y), decoded::relation(b, a, y, x)) {
        (Contents::Other(_), _) | (_, Contents::Other(_)) => Relation::Different,
        (Contents::Same, Contents::Same) => {
            let (sure, missing) = corruption_sureness(a, b, x);
            Relation::Tied(sure, format!("{what}{missing}"))
        }
        (Contents::Unproven(why) | Contents::GoldenUnproven(why), _)
        | (_, Contents::Unproven(why) | Contents::GoldenUnproven(why)) => {
            Relation::Tied(Sureness::Possible, format!("{what}; {why}"))
        }
    }
}

/// How sure the same contents at the same site make it, and what is missing.
fn corruption_sureness(a: &Signature, b: &Signature, decoded: &Decoded) -> (Sureness, String) {
    let established = |s: &Signature| {
        let confidence = s.corruption.confidence.value();
        confidence.is_some_and(|sure| *sure >= Confidence::Structural)
    };
    let missing = |what: &str| format!("; {what}");
    match decoded {
        Decoded::Number {} => (Sureness::Possible, missing("a small number says little")),
        Decoded::Unknown {} => (
            Sureness::Likely,
            missing("the same bytes, which nobody knows"),
        ),
        _ if !established(a) || !established(b) => (
            Sureness::Likely,
            missing("the contents are only plausible in one of them"),
        ),
        _ if in_register(a) || in_register(b) => (
            Sureness::Likely,
            missing(
                "what was overwritten is known of one of them only as the contents of a register",
            ),
        ),
        _ if a.fault.class.value().is_none() || b.fault.class.value().is_none() => (
            Sureness::Likely,
            missing("the class of the fault is not known of one of them"),
        ),
        _ => (Sureness::Certain, String::new()),
    }
}

/// Both by the kernel's report, or by trap and function where there is none.
fn by_title(a: &Signature, b: &Signature) -> Relation {
    let Some(title) = shared_title(a, b) else {
        let known = report(a).value().is_some() && report(b).value().is_some();
        let settled = !rests_on_corruption(a) && !rests_on_corruption(b);
        return if known && settled {
            Relation::Different
        } else {
            Relation::Nothing
        };
    };
    let wild = rests_on_corruption(a) || rests_on_corruption(b);
    let class = a.fault.class.value().is_some() && b.fault.class.value().is_some();
    let (sure, place) = match (same_place(a, b), wild) {
        (Some(true), false) if class => (Sureness::Certain, "the same frames"),
        (Some(true), false) => (Sureness::Likely, "the same frames; a class is not known"),
        (Some(true), true) => (
            Sureness::Likely,
            "the same frames; what the wild pointer was is not known",
        ),
        (Some(false), false) => (Sureness::Likely, "other frames"),
        (None, false) => (Sureness::Likely, "the frames are not known of one of them"),
        (Some(false), true) => (
            Sureness::Possible,
            "other frames, and what the wild pointer was is not known",
        ),
        (None, true) => (
            Sureness::Possible,
            "neither frames of both nor what the wild pointer was are known",
        ),
    };
    Relation::Tied(sure, format!("{title}; {place}"))
}

/// A corruption on one side, and a crash at the same place on the other of which only the place is known.
fn one_sided(a: &Signature, b: &Signature) -> Relation {
    let other = if has_corruption(a) { b } else { a };
    if !rests_on_corruption(other) {
        return Relation::Nothing;
    }
    match same_place(a, b) {
        Some(true) => Relation::Tied(
            Sureness::Possible,
            format!(
                "the same frames under {}; what was overwritten is known of one of them only",
                a.title.as_str().min(b.title.as_str())
            ),
        ),
        _ => Relation::Nothing,
    }
}

fn report(signature: &Signature) -> Fact<String> {
    basis::report(signature, &signature.fault.report)
}

/// A title that both reports have, the least of them.
fn shared_title(a: &Signature, b: &Signature) -> Option<String> {
    let titles = |s: &Signature| -> Vec<String> {
        let mut all: Vec<String> = report(s).value().cloned().into_iter().collect();
        if !all.is_empty() {
            all.extend(s.alternative_titles.iter().cloned());
        }
        all
    };
    let theirs = titles(b);
    let shared = titles(a).into_iter().filter(|t| theirs.contains(t));
    shared.filter(|title| basis::names_a_bug(title)).min()
}

/// Whether two crashes struck in the same place; `None` where a chain is not known.
pub(super) fn same_place(a: &Signature, b: &Signature) -> Option<bool> {
    let (x, y) = (
        chains::located(&a.frames.chain),
        chains::located(&b.frames.chain),
    );
    let (x, y) = (x.value()?, y.value()?);
    let functions = |frames| -> Vec<String> {
        let all = chains::functions(frames);
        all.into_iter().map(str::to_owned).collect()
    };
    let unnamed = functions(x).iter().take(2).any(|function| function == "?");
    let syscall = both_differ(&a.frames.syscall, &b.frames.syscall, |a, b| {
        normalise::syscall(a) == normalise::syscall(b)
    });
    let same = functions(x) == functions(y) || chains::inlining_explains(x, y);
    Some(same && !unnamed && !syscall)
}
