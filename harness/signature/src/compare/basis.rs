//! What the identity of a crash rests on: what was overwritten and with what, or, where nothing was, the kernel's own
//! report. Compares nothing.

use crate::model::{Fact, FaultClass, FaultFamily, Signature, Source};
use crate::title;

/// What identity rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Site, contents and cache of a corruption, and the family of the fault.
    Corruption,
    /// The class of the fault, and the title that the kernel's report has.
    Report,
}

/// What the identity of two crashes rests on: the report only where it does for both.
pub(crate) fn of(golden: &Signature, found: &Signature) -> Basis {
    match (basis(golden), basis(found)) {
        (Some(Basis::Report), Some(Basis::Report)) => Basis::Report,
        // Whose class is not known takes the other's, so that its class alone is missing.
        (Some(Basis::Report), None) | (None, Some(Basis::Report)) => Basis::Report,
        _ => Basis::Corruption,
    }
}

/// What one crash's identity rests on; `None` where neither a corruption nor a class is known. A wild pointer came from
/// somewhere, so as long as that is not known, what it is the same as is open.
pub(crate) fn basis(signature: &Signature) -> Option<Basis> {
    let corruption = &signature.corruption;
    let overwritten = corruption.site.value().is_some()
        || corruption.decoded.value().is_some()
        || corruption.observed.value().is_some()
        || signature.slab.cache.value().is_some();
    if overwritten {
        return Some(Basis::Corruption);
    }
    match signature.fault.class.value()?.family() {
        FaultFamily::WildPointer | FaultFamily::Only(FaultClass::BadJump) => {
            Some(Basis::Corruption)
        }
        FaultFamily::Only(_) => Some(Basis::Report),
    }
}

/// The report's title; where the kernel's log was not read, the one that trap and function give, which is what the
/// kernel would have printed.
pub(crate) fn report(signature: &Signature, report: &Fact<String>) -> Fact<String> {
    let by_fault = || {
        let class = signature.fault.class.value()?;
        signature.fault.function.value()?;
        class.has_address().then_some(())?;
        let derived = title::title(&signature.fault, &signature.frames);
        Some(Fact::known(derived, Source::Derived))
    };
    match report {
        Fact::Known { value, .. } if !names_a_bug(value) => Fact::absent(format!(
            "the report is only `{value}`, which names no place"
        )),
        Fact::Known { .. } => report.clone(),
        Fact::Absent { .. } => by_fault().unwrap_or_else(|| report.clone()),
    }
}

/// Whether a title says which bug it is: not where the report was too damaged to name a function (syzkaller writes
/// `corrupted` in its place), nor where it is the exception's name alone.
pub(crate) fn names_a_bug(title: &str) -> bool {
    !title.ends_with(" in corrupted") && !title::is_bare(title)
}

/// Whether one of the titles of either report, alternative ones included, is one of the other's.
pub(crate) fn share_a_title(
    golden: &Signature,
    golden_report: &Fact<String>,
    found: &Signature,
    found_report: &Fact<String>,
) -> bool {
    let (Some(a), Some(b)) = (golden_report.value(), found_report.value()) else {
        return false;
    };
    let ours = golden.alternative_titles.iter().chain([a]);
    let mut ours = ours.filter(|title| names_a_bug(title));
    ours.any(|title| title == b || found.alternative_titles.contains(title))
}
