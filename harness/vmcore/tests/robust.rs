//! Cut and damaged dumps of every format: each prefix, and ten thousand corruptions. Every answer
//! is typed, no read takes more memory than the file is long by a small factor, and none takes
//! more than seconds of processor time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use recrash_synth::elf_core::{ElfCore, Segment, note, prstatus, qemu_cpu};
use recrash_synth::kdump::{Dump, Packing, Page, flatten};
use recrash_synth::paging::Machine;
use recrash_vmcore::{AddressSpace, PhysAddr, PhysMem, ReadError, VirtAddr, VirtMem, Vmcore};

/// Remembers the largest single request, and the most memory in use.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe in itself")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No file of these tests is longer than a megabyte; nothing may ask for more than this at once.
const MOST_AT_ONCE: usize = 4 << 20;
/// Nor hold more than this. (Tests run beside each other.)
const MOST_HELD: usize = 128 << 20;
/// Nor compute longer than this, whatever else the machine does.
const MOST_TIME: Duration = Duration::from_secs(5);

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Opens the bytes and reads what a tool reads; gives how many reads went well.
fn exercise(file: Vec<u8>) -> usize {
    let begun = thread_time();
    let read = Vmcore::from_bytes("damaged", file).map_or(0, |vmcore| read_all_over(&vmcore));
    let spent = thread_time() - begun;
    assert!(spent < MOST_TIME, "{spent:?}");
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= MOST_AT_ONCE, "{largest} bytes in one request");
    let peak = PEAK.load(Ordering::Relaxed);
    assert!(peak <= MOST_HELD, "{peak} bytes held");
    read
}

fn read_all_over(vmcore: &Vmcore) -> usize {
    let mut page = [0; 4096];
    let mut good = 0;
    let mut count = |result: Result<(), ReadError>| {
        // What an error says must be printable too.
        good += usize::from(result.map_err(|error| error.to_string()).is_ok());
    };
    for pfn in (0..24).chain([1 << 20, u64::MAX >> 12]) {
        count(vmcore.read(PhysAddr(pfn << 12), &mut page));
    }
    let mut at = PhysAddr(0);
    for _ in 0..50 {
        let Some(stretch) = vmcore.next_present(at) else {
            break;
        };
        assert!(stretch.start >= at.0 && stretch.start < stretch.end);
        count(vmcore.read(PhysAddr(stretch.start), &mut page));
        at = PhysAddr(stretch.end);
    }
    if let Some(space) = (vmcore.vmcoreinfo()).and_then(|i| AddressSpace::kernel(vmcore, i).ok()) {
        count(space.read(VirtAddr(0xffff_ffff_8100_0ffc), &mut page[..8]));
    }
    let _ = (
        vmcore.format().to_string(),
        vmcore.warnings(),
        vmcore.cpu_states(),
    );
    good
}

fn elf() -> Vec<u8> {
    let mut machine = Machine::new(0x2000, false);
    machine.write(0xffff_ffff_8100_0ffc, b"across a page");
    let mut segments = machine.segments();
    segments.push(Segment {
        paddr: 0x9000,
        data: vec![1; 64],
        left_out: 4096,
        ..Segment::default()
    });
    let notes = [
        note("CORE", 1, &prstatus(1, &[2; 27])),
        note("QEMU", 0, &qemu_cpu(&[1; 18], 2, [0x2000; 5], 3)),
        note(
            "VMCOREINFO",
            0,
            b"OSRELEASE=6\nNUMBER(phys_base)=0\nSYMBOL(swapper_pg_dir)=ffffffff80002000\n",
        ),
    ];
    ElfCore {
        segments,
        notes: notes.concat(),
        count_in_section: true,
    }
    .build()
}

/// As [`elf`], with VMCOREINFO in memory only.
fn elf_without_note() -> Vec<u8> {
    let mut machine = Machine::new(0x2000, false);
    machine.write(0xffff_ffff_8100_0ffc, b"across a page");
    let info =
        b"OSRELEASE=6\nPAGESIZE=4096\nNUMBER(phys_base)=0\nSYMBOL(_stext)=ffffffff81000000\n\
        SYMBOL(swapper_pg_dir)=ffffffff80002000\n";
    machine.write_phys(0xa000, info);
    machine.write_phys(0xb000, &note("VMCOREINFO", 0, info));
    ElfCore {
        segments: machine.segments(),
        ..ElfCore::default()
    }
    .build()
}

fn kdump(packing: Packing, version: u32) -> Vec<u8> {
    let mut dump = Dump::new(packing);
    dump.version = version;
    dump.pages.extend((1..14).map(|pfn: u64| match pfn % 4 {
        0 => (pfn, Page::Excluded),
        1 => (pfn, Page::Data(vec![0; 4096])),
        n => (
            pfn,
            Page::Data((0..4096_u64).map(|i| (i / (n * 3)) as u8).collect()),
        ),
    }));
    if packing != Packing::Zlib {
        dump.vmcoreinfo = "OSRELEASE=6\nNUMBER(phys_base)=0\n".to_owned();
    }
    dump.notes = note("CORE", 1, &prstatus(1, &[2; 27]));
    dump.build()
}

