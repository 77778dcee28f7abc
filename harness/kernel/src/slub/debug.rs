//! What SLUB debugging leaves in memory: red zones, poison, and who allocated and freed an object. Layout as in
//! `calculate_sizes()` and `check_object()` (mm/slub.c); values of include/linux/poison.h.
use super::cache::{Cache, optional};
use super::depot;
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::ops::Range;

/// SLUB_RED_INACTIVE: around free objects.
const RED_INACTIVE: u8 = 0xbb;
/// SLUB_RED_ACTIVE: around allocated ones.
const RED_ACTIVE: u8 = 0xcc;
/// POISON_INUSE: padding.
const POISON_INUSE: u8 = 0x5a;
/// The requested size of an object that was never given out: the padding that a new slab is filled with.
const NEVER_REQUESTED: u32 = 0x5a5a_5a5a;
/// POISON_FREE: contents of a free object.
pub(super) const POISON_FREE: u8 = 0x6b;
/// POISON_END: its last byte.
const POISON_END: u8 = 0xa5;
/// TRACK_ADDRS_COUNT (mm/slub.c).
const MAX_ADDRS: u64 = 16;
/// Objects larger than this are not looked through: KMALLOC_MAX_CACHE_SIZE is 8 KiB, the largest named cache below it.
const MAX_OBJECT: u64 = 64 << 10;

/// The requested size is an `unsigned long` since commit b85f369b81ae ("mm/slab: use unsigned long for orig_size to
/// ensure proper metadata align"), which stable kernels took (6.12.117 has it), and an `unsigned int` before. Neither types nor symbols tell, and the offsets are the same: its upper four bytes are zeroes, or the
/// first four of the padding.
const REQUESTED_UPPER: u64 = 4;

/// Where a debugged cache keeps what, in bytes from an object's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugLayout {
    /// Bytes of red zone left of the object.
    pub red_left: u64,
    /// Red zone behind it; empty without.
    pub red_right: Range<u64>,
    /// Whether free objects are filled with poison.
    pub poison: bool,
    /// The two tracks (allocation, free); `None` without SLAB_STORE_USER.
    pub tracks: Option<u64>,
    /// The size that kmalloc() was asked for, 32 bits, since 6.1 (commit 6edf2576a6cc "mm/slub: enable debugging
    /// memory wasting of kmalloc"); `None` without.
    pub requested: Option<u64>,
    /// Whether the bytes between what was asked for and the object's end are a red zone too, since 6.2 (commit
    /// 946fa0dbf2d8 "mm/slub: extend redzone check to extra allocated kmalloc space").
    pub red_requested: bool,
    /// Padding behind all of it, filled with 0x5a; empty without poison. Behind the requested size its first four
    /// bytes may be the upper half of that size: those are zeroes then.
    pub padding: Range<u64>,
}

/// A part of an object's surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Left of the object.
    LeftRedZone,
    /// Right of it.
    RightRedZone,
    /// Between what was asked for and the end of the kmalloc object.
    KmallocRedZone,
    /// A free object's contents.
    Poison,
    /// Behind the metadata.
    Padding,
}

impl Zone {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::LeftRedZone => "left red zone",
            Self::RightRedZone => "right red zone",
            Self::KmallocRedZone => "red zone behind what was asked for",
            Self::Poison => "poison of the free object",
            Self::Padding => "padding",
        }
    }
}

/// Bytes that are not what debugging put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which part.
    pub zone: Zone,
    /// Address of the first wrong byte.
    pub at: VirtAddr,
    /// From the first wrong byte to the last.
    pub bytes: Vec<u8>,
    /// What should be there.
    pub expected: u8,
}

/// A stretch that debugging filled with one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneSpan {
    /// Which part.
    pub zone: Zone,
    /// Its first byte.
    pub start: VirtAddr,
    /// In bytes.
    pub length: u64,
    /// What each of its bytes should be.
    pub expected: u8,
}

/// Who allocated or freed an object (`struct track`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Return address of the call.
    pub caller: VirtAddr,
    /// CPU.
    pub cpu: u32,
    /// Thread id.
    pub pid: i32,
    /// In jiffies.
    pub when: u64,
    /// The stack.
    pub trace: TrackTrace,
}

/// The stack of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackTrace {
    /// Return addresses, innermost first.
    Frames(Vec<VirtAddr>),
    /// None was saved.
    NotSaved,
    /// It can't be read.
    Missing(Missing),
}

/// What debugging says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDebug {
    /// What was looked at; what can't be read is not among it.
    pub zones: Vec<ZoneSpan>,
    /// What was overwritten.
    pub violations: Vec<Violation>,
    /// The last allocation; `None` if there was none, or without tracks.
    pub allocated: Option<Track>,
    /// The last free.
    pub freed: Option<Track>,
    /// Bytes that kmalloc() was asked for.
    pub requested: Option<u64>,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

