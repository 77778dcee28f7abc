//! A kernel of a few pages, written from nothing: text, symbols, types, unwind rules, a task with a stack, one slab
//! cache, one USB device. It died as the stock kernels do; tests change one thing and look.
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_synth::elf_core::{ElfCore, note, prstatus};
use recrash_synth::kallsyms::{AddressFormat, tables};
use recrash_synth::orc::{OrcFormat, OrcRow, RowKind, sections};
use recrash_synth::paging::Machine;
use recrash_vmcore::Vmcore;

pub(crate) const TEXT: u64 = 0xffff_ffff_8100_0000;
const DATA: u64 = 0xffff_ffff_8200_0000;
const TABLES: u64 = 0xffff_ffff_8300_0000;
const PERCPU: u64 = 0xffff_8880_0010_0000;
/// CPU 1's `struct kmem_cache_cpu`.
pub(crate) const CPU_SLAB: u64 = PERCPU + 0x200;
pub(crate) const TASK: u64 = 0xffff_8880_0020_0000;
pub(crate) const CACHE: u64 = 0xffff_8880_0030_0000;
pub(crate) const USB: u64 = 0xffff_8880_0040_0000;
pub(crate) const STACK: u64 = 0xffff_c900_0000_0000;
const VMEMMAP: u64 = 0xffff_ea00_0000_0000;
const DIRECT: u64 = 0xffff_8880_0000_0000;
pub(crate) const SP: u64 = STACK + 0x3000;
/// Page frame of the slab, and its objects.
const SLAB_PFN: u64 = 0x500;
pub(crate) const OBJECT: u64 = DIRECT + (SLAB_PFN << 12) + 3 * 256;
pub(crate) const RANDOM: u64 = 0x1357_9bdf_0246_8ace;
pub(crate) const PRODUCT: &str = "A device whose product string is so long that its descriptor reaches the middle of an object \
                           of 256 bytes";

/// What a test may want to be otherwise.
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) regs: [u64; 27],
    freelist_offset: u64,
}

fn functions() -> Vec<(u64, char, &'static str)> {
    let names = [
        "__kmalloc",
        "usb_hcd_submit_urb",
        "proc_do_submiturb",
        "usbdev_ioctl",
        "__x64_sys_ioctl",
        "entry_SYSCALL_64_after_hwframe",
        "asm_exc_general_protection",
    ];
    (TEXT..)
        .step_by(0x100)
        .zip(names)
        .map(|(at, name)| (at, 'T', name))
        .collect()
}

fn variables() -> Vec<(u64, char, &'static str)> {
    let names = [
        "nr_cpu_ids",
        "panic_cpu",
        "__per_cpu_offset",
        "slab_caches",
        "usb_bus_idr",
        "vmemmap_base",
        "page_offset_base",
        "init_on_alloc",
        "modules",
        "sys_call_table",
        "die_owner",
    ];
    (DATA..)
        .step_by(0x100)
        .zip(names)
        .map(|(at, name)| (at, 'D', name))
        .collect()
}

pub(crate) fn variable(name: &str) -> u64 {
    variables()
        .iter()
        .find(|(_, _, known)| *known == name)
        .unwrap()
        .0
}

impl World {
    /// The crash with the freelist pointer at `freelist_offset`, its memory there overwritten by `bytes`.
    pub(crate) fn new(freelist_offset: u64, bytes: u64) -> Self {
        let entry = bytes ^ RANDOM ^ (OBJECT + freelist_offset).swap_bytes();
        let mut world = Self {
            machine: Machine::new(0x10_0000, false),
            regs: [0; 27],
            freelist_offset,
        };
        world.text();
        world.variables();
        world.slab(entry);
        world.task_and_stack(entry);
        world.usb();
        world
    }

