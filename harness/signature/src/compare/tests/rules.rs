//! Each rule of the table, by a difference that it explains and by those it must leave alone.
//!
//! Both kinds assert the rule that was taken for the field, so another rule cannot pass for it.

use super::*;
use crate::compare::RULES;

/// Both signatures, changed by `change`, differ in `field`, and `expected` explains it.
fn check_rule(
    field: &str,
    golden_change: Change,
    found: fn() -> Signature,
    found_change: Change,
    expected: Option<&str>,
) {
    let mut a = golden();
    golden_change(&mut a);
    let mut b = found();
    found_change(&mut b);
    let comparison = compare(&a, &b);
    let lists = [
        &comparison.explained,
        &comparison.unexplained,
        &comparison.context,
    ];
    let mut all = lists.into_iter().flatten();
    let difference = all.find(|d| d.field == field);
    let difference = difference.unwrap_or_else(|| panic!("no difference in {field}"));
    assert_eq!(difference.rule, expected, "{field}: {difference:?}");
}

fn as_it_is(_: &mut Signature) {}

fn chain(text: &str) -> Fact<Vec<crate::model::Frame>> {
    known(text.split('|').map(|f| f.parse().unwrap()).collect())
}

fn gp(s: &mut Signature) {
    s.fault.vector = known(13);
    s.fault.trap = known("#GP".into());
}

fn page_fault(s: &mut Signature) {
    s.fault.vector = known(14);
    s.fault.trap = known("#PF".into());
    s.fault.class = known(FaultClass::Unmapped);
    s.fault.hardware_vector = known(14);
    s.context.la57 = known(true);
}

#[test]
fn tcg_no_ss_explains_gp_with_base_rbp() {
    for field in ["fault.vector", "fault.trap"] {
        check_rule(field, as_it_is, golden, gp, Some("tcg-no-ss"));
    }
}

#[test]
fn tcg_no_ss_does_not_explain_other_machines_registers_or_vectors() {
    let field = "fault.vector";
    let on_kvm: Change = |s| {
        gp(s);
        s.context.accelerator = known("kvm".into());
    };
    check_rule(field, as_it_is, golden, on_kvm, None);
    let base_rcx: Change = |s| {
        gp(s);
        s.fault.base_register = known("rcx".into());
    };
    check_rule(field, as_it_is, golden, base_rcx, Some("compiler-register"));
    let double_fault: Change = |s| s.fault.vector = known(8);
    check_rule(field, as_it_is, golden, double_fault, None);
}

#[test]
fn la57_canonical_explains_a_page_fault() {
    for field in [
        "fault.vector",
        "fault.trap",
        "fault.class",
        "fault.hardware-vector",
    ] {
        check_rule(field, as_it_is, golden, page_fault, Some("la57-canonical"));
    }
}

#[test]
fn la57_canonical_needs_5_levels_that_make_the_difference() {
    let off: Change = |s| {
        page_fault(s);
        s.context.la57 = known(false);
    };
    check_rule("fault.class", as_it_is, golden, off, None);
    let canonical_anyway: Change = |s| {
        page_fault(s);
        s.corruption.observed = known("38 03 56 00 69 00 00 00".parse().unwrap());
    };
    check_rule("fault.class", as_it_is, golden, canonical_anyway, None);
    let golden_too: Change = |s| s.context.la57 = known(true);
    check_rule("fault.class", golden_too, golden, page_fault, None);
}

#[test]
fn compiler_register_explains_the_base_and_what_follows_from_it() {
    for field in [
        "fault.vector",
        "fault.trap",
        "fault.hardware-vector",
        "fault.base-register",
        "fault.index-role",
        "fault.instruction",
    ] {
        check_rule(field, as_it_is, stock, as_it_is, Some("compiler-register"));
    }
    let swapped: Change = |s| {
        s.fault.base_role = known(Role::FreelistOffset);
        s.fault.index_role = known(Role::FreelistPointer);
    };
    let field = "fault.base-role";
    check_rule(field, as_it_is, golden, swapped, Some("compiler-register"));
}

