//! What a kernel is put together from: tables that VMCOREINFO does not name, files that came with the dump, files that
//! belong to another kernel.
use std::collections::HashSet;
use std::ops::Range;

use recrash_kernel::open::{SymbolSource, TypeSource};
use recrash_kernel::{Kernel, Missing, Sources};
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_synth::elf_image::elf_image;
use recrash_synth::kallsyms::{AddressFormat, Order, laid_out, tables};
use recrash_synth::paging::Machine;
use recrash_vmcore::{AddressSpace, PhysAddr, PhysMem, ReadError, VirtAddr, Vmcoreinfo};

/// Where the image is linked, and what KASLR added.
const LINKED: u64 = 0xffff_ffff_8100_0000;
const KASLR: u64 = 0x1200_0000;
const TEXT: u64 = LINKED + KASLR;
const NOTES: u64 = 0x20_0000;
const BTF: u64 = 0x30_0000;
const TABLES: u64 = 0x40_0000;
const MODULES: u64 = 0x50_0000;

const BEFORE_6_2: Order = Order {
    addresses_last: false,
    word: 4,
    sequence: 0,
};
const SINCE_6_5: Order = Order {
    addresses_last: true,
    word: 4,
    sequence: 3,
};
const OF_4_18: Order = Order {
    addresses_last: false,
    word: 8,
    sequence: 0,
};

/// Physical memory of a machine, some pages of which the dump does not have.
struct Dump {
    machine: Machine,
    missing: HashSet<u64>,
}

impl PhysMem for Dump {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        for (at, byte) in (at.0..).zip(buf) {
            let page = at & !0xfff;
            if self.missing.contains(&page) {
                return Err(ReadError::Excluded(PhysAddr(at)));
            }
            let page = self.machine.pages().get(&page);
            let page = page.ok_or(ReadError::NotInDump(PhysAddr(at)))?;
            *byte = page[(at & 0xfff) as usize];
        }
        Ok(())
    }

    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        let mut pages = self.machine.pages().keys().copied();
        let page = pages.find(|page| page + 0x1000 > at.0 && !self.missing.contains(page))?;
        Some(page.max(at.0)..page + 0x1000)
    }
}

/// A crashed kernel that nothing names anything of.
struct World {
    dump: Dump,
    info: Vmcoreinfo,
}

fn build_id_note(id: u8) -> Vec<u8> {
    let mut note = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0].to_vec();
    note.extend(b"GNU\0");
    note.extend([id; 20]);
    note
}

fn btf() -> Vec<u8> {
    let mut types = BtfWriter::new();
    let (u8_, pointer) = (types.int("unsigned char", 1, false), types.pointer(0));
    let at = MemberSpec::at;
    let list = types.structure(
        "list_head",
        16,
        &[at(0, "next", pointer), at(8, "prev", pointer)],
    );
    let name = types.array(u8_, 56);
    types.structure("module", 256, &[at(8, "list", list), at(24, "name", name)]);
    types.finish()
}

/// Names and places of an image's symbols; `base` is where its text lies.
fn symbols(base: u64) -> Vec<(u64, &'static str)> {
    vec![
        (base, "_text"),
        (base, "_stext"),
        (base + 0x100, "__kmalloc"),
        (base + 0x1000, "_etext"),
        (base + NOTES, "__start_notes"),
        (base + NOTES + 36, "__stop_notes"),
        (base + BTF, "__start_BTF"),
        (base + BTF + btf().len() as u64, "__stop_BTF"),
        (base + MODULES, "modules"),
    ]
}

fn kallsyms(base: u64, format: AddressFormat, order: Order) -> Vec<u8> {
    let symbols: Vec<_> = symbols(base)
        .into_iter()
        .map(|(at, name)| (at, 'T', name))
        .collect();
    let origin = if format == AddressFormat::Absolute {
        0
    } else {
        base
    };
    laid_out(&tables(&symbols, format, origin), format, base, order)
}

impl World {
    fn new(format: AddressFormat, order: Order, extra: &str) -> Self {
        let mut machine = Machine::new(0x10_0000, false);
        machine.write(TEXT, &[0x90; 0x1000]);
        machine.write(TEXT + NOTES, &build_id_note(7));
        machine.write(TEXT + BTF, &btf());
        machine.write(TEXT + TABLES, &kallsyms(TEXT, format, order));
        let head = (TEXT + MODULES).to_le_bytes();
        machine.write(TEXT + MODULES, &[head, head].concat());
        let info = format!(
            "NUMBER(phys_base)=0\nSYMBOL(init_top_pgt)={:x}\nSYMBOL(_stext)={TEXT:x}\nKERNELOFFSET={KASLR:x}\n{extra}",
            0xffff_ffff_8000_0000 + machine.root()
        );
        Self {
            dump: Dump {
                machine,
                missing: HashSet::new(),
            },
            info: Vmcoreinfo::parse(info.as_bytes()),
        }
    }

    fn usual() -> Self {
        Self::new(AddressFormat::AbsolutePerCpu, BEFORE_6_2, "")
    }

    /// Without the page that lies at this distance from the text.
    fn without(mut self, offset: u64) -> Self {
        let space = AddressSpace::kernel(&self.dump, &self.info).unwrap();
        let page = space.translate(VirtAddr(TEXT + offset)).unwrap().0 & !0xfff;
        self.dump.missing.insert(page);
        self
    }
}

