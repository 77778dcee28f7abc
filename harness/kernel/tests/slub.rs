//! The allocator of a dump that was written here: numbers, objects, lists that end where they should not, debugging.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its own dump is wrong"
)]
mod slab_world;

use proptest::prelude::*;
use recrash_kernel::corruption::{ListSite, freelist_of};
use recrash_kernel::instruction::MemoryOperand;
use recrash_kernel::regs::PtRegs;
use recrash_kernel::slub::{
    self, Extent, FreeOn, Holder, ObjectState, Part, PointerCoding, Slub, TrackTrace, WalkEnd,
    Wrong, Zone,
};
use recrash_kernel::{Kernel, usb};
use recrash_vmcore::{VirtAddr, Vmcore};
use slab_world::{
    ACTIVE, CACHE, CPU_PARTIAL, Coding, DEBUG_SIZE, DEBUG_SLAB, DEBUGGED, DIRECT, FULL,
    NODE_PARTIAL, OFFSET, OTHER, SlabWorld, TEXT, USB, VMEMMAP, descriptor, object, variable,
};

const CODINGS: [Coding; 3] = [Coding::Plain, Coding::Hardened, Coding::Swapped];

fn check(world: SlabWorld, look: impl FnOnce(&Kernel<'_>, &Slub<'_>)) {
    let dump = world.dump();
    let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    let slub = Slub::new(&kernel).unwrap();
    look(&kernel, &slub);
}

/// The only thing that is wrong.
fn only(slub: &Slub<'_>) -> slub::Finding {
    let check = slub.check().unwrap();
    assert_eq!(check.findings.len(), 1, "{:#?}", check.findings);
    check.findings.into_iter().next().unwrap()
}

#[test]
fn a_caches_numbers_add_up() {
    check(SlabWorld::new(Coding::Swapped), |_, slub| {
        let (caches, cut) = slub.caches().unwrap();
        assert_eq!(cut, None);
        let names: Vec<_> = caches.iter().map(|cache| cache.name.as_str()).collect();
        assert_eq!(names, ["kmalloc-64", "debugged"]);
        let usage = slub.usage(&caches[0]);
        assert_eq!(usage.missing, []);
        assert_eq!((usage.slabs, usage.objects), (Some(4), Some(320)));
        assert_eq!(
            (
                usage.free_on_cpus,
                usage.free_in_cpu_slabs,
                usage.free_in_partial
            ),
            (3, 4, 3)
        );
        assert_eq!(usage.allocated(), Some(310));
        let (flags, plain) = (caches[1].flags, caches[0].flags);
        assert!(flags.red_zone && flags.poison && flags.store_user);
        assert!(!plain.red_zone && !plain.poison && !plain.store_user);
    });
}

#[test]
fn the_names_of_merged_caches_are_in_sysfs() {
    check(SlabWorld::new(Coding::Plain), |kernel, _| {
        let (aliases, cut) = slub::aliases(kernel).unwrap();
        assert_eq!(cut, None);
        assert_eq!(aliases[&VirtAddr(CACHE)], ["skbuff_small"]);
    });
}

#[test]
fn the_coding_of_links_is_seen_in_memory() {
    for (coding, expected) in [
        (Coding::Plain, PointerCoding::Plain),
        (Coding::Hardened, PointerCoding::Hardened),
        (Coding::Swapped, PointerCoding::HardenedSwapped),
    ] {
        check(SlabWorld::new(coding), |_, slub| {
            let cache = slub.cache(VirtAddr(CACHE)).unwrap();
            assert_eq!(slub.coding(&cache), Ok(expected));
        });
    }
}

#[test]
fn an_address_is_found_in_its_object_and_the_lists_say_whether_it_is_free() {
    for coding in CODINGS {
        check(SlabWorld::new(coding), |_, slub| {
            for (pfn, index, state) in [
                (ACTIVE, 0, ObjectState::Allocated),
                (ACTIVE, 2, ObjectState::Free(FreeOn::Cpu(0))),
                (ACTIVE, 10, ObjectState::Free(FreeOn::Slab)),
                (CPU_PARTIAL, 5, ObjectState::Free(FreeOn::Slab)),
                (NODE_PARTIAL, 63, ObjectState::Free(FreeOn::Slab)),
                (NODE_PARTIAL, 62, ObjectState::Allocated),
                // In the second page of its slab.
                (FULL, 70, ObjectState::Allocated),
            ] {
                let start = object(pfn, index);
                let found = slub.find_object(VirtAddr(start + 17)).unwrap();
                assert_eq!((found.at, found.index), (VirtAddr(start), index));
                assert_eq!((found.offset, found.part), (17, Part::Object));
                assert_eq!(found.state, state, "{pfn:#x} {index} {coding:?}");
                assert_eq!(found.cache.name, "kmalloc-64");
            }
        });
    }
}

