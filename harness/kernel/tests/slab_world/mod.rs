//! A kernel that is nothing but an allocator and a USB controller: caches whose slabs are on every kind of list, one
//! with debugging, names of merged caches in sysfs, requests at a device. Tests change one thing and look.
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_synth::elf_core::{ElfCore, note, prstatus};
use recrash_synth::kallsyms::{AddressFormat, tables};
use recrash_synth::paging::Machine;
use recrash_vmcore::Vmcore;
use std::collections::HashMap;

pub(crate) const TEXT: u64 = 0xffff_ffff_8100_0000;
const DATA: u64 = 0xffff_ffff_8200_0000;
const TABLES: u64 = 0xffff_ffff_8300_0000;
pub(crate) const DIRECT: u64 = 0xffff_8880_0000_0000;
pub(crate) const VMEMMAP: u64 = 0xffff_ea00_0000_0000;
const PERCPU: u64 = DIRECT + 0x10_0000;
pub(crate) const CACHE: u64 = DIRECT + 0x30_0000;
pub(crate) const DEBUGGED: u64 = CACHE + 0x400;
const NODE: u64 = CACHE + 0x800;
const SYSFS: u64 = CACHE + 0xc00;
const DEPOT: u64 = DIRECT + 0x38_0000;
pub(crate) const USB: u64 = DIRECT + 0x40_0000;
pub(crate) const RANDOM: u64 = 0x1357_9bdf_0246_8ace;
/// Where a free object of the ordinary cache keeps its link.
pub(crate) const OFFSET: u64 = 32;
/// Page frames of the slabs.
pub(crate) const ACTIVE: u64 = 0x500;
pub(crate) const CPU_PARTIAL: u64 = 0x501;
pub(crate) const NODE_PARTIAL: u64 = 0x502;
/// Two pages, on no list.
pub(crate) const FULL: u64 = 0x504;
/// A page that is no slab.
pub(crate) const OTHER: u64 = 0x508;
pub(crate) const DEBUG_SLAB: u64 = 0x510;
/// Bytes of an object of the debugged cache, with all that is around it.
pub(crate) const DEBUG_SIZE: u64 = 256;
const PG_SLAB: u64 = 1 << 9;
const PG_HEAD: u64 = 1 << 16;

/// How links are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Plain,
    Hardened,
    Swapped,
}

pub(crate) struct SlabWorld {
    pub(crate) machine: Machine,
    pub(crate) coding: Coding,
}

const VARIABLES: [&str; 12] = [
    "nr_cpu_ids",
    "__per_cpu_offset",
    "slab_caches",
    "usb_bus_idr",
    "vmemmap_base",
    "page_offset_base",
    "max_pfn",
    "modules",
    "slab_kset",
    "stack_slabs",
    "__cpu_possible_mask",
    "usb_device_type",
];

pub(crate) fn variable(name: &str) -> u64 {
    let index = VARIABLES.iter().position(|known| *known == name).unwrap();
    DATA + index as u64 * 0x100
}

/// An object of an ordinary slab.
pub(crate) fn object(pfn: u64, index: u64) -> u64 {
    DIRECT + (pfn << 12) + index * 64
}

pub(crate) fn descriptor(pfn: u64) -> u64 {
    VMEMMAP + pfn * 64
}

impl SlabWorld {
    pub(crate) fn new(coding: Coding) -> Self {
        let mut world = Self {
            machine: Machine::new(0x10_0000, false),
            coding,
        };
        world.machine.write(TEXT, &[0x90; 0x1000]);
        world.machine.write(DATA, &[0; 0x1000]);
        for (name, value) in [
            ("nr_cpu_ids", 2),
            ("__cpu_possible_mask", 3),
            ("vmemmap_base", VMEMMAP),
            ("page_offset_base", DIRECT),
            ("max_pfn", 0x600),
            ("modules", variable("modules")),
        ] {
            world.words(variable(name), &[value]);
        }
        world.words(variable("__per_cpu_offset"), &[PERCPU, PERCPU + 0x1000]);
        world.machine.write(PERCPU, &[0; 0x2000]);
        world.machine.write(VMEMMAP + 0x500 * 64, &[0; 0x1000]);
        for pfn in 0x500..0x512 {
            world.machine.write(DIRECT + (pfn << 12), &[0; 0x1000]);
        }
        world.machine.write(CACHE, &[0; 0x2000]);
        world.caches();
        world.slabs();
        world.debugged();
        world.sysfs();
        world.usb();
        world
    }

