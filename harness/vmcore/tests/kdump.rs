//! kdump-compressed dumps, written by the synthesiser and read back.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use recrash_synth::elf_core::{note, prstatus};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_vmcore::{PhysAddr, PhysMem, ReadError, Vmcore};

const PACKINGS: [(Packing, &str); 5] = [
    (Packing::Raw, "uncompressed"),
    (Packing::Zlib, "zlib"),
    (Packing::Lzo, "lzo"),
    (Packing::Snappy, "snappy"),
    (Packing::Zstd, "zstd"),
];

/// Pages that shrink, pages of zeros, pages that do not shrink, gaps, excluded ones.
fn dump(packing: Packing) -> Dump {
    let mut dump = Dump::new(packing);
    let mut random = 1_u32;
    for pfn in (0..10_000).filter(|pfn| pfn % 7 != 0) {
        let page = match pfn % 5 {
            _ if pfn % 61 != 1 && pfn > 64 => Page::Excluded,
            0 => Page::Data(vec![0; 4096]),
            1 => Page::Data(format!("page {pfn} ").bytes().cycle().take(4096).collect()),
            2 => Page::Data(
                (0..4096_u32)
                    .map(|_| {
                        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (random >> 24) as u8
                    })
                    .collect(),
            ),
            3 => Page::Excluded,
            _ => Page::Data((0..4096_u32).map(|i| (i / 16) as u8).collect()),
        };
        dump.pages.insert(pfn, page);
    }
    dump.vmcoreinfo = "OSRELEASE=6.1.0-test\nNUMBER(phys_base)=16777216\n".to_owned();
    dump.notes = note("CORE", 1, &prstatus(7, &[3; 27]));
    dump
}

fn check(dump: &Dump, file: Vec<u8>) -> Vmcore {
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    for pfn in 0..10_001 {
        let at = PhysAddr(pfn * 4096);
        let mut buf = vec![0xee; 4096];
        let result = vmcore.read(at, &mut buf);
        match dump.pages.get(&pfn) {
            Some(Page::Data(data)) => {
                assert_eq!(result, Ok(()), "page frame {pfn}");
                assert!(buf == *data, "page frame {pfn}");
            }
            Some(Page::Excluded) => assert_eq!(result, Err(ReadError::Excluded(at))),
            None => assert_eq!(result, Err(ReadError::NotInDump(at))),
        }
    }
    vmcore
}

#[test]
fn every_compression_gives_the_pages_back() {
    for (packing, name) in PACKINGS {
        let dump = dump(packing);
        let vmcore = check(&dump, dump.build());
        assert_eq!(
            vmcore.format().to_string(),
            format!("kdump-compressed v6, {name}")
        );
        assert_eq!(vmcore.warnings(), [""; 0]);
        assert_eq!(vmcore.prstatus()[0].pid, 7);
        assert_eq!(vmcore.utsname().unwrap().release, "6.1.0-test");
        assert_eq!(vmcore.vmcoreinfo().unwrap().osrelease(), Some("6.1.0-test"));
    }
}

#[test]
fn a_flattened_dump_reads_like_the_rearranged_one() {
    let dump = dump(Packing::Lzo);
    for block in [1 << 20, 5000] {
        let vmcore = check(&dump, flatten(&dump.build(), block));
        assert_eq!(
            vmcore.format().to_string(),
            "kdump-compressed v6, flattened, lzo"
        );
        assert_eq!(vmcore.warnings(), [""; 0]);
    }
}

/// As makedumpfile 1.6.8 of Debian 11 wrote it.
#[test]
fn what_stands_behind_the_signature_of_a_flattened_dump_does_not_matter() {
    let dump = dump(Packing::Zlib);
    let mut file = flatten(&dump.build(), 5000);
    file[13..16].copy_from_slice(b"\x99\xff\xff");
    let vmcore = check(&dump, file);
    assert!(vmcore.format().flattened);
    assert_eq!(vmcore.warnings(), [""; 0]);
}

