//! What bytes are taken for, and what they are not taken for.
use super::*;
use crate::slub::Extent;
use crate::usb::{StringKind, UsbDevice};
use proptest::prelude::*;
use recrash_vmcore::VirtAddr;

const PRODUCT: &str = "Virtual Mass Storage Device";

fn device() -> UsbDevice {
    UsbDevice {
        at: VirtAddr(0xffff_8880_0000_1000),
        name: "1-1".into(),
        bus: 1,
        number: Some(2),
        parent: None,
        vendor: 0x46f4,
        product_id: 1,
        speed: None,
        state: None,
        strings: vec![(StringKind::Product, PRODUCT.into())],
        language: Some(0x0409),
        device_descriptor: vec![18, 1, 0, 2, 0, 0, 0, 64, 0xf4, 0x46, 1, 0, 0, 0, 1, 2, 3, 1],
        configurations: vec![vec![
            9, 2, 32, 0, 1, 1, 0, 0xc0, 50, 9, 4, 0, 0, 2, 8, 6, 80, 0, 7, 5, 0x81, 2, 0, 2, 0, 7,
            5, 2, 2, 0, 2, 0,
        ]],
        active_configuration: Some(1),
        bos: None,
        missing: Vec::new(),
    }
}

fn decoded(bytes: &[u8], offset: Option<u64>, known: &Known) -> Option<Reading> {
    let question = Question {
        offset,
        ..Question::of(bytes)
    };
    decode(&question, known).best().cloned()
}

fn check(bytes: &[u8], expected: Option<(&str, Confidence)>) {
    let found = decoded(bytes, None, &Known::default());
    let found = found.map(|reading| {
        let what = match reading.kind {
            Kind::Device(_) => "device".into(),
            Kind::Descriptor(descriptor) => format!("{} at {}", descriptor.name, descriptor.begins),
            Kind::Setup(setup) => setup.name().unwrap_or("?").into(),
            Kind::Text { text, .. } => text,
            Kind::Poison { name, drift: 0 } => name.into(),
            Kind::Poison { name, drift } => format!("{name}{drift:+}"),
            Kind::BitFlip { bit, .. } => format!("bit {bit}"),
            Kind::ErrorPointer { name, .. } => name.unwrap_or("?").into(),
            Kind::Zeroes => "zeros".into(),
            Kind::Number(value) => value.to_string(),
        };
        (what, reading.confidence)
    });
    let expected = expected.map(|(what, confidence)| (what.to_owned(), confidence));
    assert_eq!(found, expected, "{bytes:02x?}");
}

use Confidence::{Plausible, Structural};

#[test]
fn the_real_dumps_freelist_is_the_head_of_a_string_descriptor() {
    let bytes = 0x0072_0069_0056_0338u64.to_le_bytes();
    check(&bytes, Some(("string descriptor at 0", Structural)));
    let Some(Kind::Descriptor(found)) = decoded(&bytes, None, &Known::default()).map(|r| r.kind)
    else {
        panic!("no descriptor")
    };
    assert_eq!((found.length, found.text.as_deref()), (56, Some("Vir")));
}

#[test]
fn every_standard_descriptor_is_known_by_its_head() {
    for (bytes, name) in [
        (&[18, 1, 0, 2, 0, 0, 0, 64][..], "device descriptor"),
        (&[9, 2, 32, 0, 1, 1, 0, 0xc0], "configuration descriptor"),
        (&[9, 4, 0, 0, 2, 8, 6, 80], "interface descriptor"),
        (&[7, 5, 0x81, 2, 0, 2, 0, 7], "endpoint descriptor"),
        (&[10, 6, 0, 2, 0, 0, 0, 64], "device qualifier descriptor"),
        (
            &[9, 7, 32, 0, 1, 1, 0, 0xc0],
            "other speed configuration descriptor",
        ),
        (&[5, 9, 3, 0, 2, 9, 4, 0], "OTG descriptor"),
        (
            &[8, 11, 0, 2, 2, 2, 1, 0],
            "interface association descriptor",
        ),
        (&[5, 15, 22, 0, 2, 7, 16, 2], "BOS descriptor"),
        (
            &[7, 16, 2, 2, 0, 0, 0, 10],
            "device capability descriptor (USB 2.0 extension)",
        ),
        (
            &[10, 16, 3, 0, 14, 0, 1, 10],
            "device capability descriptor (SuperSpeed)",
        ),
        (&[9, 0x21, 0x11, 1, 0, 1, 0x22, 63], "HID descriptor"),
        (&[9, 0x29, 8, 0, 0, 50, 100, 0], "hub descriptor"),
        (&[12, 0x2a, 4, 9, 0, 50, 0, 0], "SuperSpeed hub descriptor"),
        (
            &[6, 0x30, 15, 0, 0, 0, 7, 5],
            "SuperSpeed endpoint companion descriptor",
        ),
        (&[4, 3, 9, 4, 0, 0, 0, 0], "string descriptor zero"),
    ] {
        let found = decoded(bytes, None, &Known::default()).map(|r| r.kind);
        let Some(Kind::Descriptor(found)) = found else {
            panic!("{name}: {found:?}")
        };
        assert_eq!((found.name, found.begins), (name, 0));
    }
}

