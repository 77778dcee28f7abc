//! What SLUB debugging says of one object, for `slab ADDRESS`: red zones and poison, what kmalloc() was asked for,
//! who allocated and freed it. Which object an address lies in is `slab`'s own matter.
use recrash_kernel::Kernel;
use recrash_kernel::slub::{
    self, ObjectDebug, ObjectState, SlabObject, Track, TrackTrace, Violation, ZoneSpan,
};
use recrash_vmcore::VirtAddr;
use serde::Serialize;

use super::reply::{Hex, clean};
use crate::output;

/// Wrong bytes shown of a zone at most.
const MAX_SHOWN: usize = 32;

#[derive(Debug, Serialize)]
pub(super) struct Debugging {
    /// Bytes that kmalloc() was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<u64>,
    /// Empty where it is not known whether the object is free: what should be there depends on it.
    zones: Vec<ZoneRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated: Option<TrackRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freed: Option<TrackRow>,
}

/// A stretch of memory that debugging filled with one byte.
#[derive(Debug, Serialize)]
struct ZoneRow {
    zone: &'static str,
    start: Hex,
    length: u64,
    expected: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    overwritten: Option<Overwritten>,
}

#[derive(Debug, Serialize)]
struct Overwritten {
    address: Hex,
    /// From the first wrong byte to the last.
    length: usize,
    /// The first of them, in hexadecimal.
    bytes: String,
}

#[derive(Debug, Serialize)]
struct TrackRow {
    pid: i32,
    cpu: u32,
    /// In jiffies.
    when: u64,
    /// Jiffies from then to the crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    caller: Place,
    /// Innermost first.
    stack: Vec<Place>,
    /// Why there is no stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_stack: Option<String>,
}

#[derive(Debug, Serialize)]
struct Place {
    address: Hex,
    /// Function and offset; nothing where the address lies in none.
    function: Option<String>,
}

/// What debugging says of an object; `None` for a cache without it. Appends what could not be read to `missing`.
pub(super) fn of(
    kernel: &Kernel<'_>,
    found: &SlabObject,
    missing: &mut Vec<String>,
) -> Option<Debugging> {
    let layout = slub::layout(kernel, &found.cache)?;
    let allocated = found.state == ObjectState::Allocated;
    let debug = slub::object_debug(kernel, &found.cache, &layout, found.at, allocated);
    missing.extend(debug.missing.iter().map(ToString::to_string));
    let known = !matches!(found.state, ObjectState::Unknown(_));
    if !known {
        missing.push(
            "whether the object is free, so what its red zones and poison should be".to_owned(),
        );
    }
    let now = kernel.u64_at_symbol("jiffies_64").ok();
    let track = |track: &Option<Track>| track.as_ref().map(|track| track_row(kernel, track, now));
    Some(Debugging {
        requested: debug.requested,
        zones: if known { zones(&debug) } else { Vec::new() },
        allocated: track(&debug.allocated),
        freed: track(&debug.freed),
    })
}

fn zones(debug: &ObjectDebug) -> Vec<ZoneRow> {
    let one = |span: &ZoneSpan| {
        let inside = |at: VirtAddr| {
            at.checked_since(span.start)
                .is_some_and(|into| into < span.length)
        };
        let mut violations = debug.violations.iter();
        ZoneRow {
            zone: span.zone.label(),
            start: span.start.into(),
            length: span.length,
            expected: Hex(span.expected.into()),
            overwritten: violations
                .find(|violation| inside(violation.at))
                .map(overwritten),
        }
    };
    debug.zones.iter().map(one).collect()
}

fn overwritten(violation: &Violation) -> Overwritten {
    Overwritten {
        address: violation.at.into(),
        length: violation.bytes.len(),
        bytes: output::bytes(violation.bytes.iter().take(MAX_SHOWN)),
    }
}

fn track_row(kernel: &Kernel<'_>, track: &Track, now: Option<u64>) -> TrackRow {
    let (stack, no_stack) = match &track.trace {
        TrackTrace::Frames(frames) => (frames.iter().map(|at| place(kernel, *at)).collect(), None),
        TrackTrace::NotSaved => (Vec::new(), Some("none was saved".into())),
        TrackTrace::Missing(why) => (Vec::new(), Some(why.to_string())),
    };
    TrackRow {
        pid: track.pid,
        cpu: track.cpu,
        when: track.when,
        age: now.and_then(|now| now.checked_sub(track.when)),
        caller: place(kernel, track.caller),
        stack,
        no_stack,
    }
}

