//! What the candidate's bytes may be: the golden's kind, another, or not proven.

use super::*;

/// The stock candidate with other contents, that sure.
fn stock_with(decoded: Decoded, confidence: Confidence) -> Signature {
    let mut s = stock();
    s.corruption.decoded = known(decoded);
    s.corruption.confidence = known(confidence);
    s
}

/// The golden's kernel, so the bytes lie at the object's start, with other contents.
fn at_start(bytes: &str, decoded: Decoded, confidence: Confidence) -> Signature {
    let mut s = golden();
    s.corruption.observed = known(bytes.parse().unwrap());
    s.corruption.decoded = known(decoded);
    s.corruption.confidence = known(confidence);
    s
}

fn descriptor(kind: u8, offset: u16) -> Decoded {
    Decoded::UsbDescriptor {
        descriptor: DescriptorType(kind),
        offset,
        length: None,
        text: None,
        whole: None,
        langids: None,
    }
}

fn text(encoding: Encoding, text: &str) -> Decoded {
    let text = text.into();
    Decoded::Text { encoding, text }
}

/// The verdict, and the line that says why.
fn check_why(found: &Signature, verdict: Verdict, why: &str) {
    assert_eq!(check(found, verdict).why, why);
}

#[test]
fn another_descriptor_type_is_different_where_it_is_sure() {
    for confidence in [Confidence::Proven, Confidence::Structural] {
        let comparison = check(
            &stock_with(descriptor(4, 128), confidence),
            Verdict::Different,
        );
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
fn another_descriptor_type_that_is_only_plausible_is_inconclusive() {
    check_why(
        &stock_with(descriptor(4, 128), Confidence::Plausible),
        Verdict::Inconclusive,
        "corruption.decoded is not known in the candidate: middle of a USB interface descriptor is \
         only plausible, so a string descriptor is not ruled out",
    );
}

#[test]
fn another_type_byte_at_the_head_is_different_however_it_was_decoded() {
    let as_text = text(Encoding::Utf16, "\u{438}Vir");
    for decoded in [as_text, descriptor(4, 0), Decoded::Unknown {}] {
        check_why(
            &at_start("38 04 56 00 69 00 72 00", decoded, Confidence::Plausible),
            Verdict::Different,
            "corruption.decoded differs: bDescriptorType would be 0x04 (interface), not string",
        );
    }
}

#[test]
fn text_where_the_head_would_lie_contradicts_it() {
    for (encoding, characters, bytes) in [
        (Encoding::Utf16, "root", "72 00 6f 00 6f 00 74 00"),
        (Encoding::Ascii, "/usr/bin", "2f 75 73 72 2f 62 69 6e"),
    ] {
        let found = at_start(bytes, text(encoding, characters), Confidence::Plausible);
        let why = check(&found, Verdict::Different).why;
        assert!(why.contains("bDescriptorType would be"), "{why}");
    }
}

#[test]
fn text_alone_in_the_middle_is_inconclusive() {
    for (encoding, name) in [(Encoding::Utf16, "UTF-16"), (Encoding::Ascii, "ASCII")] {
        let found = stock_with(text(encoding, "ta 0"), Confidence::Plausible);
        let why = format!(
            "corruption.decoded is not known in the candidate: {name} text \"ta 0\" alone does not prove a \
             string descriptor; a device, or another copy, that has it whole is missing"
        );
        check_why(&found, Verdict::Inconclusive, &why);
        let comparison = compare(&golden(), &found);
        assert!(
            comparison
                .unexplained
                .iter()
                .all(|d| d.part != Part::Identity)
        );
    }
}

#[test]
fn text_that_is_proven_to_be_something_else_is_different() {
    check_why(
        &stock_with(text(Encoding::Utf16, "ta 0"), Confidence::Proven),
        Verdict::Different,
        "corruption.decoded differs: UTF-16 text \"ta 0\" is proven to be something else",
    );
}

#[test]
fn text_alone_in_another_cache_or_site_is_different() {
    let mut cache = stock_with(text(Encoding::Utf16, "ta 0"), Confidence::Plausible);
    let mut site = cache.clone();
    cache.slab.cache = known("kmalloc-512".into());
    check(&cache, Verdict::Different);
    site.corruption.site = known(Site::Field {
        structure: "urb".into(),
        field: "context".into(),
    });
    check(&site, Verdict::Different);
}

#[test]
fn text_is_no_part_of_a_descriptor_that_carries_none() {
    let mut device = golden();
    device.corruption.decoded = known(descriptor(1, 0));
    let found = stock_with(text(Encoding::Utf16, "ta 0"), Confidence::Plausible);
    let comparison = compare(&device, &found);
    assert_eq!(comparison.verdict, Verdict::Different);
    let why = "corruption.decoded differs: a device descriptor carries no text";
    assert_eq!(comparison.why, why);
}

#[test]
fn a_golden_of_mere_text_is_not_proven_otherwise_either() {
    let partial = stock_with(text(Encoding::Utf16, "ta 0"), Confidence::Plausible);
    let comparison = compare(&partial, &stock());
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    let why = "corruption.decoded is not known in the golden: UTF-16 text";
    assert!(comparison.why.starts_with(why), "{}", comparison.why);
    assert_eq!(compare(&partial, &partial).verdict, Verdict::SameCrash);
}

#[test]
fn the_middle_of_a_descriptor_without_proof_is_inconclusive() {
    for unproven in [
        known(Confidence::Structural),
        known(Confidence::Plausible),
        Fact::absent("not weighed"),
    ] {
        let mut found = stock();
        found.corruption.confidence = unproven;
        check_why(
            &found,
            Verdict::Inconclusive,
            "corruption.decoded is not known in the candidate: the middle of a descriptor is text, and \
             nothing proves where it came from",
        );
    }
}

#[test]
fn the_head_of_a_descriptor_needs_its_own_form() {
    let head = golden().corruption.decoded.value().unwrap().clone();
    let bytes = "38 03 56 00 69 00 72 00";
    for sure in [Confidence::Structural, Confidence::Proven] {
        check(&at_start(bytes, head.clone(), sure), Verdict::SameCrash);
    }
    check_why(
        &at_start(bytes, head, Confidence::Plausible),
        Verdict::Inconclusive,
        "corruption.decoded is not known in the candidate: the descriptor's head is only plausible",
    );
}

#[test]
fn bytes_that_are_nothing_that_was_tried_are_different() {
    // As on a hardened kernel with no device whose strings fit: the bytes stay coded.
    let mut found = stock();
    found.corruption.bytes = Fact::absent("coded");
    found.corruption.observed = Fact::absent("coded");
    found.corruption.decoded = known(Decoded::Unknown {});
    found.corruption.confidence = Fact::absent("nothing was recognised");
    check_why(
        &found,
        Verdict::Different,
        "corruption.decoded differs: every reading of the bytes was tried, and none is part of a string descriptor",
    );
    found.corruption.decoded = Fact::absent("the devices could not be read");
    check_why(
        &found,
        Verdict::Inconclusive,
        "corruption.decoded is not known in the candidate: the devices could not be read",
    );
}

#[test]
fn poison_and_a_flipped_bit_are_different_where_they_are_sure() {
    let poison = Decoded::Poison {
        name: "POISON_FREE".into(),
    };
    for decoded in [poison, Decoded::BitFlip { bit: 3 }] {
        let sure = stock_with(decoded.clone(), Confidence::Structural);
        check_why(
            &sure,
            Verdict::Different,
            "corruption.decoded differs: other contents",
        );
        check(
            &stock_with(decoded, Confidence::Plausible),
            Verdict::Inconclusive,
        );
    }
}

#[test]
fn undecoded_bytes_are_the_same_only_if_they_are_known_and_equal() {
    let unknown = |observed: Fact<crate::model::Bytes>| {
        let mut s = golden();
        s.corruption.decoded = known(Decoded::Unknown {});
        s.corruption.observed = observed;
        s
    };
    let bytes = |text: &str| unknown(known(text.parse().unwrap()));
    let (one, two) = (bytes("01 02"), bytes("01 03"));
    let none = unknown(Fact::absent("coded"));
    for (golden, found, verdict) in [
        (&one, &one, Verdict::SameCrash),
        (&one, &two, Verdict::Different),
        (&one, &none, Verdict::Inconclusive),
        (&none, &one, Verdict::Inconclusive),
        (&none, &none, Verdict::Inconclusive),
    ] {
        let comparison = compare(golden, found);
        assert_eq!(comparison.verdict, verdict, "{comparison:#?}");
    }
}
