//! Tests of the written form: what is written reads back as it was, and what is wrong is refused.

use super::*;
use proptest::prelude::*;
use std::fmt::{Debug, Display};
use std::str::FromStr;

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Vmcore,
        Source::VmcoreKallsyms,
        Source::VmcoreImage,
        Source::VmcoreSystemMap,
        Source::VmcoreBtf,
        Source::VmcoreDwarf,
        Source::VmcoreLayout,
        Source::Transcript,
        Source::Console,
        Source::Run,
        Source::Derived,
        Source::TranscribedByHand,
    ])
}

fn fact<T: Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Fact<T>> {
    prop_oneof![
        (value, source()).prop_map(|(value, source)| Fact::known(value, source)),
        text().prop_map(Fact::absent),
    ]
    .boxed()
}

/// Any characters, and often those that TOML has to escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\\n\r\t\u{0}-\u{1f}\u{7f}-\u{9f}#=a]{0,8}"
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let word = "[A-Za-z_.][A-Za-z0-9_.$]{0,12}";
    (word, prop::option::of(word), any::<bool>()).prop_map(|(function, module, inlined)| Frame {
        function,
        module,
        inlined,
    })
}

fn site() -> impl Strategy<Value = Site> {
    prop_oneof![
        text().prop_map(|cache| Site::FreelistPointer { cache }),
        (text(), text()).prop_map(|(structure, field)| Site::Field { structure, field }),
        text().prop_map(|name| Site::Register { name }),
    ]
}

fn decoded() -> impl Strategy<Value = Decoded> {
    let descriptor = (
        any::<u8>(),
        any::<u16>(),
        any::<Option<u8>>(),
        prop::option::of(text()),
        prop::option::of(text()),
        any::<Option<Vec<u16>>>(),
    );
    let encoding = prop::sample::select(vec![Encoding::Ascii, Encoding::Utf16]);
    prop_oneof![
        descriptor.prop_map(|(kind, offset, length, text, whole, langids)| {
            Decoded::UsbDescriptor {
                descriptor: DescriptorType(kind),
                offset,
                length,
                text,
                whole,
                langids,
            }
        }),
        (encoding, text()).prop_map(|(encoding, text)| Decoded::Text { encoding, text }),
        text().prop_map(|name| Decoded::Poison { name }),
        any::<u8>().prop_map(|bit| Decoded::BitFlip { bit }),
        Just(Decoded::Unknown {}),
    ]
}

fn class() -> impl Strategy<Value = FaultClass> {
    prop::sample::select(vec![
        FaultClass::NonCanonical,
        FaultClass::Null,
        FaultClass::Unmapped,
        FaultClass::Protection,
        FaultClass::BadJump,
        FaultClass::Bug,
        FaultClass::Warning,
        FaultClass::Divide,
        FaultClass::Sanitizer,
        FaultClass::Stall,
        FaultClass::Panic,
        FaultClass::Other,
    ])
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![
        Role::FreelistPointer,
        Role::FreelistOffset,
        Role::KmemCache,
        Role::KmemCacheCpu,
        Role::None,
        Role::Other,
    ])
}

fn span() -> impl Strategy<Value = Span> {
    (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Span {
        start: a.min(b),
        end: a.max(b),
    })
}

prop_compose! {
    fn fault()(
        vector in fact(any::<u8>()),
        trap in fact(text()),
        class in fact(class()),
        function in fact(text()),
        offset in fact(any::<u32>()),
        instruction in fact(text()),
        base_register in fact(text()),
        base_role in fact(role()),
        index_role in fact(role()),
        hardware_vector in fact(any::<u8>()),
        report in fact(text()),
    ) -> Fault {
        Fault {
            vector, trap, class, function, offset, instruction, base_register, base_role,
            index_role, hardware_vector, report,
        }
    }
}

prop_compose! {
    fn corruption()(
        site in fact(site()),
        bytes in fact(span()),
        observed in fact(any::<Vec<u8>>().prop_map(Bytes)),
        decoded in fact(decoded()),
        confidence in fact(prop::sample::select(vec![
            Confidence::Plausible, Confidence::Structural, Confidence::Proven,
        ])),
        proof in fact(prop::collection::vec(text(), 0..4)),
    ) -> Corruption {
        Corruption { site, bytes, observed, decoded, confidence, proof }
    }
}

prop_compose! {
    fn context()(
        accelerator in fact(text()),
        comm in fact(text()),
        cpu in fact(any::<u32>()),
        gfp_flags in fact(text()),
        init_on_alloc in fact(any::<bool>()),
        kaslr in fact(any::<bool>()),
        la57 in fact(any::<bool>()),
        release in fact(text()),
        request in fact(text()),
        requested_size in fact(any::<u32>()),
    ) -> Context {
        Context {
            accelerator, comm, cpu, gfp_flags, init_on_alloc, kaslr, la57, release, request,
            requested_size,
        }
    }
}

