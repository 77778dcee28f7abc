//! Hand-written units: what compilers do not write, and what nobody should.

use super::*;
use crate::btf::Btf;
use crate::types::Types;
use proptest::prelude::*;
use recrash_synth::dwarf::{Unit, Value, elf};
use std::sync::Arc;

// Numbers of DWARF 4, section 7.5.4 and 7.5.3.
const COMPILE_UNIT: u16 = 0x11;
const SUBPROGRAM: u16 = 0x2e;
const INLINED: u16 = 0x1d;
const BLOCK: u16 = 0x0b;
const BASE: u16 = 0x24;
const POINTER: u16 = 0x0f;
const STRUCT: u16 = 0x13;
const MEMBER: u16 = 0x0d;
const TYPEDEF: u16 = 0x16;
const NAME: u16 = 0x03;
const SIZE: u16 = 0x0b;
const LOW: u16 = 0x11;
const HIGH: u16 = 0x12;
const ENCODING: u16 = 0x3e;
const ORIGIN: u16 = 0x31;
const DECLARATION: u16 = 0x3c;
const LOCATION: u16 = 0x38;
const TYPE: u16 = 0x49;
const BIT_SIZE: u16 = 0x0d;
const BIT_OFFSET: u16 = 0x0c;
const SIBLING: u16 = 0x01;

use Value::{Address, Entry, Flag, Number, Text};

/// A vmlinux of one unit that covers 0x1000 to 0x2000.
fn file(unit: impl FnOnce(&mut Unit)) -> Vec<u8> {
    let mut writer = Unit::default();
    writer.open(
        COMPILE_UNIT,
        &[
            (NAME, Text("a.c")),
            (LOW, Address(0x1000)),
            (HIGH, Number(0x1000)),
        ],
    );
    unit(&mut writer);
    let (info, abbreviations) = writer.finish();
    elf(&[
        (".debug_info", 0, &info),
        (".debug_abbrev", 0, &abbreviations),
    ])
}

fn functions(file: &[u8], address: u64) -> Result<Vec<(String, bool)>, DwarfError> {
    let frames = Dwarf::parse(file)?.frames_at(address)?;
    Ok(frames
        .into_iter()
        .map(|f| (f.function, f.inlined))
        .collect())
}

fn check(file: &[u8], address: u64, expected: &[(&str, bool)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(f, i)| ((*f).to_owned(), *i))
        .collect();
    assert_eq!(functions(file, address), Ok(expected));
}

fn nested(unit: &mut Unit) {
    // 1: abstract; 2: the function; 3: a call inlined into it; 4, 5: a block and a call in that.
    unit.leaf(SUBPROGRAM, &[(NAME, Text("inner"))]);
    unit.open(
        SUBPROGRAM,
        &[
            (NAME, Text("outer")),
            (LOW, Address(0x1100)),
            (HIGH, Number(0x100)),
        ],
    );
    unit.open(
        INLINED,
        &[
            (ORIGIN, Entry(1)),
            (LOW, Address(0x1110)),
            (HIGH, Number(0x40)),
        ],
    );
    unit.open(BLOCK, &[]);
    unit.leaf(
        INLINED,
        &[
            (ORIGIN, Entry(6)),
            (LOW, Address(0x1120)),
            (HIGH, Number(8)),
        ],
    );
    unit.close();
    unit.close();
    unit.close();
    unit.leaf(SUBPROGRAM, &[(NAME, Text("innermost"))]);
}

#[test]
fn inlined_calls_are_listed_from_the_innermost() {
    let file = file(nested);
    check(&file, 0x1100, &[("outer", false)]);
    check(&file, 0x1110, &[("inner", true), ("outer", false)]);
    check(
        &file,
        0x1120,
        &[("innermost", true), ("inner", true), ("outer", false)],
    );
    check(&file, 0x1128, &[("inner", true), ("outer", false)]);
    check(&file, 0x11ff, &[("outer", false)]);
    check(&file, 0x1200, &[]);
    check(&file, 0x2000, &[]);
}

