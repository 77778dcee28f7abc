//! What the targets of the dump formats share: how a dump is used, and pages to fill one with.

use recrash_synth::elf_core::{note, prstatus};
use recrash_synth::kdump::{Dump, Packing, Page};
use recrash_vmcore::{AddressSpace, PagingLevels, PhysAddr, PhysMem, VirtAddr, VirtMem, Vmcore};

/// How packed dumps are packed.
pub(super) const PACKINGS: [Packing; 5] = [
    Packing::Raw,
    Packing::Zlib,
    Packing::Lzo,
    Packing::Snappy,
    Packing::Zstd,
];

/// Opens the bytes and reads what a tool reads first.
pub(super) fn open_and_read(bytes: &[u8]) {
    if let Ok(vmcore) = Vmcore::from_bytes("fuzz", bytes.to_vec()) {
        read_all_over(&vmcore);
    }
}

pub(super) fn read_all_over(vmcore: &Vmcore) {
    let mut page = [0; 4200];
    let _ = (
        vmcore.format().to_string(),
        vmcore.phys_base(),
        vmcore.utsname(),
    );
    for cpu in vmcore.prstatus() {
        let _ = cpu.regs.named();
    }
    let mut at = PhysAddr(0);
    for _ in 0..64 {
        let Some(stretch) = vmcore.next_present(at) else {
            break;
        };
        assert!(stretch.start >= at.0 && stretch.start < stretch.end);
        let _ = vmcore.read(PhysAddr(stretch.start), &mut page);
        let _ = vmcore.read(PhysAddr(stretch.end.wrapping_sub(100)), &mut page);
        at = PhysAddr(stretch.end);
    }
    for at in [0, 0x1ffc, 1 << 40, u64::MAX] {
        let _ = vmcore.read(PhysAddr(at), &mut page);
    }
    if let Some(info) = vmcore.vmcoreinfo() {
        let _ = info.kernel_offset();
        if let Ok(space) = AddressSpace::kernel(vmcore, info) {
            let _ = space.cstr(VirtAddr(0xffff_ffff_8100_0ffc), 100);
        }
    }
    for levels in [PagingLevels::Four, PagingLevels::Five] {
        let space = AddressSpace::new(vmcore, PhysAddr(0x2000), levels, 0);
        let _ = space.bytes(VirtAddr(0x1ffc), 64);
    }
}

/// A dump small enough that a fuzzer gets through it fast.
pub(super) fn small(packing: Packing) -> Dump {
    let mut dump = Dump::new(packing);
    dump.pages.extend((1..12).map(|pfn: u64| match pfn % 4 {
        0 => (pfn, Page::Excluded),
        1 => (pfn, Page::Data(vec![0; 4096])),
        n => (
            pfn,
            Page::Data((0..4096).map(|i| (i / (n * 3)) as u8).collect()),
        ),
    }));
    dump.vmcoreinfo = "OSRELEASE=6.1.0\nSYMBOL(swapper_pg_dir)=ffffffff81002000\n\
        NUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\nKERNELOFFSET=0\n"
        .to_owned();
    dump.notes = note("CORE", 1, &prstatus(1, &[2; 27]));
    dump
}
