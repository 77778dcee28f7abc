//! A kernel of the 4.18 line without BTF: its structures are made out from memory, and only as far as memory bears
//! them out.
use proptest::prelude::*;
use recrash_kernel::open::TypeSource;
use recrash_kernel::{Kernel, slub};
use recrash_synth::elf_core::{ElfCore, note, prstatus};
use recrash_synth::kallsyms::{AddressFormat, Order, laid_out, tables};
use recrash_synth::paging::Machine;
use recrash_vmcore::Vmcore;

const TEXT: u64 = 0xffff_ffff_8100_0000;
const DATA: u64 = 0xffff_ffff_8200_0000;
const IDLE: u64 = DATA + 0x1_0000;
const TASKS: u64 = 0xffff_8880_0100_0000;
const STACKS: u64 = 0xffff_c900_0000_0000;
const CACHES: u64 = 0xffff_8880_0200_0000;
const PERCPU: u64 = 0xffff_8880_0300_0000;
const PAGES: u64 = 0xffff_ea00_0000_0000;
const MODULE: u64 = 0xffff_ffff_c000_0000;

// Offsets of a task_struct and a kmem_cache as a 4.18 configuration may have them.
const STATE: u64 = 16;
const STACK: u64 = 24;
const FLAGS: u64 = 36;
const ON_CPU: u64 = 56;
const CPU: u64 = 60;
const RING: u64 = 0x7c0;
const MM: u64 = 0x820;
const PID: u64 = 0x8a8;
const PARENT: u64 = 0x8b8;
const COMM: u64 = 0xa60;
const SP: u64 = 0xf40;
const NAME: u64 = 88;
const LIST: u64 = 96;
const RANDOM: u64 = 0xd8;

struct World {
    machine: Machine,
}

fn variables() -> Vec<(u64, char, &'static str)> {
    let names = [
        "nr_cpu_ids",
        "__per_cpu_offset",
        "slab_caches",
        "kmem_cache",
        "kmem_cache_node",
        "modules",
    ];
    let variables = (DATA..).step_by(0x100).zip(names);
    variables.map(|(at, name)| (at, 'D', name)).collect()
}

fn variable(name: &str) -> u64 {
    variables()
        .iter()
        .find(|(_, _, known)| *known == name)
        .unwrap()
        .0
}

/// The processes: name, pid, flags, state.
const PROCESSES: [(&str, u32, u32, u64); 4] = [
    ("systemd", 1, 0x40_0100, 1),
    ("kthreadd", 2, 0x20_8040, 1),
    ("kworker/0:0H", 4, 0x420_8060, 0x402),
    ("esdm-agent", 11941, 0x40_0100, 0),
];

const CACHE_NAMES: [(&str, u32); 10] = [
    ("kmem_cache", 448),
    ("kmem_cache_node", 64),
    ("kmalloc-8", 8),
    ("kmalloc-64", 64),
    ("kmalloc-256", 256),
    ("kmalloc-1k", 1024),
    ("kmalloc-8k", 8192),
    ("dentry", 192),
    ("inode_cache", 608),
    ("pid", 128),
];

impl World {
    fn new(hardened: bool) -> Self {
        let mut world = Self {
            machine: Machine::new(0x10_0000, false),
        };
        world.machine.write(TEXT, &[0x90; 0x1000]);
        world.machine.write(DATA, &[0; 0x1000]);
        world.words(variable("nr_cpu_ids"), &[2]);
        world.words(variable("__per_cpu_offset"), &[PERCPU, PERCPU + 0x1_0000]);
        world.tasks();
        world.caches(hardened);
        world.module();
        world
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.machine.write(at, &bytes);
    }

    fn half(&mut self, at: u64, value: u32) {
        self.machine.write(at, &value.to_le_bytes());
    }

    /// The structures at these places on a ring of list heads, behind `head`.
    fn ring(&mut self, head: u64, links: &[u64]) {
        let all: Vec<u64> = std::iter::once(head).chain(links.iter().copied()).collect();
        for (n, at) in all.iter().enumerate() {
            let next = all[(n + 1) % all.len()];
            let prev = all[(n + all.len() - 1) % all.len()];
            self.words(*at, &[next, prev]);
        }
    }

