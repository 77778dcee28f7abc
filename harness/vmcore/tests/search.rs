//! Dumps without a VMCOREINFO note: the kernel's own copy is found in memory, and the right one.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use recrash_synth::elf_core::{ElfCore, note, qemu_cpu};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_synth::paging::Machine;
use recrash_vmcore::{AddressSpace, PagingLevels, PhysAddr, Vmcore};

const IMAGE: u64 = 0xffff_ffff_8100_0000;
/// Where texts are put: pages, and a place within one, that page tables do not use.
const TEXT: u64 = 0x90_0000;
const NOTE: u64 = 0x91_0000;

/// A machine whose kernel maps its own top table and its first page of text.
fn machine(root: u64) -> Machine {
    let mut machine = Machine::new(root, false);
    machine.write(IMAGE, b"text");
    let table = IMAGE + 0x10_0000;
    machine.map(table, root, recrash_synth::paging::PageSize::Small);
    machine
}

/// VMCOREINFO of the kernel whose top table is at `root`.
fn text(release: &str, root: u64) -> String {
    let phys_base = root.wrapping_sub(IMAGE + 0x10_0000 - 0xffff_ffff_8000_0000);
    format!(
        "OSRELEASE={release}\nBUILD-ID={release}\nPAGESIZE=4096\n\
         SYMBOL(swapper_pg_dir)={:x}\nSYMBOL(_stext)={IMAGE:x}\nNUMBER(phys_base)={}\n\
         NUMBER(pgtable_l5_enabled)=0\nKERNELOFFSET=0\n",
        IMAGE + 0x10_0000,
        phys_base.cast_signed()
    )
}

fn elf(machine: &Machine, notes: Vec<u8>) -> Vmcore {
    let core = ElfCore {
        segments: machine.segments(),
        notes,
        ..ElfCore::default()
    };
    Vmcore::from_bytes("test", core.build()).unwrap()
}

/// The release found, and the warnings.
fn check(vmcore: &Vmcore, release: Option<&str>, warning: &str) {
    let found = vmcore.vmcoreinfo().and_then(|info| info.osrelease());
    assert_eq!(found, release);
    let warnings = vmcore.warnings().join("\n");
    assert!(warnings.contains(warning), "{warnings}");
    assert_eq!(warnings.is_empty(), warning.is_empty(), "{warnings}");
}

#[test]
fn the_page_of_text_is_found_and_told() {
    let mut machine = machine(0x10_0000);
    machine.write_phys(TEXT, text("6.1", 0x10_0000).as_bytes());
    let vmcore = elf(&machine, Vec::new());
    check(&vmcore, Some("6.1"), "copy in memory at 0x900000 is used");
    let space = AddressSpace::kernel(&vmcore, vmcore.vmcoreinfo().unwrap()).unwrap();
    assert_eq!(space.root(), PhysAddr(0x10_0000));
}

#[test]
fn a_note_in_the_dump_is_taken_without_a_search() {
    let mut machine = machine(0x10_0000);
    machine.write_phys(TEXT, text("6.1", 0x10_0000).as_bytes());
    let vmcore = elf(&machine, note("VMCOREINFO", 0, b"OSRELEASE=noted\n"));
    check(&vmcore, Some("noted"), "");
}

#[test]
fn the_note_in_memory_is_read_to_its_length_across_pages() {
    let mut machine = machine(0x10_0000);
    let mut long = text("6.1", 0x10_0000) + "CRASHTIME=1\n";
    while long.len() < 4090 {
        long.push_str("A=1\n");
    }
    long.push_str("Z=9\n");
    machine.write_phys(NOTE, &note("VMCOREINFO", 0, &long.as_bytes()[..4096]));
    machine.write_phys(NOTE + 0x2000, &[0xff; 16]);
    let vmcore = elf(&machine, Vec::new());
    check(&vmcore, Some("6.1"), "in memory at 0x910000");
    assert_eq!(vmcore.vmcoreinfo().unwrap().get("Z"), Some("9"));
}

#[test]
fn a_text_whose_page_tables_are_gone_loses_to_one_whose_are_there() {
    let mut machine = machine(0x10_0000);
    // Left by a kernel before kexec, lower in memory than the one that is right.
    machine.write_phys(TEXT, text("old", 0x50_0000).as_bytes());
    machine.write_phys(TEXT + 0x5000, text("6.1", 0x10_0000).as_bytes());
    let vmcore = elf(&machine, Vec::new());
    check(&vmcore, Some("6.1"), "the best of 2 that differ");
}

#[test]
fn the_kernel_that_crashed_is_taken_rather_than_the_crash_kernel() {
    let mut machine = machine(0x10_0000);
    let crash_kernel = self::machine(0x60_0000);
    for (&at, page) in crash_kernel.pages() {
        machine.write_phys(at, page);
    }
    machine.write_phys(TEXT, text("capture", 0x60_0000).as_bytes());
    let crashed = text("6.1", 0x10_0000) + "CRASHTIME=1654387200\n";
    machine.write_phys(NOTE, &note("VMCOREINFO", 0, crashed.as_bytes()));
    let cr3 = [0, 0, 0, 0x60_0000, 0];
    let cpu = note("QEMU", 0, &qemu_cpu(&[0; 18], 0, cr3, 0));
    check(&elf(&machine, cpu), Some("6.1"), "the best of 2");
}

