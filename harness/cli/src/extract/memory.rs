//! The memory that an account shows: bytes of the overwritten object, in the dump and as they were sent, and the state of
//! each object of its slab. Everything is bounded; what cannot be read is left out with the reason.
use recrash_kernel::corruption::{CarrierBy, CorruptField, CorruptFreelist, Decoding, ListSite};
use recrash_kernel::decode::{Kind, Reading};
use recrash_kernel::slub::{Cache, Slab, Slub, WalkEnd, walk_freelist};
use recrash_kernel::usb::{self, UsbDevice};
use recrash_kernel::{Crash, Kernel};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashMap;

use super::descriptor;
use crate::report::memory::{
    Bytes, Field, MAX_BYTES, MAX_OBJECTS, Memory, ObjectBytes, ObjectState, SlabObject,
    SlabObjects, Span,
};

/// What an account shows of memory; nothing where nothing was overwritten.
pub(super) fn memory(kernel: &Kernel<'_>, crash: &Crash) -> Memory {
    let devices = crash.devices.as_deref().unwrap_or_default();
    match (&crash.freelist, &crash.field) {
        (Ok(hit), _) => of_freelist(kernel, hit, crash.decoding.as_ref(), devices),
        (Err(_), Ok(hit)) => of_field(kernel, hit, devices),
        (Err(_), Err(_)) => Memory::default(),
    }
}

fn of_freelist(
    kernel: &Kernel<'_>,
    hit: &CorruptFreelist,
    decoding: Option<&Decoding>,
    devices: &[UsbDevice],
) -> Memory {
    let mut memory = Memory::default();
    let overwrite = decoding.map(|decoding| &decoding.overwrite);
    let carrier = overwrite.and_then(|overwrite| overwrite.object);
    match (carrier, overwrite) {
        (Some(at), Some(overwrite)) => {
            let look = Look {
                kernel,
                cache: &hit.cache,
                at,
                devices,
            };
            let known_by = match overwrite.object_by {
                Some(CarrierBy::List) => "it is on the list",
                Some(CarrierBy::Memory) => "the bytes still lie in it, and in no other",
                Some(CarrierBy::Meaning) | None => {
                    "the only object of the slab with which the pointer's bytes have a meaning"
                }
            };
            let pointer = (hit.cache.offset, "the next-free pointer of the freelist");
            let there = overwrite.still_there;
            let start = hit.cache.offset.saturating_add(overwrite.span.start.into());
            let reading = overwrite.reading.as_ref().map(|reading| (reading, start));
            memory.object = Some(look.object(
                known_by,
                pointer,
                reading,
                there,
                &mut memory.missing,
            ));
        }
        _ => memory.missing.push(
            "the object that carried the pointer: it was taken off the list, and the pointer's bytes do not tell which one \
             it was"
                .into(),
        ),
    }
    let slab = match &hit.site {
        ListSite::CpuHead { .. } => hit.cpu_slab.slab,
        ListSite::SlabHead { slab, .. } | ListSite::Link { slab, .. } => *slab,
    };
    let slab = Slub::new(kernel).and_then(|slub| {
        let slab = slub.slab(slab)?;
        Ok(objects(kernel, &slub, &hit.cache, &slab, carrier))
    });
    match slab {
        Ok(slab) => memory.slab = Some(slab),
        Err(missing) => memory.missing.push(format!("the slab: {missing}")),
    }
    memory
}

fn of_field(kernel: &Kernel<'_>, hit: &CorruptField, devices: &[UsbDevice]) -> Memory {
    let mut memory = Memory::default();
    let object = &hit.object;
    let look = Look {
        kernel,
        cache: &object.cache,
        at: object.at,
        devices,
    };
    let offset = hit.at.0.wrapping_sub(object.at.0);
    let start = offset.saturating_add(hit.span.start.into());
    memory.object = Some(look.object(
        "the pointer was read from it, and still lies there",
        (offset, hit.name()),
        Some((&hit.reading, start)),
        Some(true),
        &mut memory.missing,
    ));
    match Slub::new(kernel) {
        Ok(slub) => {
            let list = objects(kernel, &slub, &object.cache, &object.slab, Some(object.at));
            memory.slab = Some(list);
        }
        Err(missing) => memory.missing.push(format!("the slab: {missing}")),
    }
    memory
}

/// One object that is looked at.
struct Look<'l> {
    kernel: &'l Kernel<'l>,
    cache: &'l Cache,
    at: VirtAddr,
    devices: &'l [UsbDevice],
}

