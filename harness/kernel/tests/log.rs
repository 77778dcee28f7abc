//! The kernel's log in both of its formats, read out of a dump that was written here.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its own dump is wrong"
)]
#[expect(dead_code, reason = "a log needs no stacks")]
mod stack_world;

use proptest::prelude::*;
use recrash_kernel::printk::{self, Log};
use recrash_kernel::{Kernel, Missing};
use recrash_vmcore::Vmcore;
use stack_world::{World, variable};

const RING: u64 = 0xffff_8880_0040_0000;
const DESCS: u64 = RING + 0x1000;
const INFOS: u64 = RING + 0x2000;
const DATA: u64 = RING + 0x4000;
const ID_MASK: u64 = (1 << 62) - 1;

/// As VMCOREINFO of 5.10 and later has them.
const RING_LAYOUT: &str = "\
OFFSET(printk_ringbuffer.desc_ring)=0\nOFFSET(printk_ringbuffer.text_data_ring)=48\n\
OFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)=8\nOFFSET(prb_desc_ring.infos)=16\n\
OFFSET(prb_desc_ring.head_id)=24\nOFFSET(prb_desc_ring.tail_id)=32\n\
SIZE(prb_desc)=24\nOFFSET(prb_desc.state_var)=0\nOFFSET(prb_desc.text_blk_lpos)=8\n\
OFFSET(prb_data_blk_lpos.begin)=0\nOFFSET(prb_data_blk_lpos.next)=8\n\
SIZE(printk_info)=88\nOFFSET(printk_info.seq)=0\nOFFSET(printk_info.ts_nsec)=8\n\
OFFSET(printk_info.text_len)=16\nOFFSET(printk_info.caller_id)=20\nOFFSET(printk_info.dev_info)=24\n\
SIZE(dev_printk_info)=64\nOFFSET(dev_printk_info.subsystem)=0\nOFFSET(dev_printk_info.device)=16\n\
OFFSET(prb_data_ring.size_bits)=0\nOFFSET(prb_data_ring.data)=8\n";

fn check(world: World, look: impl FnOnce(Result<Log, Missing>)) {
    let dump = world.dump();
    let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    look(printk::records(&kernel));
}

/// A ring of 8 descriptors and 256 bytes of text, whose ids run over their end between the second record and the
/// third.
struct Ring {
    world: World,
    next: u64,
    id: u64,
}

impl Ring {
    fn new() -> Self {
        let mut world = World::new();
        world.info = RING_LAYOUT.into();
        world.machine.write(RING, &[0; 0x5000]);
        let id = ID_MASK - 1;
        world.words(variable("prb"), &[RING]);
        world.words(RING, &[3, DESCS, INFOS, id, id]);
        world.words(RING + 48, &[8, DATA]);
        Self {
            world,
            next: 5 * 256 + 160,
            id,
        }
    }

    /// A record in a state (1 committed, 2 finalized), its text in a block that does not run over the ring's end.
    fn record(&mut self, state: u64, text: &str) {
        let size = (8 + text.len() as u64).next_multiple_of(8);
        let mut begin = self.next;
        let (mut at, room) = (begin % 256, 256 - begin % 256);
        let next = if size > room {
            at = 0;
            begin + room + size
        } else {
            begin + size
        };
        if text.is_empty() {
            // EMPTY_LINE_LPOS
            (begin, self.next) = (3, self.next);
            self.descriptor(state, begin, 3, text);
        } else {
            self.world.words(DATA + at, &[self.id]);
            self.world.machine.write(DATA + at + 8, text.as_bytes());
            self.descriptor(state, begin, next, text);
            self.next = next;
        }
        self.world.words(RING + 24, &[self.id]);
        self.id = (self.id + 1) & ID_MASK;
    }

    fn descriptor(&mut self, state: u64, begin: u64, next: u64, text: &str) {
        let slot = self.id % 8;
        self.world
            .words(DESCS + slot * 24, &[state << 62 | self.id, begin, next]);
        let info = INFOS + slot * 88;
        let time = 1_500_000_000 + self.id % 8 * 1000;
        self.world.words(info, &[self.id % 8, time]);
        let mut bytes = (text.len() as u16).to_le_bytes().to_vec();
        bytes.extend([0, 6 << 5 | 3]);
        bytes.extend(0x8000_0001_u32.to_le_bytes());
        self.world.machine.write(info + 16, &bytes);
        self.world.machine.write(info + 24, b"usb");
        self.world.machine.write(info + 40, b"+usb:1-1");
    }
}

#[test]
fn records_are_read_around_the_ends_of_both_rings() {
    let mut ring = Ring::new();
    let long = "a text of some length that takes seventy-two bytes";
    for text in ["first", long, "third", "two\nlines"] {
        ring.record(2, text);
    }
    check(ring.world, |log| {
        let log = log.unwrap();
        assert!(log.gaps.is_empty(), "{:?}", log.gaps);
        let expected = format!(
            "[    1.500006] first\n[    1.500007] {long}\n[    1.500000] third\n[    1.500001] two\n{:15}lines\n",
            ""
        );
        assert_eq!(log.dmesg(), expected);
        let first = &log.records[0];
        assert_eq!(
            (first.level, first.facility, first.caller.as_deref()),
            (6, 0, Some("C1"))
        );
        let dict: Vec<_> = first
            .dict
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(dict, ["SUBSYSTEM=usb", "DEVICE=+usb:1-1"]);
    });
}

