//! What memory says: what agrees with the registers, and the cache with its list.
use super::vector::kernel_pointer;
use crate::explain::facts::{Facts, proofs};
use crate::explain::findings::{Finding, Proof};
use crate::explain::message::Hex;
use crate::explain::story::{Draft, Section, Topic};

/// Below this a `tid` says nothing: small numbers are in many registers by chance.
const TELLING_TID: u64 = 1024;
/// `next_tid` adds the number of CPUs rounded up to a power of two, or 1 (mm/slub.c, TID_STEP): at most 8192 CPUs.
const MAX_TID_STEP: u64 = 8192;

pub(super) fn agreement(facts: &Facts) -> Option<Section> {
    let account = &facts.account;
    let mut draft = Draft::new(Topic::Agreement);
    if let Ok(list) = &account.freelist {
        let evidence = proofs(&list.basis);
        freelist(facts, list.value.value, &evidence, &mut draft);
        if let Some(tid) = list.value.tid {
            transaction(facts, tid, &evidence, &mut draft);
        }
    }
    for check in &account.checks {
        // Said above.
        if check.holds && (check.what.contains("freelist") || check.what.contains("tid")) {
            continue;
        }
        let (what, left, right) = (check.what.clone(), Hex(check.left), Hex(check.right));
        if let Some(finding) = points_at(check) {
            draft.say(finding, proofs(&check.basis));
            continue;
        }
        let finding = if check.holds {
            Finding::Agrees { what, left, right }
        } else {
            Finding::Disagrees { what, left, right }
        };
        draft.say(finding, proofs(&check.basis));
    }
    for dropped in &account.dropped {
        let finding = Finding::FrameRefuted {
            function: dropped.function.clone(),
            why: dropped.why.clone(),
        };
        draft.say(finding, proofs(&dropped.basis));
    }
    for contradiction in &account.contradictions {
        let finding = Finding::Contradicts {
            what: contradiction.what.clone(),
            one: contradiction.one.clone(),
            other: contradiction.other.clone(),
        };
        draft.say(finding, proofs(&contradiction.basis));
    }
    for hint in &account.hints {
        let function = match &hint.module {
            Some(module) => format!("{} [{module}]", hint.function),
            None => hint.function.clone(),
        };
        let finding = Finding::LeftOver {
            register: hint.register.clone(),
            value: Hex(hint.value),
            function,
        };
        draft.say(finding, proofs(&hint.basis));
    }
    for what in &account.lent {
        draft.say(Finding::Lent { what: what.clone() }, Vec::new());
    }
    draft.finish()
}

/// A register that holds the address of a struct that the text shows: `&kmem_cache == r15`.
fn points_at(check: &recrash_transcript::account::Check) -> Option<Finding> {
    let (type_name, register) = check.what.strip_prefix('&')?.split_once(" == ")?;
    check.holds.then(|| Finding::PointsAt {
        register: register.into(),
        address: Hex(check.left),
        type_name: type_name.into(),
    })
}

/// The register that held the list's head: the base of the address, else any; or the sum of head and offset.
fn freelist(facts: &Facts, value: u64, evidence: &[Proof], draft: &mut Draft) {
    let base = facts.account.faulting.as_ref().ok();
    let base = base.and_then(|faulting| faulting.value.base.clone());
    let holders = facts.holders(value);
    let holder = base.clone().filter(|base| holders.contains(&&**base));
    let holder = holder.or_else(|| holders.first().map(|name| (*name).to_owned()));
    let with = |register: &str| {
        let mut all = evidence.to_vec();
        all.extend(
            facts
                .register(register)
                .into_iter()
                .flat_map(|(_, basis)| basis),
        );
        all
    };
    let in_base = base.and_then(|base| Some((facts.register(&base)?.0, base)));
    if let Some(register) = holder {
        let evidence = with(&register);
        let finding = Finding::FreelistIsRegister {
            value: Hex(value),
            register,
        };
        draft.say(finding, evidence);
    } else if let Some((other, register)) = &in_base
        && !holds_sum(facts, value, *other)
    {
        let evidence = with(register);
        let finding = Finding::FreelistIsNot {
            value: Hex(value),
            register: register.clone(),
            other: Hex(*other),
        };
        draft.say(finding, evidence);
    }
    if let Some((sum, register)) =
        in_base.filter(|(sum, _)| *sum != value && holds_sum(facts, value, *sum))
    {
        let evidence = with(&register);
        let finding = Finding::SumIsRegister {
            register,
            sum: Hex(sum),
            offset: sum.wrapping_sub(value),
        };
        draft.say(finding, evidence);
    }
}

/// Whether a value is the list's head plus the offset of the pointer in an object.
pub(super) fn holds_sum(facts: &Facts, head: u64, sum: u64) -> bool {
    let cache = facts.account.cache.as_ref().ok();
    let offset = cache.and_then(|cache| cache.value.offset);
    offset.is_some_and(|offset| head.wrapping_add(offset) == sum)
}

/// The allocator reads `tid`, computes the next one, and exchanges both with the list in one instruction.
fn transaction(facts: &Facts, tid: u64, evidence: &[Proof], draft: &mut Draft) {
    let Some(first) = facts
        .holders(tid)
        .first()
        .copied()
        .filter(|_| tid >= TELLING_TID)
    else {
        return;
    };
    let with = |register: &str| {
        let mut all = evidence.to_vec();
        all.extend(
            facts
                .register(register)
                .into_iter()
                .flat_map(|(_, basis)| basis),
        );
        all
    };
    let finding = Finding::TidIsRegister {
        tid,
        hex: Hex(tid),
        register: first.into(),
    };
    draft.say(finding, with(first));
    let mut step = 1;
    while step <= MAX_TID_STEP {
        let next = tid.wrapping_add(step);
        if let Some(register) = facts.holders(next).first() {
            let finding = Finding::NextTid {
                register: (*register).into(),
                tid,
                next,
                first: first.into(),
            };
            let mut evidence = with(register);
            evidence.push(Proof::SlubSource {});
            draft.say(finding, evidence);
            return;
        }
        step <<= 1;
    }
}

pub(super) fn hardening(facts: &Facts) -> Option<Section> {
    let known = facts.account.cache.as_ref().ok()?;
    let cache = &known.value;
    let evidence = proofs(&known.basis);
    let mut draft = Draft::new(Topic::Hardening);
    if let Some(name) = cache.name.clone() {
        let finding = match cache.object_size {
            Some(object_size) => Finding::Cache { name, object_size },
            None => Finding::CacheNoSize { name },
        };
        draft.say(finding, evidence.clone());
    }
    let list = facts.account.freelist.as_ref().ok();
    if let Some(list) = list {
        let finding = Finding::PerCpuList {
            address: Hex(list.value.cpu_slab),
            value: Hex(list.value.value),
        };
        draft.say(finding, proofs(&list.basis));
    }
    let offset = cache.offset.unwrap_or_default();
    // How a free object's pointer is kept says nothing of an object in use.
    if facts.field.is_some() {
        return draft.finish();
    }
    match cache.hardened {
        Some(true) => draft.say(Finding::Hardened { offset }, evidence),
        Some(false) => {
            draft.say(Finding::NotHardened { offset }, evidence);
            if let Some(list) = list.filter(|list| !kernel_pointer(list.value.value)) {
                let value = Hex(list.value.value);
                draft.say(Finding::RawMeaning { value }, vec![Proof::SlubSource {}]);
            }
        }
        None => draft.say(Finding::HardeningUnknown {}, vec![Proof::NotShown {}]),
    }
    draft.finish()
}
