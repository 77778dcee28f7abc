//! Whether two chains are the same place: the public allocator entry and its caller are the same,
//! and the other frames of the shorter chain are a subsequence of the longer.
//!
//! Frames marked inlined are left out of entry, caller and subsequence.

use crate::model::{Fact, Frame, Frames, Source};
use crate::normalise;

/// One way in which two chains differ.
pub(crate) struct Different {
    pub(crate) field: &'static str,
    pub(crate) golden: String,
    pub(crate) found: String,
}

/// How a frame is written whose function no symbol names.
const UNNAMED: &str = "?";

/// The chain, absent where it holds no frame: two that say nothing are not one place.
pub(crate) fn located(chain: &Fact<Vec<Frame>>) -> Fact<Vec<Frame>> {
    match chain.value() {
        Some(frames) if functions(frames).is_empty() => Fact::absent("the chain holds no frame"),
        _ => chain.clone(),
    }
}

/// What the stack of a kernel thread begins with: it was not called (Linux arch/x86/entry/entry_64.S; since 6.5 the
/// second).
const THREAD_STARTS: [&str; 2] = ["ret_from_fork", "ret_from_fork_asm"];

/// The system call that a crash came in: where there is none to know because a kernel thread made it, that.
pub(crate) fn call(frames: &Frames) -> Fact<String> {
    let thread = frames.chain.value().is_some_and(|chain| {
        let outermost = functions(chain).last().copied();
        outermost.is_some_and(|outermost| THREAD_STARTS.contains(&outermost))
    });
    match &frames.syscall {
        Fact::Absent { .. } if thread => {
            Fact::known("none, a kernel thread".into(), Source::Derived)
        }
        known => known.clone(),
    }
}

/// What differs between two chains, innermost frame first. An entry or caller without a name is
/// not the same as another one.
pub(crate) fn differences(golden: &[Frame], found: &[Frame]) -> Vec<Different> {
    let mut out = Vec::new();
    let (a, b) = (functions(golden), functions(found));
    for (index, field) in [(0, "frames.entry"), (1, "frames.caller")] {
        let name = |frames: &[&str]| (*frames.get(index).unwrap_or(&"(none)")).to_owned();
        let (golden, found) = (name(&a), name(&b));
        if golden != found || golden == UNNAMED {
            out.push(Different {
                field,
                golden,
                found,
            });
        }
    }
    let names = |frames: &[Frame]| -> Vec<String> {
        frames.iter().map(|frame| frame.function.clone()).collect()
    };
    if names(golden) != names(found) {
        out.push(Different {
            field: "frames.chain",
            golden: names(golden).join(" ← "),
            found: names(found).join(" ← "),
        });
    }
    let (golden, found) = moved(golden, found);
    if golden != found {
        out.push(Different {
            field: "frames.modules",
            golden,
            found,
        });
    }
    out
}

/// The functions that have a frame of their own, suffixes stripped.
pub(crate) fn functions(frames: &[Frame]) -> Vec<&str> {
    let real = frames.iter().filter(|frame| !frame.inlined);
    real.map(|frame| normalise::function(&frame.function))
        .collect()
}

/// Whether the shorter chain is a subsequence of the longer, with the same entry, caller and
/// outermost frame: what a system call or a thread starts with is called through a pointer, so
/// without it the chain was cut short, not inlined.
pub(crate) fn inlining_explains(golden: &[Frame], found: &[Frame]) -> bool {
    let (a, b) = (functions(golden), functions(found));
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut rest = long.iter();
    short.iter().take(2).eq(long.iter().take(2))
        && short.last() == long.last()
        && short.iter().all(|frame| rest.any(|other| other == frame))
}

/// Whether only suffixes tell the chains apart.
pub(crate) fn suffixes_explain(golden: &[Frame], found: &[Frame]) -> bool {
    let stripped = |frames: &[Frame]| -> Vec<String> {
        frames
            .iter()
            .map(|frame| normalise::function(&frame.function).to_owned())
            .collect()
    };
    stripped(golden) == stripped(found)
}

/// Whether each function in both chains moved only between the kernel image and a module.
pub(crate) fn only_moved_in_or_out(golden: &[Frame], found: &[Frame]) -> bool {
    pairs(golden, found)
        .all(|(a, b)| a.module == b.module || a.module.is_none() || b.module.is_none())
}

/// The frames that both chains have, as text, where their module is not the same.
fn moved(golden: &[Frame], found: &[Frame]) -> (String, String) {
    let text = |frame: &Frame| match &frame.module {
        Some(module) => format!("{} in {module}", frame.function),
        None => format!("{} built in", frame.function),
    };
    let moved = pairs(golden, found).filter(|(a, b)| a.module != b.module);
    let (golden, found): (Vec<_>, Vec<_>) = moved.map(|(a, b)| (text(a), text(b))).unzip();
    (golden.join(", "), found.join(", "))
}

/// Frames of the same function, by first occurrence.
fn pairs<'a>(
    golden: &'a [Frame],
    found: &'a [Frame],
) -> impl Iterator<Item = (&'a Frame, &'a Frame)> {
    golden.iter().filter_map(|a| {
        let same =
            |b: &&Frame| normalise::function(&a.function) == normalise::function(&b.function);
        found.iter().find(same).map(|b| (a, b))
    })
}
