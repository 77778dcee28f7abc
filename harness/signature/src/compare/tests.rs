//! Tests of the comparison: the golden of 2022-06-05 against signatures changed fact by fact.

use super::*;
use crate::model::{
    Confidence, Decoded, DescriptorType, Encoding, Fact, FaultClass, Role, Site, Source,
};

fn golden() -> Signature {
    let snap = include_str!(
        "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
    );
    Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, Source::VmcoreBtf)
}

/// A stock 6.1 kernel under TCG: hardened, pointer in the middle, another register.
fn stock() -> Signature {
    let mut s = golden();
    s.fault.vector = known(13);
    s.fault.trap = known("#GP".into());
    s.fault.function = known("__kmem_cache_alloc_node".into());
    s.fault.base_register = known("r14".into());
    s.fault.hardware_vector = known(13);
    s.fault.instruction = known("mov rax, [base+index]".into());
    let chain =
        "__kmalloc|usb_hcd_submit_urb [usbcore]|proc_do_submiturb [usbcore]|usbdev_ioctl [usbcore]";
    s.frames.chain = known(chain.split('|').map(|f| f.parse().unwrap()).collect());
    s.slab.freelist_offset = known(128);
    s.slab.hardened = known(true);
    s.corruption.decoded = known(Decoded::UsbDescriptor {
        descriptor: DescriptorType::STRING,
        offset: 128,
        length: Some(254),
        text: Some("geDe".into()),
        whole: None,
        langids: None,
    });
    s.corruption.observed = known("67 00 65 00 44 00 65 00".parse().unwrap());
    s.corruption.confidence = known(Confidence::Proven);
    s.context.init_on_alloc = known(true);
    s.context.accelerator = known("tcg".into());
    s.context.release = known("6.1.0".into());
    s
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
            .any(|gap| gap.field == "context.kaslr")
    );
}

#[test]
fn a_stock_kernel_is_the_same_crash_with_every_difference_explained() {
    let comparison = check(&stock(), Verdict::SameCrash);
    for (field, name) in [
        ("fault.vector", "compiler-register"),
        ("fault.base-register", "compiler-register"),
        ("fault.function", "allocator-internal"),
        ("frames.chain", "inlined-frame"),
        ("frames.modules", "module-or-built-in"),
        ("slab.freelist-offset", "freelist-mid-object"),
        ("slab.hardened", "freelist-hardened"),
        ("corruption.confidence", "init-on-alloc"),
    ] {
        assert_eq!(rule(&comparison, field), Some(name), "{field}");
    }
}

#[test]
fn a_gp_with_base_rbp_is_explained_by_tcg_and_not_by_hardware() {
    let gp = |s: &mut Signature| {
        s.fault.vector = known(13);
        s.fault.trap = known("#GP".into());
    };
    let comparison = changed(golden, gp, Verdict::SameCrash);
    assert_eq!(rule(&comparison, "fault.vector"), Some("tcg-no-ss"));
    let on_kvm = |s: &mut Signature| {
        gp(s);
        s.context.accelerator = known("kvm".into());
    };
    changed(golden, on_kvm, Verdict::SameBug);
}

#[test]
fn a_page_fault_is_explained_by_5_level_paging_only_where_it_is_on() {
    for (la57, verdict) in [(true, Verdict::SameCrash), (false, Verdict::SameBug)] {
        let change = |s: &mut Signature| {
            s.fault.vector = known(14);
            s.fault.trap = known("#PF".into());
            s.fault.class = known(FaultClass::Unmapped);
            s.context.la57 = known(la57);
        };
        changed(golden, change, verdict);
    }
}

#[test]
fn another_register_is_not_explained_if_it_held_something_else() {
    changed(
        stock,
        |s| s.fault.base_role = known(Role::KmemCache),
        Verdict::SameBug,
    );
}

#[test]
fn a_descriptor_too_short_to_reach_the_pointer_is_not_explained() {
    let short = |s: &mut Signature| {
        if let Fact::Known {
            value: Decoded::UsbDescriptor { length, .. },
            ..
        } = &mut s.corruption.decoded
        {
            *length = Some(135);
        }
    };
    changed(stock, short, Verdict::SameBug);
}

