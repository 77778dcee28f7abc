//! The table of rules that explain a difference. A rule names the fields it may explain and asks
//! both signatures whether it applies; the first that does is taken.

use super::place;
use super::walk::same_site;
use crate::model::{Confidence, Decoded, Fact, Fault, FaultClass, Frame, Role, Signature, Site};
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
        reason: "the compiler forms the same address from other registers; a base of rbp or rsp raises #SS, any other #GP",
        fields: &[
            "fault.vector",
            "fault.trap",
            "fault.hardware-vector",
            "fault.base-register",
            "fault.base-role",
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
            "corruption.decoded.whole",
        ],
        applies: freelist_mid_object,
    },
    Rule {
        name: "freelist-hardened",
        reason: "CONFIG_SLAB_FREELIST_HARDENED obfuscates the pointer; undoing it gave bytes that are established",
        fields: &["slab.hardened"],
        applies: freelist_hardened,
    },
    Rule {
        name: "hardened-load",
        reason: "the compiler folded the load of the obfuscated pointer into the XOR that undoes the obfuscation",
        fields: &["fault.instruction"],
        applies: hardened_load,
    },
    Rule {
        name: "init-on-alloc",
        reason: "init_on_alloc zeroed the rest of the object that carried the bytes, so less of them could be checked",
        fields: &["corruption.confidence"],
        applies: init_on_alloc,
    },
    Rule {
        name: "suffix",
        reason: "the compiler cloned or split the function (.constprop, .isra, .part, .cold)",
        fields: &["fault.function", "frames.chain"],
        applies: suffix,
    },
    Rule {
        name: "allocator-internal",
        reason: "the fault lies in an internal function of the allocator, under the same public entry",
        fields: &["fault.function"],
        applies: allocator_internal,
    },
    Rule {
        name: "inlined-frame",
        reason: "the compiler inlined functions on one of the kernels; both ends and the rest of the chain are the same",
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
fn on<T, U>(golden: &Fact<T>, found: &Fact<U>, test: impl Fn(&T, &U) -> bool) -> bool {
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
    let levels =
        golden.context.la57.value() != Some(&true) && found.context.la57.value() == Some(&true);
    levels
        && a.class.value() == Some(&FaultClass::NonCanonical)
        && b.class.value() == Some(&FaultClass::Unmapped)
        && b.vector.value() == Some(&14)
        && !canonical_with_four_levels_too(found)
}

/// Whether the pointer is known, and 5-level paging makes no difference to it. A hardened one is
/// not: what was written is not what was dereferenced.
fn canonical_with_four_levels_too(signature: &Signature) -> bool {
    let raw = signature.slab.hardened.value() == Some(&false);
    let observed = signature.corruption.observed.value();
    let pointer = observed.and_then(|bytes| <[u8; 8]>::try_from(bytes.0.as_slice()).ok());
    raw && pointer.is_some_and(|bytes| {
        let pointer = i64::from_le_bytes(bytes);
        // Bits 63 to 47 are all the same (Intel SDM volume 1, section 3.3.7.1).
        matches!(pointer >> 47, 0 | -1)
    })
}

fn compiler_register(field: &str, golden: &Signature, found: &Signature) -> bool {
    let (a, b) = (&golden.fault, &found.fault);
    if !same_address(a, b) {
        return false;
    }
    let other_base = on(&a.base_register, &b.base_register, |a, b| a != b);
    let follows = |fault: &Fault, vector: &Fact<u8>| {
        on(&fault.base_register, vector, |base, vector| {
            *vector == if stack_segment(base) { 12 } else { 13 }
        }) && fault.class.value() == Some(&FaultClass::NonCanonical)
    };
    match field {
        "fault.vector" | "fault.trap" => {
            other_base && follows(a, &a.vector) && follows(b, &b.vector)
        }
        "fault.hardware-vector" => {
            other_base && follows(a, &a.hardware_vector) && follows(b, &b.hardware_vector)
        }
        "fault.instruction" => on(&a.instruction, &b.instruction, |a, b| {
            access(a).is_some_and(|a| access(b) == Some(a))
        }),
        _ => true,
    }
}

/// Whether both operands come to the same address: the freelist pointer, with its offset in the
/// other register or already added; else the same thing in the same place.
fn same_address(a: &Fault, b: &Fault) -> bool {
    let roles = |fault: &Fault| Some((*fault.base_role.value()?, *fault.index_role.value()?));
    let freelist = |roles| {
        use Role::{FreelistOffset, FreelistPointer, None};
        matches!(
            roles,
            (FreelistPointer, FreelistOffset | None) | (FreelistOffset, FreelistPointer)
        )
    };
    match (roles(a), roles(b)) {
        (Some(a), Some(b)) if freelist(a) && freelist(b) => true,
        (Some(a), Some(b)) => a == b && a.0 != Role::Other && a.1 != Role::Other,
        _ => false,
    }
}

/// Mnemonic, and which of its operands is the memory: `mov rbx, [base]` reads, `mov [base], rbx`
/// writes. None where no operand shows it (`rep stosq`).
fn access(instruction: &str) -> Option<(&str, usize)> {
    let (mnemonic, operands) = instruction.trim().split_once(' ')?;
    let mut operands = operands.split(',');
    let memory = operands.position(|operand| operand.contains('['))?;
    Some((mnemonic, memory))
}

/// Each side's bytes lie in its descriptor where its own freelist pointer lies in the object, and
/// the descriptor is long enough to reach over the whole pointer. Another length, and so another
/// string, is explained only where the shorter one could not have reached the other's pointer; the
/// longer must begin with what is known of the shorter.
fn freelist_mid_object(field: &str, golden: &Signature, found: &Signature) -> bool {
    let at = |s: &Signature| s.slab.freelist_offset.value().copied();
    let moved = match (at(golden), at(found)) {
        (Some(0), Some(middle)) => is_middle(middle, found),
        (Some(middle), Some(0)) => is_middle(middle, golden),
        _ => false,
    };
    let length = |s: &Signature| match s.corruption.decoded.value() {
        Some(Decoded::UsbDescriptor { length, .. }) => length.map(u32::from),
        _ => None,
    };
    let too_short = || {
        let middle = at(golden).max(at(found)).map(|at| at + POINTER);
        length(golden).min(length(found)) < middle
    };
    let by_length = matches!(
        field,
        "corruption.decoded.length" | "corruption.decoded.whole"
    );
    let of_string = matches!(
        field,
        "corruption.decoded.text" | "corruption.decoded.whole"
    );
    let (head, middle) = match at(golden) {
        Some(0) => (golden, found),
        _ => (found, golden),
    };
    moved
        && reaches_pointer(golden)
        && reaches_pointer(found)
        && (!by_length || too_short())
        && (!of_string || begins_with(middle, head))
}

/// Whether the whole string of `middle` is known and begins with the characters seen in `head`.
fn begins_with(middle: &Signature, head: &Signature) -> bool {
    let (
        Some(Decoded::UsbDescriptor {
            whole: Some(whole), ..
        }),
        Some(Decoded::UsbDescriptor {
            text: Some(text), ..
        }),
    ) = (
        middle.corruption.decoded.value(),
        head.corruption.decoded.value(),
    )
    else {
        return false;
    };
    // The bytes may end within a surrogate pair.
    whole.starts_with(text.trim_end_matches(char::REPLACEMENT_CHARACTER))
}

/// Bytes of a pointer.
const POINTER: u32 = 8;

/// Linux commit 3202fa62fb43 ("slub: relocate freelist pointer to middle of object", v5.7): half
/// the object's size, rounded up to a pointer then, down in later kernels.
fn is_middle(offset: u32, signature: &Signature) -> bool {
    let size = signature.slab.object_size.value();
    size.is_some_and(|size| {
        let half = size / 2;
        offset != 0
            && (offset == half / POINTER * POINTER || offset == half.div_ceil(POINTER) * POINTER)
    })
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
        && u32::from(*length) >= u32::from(*offset) + POINTER
}

/// Obfuscated bytes that were not undone look like anything, so a hardened side needs bytes that
/// could not have come out by chance.
fn freelist_hardened(_: &str, golden: &Signature, found: &Signature) -> bool {
    let sure = |s: &Signature| {
        let confidence = s.corruption.confidence.value();
        let established = confidence.is_some_and(|sure| *sure >= Confidence::Structural);
        let decoded = s.corruption.decoded.value();
        established && decoded.is_some_and(|decoded| *decoded != Decoded::Unknown {})
    };
    let each = |s: &Signature| s.slab.hardened.value() == Some(&false) || sure(s);
    each(golden) && each(found)
}

/// `mov rbx, [base]` and `xor rbx, [base]` read the same pointer; only an obfuscated one is XORed.
fn hardened_load(_: &str, golden: &Signature, found: &Signature) -> bool {
    let reads = |s: &Signature, mnemonic: &str| {
        let instruction = s.fault.instruction.value();
        let access = instruction.and_then(|text| access(text));
        access == Some((mnemonic, 1))
    };
    let folded = |s: &Signature| {
        s.slab.hardened.value() == Some(&true)
            && s.fault.base_role.value() == Some(&Role::FreelistPointer)
            && reads(s, "xor")
    };
    let plain = |s: &Signature| reads(s, "mov");
    same_address(&golden.fault, &found.fault)
        && (plain(golden) && folded(found) || folded(golden) && plain(found))
}

/// Zeroing takes evidence away; it never makes a decoding surer.
fn init_on_alloc(_: &str, golden: &Signature, found: &Signature) -> bool {
    let on_here = |s: &Signature| s.context.init_on_alloc.value() == Some(&true);
    let less_sure = on(
        &golden.corruption.confidence,
        &found.corruption.confidence,
        |a, b| b < a,
    );
    on_here(found) && !on_here(golden) && less_sure
}

/// Both functions serve the same public entry: the chains', where both are known.
fn allocator_internal(_: &str, golden: &Signature, found: &Signature) -> bool {
    let entry = |s: &Signature| {
        let frames = s.frames.chain.value()?;
        place::functions(frames).first().map(|f| (*f).to_owned())
    };
    on(
        &golden.fault.function,
        &found.fault.function,
        |a, b| match (entry(golden), entry(found)) {
            (Some(x), Some(y)) => {
                x == y && normalise::serves_entry(a, &x) && normalise::serves_entry(b, &y)
            }
            _ => {
                let known = normalise::allocator_entry(a);
                known.is_some() && known == normalise::allocator_entry(b)
            }
        },
    )
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
