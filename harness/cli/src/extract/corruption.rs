//! What was overwritten and by what: its group of the signature, without addresses, and its part of the account, with
//! them. The corrupted list and its cache are told here too.
use recrash_kernel::corruption::{CarrierBy, CorruptFreelist, Decoding, ListSite, Overwrite};
use recrash_kernel::decode::{self, Descriptor, Kind, KnownMatch, KnownPart, Reading};
use recrash_kernel::slub::{self, FreeOn, ObjectDebug, ObjectState, Slub, Track, TrackTrace};
use recrash_kernel::{Crash, Kernel, Missing, usb};
use recrash_signature::model::{
    Bytes, Confidence, Corruption, Decoded, DescriptorType, Encoding, Fact as Known, Site, Source,
    Span,
};
use recrash_signature::normalise;
use recrash_vmcore::VirtAddr;

use super::field;
use crate::output;
use crate::report::Fact;

/// The signature's group; `types` is where facts come from that took types to read.
pub(super) fn signature(crash: &Crash, types: Source) -> Corruption {
    let (hit, decoding) = match (&crash.freelist, &crash.decoding) {
        (Ok(hit), Some(decoding)) => (hit, decoding),
        (Err(missing), _) => {
            return match &crash.field {
                Ok(hit) => field::signature(hit, types),
                Err(_) => none(&missing.to_string()),
            };
        }
        (Ok(_), None) => return none("the bytes were not looked at"),
    };
    let cache = normalise::cache(&hit.cache.name);
    let unread =
        "which object of the slab carried the pointer is not known, so its coding can't be undone";
    let overwrite = &decoding.overwrite;
    let span = Span {
        start: overwrite.span.start,
        end: overwrite.span.end,
    };
    let observed = overwrite.bytes.as_ref().and_then(|bytes| {
        let part = bytes.get(span.start.into()..span.end.into())?;
        Some(Bytes(part.to_vec()))
    });
    let reading = overwrite.reading.as_ref();
    Corruption {
        site: Known::known(Site::FreelistPointer { cache }, types),
        bytes: Known::from_option(overwrite.bytes.map(|_| span), types, unread),
        observed: Known::from_option(observed, types, unread),
        decoded: match blind(crash, decoding) {
            Some(why) => Known::absent(why),
            None => Known::known(decoded(reading), types),
        },
        confidence: Known::from_option(
            reading.map(confidence),
            Source::Derived,
            "nothing was recognised",
        ),
        proof: Known::known(proof(hit, decoding), types),
    }
}

/// Why nothing can be said of bytes that are part of no descriptor found: one that could not be read, or a reading
/// of the pointer that could not be tried, may be the answer.
fn blind(crash: &Crash, decoding: &Decoding) -> Option<String> {
    let sure = |reading: &Reading| reading.confidence >= decode::Confidence::Structural;
    if decoding.overwrite.reading.as_ref().is_some_and(sure) {
        return None;
    }
    if let Some(missing) = &decoding.gap {
        return Some(format!("the slab's objects: {missing}"));
    }
    let of_devices = || {
        let mut devices = crash.devices.iter().flatten();
        devices.find_map(|device| device.missing.first())
    };
    let missing = crash.devices.as_ref().err();
    let missing = missing.or(crash.device_gaps.first()).or_else(of_devices)?;
    Some(format!(
        "the strings of the devices present could not all be read: {missing}"
    ))
}

/// The group where nothing is known of a corruption.
pub(crate) fn none(reason: &str) -> Corruption {
    Corruption {
        site: Known::absent(reason),
        bytes: Known::absent(reason),
        observed: Known::absent(reason),
        decoded: Known::absent(reason),
        confidence: Known::absent(reason),
        proof: Known::absent(reason),
    }
}

/// What the signature says of a reading; without one, that nothing fits.
pub(crate) fn decoded(reading: Option<&Reading>) -> Decoded {
    let Some(reading) = reading else {
        return Decoded::Unknown {};
    };
    match &reading.kind {
        Kind::Device(found) => of_device(found),
        Kind::Descriptor(found) => Decoded::UsbDescriptor {
            descriptor: DescriptorType(found.kind),
            offset: 0,
            length: Some(found.length),
            text: found.text.clone(),
            whole: None,
            langids: (!found.languages.is_empty()).then(|| found.languages.clone()),
        },
        Kind::Setup(setup) => Decoded::SetupPacket {
            request: setup.name().unwrap_or("unknown").into(),
        },
        Kind::Text { encoding, text } => Decoded::Text {
            encoding: match encoding {
                decode::Encoding::Ascii => Encoding::Ascii,
                decode::Encoding::Utf16 => Encoding::Utf16,
            },
            text: text.clone(),
        },
        Kind::Poison { name, .. } => Decoded::Poison {
            name: (*name).into(),
        },
        Kind::BitFlip { bit, .. } => Decoded::BitFlip { bit: *bit },
        Kind::ErrorPointer { number, name } => Decoded::ErrorPointer {
            error: name.map_or_else(|| number.to_string(), str::to_owned),
        },
        Kind::Zeroes | Kind::Number(_) => Decoded::Number {},
    }
}