#[test]
fn what_lies_in_no_object_says_why() {
    check(SlabWorld::new(Coding::Plain), |_, slub| {
        for (at, why) in [
            (DIRECT + (OTHER << 12), "in no slab but in a single page"),
            (TEXT, "outside the direct mapping"),
            (VMEMMAP, "outside the direct mapping"),
            (0x1234, "outside the direct mapping"),
            (DIRECT, "page"),
        ] {
            let missing = slub.find_object(VirtAddr(at)).unwrap_err().to_string();
            assert!(missing.contains(why), "{at:#x}: {missing}");
        }
    });
}

#[test]
fn every_slab_is_found_by_its_page() {
    check(SlabWorld::new(Coding::Plain), |_, slub| {
        let all = slub.all_slabs().unwrap();
        let slabs: Vec<_> = all.slabs.iter().map(|slab| slab.at.0).collect();
        let expected = [ACTIVE, CPU_PARTIAL, NODE_PARTIAL, FULL, DEBUG_SLAB];
        assert_eq!(slabs, expected.map(descriptor));
    });
}

#[test]
fn nothing_is_wrong_with_a_sound_allocator() {
    for coding in CODINGS {
        check(SlabWorld::new(coding), |_, slub| {
            let check = slub.check().unwrap();
            assert_eq!(check.findings, [], "{coding:?}");
            assert_eq!(check.missing, []);
            assert_eq!((check.caches, check.slabs, check.free_objects), (2, 4, 11));
        });
    }
}

/// Writes `word` over the link of object 8 of the node's partial slab, and gives how its list ends.
fn overwritten(coding: Coding, word: impl FnOnce(u64) -> u64) -> (WalkEnd, Option<Extent>) {
    let mut world = SlabWorld::new(coding);
    let carrier = object(NODE_PARTIAL, 8);
    let word = word(world.coded(carrier, object(NODE_PARTIAL, 63)));
    world.words(carrier + OFFSET, &[word]);
    let mut result = None;
    check(world, |_, slub| {
        let finding = only(slub);
        assert_eq!(finding.holder, Holder::NodePartial(0));
        assert!(
            matches!(finding.what, Wrong::List { .. }),
            "{:?}",
            finding.what
        );
        let Wrong::List {
            walked,
            end,
            extent,
            ..
        } = finding.what
        else {
            return;
        };
        assert_eq!(walked, 2);
        if let Some(link) = end.bad_link() {
            assert_eq!((link.carrier, link.stored), (Some(VirtAddr(carrier)), word));
        }
        result = Some((end, extent));
    });
    result.unwrap()
}

#[test]
fn a_link_that_was_overwritten_whole_is_wild() {
    for coding in CODINGS {
        let (end, extent) = overwritten(coding, |_| 0x0072_0069_0056_0338);
        assert!(matches!(end, WalkEnd::Wild(_)), "{end}");
        assert_eq!(extent, None, "{coding:?}");
    }
}

#[test]
fn a_link_whose_low_bytes_were_overwritten_says_so() {
    for coding in CODINGS {
        let (end, extent) = overwritten(coding, |word| word & !0xffff_ffff | 0x0056_0338);
        assert!(
            matches!(end, WalkEnd::Wild(_) | WalkEnd::OutsideSlab(_)),
            "{end}"
        );
        let extent = extent.unwrap();
        assert_eq!(
            (extent.start, extent.end <= 4),
            (0, true),
            "{coding:?} {extent:?}"
        );
    }
}

#[test]
fn a_flipped_bit_of_a_link_is_told() {
    for coding in CODINGS {
        let (_, extent) = overwritten(coding, |word| word ^ 1 << 45);
        assert_eq!(extent.unwrap().bit, Some(45), "{coding:?}");
    }
}