#[test]
fn a_descriptor_is_found_where_it_begins_inside_the_bytes() {
    check(
        &[0x17, 18, 1, 0, 2, 0, 0, 0],
        Some(("device descriptor at 1", Structural)),
    );
}

#[test]
fn four_bytes_of_a_descriptor_are_enough_where_they_say_enough() {
    check(&[18, 1, 0, 2], Some(("device descriptor at 0", Structural)));
    check(
        &[0x38, 3, b'V', 0],
        Some(("string descriptor at 0", Plausible)),
    );
}

#[test]
fn a_length_that_does_not_fit_the_type_is_no_descriptor() {
    check(&[0x39, 3, 0xd7, 0, b'i', 0, 0xd8, 0xdb], None);
    check(&[0x38, 4, 0xd7, 0, b'i', 0, 0xd8, 0xdb], None);
}

#[test]
fn kernel_pointers_are_nothing() {
    for word in [
        0xffff_8880_0123_4080u64,
        0xffff_ffff_8123_4567,
        0xffff_c900_0001_2340,
        0xffff_ea00_0004_5640,
        0x0000_7f12_3456_789a,
    ] {
        check(&word.to_le_bytes(), None);
    }
}

#[test]
fn fill_patterns_have_names() {
    let word = |word: u64| word.to_le_bytes();
    check(
        &word(0xdead_0000_0000_0122),
        Some(("LIST_POISON2", Structural)),
    );
    check(
        &word(0x6b6b_6b6b_6b6b_6b6b),
        Some(("POISON_FREE", Structural)),
    );
    check(
        &word(0xa56b_6b6b_6b6b_6b6b),
        Some(("POISON_FREE", Structural)),
    );
    check(
        &word(0x6b6b_6b6b_6b6b_6b6a),
        Some(("POISON_FREE-1", Structural)),
    );
    check(
        &word(0x6b6b_6b6c_6b6b_6b6b),
        Some(("POISON_FREE+1", Structural)),
    );
    check(&[0xbb; 4], Some(("SLUB_RED_INACTIVE", Structural)));
    check(&word(0u64.wrapping_sub(12)), Some(("ENOMEM", Structural)));
    check(&word(u64::MAX), None);
    check(&word(0), Some(("zeros", Plausible)));
    check(&word(41), Some(("41", Plausible)));
}

#[test]
fn text_alone_is_only_plausible() {
    check(b"esdm-age", Some(("esdm-age", Plausible)));
    check(b"usb\0\0\0\0\0", Some(("6452085", Plausible)));
    check(
        &[b'S', 0, b't', 0, b'o', 0, b'r', 0],
        Some(("Stor", Plausible)),
    );
    check(
        &[0, b'S', 0, b't', 0, b'o', 0, b'r'],
        Some(("Sto", Plausible)),
    );
    let cyrillic: Vec<u8> = "Диск".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&cyrillic, Some(("Диск", Plausible)));
}

#[test]
fn characters_of_many_scripts_are_no_text() {
    check(&[0x12, 0x04, 0x55, 0x06, 0x20, 0x09, 0x45, 0x0e], None);
}

#[test]
fn a_setup_packet_is_known_by_its_values() {
    check(
        &[0x80, 6, 2, 3, 9, 4, 0xfe, 0],
        Some(("GET_DESCRIPTOR", Structural)),
    );
}

