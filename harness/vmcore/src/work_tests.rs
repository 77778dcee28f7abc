//! Work is by what is looked at, not by the size of the dump: bytes asked for are counted, on
//! sparse files of a small and of a large machine.

use std::fs::File;
use std::os::unix::fs::FileExt;

use recrash_synth::elf_core::{ElfCore, Segment, note};
use recrash_synth::kdump::{Dump, Packing, Page};

use crate::{PhysAddr, PhysMem, Vmcore};

const GIB: u64 = 1 << 30;

/// A sparse ELF core of this many bytes of memory, with data in its first and last page.
fn elf(memory: u64, notes: Vec<u8>) -> (tempfile::TempDir, Vmcore) {
    let core = ElfCore {
        segments: vec![Segment {
            data: vec![1; 4096],
            ..Segment::default()
        }],
        notes,
        ..ElfCore::default()
    };
    let mut head = core.build();
    // The one segment is as long as memory, in the file too.
    for at in [64 + 56 + 32, 64 + 56 + 40] {
        head[at..at + 8].copy_from_slice(&memory.to_le_bytes());
    }
    let data_at = head.len() as u64 - 4096;
    write(&[(0, &head), (data_at + memory - 4096, &[9; 4096])])
}

/// A dump of a machine with this much memory of which three pages are in the dump: the first one,
/// one in the first gigabyte and the last.
fn kdump(memory: u64) -> (tempfile::TempDir, Vmcore) {
    let frames = memory / 4096;
    let mut dump = Dump::new(Packing::Lzo);
    for (pfn, fill) in [(0, 1), (1000, 2), (frames - 1, 9)] {
        dump.pages.insert(pfn, Page::Data(vec![fill; 4096]));
    }
    dump.vmcoreinfo = "OSRELEASE=6.1.0\n".to_owned();
    // The bitmap is built in memory: 2 MiB for 64 GiB.
    write(&[(0, &dump.build())])
}

fn write(pieces: &[(u64, &[u8])]) -> (tempfile::TempDir, Vmcore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vmcore");
    let file = File::create(&path).unwrap();
    for (at, piece) in pieces {
        file.write_all_at(piece, *at).unwrap();
    }
    let vmcore = Vmcore::open(&path).unwrap();
    (folder, vmcore)
}

/// Bytes asked for by opening the small and the large one, and by reading the first page.
fn check(small: &Vmcore, large: &Vmcore, last: u64, most: u64) {
    let opened = [small.touched(), large.touched()];
    assert!(
        opened[1] <= opened[0] + most,
        "opening asked for {opened:?}"
    );
    for vmcore in [small, large] {
        let before = vmcore.touched();
        let mut page = [0; 4096];
        vmcore.read(PhysAddr(0), &mut page).unwrap();
        assert_eq!(page, [1; 4096]);
        let asked = vmcore.touched() - before;
        assert!(asked <= 8192, "the first page asked for {asked}");
    }
    let mut page = [0; 4096];
    large.read(PhysAddr(last), &mut page).unwrap();
    assert_eq!(page, [9; 4096]);
}

#[test]
fn opening_a_large_elf_core_asks_for_no_more_than_a_small_one() {
    let notes = note("VMCOREINFO", 0, b"OSRELEASE=6.1.0\n");
    let (_a, small) = elf(GIB / 64, notes.clone());
    let (_b, large) = elf(64 * GIB, notes);
    check(&small, &large, 64 * GIB - 4096, 0);
}

#[test]
fn a_large_core_without_vmcoreinfo_is_searched_where_the_file_has_blocks() {
    let (_a, small) = elf(GIB / 64, Vec::new());
    let (_b, large) = elf(64 * GIB, Vec::new());
    // A megabyte around each piece of data, ten bytes a page; a file system without holes would
    // make it all of 64 GiB.
    check(&small, &large, 64 * GIB - 4096, 64 << 10);
}

#[test]
fn opening_a_large_compressed_dump_counts_no_bitmap() {
    let (_a, small) = kdump(GIB / 64);
    let (_b, large) = kdump(64 * GIB);
    check(&small, &large, 64 * GIB - 4096, 8192);
}

#[test]
fn a_page_asks_for_the_bitmap_before_it_once() {
    let (_folder, vmcore) = kdump(64 * GIB);
    let mut page = [0; 4096];
    let before = vmcore.touched();
    vmcore.read(PhysAddr(64 * GIB - 4096), &mut page).unwrap();
    let first = vmcore.touched() - before;
    assert!((2 << 20..3 << 20).contains(&first), "{first}");
    let before = vmcore.touched();
    vmcore.read(PhysAddr(1000 * 4096), &mut page).unwrap();
    let second = vmcore.touched() - before;
    assert!(second < 2048, "{second}");
}
