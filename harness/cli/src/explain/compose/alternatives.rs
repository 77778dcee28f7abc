//! What would have to be true for another explanation: each predicts something, and the evidence has it, has the
//! contrary, or does not decide. Weighed only where a list's pointer was overwritten.
use recrash_kernel::decode::{Kind, Reading};

use super::Others;
use super::memory::holds_sum;
use super::vector::kernel_pointer;
use crate::explain::facts::Facts;
use crate::explain::findings::Finding;
use crate::explain::story::{
    Block, Draft, Explanation, Hypothesis, Prediction, Section, Standing, Topic,
};

use Standing::{Refuted, Supported, Undecided};

/// Bits 63 to 47 are ones in every kernel pointer with four levels.
const KERNEL_TOP: u64 = 0x1_ffff << 47;

pub(super) fn section(facts: &Facts, others: &Others) -> Option<Section> {
    let list = facts.account.freelist.as_ref().ok()?;
    if kernel_pointer(list.value.value) {
        return None;
    }
    let mut draft = Draft::new(Topic::Alternatives);
    let seen = Seen::of(facts, others, list.value.value);
    for explanation in explanations(&seen) {
        draft.add(Block::Explanation(explanation));
    }
    draft.finish()
}

/// What the evidence has.
struct Seen {
    /// The bytes begin with a descriptor's head; `None` where they are not known.
    head: Option<bool>,
    /// They stand at the same offset in the object as in a transfer.
    aligned: Option<bool>,
    /// Name of the cache, if one of kmalloc's.
    cache: Option<String>,
    /// Other places die of the same bytes.
    other_victims: bool,
    /// Bits in which the value differs at least from a kernel pointer; `None` where it was hardened.
    flipped: Option<u32>,
    /// Memory holds what the register held.
    agrees: Option<bool>,
    /// The bytes are text without a head.
    bare_text: Option<bool>,
}

impl Seen {
    fn of(facts: &Facts, others: &Others, value: u64) -> Self {
        let best = facts
            .account
            .decoded
            .as_ref()
            .ok()
            .and_then(|decoded| decoded.value.best());
        let cache = facts.account.cache.as_ref().ok().map(|cache| &cache.value);
        let plain = cache.is_some_and(|cache| cache.hardened == Some(false));
        let base = facts.account.faulting.as_ref().ok();
        let base = base.and_then(|faulting| faulting.value.base.clone());
        let held = base.and_then(|base| facts.register(&base));
        Self {
            head: best.map(is_descriptor),
            aligned: best
                .zip(cache.and_then(|cache| cache.offset))
                .and_then(|(best, at)| aligned(best, at)),
            cache: facts
                .cache()
                .filter(|name| name.starts_with("kmalloc-"))
                .map(str::to_owned),
            other_victims: !others.places.is_empty(),
            flipped: plain.then(|| (!value & KERNEL_TOP).count_ones()),
            agrees: held
                .map(|(held, _)| !facts.holders(value).is_empty() || holds_sum(facts, value, held)),
            bare_text: best.map(|best| matches!(best.kind, Kind::Text { .. })),
        }
    }
}

fn is_descriptor(best: &Reading) -> bool {
    match &best.kind {
        Kind::Descriptor(_) => true,
        Kind::Device(found) => found.kind.is_some(),
        _ => false,
    }
}

/// Whether the bytes stand at this offset in a transfer; `None` where they are no descriptor.
fn aligned(best: &Reading, offset: u64) -> Option<bool> {
    match &best.kind {
        Kind::Descriptor(found) => (offset == 0).then_some(found.begins == 0),
        Kind::Device(found) => Some(found.at == offset),
        _ => None,
    }
}

fn held(seen: Option<bool>) -> Standing {
    match seen {
        Some(true) => Supported,
        Some(false) => Refuted,
        None => Undecided,
    }
}

fn predicts(finding: Finding, standing: Standing) -> Prediction {
    Prediction { finding, standing }
}