#[test]
fn compiler_register_does_not_explain_another_address() {
    let cache: Change = |s| s.fault.base_role = known(Role::KmemCache);
    for field in [
        "fault.vector",
        "fault.base-register",
        "fault.base-role",
        "fault.instruction",
    ] {
        check_rule(field, as_it_is, stock, cache, None);
    }
    let unknown: Change = |s| s.fault.index_role = known(Role::Other);
    check_rule("fault.index-role", as_it_is, stock, unknown, None);
}

#[test]
fn compiler_register_explains_neither_a_store_nor_a_vector_that_does_not_follow() {
    for other in ["mov [base], rbx", "add rbx, [base]"] {
        let mut found = stock();
        found.fault.instruction = known(other.into());
        let comparison = check(&found, Verdict::SameBug);
        assert_eq!(rule(&comparison, "fault.instruction"), None, "{other}");
    }
    let page_fault: Change = |s| s.fault.vector = known(14);
    check_rule("fault.vector", as_it_is, stock, page_fault, None);
    // Neither says what it accesses.
    let field = "fault.instruction";
    let lodsq: Change = |s| s.fault.instruction = known("lodsq".into());
    let stosq: Change = |s| s.fault.instruction = known("stosq".into());
    check_rule(field, lodsq, stock, stosq, None);
    let lodsq: Change = |s| s.fault.instruction = known("rep lodsq".into());
    let stosq: Change = |s| s.fault.instruction = known("rep stosq".into());
    check_rule(field, lodsq, stock, stosq, None);
}

#[test]
fn freelist_mid_object_explains_the_offset_and_what_lies_there() {
    for field in [
        "slab.freelist-offset",
        "corruption.observed",
        "corruption.decoded.offset",
        "corruption.decoded.length",
        "corruption.decoded.text",
    ] {
        let name = Some("freelist-mid-object");
        check_rule(field, as_it_is, stock, as_it_is, name);
    }
}

/// The stock candidate with another length of its descriptor.
fn of_length(bytes: u8) -> Signature {
    let mut s = stock();
    if let Fact::Known {
        value: Decoded::UsbDescriptor { length, .. },
        ..
    } = &mut s.corruption.decoded
    {
        *length = Some(bytes);
    }
    s
}

/// The stock candidate with another whole string.
fn of_string(text: Option<&str>) -> Signature {
    let mut s = stock();
    if let Fact::Known {
        value: Decoded::UsbDescriptor { whole, .. },
        ..
    } = &mut s.corruption.decoded
    {
        *whole = text.map(str::to_owned);
    }
    s
}

#[test]
fn freelist_mid_object_needs_a_descriptor_that_reaches_the_pointer() {
    let found = of_length(135);
    let comparison = check(&found, Verdict::SameBug);
    assert_eq!(rule(&comparison, "slab.freelist-offset"), None);
    let found = of_length(136);
    check(&found, Verdict::SameCrash);
}

#[test]
fn freelist_mid_object_does_not_explain_a_pointer_elsewhere() {
    let behind: Change = |s| s.slab.freelist_offset = known(256);
    check_rule("slab.freelist-offset", as_it_is, stock, behind, None);
    let other_bytes: Change = |s| {
        s.corruption.observed = known("38 03 57 00 69 00 72 00".parse().unwrap());
    };
    check_rule("corruption.observed", as_it_is, golden, other_bytes, None);
}

#[test]
fn freelist_mid_object_explains_another_length_only_where_it_had_to_be_longer() {
    fn golden_string(s: &mut Signature, bytes: u8) {
        if let Fact::Known {
            value: Decoded::UsbDescriptor { length, whole, .. },
            ..
        } = &mut s.corruption.decoded
        {
            *length = Some(bytes);
            *whole = Some("Virtual".into());
        }
    }
    let short: Change = |s| golden_string(s, 56);
    let long: Change = |s| golden_string(s, 200);
    for field in ["corruption.decoded.length", "corruption.decoded.whole"] {
        let name = Some("freelist-mid-object");
        check_rule(field, short, stock, as_it_is, name);
        check_rule(field, long, stock, as_it_is, None);
    }
}