#[test]
fn a_list_that_ends_in_itself_between_objects_or_elsewhere_says_which() {
    let check = |to: u64, expected: fn(&WalkEnd) -> bool| {
        for coding in CODINGS {
            let delta = to ^ object(NODE_PARTIAL, 63);
            let (end, _) = overwritten(coding, |word| word ^ delta);
            assert!(expected(&end), "{end}");
        }
    };
    check(object(NODE_PARTIAL, 7), |end| {
        matches!(end, WalkEnd::Cycle(_))
    });
    check(object(NODE_PARTIAL, 3) + 8, |end| {
        matches!(end, WalkEnd::Misaligned(_))
    });
    check(object(ACTIVE, 3), |end| {
        matches!(end, WalkEnd::OutsideSlab(_))
    });
    check(0x1000, |end| matches!(end, WalkEnd::Wild(_)));
}

#[test]
fn behind_a_broken_link_nothing_is_said_to_be_allocated() {
    let mut world = SlabWorld::new(Coding::Swapped);
    world.words(object(NODE_PARTIAL, 8) + OFFSET, &[0x0072_0069_0056_0338]);
    check(world, |_, slub| {
        let state = |pfn, index| {
            slub.find_object(VirtAddr(object(pfn, index)))
                .unwrap()
                .state
        };
        assert!(matches!(state(NODE_PARTIAL, 63), ObjectState::Unknown(_)));
        assert_eq!(state(NODE_PARTIAL, 8), ObjectState::Free(FreeOn::Slab));
        assert_eq!(
            state(ACTIVE, 0),
            ObjectState::Allocated,
            "another slab is whole"
        );
    });
}

#[test]
fn a_slab_of_another_cache_on_a_list_is_told() {
    let mut world = SlabWorld::new(Coding::Plain);
    world.words(descriptor(CPU_PARTIAL) + 24, &[DEBUGGED]);
    check(world, |_, slub| {
        assert_eq!(only(slub).what, Wrong::Foreign(VirtAddr(DEBUGGED)));
    });
}

#[test]
fn a_partial_list_that_runs_in_a_circle_ends() {
    let mut world = SlabWorld::new(Coding::Plain);
    world.words(descriptor(CPU_PARTIAL) + 8, &[descriptor(CPU_PARTIAL)]);
    check(world, |_, slub| {
        assert!(!slub.check().unwrap().missing.is_empty());
    });
}

/// Where object `index` of the debugged slab begins.
fn debugged(index: u64) -> u64 {
    DIRECT + (DEBUG_SLAB << 12) + index * DEBUG_SIZE + 64
}

#[test]
fn bytes_written_around_and_into_debugged_objects_are_found() {
    for (at, expected, zone) in [
        (debugged(5) - 3, 0xcc, Zone::LeftRedZone),
        (debugged(5) + 57, 0xcc, Zone::RightRedZone),
        (debugged(2) + 10, 0x6b, Zone::Poison),
        (debugged(2) + 55, 0xa5, Zone::Poison),
        (debugged(2) + 60, 0xbb, Zone::RightRedZone),
        (debugged(5) + 150, 0x5a, Zone::Padding),
    ] {
        let mut world = SlabWorld::new(Coding::Swapped);
        world.machine.write(at, b"U");
        check(world, |_, slub| {
            let Wrong::Debug { violation, .. } = only(slub).what else {
                panic!("{zone:?}")
            };
            assert_eq!((violation.zone, violation.at), (zone, VirtAddr(at)));
            assert_eq!(
                (violation.bytes, violation.expected),
                (b"U".to_vec(), expected)
            );
        });
    }
}

/// The free object that was written to: its span, its bytes, and whether all around it is whole.
fn stale(writes: &[(u64, &[u8])], expected: Option<(std::ops::Range<u64>, Vec<u8>, bool)>) {
    let mut world = SlabWorld::new(Coding::Swapped);
    for (at, bytes) in writes {
        world.machine.write(*at, bytes);
    }
    check(world, |_, slub| {
        let all = slub.stale_writes().unwrap();
        assert_eq!(all.caches, ["debugged"]);
        assert_eq!(all.looked_at, 16);
        let found = all.found.into_iter().map(|found| {
            assert_eq!(found.at, VirtAddr(debugged(2)));
            let alone = found.is_alone();
            (found.span, found.bytes, alone)
        });
        assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(expected));
    });
}