    pub(crate) fn words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.machine.write(at, &bytes);
    }

    /// The word by which the object at `carrier` leads to `to`.
    pub(crate) fn coded(&self, carrier: u64, to: u64) -> u64 {
        let at = carrier + OFFSET;
        match self.coding {
            Coding::Plain => to,
            Coding::Hardened => to ^ RANDOM ^ at,
            Coding::Swapped => to ^ RANDOM ^ at.swap_bytes(),
        }
    }

    pub(crate) fn link(&mut self, carrier: u64, to: u64) {
        let word = self.coded(carrier, to);
        self.words(carrier + OFFSET, &[word]);
    }

    /// Links objects of a slab in this order, the last to NULL.
    fn chain(&mut self, pfn: u64, indexes: &[u64]) {
        for pair in indexes.windows(2) {
            self.link(object(pfn, pair[0]), object(pfn, pair[1]));
        }
        self.link(object(pfn, *indexes.last().unwrap()), 0);
    }

    fn caches(&mut self) {
        let head = variable("slab_caches");
        let (first, second) = (CACHE + 0x40, DEBUGGED + 0x40);
        self.words(head, &[first, second]);
        // cpu_slab, flags, size and object_size, offset and inuse, random, red_left_pad and refcount, name, oo.
        let oo = 64;
        self.words(
            CACHE,
            &[
                0x100,
                0x1000,
                64 | 64 << 32,
                OFFSET | 64 << 32,
                RANDOM,
                3 << 32,
                CACHE + 0x200,
                oo,
            ],
        );
        self.words(first, &[second, head]);
        self.words(CACHE + 0x80, &[NODE]);
        self.machine.write(CACHE + 0x200, b"kmalloc-64\0");
        let flags = 0x400 | 0x800 | 0x1_0000 | 0x8000_0000;
        self.words(
            DEBUGGED,
            &[
                0x140,
                flags,
                DEBUG_SIZE | 56 << 32,
                64 | 64 << 32,
                0,
                64 | 1 << 32,
                DEBUGGED + 0x200,
                16,
            ],
        );
        self.words(second, &[head, first]);
        self.machine.write(DEBUGGED + 0x200, b"debugged\0");
        let node = NODE + 0x100;
        self.words(DEBUGGED + 0x80, &[node]);
        // nr_partial, partial, nr_slabs, total_objects, full.
        self.words(NODE, &[1, 0, 0, 4, 64 * 3 + 128, NODE + 0x28, NODE + 0x28]);
        self.words(node, &[1, 0, 0, 1, 16, node + 0x28, node + 0x28]);
        self.list(NODE + 8, descriptor(NODE_PARTIAL) + 8);
        self.list(node + 8, descriptor(DEBUG_SLAB) + 8);
    }

    fn list(&mut self, head: u64, entry: u64) {
        self.words(head, &[entry, entry]);
        self.words(entry, &[head, head]);
    }

    /// flags, slab_list or next, slab_cache, freelist, counters.
    fn slab(&mut self, pfn: u64, cache: u64, freelist: u64, inuse: u64, objects: u64) {
        let at = descriptor(pfn);
        self.words(at, &[PG_SLAB]);
        self.words(at + 24, &[cache, freelist, inuse | objects << 16]);
    }

    fn slabs(&mut self) {
        // CPU 0 allocates from ACTIVE and holds CPU_PARTIAL; objects 9 and 10 were freed elsewhere.
        let own = |pfn, index| object(pfn, index);
        self.words(
            PERCPU + 0x100,
            &[
                own(ACTIVE, 1),
                4711,
                descriptor(ACTIVE),
                descriptor(CPU_PARTIAL),
            ],
        );
        self.slab(ACTIVE, CACHE, own(ACTIVE, 9), 62, 64);
        self.chain(ACTIVE, &[1, 2, 3]);
        self.chain(ACTIVE, &[9, 10]);
        self.slab(CPU_PARTIAL, CACHE, own(CPU_PARTIAL, 0), 62, 64);
        self.chain(CPU_PARTIAL, &[0, 5]);
        self.slab(NODE_PARTIAL, CACHE, own(NODE_PARTIAL, 7), 61, 64);
        self.chain(NODE_PARTIAL, &[7, 8, 63]);
        self.slab(FULL, CACHE, 0, 128, 128);
        self.words(descriptor(FULL), &[PG_SLAB | PG_HEAD]);
        self.words(descriptor(FULL + 1) + 8, &[descriptor(FULL) | 1]);
    }

    /// Object 2 is free and poisoned, the others are allocated.
    fn debugged(&mut self) {
        let start = DIRECT + (DEBUG_SLAB << 12);
        for index in 0..16u64 {
            let (red, body) = if index == 2 {
                (0xbb, 0x6b)
            } else {
                (0xcc, index as u8)
            };
            let at = start + index * DEBUG_SIZE;
            let mut bytes = vec![red; 64];
            bytes.extend([body; 56]);
            if index == 2 {
                *bytes.last_mut().unwrap() = 0xa5;
            }
            bytes.extend([red; 8]);
            // Freelist pointer, two tracks, padding.
            bytes.extend([0; 8 + 64]);
            bytes.resize(DEBUG_SIZE as usize, 0x5a);
            self.machine.write(at, &bytes);
            // addr, handle and cpu, pid, when.
            let track = at + 64 + 72;
            self.words(
                track,
                &[TEXT + 0x110, 0x10_0002 | 1 << 32, 41, 1000 + index],
            );
        }
        let free = start + 2 * DEBUG_SIZE + 64;
        // The debugged cache's secret is 0.
        let at = free + 64;
        let word = match self.coding {
            Coding::Plain => 0,
            Coding::Hardened => at,
            Coding::Swapped => at.swap_bytes(),
        };
        self.words(at, &[word]);
        self.slab(DEBUG_SLAB, DEBUGGED, free, 15, 16);
        // Pool 2 of the depot, record at offset 16 * 16: next, hash and size, handle, entries.
        self.machine.write(DEPOT, &[0; 0x1000]);
        self.words(variable("stack_slabs") + 16, &[DEPOT]);
        self.words(
            DEPOT + 256,
            &[0, 2 << 32, 0x10_0002, TEXT + 0x110, TEXT + 0x10],
        );
    }

    /// With debugging on for all caches no CPU keeps a list: free objects are on lists of the node's slabs alone.
    pub(crate) fn without_cpu_lists(&mut self) {
        self.words(PERCPU + 0x100, &[0, 4711, 0, 0]);
    }

    /// Makes the debugged cache one of kmalloc's: 40 of 56 bytes were asked for, the others of allocated objects are
    /// red. `requested` is the size as it lies in memory.
    pub(crate) fn debugged_kmalloc(&mut self, requested: &[u8]) {
        let flags = 0x400 | 0x800 | 0x1000 | 0x1_0000 | 0x8000_0000;
        self.words(DEBUGGED + 8, &[flags]);
        let start = DIRECT + (DEBUG_SLAB << 12) + 64;
        for index in 0..16 {
            let at = start + index * DEBUG_SIZE;
            if index != 2 {
                self.machine.write(at + 40, &[0xcc; 16]);
            }
            self.machine.write(at + 136, requested);
        }
    }

    /// The directory `slab`: a link `skbuff_small` to the first cache, its own entry beside.
    fn sysfs(&mut self) {
        self.machine.write(SYSFS, &[0; 0x400]);
        let [kset, directory, link, target, name] =
            std::array::from_fn(|index| SYSFS + index as u64 * 0x80);
        self.words(variable("slab_kset"), &[kset]);
        self.words(kset, &[directory]);
        // name, rb (parent, right, left), children or target, flags, priv.
        self.words(directory, &[0, 0, 0, 0, link + 8]);
        self.words(link, &[name, 0, target + 8, 0, target, 4]);
        self.words(target, &[name + 32, 0, 0, 0, 0, 1, CACHE + 0x90]);
        self.machine.write(name, b"skbuff_small\0");
        self.machine.write(name + 32, b":0000064\0");
    }

    /// One bus, one device with a request at endpoint 0 and one that the controller gave back; the first is usbfs's.
    fn usb(&mut self) {
        self.machine.write(USB, &[0; 0x4000]);
        let [node, bus, hub, urb, given, setup, file, request, pid, cred] =
            std::array::from_fn(|index| USB + index as u64 * 0x400);
        self.words(variable("usb_bus_idr"), &[node | 2]);
        self.words(node + 8, &[bus]);
        // busnum, root_hub, and the controller's queue.
        self.words(bus, &[1, hub]);
        // bus, devpath, then ep0's list, ep_in, ep_out, filelist, and the rest.
        self.words(hub, &[bus, 0x30]);
        self.list(hub + 0x40, urb + 8);
        self.words(hub + 0x80, &[hub + 0x40]);
        self.words(hub + 0x100, &[hub + 0x40]);
        self.list(hub + 0x180, file);
        self.machine
            .write(hub + 0x190, &[18, 1, 0, 2, 9, 0, 1, 64, 0x6b, 0x1d, 2, 0]);
        self.list(bus + 0x20, given + 8);
        for (at, status, complete) in [(urb, -115i64, TEXT + 0x100), (given, 0, TEXT)] {
            let pipe = 2u64 << 30 | 1 << 8 | 0x80;
            self.words(at, &[0]);
            self.words(
                at + 24,
                &[
                    hub,
                    pipe | (status.cast_unsigned() << 32),
                    0x200,
                    DIRECT + 0x1234,
                    0,
                    254,
                    0,
                ],
            );
            self.words(at + 80, &[setup, complete, request, 0, 0]);
        }
        self.machine.write(setup, &[0x80, 6, 2, 3, 9, 4, 0xfe, 0]);
        self.child(bus, hub);
        self.list(file + 16, request);
        self.words(file + 32, &[file + 32, file + 32]);
        self.words(
            request + 16,
            &[pid, cred, urb, 0x7ffc_0000_1000, 0x7ffc_0000_2000, 550],
        );
        self.words(pid, &[87]);
        self.words(cred, &[1000]);
    }

    /// The device plugged into the hub, which only the driver core knows: no type of the hub driver's is there. The
    /// hub's interface is a child too.
    fn child(&mut self, bus: u64, hub: u64) {
        let [hubs, own, child, interfaces, interface] =
            std::array::from_fn(|index| USB + (10 + index as u64) * 0x400);
        let device_type = variable("usb_device_type");
        self.words(hub + 0x28, &[1]);
        self.words(hub + 0x1b0, &[hubs, device_type]);
        self.words(hubs, &[interfaces + 24, own + 24]);
        self.words(interfaces + 24, &[own + 24, hubs]);
        self.words(interfaces + 40, &[interface]);
        self.words(own + 24, &[hubs, interfaces + 24]);
        self.words(own + 40, &[child + 0x1b0]);
        self.words(child, &[bus, 0x31]);
        self.words(child + 0x1b0, &[own, device_type]);
        for list in [child + 0x40, child + 0x180, own] {
            self.words(list, &[list, list]);
        }
    }

    /// The dump's bytes.
    pub(crate) fn file(mut self) -> Vec<u8> {
        let btf = btf(self.coding);
        let mut symbols = vec![
            (TEXT, 'T', "_stext"),
            (TEXT, 'T', "hub_irq"),
            (TEXT + 0x100, 'T', "async_completed"),
            (TEXT + 0x200, 'T', "skip_orig_size_check"),
            (TEXT + 0x1000, 'T', "_etext"),
        ];
        symbols.extend(VARIABLES.iter().map(|name| (variable(name), 'D', *name)));
        symbols.extend([
            (TABLES, 'R', "__start_BTF"),
            (TABLES + btf.len() as u64, 'R', "__stop_BTF"),
        ]);
        self.machine.write(TABLES, &btf);
        let tables = tables(&symbols, AddressFormat::AbsolutePerCpu, TEXT);
        let mut info = format!(
            "OSRELEASE=6.1.0-synth\nPAGESIZE=4096\nKERNELOFFSET=0\nNUMBER(phys_base)=0\n\
             SYMBOL(init_top_pgt)={:x}\nNUMBER(pgtable_l5_enabled)=0\n",
            0xffff_ffff_8000_0000 + self.machine.root()
        );
        let count = (tables.num_syms as u32).to_le_bytes();
        let mut next = TABLES + 0x10_000;
        for (name, bytes) in [
            ("kallsyms_offsets", &tables.addresses[..]),
            ("kallsyms_relative_base", &TEXT.to_le_bytes()[..]),
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

/// A structure: name, size, and its members as offset, name, type.
type Structure = (
    &'static str,
    u32,
    &'static [(u32, &'static str, &'static str)],
);

const STRUCTURES: [Structure; 37] = [
    ("list_head", 16, &[(0, "next", "ptr"), (8, "prev", "ptr")]),
    (
        "module",
        64,
        &[(0, "list", "list_head"), (16, "name", "char16")],
    ),
    ("kmem_cache_order_objects", 4, &[(0, "x", "u32")]),
    ("kobject", 16, &[(0, "sd", "ptr")]),
    (
        "kmem_cache_plain",
        0x100,
        &[
            (0, "cpu_slab", "ptr"),
            (8, "flags", "u32"),
            (16, "size", "u32"),
            (20, "object_size", "u32"),
            (24, "offset", "u32"),
            (28, "inuse", "u32"),
            (40, "red_left_pad", "u32"),
            (44, "refcount", "u32"),
            (48, "name", "ptr"),
            (56, "oo", "kmem_cache_order_objects"),
            (0x40, "list", "list_head"),
            (0x80, "node", "ptr2"),
            (0x90, "kobj", "kobject"),
        ],
    ),
    (
        "kmem_cache_cpu",
        32,
        &[
            (0, "freelist", "ptr"),
            (8, "tid", "u64"),
            (16, "slab", "ptr"),
            (24, "partial", "ptr"),
        ],
    ),
    (
        "kmem_cache_node",
        0x40,
        &[
            (0, "nr_partial", "u64"),
            (8, "partial", "list_head"),
            (24, "nr_slabs", "u64"),
            (32, "total_objects", "u64"),
            (40, "full", "list_head"),
        ],
    ),
    (
        "page",
        64,
        &[(0, "flags", "u64"), (8, "compound_head", "u64")],
    ),
    (
        "track",
        32,
        &[
            (0, "addr", "u64"),
            (8, "handle", "u32"),
            (12, "cpu", "u32"),
            (16, "pid", "u32"),
            (24, "when", "u64"),
        ],
    ),
    (
        "stack_record",
        24,
        &[
            (8, "hash", "u32"),
            (12, "size", "u32"),
            (16, "handle", "u32"),
            (24, "entries", "ptr2"),
        ],
    ),
    (
        "rb_node",
        24,
        &[
            (0, "__rb_parent_color", "u64"),
            (8, "rb_right", "ptr"),
            (16, "rb_left", "ptr"),
        ],
    ),
    ("rb_root", 8, &[(0, "rb_node", "ptr")]),
    ("kset", 16, &[(0, "kobj", "kobject")]),
    ("kernfs_elem_dir", 8, &[(0, "children", "rb_root")]),
    ("kernfs_elem_symlink", 8, &[(0, "target_kn", "ptr")]),
    (
        "kernfs_node",
        64,
        &[
            (0, "name", "ptr"),
            (8, "rb", "rb_node"),
            (32, "dir", "kernfs_elem_dir"),
            (32, "symlink", "kernfs_elem_symlink"),
            (40, "flags", "u16"),
            (48, "priv", "ptr"),
        ],
    ),
    ("xarray", 8, &[(0, "xa_head", "ptr")]),
    ("idr", 8, &[(0, "idr_rt", "xarray")]),
    ("xa_node", 512, &[(0, "slots", "ptr64")]),
    (
        "usb_bus",
        16,
        &[(0, "busnum", "u32"), (8, "root_hub", "ptr")],
    ),
    ("giveback_urb_bh", 16, &[(0, "head", "list_head")]),
    (
        "usb_hcd",
        64,
        &[
            (0, "self", "usb_bus"),
            (0x20, "high_prio_bh", "giveback_urb_bh"),
        ],
    ),
    ("usb_host_endpoint", 16, &[(0, "urb_list", "list_head")]),
    ("device", 16, &[(0, "p", "ptr"), (8, "type", "ptr")]),
    ("klist", 16, &[(0, "k_list", "list_head")]),
    ("klist_node", 24, &[(8, "n_node", "list_head")]),
    (
        "device_private",
        48,
        &[
            (0, "klist_children", "klist"),
            (16, "knode_parent", "klist_node"),
            (40, "device", "ptr"),
        ],
    ),
    (
        "usb_device_descriptor",
        18,
        &[
            (8, "idVendor", "u16"),
            (10, "idProduct", "u16"),
            (17, "bNumConfigurations", "u8"),
        ],
    ),
    (
        "usb_device",
        0x200,
        &[
            (0, "bus", "ptr"),
            (8, "devpath", "char16"),
            (0x20, "actconfig", "ptr"),
            (0x28, "maxchild", "u32"),
            (0x40, "ep0", "usb_host_endpoint"),
            (0x80, "ep_in", "ptr16"),
            (0x100, "ep_out", "ptr16"),
            (0x180, "filelist", "list_head"),
            (0x190, "descriptor", "usb_device_descriptor"),
            (0x1b0, "dev", "device"),
        ],
    ),
    ("refcount", 4, &[(0, "counter", "u32")]),
    (
        "urb",
        0x80,
        &[
            (0, "unlinked", "u32"),
            (4, "reject", "refcount"),
            (8, "urb_list", "list_head"),
            (24, "dev", "ptr"),
            (32, "pipe", "u32"),
            (36, "status", "u32"),
            (40, "transfer_flags", "u32"),
            (48, "transfer_buffer", "ptr"),
            (56, "transfer_dma", "u64"),
            (64, "transfer_buffer_length", "u32"),
            (68, "actual_length", "u32"),
            (72, "num_sgs", "u32"),
            (76, "number_of_packets", "u32"),
            (80, "setup_packet", "ptr"),
            (88, "complete", "ptr"),
            (96, "context", "ptr"),
            (104, "anchor", "ptr"),
        ],
    ),
    (
        "usb_dev_state",
        0x40,
        &[
            (0, "list", "list_head"),
            (16, "async_pending", "list_head"),
            (32, "async_completed", "list_head"),
        ],
    ),
    (
        "async",
        0x48,
        &[
            (0, "asynclist", "list_head"),
            (16, "pid", "ptr"),
            (24, "cred", "ptr"),
            (32, "urb", "ptr"),
            (40, "userurb", "ptr"),
            (48, "userbuffer", "ptr"),
            (56, "mem_usage", "u32"),
            (60, "status", "u32"),
        ],
    ),
    ("upid", 16, &[(0, "nr", "u32")]),
    ("pid", 16, &[(0, "numbers", "upid1")]),
    ("kuid_t", 4, &[(0, "val", "u32")]),
    ("cred", 8, &[(0, "uid", "kuid_t")]),
];

fn btf(coding: Coding) -> Vec<u8> {
    let mut types = BtfWriter::new();
    let mut known: HashMap<&str, u32> = HashMap::new();
    for (name, size) in [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)] {
        known.insert(name, types.int(name, size, false));
    }
    let pointer = types.pointer(0);
    known.insert("ptr", pointer);
    known.insert("ptr2", types.array(pointer, 2));
    known.insert("ptr16", types.array(pointer, 16));
    known.insert("ptr64", types.array(pointer, 64));
    let char16 = types.array(known["u8"], 16);
    known.insert("char16", char16);
    for (name, size, members) in STRUCTURES {
        let mut all: Vec<MemberSpec<'_>> = members
            .iter()
            .map(|(at, name, of)| MemberSpec::at(*at, name, known[of]))
            .collect();
        let name = if name == "kmem_cache_plain" {
            "kmem_cache"
        } else {
            name
        };
        if name == "kmem_cache" && coding != Coding::Plain {
            all.push(MemberSpec::at(32, "random", known["u64"]));
        }
        let id = types.structure(name, size, &all);
        known.insert(name, id);
        if name == "upid" {
            known.insert("upid1", types.array(id, 1));
        }
    }
    let (list, u32_, u64_) = (known["list_head"], known["u32"], known["u64"]);
    let sized = |bit, name, of, bits| MemberSpec {
        name,
        type_id: of,
        bit_offset: bit,
        bit_size: bits,
    };
    types.structure(
        "slab",
        64,
        &[
            sized(0, "__page_flags", u64_, 0),
            sized(64, "slab_list", list, 0),
            sized(64, "next", pointer, 0),
            sized(192, "slab_cache", pointer, 0),
            sized(256, "freelist", pointer, 0),
            sized(320, "inuse", u32_, 16),
            sized(336, "objects", u32_, 15),
            sized(351, "frozen", u32_, 1),
        ],
    );
    types.union(
        "handle_parts",
        4,
        &[
            sized(0, "slabindex", u32_, 16),
            sized(16, "offset", u32_, 10),
            sized(26, "valid", u32_, 1),
            sized(27, "extra", u32_, 5),
        ],
    );
    types.enumeration("pageflags", &[("PG_slab", 9), ("PG_head", 16)]);
    types.enumeration("kernfs_node_type", &[("KERNFS_DIR", 1), ("KERNFS_LINK", 4)]);
    types.finish()
}