fn check(world: &World, sources: &Sources<'_>, look: impl FnOnce(Result<Kernel<'_>, Missing>)) {
    look(Kernel::open_with(&world.dump, &world.info, &[], sources));
}

/// The symbols of the kernel are those of the image, where it was loaded.
fn check_symbols(kernel: &Kernel<'_>, source: SymbolSource) {
    assert_eq!(kernel.symbol_source(), source, "{:?}", kernel.notes());
    assert_eq!(kernel.symbol("__kmalloc"), Ok(VirtAddr(TEXT + 0x100)));
    assert_eq!(kernel.symbol("modules"), Ok(VirtAddr(TEXT + MODULES)));
    let place = kernel.place(VirtAddr(TEXT + 0x123)).unwrap();
    assert_eq!(place.to_string(), "__kmalloc+0x23");
    assert!(
        kernel
            .notes()
            .iter()
            .any(|note| note.starts_with("symbols from"))
    );
}

#[test]
fn tables_that_nothing_names_are_found_in_the_image_whatever_their_order() {
    let formats = [
        AddressFormat::AbsolutePerCpu,
        AddressFormat::Relative,
        AddressFormat::Absolute,
    ];
    for format in formats {
        for order in [OF_4_18, BEFORE_6_2, SINCE_6_5] {
            check(
                &World::new(format, order, ""),
                &Sources::default(),
                |kernel| {
                    let kernel =
                        kernel.unwrap_or_else(|error| panic!("{format:?} {order:?}: {error}"));
                    check_symbols(&kernel, SymbolSource::FoundKallsyms);
                    assert_eq!(kernel.type_source(), Some(TypeSource::Btf));
                },
            );
        }
    }
}

#[test]
fn a_page_of_the_tables_that_the_dump_lacks_is_named() {
    check(
        &World::usual().without(TABLES),
        &Sources::default(),
        |kernel| {
            let error = kernel.err().unwrap().to_string();
            assert!(
                error.contains("1 can't be read") && error.contains("left out"),
                "{error}"
            );
        },
    );
}

#[test]
fn the_build_id_is_read_from_the_notes_in_memory() {
    check(&World::usual(), &Sources::default(), |kernel| {
        assert_eq!(kernel.unwrap().find_build_id(), Ok(&[7; 20][..]));
    });
}

/// The image's file: with symbols, or stripped with its kallsyms.
fn image(id: u8, stripped: bool) -> Vec<u8> {
    let symbols = if stripped {
        Vec::new()
    } else {
        symbols(LINKED)
    };
    elf_image(
        &[
            (".text", LINKED, &[0x90; 0x1000]),
            (".notes", LINKED + NOTES, &build_id_note(id)),
            (".BTF", LINKED + BTF, &btf()),
            (
                ".rodata",
                LINKED + TABLES,
                &kallsyms(LINKED, AddressFormat::AbsolutePerCpu, BEFORE_6_2),
            ),
        ],
        &symbols,
    )
}

fn with_image(image: &[u8]) -> Sources<'_> {
    Sources {
        image: Some(image),
        ..Sources::default()
    }
}

#[test]
fn an_image_gives_the_symbols_that_the_dump_lacks() {
    for (stripped, source) in [
        (false, SymbolSource::ImageSymbols),
        (true, SymbolSource::ImageKallsyms),
    ] {
        let image = image(7, stripped);
        check(
            &World::usual().without(TABLES),
            &with_image(&image),
            |kernel| {
                check_symbols(&kernel.unwrap(), source);
            },
        );
    }
}

#[test]
fn an_image_gives_the_types_that_the_dump_lacks() {
    let image = image(7, false);
    check(
        &World::usual().without(BTF),
        &with_image(&image),
        |kernel| {
            let kernel = kernel.unwrap();
            assert_eq!(kernel.type_source(), Some(TypeSource::ImageBtf));
            assert_eq!(
                kernel.field("module", "name").map(|field| field.offset),
                Ok(24)
            );
        },
    );
}

#[test]
fn an_image_of_another_build_is_refused_by_both_build_ids() {
    let named = "BUILD-ID=0707070707070707070707070707070707070707\n";
    for extra in [named, ""] {
        let world = World::new(AddressFormat::Relative, BEFORE_6_2, extra);
        let image = image(9, false);
        check(&world, &with_image(&image), |kernel| {
            let Err(Missing::WrongBuild { found, dump, .. }) = kernel else {
                panic!("not refused");
            };
            assert_eq!((found, dump), ("09".repeat(20), "07".repeat(20)));
        });
    }
}

#[test]
fn a_system_map_is_moved_to_where_the_kernel_was_loaded() {
    let text: String = symbols(LINKED)
        .iter()
        .map(|(at, name)| format!("{at:016x} T {name}\n"))
        .collect();
    let sources = Sources {
        system_map: Some(&text),
        ..Sources::default()
    };
    check(&World::usual().without(TABLES), &sources, |kernel| {
        check_symbols(&kernel.unwrap(), SymbolSource::SystemMap);
    });
}

#[test]
fn a_system_map_of_another_kernel_is_refused() {
    let sources = Sources {
        system_map: Some("ffffffff81000040 T _stext\nffffffff81000100 T __kmalloc\n"),
        ..Sources::default()
    };
    check(&World::usual().without(TABLES), &sources, |kernel| {
        let error = kernel.err().unwrap().to_string();
        assert!(error.contains("System.map given: _stext is at"), "{error}");
    });
}
