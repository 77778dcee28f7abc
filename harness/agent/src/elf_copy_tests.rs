//! The copy's plan, and the file it makes.
use super::*;
use proptest::prelude::*;

struct Bytes(Vec<u8>);

impl FileExt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self
            .0
            .get(usize::try_from(offset).unwrap()..)
            .unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("the source is only read")
    }
}

const LOAD: Segment = Segment {
    kind: 1,
    flags: 7,
    offset: 0x1000,
    vaddr: 0xffff_8880_0010_0000,
    paddr: 0x10_0000,
    filesz: 0,
    memsz: 0,
};

/// Cuts a segment whose pages are `0` (zero) or another letter; gives (file pages, memory pages) of each cut.
fn check(pages: &str, threshold: u64, expected: &[(u64, u64)]) {
    let size = pages.len() as u64 * PAGE;
    let whole = Segment {
        filesz: size,
        memsz: size,
        ..LOAD
    };
    let cut = plan(&whole, threshold, |page| {
        pages.as_bytes()[page as usize] == b'0'
    });
    let sizes: Vec<_> = cut
        .iter()
        .map(|part| (part.filesz / PAGE, part.memsz / PAGE))
        .collect();
    assert_eq!(sizes, expected, "{pages}");
}

#[test]
fn a_long_run_of_zeros_is_kept_in_the_size_in_memory_alone() {
    check("xx0000xx", 4, &[(2, 6), (2, 2)]);
    check("xx0000", 4, &[(2, 6)]);
}

#[test]
fn a_short_run_is_copied() {
    check("xx000xx", 4, &[(7, 7)]);
}

#[test]
fn zeros_at_the_start_are_a_segment_without_bytes() {
    check("0000xx", 4, &[(0, 4), (2, 2)]);
    check("0000", 4, &[(0, 4)]);
}

#[test]
fn a_segment_without_pages_stays() {
    check("", 4, &[(0, 0)]);
}

#[test]
fn a_broken_last_page_and_what_the_source_left_out_are_counted_to_the_byte() {
    let whole = Segment {
        filesz: 5 * PAGE + 7,
        memsz: 9 * PAGE,
        ..LOAD
    };
    let cut = plan(&whole, 2, |page| page == 1 || page == 2);
    let sizes: Vec<_> = cut.iter().map(|part| (part.filesz, part.memsz)).collect();
    assert_eq!(sizes, [(PAGE, 3 * PAGE), (2 * PAGE + 7, 6 * PAGE)]);
    assert_eq!((cut[1].paddr, cut[1].offset), (0x10_3000, 0x4000));
    assert_eq!(cut[1].vaddr, 0xffff_8880_0010_3000);
}

#[test]
fn an_unknown_virtual_address_stays_unknown() {
    for vaddr in [0, u64::MAX] {
        let whole = Segment {
            vaddr,
            filesz: 6 * PAGE,
            memsz: 6 * PAGE,
            ..LOAD
        };
        assert!(
            plan(&whole, 2, |page| page < 3)
                .iter()
                .all(|part| part.vaddr == vaddr)
        );
    }
}

/// A core file with notes and these segments of memory, each (physical address, bytes).
fn core(memory: &[(u64, Vec<u8>)]) -> Bytes {
    let notes = b"notes".to_vec();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file[16..18].copy_from_slice(&4u16.to_le_bytes());
    file[18..20].copy_from_slice(&62u16.to_le_bytes());
    file[32..40].copy_from_slice(&64u64.to_le_bytes());
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&(memory.len() as u16 + 1).to_le_bytes());
    let mut data: Vec<u8> = Vec::new();
    let start = 64 + 56 * (memory.len() as u64 + 1);
    let rows = std::iter::once((4u32, 0, &notes))
        .chain(memory.iter().map(|(paddr, bytes)| (1, *paddr, bytes)));
    for (kind, paddr, bytes) in rows {
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        let length = bytes.len() as u64;
        for field in [start + data.len() as u64, 0, paddr, length, length, 0] {
            file.extend(field.to_le_bytes());
        }
        data.extend(bytes);
    }
    file.extend(data);
    Bytes(file)
}

