//! Sets of split files, written by the synthesiser and read as one dump.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use recrash_synth::elf_core::{ElfCore, Segment};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_vmcore::{PhysAddr, PhysMem, ReadError, Vmcore};

fn dump() -> Dump {
    let mut dump = Dump::new(Packing::Lzo);
    for pfn in 1..3000_u64 {
        let page = match pfn % 3 {
            0 => Page::Excluded,
            _ => Page::Data(pfn.to_le_bytes().repeat(512)),
        };
        dump.pages.insert(pfn, page);
    }
    dump.vmcoreinfo = "OSRELEASE=6.1.0-test\n".to_owned();
    dump
}

/// The file with these page frames.
fn file(from: u64, to: u64) -> (String, Vec<u8>) {
    let split = Some((from, to));
    (format!("{from}-{to}"), Dump { split, ..dump() }.build())
}

/// Every page frame is read; those in `missing` must be told to be in another file.
fn check(files: Vec<(String, Vec<u8>)>, missing: std::ops::Range<u64>, warnings: &[&str]) {
    let vmcore = Vmcore::from_bytes_set(files).unwrap();
    assert_eq!(vmcore.warnings(), warnings);
    assert_eq!(vmcore.vmcoreinfo().unwrap().osrelease(), Some("6.1.0-test"));
    for (pfn, page) in dump().pages {
        let at = PhysAddr(pfn * 4096);
        let mut buf = vec![0; 4096];
        let result = vmcore.read(at, &mut buf);
        match page {
            Page::Excluded => assert_eq!(result, Err(ReadError::Excluded(at))),
            Page::Data(_) if missing.contains(&pfn) => {
                assert_eq!(result, Err(ReadError::InOtherFile(at)));
            }
            Page::Data(data) => {
                assert_eq!(result, Ok(()), "page frame {pfn}");
                assert!(buf == data, "page frame {pfn}");
            }
        }
    }
}

fn refused(files: Vec<(String, Vec<u8>)>) -> String {
    Vmcore::from_bytes_set(files).unwrap_err().to_string()
}

#[test]
fn the_files_are_joined_in_any_order() {
    let files = [file(0, 1000), file(1000, 1001), file(1001, 3000)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        check(order.map(|n| files[n].clone()).to_vec(), 0..0, &[]);
    }
}

#[test]
fn a_file_may_be_flattened_and_hold_nothing() {
    let (name, last) = file(1000, 3000);
    let files = vec![
        (name, flatten(&last, 5000)),
        file(3000, 3000),
        file(0, 1000),
    ];
    check(files, 0..0, &[]);
}

#[test]
fn a_file_that_holds_all_there_is_needs_no_other() {
    check(vec![file(0, 3000)], 0..0, &[]);
}

#[test]
fn a_lone_file_tells_its_page_frames_though_the_other_holds_one_frame() {
    let warning = |range: &str| format!("one file of a split dump: page frames {range}");
    check(vec![file(0, 2999)], 2999..3000, &[&warning("0x0 to 0xbb7")]);
    check(
        vec![file(2999, 3000)],
        0..2999,
        &[&warning("0xbb7 to 0xbb8")],
    );
}

#[test]
fn a_file_given_twice_is_refused_under_any_name() {
    let (_, again) = file(0, 1000);
    let files = vec![
        file(0, 1000),
        file(1000, 3000),
        ("./again".to_owned(), again),
    ];
    let message = refused(files);
    let what = "given twice: 0-1000 holds page frames 0x0 to 0x3e8 as well";
    assert_eq!(message, format!("./again: {what} at offset 0x1000"));
}

#[test]
fn several_files_may_hold_nothing() {
    check(
        vec![file(0, 3000), file(3000, 3000), file(3000, 3000)],
        0..0,
        &[],
    );
}

#[test]
fn a_read_may_span_files() {
    let vmcore = Vmcore::from_bytes_set(vec![file(0, 1000), file(1000, 3000)]).unwrap();
    let mut buf = [0; 16];
    vmcore.read(PhysAddr(1001 * 4096 - 8), &mut buf).unwrap();
    assert_eq!(
        buf,
        [1000_u64.to_le_bytes(), 1001_u64.to_le_bytes()].concat()[..]
    );
    let vmcore = Vmcore::from_bytes_set(vec![file(0, 1001), file(1001, 3000)]).unwrap();
    vmcore.read(PhysAddr(1001 * 4096 - 8), &mut buf).unwrap();
    assert_eq!(
        buf,
        [1000_u64.to_le_bytes(), 1001_u64.to_le_bytes()].concat()[..]
    );
}

#[test]
fn a_missing_file_is_told_by_its_page_frames() {
    let missing = "are in none of the 2 files: one is missing";
    check(
        vec![file(0, 1000), file(2000, 3000)],
        1000..2000,
        &[&format!("page frames 0x3e8 to 0x7d0 {missing}")],
    );
    check(
        vec![file(1000, 2000), file(2000, 3000)],
        0..1000,
        &[&format!("page frames 0x0 to 0x3e8 {missing}")],
    );
    check(
        vec![file(0, 1000), file(1000, 2000)],
        2000..3000,
        &[&format!("page frames 0x7d0 to 0xbb8 {missing}")],
    );
}

#[test]
fn page_frames_that_two_files_hold_are_told_with_both_names() {
    check(
        vec![file(0, 2000), file(1000, 3000)],
        0..0,
        &["0-2000 and 1000-3000 both hold page frames 0x3e8 to 0x7d0"],
    );
}

#[test]
fn a_file_of_another_dump_is_refused_by_name() {
    let first = file(0, 1000);
    let other = |change: &dyn Fn(&mut Dump)| {
        let mut dump = Dump {
            split: Some((1000, 3000)),
            ..dump()
        };
        change(&mut dump);
        refused(vec![first.clone(), ("other".to_owned(), dump.build())])
    };
    let message = other(&|dump| dump.release = "6.2".to_owned());
    let what = "kernel release 6.2, there 6.1.0-test at offset 0x8e";
    assert_eq!(
        message,
        format!("other: not of the same dump as 0-1000: {what}")
    );
    let message = other(&|dump| drop(dump.pages.insert(5, Page::Excluded)));
    assert!(
        message.contains("0-1000: the page bitmaps differ"),
        "{message}"
    );
    let message = other(&|dump| drop(dump.pages.insert(5000, Page::Excluded)));
    assert!(
        message.contains("number of page frames 5001, there 3000"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_not_one_of_a_split_dump_is_refused_by_name() {
    let elf = ElfCore {
        segments: vec![Segment {
            data: vec![1; 16],
            ..Segment::default()
        }],
        ..ElfCore::default()
    };
    for other in [elf.build(), dump().build()] {
        let other = ("other".to_owned(), other);
        for files in [
            vec![file(0, 1000), other.clone()],
            vec![other, file(0, 1000)],
        ] {
            let message = refused(files);
            assert!(
                message.contains("and other is not one of a split dump"),
                "{message}"
            );
        }
    }
    assert!(refused(Vec::new()).contains("no file was named"));
}

#[test]
fn one_file_of_a_set_that_was_cut_short_is_told_by_name() {
    let (name, mut cut) = file(1000, 3000);
    cut.truncate(cut.len() - 7);
    let vmcore = Vmcore::from_bytes_set(vec![file(0, 1000), (name, cut)]).unwrap();
    let [warning] = vmcore.warnings() else {
        panic!("{:?}", vmcore.warnings());
    };
    assert!(
        warning.starts_with("1000-3000: file cut short"),
        "{warning}"
    );
}
