//! A whole crash, read from a dump that was written here, and what is left of it when the dump lies.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its own dump is wrong"
)]
mod world;

use proptest::prelude::*;
use recrash_kernel::corruption::{CarrierBy, OperandParts};
use recrash_kernel::decode::{Confidence, Kind};
use recrash_kernel::pointee::Landmarks;
use recrash_kernel::slub::PointerCoding;
use recrash_kernel::unwind::{End, FrameSource};
use recrash_kernel::{Crash, Kernel};
use recrash_vmcore::{VirtAddr, Vmcore};
use world::{CACHE, OBJECT, PRODUCT, SP, STACK, USB, World, variable};

/// Bytes 128 to 136 of the product's string descriptor.
fn middle() -> u64 {
    let mut descriptor = vec![0, 3];
    descriptor.extend(PRODUCT.encode_utf16().flat_map(u16::to_le_bytes));
    u64::from_le_bytes(descriptor[128..136].try_into().unwrap())
}

fn check(world: World, look: impl FnOnce(&Kernel<'_>, Crash)) {
    let dump = world.dump();
    let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    let crash = Crash::read(&kernel);
    look(&kernel, crash);
}

#[test]
fn a_cpu_in_the_middle_of_its_oops_is_the_one_that_died() {
    let none = u64::from(u32::MAX);
    let dying = |panic: u64, owner: u64| {
        let mut world = World::new(128, middle());
        world.words(variable("panic_cpu"), &[panic]);
        world.words(variable("die_owner"), &[owner]);
        world
    };
    check(dying(none, 1), |_, crash| assert_eq!(crash.cpu, Ok(1)));
    check(dying(1, none), |_, crash| assert_eq!(crash.cpu, Ok(1)));
    check(dying(none, none), |_, crash| assert!(crash.cpu.is_err()));
}

#[test]
fn a_descriptor_in_a_hardened_mid_object_freelist_is_named_by_the_device_that_has_it() {
    check(World::new(128, middle()), |kernel, crash| {
        assert!(kernel.notes().is_empty(), "{:?}", kernel.notes());
        assert_eq!(crash.cpu, Ok(1));
        let task = crash.task.unwrap();
        assert_eq!((task.pid, task.comm.as_str()), (41, "esdm-agent"));
        let exception = crash.exception.unwrap();
        assert_eq!(
            (exception.trap.map(|t| t.vector), exception.error_code),
            (Some(13), Some(0))
        );
        assert_eq!(exception.at, VirtAddr(SP - 168));
        let hit = crash.freelist.unwrap();
        assert_eq!(
            (hit.cache.name.as_str(), hit.operand),
            ("kmalloc-256", OperandParts::Sum)
        );
        assert_eq!(hit.registers, ["rax"]);
        let overwrite = crash.decoding.unwrap().overwrite;
        assert_eq!(overwrite.bytes, Some(middle().to_le_bytes()));
        assert_eq!(
            (overwrite.object, overwrite.coding),
            (Some(VirtAddr(OBJECT)), PointerCoding::HardenedSwapped)
        );
        assert_eq!(overwrite.still_there, Some(false), "the object was zeroed");
        assert_eq!(overwrite.object_by, Some(CarrierBy::Meaning));
        let reading = overwrite.reading.unwrap();
        assert_eq!(reading.confidence, Confidence::Proven);
        let Kind::Device(found) = reading.kind else {
            panic!("{:?}", reading.kind)
        };
        assert_eq!(
            (found.device.as_str(), found.id, found.kind, found.at),
            ("1-1", (0x1209, 2), Some(3), 128)
        );
        assert_eq!(found.part.label(), "product string");
    });
}

#[test]
fn the_stack_is_walked_through_every_call_up_to_the_system_call() {
    check(World::new(128, middle()), |_, crash| {
        let trace = crash.backtrace.unwrap();
        let names: Vec<_> = trace
            .frames
            .iter()
            .map(|f| f.place.clone().unwrap().symbol)
            .collect();
        assert_eq!(
            names,
            [
                "__kmalloc",
                "usb_hcd_submit_urb",
                "proc_do_submiturb",
                "usbdev_ioctl",
                "__x64_sys_ioctl",
                "entry_SYSCALL_64_after_hwframe"
            ]
        );
        assert_eq!(
            (trace.frames[0].source, trace.frames[1].source),
            (FrameSource::Registers, FrameSource::Orc)
        );
        assert_eq!(trace.end, End::User);
        let call = crash.syscall.unwrap();
        assert_eq!(
            (call.name.as_str(), call.request.as_deref()),
            ("ioctl", Some("USBDEVFS_SUBMITURB"))
        );
    });
}

/// The saved registers are those of the exception's handler, as when panic() saved them.
fn saved_in_the_handler(world: &mut World) {
    (world.regs[16], world.regs[19]) = (world::TEXT + 0x616, SP - 168);
}

#[test]
fn an_exception_is_met_on_the_way_outwards_from_its_handler() {
    let mut world = World::new(128, middle());
    saved_in_the_handler(&mut world);
    check(world, |_, crash| {
        let exception = crash.exception.unwrap();
        assert_eq!(exception.trap.map(|trap| trap.vector), Some(13));
        assert_eq!(crash.faulting.unwrap().text, "mov rbx, [rcx]");
        assert_eq!(crash.backtrace.unwrap().frames.len(), 6);
        assert!(crash.decoding.is_some());
    });
}

#[test]
fn an_interrupt_on_the_stack_is_not_taken_for_what_the_kernel_died_of() {
    let mut world = World::new(128, middle());
    saved_in_the_handler(&mut world);
    // No exception's entry code called the handler.
    world.words(SP - 176, &[world::TEXT + 0x150]);
    check(world, |_, crash| {
        assert!(crash.exception.is_err());
        assert!(crash.faulting.is_err() && crash.freelist.is_err());
        assert_eq!(crash.backtrace.unwrap().frames.len(), 7);
    });
}

#[test]
fn bytes_that_no_device_has_stay_unknown_on_a_hardened_list() {
    check(World::new(128, 0x0072_0069_0056_0338), |_, crash| {
        let decoding = crash.decoding.unwrap();
        assert_eq!(
            (decoding.overwrite.bytes, decoding.overwrite.reading),
            (None, None)
        );
    });
}

#[test]
fn a_slab_that_cannot_be_read_leaves_the_decoding_open() {
    let mut world = World::new(128, middle());
    // kmem_cache_cpu.slab: no struct page there.
    world.words(world::CPU_SLAB + 16, &[0xffff_ea00_0000_0001]);
    check(world, |_, crash| {
        let decoding = crash.decoding.unwrap();
        assert!(decoding.gap.is_some());
        assert_eq!(decoding.overwrite.reading, None);
    });
}

#[test]
fn a_return_address_outside_all_text_ends_the_stack_and_hides_nothing_else() {
    let mut world = World::new(128, middle());
    world.words(SP + 16 + 8, &[0xdead_beef]);
    check(world, |_, crash| {
        let trace = crash.backtrace.unwrap();
        assert_eq!(trace.frames.len(), 3);
        assert_eq!(trace.end, End::NotText(VirtAddr(0xdead_beef)));
        assert!(crash.syscall.is_err());
        assert!(crash.freelist.is_ok() && crash.decoding.is_some());
    });
}

#[test]
fn a_list_of_caches_that_runs_in_a_circle_ends() {
    let mut world = World::new(128, middle());
    world.words(CACHE + 40, &[CACHE + 40, CACHE + 40]);
    world.words(CACHE + 16, &[64]);
    check(world, |_, crash| {
        let reason = crash.freelist.unwrap_err().to_string();
        assert!(reason.contains("does not end"), "{reason}");
        assert!(crash.backtrace.is_ok());
    });
}

#[test]
fn a_hub_that_is_its_own_child_is_seen_once() {
    let mut world = World::new(128, middle());
    let (hub_device, port) = (USB + 0x400, USB + 6 * 0x400);
    world.words(port, &[hub_device]);
    check(world, |_, crash| {
        assert_eq!(crash.devices.unwrap().len(), 1);
        assert_eq!(crash.device_gaps.len(), 1);
    });
}

#[test]
fn a_dump_without_the_devices_strings_does_not_prove_anything() {
    let mut world = World::new(128, middle());
    world.words(USB + 7 * 0x400 + 24, &[0]);
    check(world, |_, crash| {
        assert_eq!(crash.decoding.unwrap().overwrite.reading, None)
    });
}

#[test]
fn values_are_known_by_where_they_point() {
    check(World::new(128, middle()), |kernel, _| {
        let landmarks = Landmarks::of(kernel);
        let said = |value: u64| landmarks.describe(value).to_string();
        assert_eq!(said(0), "0");
        assert_eq!(said(0xfe), "254");
        assert_eq!(said(u64::MAX - 21), "-22 = -EINVAL");
        assert_eq!(said(world::TEXT + 0x12e), "usb_hcd_submit_urb+0x2e");
        assert_eq!(said(0x0072_0069_0056_0338), "UTF-16 text \"Vir\"");
        assert_eq!(said(0x0100_0000_0000_0000), "not canonical");
        assert_eq!(said(0x0000_7f12_3456_7000), "user address");
        assert!(
            said(world::TASK).starts_with("task_struct of esdm-agent (pid 41)"),
            "{}",
            said(world::TASK)
        );
        assert!(
            said(SP).starts_with("stack of esdm-agent (pid 41)"),
            "{}",
            said(SP)
        );
        assert!(
            said(OBJECT).starts_with("direct map, physical"),
            "{}",
            said(OBJECT)
        );
        assert!(said(0xdead_0000_0000_0100).starts_with("poison: LIST_POISON1"));
        assert_eq!(said(0xffff_c9ff_0000_0000), "vmalloc area, not mapped");
    });
}

#[test]
fn a_jump_to_where_there_is_no_code_is_told_with_the_call_that_made_it() {
    let mut world = World::new(128, middle());
    // call *%rax, before the return address that lies on top of the stack
    world.machine.write(world::TEXT + 0x150 - 2, &[0xff, 0xd0]);
    let wild = 0x0000_1234_5678_0000;
    (world.regs[16], world.regs[19]) = (wild, SP + 8);
    let at = ((SP + 8) & !0xf) - 168;
    let saved: Vec<u64> = world.regs[..21].to_vec();
    world.words(at, &saved);
    world.words(at - 8, &[world::TEXT + 0x616]);
    check(world, |_, crash| {
        let jump = crash.jump.unwrap();
        assert_eq!((jump.target, jump.mapped), (VirtAddr(wild), Some(false)));
        let (from, text) = jump.from.unwrap();
        assert_eq!(
            (from, text.as_str()),
            (VirtAddr(world::TEXT + 0x14e), "call rax")
        );
        assert!(crash.slice.is_err());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a dump holds where the kernel keeps its data, looking at it ends without a panic.
    #[test]
    fn no_change_of_memory_makes_the_analysis_panic(
        changes in proptest::collection::vec((0usize..6, 0u64..0x1000, any::<u64>()), 1..40)
    ) {
        let places = [CACHE, USB, world::TASK, world::variable("nr_cpu_ids"), SP - 0x200, STACK + 0x2800];
        let mut world = World::new(128, middle());
        for (place, offset, value) in changes {
            world.words(places[place] + (offset & !7) % 0x800, &[value]);
        }
        let file = world.file();
        let dump = Vmcore::from_bytes("changed", file).unwrap();
        if let Ok(kernel) = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()) {
            let _ = Crash::read(&kernel);
            let landmarks = Landmarks::of(&kernel);
            for value in [CACHE, USB, world::TASK, SP, OBJECT, world::CPU_SLAB] {
                let _ = landmarks.describe(value).to_string();
            }
        }
    }
}
