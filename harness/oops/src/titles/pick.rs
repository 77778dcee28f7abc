//! Which frame of a stack is the guilty one.
use super::helpers;
use super::rule::{self, Pick};

/// The guilty one among `frames`, innermost first, helpers left out already.
pub(crate) fn guilty(frames: &[String], pick: Pick) -> Option<String> {
    match pick {
        Pick::First => frames.first().cloned(),
        Pick::Stall => stalled(frames),
        Pick::Hang => waiting(frames),
    }
}

/// What the dispatcher called: the handler of a system call, a timer, a work item, a file operation. Everything above
/// it is where the CPU happened to be.
fn stalled(frames: &[String]) -> Option<String> {
    let dispatcher = rule::regex(helpers::DISPATCHERS)?;
    let at = frames.iter().position(|frame| dispatcher.is_match(frame))?;
    if frames
        .get(at)
        .is_some_and(|frame| frame.contains("smp_call_function"))
    {
        // A CPU that waits for another one: the caller differs each time.
        return Some("smp_call_function".to_owned());
    }
    frames.get(at.saturating_sub(1)).cloned()
}

/// Everyone waits for RCU or for the networking lock when one holder is stuck, so these are bugs of their own.
const SHARED_WAITS: [(&str, Option<&str>); 5] = [
    ("rtnl_lock", None),
    ("synchronize_rcu", Some("synchronize_rcu")),
    ("synchronize_srcu", Some("synchronize_rcu")),
    ("synchronize_net", Some("synchronize_rcu")),
    ("synchronize_sched", Some("synchronize_rcu")),
];

/// Parts of the names of functions that wait, whatever for.
const WAITS: [&str; 12] = [
    "sched",
    "_lock",
    "_slowlock",
    "down",
    "rwsem",
    "completion",
    "kthread",
    "wait",
    "synchronize",
    "context_switch",
    "__switch_to",
    "cancel_delayed_work",
];

fn waiting(frames: &[String]) -> Option<String> {
    let shared = frames.iter().find_map(|frame| {
        let (_, name) = SHARED_WAITS.iter().find(|(part, _)| frame.contains(part))?;
        Some(name.map_or_else(|| frame.clone(), str::to_owned))
    });
    shared.or_else(|| {
        let waits = |frame: &String| {
            WAITS
                .iter()
                .chain(&["rcu_barrier"])
                .any(|part| frame.contains(part))
        };
        frames.iter().find(|frame| !waits(frame)).cloned()
    })
}