    pub(crate) fn words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.machine.write(at, &bytes);
    }

    fn text(&mut self) {
        self.machine.write(TEXT, &[0x90; 0x1000]);
        // mov (%rcx),%rbx
        self.machine.write(TEXT + 0x2e, &[0x48, 0x8b, 0x19]);
    }

    fn variables(&mut self) {
        self.machine.write(DATA, &[0; 0x1000]);
        let set: [(&str, u64); 6] = [
            ("nr_cpu_ids", 2),
            ("panic_cpu", 1),
            ("vmemmap_base", VMEMMAP),
            ("page_offset_base", DIRECT),
            ("init_on_alloc", 1),
            ("modules", variable("modules")),
        ];
        for (name, value) in set {
            self.words(variable(name), &[value]);
        }
        self.words(variable("__per_cpu_offset"), &[PERCPU - 0x1000, PERCPU]);
        self.words(variable("sys_call_table") + 16 * 8, &[TEXT + 0x400]);
        self.words(PERCPU + 0x100, &[TASK]);
    }

    fn slab(&mut self, entry: u64) {
        let head = variable("slab_caches");
        self.words(head, &[CACHE + 40, CACHE + 40]);
        let size_and_object_size = 256 | (256 << 32);
        let name = CACHE + 0x100;
        self.words(
            CACHE,
            &[
                0x200,
                size_and_object_size,
                self.freelist_offset,
                RANDOM,
                name,
                head,
                head,
            ],
        );
        self.machine.write(name, b"kmalloc-256\0");
        let slab = VMEMMAP + SLAB_PFN * 64;
        self.words(slab, &[0; 8]);
        self.words(slab, &[16]);
        self.words(CPU_SLAB, &[entry, 4711, slab]);
        self.machine.write(DIRECT + (SLAB_PFN << 12), &[0; 0x1000]);
    }

    fn task_and_stack(&mut self, entry: u64) {
        self.words(TASK, &[41]);
        self.machine.write(TASK + 8, b"esdm-agent\0\0\0\0\0\0");
        self.words(TASK + 24, &[STACK, 13, 0]);
        self.machine.write(STACK, &[0; 0x4000]);
        let returns = [0x150, 0x250, 0x350, 0x450, 0x550];
        for (at, offset) in (SP..).step_by(16).zip(returns) {
            self.words(at + 8, &[TEXT + offset]);
        }
        let mut user = [0u64; 21];
        (user[13], user[14], user[15], user[16], user[17]) = (0x8038_550a, 4, 16, 0x40_1000, 0x33);
        self.words(SP + 16 * returns.len() as u64, &user);
        // r15 … rax, rcx: the register that holds entry + offset.
        self.regs[10] = entry;
        self.regs[11] = entry.wrapping_add(self.freelist_offset);
        (self.regs[15], self.regs[16], self.regs[17]) = (u64::MAX, TEXT + 0x2e, 0x10);
        (self.regs[19], self.regs[20]) = (SP, 0x18);
        let saved = self.regs;
        self.words(SP - 168, &saved[..21]);
        self.words(SP - 176, &[TEXT + 0x616]);
    }

    fn usb(&mut self) {
        let [
            bus,
            hub_device,
            config,
            interface,
            hub,
            ports,
            port,
            device,
            node,
            strings,
        ] = std::array::from_fn(|index| USB + index as u64 * 0x400);
        self.machine.write(USB, &[0; 0x4000]);
        self.words(variable("usb_bus_idr"), &[node | 2]);
        self.words(node + 8, &[bus]);
        self.words(bus, &[1, hub_device]);
        self.device(hub_device, bus, b"0", [0x1d6b, 2], 0);
        self.words(hub_device + 32, &[config, 1]);
        self.words(config, &[interface]);
        self.words(interface, &[hub]);
        self.words(hub, &[ports]);
        self.words(ports, &[port]);
        self.words(port, &[device]);
        self.device(device, bus, b"1", [0x1209, 2], strings);
        self.machine.write(strings, PRODUCT.as_bytes());
    }

    fn device(&mut self, at: u64, bus: u64, path: &[u8], id: [u16; 2], product: u64) {
        self.words(at, &[bus, 0, 0, product, 0, 0, 0, 0]);
        self.machine.write(at + 8, path);
        let [vendor, product] = id.map(u16::to_le_bytes);
        let descriptor = [
            18, 1, 0, 2, 0, 0, 0, 64, vendor[0], vendor[1], product[0], product[1], 0, 1, 1, 2, 3,
            1,
        ];
        self.machine.write(at + 64, &descriptor);
    }

    /// The dump's bytes.
    pub(crate) fn file(mut self) -> Vec<u8> {
        let mut symbols = functions();
        let orc_rows: Vec<OrcRow> = functions()
            .iter()
            .map(|(at, _, name)| match *name {
                "entry_SYSCALL_64_after_hwframe" => OrcRow::call(*at, 0).of_kind(RowKind::Regs),
                "asm_exc_general_protection" => OrcRow::call(*at, 0).of_kind(RowKind::Regs),
                _ => OrcRow::call(*at, 16),
            })
            .collect();
        let (ip, entries) = sections(OrcFormat::Linux6_4, TABLES, &orc_rows);
        let btf = btf();
        let (orc_at, btf_at, mut next) = (TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x10_000);
        self.machine.write(TABLES, &ip);
        self.machine.write(orc_at, &entries);
        self.machine.write(btf_at, &btf);
        symbols.extend([(TEXT, 'T', "_stext"), (TEXT + 0x1000, 'T', "_etext")]);
        symbols.extend(variables());
        symbols.extend([(0x100, 'A', "current_task")]);
        symbols.extend([
            (TABLES, 'R', "__start_orc_unwind_ip"),
            (TABLES + ip.len() as u64, 'R', "__stop_orc_unwind_ip"),
            (orc_at, 'R', "__start_orc_unwind"),
            (orc_at + entries.len() as u64, 'R', "__stop_orc_unwind"),
            (btf_at, 'R', "__start_BTF"),
            (btf_at + btf.len() as u64, 'R', "__stop_BTF"),
        ]);
        let tables = tables(&symbols, AddressFormat::AbsolutePerCpu, TEXT);
        let mut info = format!(
            "OSRELEASE=6.1.0-synth\nPAGESIZE=4096\nKERNELOFFSET=0\nNUMBER(phys_base)=0\n\
             SYMBOL(init_top_pgt)={:x}\nNUMBER(pgtable_l5_enabled)=0\n",
            0xffff_ffff_8000_0000 + self.machine.root()
        );
        let count = (tables.num_syms as u32).to_le_bytes();
        let base = TEXT.to_le_bytes();
        for (name, bytes) in [
            ("kallsyms_offsets", &tables.addresses[..]),
            ("kallsyms_relative_base", &base[..]),
            ("kallsyms_num_syms", &count[..]),
            ("kallsyms_names", &tables.names[..]),
            ("kallsyms_token_table", &tables.token_table[..]),
            ("kallsyms_token_index", &tables.token_index[..]),
        ] {
            info += &format!("SYMBOL({name})={next:x}\n");
            self.machine.write(next, bytes);
            next += (bytes.len() as u64).next_multiple_of(16);
        }
        let mut notes = note("CORE", 1, &prstatus(0, &[0; 27]));
        notes.extend(note("CORE", 1, &prstatus(41, &self.regs)));
        notes.extend(note("VMCOREINFO", 0, info.as_bytes()));
        ElfCore {
            segments: self.machine.segments(),
            notes,
            count_in_section: false,
        }
        .build()
    }

    pub(crate) fn dump(self) -> Vmcore {
        Vmcore::from_bytes("world", self.file()).unwrap()
    }
}

