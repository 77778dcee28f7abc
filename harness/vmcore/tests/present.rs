//! Which memory a dump has data of, found without reading it.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::single_range_in_vec_init,
    reason = "a list of stretches may hold one"
)]

use std::ops::Range;

use recrash_synth::elf_core::{ElfCore, Segment};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_vmcore::{PhysAddr, PhysMem, Vmcore};

/// Every stretch from `from` on, those that touch joined.
fn check(file: Vec<u8>, from: u64, expected: &[Range<u64>]) {
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = PhysAddr(from);
    while let Some(stretch) = vmcore.next_present(at) {
        assert!(stretch.start >= at.0 && stretch.start < stretch.end);
        at = PhysAddr(stretch.end);
        match found.last_mut().filter(|last| last.end == stretch.start) {
            Some(last) => last.end = stretch.end,
            None => found.push(stretch),
        }
    }
    assert_eq!(found, expected);
}

fn segment(paddr: u64, len: usize, left_out: u64) -> Segment {
    Segment {
        paddr,
        data: vec![1; len],
        left_out,
        ..Segment::default()
    }
}

fn elf(segments: &[Segment]) -> Vec<u8> {
    ElfCore {
        segments: segments.to_vec(),
        ..ElfCore::default()
    }
    .build()
}

fn kdump(split: Option<(u64, u64)>) -> Vec<u8> {
    let mut dump = Dump::new(Packing::Lzo);
    dump.split = split;
    let page = |pfn: u64| match pfn {
        3 | 64..70 | 130..5000 => Page::Data(vec![pfn as u8; 4096]),
        _ => Page::Excluded,
    };
    dump.pages.extend((1..6000).map(|pfn| (pfn, page(pfn))));
    dump.build()
}

#[test]
fn segments_with_bytes_are_present_from_any_address_on() {
    let file = elf(&[segment(0x9000, 0x1000, 0), segment(0x1000, 0x2000, 0x3000)]);
    check(file.clone(), 0, &[0x1000..0x3000, 0x9000..0xa000]);
    check(file.clone(), 0x2345, &[0x2345..0x3000, 0x9000..0xa000]);
    check(file.clone(), 0x9fff, &[0x9fff..0xa000]);
    check(file, 0xa000, &[]);
}

#[test]
fn what_a_sparse_copy_leaves_out_is_present_as_zeros() {
    let core = ElfCore {
        segments: vec![segment(0x1000, 0x1000, 0x3000), segment(0x9000, 0x1000, 0)],
        ..ElfCore::default()
    };
    let file = core.build_sparse_copy();
    check(file, 0, &[0x1000..0x5000, 0x9000..0xa000]);
}

#[test]
fn what_was_cut_off_is_not_present() {
    let mut file = elf(&[segment(0x1000, 0x1000, 0), segment(0x9000, 0x1000, 0)]);
    file.truncate(file.len() - 0x800);
    check(file.clone(), 0, &[0x1000..0x2000, 0x9000..0x9800]);
    file.truncate(file.len() - 0x1000);
    check(file, 0, &[0x1000..0x1800]);
}

#[test]
fn page_frames_whose_bit_is_set_are_present() {
    let page = |range: Range<u64>| range.start * 0x1000..range.end * 0x1000;
    let expected = [page(3..4), page(64..70), page(130..5000)];
    check(kdump(None), 0, &expected);
    check(flatten(&kdump(None), 700), 0, &expected);
    check(
        kdump(None),
        0x4_5678,
        &[0x4_5678..70 * 0x1000, page(130..5000)],
    );
    check(kdump(None), u64::MAX, &[]);
}

#[test]
fn of_a_split_dump_only_this_files_page_frames_are_present() {
    let page = |range: Range<u64>| range.start * 0x1000..range.end * 0x1000;
    check(kdump(Some((66, 200))), 0, &[page(66..70), page(130..200)]);
}