#[test]
fn a_cycle_of_origins_ends_without_a_name() {
    let file = file(|unit| {
        unit.leaf(
            SUBPROGRAM,
            &[
                (ORIGIN, Entry(2)),
                (LOW, Address(0x1100)),
                (HIGH, Number(1)),
            ],
        );
        unit.leaf(SUBPROGRAM, &[(ORIGIN, Entry(1))]);
    });
    check(&file, 0x1100, &[("", false)]);
}

#[test]
fn a_sibling_that_points_backwards_is_not_followed() {
    let file = file(|unit| {
        unit.open(SUBPROGRAM, &[(NAME, Text("f")), (SIBLING, Entry(1))]);
        unit.close();
        unit.leaf(
            SUBPROGRAM,
            &[(NAME, Text("g")), (LOW, Address(0x1100)), (HIGH, Number(1))],
        );
    });
    check(&file, 0x1100, &[("g", false)]);
}

#[test]
fn entries_nested_a_million_deep_are_no_trouble() {
    let file = file(|unit| {
        for _ in 0..1_000_000 {
            unit.open(BLOCK, &[]);
        }
    });
    check(&file, 0x1100, &[]);
}

fn types(file: &[u8]) -> Types {
    let converted = Dwarf::parse(file).unwrap().to_btf(&|_, _| {}).unwrap();
    assert_eq!(converted.skipped, (0, None));
    Types::new(Arc::new(Btf::parse(converted.btf, None).unwrap()))
}

#[test]
fn a_bit_field_of_old_dwarf_is_counted_from_the_high_end() {
    // struct s { int pad; unsigned low:3; unsigned high:5; }, as gcc wrote it up to version 10.
    let file = file(|unit| {
        let int = unit.leaf(
            BASE,
            &[(NAME, Text("u")), (SIZE, Number(4)), (ENCODING, Number(7))],
        );
        unit.open(STRUCT, &[(NAME, Text("s")), (SIZE, Number(8))]);
        for (name, size, offset) in [("low", 3, 29), ("high", 5, 24)] {
            let attributes = [
                (NAME, Text(name)),
                (TYPE, Entry(int)),
                (SIZE, Number(4)),
                (BIT_SIZE, Number(size)),
                (BIT_OFFSET, Number(offset)),
                (LOCATION, Number(4)),
            ];
            unit.leaf(MEMBER, &attributes);
        }
        unit.close();
    });
    let types = types(&file);
    let bits = |name| types.field("s", name).map(|f| (f.offset, f.size, f.bits));
    assert_eq!(bits("low"), Some((4, 4, Some((0, 3)))));
    assert_eq!(bits("high"), Some((4, 4, Some((3, 5)))));
}

#[test]
fn a_struct_that_points_to_itself_and_to_one_only_declared() {
    let file = file(|unit| {
        unit.open(STRUCT, &[(NAME, Text("list")), (SIZE, Number(16))]);
        unit.leaf(
            MEMBER,
            &[
                (NAME, Text("next")),
                (TYPE, Entry(4)),
                (LOCATION, Number(0)),
            ],
        );
        unit.leaf(
            MEMBER,
            &[(NAME, Text("of")), (TYPE, Entry(6)), (LOCATION, Number(8))],
        );
        unit.leaf(POINTER, &[(SIZE, Number(8)), (TYPE, Entry(1))]);
        unit.leaf(STRUCT, &[(NAME, Text("hidden")), (DECLARATION, Flag)]);
        unit.leaf(POINTER, &[(SIZE, Number(8)), (TYPE, Entry(5))]);
        unit.close();
    });
    let types = types(&file);
    let spelt = |field| types.field("list", field).map(|f| f.type_name);
    assert_eq!(spelt("next").as_deref(), Some("struct list *"));
    assert_eq!(spelt("of").as_deref(), Some("struct hidden *"));
    assert!(types.find_struct("hidden").is_none());
}