#[test]
fn hardening_is_not_explained_if_nothing_proves_the_bytes() {
    changed(
        stock,
        |s| s.corruption.confidence = known(Confidence::Plausible),
        Verdict::Different,
    );
}

#[test]
fn init_on_alloc_explains_nothing_where_it_is_off() {
    let comparison = changed(
        stock,
        |s| s.context.init_on_alloc = known(false),
        Verdict::SameCrash,
    );
    assert_eq!(rule(&comparison, "corruption.confidence"), None);
}

#[test]
fn text_without_proof_is_different() {
    let text = Decoded::Text {
        encoding: Encoding::Utf16,
        text: "geDe".into(),
    };
    changed(
        stock,
        |s| s.corruption.decoded = known(text),
        Verdict::Different,
    );
}

#[test]
fn another_descriptor_type_is_different() {
    let interface = |s: &mut Signature| {
        if let Fact::Known {
            value: Decoded::UsbDescriptor { descriptor, .. },
            ..
        } = &mut s.corruption.decoded
        {
            *descriptor = DescriptorType(4);
        }
    };
    let comparison = changed(golden, interface, Verdict::Different);
    assert!(
        comparison.why.contains("another type of USB descriptor"),
        "{}",
        comparison.why
    );
}

#[test]
fn another_caller_is_the_same_bug() {
    let chain = ["__kmalloc", "xfs_difree_inobt [xfs]"];
    let chain = chain.iter().map(|f| f.parse().unwrap()).collect();
    changed(golden, |s| s.frames.chain = known(chain), Verdict::SameBug);
}

#[test]
fn a_foreign_frame_in_the_chain_is_not_inlining() {
    let chain = [
        "__kmalloc",
        "usb_hcd_submit_urb",
        "usb_control_msg",
        "hub_port_init",
    ];
    let chain = chain.iter().map(|f| f.parse().unwrap()).collect();
    changed(golden, |s| s.frames.chain = known(chain), Verdict::SameBug);
}

#[test]
fn a_function_in_another_module_is_not_explained() {
    let golden_in_a_module = {
        let mut s = golden();
        s.frames.chain = known(vec!["__kmalloc".parse().unwrap(), "f [a]".parse().unwrap()]);
        s
    };
    let mut found = golden_in_a_module.clone();
    found.frames.chain = known(vec!["__kmalloc".parse().unwrap(), "f [b]".parse().unwrap()]);
    assert_eq!(
        compare(&golden_in_a_module, &found).verdict,
        Verdict::SameBug
    );
}

#[test]
fn a_fault_outside_the_allocator_is_not_allocator_internal() {
    changed(
        golden,
        |s| s.fault.function = known("memcpy".into()),
        Verdict::SameBug,
    );
}

#[test]
fn suffixes_are_explained_on_functions_and_frames() {
    let suffix = |s: &mut Signature| s.fault.function = known("__kmalloc.part.0".into());
    let comparison = changed(golden, suffix, Verdict::SameCrash);
    assert!(rule(&comparison, "fault.function").is_some());
}

#[test]
fn a_syscall_wrapper_is_its_call_and_another_call_is_another_place() {
    let wrapper = |s: &mut Signature| s.frames.syscall = known("__x64_sys_ioctl".into());
    let comparison = changed(golden, wrapper, Verdict::SameCrash);
    assert_eq!(rule(&comparison, "frames.syscall"), Some("syscall-wrapper"));
    changed(
        golden,
        |s| s.frames.syscall = known("read".into()),
        Verdict::SameBug,
    );
}

#[test]
fn a_randomised_cache_is_explained_and_another_size_is_different() {
    let cache = |name: &'static str| {
        move |s: &mut Signature| {
            s.slab.cache = known(name.into());
            s.corruption.site = known(Site::FreelistPointer { cache: name.into() });
        }
    };
    changed(golden, cache("kmalloc-rnd-05-256"), Verdict::SameCrash);
    changed(golden, cache("kmalloc-512"), Verdict::Different);
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

#[test]
fn every_rule_has_a_field_and_its_own_name() {
    for (i, rule) in RULES.iter().enumerate() {
        assert!(!rule.fields.is_empty());
        assert!(
            RULES
                .iter()
                .skip(i + 1)
                .all(|other| other.name != rule.name)
        );
    }
}