/// A string is told whole; of a configuration or BOS, the descriptor that the first byte lies in.
fn of_device(found: &KnownMatch) -> Decoded {
    let narrow = |at: u64| u16::try_from(at).unwrap_or(u16::MAX);
    let whole = match &found.part {
        KnownPart::Kept(_, _) => {
            return Decoded::Text {
                encoding: Encoding::Ascii,
                text: found.visible.clone().unwrap_or_default(),
            };
        }
        KnownPart::String(_, text) => Some(text.clone()),
        _ => None,
    };
    Decoded::UsbDescriptor {
        descriptor: DescriptorType(found.kind.unwrap_or(0)),
        offset: narrow(found.kind_at),
        length: found.kind_length,
        text: found.visible.clone(),
        whole,
        langids: (!found.languages.is_empty()).then(|| found.languages.clone()),
    }
}

/// How sure the signature says a reading is.
pub(crate) fn confidence(reading: &Reading) -> Confidence {
    match reading.confidence {
        decode::Confidence::Proven => Confidence::Proven,
        decode::Confidence::Structural => Confidence::Structural,
        decode::Confidence::Plausible => Confidence::Plausible,
    }
}

/// What proves the decoding. No addresses: they differ from run to run.
fn proof(hit: &CorruptFreelist, decoding: &Decoding) -> Vec<String> {
    let cache = normalise::cache(&hit.cache.name);
    let site = match hit.site {
        ListSite::CpuHead { .. } => "kmem_cache_cpu.freelist",
        ListSite::SlabHead { .. } => "the freelist of a slab",
        ListSite::Link { .. } => "the next-free pointer in an object on a freelist",
    };
    let mut lines = vec![format!(
        "the faulting address is {site} plus kmem_cache.offset of {cache}"
    )];
    if !hit.registers.is_empty() {
        lines.push(format!("a register holds the same value as {site}"));
    }
    let overwrite = &decoding.overwrite;
    if overwrite.object_by == Some(CarrierBy::Memory) {
        lines.push("the bytes still lie in one object of the slab, and in no other".into());
    }
    if let Some(extent) = &overwrite.extent
        && extent.bit.is_none()
    {
        lines.push(format!(
            "bytes {} to {} differ from a pointer to an object of the slab, the others are the same",
            extent.start, extent.end
        ));
    }
    lines.extend(overwrite.reading.as_ref().and_then(same_bytes));
    lines
}

/// That the bytes are those of a device present, where they are.
pub(super) fn same_bytes(reading: &Reading) -> Option<String> {
    let Kind::Device(found) = &reading.kind else {
        return None;
    };
    let (vendor, product) = found.id;
    let length = reading.explained.len() as u64;
    Some(format!(
        "the bytes equal bytes {} to {} of the {}-byte {} of the device {vendor:04x}:{product:04x} that is present \
         in the dump",
        found.at,
        found.at.saturating_add(length),
        found.length,
        found.part.label(),
    ))
}

/// The account's facts: of the corruption, and of the cache and its list.
pub(super) fn account(
    kernel: &Kernel<'_>,
    crash: &Crash,
    gaps: &mut Vec<String>,
) -> (Vec<Fact>, Vec<Fact>) {
    let hit = match &crash.freelist {
        Ok(hit) => hit,
        Err(missing) => {
            return match &crash.field {
                Ok(hit) => field::account(hit),
                Err(_) => {
                    gaps.push(format!("corruption: {missing}"));
                    (Vec::new(), Vec::new())
                }
            };
        }
    };
    let mut facts = vec![place(hit)];
    if let Some(decoding) = &crash.decoding {
        if let Some(gap) = &decoding.gap {
            gaps.push(format!("objects of the active slab: {gap}"));
        }
        facts.extend(overwritten(hit, decoding));
        if let Some(object) = decoding.overwrite.object {
            facts.extend(carrier(kernel, hit, object, gaps));
        }
    }
    (facts, slab(hit))
}