    fn task(&mut self, at: u64, stack: u64, name: &str, pid: u32) {
        self.machine.write(at, &[0; 0x4000]);
        self.words(at + STACK, &[stack]);
        self.half(at + PID, pid);
        self.half(at + PID + 4, pid);
        self.machine.write(at + COMM, name.as_bytes());
        self.words(at + PARENT, &[IDLE, IDLE]);
        self.words(at + PARENT + 48, &[at]);
        self.words(at + SP, &[stack + 0x3c00]);
    }

    fn tasks(&mut self) {
        self.task(IDLE, DATA + 0x2_0000, "swapper/0", 0);
        self.half(IDLE + FLAGS, 0x20_0002);
        self.half(IDLE + ON_CPU, 1);
        let mut links = Vec::new();
        for (n, (name, pid, flags, state)) in (0u64..).zip(PROCESSES) {
            let at = TASKS + n * 0x4000;
            self.task(at, STACKS + n * 0x8000, name, pid);
            self.words(at + STATE, &[state]);
            self.half(at + FLAGS, flags);
            if flags & 0x20_0000 == 0 {
                let mm = TASKS + 0x10_0000 + n * 0x1000;
                self.words(at + MM, &[mm, mm]);
            }
            links.push(at + RING);
        }
        self.ring(IDLE + RING, &links);
        let running = TASKS + 3 * 0x4000;
        self.half(running + ON_CPU, 1);
        self.half(running + CPU, 1);
        self.words(PERCPU + 0x100, &[IDLE]);
        self.words(PERCPU + 0x1_0000 + 0x100, &[running]);
    }

    fn caches(&mut self, hardened: bool) {
        let mut links = Vec::new();
        for (n, (name, size)) in (0u64..).zip(CACHE_NAMES) {
            let at = CACHES + n * 0x400;
            let text = CACHES + 0x1_0000 + n * 0x40;
            self.machine.write(at, &[0; 0x400]);
            self.machine.write(text, name.as_bytes());
            self.machine.write(text + name.len() as u64, &[0; 8]);
            let order = if size > 4096 { 3 } else { 0 };
            let objects = (4096 << order) / size;
            self.words(at, &[0x1000 + n * 0x20, 0x4000_0000, 5]);
            for (offset, value) in [
                (24, size),
                (28, size),
                (32, 0),
                (36, 30),
                (40, order << 16 | objects),
            ] {
                self.half(at + offset, value);
            }
            self.words(at + NAME, &[text]);
            if hardened {
                self.words(
                    at + RANDOM,
                    &[0x1357_9bdf_0246_8ace_u64.rotate_left(5 * n as u32)],
                );
            }
            links.push(at + LIST);
            // The slab that CPU 1 allocates from.
            let page = PAGES + n * 64;
            self.words(PERCPU + 0x1000 + n * 0x20, &[0, 2, 0, 0]);
            self.words(PERCPU + 0x1_1000 + n * 0x20, &[0, 4, page, 0]);
            let counters = u64::from(1 << 31 | objects << 16 | objects);
            self.words(page, &[0x17_ffff_c000_0100, 0, 0, at, 0, counters, 0, 0]);
        }
        self.ring(variable("slab_caches"), &links);
        self.words(variable("kmem_cache"), &[CACHES]);
        self.words(variable("kmem_cache_node"), &[CACHES + 0x400]);
    }

    fn module(&mut self) {
        self.machine.write(MODULE, &[0; 0x6000]);
        let at = MODULE + 0x4000;
        self.machine.write(at + 24, b"usbcore");
        self.words(at + 0x140, &[MODULE, 0x2000 << 32 | 0x6000]);
        let (symtab, strtab, tables) = (MODULE + 0x5000, MODULE + 0x5100, MODULE + 0x5200);
        self.words(at + 0x1e0, &[tables]);
        self.words(tables, &[symtab, 2, strtab]);
        let info_and_section = u64::from(b't') << 32 | 1 << 48;
        self.words(symtab + 24, &[1 | info_and_section, MODULE + 0x100, 0x40]);
        self.machine.write(strtab, b"\0usb_submit_urb\0");
        self.ring(variable("modules"), &[at + 8]);
    }

