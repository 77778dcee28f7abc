//! Page tables, written by the synthesiser and walked by the reader.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use recrash_synth::elf_core::{ElfCore, note};
use recrash_synth::paging::{Machine, PageSize};
use recrash_vmcore::{AddressSpace, PagingLevels, PhysAddr, ReadError, VirtAddr, VirtMem, Vmcore};

const KERNEL: u64 = 0xffff_ffff_8100_0000;

fn open(machine: &Machine) -> Vmcore {
    let core = ElfCore {
        segments: machine.segments(),
        ..ElfCore::default()
    };
    Vmcore::from_bytes("test", core.build()).unwrap()
}

fn check(machine: &Machine, at: u64, expected: Result<u64, ReadError>) {
    let vmcore = open(machine);
    let root = PhysAddr(machine.root());
    let space = AddressSpace::new(&vmcore, root, PagingLevels::Four, machine.entry_bits);
    // Twice: the second answer may come from the cache.
    for _ in 0..2 {
        assert_eq!(
            space.translate(VirtAddr(at)),
            expected.clone().map(PhysAddr)
        );
    }
}

#[test]
fn pages_of_every_size_are_translated() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL, 0x1234_5000, PageSize::Small);
    machine.map(0xffff_8880_0020_0000, 0x4020_0000, PageSize::Large);
    machine.map(0xffff_8880_4000_0000, 0x1_8000_0000, PageSize::Huge);
    check(&machine, KERNEL + 0x123, Ok(0x1234_5123));
    check(&machine, 0xffff_8880_0020_0000 + 0x12_3456, Ok(0x4032_3456));
    check(
        &machine,
        0xffff_8880_4000_0000 + 0x1234_5678,
        Ok(0x1_9234_5678),
    );
}

#[test]
fn a_missing_entry_is_named_with_its_level() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL, 0x1000, PageSize::Small);
    machine.set_entry(KERNEL + 0x1000, 12, 0xbeef_0000);
    let missing = |at: u64, level, entry| {
        Err(ReadError::NotPresent {
            at: VirtAddr(at),
            level,
            entry,
        })
    };
    check(&machine, 0, missing(0, "PML4", 0));
    let near = KERNEL - (1 << 30);
    check(&machine, near, missing(near, "PDPT", 0));
    check(
        &machine,
        KERNEL + (2 << 20),
        missing(KERNEL + (2 << 20), "PD", 0),
    );
    check(
        &machine,
        KERNEL + 0x1000,
        missing(KERNEL + 0x1000, "PT", 0xbeef_0000),
    );
}

#[test]
fn damaged_tables_are_errors() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.set_entry(0, 39, 0xe3);
    machine.set_entry(1 << 39, 21, 0x1_0000_20e3);
    machine.set_entry(2 << 39, 30, 0x7fff_f000 | 0x67);
    let bad = |at, level, entry| {
        Err(ReadError::BadEntry {
            at: VirtAddr(at),
            level,
            entry,
        })
    };
    check(&machine, 0, bad(0, "PML4", 0xe3));
    check(&machine, 1 << 39, bad(1 << 39, "PD", 0x1_0000_20e3));
    let cause = Box::new(ReadError::NotInDump(PhysAddr(0x7fff_f000)));
    check(
        &machine,
        2 << 39,
        Err(ReadError::Table {
            at: VirtAddr(2 << 39),
            level: "PD",
            cause,
        }),
    );
}

#[test]
fn non_canonical_addresses_are_refused_before_any_walk() {
    let machine = Machine::new(0x10_0000, false);
    let at = 0x0072_0069_0056_0338;
    check(&machine, at, Err(ReadError::NonCanonical(VirtAddr(at))));
}

#[test]
fn five_levels_reach_what_four_cannot_name() {
    let mut machine = Machine::new(0x10_0000, true);
    machine.write(0x0072_0069_0056_0338, b"deep");
    let vmcore = open(&machine);
    let root = PhysAddr(machine.root());
    let space = AddressSpace::new(&vmcore, root, PagingLevels::Five, 0);
    assert_eq!(
        space.bytes(VirtAddr(0x0072_0069_0056_0338), 4).unwrap(),
        b"deep"
    );
    let at = VirtAddr(0x00f2_0069_0056_0338);
    let error = space.u8_at(at).unwrap_err();
    assert_eq!(
        error,
        ReadError::NotPresent {
            at,
            level: "PML5",
            entry: 0
        }
    );
}

#[test]
fn encryption_bits_are_not_part_of_the_address() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.entry_bits = 1 << 47;
    machine.map(KERNEL, 0x1234_5000, PageSize::Small);
    check(&machine, KERNEL, Ok(0x1234_5000));
}