#[test]
fn a_free_object_that_was_written_to_is_found_by_its_poison() {
    let object = debugged(2);
    stale(&[], None);
    stale(
        &[(object, b"8\x03V")],
        Some((0..3, b"8\x03V".to_vec(), true)),
    );
    // What was written has the poison's value in it and behind it, and reaches the last byte, which has another.
    let last = vec![b'U', 0x6b, b'U'];
    stale(&[(object + 53, &last)], Some((53..56, last.clone(), true)));
    let gap = [b"UV".as_slice(), &[0x6b; 53], b"W"].concat();
    let writes: [(u64, &[u8]); 2] = [(object, b"UV"), (object + 55, b"W")];
    stale(&writes, Some((0..56, gap, true)));
}

#[test]
fn a_write_that_runs_on_into_the_red_zone_says_so() {
    let run_on = [b'U'; 4];
    stale(
        &[(debugged(2) + 54, &run_on)],
        Some((54..56, b"UU".to_vec(), false)),
    );
}

#[test]
fn a_write_into_an_allocated_object_is_no_stale_one() {
    stale(&[(debugged(5), b"8\x03V")], None);
}

#[test]
fn a_debugged_object_says_who_allocated_it() {
    check(SlabWorld::new(Coding::Swapped), |kernel, slub| {
        let cache = slub.cache(VirtAddr(DEBUGGED)).unwrap();
        let layout = slub::layout(kernel, &cache).unwrap();
        let debug = slub::object_debug(kernel, &cache, &layout, VirtAddr(debugged(5)), true);
        let track = debug.allocated.unwrap();
        assert_eq!(
            (track.caller, track.cpu, track.pid),
            (VirtAddr(TEXT + 0x110), 1, 41)
        );
        assert_eq!(
            track.trace,
            TrackTrace::Frames(vec![VirtAddr(TEXT + 0x110), VirtAddr(TEXT + 0x10)])
        );
        assert_eq!((debug.freed, debug.violations), (None, vec![]));
        let found = slub.find_object(VirtAddr(debugged(5) - 8)).unwrap();
        assert_eq!((found.offset, found.part), (-8, Part::LeftRedZone));
    });
}

#[test]
fn where_no_cpu_keeps_a_list_the_slabs_own_lists_tell_how_links_are_coded() {
    for (coding, expected) in [
        (Coding::Plain, PointerCoding::Plain),
        (Coding::Hardened, PointerCoding::Hardened),
        (Coding::Swapped, PointerCoding::HardenedSwapped),
    ] {
        let mut world = SlabWorld::new(coding);
        world.without_cpu_lists();
        check(world, |_, slub| {
            let cache = slub.cache(VirtAddr(CACHE)).unwrap();
            assert_eq!(slub.coding(&cache), Ok(expected));
            let check = slub.check().unwrap();
            assert_eq!((check.findings, check.missing), (vec![], vec![]));
            assert_eq!((check.slabs, check.free_objects), (2, 4));
            let state = |index| {
                let at = VirtAddr(object(NODE_PARTIAL, index));
                slub.find_object(at).unwrap().state
            };
            assert_eq!(state(63), ObjectState::Free(FreeOn::Slab));
            assert_eq!(state(62), ObjectState::Allocated);
        });
    }
}

/// The size that was asked for as kernels had it first, and as they have it now.
const REQUESTED: [&[u8]; 2] = [&[40, 0, 0, 0], &[40, 0, 0, 0, 0, 0, 0, 0]];

#[test]
fn the_size_that_kmalloc_was_asked_for_is_read_and_is_no_overwritten_padding() {
    for requested in REQUESTED {
        let mut world = SlabWorld::new(Coding::Swapped);
        world.debugged_kmalloc(requested);
        check(world, |kernel, slub| {
            assert_eq!(slub.check().unwrap().findings, []);
            let cache = slub.cache(VirtAddr(DEBUGGED)).unwrap();
            let layout = slub::layout(kernel, &cache).unwrap();
            let debug = slub::object_debug(kernel, &cache, &layout, VirtAddr(debugged(5)), true);
            assert_eq!(debug.requested, Some(40));
            let spans: Vec<_> = debug
                .zones
                .iter()
                .map(|span| (span.zone, span.length))
                .collect();
            let padding = 192 - 136 - requested.len() as u64;
            let expected = [
                (Zone::LeftRedZone, 64),
                (Zone::RightRedZone, 8),
                (Zone::KmallocRedZone, 16),
                (Zone::Padding, padding),
            ];
            assert_eq!(spans, expected);
        });
    }
}

