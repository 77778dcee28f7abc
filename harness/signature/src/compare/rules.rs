//! The table of rules that explain a difference. A rule names the fields it may explain and asks
//! both signatures whether it applies; the first that does is taken.

use super::place;
use super::walk::same_site;
use crate::model::{Decoded, Fact, FaultClass, Frame, Role, Signature, Site};
use crate::normalise;

/// A reason why a fact may differ between two dumps of one crash.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable name, shown in reports.
    pub name: &'static str,
    /// Why the difference does not count.
    pub reason: &'static str,
    /// The fields it may explain.
    pub fields: &'static [&'static str],
    /// Whether it explains this field of these two (golden first).
    applies: fn(&str, &Signature, &Signature) -> bool,
}

/// The first rule that explains `field`.
pub(super) fn explain(field: &str, golden: &Signature, found: &Signature) -> Option<&'static Rule> {
    let mut rules = RULES.iter();
    rules.find(|rule| rule.fields.contains(&field) && (rule.applies)(field, golden, found))
}

/// All rules, in the order in which they are tried.
pub const RULES: &[Rule] = &[
    Rule {
        name: "tcg-no-ss",
        reason: "QEMU's TCG raises #GP for a non-canonical address with base rbp or rsp, where hardware raises #SS",
        fields: &["fault.vector", "fault.trap"],
        applies: tcg_no_ss,
    },
    Rule {
        name: "la57-canonical",
        reason: "with 5-level paging the address is canonical, so the CPU looks for a page and raises #PF",
        fields: &[
            "fault.vector",
            "fault.trap",
            "fault.class",
            "fault.hardware-vector",
        ],
        applies: la57_canonical,
    },
    Rule {
        name: "compiler-register",
        reason: "the compiler keeps the same pointer in another register; a base of rbp or rsp raises #SS, any other #GP",
        fields: &[
            "fault.vector",
            "fault.trap",
            "fault.hardware-vector",
            "fault.base-register",
            "fault.index-role",
            "fault.instruction",
        ],
        applies: compiler_register,
    },
    Rule {
        name: "freelist-mid-object",
        reason: "since Linux 5.7 the next-free pointer lies in the middle of the object, so other bytes of a longer descriptor reach it",
        fields: &[
            "slab.freelist-offset",
            "corruption.observed",
            "corruption.decoded.offset",
            "corruption.decoded.length",
            "corruption.decoded.text",
        ],
        applies: freelist_mid_object,
    },
    Rule {
        name: "freelist-hardened",
        reason: "CONFIG_SLAB_FREELIST_HARDENED obfuscates the pointer; undoing it gave bytes that are proven",
        fields: &["slab.hardened"],
        applies: freelist_hardened,
    },
    Rule {
        name: "init-on-alloc",
        reason: "init_on_alloc zeroed the object that carried the bytes, so other evidence had to identify them",
        fields: &["context.init-on-alloc", "corruption.confidence"],
        applies: init_on_alloc,
    },
    Rule {
        name: "allocator-internal",
        reason: "the fault lies in an internal function of the allocator, under the same public entry",
        fields: &["fault.function"],
        applies: allocator_internal,
    },
    Rule {
        name: "suffix",
        reason: "the compiler cloned or split the function (.constprop, .isra, .part, .cold)",
        fields: &["fault.function", "frames.chain"],
        applies: suffix,
    },
    Rule {
        name: "inlined-frame",
        reason: "the compiler inlined functions on one of the kernels; the rest of the chain is the same",
        fields: &["frames.chain"],
        applies: |_, golden, found| chains(golden, found, place::inlining_explains),
    },
    Rule {
        name: "module-or-built-in",
        reason: "the same code is a module on one kernel and built into the other",
        fields: &["frames.modules"],
        applies: |_, golden, found| chains(golden, found, place::only_moved_in_or_out),
    },
    Rule {
        name: "syscall-wrapper",
        reason: "another entry wrapper of the same system call",
        fields: &["frames.syscall"],
        applies: |_, golden, found| {
            on(&golden.frames.syscall, &found.frames.syscall, |a, b| {
                normalise::syscall(a) == normalise::syscall(b)
            })
        },
    },
    Rule {
        name: "random-kmalloc-caches",
        reason: "CONFIG_RANDOM_KMALLOC_CACHES spreads one size over several caches, by a seed of the boot",
        fields: &["slab.cache", "corruption.site"],
        applies: random_kmalloc_caches,
    },
];

/// Both facts known, and `test` holds.
fn on<T>(golden: &Fact<T>, found: &Fact<T>, test: impl Fn(&T, &T) -> bool) -> bool {
    matches!((golden.value(), found.value()), (Some(a), Some(b)) if test(a, b))
}

fn chains(golden: &Signature, found: &Signature, test: fn(&[Frame], &[Frame]) -> bool) -> bool {
    on(&golden.frames.chain, &found.frames.chain, |a, b| test(a, b))
}

/// Segment of the base register: rbp and rsp (and their parts) address the stack segment
/// (Intel SDM volume 1, section 3.7.4).
fn stack_segment(register: &str) -> bool {
    matches!(register, "rbp" | "rsp" | "ebp" | "esp")
}