impl Look<'_> {
    /// `reading`: what the bytes are, and where in the object their first one lies.
    fn object(
        &self,
        known_by: &str,
        (offset, what): (u64, &str),
        reading: Option<(&Reading, u64)>,
        still_there: Option<bool>,
        gaps: &mut Vec<String>,
    ) -> ObjectBytes {
        let size = self.cache.object_size;
        let shown = usize::try_from(size).unwrap_or(MAX_BYTES).min(MAX_BYTES);
        if size > MAX_BYTES as u64 {
            gaps.push(format!("bytes of the object behind the first {MAX_BYTES}"));
        }
        let mut bytes = vec![0; shown];
        let in_dump = match self.kernel.memory().read(self.at, &mut bytes) {
            Ok(()) => Some(Bytes {
                from: 0,
                hex: hex(&bytes),
                what: match still_there {
                    Some(true) => "as the dump has it: what was written still lies there",
                    Some(false) => "as the dump has it: overwritten since",
                    None => "as the dump has it",
                }
                .into(),
            }),
            Err(error) => {
                gaps.push(format!("bytes of the object: {error}"));
                None
            }
        };
        let (written, fields) = match reading {
            Some((reading, start)) => self.sent(reading, start, shown as u64, gaps),
            None => (None, Vec::new()),
        };
        ObjectBytes {
            address: self.at.to_string(),
            cache: self.cache.name.clone(),
            size,
            known_by: known_by.into(),
            in_dump,
            written,
            pointer: Some(Span {
                from: offset,
                to: offset.saturating_add(8),
                what: what.into(),
            }),
            fields,
        }
    }

    /// What was sent, laid over the object, and its fields.
    fn sent(
        &self,
        reading: &Reading,
        start: u64,
        shown: u64,
        gaps: &mut Vec<String>,
    ) -> (Option<Bytes>, Vec<Field>) {
        let Kind::Device(found) = &reading.kind else {
            gaps.push(
                "what was written around the pointer: no device that is present sent these bytes"
                    .into(),
            );
            return (None, Vec::new());
        };
        let Some(whole) = found.whole(self.devices) else {
            return (None, Vec::new());
        };
        // The object's byte at which what was sent begins; before the object where that is negative.
        let first = i128::from(start) - i128::from(found.at);
        let clip = |at: u64| {
            u64::try_from(i128::from(at) + first)
                .unwrap_or(0)
                .min(shown)
        };
        let all = descriptor::fields(&whole).into_iter();
        let fields = all
            .map(|field| Field {
                from: clip(field.from),
                to: clip(field.to),
                ..field
            })
            .filter(|field| field.from < field.to)
            .collect();
        let (from, to) = (clip(0), clip(whole.len() as u64));
        let skipped = usize::try_from(-first).unwrap_or(0);
        let visible: Vec<u8> = whole
            .iter()
            .skip(skipped)
            .take(usize::try_from(to.saturating_sub(from)).unwrap_or(0))
            .copied()
            .collect();
        let bytes = Bytes {
            from,
            hex: hex(&visible),
            what: format!(
                "the {} of USB device {} ({:04x}:{:04x}), {} bytes",
                found.part.label(),
                found.device,
                found.id.0,
                found.id.1,
                whole.len()
            ),
        };
        (Some(bytes), fields)
    }
}

/// The objects of a slab: each on its list, or on none.
fn objects(
    kernel: &Kernel<'_>,
    slub: &Slub<'_>,
    cache: &Cache,
    slab: &Slab,
    corrupted: Option<VirtAddr>,
) -> SlabObjects {
    let mut lists = Lists::default();
    match slub.coding(cache) {
        Ok(coding) => {
            for &cpu in slub.cpus() {
                let of_cpu = cache.cpu_slab(kernel, cpu).ok();
                let of_cpu = of_cpu.filter(|active| active.slab == slab.at);
                if let Some(active) = of_cpu {
                    let walk = walk_freelist(kernel, cache, slab, active.freelist, coding);
                    lists.add(
                        format!("CPU {cpu}"),
                        ObjectState::FreeOnCpu,
                        walk.objects,
                        &walk.end,
                    );
                }
            }
            let walk = walk_freelist(kernel, cache, slab, slab.freelist, coding);
            lists.add(
                "the slab".into(),
                ObjectState::FreeOnSlab,
                walk.objects,
                &walk.end,
            );
        }
        Err(missing) => {
            lists.broken = true;
            lists.told.push(format!("not walked: {missing}"));
        }
    }
    let urbs = usb::urbs(kernel).map(|(urbs, _)| urbs).unwrap_or_default();
    let list = slab
        .all_objects(cache)
        .take(usize::try_from(MAX_OBJECTS).unwrap_or(0))
        .map(|at| {
            let free = lists.free.get(&at).copied();
            let (state, place) = match free {
                Some((state, place)) => (state, Some(place)),
                None if lists.broken => (ObjectState::Unknown, None),
                None => (ObjectState::Allocated, None),
            };
            let urb = urbs.iter().find(|urb| urb.buffer == at);
            SlabObject {
                state,
                place,
                corrupted: corrupted == Some(at),
                note: urb.map_or_else(String::new, |urb| {
                    format!("buffer of a URB of {} in flight", urb.device)
                }),
            }
        });
    SlabObjects {
        address: slab.object(cache, 0).to_string(),
        cache: cache.name.clone(),
        distance: cache.size,
        objects: slab.objects,
        list: list.collect(),
        freelists: lists.told,
    }
}

/// The lists of free objects.
#[derive(Default)]
struct Lists {
    /// Which list each free object is on, and its place there.
    free: HashMap<VirtAddr, (ObjectState, u64)>,
    /// How each ends.
    told: Vec<String>,
    /// One does not end as it should: what is on none may be free all the same.
    broken: bool,
}

impl Lists {
    fn add(&mut self, whose: String, state: ObjectState, objects: Vec<VirtAddr>, end: &WalkEnd) {
        self.broken |= *end != WalkEnd::Null;
        let count = objects.len();
        for (place, at) in (1..).zip(objects) {
            self.free.insert(at, (state, place));
        }
        self.told
            .push(format!("list of {whose}: {count} free, {end}"));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