#[test]
fn reads_span_pages_and_name_the_first_missing_byte() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL + 0x1000, 0x30_0000, PageSize::Small);
    machine.map(KERNEL, 0x40_0000, PageSize::Small);
    machine.map(KERNEL + 0x2000, 0x7000_0000, PageSize::Small);
    machine.write(KERNEL + 0xffc, b"abcdefgh\0");
    let vmcore = open(&machine);
    let space = AddressSpace::new(&vmcore, PhysAddr(machine.root()), PagingLevels::Four, 0);
    let at = VirtAddr(KERNEL + 0xffc);
    assert_eq!(space.bytes(at, 8).unwrap(), b"abcdefgh");
    assert_eq!(space.u64_at(at).unwrap(), u64::from_le_bytes(*b"abcdefgh"));
    assert_eq!(space.u32_at(at).unwrap(), u32::from_le_bytes(*b"abcd"));
    assert_eq!(space.u16_at(at).unwrap(), u16::from_le_bytes(*b"ab"));
    assert_eq!(space.u8_at(at).unwrap(), b'a');
    assert_eq!(space.cstr(at, 100).unwrap(), "abcdefgh");
    assert_eq!(space.cstr(at, 3).unwrap(), "abc");
    let missing = VirtAddr(KERNEL + 0x2000);
    let cause = Box::new(ReadError::NotInDump(PhysAddr(0x7000_0000)));
    let error = space.bytes(VirtAddr(KERNEL + 0x1ff0), 32).unwrap_err();
    assert_eq!(error, ReadError::Page { at: missing, cause });
    assert!(matches!(
        space.bytes(at, usize::MAX),
        Err(ReadError::TooLong { .. })
    ));
}

#[test]
fn a_string_that_ends_before_a_missing_page_is_read() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.write(KERNEL + 0xffa, b"sda1\0x");
    let vmcore = open(&machine);
    let space = AddressSpace::new(&vmcore, PhysAddr(machine.root()), PagingLevels::Four, 0);
    assert_eq!(space.cstr(VirtAddr(KERNEL + 0xffa), 64).unwrap(), "sda1");
    assert!(space.cstr(VirtAddr(KERNEL + 0xfff), 64).is_err());
}

#[test]
fn the_kernels_space_comes_from_vmcoreinfo() {
    let phys_base = 0x0100_0000_u64;
    let root = 0x0200_0000_u64;
    let mut machine = Machine::new(root, false);
    machine.write(KERNEL, b"kernel");
    let symbol = 0xffff_ffff_8000_0000 + root - phys_base;
    let info = format!("SYMBOL(swapper_pg_dir)={symbol:x}\nNUMBER(phys_base)={phys_base}\n");
    let core = ElfCore {
        segments: machine.segments(),
        notes: note("VMCOREINFO", 0, info.as_bytes()),
        ..ElfCore::default()
    };
    let vmcore = Vmcore::from_bytes("test", core.build()).unwrap();
    let info = vmcore.vmcoreinfo().unwrap();
    let space = AddressSpace::kernel(&vmcore, info).unwrap();
    assert_eq!(space.root(), PhysAddr(root));
    assert_eq!(space.cstr(VirtAddr(KERNEL), 16).unwrap(), "kernel");
}

/// Every page that [`AddressSpace::mapped`] visits, from the first to the last.
fn mapped(space: &AddressSpace<'_>, range: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    let mut pages = Vec::new();
    let gaps = space.mapped(range, &mut |at, mapping| {
        pages.push((at.0, mapping.size));
        true
    });
    assert!(gaps.is_empty(), "{gaps:?}");
    pages
}

#[test]
fn a_tour_visits_each_page_once_lowest_address_first() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL, 0x1000, PageSize::Small);
    machine.map(0x40_0000, 0x2000, PageSize::Small);
    machine.map(0x7fff_0000_0000, 0x4020_0000, PageSize::Large);
    let vmcore = open(&machine);
    let root = PhysAddr(machine.root());
    let space = AddressSpace::new(&vmcore, root, PagingLevels::Four, machine.entry_bits);
    assert_eq!(
        mapped(&space, 0..u64::MAX),
        [
            (0x40_0000, 4096),
            (0x7fff_0000_0000, 2 << 20),
            (KERNEL, 4096)
        ]
    );
    assert_eq!(mapped(&space, 0..1 << 63).len(), 2);
    assert_eq!(mapped(&space, 0x40_0fff..0x40_1000), [(0x40_0000, 4096)]);
    assert_eq!(mapped(&space, 0x40_1000..0x41_0000), []);
    let mut first = None;
    space.mapped(0..u64::MAX, &mut |at, _| {
        first.get_or_insert(at);
        false
    });
    assert_eq!(first, Some(VirtAddr(0x40_0000)));
}

#[test]
fn tables_that_lead_in_circles_are_entered_once() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL, 0x1000, PageSize::Small);
    // Every entry of the top table leads back to it.
    let root = machine.root();
    for index in 0..256 {
        machine.set_entry(index << 39, 39, root | 0x67);
    }
    let vmcore = open(&machine);
    let space = AddressSpace::new(
        &vmcore,
        PhysAddr(root),
        PagingLevels::Four,
        machine.entry_bits,
    );
    let mut pages = 0;
    space.mapped(0..u64::MAX, &mut |_, _| {
        pages += 1;
        true
    });
    assert!(pages < 4096, "{pages}");
}

#[test]
fn a_walk_gives_every_entry_that_it_looked_at() {
    let mut machine = Machine::new(0x10_0000, false);
    machine.map(KERNEL, 0x1234_5000, PageSize::Small);
    let vmcore = open(&machine);
    let root = PhysAddr(machine.root());
    let space = AddressSpace::new(&vmcore, root, PagingLevels::Four, machine.entry_bits);
    let walk = space.walk_entries(VirtAddr(KERNEL + 5));
    let levels: Vec<_> = walk.steps.iter().map(|step| step.level).collect();
    assert_eq!(levels, ["PML4", "PDPT", "PD", "PT"]);
    assert_eq!(walk.end.unwrap().page, PhysAddr(0x1234_5000));
    let broken = space.walk_entries(VirtAddr(0));
    assert_eq!(broken.steps.len(), 1);
    assert!(broken.end.is_err());
}
