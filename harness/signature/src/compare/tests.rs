//! Tests of the comparison: the golden of 2022-06-05 against signatures changed fact by fact.

use super::*;
use crate::model::{
    Confidence, Context, Corruption, Decoded, DescriptorType, Encoding, Fact, Fault, FaultClass,
    Frames, Role, Site, Slab, Source,
};
use crate::normalise;
use std::fmt::Write as _;

mod decoded;
mod report;
mod rules;
mod thread;

type Change = fn(&mut Signature);

fn golden() -> Signature {
    let snap = include_str!(
        "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
    );
    Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, Source::VmcoreBtf)
}

/// Of the device `long-string`: as the golden's begins, and long enough for the middle.
const LONG_STRING: &str = "Virtual Mass Storage Device 01 alpha 02 bravo 03 charlie 04 delta 05 echo \
    06 foxtrot 07 golf 08 hotel 09 ivy 10 juliett 11 end";

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
            report: known("general protection fault in __kmalloc".into()),
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
            observed: known("74 00 61 00 20 00 30 00".parse().unwrap()),
            decoded: known(Decoded::UsbDescriptor {
                descriptor: DescriptorType::STRING,
                offset: 128,
                length: Some(254),
                text: Some("ta 0".into()),
                whole: Some(LONG_STRING.into()),
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
      corruption.observed: 38 03 56 00 69 00 72 00 | 74 00 61 00 20 00 30 00 (freelist-mid-object)
      corruption.decoded.offset: 0 | 128 (freelist-mid-object)
      corruption.decoded.length: 56 | 254 (freelist-mid-object)
      corruption.decoded.text: Vir | ta 0 (freelist-mid-object)
    unexplained:
    context:
      fault.offset: 171 | 302
      corruption.confidence: structural | proven
      context.cpu: 10 | 1
      context.release: 4.18.0-147.5.1.el8_1.5es.14.x86_64 | 6.1.0-56-amd64
    uncovered: fault.report, corruption.decoded.whole, context.accelerator, context.init-on-alloc
    unknown: context.gfp-flags, context.requested-size
    ");
}

#[test]
fn the_titles_of_golden_and_stock_differ_in_the_trap_only() {
    assert_eq!(golden().title, "stack segment fault in __kmalloc");
    assert_eq!(stock().title, "general protection fault in __kmalloc");
    assert_eq!(golden().bug, stock().bug);
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
fn a_register_that_held_the_value_leaves_the_site_open() {
    let register: Change = |s| {
        s.corruption.site = known(Site::Register { name: "rbp".into() });
    };
    let comparison = changed(golden, register, Verdict::Inconclusive);
    let why = "corruption.site is not known in the candidate: known only as the contents of rbp";
    assert_eq!(comparison.why, why);
    let mut partial = golden();
    register(&mut partial);
    let comparison = compare(&partial, &golden());
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    check_itself(&partial);
}

fn check_itself(signature: &Signature) {
    let comparison = compare(signature, signature);
    assert_eq!(comparison.verdict, Verdict::SameCrash, "{comparison:#?}");
}

#[test]
fn a_null_dereference_is_different() {
    changed(
        golden,
        |s| s.fault.class = known(FaultClass::Null),
        Verdict::Different,
    );
}

/// Makes one identity fact absent.
const IDENTITY: [(&str, Change); 4] = [
    ("fault.class", |s| s.fault.class = Fact::absent("cut off")),
    ("slab.cache", |s| s.slab.cache = Fact::absent("cut off")),
    ("corruption.site", |s| {
        s.corruption.site = Fact::absent("cut off");
    }),
    ("corruption.decoded", |s| {
        s.corruption.decoded = Fact::absent("cut off");
    }),
];

#[test]
fn an_identity_fact_that_is_unknown_makes_it_inconclusive() {
    for (field, forget) in IDENTITY {
        for from in [golden, stock] {
            let why = changed(from, forget, Verdict::Inconclusive).why;
            assert_eq!(
                why,
                format!("{field} is not known in the candidate: cut off")
            );
        }
    }
}

#[test]
fn an_identity_fact_that_the_golden_lacks_makes_it_inconclusive() {
    for (field, forget) in IDENTITY {
        let mut partial = golden();
        forget(&mut partial);
        for found in [golden(), stock(), partial.clone()] {
            let comparison = compare(&partial, &found);
            assert_eq!(comparison.verdict, Verdict::Inconclusive, "{field}");
            let why = format!("{field} is not known in the golden: cut off");
            assert_eq!(comparison.why, why);
        }
    }
}

#[test]
fn a_corruption_that_differs_is_different_whatever_else_is_unknown() {
    let other = |s: &mut Signature| {
        s.fault.class = Fact::absent("cut off");
        s.slab.cache = known("kmalloc-512".into());
    };
    changed(golden, other, Verdict::Different);
}

#[test]
fn chains_without_a_frame_are_no_place() {
    let inlined = "__kmalloc (inlined)".parse().unwrap();
    for empty in [vec![], vec![inlined]] {
        let mut partial = golden();
        partial.frames.chain = known(empty);
        let covered = compare(&golden(), &partial);
        assert_eq!(covered.verdict, Verdict::SameBug);
        assert!(covered.why.contains("not known in the candidate"));
        for found in [golden(), partial.clone()] {
            let comparison = compare(&partial, &found);
            assert_eq!(comparison.verdict, Verdict::SameBug);
            let why = "same corruption; frames.chain is not covered by the golden";
            assert_eq!(comparison.why, why);
        }
    }
}

#[test]
fn a_caller_without_a_symbol_is_not_the_same_caller() {
    let mut partial = golden();
    partial.frames.chain = known(
        ["__kmalloc", "?", "usbdev_ioctl"]
            .map(|f| f.parse().unwrap())
            .to_vec(),
    );
    let comparison = compare(&partial, &partial);
    assert_eq!(comparison.verdict, Verdict::SameBug);
    let why = "same corruption; another place: frames.caller differs";
    assert_eq!(comparison.why, why);
}

#[test]
fn a_circumstance_says_why_it_does_not_count() {
    let comparison = check(&stock(), Verdict::SameCrash);
    for difference in &comparison.context {
        let reason =
            "it may differ between two crashes of one bug, so it is shown and does not count";
        assert_eq!(difference.reason, reason, "{}", difference.field);
    }
}

#[test]
fn a_place_that_is_unknown_is_at_most_the_same_bug() {
    changed(
        golden,
        |s| s.frames.chain = Fact::absent("no unwind tables"),
        Verdict::SameBug,
    );
}
