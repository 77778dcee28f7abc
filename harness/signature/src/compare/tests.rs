//! Tests of the comparison: the golden of 2022-06-05 against signatures changed fact by fact.

use super::*;
use crate::model::{
    Confidence, Context, Corruption, Decoded, DescriptorType, Encoding, Fact, Fault, FaultClass,
    Frames, Role, Site, Slab, Source,
};
use crate::normalise;
use std::fmt::Write as _;

mod rules;

fn golden() -> Signature {
    let snap = include_str!(
        "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
    );
    Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, Source::VmcoreBtf)
}

/// What the analysis of a run on Debian's 6.1.0-56-amd64 under TCG gives: hardened, pointer in the
/// middle of the object, its offset already added into another base register.
fn stock() -> Signature {
    let unsliced = "registers are not yet traced back to the allocator's parameters";
    let raw = "__kmem_cache_alloc_node|__kmalloc|usb_hcd_submit_urb [usbcore]\
        |proc_do_submiturb [usbcore]|usbdev_ioctl [usbcore]|__x64_sys_ioctl|do_syscall_64\
        |entry_SYSCALL_64_after_hwframe";
    let raw: Vec<_> = raw.split('|').map(|f| f.parse().unwrap()).collect();
    let kmalloc_256 = Site::FreelistPointer {
        cache: "kmalloc-256".into(),
    };
    Signature::new(
        Fault {
            vector: known(13),
            trap: known("#GP".into()),
            class: known(FaultClass::NonCanonical),
            function: known("__kmem_cache_alloc_node".into()),
            offset: known(0x12e),
            instruction: known("mov rbx, [base]".into()),
            base_register: known("rcx".into()),
            base_role: known(Role::FreelistPointer),
            index_role: known(Role::None),
            hardware_vector: known(13),
        },
        Frames {
            chain: known(normalise::chain(&raw).frames),
            syscall: known("ioctl".into()),
        },
        Slab {
            cache: known("kmalloc-256".into()),
            object_size: known(256),
            freelist_offset: known(128),
            hardened: known(true),
        },
        Corruption {
            site: known(kmalloc_256),
            bytes: known("0..8".parse().unwrap()),
            observed: known("61 00 74 00 20 00 72 00".parse().unwrap()),
            decoded: known(Decoded::UsbDescriptor {
                descriptor: DescriptorType::STRING,
                offset: 128,
                length: Some(254),
                text: Some("at r".into()),
                whole: Some("A string descriptor that reaches the middle".into()),
                langids: None,
            }),
            confidence: known(Confidence::Proven),
            proof: known(vec!["a live device has the same bytes".into()]),
        },
        Context {
            accelerator: known("tcg".into()),
            comm: known("esdm-agent".into()),
            cpu: known(1),
            gfp_flags: Fact::absent(unsliced),
            init_on_alloc: known(true),
            kaslr: known(true),
            la57: known(false),
            release: known("6.1.0-56-amd64".into()),
            request: known("USBDEVFS_SUBMITURB".into()),
            requested_size: Fact::absent(unsliced),
        },
    )
}

/// A comparison as text, for a snapshot.
fn told(comparison: &Comparison) -> String {
    let mut out = format!("{}: {}\n", comparison.verdict, comparison.why);
    let mut differences = |title: &str, list: &[Difference]| {
        let _ = writeln!(out, "{title}:");
        for d in list {
            let rule = d.rule.map(|rule| format!(" ({rule})")).unwrap_or_default();
            let _ = writeln!(out, "  {}: {} | {}{rule}", d.field, d.golden, d.found);
        }
    };
    differences("explained", &comparison.explained);
    differences("unexplained", &comparison.unexplained);
    differences("context", &comparison.context);
    let mut gaps = |title: &str, list: &[Gap]| {
        let fields: Vec<_> = list.iter().map(|gap| gap.field.as_str()).collect();
        let _ = writeln!(out, "{title}: {}", fields.join(", "));
    };
    gaps("uncovered", &comparison.uncovered);
    gaps("unknown", &comparison.unknown);
    out
}

fn check(found: &Signature, verdict: Verdict) -> Comparison {
    let comparison = compare(&golden(), found);
    assert_eq!(comparison.verdict, verdict, "{comparison:#?}");
    comparison
}

fn changed(
    from: fn() -> Signature,
    change: impl FnOnce(&mut Signature),
    verdict: Verdict,
) -> Comparison {
    let mut found = from();
    change(&mut found);
    check(&found, verdict)
}

fn rule(comparison: &Comparison, field: &str) -> Option<&'static str> {
    comparison
        .explained
        .iter()
        .find(|d| d.field == field)
        .and_then(|d| d.rule)
}

#[test]
fn a_golden_is_the_same_crash_as_itself() {
    let comparison = check(&golden(), Verdict::SameCrash);
    assert!(comparison.explained.is_empty() && comparison.unexplained.is_empty());
    assert!(
        comparison
            .uncovered
            .iter()
            .any(|gap| gap.field == "context.init-on-alloc")
    );
}