#[test]
fn freelist_mid_object_does_not_explain_a_string_that_begins_otherwise() {
    let another = LONG_STRING.replace("Virtual", "Another");
    for text in [Some(another.as_str()), None] {
        let comparison = check(&of_string(text), Verdict::SameBug);
        let why = "same corruption; no rule explains the difference in corruption.decoded.text";
        assert_eq!(comparison.why, why);
    }
    // The other way round: the golden has the middle.
    assert_eq!(
        compare(&stock(), &golden()).unexplained,
        [],
        "the string's own beginning"
    );
    let comparison = compare(&of_string(Some(&another)), &golden());
    assert_eq!(comparison.verdict, Verdict::SameBug);
    let mut unexplained = comparison.unexplained.iter();
    assert!(unexplained.any(|d| d.field == "corruption.decoded.text"));
}

#[test]
fn freelist_mid_object_explains_no_other_whole_string_that_begins_otherwise() {
    let short: Change = |s| {
        if let Fact::Known {
            value: Decoded::UsbDescriptor { whole, .. },
            ..
        } = &mut s.corruption.decoded
        {
            *whole = Some("Virtual Mass Storage Device".into());
        }
    };
    let field = "corruption.decoded.whole";
    check_rule(field, short, stock, as_it_is, Some("freelist-mid-object"));
    let another: fn() -> Signature = || of_string(Some(&LONG_STRING.replace("Virtual", "Another")));
    check_rule(field, short, another, as_it_is, None);
}

#[test]
fn hardened_load_explains_an_xor_that_reads_an_obfuscated_freelist_pointer_only() {
    let folded: Change = |s| s.fault.instruction = known("xor rbx, [base]".into());
    let field = "fault.instruction";
    check_rule(field, as_it_is, stock, folded, Some("hardened-load"));
    let plain_kernel: Change = |s| {
        s.fault.instruction = known("xor rbx, [base]".into());
        s.slab.hardened = known(false);
    };
    check_rule(field, as_it_is, stock, plain_kernel, None);
    let another_pointer: Change = |s| {
        s.fault.instruction = known("xor rbx, [base]".into());
        s.fault.base_role = known(Role::KmemCache);
    };
    check_rule(field, as_it_is, stock, another_pointer, None);
    let store: Change = |s| s.fault.instruction = known("xor [base], rbx".into());
    check_rule(field, as_it_is, stock, store, None);
    let sum: Change = |s| s.fault.instruction = known("add rbx, [base]".into());
    check_rule(field, as_it_is, stock, sum, None);
}

#[test]
fn freelist_hardened_explains_established_bytes_only() {
    let field = "slab.hardened";
    check_rule(field, as_it_is, stock, as_it_is, Some("freelist-hardened"));
    let plausible: Change = |s| s.corruption.confidence = known(Confidence::Plausible);
    check_rule(field, as_it_is, stock, plausible, None);
    let unknown: Change = |s| s.corruption.decoded = known(Decoded::Unknown {});
    check_rule(field, as_it_is, stock, unknown, None);
}

#[test]
fn init_on_alloc_explains_less_confidence_and_never_more() {
    let field = "corruption.confidence";
    let proven: Change = |s| s.corruption.confidence = known(Confidence::Proven);
    let structural: Change = |s| {
        s.corruption.confidence = known(Confidence::Structural);
        s.context.init_on_alloc = known(true);
    };
    check_rule(field, proven, golden, structural, Some("init-on-alloc"));
    check_rule(field, as_it_is, stock, as_it_is, None);
    let off: Change = |s| s.context.init_on_alloc = known(false);
    check_rule(field, proven, golden, off, None);
}

#[test]
fn suffix_explains_functions_and_chains() {
    let split: Change = |s| s.fault.function = known("__kmalloc.part.0".into());
    check_rule("fault.function", as_it_is, golden, split, Some("suffix"));
    let cloned: Change = |s| {
        s.frames.chain = chain(
            "__kmalloc|usb_hcd_submit_urb|proc_do_submiturb.isra.0|usbdev_do_ioctl|usbdev_ioctl",
        );
    };
    check_rule("frames.chain", as_it_is, golden, cloned, Some("suffix"));
    let other: Change = |s| {
        s.frames.chain = chain(
            "__kmalloc|usb_hcd_submit_urb|proc_do_submiturb.other|usbdev_do_ioctl|usbdev_ioctl",
        );
    };
    check_rule("frames.chain", as_it_is, golden, other, None);
    let outside: Change = |s| s.fault.function = known("memcpy.part.0".into());
    check_rule("fault.function", as_it_is, golden, outside, None);
}

