//! The request that met the list: size, flags, the buffer it was for, and who asked.
use recrash_transcript::account::Allocation;

use super::vector::kernel_pointer;
use crate::explain::facts::{Facts, proofs};
use crate::explain::findings::{Finding, Proof};
use crate::explain::message::Hex;
use crate::explain::story::{Draft, Section, Topic};

pub(super) fn section(facts: &Facts) -> Option<Section> {
    let known = facts.account.allocation.as_ref().ok()?;
    let mut draft = Draft::new(Topic::Allocation);
    let size = known.value.size.as_ref().ok();
    if let Some(size) = size {
        let finding = Finding::RequestedSize { size: size.value };
        draft.say(finding, proofs(&size.basis));
    }
    flags(&known.value, &mut draft);
    if let (Some(size), Some(cache)) = (size, facts.cache()) {
        let finding = Finding::ServedBy {
            size: size.value,
            cache: cache.into(),
        };
        draft.say(finding, Vec::new());
    }
    if let Some((caller, evidence)) = caller(facts) {
        let zeroed = known
            .value
            .flag_names
            .as_deref()
            .is_some_and(|names| names.contains("__GFP_ZERO"));
        match size.filter(|_| zeroed && caller == ROOT_HUB_CALLER) {
            Some(size) => {
                let size = size.value;
                let mut evidence = evidence;
                evidence.push(Proof::RootHubSource {});
                draft.say(Finding::RootHubBuffer { size, caller }, evidence);
            }
            None => draft.say(Finding::AskedBy { caller }, evidence),
        }
        let list = facts.account.freelist.as_ref().ok();
        if list.is_some_and(|list| !kernel_pointer(list.value.value)) {
            draft.say(Finding::OnlyVictim {}, Vec::new());
        }
    }
    draft.finish()
}

/// The only zeroed buffer that is asked for here is that of `rh_call_control`, which compilers put into this function
/// (drivers/usb/core/hcd.c, 4.18 to 6.12).
const ROOT_HUB_CALLER: &str = "usb_hcd_submit_urb";

fn flags(allocation: &Allocation, draft: &mut Draft) {
    let Ok(flags) = &allocation.flags else { return };
    let raw = Hex(flags.value);
    let finding = match allocation.flag_names.clone() {
        Some(names) => Finding::RequestedFlags { flags: raw, names },
        None => Finding::RequestedFlagsRaw { flags: raw },
    };
    draft.say(finding, proofs(&flags.basis));
}

/// The first frame outside of the allocator.
fn caller(facts: &Facts) -> Option<(String, Vec<Proof>)> {
    let frames = facts.account.frames.as_ref().ok()?;
    let frame = frames
        .value
        .iter()
        .find(|frame| !in_allocator(&frame.function))?;
    let evidence = vec![crate::explain::facts::proof(&frame.basis)];
    Some((frame.function.clone(), evidence))
}

/// Functions of the allocator (mm/slub.c, mm/slab_common.c).
pub(crate) fn in_allocator(function: &str) -> bool {
    const PARTS: [&str; 5] = [
        "kmalloc",
        "kmem_cache_alloc",
        "slab_alloc",
        "kzalloc",
        "get_freepointer",
    ];
    PARTS.iter().any(|part| function.contains(part))
}