/// Two units, each with its own `struct priv`, and a struct that both share.
#[test]
fn different_structs_of_one_name_are_kept_apart() {
    let unit = |size: u64, field: &str, user: &str| {
        let mut unit = Unit::default();
        unit.open(COMPILE_UNIT, &[]);
        unit.open(STRUCT, &[(NAME, Text("priv")), (SIZE, Number(size))]);
        unit.leaf(
            MEMBER,
            &[(NAME, Text(field)), (TYPE, Entry(6)), (LOCATION, Number(0))],
        );
        unit.close();
        unit.open(STRUCT, &[(NAME, Text(user)), (SIZE, Number(8))]);
        unit.leaf(
            MEMBER,
            &[(NAME, Text("p")), (TYPE, Entry(5)), (LOCATION, Number(0))],
        );
        unit.leaf(POINTER, &[(SIZE, Number(8)), (TYPE, Entry(1))]);
        unit.leaf(
            BASE,
            &[
                (NAME, Text("long")),
                (SIZE, Number(8)),
                (ENCODING, Number(5)),
            ],
        );
        unit.close();
        unit.open(STRUCT, &[(NAME, Text("shared")), (SIZE, Number(8))]);
        unit.leaf(
            MEMBER,
            &[(NAME, Text("p")), (TYPE, Entry(5)), (LOCATION, Number(0))],
        );
        unit.close();
        unit.finish()
    };
    let (mut info, abbreviations) = unit(8, "a", "first");
    let (mut second, others) = unit(16, "b", "second");
    second[6..10].copy_from_slice(&(abbreviations.len() as u32).to_le_bytes());
    info.extend(second);
    let abbreviations = [abbreviations, others].concat();
    let file = elf(&[
        (".debug_info", 0, &info),
        (".debug_abbrev", 0, &abbreviations),
    ]);
    let converted = Dwarf::parse(&file[..]).unwrap().to_btf(&|_, _| {}).unwrap();
    let btf = Btf::parse(converted.btf, None).unwrap();
    use crate::btf::Kind;
    let pointee = |user: &str| {
        let Kind::Struct { members, .. } = btf.own_named(user).next().unwrap().kind else {
            panic!("{user} is no struct");
        };
        let Kind::Ptr { target } = btf.get(members[0].target).unwrap().kind else {
            panic!("{user}.p is no pointer");
        };
        match btf.get(target).unwrap().kind {
            Kind::Struct { size, .. } => Some(size),
            _ => None,
        }
    };
    let is_struct = |ty: &crate::btf::Type<'_>| matches!(ty.kind, Kind::Struct { .. });
    assert_eq!(btf.own_named("priv").filter(is_struct).count(), 2);
    assert_eq!((pointee("first"), pointee("second")), (Some(8), Some(16)));
    // What `shared` means by the name differs, so neither is taken.
    assert_eq!(btf.own_named("shared").count(), 1);
    assert_eq!(pointee("shared"), None);
}

#[test]
fn types_that_contain_themselves_are_refused_and_no_others() {
    let file = file(|unit| {
        unit.open(STRUCT, &[(NAME, Text("loop")), (SIZE, Number(8))]);
        unit.leaf(
            MEMBER,
            &[
                (NAME, Text("self")),
                (TYPE, Entry(1)),
                (LOCATION, Number(0)),
            ],
        );
        unit.close();
    });
    let converted = Dwarf::parse(&file[..]).unwrap().to_btf(&|_, _| {});
    assert_eq!(converted.unwrap_err(), DwarfError::TooMuch);
}