/// One dump of each format.
fn dumps() -> Vec<(String, Vec<u8>)> {
    let packings = [
        Packing::Raw,
        Packing::Zlib,
        Packing::Lzo,
        Packing::Snappy,
        Packing::Zstd,
    ];
    let mut all = vec![
        ("elf".to_owned(), elf()),
        ("elf without note".to_owned(), elf_without_note()),
        ("flattened elf".to_owned(), flatten(&elf(), 1000)),
    ];
    for packing in packings {
        all.push((format!("{packing:?}"), kdump(packing, 6)));
        all.push((
            format!("flattened {packing:?}"),
            flatten(&kdump(packing, 6), 3000),
        ));
    }
    all.extend((1..6).map(|version| (format!("v{version}"), kdump(Packing::Lzo, version))));
    all
}

#[test]
fn every_prefix_of_every_dump_gives_typed_answers() {
    for (number, (name, whole)) in dumps().into_iter().enumerate() {
        // Of the first, every one; of those that differ little from them, less.
        let step = if number < 5 { 1 } else { 17 };
        let all = exercise(whole.clone());
        assert!(all > 0, "{name}: nothing can be read of the whole file");
        let mut best = 0;
        for end in (0..whole.len()).step_by(step) {
            let read = exercise(whole[..end].to_vec());
            assert!(read <= all, "{name} cut at {end}: {read} of {all} reads");
            best = best.max(read);
        }
        assert!(best > 0, "{name}: a cut file keeps nothing");
    }
}

#[test]
fn ten_thousand_corruptions_give_typed_answers() {
    let dumps = dumps();
    let mut random = Random(1);
    let mut opened = 0;
    for round in 0..10_000 {
        let (_, whole) = &dumps[round % dumps.len()];
        let mut file = whole.clone();
        for _ in 0..1 + random.below(4) {
            damage(&mut file, &mut random);
        }
        opened += usize::from(exercise(file) > 0);
    }
    // Most damage leaves something to be read.
    assert!(opened > 5000, "{opened} of 10000 had anything to read");
}

/// Overwrites a place, more often than not in a header, with what lengths and offsets like least;
/// or moves or cuts a piece.
fn damage(file: &mut Vec<u8>, random: &mut Random) {
    const EXTREMES: [u64; 8] = [
        0,
        1,
        4095,
        1 << 32,
        1 << 40,
        i64::MAX as u64,
        u64::MAX - 4095,
        u64::MAX,
    ];
    let len = file.len();
    let at = match random.below(4) {
        0 => random.below(len.min(512)),
        1 => random.below(len.min(8400)),
        _ => random.below(len),
    };
    match random.below(8) {
        0 => file[at] ^= 1 << random.below(8),
        1 => file[at] = random.next() as u8,
        2 => file.truncate(at.max(1)),
        3 => {
            let to = random.below(len);
            let size = random.below(64).min(len - at.max(to));
            file.copy_within(at..at + size, to);
        }
        choice => {
            let value = match choice {
                4 => random.next(),
                5 => random.below(1 << 20) as u64,
                _ => EXTREMES[random.below(EXTREMES.len())],
            };
            let size = [1, 2, 4, 8][random.below(4)].min(len - at);
            let aligned = at & !(size.next_power_of_two() - 1);
            file[aligned..aligned + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
    }
}

/// The same numbers each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

#[test]
fn a_claim_of_endless_memory_costs_nothing() {
    // A bitmap for 2^40 page frames in a file of some kilobytes, in a stream whose holes read as
    // zero.
    let mut file = kdump(Packing::Raw, 6);
    file[4096 + 96..4096 + 104].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    file[436..440].copy_from_slice(&(1_u32 << 24).to_le_bytes());
    for file in [file.clone(), flatten(&file, 2000)] {
        exercise(file);
    }
    // Segments that all are the whole file, over and over.
    let mut core = ElfCore::default();
    for number in 0..4000 {
        core.segments.push(Segment {
            paddr: number << 40,
            data: vec![0; 16],
            ..Segment::default()
        });
    }
    let mut file = core.build();
    let len = file.len() as u64;
    for header in 1..=4000 {
        let at = 64 + 56 * header;
        file[at + 8..at + 16].copy_from_slice(&0_u64.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&len.to_le_bytes());
        file[at + 40..at + 48].copy_from_slice(&len.to_le_bytes());
    }
    exercise(file);
}

#[test]
fn the_largest_request_is_seen() {
    let before = vec![0_u8; 3 << 20];
    assert!(LARGEST.load(Ordering::Relaxed) >= before.len());
    assert!(PEAK.load(Ordering::Relaxed) >= before.len());
    Vmcore::from_bytes("whole", elf()).unwrap();
}