/// Where this cache keeps its debugging data; `None` for a cache without any.
#[must_use]
pub fn layout(kernel: &Kernel<'_>, cache: &Cache) -> Option<DebugLayout> {
    let flags = cache.flags;
    if !(flags.red_zone || flags.poison || flags.store_user) {
        return None;
    }
    let inuse = cache.inuse?;
    // get_info_end(): the freelist pointer lies behind the object where it must not touch its contents.
    let outside = cache.offset >= inuse;
    let mut end = if outside { inuse + 8 } else { inuse };
    let tracks = flags.store_user.then_some(end);
    let mut requested = None;
    if flags.store_user {
        end = end.saturating_add(kernel.types().size_of("track")?.saturating_mul(2));
        // slub_debug_orig_size(): kmalloc caches with SLAB_STORE_USER (SLAB_KMALLOC is 0x1000 before its enum).
        let kmalloc = kernel.types().enum_value("_SLAB_KMALLOC");
        let kmalloc = kmalloc.map_or(0x1000, |bit| 1u64 << (bit & 63));
        if flags.raw & kmalloc != 0 && has_requested_size(kernel) {
            requested = Some(end);
            end = end.saturating_add(4);
        }
    }
    let last = cache.size.saturating_sub(cache.red_left_pad);
    Some(DebugLayout {
        red_left: if flags.red_zone {
            cache.red_left_pad
        } else {
            0
        },
        red_right: if flags.red_zone {
            cache.object_size..inuse
        } else {
            0..0
        },
        poison: flags.poison,
        tracks,
        requested,
        red_requested: flags.red_zone && requested.is_some() && has_requested_zone(kernel),
        padding: if flags.poison && end < last {
            end..last
        } else {
            0..0
        },
    })
}

/// The function came with the red zone behind what was asked for; ksize() calls it.
fn has_requested_zone(kernel: &Kernel<'_>) -> bool {
    kernel.symbol("skip_orig_size_check").is_ok()
}

/// `get_orig_size()` and its kin are inlined; what tells is a function that came with them, or a parameter.
fn has_requested_size(kernel: &Kernel<'_>) -> bool {
    // Of 6.2. The parameters below are no sign that can be relied on: BTF leaves out functions that the compiler
    // changed, as it did with all of these in Debian's 6.12.
    if has_requested_zone(kernel) {
        return true;
    }
    // Commit 6edf2576a6cc gave __kmem_cache_alloc_node() and the tracks this parameter (6.1).
    let named = |name: &str| {
        kernel.types().func_proto(name).is_some_and(|proto| {
            proto
                .params
                .iter()
                .any(|param| matches!(&*param.name, "orig_size" | "waste"))
        })
    };
    [
        "alloc_debug_processing",
        "__slab_alloc",
        "___slab_alloc",
        "slab_post_alloc_hook",
        "__kmem_cache_alloc_node",
        "slab_alloc_node",
        "init_object",
    ]
    .iter()
    .any(|name| named(name))
}

/// What debugging says of the object at `at`. `allocated` says what its surroundings should be.
#[must_use]
pub fn object_debug(
    kernel: &Kernel<'_>,
    cache: &Cache,
    layout: &DebugLayout,
    at: VirtAddr,
    allocated: bool,
) -> ObjectDebug {
    let mut found = ObjectDebug {
        zones: Vec::new(),
        violations: Vec::new(),
        allocated: None,
        freed: None,
        requested: None,
        missing: Vec::new(),
    };
    if let Some(offset) = layout.requested {
        match kernel.memory().u32_at(at.wrapping_add(offset)) {
            // An object that was never given out has no size there yet.
            Ok(NEVER_REQUESTED) if !allocated => {}
            Ok(size) if u64::from(size) > cache.object_size => {
                found.missing.push(Missing::Implausible(format!(
                    "the object at {at} says that {size} bytes were asked for, and is smaller"
                )));
            }
            Ok(size) => found.requested = Some(size.into()),
            Err(error) => found.missing.push(missing("requested size")(error)),
        }
    }
    let layout = &with_wide_size(kernel, layout, at);
    for (zone, start, length, expected) in zones(cache, layout, allocated, found.requested) {
        let start = at.offset(start);
        let span = ZoneSpan {
            zone,
            start,
            length,
            expected,
        };
        match differing(kernel, start, length, expected) {
            Ok(wrong) => {
                found.zones.push(span);
                found.violations.extend(wrong.map(|(at, bytes)| Violation {
                    zone,
                    at,
                    bytes,
                    expected,
                }));
            }
            Err(missing) => found.missing.push(missing),
        }
    }
    if let Some(offset) = layout.tracks {
        let size = kernel.types().size_of("track").unwrap_or(0);
        let mut track = |index: u64| {
            let at = at.wrapping_add(offset).wrapping_add(index * size);
            track(kernel, at).unwrap_or_else(|missing| {
                found.missing.push(missing);
                None
            })
        };
        // TRACK_ALLOC, TRACK_FREE.
        let tracks = (track(0), track(1));
        (found.allocated, found.freed) = tracks;
    }
    found
}

