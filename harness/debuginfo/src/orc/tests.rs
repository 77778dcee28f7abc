//! Tests on tables written by recrash-synth.

use super::*;
use proptest::prelude::*;
use recrash_synth::orc::{OrcFormat, OrcRow, RowKind, sections};

const TEXT: u64 = 0xffff_ffff_8100_0000;
const IP: u64 = 0xffff_ffff_82c5_f474;
const FORMATS: [(OrcFormat, OrcLayout); 3] = [
    (OrcFormat::Linux4_18, OrcLayout::TypeEnd),
    (OrcFormat::Linux6_3, OrcLayout::TypeSignalEnd),
    (OrcFormat::Linux6_4, OrcLayout::Type3Signal),
];

/// A small kernel: entry code, functions, a gap.
fn kernel() -> Vec<OrcRow> {
    let mut rows = vec![
        OrcRow::call(TEXT, 0).of_kind(RowKind::End),
        OrcRow::call(TEXT + 0x10, 8),
        OrcRow::call(TEXT + 0x11, 16),
        OrcRow {
            sp_reg: 4,
            bp_reg: 1,
            bp_offset: -16,
            ..OrcRow::call(TEXT + 0x14, 16)
        },
        OrcRow::call(TEXT + 0x40, 0).of_kind(RowKind::Regs),
        OrcRow::call(TEXT + 0x50, 8).of_kind(RowKind::Partial),
        OrcRow {
            sp_reg: 9,
            ..OrcRow::call(TEXT + 0x60, 8)
        },
        OrcRow {
            sp_reg: 9,
            ..OrcRow::call(TEXT + 0x70, 8).of_kind(RowKind::Regs)
        },
    ];
    rows.extend((0..20).map(|n| OrcRow::call(TEXT + 0x100 + n * 16, 8)));
    rows.push(OrcRow::call(TEXT + 0x300, 0).of_kind(RowKind::Undefined));
    rows
}

fn check(offset: u64, expected: Option<(OrcKind, CfaBase, i16, bool)>) {
    for (format, layout) in FORMATS {
        let (ip, entries) = sections(format, IP, &kernel());
        let table = OrcTable::new(&*ip, &*entries, IP).unwrap();
        assert_eq!(table.layout(), layout);
        let found = table.lookup(TEXT.wrapping_add(offset));
        let found = found.map(|r| (r.kind, r.cfa, r.sp_offset, r.signal));
        assert_eq!(found, expected, "{format:?} at {offset:#x}");
    }
}

#[test]
fn every_layout_is_recognised_and_read_the_same() {
    use CfaBase as C;
    use OrcKind as K;
    check(0xf, Some((K::End, C::Undefined, 0, false)));
    check(0x10, Some((K::Call, C::Sp, 8, false)));
    check(0x13, Some((K::Call, C::Sp, 16, false)));
    check(0x3f, Some((K::Call, C::Bp, 16, false)));
    check(0x40, Some((K::Regs, C::Sp, 0, true)));
    check(0x5f, Some((K::RegsPartial, C::Sp, 8, true)));
    check(0x300, Some((K::Undefined, C::Undefined, 0, false)));
    check(u64::MAX, None);
}

#[test]
fn register_nine_means_another_thing_for_regs_than_for_calls() {
    check(0x60, Some((OrcKind::Call, CfaBase::SpIndirect, 8, false)));
    check(
        0x70,
        Some((OrcKind::Regs, CfaBase::SpOffsetIndirect, 8, true)),
    );
}

#[test]
fn rbp_is_found_by_its_own_rule() {
    let (ip, entries) = sections(OrcFormat::Linux6_4, IP, &kernel());
    let table = OrcTable::new(&*ip, &*entries, IP).unwrap();
    assert_eq!(table.lookup(TEXT + 0x14).unwrap().bp, BpRule::AtCfa(-16));
    assert_eq!(table.lookup(TEXT + 0x10).unwrap().bp, BpRule::Unchanged);
}

#[test]
fn an_unsorted_table_is_searched_through_an_index() {
    let mut rows = kernel();
    rows.reverse();
    let (ip, entries) = sections(OrcFormat::Linux4_18, IP, &rows);
    let table = OrcTable::new(&*ip, &*entries, IP).unwrap();
    assert_eq!(table.lookup(TEXT + 0x12).unwrap().sp_offset, 16);
    assert_eq!(table.row(0).unwrap().0, TEXT);
}

#[test]
fn a_sections_end_gives_way_to_the_next_sections_start() {
    let rows = [
        OrcRow::call(TEXT + 8, 8),
        OrcRow::call(TEXT + 8, 0).of_kind(RowKind::Undefined),
        OrcRow::call(TEXT, 8),
    ];
    let (ip, entries) = sections(OrcFormat::Linux6_4, IP, &rows);
    let table = OrcTable::new(&*ip, &*entries, IP).unwrap();
    assert_eq!(table.lookup(TEXT + 8).unwrap().kind, OrcKind::Call);
}

#[test]
fn a_table_of_calls_alone_reads_the_same_in_both_old_layouts() {
    let rows = [OrcRow::call(TEXT, 8), OrcRow::call(TEXT + 4, 16)];
    let (ip, entries) = sections(OrcFormat::Linux6_3, IP, &rows);
    let probed = OrcTable::new(&*ip, &*entries, IP).unwrap();
    let told = OrcTable::with_layout(&*ip, &*entries, IP, OrcLayout::TypeSignalEnd).unwrap();
    assert_eq!(probed.lookup(TEXT + 5), told.lookup(TEXT + 5));
}

#[test]
fn a_few_damaged_entries_do_not_hide_the_layout() {
    for (format, layout) in FORMATS {
        let rows: Vec<_> = (0..10).flat_map(|_| kernel()).collect();
        let (_, mut entries) = sections(format, IP, &rows);
        entries[6 * 10..6 * 12].fill(0xff);
        assert_eq!(OrcLayout::probe(&[&entries]), Ok(layout));
    }
}

#[test]
fn other_bytes_are_no_orc_table() {
    let entries = [0x55; 600];
    let error = OrcLayout::probe(&[&entries]).unwrap_err();
    assert!(matches!(
        error,
        OrcError::UnknownLayout {
            impossible: 100,
            rows: 100,
            ..
        }
    ));
}

#[test]
fn sections_of_different_lengths_are_an_error() {
    let error = OrcTable::with_layout([0; 8], [0; 6], IP, OrcLayout::TypeEnd).unwrap_err();
    assert_eq!(error, OrcError::Lengths { ip: 8, entries: 6 });
}

proptest! {
    #[test]
    fn arbitrary_tables_never_panic(rows: Vec<([u8; 4], [u8; 6])>, ip_addr: u64, pc: u64) {
        let ip: Vec<u8> = rows.iter().flat_map(|r| r.0).collect();
        let entries: Vec<u8> = rows.iter().flat_map(|r| r.1).collect();
        let _ = OrcTable::new(&*ip, &*entries, ip_addr);
        for layout in OrcLayout::ALL {
            let table = OrcTable::with_layout(&*ip, &*entries, ip_addr, layout).unwrap();
            let before = (0..table.len()).filter(|&n| table.row(n).unwrap().0 <= pc).count();
            prop_assert_eq!(table.lookup(pc).is_some(), before > 0);
        }
    }
}
