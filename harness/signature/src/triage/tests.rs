//! Tests of the grouping: the golden of 2022-06-05 and what can be left out of it or changed in it.

use super::*;
use crate::model::{Decoded, Encoding, Fact, FaultClass, Site, Source};
use proptest::prelude::*;

fn golden() -> Signature {
    let snap = include_str!(
        "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
    );
    Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, Source::Transcript)
}

/// As an excerpt gives it: registers and memory, no frames, another request.
fn excerpt() -> Signature {
    let mut s = golden();
    s.frames.chain = Fact::absent("no backtrace");
    s.frames.syscall = Fact::absent("no backtrace");
    s.context.requested_size = known(256);
    s.context.gfp_flags = known("GFP_NOFS|__GFP_ZERO".into());
    s
}

/// A warning as a console log gives it.
fn warning(title: &str, chain: &[&str]) -> Signature {
    let mut s = golden();
    let gone = "a warning has none";
    s.fault.class = known(FaultClass::Warning);
    s.fault.report = known(title.into());
    s.corruption.site = Fact::absent(gone);
    s.corruption.decoded = Fact::absent(gone);
    s.corruption.observed = Fact::absent(gone);
    s.slab.cache = Fact::absent(gone);
    s.frames.chain = known(chain.iter().map(|f| f.parse().unwrap()).collect());
    Signature::new(s.fault, s.frames, s.slab, s.corruption, s.context)
}

/// A wild pointer of which nothing but trap and function is known.
fn wild() -> Signature {
    let mut s = golden();
    s.corruption.site = Fact::absent("cut off");
    s.corruption.decoded = Fact::absent("cut off");
    s.corruption.observed = Fact::absent("cut off");
    s.slab.cache = Fact::absent("cut off");
    s
}

fn text() -> Signature {
    let mut s = excerpt();
    s.corruption.decoded = known(Decoded::Text {
        encoding: Encoding::Utf16,
        text: "8.Vir".into(),
    });
    s.corruption.confidence = Fact::absent("not checked");
    // Not at the object's start, so its second byte rules nothing out.
    s.slab.freelist_offset = known(128);
    Signature::new(s.fault, s.frames, s.slab, s.corruption, s.context)
}

fn members(list: &[Signature]) -> Vec<Member> {
    let named = list.iter().enumerate();
    named
        .map(|(i, signature)| Member {
            name: format!("dump-{i}"),
            signature: signature.clone(),
        })
        .collect()
}

/// Members and sureness of each bug, and how many stand apart.
fn check(list: &[Signature], bugs: &[(usize, Option<Sureness>)], apart: usize) -> Triage {
    let out = triage(&members(list));
    let found: Vec<_> = out.bugs.iter().map(|b| (b.members(), b.sure)).collect();
    assert_eq!(found, bugs, "{out:#?}");
    assert_eq!(out.apart.len(), apart, "{out:#?}");
    out
}

#[test]
fn excerpts_without_frames_join_a_bug_by_its_corruption_in_a_place_of_their_own() {
    let list = [excerpt(), golden(), excerpt(), excerpt()];
    let out = check(&list, &[(4, Some(Sureness::Certain))], 0);
    let places: Vec<_> = out.bugs[0]
        .places
        .iter()
        .map(|p| (p.by, p.members.len()))
        .collect();
    assert_eq!(places, [(place::By::Chain, 1), (place::By::Request, 3)]);
}

#[test]
fn another_cache_or_another_class_is_another_bug() {
    let mut cache = golden();
    cache.slab.cache = known("kmalloc-512".into());
    cache.corruption.site = known(Site::FreelistPointer {
        cache: "kmalloc-512".into(),
    });
    let mut null = golden();
    null.fault.class = known(FaultClass::Null);
    check(&[golden(), cache, null], &[(1, None); 3], 0);
}

#[test]
fn a_register_that_held_the_value_is_no_other_site() {
    let mut register = golden();
    register.corruption.site = known(Site::Register { name: "rbp".into() });
    check(&[golden(), register], &[(2, Some(Sureness::Likely))], 0);
}

#[test]
fn a_missing_class_makes_it_likely() {
    let mut partial = golden();
    partial.fault.class = Fact::absent("cut off");
    check(&[golden(), partial], &[(2, Some(Sureness::Likely))], 0);
}

#[test]
fn a_wild_pointer_without_its_bytes_is_possibly_what_struck_at_the_same_place() {
    check(&[golden(), wild()], &[(2, Some(Sureness::Possible))], 0);
    check(&[wild(), wild()], &[(2, Some(Sureness::Likely))], 0);
}

#[test]
fn a_report_and_its_frames_tie_crashes_without_corruption() {
    let same = || warning("WARNING in f", &["f", "g", "h"]);
    check(&[same(), same()], &[(2, Some(Sureness::Certain))], 0);
    let elsewhere = warning("WARNING in f", &["f", "x", "y"]);
    let out = check(&[same(), elsewhere], &[(2, Some(Sureness::Likely))], 0);
    assert_eq!(out.bugs[0].places.len(), 2);
    let other = warning("WARNING in z", &["f", "g", "h"]);
    check(&[same(), other.clone()], &[(1, None), (1, None)], 0);
    let renamed = other.with_alternatives(["WARNING in f".to_owned()]);
    check(&[same(), renamed], &[(2, Some(Sureness::Certain))], 0);
}

#[test]
fn a_report_that_names_no_place_ties_nothing() {
    for title in ["WARNING in corrupted", "general protection fault"] {
        let one = warning(title, &["f", "g"]);
        check(&[one.clone(), one], &[(1, None), (1, None)], 0);
    }
}

#[test]
fn a_tie_that_is_only_possible_joins_no_two_that_differ() {
    let mut device = golden();
    let Fact::Known { value, .. } = &mut device.corruption.decoded else {
        panic!("the golden is decoded");
    };
    if let Decoded::UsbDescriptor { descriptor, .. } = value {
        *descriptor = crate::model::DescriptorType(1);
    }
    let list = [golden(), device.clone(), wild()];
    let out = check(&list, &[(1, None), (1, None), (1, None)], 0);
    assert!(
        out.bugs.iter().all(|bug| !bug.may_be.is_empty()),
        "{out:#?}"
    );
}

#[test]
fn text_that_could_be_the_descriptor_is_possibly_the_same() {
    check(&[golden(), text()], &[(2, Some(Sureness::Possible))], 0);
}

#[test]
fn what_nothing_identifies_stands_apart_with_the_reason() {
    let mut nothing = wild();
    nothing.fault.class = Fact::absent("no registers");
    let out = check(&[golden(), nothing], &[(1, None)], 1);
    assert!(out.apart[0].why.contains("no registers"), "{out:#?}");
}

fn any_of_them() -> impl Strategy<Value = Signature> {
    let other = |s: Signature| s.with_alternatives(["WARNING in z".to_owned()]);
    prop::sample::select(vec![
        golden(),
        excerpt(),
        wild(),
        text(),
        warning("WARNING in f", &["f", "g"]),
        warning("WARNING in f", &["f", "x"]),
        other(warning("WARNING in f", &["q", "g"])),
        warning("WARNING in z", &["z", "g"]),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (list, shuffled) in prop::collection::vec(any_of_them(), 0..9).prop_flat_map(|list| {
            let list = members(&list);
            (Just(list.clone()), Just(list).prop_shuffle())
        })
    ) {
        let out = triage(&list);
        prop_assert_eq!(&out, &triage(&shuffled));
        let placed: usize = out.bugs.iter().map(Bug::members).sum();
        prop_assert_eq!(placed + out.apart.len(), list.len());
    }
}