#[test]
fn each_header_version_has_only_its_own_fields() {
    for version in 1..=6 {
        let dump = Dump {
            version,
            ..dump(Packing::Zlib)
        };
        let vmcore = check(&dump, dump.build());
        assert_eq!(vmcore.warnings(), [""; 0]);
        assert_eq!(
            vmcore.vmcoreinfo().is_some(),
            version >= 3,
            "version {version}"
        );
        assert_eq!(
            vmcore.prstatus().len(),
            usize::from(version >= 4),
            "version {version}"
        );
        assert_eq!(vmcore.phys_base(), Some(0x0100_0000));
    }
}

#[test]
fn an_unknown_header_version_is_refused() {
    for version in [0, 7] {
        let error = Vmcore::from_bytes(
            "f",
            Dump {
                version,
                ..dump(Packing::Raw)
            }
            .build(),
        );
        let expected = format!("f: kdump header version {version}, expected 1 to 6 at offset 0x8");
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_read_may_span_pages_and_names_the_first_one_it_lacks() {
    let mut dump = Dump::new(Packing::Zlib);
    dump.pages.insert(1, Page::Data(vec![1; 4096]));
    dump.pages.insert(2, Page::Data(vec![2; 4096]));
    dump.pages.insert(3, Page::Excluded);
    let vmcore = Vmcore::from_bytes("test", dump.build()).unwrap();
    let mut buf = [0; 4];
    vmcore.read(PhysAddr(0x1ffe), &mut buf).unwrap();
    assert_eq!(buf, [1, 1, 2, 2]);
    let error = vmcore.read(PhysAddr(0x2ffe), &mut buf).unwrap_err();
    assert_eq!(error, ReadError::Excluded(PhysAddr(0x3000)));
    let error = vmcore.read(PhysAddr(u64::MAX), &mut buf).unwrap_err();
    assert_eq!(error, ReadError::NotInDump(PhysAddr(u64::MAX)));
}

#[test]
fn damaged_page_data_is_an_error_that_names_the_page() {
    for (packing, name) in &PACKINGS[1..] {
        let mut dump = Dump::new(*packing);
        dump.pages.insert(1, Page::Data(vec![9; 4096]));
        let mut file = dump.build();
        let start = file.len() - 4;
        file[start..].fill(0xff);
        let vmcore = Vmcore::from_bytes("test", file).unwrap();
        let error = vmcore
            .read(PhysAddr(0x1008), &mut [0; 8])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("page at 0x1008: {name} data")),
            "{error}"
        );
    }
}

#[test]
fn a_file_cut_short_keeps_its_first_pages() {
    let dump = dump(Packing::Lzo);
    let whole = dump.build();
    let mut flat = flatten(&whole, 100_000);
    flat.truncate(flat.len() - 20);
    let flat = Vmcore::from_bytes("test", flat);
    assert!(flat.is_err() || !flat.unwrap().warnings().is_empty());
    let mut file = whole;
    file.truncate(file.len() - 10);
    let len = file.len();
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let expected = format!("file cut short at offset {len:#x}, 10 bytes missing");
    assert_eq!(vmcore.warnings(), [expected]);
    vmcore.read(PhysAddr(4096), &mut [0; 8]).unwrap();
    let (&last, _) = dump
        .pages
        .iter()
        .rfind(|(_, p)| matches!(p, Page::Data(_)))
        .unwrap();
    let error = vmcore.read(PhysAddr(last * 4096), &mut [0; 8]).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
}

#[test]
fn a_file_of_a_split_dump_knows_which_pages_it_holds() {
    let dump = Dump {
        split: Some((20, 40)),
        ..dump(Packing::Zlib)
    };
    let vmcore = Vmcore::from_bytes("test", dump.build()).unwrap();
    for (&pfn, page) in dump.pages.range(..64) {
        let Page::Data(data) = page else { continue };
        let mut buf = vec![0; 4096];
        let result = vmcore.read(PhysAddr(pfn * 4096), &mut buf);
        if (20..40).contains(&pfn) {
            assert_eq!(result, Ok(()));
            assert!(buf == *data);
        } else {
            assert_eq!(result, Err(ReadError::InOtherFile(PhysAddr(pfn * 4096))));
        }
    }
    let expected = "one file of a split dump: page frames 0x14 to 0x28";
    assert_eq!(vmcore.warnings(), [expected]);
}

