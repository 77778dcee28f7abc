//! ELF cores, written by the synthesiser and read back.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use recrash_synth::elf_core::{ElfCore, Segment, note, prstatus};
use recrash_vmcore::{PhysAddr, PhysMem, ReadError, Vmcore};

fn segment(paddr: u64, fill: u8, len: usize) -> Segment {
    Segment {
        paddr,
        data: vec![fill; len],
        ..Segment::default()
    }
}

fn open(core: &ElfCore) -> Vmcore {
    Vmcore::from_bytes("test", core.build()).unwrap()
}

/// What a read of `len` bytes gives.
fn check(core: &ElfCore, at: u64, len: usize, expected: Result<&[u8], ReadError>) {
    let mut buf = vec![0xee; len];
    let result = open(core).read(PhysAddr(at), &mut buf);
    assert_eq!(result.map(|()| buf.as_slice()), expected);
}

#[test]
fn a_read_may_span_segments_in_any_file_order() {
    let segments = vec![segment(0x1010, 2, 16), segment(0x1000, 1, 16)];
    let core = ElfCore {
        segments,
        ..ElfCore::default()
    };
    check(&core, 0x100e, 4, Ok(&[1, 1, 2, 2]));
    check(
        &core,
        0x101e,
        4,
        Err(ReadError::NotInDump(PhysAddr(0x1020))),
    );
    check(&core, 0xfff, 1, Err(ReadError::NotInDump(PhysAddr(0xfff))));
}

#[test]
fn overlapping_segments_have_the_same_memory() {
    let segments = vec![
        segment(0x1000, 1, 64),
        segment(0x1010, 1, 8),
        segment(0x1030, 1, 64),
    ];
    let core = ElfCore {
        segments,
        ..ElfCore::default()
    };
    check(&core, 0x1000, 0x70, Ok(&[1; 0x70]));
}

#[test]
fn memory_without_bytes_in_the_file_was_excluded() {
    let cut = Segment {
        left_out: 0x1000,
        ..segment(0x1000, 1, 0x1000)
    };
    let core = ElfCore {
        segments: vec![cut],
        ..ElfCore::default()
    };
    check(&core, 0x1fff, 2, Err(ReadError::Excluded(PhysAddr(0x2000))));
    check(
        &core,
        0x3000,
        1,
        Err(ReadError::NotInDump(PhysAddr(0x3000))),
    );
}

#[test]
fn memory_that_a_sparse_copy_leaves_out_is_zero() {
    let cut = Segment {
        left_out: 0x1000,
        ..segment(0x1000, 1, 0x1000)
    };
    let core = ElfCore {
        segments: vec![cut, segment(0x2800, 2, 16)],
        ..ElfCore::default()
    };
    let file = core.build_sparse_copy();
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let mut buf = [0xee; 0x1800];
    vmcore.read(PhysAddr(0x1800), &mut buf).unwrap();
    assert!(buf[..0x800].iter().all(|&b| b == 1));
    assert!(buf[0x800..0x1000].iter().all(|&b| b == 0));
    assert_eq!(buf[0x1000..0x1012], [[2; 16].as_slice(), &[0, 0]].concat());
    let error = vmcore.read(PhysAddr(0x2fff), &mut buf[..2]).unwrap_err();
    assert_eq!(error, ReadError::NotInDump(PhysAddr(0x3000)));
}

#[test]
fn what_makedumpfile_left_out_of_a_sparse_copy_was_excluded_though_the_mark_is_copied() {
    let cut = Segment {
        left_out: 0x1000,
        ..segment(0x1000, 1, 0x1000)
    };
    let core = ElfCore {
        segments: vec![cut],
        ..ElfCore::default()
    };
    // makedumpfile -E copies e_ident and packs everything together.
    let mut file = core.build();
    file[9..16].copy_from_slice(b"recrash");
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let error = vmcore.read(PhysAddr(0x2000), &mut [0; 8]).unwrap_err();
    assert_eq!(error, ReadError::Excluded(PhysAddr(0x2000)));
}

#[test]
fn a_core_with_more_segments_than_its_header_can_count_opens() {
    let segments = (0..70_000)
        .map(|i| segment(i * 0x1000, i as u8, 16))
        .collect();
    let core = ElfCore {
        segments,
        count_in_section: true,
        ..ElfCore::default()
    };
    check(&core, 69_999 * 0x1000, 2, Ok(&[69_999_u64 as u8; 2]));
}