/// A return address: the function is that of the call before it, the offset that of the address.
fn place(kernel: &Kernel<'_>, at: VirtAddr) -> Place {
    let found = kernel.place(VirtAddr(at.0.wrapping_sub(1)));
    let found = found.map(|mut place| {
        place.offset = place.offset.saturating_add(1);
        place.to_string()
    });
    Place {
        address: at.into(),
        function: found,
    }
}

impl Debugging {
    /// As text, with line ends.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(size) = self.requested {
            text.push_str(&format!("  requested: {size} bytes\n"));
        }
        self.zones
            .iter()
            .for_each(|zone| text.push_str(&zone.text()));
        for (name, track) in [("allocated", &self.allocated), ("freed", &self.freed)] {
            if let Some(track) = track {
                text.push_str(&track.text(name));
            }
        }
        text
    }
}

impl ZoneRow {
    fn text(&self) -> String {
        let state = match &self.overwritten {
            None => "intact".to_owned(),
            Some(wrong) => format!(
                "OVERWRITTEN, {} bytes from {}: {}",
                wrong.length, wrong.address, wrong.bytes
            ),
        };
        format!(
            "  {}, {} bytes of {} at {}: {state}\n",
            self.zone, self.length, self.expected, self.start
        )
    }
}

impl TrackRow {
    fn text(&self, name: &str) -> String {
        let age = match self.age {
            Some(age) => format!(", {age} before the crash"),
            None => String::new(),
        };
        let mut text = format!(
            "  {name} by {}, pid {}, CPU {}, at jiffy {}{age}\n",
            self.caller.text(),
            self.pid,
            self.cpu,
            self.when
        );
        for frame in &self.stack {
            text.push_str(&format!("    [{}] {}\n", frame.address, frame.text()));
        }
        if let Some(why) = &self.no_stack {
            text.push_str(&format!("    no stack: {}\n", clean(why)));
        }
        text
    }
}

impl Place {
    fn text(&self) -> String {
        match &self.function {
            Some(function) => clean(function),
            None => self.address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(overwritten: Option<Overwritten>) -> ZoneRow {
        ZoneRow {
            zone: "right red zone",
            start: Hex(0x1040),
            length: 8,
            expected: Hex(0xcc),
            overwritten,
        }
    }

    fn track(no_stack: Option<&str>) -> TrackRow {
        let place = || Place {
            address: Hex(0x8110),
            function: Some("alloc_it+0x10".into()),
        };
        TrackRow {
            pid: 41,
            cpu: 1,
            when: 1000,
            age: Some(7),
            caller: place(),
            stack: no_stack.is_none().then(place).into_iter().collect(),
            no_stack: no_stack.map(ToOwned::to_owned),
        }
    }

    #[track_caller]
    fn check(debugging: &Debugging, expected: &str) {
        assert_eq!(debugging.text(), expected);
    }

    #[test]
    fn an_intact_object_says_who_allocated_it_and_on_which_stack() {
        let found = Debugging {
            requested: Some(40),
            zones: vec![zone(None)],
            allocated: Some(track(None)),
            freed: None,
        };
        check(
            &found,
            "  requested: 40 bytes\n  right red zone, 8 bytes of cc at 1040: intact\n  \
             allocated by alloc_it+0x10, pid 41, CPU 1, at jiffy 1000, 7 before the crash\n    \
             [8110] alloc_it+0x10\n",
        );
    }

    #[test]
    fn overwritten_bytes_are_shown_and_a_stack_that_is_not_there_says_why() {
        let wrong = Overwritten {
            address: Hex(0x1043),
            length: 2,
            bytes: "de ad".into(),
        };
        let found = Debugging {
            requested: None,
            zones: vec![zone(Some(wrong))],
            allocated: None,
            freed: Some(track(Some("none was saved"))),
        };
        check(
            &found,
            "  right red zone, 8 bytes of cc at 1040: OVERWRITTEN, 2 bytes from 1043: de ad\n  \
             freed by alloc_it+0x10, pid 41, CPU 1, at jiffy 1000, 7 before the crash\n    \
             no stack: none was saved\n",
        );
    }
}