/// The layout without the upper half of a requested size of 64 bits in the padding. Four zeroes that something else
/// wrote there, and no byte more, can't be told from it.
fn with_wide_size(kernel: &Kernel<'_>, layout: &DebugLayout, at: VirtAddr) -> DebugLayout {
    let mut layout = layout.clone();
    let start = layout.padding.start;
    let behind_size = layout.requested.map(|size| size.saturating_add(4)) == Some(start);
    let narrow = layout.padding.end.saturating_sub(start) < REQUESTED_UPPER;
    if behind_size && !narrow && kernel.memory().u32_at(at.wrapping_add(start)) == Ok(0) {
        layout.padding.start = start.saturating_add(REQUESTED_UPPER);
    }
    layout
}

/// What must hold one value: the part, where it begins, how long it is, and the value.
fn zones(
    cache: &Cache,
    layout: &DebugLayout,
    allocated: bool,
    requested: Option<u64>,
) -> Vec<(Zone, i64, u64, u8)> {
    let red = if allocated { RED_ACTIVE } else { RED_INACTIVE };
    let mut zones = Vec::new();
    let mut add = |zone, start: i64, length: u64, value| {
        if length > 0 && length <= MAX_OBJECT {
            zones.push((zone, start, length, value));
        }
    };
    let at = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
    add(
        Zone::LeftRedZone,
        -at(layout.red_left),
        layout.red_left,
        red,
    );
    let right = &layout.red_right;
    add(Zone::RightRedZone, at(right.start), length(right), red);
    if let (true, true, Some(size)) = (allocated, layout.red_requested, requested)
        && size < cache.object_size
    {
        let extra = size..cache.object_size;
        add(Zone::KmallocRedZone, at(extra.start), length(&extra), red);
    }
    if layout.poison && !allocated && cache.object_size > 0 {
        let body = cache.object_size - 1;
        add(Zone::Poison, 0, body, POISON_FREE);
        add(Zone::Poison, at(body), 1, POISON_END);
    }
    let padding = &layout.padding;
    add(
        Zone::Padding,
        at(padding.start),
        length(padding),
        POISON_INUSE,
    );
    zones
}

/// From the first byte that differs to the last.
fn differing(
    kernel: &Kernel<'_>,
    at: VirtAddr,
    length: u64,
    expected: u8,
) -> Result<Option<(VirtAddr, Vec<u8>)>, Missing> {
    let bytes = kernel.table(at, length, "debugging data of an object")?;
    let wrong = |byte: &u8| *byte != expected;
    let (Some(first), Some(last)) = (bytes.iter().position(wrong), bytes.iter().rposition(wrong))
    else {
        return Ok(None);
    };
    let wrong = bytes.get(first..=last).unwrap_or_default().to_vec();
    Ok(Some((at.wrapping_add(first as u64), wrong)))
}

fn track(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Option<Track>, Missing> {
    let object = Object::new(kernel, "track", at);
    let caller = object.ptr("addr")?;
    if caller.0 == 0 {
        return Ok(None);
    }
    Ok(Some(Track {
        caller,
        cpu: u32::try_from(object.u64("cpu")?).unwrap_or(u32::MAX),
        pid: object.i32("pid")?,
        when: object.u64("when")?,
        trace: trace(kernel, &object).unwrap_or_else(TrackTrace::Missing),
    }))
}

/// The addresses themselves until 5.18, a handle into the stack depot since 5.19 (commit 5cf909c553e9 "mm/slub:
/// use stackdepot to save stack trace in objects").
fn trace(kernel: &Kernel<'_>, track: &Object<'_>) -> Result<TrackTrace, Missing> {
    if let Some(handle) = optional(track, "handle")? {
        let handle = u32::try_from(handle).unwrap_or(0);
        return Ok(match handle {
            0 => TrackTrace::NotSaved,
            handle => TrackTrace::Frames(depot::frames(kernel, handle)?),
        });
    }
    if !track.has("addrs") {
        return Ok(TrackTrace::NotSaved);
    }
    let field = kernel.field("track", "addrs")?;
    let count = (field.size / 8).min(MAX_ADDRS);
    let bytes = kernel.table(track.addr_of("addrs")?, count * 8, "track.addrs")?;
    let frames: Vec<VirtAddr> = bytes
        .chunks_exact(8)
        .filter_map(|word| Some(VirtAddr(u64::from_le_bytes(word.try_into().ok()?))))
        .take_while(|frame| frame.0 != 0)
        .collect();
    Ok(if frames.is_empty() {
        TrackTrace::NotSaved
    } else {
        TrackTrace::Frames(frames)
    })
}
