//! Tests on BTF written by recrash-synth.

use super::*;
use proptest::prelude::*;
use recrash_synth::btf::{BtfWriter, MemberSpec};

fn vmlinux() -> BtfWriter {
    let mut w = BtfWriter::new();
    let int = w.int("int", 4, true);
    let pointer = w.pointer(int);
    w.structure("page", 16, &[MemberSpec::at(0, "flags", pointer)]);
    w
}

/// Parses and gives the error's text.
fn check(bytes: &[u8], expected: &str) {
    let error = Btf::parse(bytes, None).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn ids_and_strings_of_a_module_continue_those_of_vmlinux() {
    let base = vmlinux();
    let mut module = BtfWriter::on_top_of(&base);
    let id = module.structure("usb_hcd", 8, &[MemberSpec::at(4, "state", 1)]);
    let base = Arc::new(Btf::parse(base.finish(), None).unwrap());
    let split = Btf::parse(module.finish(), Some(base.clone())).unwrap();
    assert_eq!((base.own_ids(), split.own_ids()), (1..4, 4..5));
    let Kind::Struct { size: 8, members } = split.get(id).unwrap().kind else {
        panic!("no struct")
    };
    assert_eq!(members[0].name, "state");
    assert_eq!(split.get(members[0].target).unwrap().name, "int");
    assert_eq!(split.own_named("page").count(), 0);
    assert_eq!(base.own_named("page").count(), 1);
    assert!(split.get(5).is_none());
}

#[test]
fn every_kind_has_its_length() {
    let mut w = BtfWriter::new();
    let tails = [1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];
    for (kind, tail) in (1..).zip(tails) {
        w.record("", kind, 0, false, 4, &vec![0; tail]);
    }
    let last = w.int("long", 8, true);
    let btf = Btf::parse(w.finish(), None).unwrap();
    assert_eq!(btf.get(last).unwrap().name, "long");
    assert!(btf.own_ids().all(|id| btf.get(id).is_some()));
}

#[test]
fn an_unknown_kind_is_an_error() {
    let mut w = BtfWriter::new();
    w.int("int", 4, true);
    w.record("", 20, 0, false, 0, &[]);
    check(
        &w.finish(),
        "BTF type 2 at offset 0x10 of the type section: unknown kind, so its length is unknown too",
    );
}

#[test]
fn a_count_beyond_the_section_is_an_error() {
    let mut w = BtfWriter::new();
    w.record("big", 4, 0xffff, false, 8, &[0, 0, 0]);
    check(
        &w.finish(),
        "BTF type 1 at offset 0x0 of the type section: the record leaves the type section",
    );
}

#[test]
fn truncated_sections_are_an_error() {
    let bytes = vmlinux().finish();
    let error = Btf::parse(&bytes[..bytes.len() - 1], None).unwrap_err();
    assert!(matches!(
        error,
        BtfError::Truncated {
            section: "strings",
            ..
        }
    ));
    check(
        &bytes[..20],
        "BTF header (offset 0x0, 0x18 bytes) leaves the 0x14 bytes there are",
    );
    assert_eq!(Btf::len_from_header(&bytes), Some(bytes.len()));
}

#[test]
fn other_bytes_are_not_btf() {
    check(
        &[0x7f; 32],
        "no little-endian BTF of version 1: it begins with 0x7f7f, version 127",
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, types: Vec<u8>) {
        let _ = Btf::parse(bytes, None);
        let mut framed = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len() as u32, 0, types.len() as u32] {
            framed.extend_from_slice(&u32::to_le_bytes(word));
        }
        framed.extend_from_slice(&types);
        if let Ok(btf) = Btf::parse(framed, None) {
            for id in btf.own_ids() {
                prop_assert!(btf.get(id).is_some());
            }
        }
    }
}