#[test]
fn an_object_that_was_never_given_out_has_no_requested_size() {
    for (size, gaps) in [([0x5a; 4], 0), ([57, 0, 0, 0], 1)] {
        let mut world = SlabWorld::new(Coding::Swapped);
        world.debugged_kmalloc(REQUESTED[0]);
        world.machine.write(debugged(2) + 136, &size);
        check(world, |kernel, slub| {
            let cache = slub.cache(VirtAddr(DEBUGGED)).unwrap();
            let layout = slub::layout(kernel, &cache).unwrap();
            let debug = slub::object_debug(kernel, &cache, &layout, VirtAddr(debugged(2)), false);
            assert_eq!((debug.requested, debug.missing.len()), (None, gaps));
        });
    }
}

#[test]
fn a_byte_behind_what_kmalloc_was_asked_for_and_one_behind_its_size_are_found() {
    for requested in REQUESTED {
        for (offset, zone) in [(40, Zone::KmallocRedZone), (143, Zone::Padding)] {
            let mut world = SlabWorld::new(Coding::Swapped);
            world.debugged_kmalloc(requested);
            world.machine.write(debugged(5) + offset, b"U");
            check(world, |_, slub| {
                let Wrong::Debug { object, violation } = only(slub).what else {
                    panic!("{zone:?}")
                };
                assert_eq!((object, violation.zone), (VirtAddr(debugged(5)), zone));
            });
        }
    }
}

#[test]
fn a_stack_that_the_depot_has_not_is_not_shown() {
    let mut world = SlabWorld::new(Coding::Swapped);
    world.words(variable("stack_slabs") + 16, &[0]);
    check(world, |kernel, slub| {
        let cache = slub.cache(VirtAddr(DEBUGGED)).unwrap();
        let layout = slub::layout(kernel, &cache).unwrap();
        let debug = slub::object_debug(kernel, &cache, &layout, VirtAddr(debugged(5)), true);
        assert!(matches!(
            debug.allocated.unwrap().trace,
            TrackTrace::Missing(_)
        ));
    });
}

/// `mov rbx, [rcx]` at an address.
fn operand(at: u64) -> MemoryOperand {
    MemoryOperand {
        base: Some("rcx".into()),
        base_value: Some(at),
        index: None,
        index_value: None,
        scale: 1,
        displacement: 0,
        effective: VirtAddr(at),
        linear: Some(VirtAddr(at)),
        segment: "ds",
        size: 8,
        canonical: false,
        stack_segment: false,
        writes: false,
        reads: true,
        implicit: false,
    }
}

#[test]
fn a_fault_leads_to_the_link_in_the_object_that_it_followed() {
    let wild = 0x0072_0069_0056_0338;
    let mut world = SlabWorld::new(Coding::Swapped);
    world.link(object(NODE_PARTIAL, 8), wild);
    check(world, |kernel, _| {
        let hit = freelist_of(kernel, &operand(wild + OFFSET), &PtRegs([0; 21]), 1).unwrap();
        assert_eq!(hit.cache.name, "kmalloc-64");
        let ListSite::Link { holder, link, .. } = hit.site else {
            panic!("{:?}", hit.site)
        };
        assert_eq!(holder, Holder::NodePartial(0));
        assert_eq!(link.carrier, Some(VirtAddr(object(NODE_PARTIAL, 8))));
    });
}

#[test]
fn a_fault_leads_to_the_head_of_another_cpus_list() {
    let wild = 0x0072_0069_0056_0338;
    let mut world = SlabWorld::new(Coding::Plain);
    world.words(DIRECT + 0x10_0100, &[wild]);
    check(world, |kernel, _| {
        let hit = freelist_of(kernel, &operand(wild + OFFSET), &PtRegs([0; 21]), 1).unwrap();
        let pointer = VirtAddr(wild);
        assert_eq!(hit.site, ListSite::CpuHead { cpu: 0, pointer });
        assert!(freelist_of(kernel, &operand(wild), &PtRegs([0; 21]), 1).is_err());
    });
}

