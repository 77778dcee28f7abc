//! Which came first, the free or the end of the transfer: by the clocks, else by a function that frees only what has
//! ended. This is what tells a buffer freed too early from a late DMA; the bytes themselves are the same.
use serde::{Deserialize, Serialize};

use super::seen::{Hand, Memory, WrittenObject};
use super::wire::{Transfer, Wire};

/// How far two clocks may be apart, in milliseconds: the kernel's last message takes its way over an emulated serial port,
/// and a loaded host reads it late.
const TOLERANCE_MS: u64 = 250;

/// A function that frees a transfer's buffer only after the transfer has ended, and why that is so.
struct Owner {
    function: &'static str,
    why: &'static str,
}

/// Linux 4.18 to 6.12.
const OWNERS: &[Owner] = &[
    Owner {
        function: "free_async",
        why: "usbfs frees a request's buffer when the program has reaped it, or after it was killed; both need its end \
              (drivers/usb/core/devio.c: reap_as(), destroy_async(), free_async())",
    },
    Owner {
        function: "proc_reapurb",
        why: "only a request that has ended can be reaped (drivers/usb/core/devio.c: reap_as(), async_completed)",
    },
    Owner {
        function: "proc_reapurbnonblock",
        why: "only a request that has ended can be reaped (drivers/usb/core/devio.c: async_getcompleted())",
    },
    Owner {
        function: "do_proc_control",
        why: "the buffer is freed behind usb_start_wait_urb(), which returns when the transfer has ended or was killed \
              (drivers/usb/core/devio.c, message.c)",
    },
    Owner {
        function: "rh_call_control",
        why: "the buffer of a root hub's answer is never given to a controller (drivers/usb/core/hcd.c)",
    },
    Owner {
        function: "urb_destroy",
        why: "a request frees its own buffer (URB_FREE_BUFFER) when nobody has the request any more, which a transfer in \
              flight has (drivers/usb/core/urb.c)",
    },
];

/// What came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum First {
    /// The free: the transfer was in flight.
    Free,
    /// The transfer's end.
    End,
    /// It cannot be told.
    Unknown,
}

/// The order, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// What came first.
    pub(crate) first: First,
    /// How that is known, or why it is not.
    pub(crate) because: Vec<String>,
    /// The transfer whose bytes lie in the object: the one in flight, else the last one before the free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<Transfer>,
    /// When the object was freed, in milliseconds of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) freed_ms: Option<u64>,
    /// When it was allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated_ms: Option<u64>,
}

impl Order {
    fn of(first: First, because: Vec<String>, transfer: Option<&Transfer>) -> Self {
        Self {
            first,
            because,
            transfer: transfer.cloned(),
            freed_ms: None,
            allocated_ms: None,
        }
    }
}

/// The order for this object.
pub(crate) fn order(object: &WrittenObject, memory: &Memory, wire: &Wire) -> Order {
    let freed = object.freed.as_ref();
    let freed_ms = freed.and_then(|hand| on_the_hosts_clock(hand, memory, wire));
    let allocated = object.allocated.as_ref();
    let allocated_ms = allocated.and_then(|hand| on_the_hosts_clock(hand, memory, wire));
    let carrying: Vec<&Transfer> = wire.carrying(object.start, &object.bytes).collect();
    Order {
        freed_ms,
        allocated_ms,
        ..decide(object, &carrying, freed_ms, tolerance(memory))
    }
}

fn decide(
    object: &WrittenObject,
    carrying: &[&Transfer],
    freed_ms: Option<u64>,
    tolerance: u64,
) -> Order {
    let Some(freed) = &object.freed else {
        let why = "the object has no track of its free".to_owned();
        return Order::of(First::Unknown, vec![why], None);
    };
    if let Some(request) = object.urbs.iter().find(|urb| urb.in_flight) {
        let why = format!(
            "the request at {} is still in flight in the dump, and its buffer is the freed object",
            request.address
        );
        return Order::of(First::Free, vec![why], last_before(carrying, u64::MAX));
    }
    if let Some(freed_ms) = freed_ms {
        let late = |one: &&&Transfer| {
            let answered = one.answered_ms.unwrap_or(0);
            answered > freed_ms.saturating_add(tolerance)
                && one.asked_ms < freed_ms.saturating_add(tolerance)
        };
        if let Some(transfer) = carrying.iter().find(late) {
            let answered = transfer.answered_ms.unwrap_or(freed_ms);
            let mut because = vec![format!(
                "the object was freed {} ms before the device answered (the clocks may be {tolerance} ms apart)",
                answered.saturating_sub(freed_ms)
            )];
            because.extend(object.urbs.iter().filter(|urb| urb.allocated).map(ended));
            return Order::of(First::Free, because, Some(transfer));
        }
    }
    let before = freed_ms.map_or(u64::MAX, |freed| freed.saturating_add(tolerance));
    let transfer = last_before(carrying, before);
    if let Some((function, why)) = owner(freed) {
        let why = format!("it was freed by {function}: {why}");
        return Order::of(First::End, vec![why], transfer);
    }
    match (freed_ms, transfer.and_then(|one| one.answered_ms)) {
        (Some(freed_ms), Some(answered)) if answered.saturating_add(tolerance) < freed_ms => {
            let why = format!(
                "the device had answered {} ms before the object was freed (the clocks may be {tolerance} ms apart)",
                freed_ms - answered
            );
            Order::of(First::End, vec![why], transfer)
        }
        (Some(_), Some(_)) => {
            let why = format!(
                "the device's answer and the free lie within {tolerance} ms of each other, which the clocks cannot order, and \
                 {} is not known to free only what has ended",
                freed.function.short()
            );
            Order::of(First::Unknown, vec![why], transfer)
        }
        (None, Some(_)) => {
            let why = "when the object was freed is not known on the host's clock".to_owned();
            Order::of(First::Unknown, vec![why], transfer)
        }
        (_, None) => {
            let why = "no answer of the device that was seen has these bytes".to_owned();
            Order::of(First::Unknown, vec![why], None)
        }
    }
}

/// What a request that has ended says.
fn ended(urb: &super::seen::Request) -> String {
    format!(
        "the request at {} has this object as its buffer: it ended with status {} and {} bytes, and calls {} at its end",
        urb.address, urb.status, urb.actual_length, urb.complete
    )
}

fn last_before<'t>(carrying: &[&'t Transfer], before: u64) -> Option<&'t Transfer> {
    let answered = |one: &&&'t Transfer| one.answered_ms.is_some_and(|at| at <= before);
    carrying.iter().rfind(answered).copied()
}

/// The first function of the call path that frees only what has ended.
fn owner(freed: &Hand) -> Option<(String, &'static str)> {
    let path = std::iter::once(&freed.function).chain(&freed.path);
    path.into_iter().find_map(|function| {
        let name = function.source_name();
        let owner = OWNERS.iter().find(|owner| owner.function == name)?;
        Some((function.short(), owner.why))
    })
}

/// The kernel died at a known time of both clocks, so many jiffies after it did this.
fn on_the_hosts_clock(hand: &Hand, memory: &Memory, wire: &Wire) -> Option<u64> {
    let before = memory.jiffies?.checked_sub(hand.jiffies)?;
    let before = before.checked_mul(memory.tick_ns?)? / 1_000_000;
    wire.death_ms?.checked_sub(before)
}

fn tolerance(memory: &Memory) -> u64 {
    let tick = memory.tick_ns.unwrap_or_default() / 1_000_000;
    TOLERANCE_MS.saturating_add(tick)
}