#[test]
fn allocator_internal_explains_what_serves_the_same_entry() {
    let field = "fault.function";
    let name = Some("allocator-internal");
    check_rule(field, as_it_is, stock, as_it_is, name);
    let no_chain: Change = |s| s.frames.chain = Fact::absent("no unwind tables");
    check_rule(field, as_it_is, stock, no_chain, name);
}

#[test]
fn allocator_internal_does_not_explain_other_functions_or_entries() {
    for other in ["memcpy", "kfree", "__slab_free", "kmem_cache_alloc"] {
        let mut found = golden();
        found.fault.function = known(other.into());
        let comparison = check(&found, Verdict::SameBug);
        assert_eq!(rule(&comparison, "fault.function"), None, "{other}");
    }
}

#[test]
fn inlined_frame_explains_frames_missing_between_the_same_ends() {
    let field = "frames.chain";
    check_rule(field, as_it_is, stock, as_it_is, Some("inlined-frame"));
}

#[test]
fn inlined_frame_does_not_explain_foreign_or_cut_chains() {
    for other in [
        "__kmalloc|usb_hcd_submit_urb|usb_control_msg|hub_port_init|usbdev_ioctl",
        "__kmalloc|usb_hcd_submit_urb|proc_do_submiturb|usbdev_do_ioctl",
        "__kmalloc|usb_hcd_submit_urb|usbdev_do_ioctl|proc_do_submiturb|usbdev_ioctl",
    ] {
        let mut found = golden();
        found.frames.chain = chain(other);
        let comparison = check(&found, Verdict::SameBug);
        assert_eq!(rule(&comparison, "frames.chain"), None, "{other}");
    }
}

#[test]
fn module_or_built_in_does_not_explain_another_module() {
    let field = "frames.modules";
    let name = Some("module-or-built-in");
    check_rule(field, as_it_is, stock, as_it_is, name);
    let a: Change = |s| s.frames.chain = chain("__kmalloc|f [a]");
    let b: Change = |s| s.frames.chain = chain("__kmalloc|f [b]");
    check_rule(field, a, golden, b, None);
}

#[test]
fn syscall_wrapper_explains_wrappers_and_not_other_calls() {
    let field = "frames.syscall";
    let wrapper: Change = |s| s.frames.syscall = known("__x64_sys_ioctl".into());
    check_rule(field, as_it_is, golden, wrapper, Some("syscall-wrapper"));
    let other: Change = |s| s.frames.syscall = known("__x64_sys_read".into());
    check_rule(field, as_it_is, golden, other, None);
}

#[test]
fn random_kmalloc_caches_explains_a_size_and_not_a_kind() {
    fn cache(s: &mut Signature, name: &str) {
        s.slab.cache = known(name.into());
        s.corruption.site = known(Site::FreelistPointer { cache: name.into() });
    }
    let random: Change = |s| cache(s, "kmalloc-rnd-05-256");
    let size: Change = |s| cache(s, "kmalloc-rnd-05-512");
    let kind: Change = |s| cache(s, "kmalloc-cg-256");
    for field in ["slab.cache", "corruption.site"] {
        let name = Some("random-kmalloc-caches");
        check_rule(field, as_it_is, golden, random, name);
        check_rule(field, as_it_is, golden, size, None);
        check_rule(field, as_it_is, golden, kind, None);
    }
}

#[test]
fn every_rule_has_a_field_and_its_own_name() {
    for (i, rule) in RULES.iter().enumerate() {
        assert!(!rule.fields.is_empty());
        let mut later = RULES.iter().skip(i + 1);
        assert!(later.all(|other| other.name != rule.name));
    }
}

/// One difference that a rule explains, and one in the same field that it must not.
struct Row {
    rule: &'static str,
    field: &'static str,
    golden: Change,
    found: fn() -> Signature,
    explained: Change,
    left_alone: Change,
}