#[test]
fn a_stock_kernel_is_the_same_crash_with_every_difference_explained() {
    let comparison = check(&stock(), Verdict::SameCrash);
    insta::assert_snapshot!(told(&comparison), @r"
    same-crash: same corruption, same place; differences explained: 15
    explained:
      fault.vector: 12 | 13 (compiler-register)
      fault.trap: #SS | #GP (compiler-register)
      fault.function: __kmalloc | __kmem_cache_alloc_node (allocator-internal)
      fault.instruction: mov rbx, [base+index] | mov rbx, [base] (compiler-register)
      fault.base-register: rbp | rcx (compiler-register)
      fault.index-role: freelist-offset | none (compiler-register)
      fault.hardware-vector: 12 | 13 (compiler-register)
      frames.chain: __kmalloc ← usb_hcd_submit_urb ← proc_do_submiturb ← usbdev_do_ioctl ← usbdev_ioctl | __kmalloc ← usb_hcd_submit_urb ← proc_do_submiturb ← usbdev_ioctl (inlined-frame)
      frames.modules: usb_hcd_submit_urb built in, proc_do_submiturb built in, usbdev_ioctl built in | usb_hcd_submit_urb in usbcore, proc_do_submiturb in usbcore, usbdev_ioctl in usbcore (module-or-built-in)
      slab.freelist-offset: 0 | 128 (freelist-mid-object)
      slab.hardened: false | true (freelist-hardened)
      corruption.observed: 38 03 56 00 69 00 72 00 | 61 00 74 00 20 00 72 00 (freelist-mid-object)
      corruption.decoded.offset: 0 | 128 (freelist-mid-object)
      corruption.decoded.length: 56 | 254 (freelist-mid-object)
      corruption.decoded.text: Vir | at r (freelist-mid-object)
    unexplained:
    context:
      fault.offset: 171 | 302
      corruption.confidence: structural | proven
      context.cpu: 10 | 1
      context.release: 4.18.0-147.5.1.el8_1.5es.14.x86_64 | 6.1.0-56-amd64
    uncovered: corruption.decoded.whole, context.accelerator, context.init-on-alloc
    unknown: context.gfp-flags, context.requested-size
    ");
}

#[test]
fn the_titles_of_golden_and_stock_differ_in_the_trap_only() {
    assert_eq!(golden().title, "stack segment fault in __kmalloc");
    assert_eq!(stock().title, "general protection fault in __kmalloc");
    assert_eq!(golden().bug, stock().bug);
}

/// The stock candidate with another decoding.
fn decoded(change: impl FnOnce(&mut DescriptorType, &mut Option<u8>)) -> Signature {
    let mut s = stock();
    let Fact::Known {
        value: Decoded::UsbDescriptor {
            descriptor, length, ..
        },
        ..
    } = &mut s.corruption.decoded
    else {
        panic!("the candidate holds a descriptor");
    };
    change(descriptor, length);
    s
}

#[test]
fn another_descriptor_type_is_different_however_sure() {
    for confidence in [
        Confidence::Proven,
        Confidence::Structural,
        Confidence::Plausible,
    ] {
        let mut found = decoded(|descriptor, _| *descriptor = DescriptorType(4));
        found.corruption.confidence = known(confidence);
        let comparison = check(&found, Verdict::Different);
        assert_eq!(
            comparison.why,
            "corruption.decoded differs: another type of USB descriptor"
        );
        let mut unexplained = comparison.unexplained.iter();
        let difference = unexplained.find(|d| d.field == "corruption.decoded");
        let difference = difference.unwrap();
        assert_eq!(difference.golden, "string");
        assert_eq!(difference.found, "interface");
    }
}

#[test]
fn the_same_bytes_as_mere_text_are_different() {
    let mut found = stock();
    found.corruption.decoded = known(Decoded::Text {
        encoding: Encoding::Utf16,
        text: "at r".into(),
    });
    found.corruption.confidence = known(Confidence::Plausible);
    let comparison = check(&found, Verdict::Different);
    assert_eq!(
        comparison.why,
        "corruption.decoded differs: text alone does not prove a USB descriptor"
    );
}

#[test]
fn the_middle_of_a_descriptor_without_proof_is_different() {
    for unproven in [Confidence::Structural, Confidence::Plausible] {
        let mut found = stock();
        found.corruption.confidence = known(unproven);
        let why = check(&found, Verdict::Different).why;
        assert!(why.contains("nothing proves where it came from"), "{why}");
    }
}

#[test]
fn another_caller_is_the_same_bug() {
    let chain = "__kmalloc|kmem_alloc [xfs]|xfs_log_commit_cil [xfs]|xfs_file_fsync [xfs]";
    for from in [golden, stock] {
        let chain = chain.split('|').map(|f| f.parse().unwrap()).collect();
        let call = |s: &mut Signature| {
            s.frames.chain = known(chain);
            s.frames.syscall = known("fsync".into());
        };
        let comparison = changed(from, call, Verdict::SameBug);
        assert_eq!(
            comparison.why,
            "same corruption; another place: frames.caller differs"
        );
    }
}

#[test]
fn another_system_call_is_another_place() {
    let comparison = changed(
        golden,
        |s| s.frames.syscall = known("read".into()),
        Verdict::SameBug,
    );
    assert_eq!(rule(&comparison, "frames.syscall"), None);
}

#[test]
fn a_cache_of_another_size_is_different() {
    changed(
        golden,
        |s| {
            let cache = "kmalloc-512".to_owned();
            s.slab.cache = known(cache.clone());
            s.corruption.site = known(Site::FreelistPointer { cache });
        },
        Verdict::Different,
    );
}

#[test]
fn a_null_dereference_is_different() {
    changed(
        golden,
        |s| s.fault.class = known(FaultClass::Null),
        Verdict::Different,
    );
}

#[test]
fn an_identity_fact_that_is_unknown_makes_it_inconclusive() {
    let unknown = |s: &mut Signature| s.slab.cache = Fact::absent("page left out of the dump");
    changed(golden, unknown, Verdict::Inconclusive);
}

#[test]
fn a_place_that_is_unknown_is_at_most_the_same_bug() {
    changed(
        golden,
        |s| s.frames.chain = Fact::absent("no unwind tables"),
        Verdict::SameBug,
    );
}