prop_compose! {
    fn signature()(
        fault in fault(),
        chain in fact(prop::collection::vec(frame(), 0..6)),
        syscall in fact(text()),
        cache in fact(text()),
        object_size in fact(any::<u32>()),
        freelist_offset in fact(any::<u32>()),
        hardened in fact(any::<bool>()),
        corruption in corruption(),
        context in context(),
        alternatives in prop::collection::vec(text(), 0..4),
    ) -> Signature {
        let slab = Slab { cache, object_size, freelist_offset, hardened };
        Signature::new(fault, Frames { chain, syscall }, slab, corruption, context)
            .with_alternatives(alternatives)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_signature_reads_back_as_it_was_written(signature in signature()) {
        let text = signature.to_toml().unwrap();
        prop_assert_eq!(Signature::from_toml(&text).unwrap(), signature);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in text()) {
        let _ = Signature::from_toml(&text);
        let _ = Signature::from_toml(&format!("schema = {SCHEMA}\n{text}"));
        let _ = (text.parse::<Frame>(), text.parse::<Span>());
        let _ = (text.parse::<Bytes>(), text.parse::<DescriptorType>());
    }

    #[test]
    fn a_frame_that_parses_is_written_as_it_was_read(text in "[a-z \\[\\]()]{0,12}( \\(inlined\\))?") {
        if let Ok(frame) = text.parse::<Frame>() {
            prop_assert_eq!(frame.to_string(), text);
        }
    }
}

/// `text` parses and is written the same; or, `valid` being false, is refused with itself named.
fn check<T: FromStr + Display>(text: &str, valid: bool)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert!(valid, "{text:?} was taken");
            assert_eq!(value.to_string(), text);
        }
        Err(error) => {
            assert!(!valid, "{text:?} was refused");
            assert!(error.to_string().starts_with(&format!("`{text}` is not")));
        }
    }
}

#[test]
fn a_frame_is_a_function_a_module_and_a_mark() {
    for text in ["f", "f [m]", "f (inlined)", "f [m] (inlined)", "f.isra.0"] {
        check::<Frame>(text, true);
    }
    for text in [
        "",
        " f",
        "f ",
        "f []",
        "f [m",
        "f m]",
        "[m]",
        "f [m] [n]",
        "f (x)",
        "f\n",
        "f  [m]",
    ] {
        check::<Frame>(text, false);
    }
}

#[test]
fn a_span_is_two_numbers_in_order() {
    for text in ["0..8", "3..3", "0..255"] {
        check::<Span>(text, true);
    }
    for text in [
        "", "8", "8..0", "0..256", "..8", "0..", "+0..8", "0...8", "-1..8",
    ] {
        check::<Span>(text, false);
    }
}

#[test]
fn bytes_are_pairs_of_digits() {
    for text in ["", "00", "38 03 56 ff"] {
        check::<Bytes>(text, true);
    }
    for text in ["0", "000", "3803", "+1", "zz", "é", "0x38"] {
        check::<Bytes>(text, false);
    }
}

#[test]
fn a_descriptor_type_is_a_name_or_a_number() {
    for text in [
        "string",
        "device",
        "superspeed-hub",
        "type-0x2b",
        "type-0xff",
    ] {
        check::<DescriptorType>(text, true);
    }
    for text in [
        "",
        "String",
        "type-0x",
        "type-0x+1",
        "type-0x123",
        "type-2b",
    ] {
        check::<DescriptorType>(text, false);
    }
}

#[test]
fn a_fact_is_a_value_with_its_source_or_a_reason() {
    let read = |text: &str| {
        #[derive(Deserialize)]
        struct Holder {
            f: Fact<u8>,
        }
        toml::from_str::<Holder>(text).map(|holder| holder.f)
    };
    let known = read(r#"f = { value = 1, source = "vmcore+btf" }"#).unwrap();
    assert_eq!(known, Fact::known(1, Source::VmcoreBtf));
    let absent = read(r#"f = { absent = "why" }"#).unwrap();
    assert_eq!(absent, Fact::absent("why"));
    for wrong in [
        "f = 1",
        "f = {}",
        "f = { value = 1 }",
        r#"f = { source = "vmcore" }"#,
        r#"f = { value = 1, source = "vmcore", absent = "x" }"#,
        r#"f = { value = 1, source = "hearsay" }"#,
        r#"f = { value = 256, source = "vmcore" }"#,
        r#"f = { absent = "x", more = 1 }"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_reason_keeps_sizes_and_loses_addresses() {
    for (reason, kept) in [
        (
            "page at 0x1f2a000 was left out",
            "page at 0x1f2a000 was left out",
        ),
        ("0xffff8cd35fe32100: PT entry 0x0", "0x…: PT entry 0x0"),
        ("the call at 0xffffffff9cbf77a3.", "the call at 0x…."),
        ("0x", "0x"),
    ] {
        let expected = Fact::<u8>::Absent {
            reason: kept.into(),
        };
        assert_eq!(Fact::<u8>::absent(reason), expected);
    }
}