#[test]
fn a_record_that_was_being_written_is_left_out_and_an_empty_line_has_no_text() {
    let mut ring = Ring::new();
    ring.record(2, "done");
    ring.record(0, "half");
    ring.record(1, "");
    ring.record(1, "committed");
    check(ring.world, |log| {
        let log = log.unwrap();
        assert_eq!(
            log.dmesg(),
            "[    1.500006] done\n[    1.500001] committed\n"
        );
        assert_eq!(log.records.len(), 3);
        assert!(log.records[1].data_less);
    });
}

#[test]
fn text_that_another_record_has_overwritten_is_a_gap() {
    let mut ring = Ring::new();
    ring.record(2, "gone");
    ring.record(2, "here");
    ring.world.words(DATA + 160, &[4711]);
    check(ring.world, |log| {
        let log = log.unwrap();
        assert_eq!(log.dmesg(), "[    1.500007] here\n");
        assert!(
            log.gaps[0].to_string().contains("overwritten"),
            "{:?}",
            log.gaps
        );
    });
}

#[test]
fn a_page_of_text_that_the_dump_lacks_is_a_gap() {
    let mut ring = Ring::new();
    ring.record(2, "gone");
    ring.world.words(RING + 48, &[8, 0xffff_8880_7000_0000]);
    check(ring.world, |log| {
        let log = log.unwrap();
        assert_eq!((log.dmesg(), log.gaps.len()), (String::new(), 1));
    });
}

#[test]
fn ends_that_cannot_be_are_said_to_be() {
    let mut ring = Ring::new();
    ring.record(2, "only");
    ring.world.words(RING + 32, &[4711]);
    check(ring.world, |log| {
        let log = log.unwrap();
        assert_eq!(log.dmesg(), "[    1.500006] only\n");
        assert!(
            log.gaps[0].to_string().contains("further apart"),
            "{:?}",
            log.gaps
        );
    });
    let mut ring = Ring::new();
    ring.world.words(RING, &[63]);
    check(ring.world, |log| assert!(log.is_err()));
}

/// `log_buf` of 128 bytes with records of 16 bytes' header.
fn legacy(first: u64, next: u64, records: &[(u64, &str, &str)]) -> World {
    let mut world = World::new();
    world.hidden = vec!["prb"];
    world.info = "SIZE(printk_log)=16\nOFFSET(printk_log.ts_nsec)=0\nOFFSET(printk_log.len)=8\n\
                  OFFSET(printk_log.text_len)=10\nOFFSET(printk_log.dict_len)=12\n"
        .into();
    world.machine.write(RING, &[0; 0x1000]);
    for (name, value) in [
        ("log_buf", RING),
        ("log_buf_len", 128),
        ("log_first_idx", first),
        ("log_next_idx", next),
    ] {
        world.words(variable(name), &[value]);
    }
    for (at, text, dict) in records {
        let size = (16 + text.len() as u64 + dict.len() as u64).next_multiple_of(4);
        world.words(RING + at, &[at * 1000]);
        let mut header: Vec<u8> = [size as u16, text.len() as u16, dict.len() as u16]
            .iter()
            .flat_map(|length| length.to_le_bytes())
            .collect();
        header.extend([1, 4 << 5]);
        header.extend(text.bytes());
        header.extend(dict.bytes());
        world.machine.write(RING + at + 8, &header);
    }
    world
}

#[test]
fn old_records_are_read_around_the_buffers_end() {
    let world = legacy(
        64,
        20,
        &[
            (64, "last but one", "SUBSYSTEM=usb\0DEVICE=+usb:1-1"),
            (0, "last", ""),
        ],
    );
    check(world, |log| {
        let log = log.unwrap();
        assert!(log.gaps.is_empty(), "{:?}", log.gaps);
        assert_eq!(
            log.dmesg(),
            "[    0.000064] last but one\n[    0.000000] last\n"
        );
        assert_eq!((log.records[0].level, log.records[0].facility), (4, 1));
        assert_eq!(log.records[0].dict[1], ("DEVICE".into(), "+usb:1-1".into()));
    });
}

#[test]
fn an_old_record_longer_than_the_buffer_ends_the_log_with_a_gap() {
    let mut world = legacy(0, 100, &[(0, "good", "")]);
    world.words(RING + 20 + 8, &[0xffff]);
    check(world, |log| {
        let log = log.unwrap();
        assert_eq!(log.records.len(), 2);
        assert_eq!(log.gaps.len(), 1);
    });
    // All marks of wrapping, none a record.
    check(legacy(64, 100, &[]), |log| {
        assert_eq!(log.unwrap().gaps.len(), 1)
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_log_makes_the_reader_panic_or_run_away(
        words in proptest::collection::vec((0u64..0x800, any::<u64>(), any::<bool>()), 1..40), old: bool,
    ) {
        let mut world = if old { legacy(64, 20, &[(64, "x", "A=b"), (0, "y", "")]) } else {
            let mut ring = Ring::new();
            ring.record(2, "x");
            ring.world
        };
        for (at, value, small) in words {
            let value = if small { value % 0x100 } else { value };
            world.words(RING + at * 8, &[value]);
        }
        let dump = Vmcore::from_bytes("changed", world.file()).unwrap();
        let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
        if let Ok(log) = printk::records(&kernel) {
            let _ = (log.dmesg(), log.dmesg_with_callers(), printk::last_oops(&log));
        }
    }
}