fn row(
    rule: &'static str,
    field: &'static str,
    found: fn() -> Signature,
    explained: Change,
    left_alone: Change,
) -> Row {
    Row {
        rule,
        field,
        golden: as_it_is,
        found,
        explained,
        left_alone,
    }
}

/// The whole table once; the tests above go further into single rules.
fn table() -> Vec<Row> {
    vec![
        row("tcg-no-ss", "fault.vector", golden, gp, |s| {
            gp(s);
            s.context.accelerator = known("kvm".into());
        }),
        row("la57-canonical", "fault.class", golden, page_fault, |s| {
            page_fault(s);
            s.context.la57 = known(false);
        }),
        row(
            "compiler-register",
            "fault.base-register",
            stock,
            as_it_is,
            |s| {
                s.fault.base_role = known(Role::KmemCache);
            },
        ),
        row(
            "freelist-mid-object",
            "slab.freelist-offset",
            stock,
            as_it_is,
            |s| {
                s.slab.freelist_offset = known(256);
            },
        ),
        row("freelist-hardened", "slab.hardened", stock, as_it_is, |s| {
            s.corruption.confidence = known(Confidence::Plausible);
        }),
        row(
            "hardened-load",
            "fault.instruction",
            stock,
            |s| s.fault.instruction = known("xor rbx, [base]".into()),
            |s| s.fault.instruction = known("xor [base], rbx".into()),
        ),
        Row {
            golden: |s| s.corruption.confidence = known(Confidence::Proven),
            ..row(
                "init-on-alloc",
                "corruption.confidence",
                golden,
                |s| s.context.init_on_alloc = known(true),
                |s| s.context.init_on_alloc = known(false),
            )
        },
        row(
            "suffix",
            "fault.function",
            golden,
            |s| s.fault.function = known("__kmalloc.part.0".into()),
            |s| s.fault.function = known("memcpy.part.0".into()),
        ),
        row(
            "allocator-internal",
            "fault.function",
            stock,
            as_it_is,
            |s| {
                s.fault.function = known("memcpy".into());
            },
        ),
        row("inlined-frame", "frames.chain", stock, as_it_is, |s| {
            s.frames.chain = chain("__kmalloc|usb_hcd_submit_urb|proc_do_submiturb");
        }),
        Row {
            golden: |s| s.frames.chain = chain("__kmalloc|f [a]"),
            ..row(
                "module-or-built-in",
                "frames.modules",
                golden,
                |s| s.frames.chain = chain("__kmalloc|f"),
                |s| s.frames.chain = chain("__kmalloc|f [b]"),
            )
        },
        row(
            "syscall-wrapper",
            "frames.syscall",
            golden,
            |s| s.frames.syscall = known("__x64_sys_ioctl".into()),
            |s| s.frames.syscall = known("__x64_sys_read".into()),
        ),
        row(
            "random-kmalloc-caches",
            "slab.cache",
            golden,
            |s| s.slab.cache = known("kmalloc-rnd-05-256".into()),
            |s| s.slab.cache = known("kmalloc-cg-256".into()),
        ),
    ]
}

#[test]
fn every_rule_has_a_difference_that_it_explains_and_one_that_it_leaves_alone() {
    let table = table();
    for rule in RULES {
        let rows: Vec<_> = table.iter().filter(|row| row.rule == rule.name).collect();
        assert!(!rows.is_empty(), "{} has no test in the table", rule.name);
        for row in rows {
            check_rule(
                row.field,
                row.golden,
                row.found,
                row.explained,
                Some(rule.name),
            );
            let (mut a, mut b) = (golden(), (row.found)());
            (row.golden)(&mut a);
            (row.left_alone)(&mut b);
            let comparison = compare(&a, &b);
            let lists = [
                &comparison.explained,
                &comparison.unexplained,
                &comparison.context,
            ];
            let mut all = lists.into_iter().flatten();
            let difference = all.find(|d| d.field == row.field).unwrap();
            assert_ne!(difference.rule, Some(rule.name), "{difference:?}");
        }
    }
    let unknown = table
        .iter()
        .find(|row| RULES.iter().all(|rule| rule.name != row.rule));
    assert!(
        unknown.is_none(),
        "the table tests a rule that there is not"
    );
}
