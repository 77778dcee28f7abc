//! From the memory of a run with SLUB debugging to what `diagnose` weighs: the free objects that were written to, what
//! the bytes are, who allocated and freed each, and which requests still have it as their buffer.
use recrash_kernel::decode::{self, Confidence, Kind, Known, Question, Reading};
use recrash_kernel::slub::{ObjectState, Slub, StaleWrite, Track, TrackTrace};
use recrash_kernel::usb::{self, HeldUrb, UrbPlace};
use recrash_kernel::{Crash, Kernel};
use recrash_vmcore::VirtAddr;

use super::corruption;
use crate::diagnose::seen::{Function, Hand, Memory, Request, WrittenObject};

/// Bytes of an object that are kept; the largest that a device's answer is compared with.
const MAX_BYTES: usize = 4096;

/// What the memory tells. What could not be read is among it with its reason.
pub(crate) fn memory(kernel: &Kernel<'_>, crash: &Crash) -> Memory {
    let mut memory = Memory {
        jiffies: kernel.u64_at_symbol("jiffies_64").ok(),
        tick_ns: tick(kernel),
        ..Memory::default()
    };
    let found = Slub::new(kernel).and_then(|slub| {
        let all = slub.stale_writes()?;
        Ok((slub, all))
    });
    let (slub, all) = match found {
        Ok(found) => found,
        Err(why) => {
            memory.missing.push(format!("the slabs: {why}"));
            return memory;
        }
    };
    memory.caches = all.caches;
    memory
        .missing
        .extend(all.missing.iter().map(ToString::to_string));
    let buffers: Vec<VirtAddr> = all.found.iter().map(|found| found.at).collect();
    let urbs = if buffers.is_empty() {
        Vec::new()
    } else {
        urbs(kernel, &slub, &buffers, &mut memory.missing)
    };
    let known = Known::of(crash.devices.as_deref().unwrap_or_default());
    memory.objects = all
        .found
        .iter()
        .map(|found| object(kernel, found, &known, &urbs))
        .collect();
    memory
}

/// Nanoseconds of a jiffy: a variable until 6.12 (kernel/time/ntp.c), which is slightly adjusted by NTP.
fn tick(kernel: &Kernel<'_>) -> Option<u64> {
    let tick = kernel.u64_at_symbol("tick_nsec").ok()?;
    // CONFIG_HZ is 100 to 1000.
    (900_000..=11_000_000).contains(&tick).then_some(tick)
}

fn urbs(
    kernel: &Kernel<'_>,
    slub: &Slub<'_>,
    buffers: &[VirtAddr],
    missing: &mut Vec<String>,
) -> Vec<HeldUrb> {
    match usb::urbs_on(kernel, slub, buffers) {
        Ok((urbs, gaps)) => {
            missing.extend(gaps.iter().map(ToString::to_string));
            urbs
        }
        Err(why) => {
            missing.push(format!("requests in memory: {why}"));
            Vec::new()
        }
    }
}

fn object(
    kernel: &Kernel<'_>,
    found: &StaleWrite,
    known: &Known,
    urbs: &[HeldUrb],
) -> WrittenObject {
    let question = Question {
        offset: Some(found.span.start),
        ..Question::of(&found.bytes)
    };
    let decoded = decode::decode(&question, known);
    let best = decoded.best();
    let sent = best.is_some_and(|reading| {
        let of_device = match &reading.kind {
            Kind::Device(found) => found.kind.is_some(),
            Kind::Descriptor(_) => true,
            _ => false,
        };
        of_device && reading.confidence >= Confidence::Structural
    });
    let bytes = found.bytes.get(..MAX_BYTES).unwrap_or(&found.bytes);
    let hand = |track: &Option<Track>| track.as_ref().map(|track| hand(kernel, track));
    WrittenObject {
        address: found.at.to_string(),
        cache: found.cache.name.clone(),
        object_size: found.cache.object_size,
        start: found.span.start,
        end: found.span.end,
        bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        what: match best {
            Some(reading) => what(reading, found.bytes.len()),
            None => "not recognised".into(),
        },
        sent_by_device: sent,
        alone: found.is_alone(),
        allocated: hand(&found.debug.allocated),
        freed: hand(&found.debug.freed),
        urbs: requests(urbs, found.at),
    }
}

/// Those with this buffer; first the ones that somebody still has.
fn requests(urbs: &[HeldUrb], buffer: VirtAddr) -> Vec<Request> {
    let of_it = urbs.iter().filter(|held| held.urb.buffer == buffer);
    let mut requests: Vec<Request> = of_it.map(request).collect();
    requests.sort_by_key(|request| !request.allocated);
    requests
}

/// A reading in words; of a longer stretch only its beginning is read.
fn what(reading: &Reading, length: usize) -> String {
    let read = reading.explained.len();
    let words = corruption::what(reading);
    if read < length {
        format!("the first {read} of them are {words}")
    } else {
        words
    }
}

fn request(held: &HeldUrb) -> Request {
    let urb = &held.urb;
    Request {
        address: urb.at.to_string(),
        device: urb.device.clone(),
        setup: urb.setup.map(|setup| setup.to_string()),
        in_flight: urb.place == UrbPlace::Endpoint,
        status: urb.status,
        actual_length: urb.actual_length,
        complete: match &urb.complete_name {
            Some(place) => {
                function_of(place.symbol.clone(), place.offset, place.module.clone()).short()
            }
            None => urb.complete.to_string(),
        },
        allocated: held.memory == ObjectState::Allocated,
    }
}

fn hand(kernel: &Kernel<'_>, track: &Track) -> Hand {
    let (path, no_path) = match &track.trace {
        TrackTrace::Frames(frames) => (
            frames.iter().map(|at| function(kernel, *at)).collect(),
            None,
        ),
        TrackTrace::NotSaved => (
            Vec::new(),
            Some("this kernel saves no stacks (CONFIG_STACKTRACE)".into()),
        ),
        TrackTrace::Missing(why) => (Vec::new(), Some(why.to_string())),
    };
    Hand {
        function: function(kernel, track.caller),
        pid: track.pid,
        cpu: track.cpu,
        jiffies: track.when,
        path,
        no_path,
    }
}

/// The function of a return address: a call that never returns leaves the address of the next one, so the byte before is
/// looked up; the offset is the address's own.
fn function(kernel: &Kernel<'_>, at: VirtAddr) -> Function {
    match kernel.place(VirtAddr(at.0.wrapping_sub(1))) {
        Some(place) => function_of(place.symbol, place.offset.saturating_add(1), place.module),
        None => function_of(at.to_string(), 0, None),
    }
}

fn function_of(name: String, offset: u64, module: Option<String>) -> Function {
    Function {
        name,
        offset,
        module,
    }
}