fn place(hit: &CorruptFreelist) -> Fact {
    let pointer = hit.site.pointer();
    let equal: String = (hit.registers.iter())
        .map(|name| format!(" == {name}"))
        .collect();
    let site = match &hit.site {
        ListSite::CpuHead { .. } => format!("kmem_cache_cpu.freelist at {}", hit.cpu_slab.at),
        ListSite::SlabHead { holder, slab, .. } => {
            format!("the freelist of the slab at {slab} ({holder})")
        }
        ListSite::Link {
            holder, slab, link, ..
        } => format!(
            "the next-free pointer in the object at {}, in the slab at {slab} ({holder}),",
            link.carrier.unwrap_or_default()
        ),
    };
    Fact::new("where", format!("freelist of {}", hit.cache.name)).proven_by(format!(
        "{site} is {pointer}{equal}; the faulting address is that plus kmem_cache.offset {}",
        hit.cache.offset
    ))
}

fn overwritten(hit: &CorruptFreelist, decoding: &Decoding) -> Vec<Fact> {
    let mut facts = Vec::new();
    let overwrite = &decoding.overwrite;
    if let Some(bytes) = overwrite.bytes {
        facts.push(Fact::new("bytes", output::bytes(&bytes)).proven_by(carried(hit, overwrite)));
    }
    if let Some(extent) = &overwrite.extent {
        facts.push(Fact::new("extent", extent.to_string()));
    }
    let tried: Vec<String> = decoding
        .tried
        .iter()
        .cloned()
        .chain(
            overwrite
                .others
                .iter()
                .map(|other| format!("less likely: {} ({})", what(other), sure(other))),
        )
        .collect();
    let value = match &overwrite.reading {
        Some(reading) => format!("{} ({})", what(reading), sure(reading)),
        None => "not recognised".into(),
    };
    facts.push(Fact::new("what", value).proven_by(tried.join("\n")));
    facts.extend(overwrite.reading.as_ref().and_then(sender));
    if overwrite.still_there == Some(false) {
        let value = "overwritten since: the object was handed out once more (and zeroed, with init_on_alloc)";
        facts.push(Fact::new("evidence", value));
    }
    facts
}

fn carried(hit: &CorruptFreelist, overwrite: &Overwrite) -> String {
    let Some(object) = overwrite.object else {
        return String::new();
    };
    let by = match overwrite.object_by {
        Some(CarrierBy::List) => "it is on the list",
        Some(CarrierBy::Memory) => "where they still lie",
        Some(CarrierBy::Meaning) | None => "the only one with which they have a meaning",
    };
    format!(
        "in the object at {object}, {by}; offset {}, {}",
        hit.cache.offset,
        overwrite.coding.label()
    )
}

pub(super) fn sure(reading: &Reading) -> &'static str {
    match reading.confidence {
        decode::Confidence::Proven => "proven",
        decode::Confidence::Structural => "by its form",
        decode::Confidence::Plausible => "plausible",
    }
}

/// A reading in words.
pub(super) fn what(reading: &Reading) -> String {
    match &reading.kind {
        Kind::Device(found) => device(found, reading.explained.len()),
        Kind::Descriptor(found) => descriptor(found),
        Kind::Setup(setup) => format!("SETUP packet: {setup}"),
        Kind::Text {
            encoding: decode::Encoding::Ascii,
            text,
        } => format!("ASCII text {text:?}"),
        Kind::Text { text, .. } => format!("UTF-16 text {text:?}"),
        Kind::Poison { name, drift: 0 } => format!("fill pattern {name}"),
        Kind::Poison { name, drift } => format!("fill pattern {name}, counted by {drift:+}"),
        Kind::BitFlip { bit, pointer } => format!("{pointer:#018x} with bit {bit} flipped"),
        Kind::ErrorPointer { number, name } => {
            format!("error pointer -{number} ({})", name.unwrap_or("no name"))
        }
        Kind::Zeroes => "zeros".into(),
        Kind::Number(value) => format!("the number {value}"),
    }
}

/// The device whose data it was: the cause, not who holds the memory since.
pub(super) fn sender(reading: &Reading) -> Option<Fact> {
    let Kind::Device(found) = &reading.kind else {
        return None;
    };
    let also: String = (found.also.iter())
        .map(|other| format!(" or {other}"))
        .collect();
    let value = format!("{}{also}", device_name(found));
    let fact = Fact::new("sent by", value);
    Some(if also.is_empty() {
        fact
    } else {
        fact.proven_by("they have the same bytes there")
    })
}

fn device_name(found: &KnownMatch) -> String {
    let (vendor, product) = found.id;
    format!("USB device {} ({vendor:04x}:{product:04x})", found.device)
}

fn device(found: &KnownMatch, length: usize) -> String {
    let text = match &found.part {
        KnownPart::String(_, text) | KnownPart::Kept(_, text) => format!("\n{text:?}"),
        _ => String::new(),
    };
    format!(
        "bytes {} to {} of the {}-byte {} of {}{text}",
        found.at,
        found.at.saturating_add(length as u64),
        found.length,
        found.part.label(),
        device_name(found)
    )
}