#[test]
fn requests_in_flight_are_found_with_what_they_ask_and_who_asked() {
    check(SlabWorld::new(Coding::Plain), |kernel, _| {
        let (urbs, gaps) = usb::urbs(kernel).unwrap();
        assert_eq!(gaps, []);
        let places: Vec<_> = urbs.iter().map(|urb| (urb.place, urb.status)).collect();
        assert_eq!(
            places,
            [
                (usb::UrbPlace::Endpoint, -115),
                (usb::UrbPlace::GivenBack, 0)
            ]
        );
        let urb = &urbs[0];
        assert_eq!(
            (urb.device.as_str(), urb.length, urb.actual_length),
            ("usb1", 254, 0)
        );
        assert_eq!(urb.pipe.to_string(), "control in, endpoint 0");
        assert_eq!(urb.setup.unwrap().name(), Some("GET_DESCRIPTOR"));
        assert_eq!(urb.complete_name.clone().unwrap().symbol, "async_completed");
        let (asyncs, gaps) = usb::asyncs(kernel).unwrap();
        assert_eq!((asyncs.len(), gaps), (1, vec![]));
        let request = &asyncs[0];
        assert_eq!(
            (request.pid, request.uid, request.memory),
            (Some(87), Some(1000), 550)
        );
        assert_eq!(request.state, usb::AsyncState::Pending);
        assert_eq!(request.urb.as_ref().map(|urb| urb.at), Some(urb.at));
    });
}

#[test]
fn a_device_is_found_by_the_driver_core_where_the_hub_driver_has_no_types() {
    check(SlabWorld::new(Coding::Plain), |kernel, _| {
        let (devices, gaps) = usb::devices(kernel).unwrap();
        let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!((names, gaps), (vec!["usb1", "1-1"], vec![]));
    });
}

#[test]
fn a_hubs_children_that_run_in_a_circle_end() {
    let mut world = SlabWorld::new(Coding::Plain);
    let interface = USB + 13 * 0x400 + 24;
    world.words(interface, &[interface]);
    check(world, |kernel, _| {
        let (devices, gaps) = usb::devices(kernel).unwrap();
        assert_eq!((devices.len(), gaps.len()), (1, 1));
    });
}

#[test]
fn a_list_of_requests_that_runs_in_a_circle_ends() {
    let mut world = SlabWorld::new(Coding::Plain);
    let urb = USB + 3 * 0x400;
    world.words(urb + 8, &[urb + 8]);
    check(world, |kernel, _| {
        let (urbs, gaps) = usb::urbs(kernel).unwrap();
        assert_eq!((urbs.len(), gaps.len()), (2, 1));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a dump holds where the allocator keeps its data, looking at it ends without a panic.
    #[test]
    fn no_change_of_memory_makes_the_allocator_panic(
        changes in proptest::collection::vec((0usize..6, 0u64..0x1000, any::<u64>()), 1..40)
    ) {
        let places = [CACHE, CACHE + 0x800, descriptor(ACTIVE), object(ACTIVE, 0), USB, DIRECT + 0x10_0000];
        let mut world = SlabWorld::new(Coding::Swapped);
        for (place, offset, value) in changes {
            world.words(places[place] + (offset & !7) % 0x800, &[value]);
        }
        let dump = Vmcore::from_bytes("changed", world.file()).unwrap();
        let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
        if let Ok(slub) = Slub::new(&kernel) {
            let _ = slub.check();
            let _ = slub.all_slabs();
            let _ = slub.stale_writes();
            let _ = usb::urbs_on(&kernel, &slub, &[VirtAddr(DIRECT + 0x1234), VirtAddr(0)]);
            for (cache, _) in slub.caches().iter().flat_map(|(caches, _)| caches.iter().zip(0..64)) {
                let _ = slub.usage(cache);
            }
            for pfn in 0x4ff..0x513 {
                let _ = slub.find_object(VirtAddr(object(pfn, 9)));
            }
        }
        let _ = slub::aliases(&kernel);
        let _ = (usb::devices(&kernel), usb::urbs(&kernel), usb::asyncs(&kernel));
    }
}