#[test]
fn a_flipped_bit_of_a_pointer_is_told() {
    let extent = Extent {
        start: 5,
        end: 6,
        bit: Some(44),
        nearest: VirtAddr(0xffff_8880_0123_4080),
    };
    let bytes = 0xffff_9880_0123_4080u64.to_le_bytes();
    let question = Question {
        extent: Some(&extent),
        ..Question::of(&bytes)
    };
    let found = decode(&question, &Known::default());
    assert!(matches!(
        found.best().unwrap().kind,
        Kind::BitFlip { bit: 44, .. }
    ));
}

#[test]
fn bytes_that_a_device_sent_are_proven_to_be_its_own_wherever_they_begin() {
    let known = Known::of(&[device()]);
    let whole = string_descriptor(PRODUCT).unwrap();
    for at in 0..whole.len() - 8 {
        let found = decoded(&whole[at..at + 8], None, &known).unwrap();
        let Kind::Device(found_at) = &found.kind else {
            panic!("{at}: {found:?}")
        };
        assert_eq!(found_at.at, at as u64, "{found:?}");
        assert_eq!(found.confidence, Confidence::Proven, "{at}: {found:?}");
        assert_eq!(found_at.part.label(), "product string");
    }
    let found = decoded(&whole[..8], Some(0), &known).unwrap();
    let Kind::Device(found) = found.kind else {
        panic!("{found:?}")
    };
    assert_eq!(
        (found.kind, found.kind_length, found.visible.as_deref()),
        (Some(3), Some(56), Some("Vir"))
    );
}

#[test]
fn a_part_of_a_configuration_says_which_descriptor_it_is() {
    let device = device();
    let known = Known::of(std::slice::from_ref(&device));
    let found = decoded(&device.configurations[0][11..19], None, &known).unwrap();
    let Kind::Device(found) = found.kind else {
        panic!("{found:?}")
    };
    assert_eq!((found.at, found.kind, found.kind_at), (11, Some(4), 2));
}

#[test]
fn four_bytes_need_their_offset_to_be_more_than_plausible() {
    let known = Known::of(&[device()]);
    let device = decoded(&[18, 1, 0, 2], Some(0), &known).unwrap();
    assert!(matches!(device.kind, Kind::Descriptor(_) | Kind::Device(_)));
    let text = decoded(&[b's', 0, b's', 0], None, &known);
    assert!(text.is_none_or(|text| text.confidence == Plausible));
}

#[test]
fn many_alternatives_make_a_reading_less_sure() {
    let bytes = 0x0072_0069_0056_0338u64.to_le_bytes();
    let question = Question {
        alternatives: 32,
        ..Question::of(&bytes)
    };
    let found = decode(&question, &Known::default());
    assert_eq!(found.best().unwrap().confidence, Plausible);
}

#[test]
fn a_text_that_no_descriptor_can_carry_has_none() {
    assert_eq!(string_descriptor(&"x".repeat(127)), None);
    assert_eq!(
        string_descriptor(&"x".repeat(126)).map(|bytes| bytes.len()),
        Some(254)
    );
}

proptest! {
    /// Whatever the bytes are, readings lie inside them.
    #[test]
    fn a_reading_explains_no_more_than_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let known = Known::of(&[device()]);
        for reading in decode(&Question::of(&bytes), &known).readings {
            prop_assert!(reading.explained.end <= bytes.len());
            prop_assert!(reading.explained.start <= reading.explained.end);
        }
    }
}

#[test]
fn what_several_devices_sent_is_the_one_s_that_has_a_wire_and_the_others_are_told() {
    let mut hub = device();
    hub.name = "usb1".into();
    let mut stick = device();
    stick.parent = Some(hub.at);
    let mut other = stick.clone();
    other.name = "1-2".into();
    let known = Known::of(&[hub, stick, other]);
    let Some(Kind::Device(found)) =
        decoded(&[4, 3, 9, 4], Some(0), &known).map(|reading| reading.kind)
    else {
        panic!("no device's")
    };
    assert_eq!(found.device, "1-1");
    assert_eq!(found.also, ["1-2", "usb1"]);
    assert_eq!(found.languages, [0x0409]);
}
