//! Arbitrary and damaged files: never a panic, never memory by an unchecked length.

use proptest::prelude::*;
use recrash_synth::elf_core::{ElfCore, Segment, note, prstatus};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_synth::paging::Machine;
use recrash_vmcore::{
    AddressSpace, PagingLevels, PhysAddr, PhysMem, VirtAddr, VirtMem, Vmcore, Vmcoreinfo,
};

/// Opens the file and reads all over it.
fn exercise(file: Vec<u8>) {
    let Ok(vmcore) = Vmcore::from_bytes("hostile", file) else {
        return;
    };
    let _ = (
        vmcore.format().to_string(),
        vmcore.phys_base(),
        vmcore.prstatus(),
    );
    let mut buf = [0; 5000];
    for at in (0..24)
        .map(|n| n * 0x1000)
        .chain([1 << 30, u64::MAX - 100, u64::MAX])
    {
        let _ = vmcore.read(PhysAddr(at), &mut buf);
    }
    for levels in [PagingLevels::Four, PagingLevels::Five] {
        let space = AddressSpace::new(&vmcore, PhysAddr(0x2000), levels, 0);
        let _ = space.u64_at(VirtAddr(0x1ffc));
        let _ = space.cstr(VirtAddr(0xffff_ffff_8100_0ffc), 200);
    }
}

fn pages() -> impl Iterator<Item = (u64, Page)> {
    (1..20).map(|pfn| match pfn % 4 {
        0 => (pfn, Page::Excluded),
        n => (
            pfn,
            Page::Data((0..4096_u64).map(|i| (i / (n * 3)) as u8).collect()),
        ),
    })
}

fn dump(packing: Packing) -> Vec<u8> {
    let mut dump = Dump::new(packing);
    dump.pages.extend(pages());
    dump.vmcoreinfo = "OSRELEASE=6\nNUMBER(phys_base)=0\n".to_owned();
    dump.notes = note("CORE", 1, &prstatus(1, &[2; 27]));
    dump.build()
}

fn elf() -> Vec<u8> {
    let mut machine = Machine::new(0x2000, false);
    machine.write(0x1ffc, b"across a page");
    let mut segments = machine.segments();
    segments.push(Segment {
        paddr: 0x9000,
        vaddr: 0,
        data: vec![1; 64],
        left_out: 4096,
    });
    let notes = [
        note("CORE", 1, &prstatus(1, &[2; 27])),
        note("VMCOREINFO", 0, b"A=1\n"),
    ];
    ElfCore {
        segments,
        notes: notes.concat(),
        count_in_section: true,
    }
    .build()
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let packings = [
        Packing::Raw,
        Packing::Zlib,
        Packing::Lzo,
        Packing::Snappy,
        Packing::Zstd,
    ]
    .map(dump);
    let mut files = packings.to_vec();
    files.extend([elf(), flatten(&elf(), 1000), flatten(&files[2], 3000)]);
    prop::sample::select(files)
}

/// An offset, more often than not in one of the headers.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![0..512_usize, 4096..4300_usize, 0..200_000_usize]
}

/// Bytes that lengths and offsets like least.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        any::<u64>().prop_map(|n| n.to_le_bytes().to_vec()),
        prop::sample::select(vec![
            0,
            1,
            0x7fff_ffff_ffff_ffff,
            u64::MAX,
            u64::MAX - 4095,
            1 << 40
        ])
        .prop_map(|n: u64| n.to_le_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damaged_files_never_panic(
        file in valid(),
        changes in prop::collection::vec((place(), value()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = file;
        for (at, bytes) in changes {
            let at = at % file.len();
            let len = bytes.len().min(file.len() - at);
            file[at..at + len].copy_from_slice(&bytes[..len]);
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        exercise(file);
    }

    #[test]
    fn arbitrary_bytes_behind_a_magic_never_panic(
        magic in prop::sample::select(vec![&b""[..], b"\x7fELF\x02\x01", b"KDUMP   \x06\0\0\0", b"makedumpfile\0\0\0\0"]),
        bytes in prop::collection::vec(any::<u8>(), 0..9000),
    ) {
        exercise([magic, &bytes].concat());
    }

    #[test]
    fn vmcoreinfo_of_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let info = Vmcoreinfo::parse(&bytes);
        for (key, _) in info.iter() {
            prop_assert!(info.get(key).is_some());
        }
        let _ = (info.kernel_offset(), info.symbol("a"), info.number("b"));
    }
}