    fn dump(mut self) -> Vmcore {
        let mut symbols = vec![(0x100, 'A', "current_task"), (TEXT, 'T', "_stext")];
        symbols.push((TEXT + 0x1000, 'T', "_etext"));
        symbols.extend(variables());
        symbols.extend([
            (IDLE, 'D', "init_task"),
            (DATA + 0x2_0000, 'D', "init_stack"),
        ]);
        let format = AddressFormat::AbsolutePerCpu;
        let order = Order {
            addresses_last: false,
            word: 8,
            sequence: 0,
        };
        let image = laid_out(&tables(&symbols, format, TEXT), format, TEXT, order);
        self.machine.write(TEXT + 0x10_0000, &image);
        let info = format!(
            "OSRELEASE=4.18.0-synth\nNUMBER(phys_base)=0\nSYMBOL(init_top_pgt)={:x}\nSYMBOL(_stext)={TEXT:x}\n",
            0xffff_ffff_8000_0000 + self.machine.root()
        );
        let mut notes = note("CORE", 1, &prstatus(0, &[0; 27]));
        notes.extend(note("VMCOREINFO", 0, info.as_bytes()));
        let core = ElfCore {
            segments: self.machine.segments(),
            notes,
            count_in_section: false,
        };
        Vmcore::from_bytes("world", core.build()).unwrap()
    }
}

fn check(world: World, look: impl FnOnce(&Kernel<'_>)) {
    let dump = world.dump();
    look(&Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap());
}

fn check_offsets(kernel: &Kernel<'_>, of: &str, expected: &[(&str, u64)]) {
    for (field, offset) in expected {
        let found = kernel.field(of, field).map(|found| found.offset);
        assert_eq!(found, Ok(*offset), "{of}.{field}; {:?}", kernel.notes());
    }
}

#[test]
fn a_task_is_made_out_by_the_first_ones_there_are() {
    check(World::new(false), |kernel| {
        assert_eq!(kernel.type_source(), Some(TypeSource::LayoutTable));
        let expected = [
            ("comm", COMM),
            ("stack", STACK),
            ("tasks", RING),
            ("pid", PID),
            ("tgid", PID + 4),
            ("state", STATE),
            ("flags", FLAGS),
            ("real_parent", PARENT),
            ("group_leader", PARENT + 48),
            ("mm", MM),
            ("on_cpu", ON_CPU),
            ("cpu", CPU),
            ("thread.sp", SP),
            ("thread.trap_nr", SP + 88),
        ];
        check_offsets(kernel, "task_struct", &expected);
    });
}

#[test]
fn caches_are_made_out_hardened_or_not() {
    for hardened in [false, true] {
        check(World::new(hardened), |kernel| {
            let expected = [
                ("size", 24),
                ("object_size", 28),
                ("offset", 32),
                ("oo", 40),
                ("name", NAME),
                ("list", LIST),
            ];
            check_offsets(kernel, "kmem_cache", &expected);
            check_offsets(kernel, "page", &[("slab_cache", 24), ("counters", 40)]);
            let random = kernel
                .field("kmem_cache", "random")
                .map(|field| field.offset);
            assert_eq!(random.ok(), hardened.then_some(RANDOM));
            let (caches, cut) = slub::caches(kernel).unwrap();
            assert_eq!(cut, None);
            let found: Vec<_> = caches.iter().map(|cache| cache.name.as_str()).collect();
            assert_eq!(found, CACHE_NAMES.map(|(name, _)| name));
        });
    }
}

#[test]
fn a_module_is_made_out_by_the_region_it_lies_in() {
    check(World::new(false), |kernel| {
        let module = &kernel.modules()[0];
        assert_eq!(
            (module.name.as_str(), module.text[0].1),
            ("usbcore", 0x2000)
        );
        let place = kernel
            .place(recrash_vmcore::VirtAddr(MODULE + 0x120))
            .unwrap();
        assert_eq!(place.to_string(), "usb_submit_urb+0x20 [usbcore]");
    });
}

#[test]
fn what_memory_does_not_bear_out_is_not_there_and_hides_nothing_else() {
    let mut world = World::new(false);
    world.machine.write(IDLE + COMM, b"swopper/0");
    check(world, |kernel| {
        assert!(kernel.field("task_struct", "pid").is_err());
        assert!(kernel.field("kmem_cache", "offset").is_ok());
        let notes = kernel.notes();
        assert!(
            notes
                .iter()
                .any(|note| note.contains("struct task_struct: no comm")),
            "{notes:?}"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_change_of_memory_makes_the_probing_panic(
        changes in proptest::collection::vec((0usize..6, 0u64..0x2000, any::<u64>()), 1..20)
    ) {
        let places = [IDLE, TASKS, CACHES, MODULE + 0x4000, DATA, PERCPU];
        let mut world = World::new(true);
        for (place, offset, value) in changes {
            world.words(places[place] + (offset & !7), &[value]);
        }
        let dump = world.dump();
        let _ = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus());
    }
}
