//! What ties two crashes together, where one of them is a text: the bytes, the victim, the place. It knows no rule
//! that explains a difference, so it says `same-bug` at most.
use recrash_signature::Signature;
use recrash_signature::compare::Verdict;
use recrash_signature::model::Site;
use recrash_signature::normalise;

use super::facts::Facts;
use super::findings::Finding;
use super::story::{Other, told};
use crate::output;

/// Frames of the place that are compared.
const FRAMES: usize = 2;

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Essence {
    /// The slab cache whose list was overwritten.
    cache: Option<String>,
    /// The overwritten bytes, obfuscation undone.
    bytes: Option<Vec<u8>>,
    /// The function that died, and its caller.
    place: Option<Vec<String>>,
}

impl Essence {
    /// Of a crash that is explained.
    pub(crate) fn of_facts(facts: &Facts) -> Self {
        let frames = facts.account.frames.as_ref().ok();
        let place = frames.map(|frames| {
            let names = frames.value.iter().filter(|frame| !frame.inlined);
            names
                .map(|frame| normalise::function(&frame.function).to_owned())
                .take(FRAMES)
                .collect()
        });
        Self {
            cache: facts.cache().map(normalise::cache),
            bytes: facts.bytes.map(Vec::from),
            place,
        }
    }

    /// Of a signature.
    pub(crate) fn of_signature(signature: &Signature) -> Self {
        let cache = match signature.corruption.site.value() {
            Some(Site::FreelistPointer { cache }) => Some(cache.clone()),
            _ => None,
        };
        let chain = signature.frames.chain.value();
        let place = chain.map(|chain| {
            let names = chain.iter().filter(|frame| !frame.inlined);
            names
                .map(|frame| frame.function.clone())
                .take(FRAMES)
                .collect()
        });
        Self {
            cache,
            bytes: signature
                .corruption
                .observed
                .value()
                .map(|bytes| bytes.0.clone()),
            place,
        }
    }

    /// What ties this one to another, and the verdict that follows.
    pub(crate) fn compare(&self, name: &str, other: &Self) -> (Verdict, Other) {
        let mut ties = Vec::new();
        let same = |one: &Option<String>, other: &Option<String>| {
            one.as_ref()
                .zip(other.as_ref())
                .map(|(one, other)| one == other)
        };
        let cache = same(&self.cache, &other.cache);
        if let (Some(true), Some(what)) = (cache, self.cache.clone()) {
            ties.push(told(Finding::TieSite { what }, Vec::new()));
        }
        let bytes = self.bytes.as_ref().zip(other.bytes.as_ref());
        let bytes = bytes.map(|(one, other)| one == other);
        if let (Some(true), Some(these)) = (bytes, &self.bytes) {
            let what = output::bytes(these);
            ties.push(told(Finding::TieDecoded { what }, Vec::new()));
        }
        let place = self.place.as_ref().zip(other.place.as_ref());
        if let Some((one, _)) = place.filter(|(one, other)| one == other && !one.is_empty()) {
            let what = one.join(" ← ");
            ties.push(told(Finding::TiePlace { what }, Vec::new()));
        }
        let verdict = match (cache, bytes) {
            (Some(true), Some(true)) => Verdict::SameBug,
            (Some(false), _) | (_, Some(false)) => Verdict::Different,
            _ => Verdict::Inconclusive,
        };
        let other = Other {
            name: name.into(),
            verdict: verdict.to_string(),
            ties,
        };
        (verdict, other)
    }

    /// Whether both places are known and differ.
    pub(crate) fn elsewhere(&self, other: &Self) -> bool {
        let places = self.place.as_ref().zip(other.place.as_ref());
        places.is_some_and(|(one, other)| one != other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn essence(cache: Option<&str>, bytes: Option<&[u8]>) -> Essence {
        Essence {
            cache: cache.map(str::to_owned),
            bytes: bytes.map(<[u8]>::to_vec),
            place: None,
        }
    }

    fn check(one: &Essence, other: &Essence, expected: Verdict) {
        assert_eq!(one.compare("x", other).0, expected);
        assert_eq!(other.compare("x", one).0, expected);
    }

    #[test]
    fn cache_and_bytes_together_are_the_bug() {
        let one = essence(Some("kmalloc-256"), Some(&[0x38, 3]));
        check(&one, &one, Verdict::SameBug);
        check(
            &one,
            &essence(Some("kmalloc-256"), Some(&[0x38, 4])),
            Verdict::Different,
        );
        check(
            &one,
            &essence(Some("kmalloc-512"), Some(&[0x38, 3])),
            Verdict::Different,
        );
    }

    #[test]
    fn what_is_not_known_decides_nothing() {
        let one = essence(Some("kmalloc-256"), Some(&[0x38, 3]));
        check(
            &one,
            &essence(None, Some(&[0x38, 3])),
            Verdict::Inconclusive,
        );
        check(
            &Essence::default(),
            &Essence::default(),
            Verdict::Inconclusive,
        );
    }
}