#[test]
fn of_two_kernels_that_did_not_crash_the_one_a_cpu_runs_is_taken() {
    let mut machine = machine(0x10_0000);
    for (&at, page) in self::machine(0x60_0000).pages() {
        machine.write_phys(at, page);
    }
    machine.write_phys(TEXT, text("left", 0x10_0000).as_bytes());
    machine.write_phys(NOTE, text("running", 0x60_0000).as_bytes());
    let cr3 = [0, 0, 0, 0x60_0000 | 0x805, 0];
    let cpu = note("QEMU", 0, &qemu_cpu(&[0; 18], 0, cr3, 0));
    check(&elf(&machine, cpu), Some("running"), "the best of 2");
}

#[test]
fn one_text_that_cannot_be_checked_is_used_and_said_to_be_unchecked() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.write_phys(TEXT, text("6.1", 0x70_0000).as_bytes());
    check(&elf(&machine, Vec::new()), Some("6.1"), "unchecked");
    machine.write_phys(NOTE, text("6.2", 0x70_0000).as_bytes());
    check(&elf(&machine, Vec::new()), None, "");
}

#[test]
fn text_that_is_no_vmcoreinfo_or_begins_no_page_is_passed_over() {
    let mut machine = machine(0x10_0000);
    machine.write_phys(TEXT, b"OSRELEASE=6.1\nPAGESIZE=4096\n");
    machine.write_phys(NOTE + 8, text("6.1", 0x10_0000).as_bytes());
    check(&elf(&machine, Vec::new()), None, "");
}

#[test]
fn memory_in_the_last_page_of_64_bits_is_no_trouble() {
    let mut core = ElfCore {
        segments: machine(0x10_0000).segments(),
        ..ElfCore::default()
    };
    core.segments.push(recrash_synth::elf_core::Segment {
        paddr: u64::MAX - 0x4ff,
        data: vec![1; 0x200],
        ..Default::default()
    });
    let vmcore = Vmcore::from_bytes("test", core.build()).unwrap();
    check(&vmcore, None, "");
}

#[test]
fn it_is_found_in_pages_of_every_packing() {
    let mut machine = machine(0x10_0000);
    machine.write_phys(
        NOTE,
        &note("VMCOREINFO", 0, text("6.1", 0x10_0000).as_bytes()),
    );
    machine.write_phys(0x40_0000, &[0; 4096]);
    for packing in [
        Packing::Raw,
        Packing::Zlib,
        Packing::Lzo,
        Packing::Snappy,
        Packing::Zstd,
    ] {
        let mut dump = Dump::new(packing);
        let pages = machine.pages().iter();
        dump.pages
            .extend(pages.map(|(at, page)| (at / 4096, Page::Data(page.to_vec()))));
        let vmcore = Vmcore::from_bytes("test", dump.build()).unwrap();
        check(&vmcore, Some("6.1"), "in memory at 0x910000");
        let vmcore = Vmcore::from_bytes("test", flatten(&dump.build(), 3000)).unwrap();
        check(&vmcore, Some("6.1"), "in memory at 0x910000");
    }
}

#[test]
fn a_qemu_note_gives_the_state_of_a_cpu() {
    let regs = std::array::from_fn(|index| index as u64 + 100);
    let cr = [0x8005_0033, 0, 0xdead, 0x1234_5805, 0x1000];
    let notes = [
        note("QEMU", 0, &qemu_cpu(&regs, 0x5000, cr, 77)),
        note("QEMU", 0, &qemu_cpu(&regs, 0, [0; 5], 0)[..432]),
        note("QEMU", 0, &qemu_cpu(&regs, 0, [0; 5], 0)[..431]),
    ];
    let vmcore = elf(&machine(0x10_0000), notes.concat());
    let [first, second] = vmcore.cpu_states() else {
        panic!("{:?}", vmcore.cpu_states());
    };
    assert_eq!(
        (first.rax, first.rbp, first.rip, first.rflags),
        (100, 107, 116, 117)
    );
    assert_eq!((first.r8_to_r15[0], first.r8_to_r15[7]), (108, 115));
    assert_eq!(
        (first.cs.selector, first.ds.selector, first.idt.selector),
        (0, 8, 72)
    );
    assert_eq!(
        (first.idt.base, first.idt.limit, first.kernel_gs_base),
        (0x5000, 0xfffff, Some(77))
    );
    assert_eq!(first.cr, cr);
    assert_eq!(first.page_table(), PhysAddr(0x1234_5000));
    assert_eq!(first.paging_levels(), PagingLevels::Five);
    assert!(first.in_kernel());
    assert_eq!(second.paging_levels(), PagingLevels::Four);
    assert_eq!(second.kernel_gs_base, None);
    let space = AddressSpace::of_cpu(&vmcore, first, 0);
    assert_eq!(space.root(), PhysAddr(0x1234_5000));
}