fn explanations(seen: &Seen) -> Vec<Explanation> {
    let victims = if seen.other_victims {
        Supported
    } else {
        Undecided
    };
    let mut transfer = vec![predicts(Finding::PredictHead {}, held(seen.head))];
    transfer.push(predicts(Finding::PredictObjectStart {}, held(seen.aligned)));
    if let Some(cache) = seen.cache.clone() {
        transfer.push(predicts(Finding::PredictBufferCache { cache }, Supported));
    }
    transfer.push(predicts(Finding::PredictFreeObject {}, Supported));
    transfer.push(predicts(Finding::PredictOtherVictims {}, victims));
    let with = |last: Finding| {
        let mut all = transfer.clone();
        all.push(predicts(last, Undecided));
        all
    };
    let overrun = match seen.aligned {
        // An overrun goes on with what it began before; nothing makes it begin where the object does.
        Some(true) => Refuted,
        _ => Undecided,
    };
    let mut list = vec![
        rated(Hypothesis::LateDma, with(Finding::PredictRepeat {})),
        rated(Hypothesis::EarlyFree, with(Finding::PredictInFlight {})),
        rated(
            Hypothesis::SoftwareRaw,
            vec![
                predicts(Finding::PredictHead {}, held(seen.head)),
                predicts(Finding::PredictCpuStore {}, Undecided),
            ],
        ),
        rated(
            Hypothesis::SoftwareText,
            vec![predicts(Finding::PredictTextOnly {}, held(seen.bare_text))],
        ),
        rated(
            Hypothesis::Overrun,
            vec![predicts(Finding::PredictContinuation {}, overrun)],
        ),
    ];
    if let Some(bits) = seen.flipped {
        let standing = match bits {
            0 => Undecided,
            1 => Supported,
            _ => Refuted,
        };
        list.push(rated(
            Hypothesis::BitFlip,
            vec![predicts(Finding::PredictOneBit { bits }, standing)],
        ));
    }
    let differs = seen.agrees.map(|agrees| !agrees);
    list.push(rated(
        Hypothesis::WrongRegisters,
        vec![predicts(Finding::PredictMemoryDiffers {}, held(differs))],
    ));
    list
}

/// One prediction refuted refutes it; all met support it; otherwise this evidence does not decide.
fn rated(what: Hypothesis, predictions: Vec<Prediction>) -> Explanation {
    let all = |standing| predictions.iter().all(|made| made.standing == standing);
    let standing = if predictions.iter().any(|made| made.standing == Refuted) {
        Refuted
    } else if all(Supported) {
        Supported
    } else {
        Undecided
    };
    Explanation {
        what,
        standing,
        predictions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen: &Seen, what: Hypothesis, expected: Standing) {
        let found = explanations(seen).into_iter().find(|one| one.what == what);
        assert_eq!(found.unwrap().standing, expected, "{what:?}");
    }

    fn real_dump() -> Seen {
        Seen {
            head: Some(true),
            aligned: Some(true),
            cache: Some("kmalloc-256".into()),
            other_victims: true,
            flipped: Some((!0x0072_0069_0056_0338_u64 & KERNEL_TOP).count_ones()),
            agrees: Some(true),
            bare_text: Some(false),
        }
    }

    #[test]
    fn a_head_at_the_objects_start_leaves_transfers_and_raw_copies() {
        let seen = real_dump();
        for what in [
            Hypothesis::LateDma,
            Hypothesis::EarlyFree,
            Hypothesis::SoftwareRaw,
        ] {
            check(&seen, what, Undecided);
        }
        for what in [
            Hypothesis::SoftwareText,
            Hypothesis::Overrun,
            Hypothesis::BitFlip,
            Hypothesis::WrongRegisters,
        ] {
            check(&seen, what, Refuted);
        }
    }

    #[test]
    fn memory_that_disagrees_speaks_for_wrong_registers() {
        let seen = Seen {
            agrees: Some(false),
            ..real_dump()
        };
        check(&seen, Hypothesis::WrongRegisters, Supported);
    }

    #[test]
    fn one_bit_away_from_a_pointer_speaks_for_a_flip() {
        let seen = Seen {
            flipped: Some(1),
            head: Some(false),
            ..real_dump()
        };
        check(&seen, Hypothesis::BitFlip, Supported);
        check(&seen, Hypothesis::LateDma, Refuted);
    }

    #[test]
    fn unknown_bytes_decide_nothing() {
        let seen = Seen {
            head: None,
            aligned: None,
            bare_text: None,
            agrees: None,
            flipped: None,
            ..real_dump()
        };
        for what in [
            Hypothesis::LateDma,
            Hypothesis::SoftwareText,
            Hypothesis::Overrun,
            Hypothesis::WrongRegisters,
        ] {
            check(&seen, what, Undecided);
        }
    }
}