fn btf() -> Vec<u8> {
    let mut types = BtfWriter::new();
    let (u8_, u16_) = (
        types.int("unsigned char", 1, false),
        types.int("unsigned short", 2, false),
    );
    let (u32_, u64_) = (
        types.int("unsigned int", 4, false),
        types.int("unsigned long", 8, false),
    );
    let pointer = types.pointer(0);
    let name16 = types.array(u8_, 16);
    let pointers64 = types.array(pointer, 64);
    let at = MemberSpec::at;
    let list = types.structure(
        "list_head",
        16,
        &[at(0, "next", pointer), at(8, "prev", pointer)],
    );
    let thread = types.structure(
        "thread_struct",
        16,
        &[at(0, "trap_nr", u64_), at(8, "error_code", u64_)],
    );
    types.structure(
        "task_struct",
        64,
        &[
            at(0, "pid", u32_),
            at(8, "comm", name16),
            at(24, "stack", pointer),
            at(32, "thread", thread),
        ],
    );
    types.structure("module", 64, &[at(0, "list", list), at(16, "name", name16)]);
    types.structure(
        "kmem_cache",
        64,
        &[
            at(0, "cpu_slab", pointer),
            at(8, "size", u32_),
            at(12, "object_size", u32_),
            at(16, "offset", u32_),
            at(24, "random", u64_),
            at(32, "name", pointer),
            at(40, "list", list),
        ],
    );
    types.structure(
        "kmem_cache_cpu",
        24,
        &[
            at(0, "freelist", pointer),
            at(8, "tid", u64_),
            at(16, "slab", pointer),
        ],
    );
    types.structure("page", 64, &[at(0, "flags", u64_)]);
    types.structure("slab", 64, &[MemberSpec::bits(0, 15, "objects", u32_)]);
    let xarray = types.structure("xarray", 8, &[at(0, "xa_head", pointer)]);
    types.structure("idr", 8, &[at(0, "idr_rt", xarray)]);
    types.structure("xa_node", 512, &[at(0, "slots", pointers64)]);
    types.structure(
        "usb_bus",
        16,
        &[at(0, "busnum", u32_), at(8, "root_hub", pointer)],
    );
    types.structure("usb_host_config", 512, &[at(0, "interface", pointers64)]);
    let device = types.structure("device", 8, &[at(0, "driver_data", pointer)]);
    types.structure("usb_interface", 8, &[at(0, "dev", device)]);
    types.structure("usb_hub", 8, &[at(0, "ports", pointer)]);
    types.structure("usb_port", 8, &[at(0, "child", pointer)]);
    let descriptor = types.structure(
        "usb_device_descriptor",
        18,
        &[at(8, "idVendor", u16_), at(10, "idProduct", u16_)],
    );
    types.structure(
        "usb_device",
        128,
        &[
            at(0, "bus", pointer),
            at(8, "devpath", name16),
            at(24, "product", pointer),
            at(32, "actconfig", pointer),
            at(40, "maxchild", u32_),
            at(48, "manufacturer", pointer),
            at(56, "serial", pointer),
            at(64, "descriptor", descriptor),
        ],
    );
    types.finish()
}