fn descriptor(found: &Descriptor) -> String {
    let begins = match found.begins {
        0 => "head of a USB".to_owned(),
        byte => format!("from byte {byte} on, head of a USB"),
    };
    let mut words = format!(
        "{begins} {} (type {}), {} bytes",
        found.name, found.kind, found.length
    );
    if let Some(text) = &found.text {
        words.push_str(&format!(", text {text:?}"));
    }
    for (_, name) in &found.followed_by {
        words.push_str(&format!(", then {name}"));
    }
    words
}

/// The object that carried the pointer: its state, and what SLUB debugging knows of it.
fn carrier(
    kernel: &Kernel<'_>,
    hit: &CorruptFreelist,
    object: VirtAddr,
    gaps: &mut Vec<String>,
) -> Vec<Fact> {
    let slub = match Slub::new(kernel) {
        Ok(slub) => slub,
        Err(missing) => {
            gaps.push(format!("the object: {missing}"));
            return Vec::new();
        }
    };
    let Ok(found) = slub.find_object(object) else {
        return Vec::new();
    };
    let mut facts = vec![Fact::new(
        "object",
        format!(
            "number {} of {} in its slab, {}",
            found.index, found.slab.objects, found.state
        ),
    )];
    // Requests that were never there are no gap: usbcore may not be loaded.
    let urbs = usb::urbs(kernel).map(|(urbs, _)| urbs).unwrap_or_default();
    for urb in urbs.iter().filter(|urb| urb.buffer == object) {
        let value = format!(
            "{} bytes, {}, of {}, in flight",
            urb.length, urb.pipe, urb.device
        );
        facts
            .push(Fact::new("now buffer of", value).proven_by(format!("struct urb at {}", urb.at)));
    }
    if let Some(layout) = slub::layout(kernel, &hit.cache) {
        let allocated = !matches!(
            found.state,
            ObjectState::Free(FreeOn::Cpu(_) | FreeOn::Slab)
        );
        let debug = slub::object_debug(kernel, &hit.cache, &layout, object, allocated);
        facts.extend(debugging(kernel, &debug));
        gaps.extend(debug.missing.iter().map(Missing::to_string));
    }
    facts
}

fn debugging(kernel: &Kernel<'_>, debug: &ObjectDebug) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, track) in [
        ("allocated by", &debug.allocated),
        ("freed by", &debug.freed),
    ] {
        if let Some(track) = track {
            facts.push(Fact::new(name, who(kernel, track)).proven_by(stack(kernel, track)));
        }
    }
    for violation in debug.violations.iter().take(16) {
        let bytes = violation.bytes.get(..32).unwrap_or(&violation.bytes);
        facts.push(
            Fact::new(
                "overwritten",
                format!(
                    "{}: {} bytes at {}",
                    violation.zone.label(),
                    violation.bytes.len(),
                    violation.at
                ),
            )
            .proven_by(format!(
                "{} instead of {:02x}",
                output::bytes(bytes),
                violation.expected
            )),
        );
    }
    facts
}

fn who(kernel: &Kernel<'_>, track: &Track) -> String {
    let place = kernel.place(track.caller);
    let place = place.map_or_else(|| track.caller.to_string(), |place| place.to_string());
    format!("{place}, pid {} on CPU {}", track.pid, track.cpu)
}

fn stack(kernel: &Kernel<'_>, track: &Track) -> String {
    match &track.trace {
        TrackTrace::NotSaved => "no stack was saved".into(),
        TrackTrace::Missing(missing) => format!("its stack: {missing}"),
        TrackTrace::Frames(frames) => {
            let names: Vec<String> = frames
                .iter()
                .map(|frame| {
                    let place = kernel.place(*frame);
                    place.map_or_else(|| frame.to_string(), |place| place.to_string())
                })
                .collect();
            names.join("\n")
        }
    }
}

fn slab(hit: &CorruptFreelist) -> Vec<Fact> {
    let cache = &hit.cache;
    let hardened = if cache.random.is_some() {
        "hardened"
    } else {
        "plain"
    };
    vec![
        Fact::new(
            "cache",
            format!(
                "{} (object size {}, size {})",
                cache.name, cache.object_size, cache.size
            ),
        )
        .proven_by(format!("struct kmem_cache at {}", cache.at)),
        Fact::new(
            "pointer",
            format!("at offset {} of a free object, {hardened}", cache.offset),
        ),
        Fact::new(
            "cpu slab",
            format!(
                "freelist {}, tid {}",
                hit.cpu_slab.freelist, hit.cpu_slab.tid
            ),
        )
        .proven_by(format!("struct kmem_cache_cpu at {}", hit.cpu_slab.at)),
    ]
}