#[test]
fn anonymous_structs_that_share_parts_do_not_multiply_the_work() {
    // Each level has two members of the level below: 2^60 leaves if followed one by one.
    let file = file(|unit| {
        unit.leaf(TYPEDEF, &[(NAME, Text("t"))]);
        for level in 0..60 {
            let below = if level == 0 { 1 } else { 2 + 3 * (level - 1) };
            unit.open(STRUCT, &[(SIZE, Number(8))]);
            unit.leaf(MEMBER, &[(NAME, Text("a")), (TYPE, Entry(below))]);
            unit.leaf(MEMBER, &[(NAME, Text("b")), (TYPE, Entry(below))]);
            unit.close();
        }
        unit.leaf(TYPEDEF, &[(NAME, Text("top")), (TYPE, Entry(2 + 3 * 59))]);
    });
    let converted = Dwarf::parse(&file[..]).unwrap().to_btf(&|_, _| {}).unwrap();
    assert_eq!(converted.skipped, (1, Some(DwarfError::TooMuch)));
}

#[test]
fn a_file_without_debug_information_says_so() {
    let stripped = elf(&[(".text", 6, &[0; 16])]);
    let error = |bytes: &[u8]| Dwarf::parse(bytes).err();
    assert_eq!(error(&stripped), Some(DwarfError::NoDebugInfo));
    assert!(matches!(error(b"#!/bin/sh"), Some(DwarfError::NotElf(_))));
}

#[test]
fn a_compressed_section_that_claims_too_much_allocates_nothing() {
    const COMPRESSED: u64 = 0x800;
    let claim = |kind: u32, size: u64| {
        let mut section = kind.to_le_bytes().to_vec();
        section.extend([0; 4]);
        section.extend(size.to_le_bytes());
        section.extend([0; 8]);
        section.extend([1, 2, 3]);
        let file = elf(&[
            (".debug_info", COMPRESSED, &section),
            (".debug_abbrev", 0, &[0]),
        ]);
        functions(&file, 0x1000).unwrap_err()
    };
    assert!(matches!(claim(1, u64::MAX), DwarfError::TooLarge { .. }));
    assert!(matches!(claim(1, 1 << 20), DwarfError::Compression { .. }));
    assert!(matches!(claim(2, 1 << 20), DwarfError::Compression { .. }));
    assert!(matches!(claim(9, 1), DwarfError::Compression { .. }));
}

#[test]
fn an_index_is_what_it_was_written_from() {
    let file = file(nested);
    let dwarf = Dwarf::parse(&file[..]).unwrap();
    let index = dwarf.index().unwrap();
    assert_eq!((index.len(), index.is_empty()), (1, false));
    assert_eq!(
        UnitIndex::from_bytes(&index.to_bytes()).as_ref(),
        Some(index)
    );
    assert_eq!(UnitIndex::from_bytes(&[0; 25]), None);
    let other = Dwarf::parse(&file[..]).unwrap();
    other.set_index(UnitIndex::default());
    assert_eq!(other.frames_at(0x1110), Ok(Vec::new()));
}

/// Everything that can be asked, of bytes that may be anything.
pub(super) fn ask(bytes: &[u8], addresses: &[u64]) {
    let Ok(dwarf) = Dwarf::parse(bytes) else {
        return;
    };
    let _ = (dwarf.build_id(), dwarf.link_address(".text", 0));
    for address in addresses {
        let _ = (dwarf.frames_at(*address), dwarf.line_at(*address));
    }
    if let Ok(converted) = dwarf.to_btf(&|_, _| {}) {
        Btf::parse(converted.btf, None).unwrap();
    }
}

proptest! {
    #[test]
    fn damaged_files_give_errors_and_no_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = file(nested);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        ask(&bytes, &[0x1100, 0x1120, 0x1fff]);
    }

    #[test]
    fn arbitrary_sections_give_errors_and_no_panic(info: Vec<u8>, abbreviations: Vec<u8>, aranges: Vec<u8>, line: Vec<u8>) {
        let sections: [(&str, u64, &[u8]); 4] = [
            (".debug_info", 0, &info),
            (".debug_abbrev", 0, &abbreviations),
            (".debug_aranges", 0, &aranges),
            (".debug_line", 0, &line),
        ];
        ask(&elf(&sections), &[0, 0x1000]);
    }
}