#[test]
fn notes_give_registers_in_cpu_order_and_vmcoreinfo() {
    let regs: [u64; 27] = std::array::from_fn(|i| i as u64 + 100);
    let notes = [
        note("CORE", 1, &prstatus(11941, &regs)),
        note("CORE", 1, &prstatus(0, &[0; 27])),
        note(
            "VMCOREINFO",
            0,
            b"OSRELEASE=4.18.0\nNUMBER(phys_base)=-4096\n",
        ),
    ];
    let core = ElfCore {
        segments: vec![segment(0, 0, 16)],
        notes: notes.concat(),
        ..ElfCore::default()
    };
    let vmcore = open(&core);
    let cpus: Vec<u32> = vmcore.prstatus().iter().map(|cpu| cpu.pid).collect();
    assert_eq!(cpus, [11941, 0]);
    let first = vmcore.prstatus()[0].regs;
    assert_eq!((first.r15, first.rip, first.gs), (100, 116, 126));
    assert_eq!(first.get("rsp"), Some(119));
    assert_eq!(first.named().len(), 27);
    assert_eq!(
        vmcore.vmcoreinfo().and_then(|i| i.osrelease()),
        Some("4.18.0")
    );
    assert_eq!(vmcore.phys_base(), Some((-4096_i64).cast_unsigned()));
    assert_eq!(vmcore.format().to_string(), "ELF");
    assert!(vmcore.warnings().is_empty());
}

#[test]
fn a_file_cut_short_opens_and_names_what_is_missing() {
    let segments = vec![segment(0x1000, 1, 0x1000), segment(0x2000, 2, 0x1000)];
    let mut file = ElfCore {
        segments,
        ..ElfCore::default()
    }
    .build();
    file.truncate(file.len() - 0x10);
    let len = file.len() as u64;
    let vmcore = Vmcore::from_bytes("test", file).unwrap();
    let expected = format!("file cut short at offset {len:#x}, 16 bytes missing");
    assert_eq!(vmcore.warnings(), [expected]);
    let mut buf = [0; 8];
    vmcore.read(PhysAddr(0x2000), &mut buf).unwrap();
    assert_eq!(buf, [2; 8]);
    let error = vmcore.read(PhysAddr(0x2fec), &mut buf).unwrap_err();
    assert_eq!(
        error,
        ReadError::Truncated {
            at: PhysAddr(0x2ff0),
            offset: len
        }
    );
}

#[test]
fn a_note_that_does_not_fit_is_a_warning_and_the_ones_before_it_stay() {
    let mut notes = note("VMCOREINFO", 0, b"OSRELEASE=5\n");
    let bad_at = notes.len() as u64;
    notes.extend([5, 0, 0, 0, 255, 255, 255, 127, 1, 0, 0, 0]);
    let core = ElfCore {
        segments: vec![segment(0, 0, 16)],
        notes,
        ..ElfCore::default()
    };
    let vmcore = open(&core);
    assert_eq!(vmcore.vmcoreinfo().and_then(|i| i.osrelease()), Some("5"));
    let at = 64 + 2 * 56 + bad_at;
    let expected = format!("the note at offset {at:#x} does not fit its segment");
    assert_eq!(vmcore.warnings(), [expected]);
}

#[test]
fn empty_notes_of_cpus_that_never_came_up_are_skipped() {
    let notes = [vec![0; 24], note("CORE", 1, &prstatus(3, &[1; 27]))].concat();
    let core = ElfCore {
        segments: vec![segment(0, 0, 16)],
        notes,
        ..ElfCore::default()
    };
    assert_eq!(open(&core).prstatus()[0].pid, 3);
}

#[test]
fn a_wrong_header_is_named_with_its_offset() {
    let file = ElfCore {
        segments: vec![segment(0, 0, 16)],
        ..ElfCore::default()
    }
    .build();
    for (offset, byte, what) in [
        (
            0,
            0,
            "f: neither an ELF core nor a kdump-compressed dump at offset 0x0",
        ),
        (4, 1, "f: a 32-bit ELF file, expected 64-bit at offset 0x4"),
        (16, 2, "f: ELF type 2, expected 4 (core) at offset 0x10"),
        (
            18,
            183,
            "f: ELF machine 183, expected 62 (x86-64) at offset 0x12",
        ),
    ] {
        let mut file = file.clone();
        file[offset] = byte;
        assert_eq!(Vmcore::from_bytes("f", file).unwrap_err().to_string(), what);
    }
    assert_eq!(
        Vmcore::from_bytes("f", Vec::new()).unwrap_err().to_string(),
        "f: too short to be a vmcore at offset 0x0"
    );
}