fn copied(source: &Bytes) -> Result<Vec<u8>, CopyError> {
    let mut out = Vec::new();
    copy(source, source.0.len() as u64, &mut out).map(|()| out)
}

/// The program headers as an independent reader sees them, and their bytes in memory.
fn segments(file: &[u8], kind: u32) -> Vec<(u64, Vec<u8>)> {
    let header = goblin::elf64::header::Header::from_bytes(file.first_chunk().unwrap());
    let rows = goblin::elf64::program_header::ProgramHeader::from_bytes(
        &file[header.e_phoff as usize..],
        usize::from(header.e_phnum),
    );
    let of_kind = rows.into_iter().filter(|row| row.p_type == kind);
    of_kind
        .map(|row| {
            let mut bytes = file[row.p_offset as usize..][..row.p_filesz as usize].to_vec();
            bytes.resize(row.p_memsz as usize, 0);
            (row.p_paddr, bytes)
        })
        .collect()
}

#[test]
fn a_copy_holds_the_same_memory_in_fewer_bytes() {
    let mut bytes = vec![0; 64 * 4096];
    bytes[3 * 4096] = 1;
    bytes[40 * 4096 + 9] = 2;
    let source = core(&[(0x1000, bytes.clone()), (0x100_0000, vec![3; 100])]);
    let copy = copied(&source).unwrap();
    assert!(copy.len() < 12 * 4096, "{} bytes", copy.len());
    let parts = segments(&copy, PT_LOAD);
    let mut joined: Vec<u8> = Vec::new();
    for (paddr, part) in &parts[..parts.len() - 1] {
        assert_eq!(*paddr, 0x1000 + joined.len() as u64);
        joined.extend(part);
    }
    assert!(joined == bytes);
    assert_eq!(parts.last().unwrap(), &(0x100_0000, vec![3; 100]));
}

#[test]
fn notes_are_copied() {
    let copy = copied(&core(&[(0, vec![1; 10])])).unwrap();
    assert_eq!(segments(&copy, PT_NOTE), [(0, b"notes".to_vec())]);
}

#[test]
fn a_segment_behind_the_end_of_the_file_is_an_error() {
    let mut source = core(&[(0, vec![1; 10])]);
    source.0.pop();
    assert_eq!(
        copied(&source).unwrap_err().to_string(),
        "offset 0x78: a segment ends behind the end of the file"
    );
}

#[test]
fn what_is_not_elf_is_an_error() {
    assert!(
        copied(&Bytes(vec![0; 4096]))
            .unwrap_err()
            .to_string()
            .contains("ELF")
    );
}

proptest! {
    #[test]
    fn cuts_cover_the_segment_and_lose_no_page(zero: Vec<bool>, threshold in 1u64..6) {
        let size = zero.len() as u64 * PAGE;
        let whole = Segment { filesz: size, memsz: size, ..LOAD };
        let cut = plan(&whole, threshold, |page| zero[page as usize]);
        let mut at = 0;
        for part in &cut {
            prop_assert_eq!(part.paddr - LOAD.paddr, at);
            prop_assert_eq!(part.offset - LOAD.offset, at);
            let mut left_out = (at + part.filesz) / PAGE..(at + part.memsz) / PAGE;
            prop_assert!(left_out.all(|page| zero[page as usize]));
            at += part.memsz;
        }
        prop_assert_eq!(at, size);
    }

    #[test]
    fn a_spoilt_source_never_panics(at in 0usize..300, byte: u8, cut in 0usize..400) {
        let mut source = core(&[(0, vec![0; 200]), (0x1000, vec![1; 50])]);
        source.0.truncate(source.0.len() - cut);
        if let Some(spoilt) = source.0.get_mut(at) {
            *spoilt = byte;
        }
        let _ = copied(&source);
    }
}