fn tcg_no_ss(_: &str, golden: &Signature, found: &Signature) -> bool {
    // Hardware never raises #GP here, so the vector itself shows an emulator; a run that says it
    // was not one contradicts that.
    let emulated = found
        .context
        .accelerator
        .value()
        .is_none_or(|name| name == "tcg");
    let base = found.fault.base_register.value();
    golden.fault.vector.value() == Some(&12)
        && found.fault.vector.value() == Some(&13)
        && found.fault.class.value() == Some(&FaultClass::NonCanonical)
        && base.is_some_and(|base| stack_segment(base))
        && emulated
}

fn la57_canonical(_: &str, golden: &Signature, found: &Signature) -> bool {
    let (a, b) = (&golden.fault, &found.fault);
    a.class.value() == Some(&FaultClass::NonCanonical)
        && b.class.value() == Some(&FaultClass::Unmapped)
        && b.vector.value() == Some(&14)
        && found.context.la57.value() == Some(&true)
}

fn compiler_register(field: &str, golden: &Signature, found: &Signature) -> bool {
    let (a, b) = (&golden.fault, &found.fault);
    let same_pointer = on(&a.base_role, &b.base_role, |a, b| {
        a == b && *a != Role::Other
    });
    let other_base = on(&a.base_register, &b.base_register, |a, b| a != b);
    let by_base = |fault: &crate::model::Fault| {
        let vector = fault
            .base_register
            .value()
            .map(|r| if stack_segment(r) { 12 } else { 13 });
        vector.is_some() && vector == fault.vector.value().copied()
    };
    let vectors_follow = by_base(a) && by_base(b) && on(&a.class, &b.class, |a, b| a == b);
    let loads = on(&a.instruction, &b.instruction, |a, b| {
        mnemonic(a) == mnemonic(b)
    });
    match field {
        "fault.vector" | "fault.trap" => same_pointer && other_base && vectors_follow,
        "fault.hardware-vector" => same_pointer && other_base,
        "fault.instruction" => same_pointer && loads,
        _ => same_pointer,
    }
}

fn mnemonic(instruction: &str) -> Option<&str> {
    instruction.split_ascii_whitespace().next()
}

/// Each side's bytes lie in its descriptor where its own freelist pointer lies in the object, and
/// the descriptor is long enough to reach over the whole pointer.
fn freelist_mid_object(_: &str, golden: &Signature, found: &Signature) -> bool {
    let other_offset = on(
        &golden.slab.freelist_offset,
        &found.slab.freelist_offset,
        |a, b| a != b,
    );
    other_offset && reaches_pointer(golden) && reaches_pointer(found)
}

fn reaches_pointer(signature: &Signature) -> bool {
    let on_freelist = matches!(
        signature.corruption.site.value(),
        Some(Site::FreelistPointer { .. })
    );
    let Some(Decoded::UsbDescriptor {
        offset,
        length: Some(length),
        ..
    }) = signature.corruption.decoded.value()
    else {
        return false;
    };
    on_freelist
        && signature.slab.freelist_offset.value() == Some(&u32::from(*offset))
        && u32::from(*length) >= u32::from(*offset) + 8
}

fn freelist_hardened(_: &str, _: &Signature, found: &Signature) -> bool {
    use crate::model::Confidence;
    // Obfuscated bytes that were not undone look like anything.
    let decoded = found.corruption.decoded.value();
    let hardened = found.slab.hardened.value() == Some(&true);
    let sure = match found.corruption.confidence.value() {
        Some(Confidence::Proven) => true,
        Some(Confidence::Structural) => !hardened,
        _ => false,
    };
    sure && decoded.is_some_and(|decoded| *decoded != Decoded::Unknown {})
}

fn init_on_alloc(_: &str, _: &Signature, found: &Signature) -> bool {
    found.context.init_on_alloc.value() == Some(&true)
}

fn allocator_internal(_: &str, golden: &Signature, found: &Signature) -> bool {
    let internal = on(&golden.fault.function, &found.fault.function, |a, b| {
        normalise::allocator_entry(a).is_some() && normalise::allocator_entry(b).is_some()
    });
    let first = |frames: &Vec<Frame>| place::functions(frames).first().map(|f| (*f).to_owned());
    let chains = (golden.frames.chain.value(), found.frames.chain.value());
    match chains {
        (Some(a), Some(b)) => internal && first(a) == first(b),
        _ => {
            internal
                && on(&golden.fault.function, &found.fault.function, |a, b| {
                    normalise::allocator_entry(a) == normalise::allocator_entry(b)
                })
        }
    }
}

fn suffix(field: &str, golden: &Signature, found: &Signature) -> bool {
    match field {
        "frames.chain" => chains(golden, found, place::suffixes_explain),
        _ => on(&golden.fault.function, &found.fault.function, |a, b| {
            normalise::function(a) == normalise::function(b)
        }),
    }
}

fn random_kmalloc_caches(field: &str, golden: &Signature, found: &Signature) -> bool {
    match field {
        "slab.cache" => on(&golden.slab.cache, &found.slab.cache, |a, b| {
            normalise::cache(a) == normalise::cache(b)
        }),
        _ => on(&golden.corruption.site, &found.corruption.site, same_site),
    }
}