#[test]
fn a_dump_that_is_still_being_written_gives_what_is_written() {
    let dump = dump(Packing::Raw);
    let mut file = dump.build();
    let data = dump.pages.values().filter(|p| matches!(p, Page::Data(_)));
    let count = data.count();
    // Bitmaps of one block each, behind the headers; then the descriptors.
    let descriptors = file.len() - count * (4096 + 24);
    let written = count / 2;
    file[descriptors + written * 24..descriptors + count * 24].fill(0);
    file.truncate(descriptors + count * 24 + written * 4096);
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let [warning] = vmcore.warnings() else {
        panic!("{:?}", vmcore.warnings());
    };
    assert!(
        warning.starts_with("the last pages are not written"),
        "{warning}"
    );
    let with_data = (dump.pages.iter()).filter(|(_, page)| matches!(page, Page::Data(_)));
    for (number, (pfn, _)) in with_data.enumerate() {
        let result = vmcore.read(PhysAddr(pfn * 4096), &mut [0; 8]);
        if number < written {
            assert_eq!(result, Ok(()), "page frame {pfn}");
        } else {
            let error = result.unwrap_err();
            assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
        }
    }
}

#[test]
fn a_header_that_is_not_written_yet_is_said_to_be_so() {
    let mut file = dump(Packing::Raw).build();
    file[..4096].fill(0);
    let error = Vmcore::from_bytes("f", file).unwrap_err().to_string();
    assert!(error.contains("its header is not written yet"), "{error}");
}

#[test]
fn a_file_that_ends_in_its_bitmaps_still_says_which_kernel_it_was() {
    let dump = dump(Packing::Raw);
    let mut file = dump.build();
    file.truncate(3 * 4096 - 500);
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    assert!(
        vmcore.warnings()[0].starts_with("file cut short"),
        "{:?}",
        vmcore.warnings()
    );
    assert_eq!(vmcore.vmcoreinfo().unwrap().osrelease(), Some("6.1.0-test"));
    assert_eq!(vmcore.prstatus().len(), 1);
    let error = vmcore.read(PhysAddr(4096), &mut [0; 8]).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
}

#[test]
fn a_file_that_grows_while_it_is_open_stays_as_it_was() {
    use std::io::Write;
    let whole = dump(Packing::Raw).build();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vmcore");
    let (now, later) = whole.split_at(whole.len() - 5000);
    std::fs::write(&path, now).unwrap();
    let early = Vmcore::open(&path).unwrap();
    assert!(
        early.warnings()[0].contains("5000 bytes missing"),
        "{:?}",
        early.warnings()
    );
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(later).unwrap();
    let last = PhysAddr(early.kdump_header().unwrap().max_mapnr * 4096);
    let late = Vmcore::open(&path).unwrap();
    assert_eq!(late.warnings(), [""; 0]);
    let mut failed = [0, 0];
    for pfn in 0..last.0 / 4096 {
        for (count, vmcore) in failed.iter_mut().zip([&early, &late]) {
            let result = vmcore.read(PhysAddr(pfn * 4096), &mut [0; 4096]);
            *count += usize::from(matches!(result, Err(ReadError::Truncated { .. })));
        }
    }
    assert_eq!(failed, [2, 0]);
}

#[test]
fn a_dump_marked_incomplete_says_so() {
    let dump = Dump {
        incomplete: true,
        ..dump(Packing::Raw)
    };
    let vmcore = check(&dump, dump.build());
    assert_eq!(
        vmcore.warnings(),
        ["makedumpfile marked this dump as incomplete"]
    );
}
