//! Raw frames to the normalised chain: suffixes stripped, panic machinery dropped, allocator
//! internals under their public entry, the system-call entry turned into the call's name.
//!
//! Pure functions over the tables in `tables`; every frame taken away is returned with the rule.

mod tables;

use crate::model::Frame;
use serde::Serialize;

/// What normalising took away or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collapsed {
    /// The rule: `suffix`, `panic-machinery`, `allocator-internal`, `syscall-wrapper`.
    pub rule: &'static str,
    /// The frame or name as it was.
    pub raw: String,
}

/// A normalised chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Normalised {
    /// Innermost first, without the system-call entry.
    pub frames: Vec<Frame>,
    /// The system call's name, where the chain began with one.
    pub syscall: Option<String>,
    /// What was taken away, innermost first within each rule.
    pub collapsed: Vec<Collapsed>,
}

/// Strips the suffixes that compilers and allocation profiling add to a symbol.
///
/// `foo.constprop.0`, `foo.isra.12`, `foo.part.3.cold` → `foo`; `__kmalloc_noprof` (since 6.10) →
/// `__kmalloc`. Leading dots are kept, so the result is empty only for an empty name.
pub fn function(name: &str) -> &str {
    let mut name = name;
    while let Some((head, tail)) = name.rsplit_once('.') {
        let number = !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit());
        let suffix = number || tables::SUFFIXES.contains(&tail);
        if head.is_empty() || !suffix {
            break;
        }
        name = head;
    }
    match name.strip_suffix("_noprof") {
        Some(head) if !head.is_empty() => head,
        _ => name,
    }
}

/// The system call that an entry function or wrapper serves: `__x64_sys_ioctl` → `ioctl`. A bare
/// name comes back as it is.
pub fn syscall(name: &str) -> &str {
    tables::SYSCALL_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()))
        .unwrap_or(name)
}

/// The public allocator entry that a function is, or lies under when its own frame is missing.
///
/// A tail call leaves the public entry no frame of its own, so an internal function stands for the
/// entry that reaches it most directly.
pub fn allocator_entry(name: &str) -> Option<&'static str> {
    let name = function(name);
    let entry = tables::ALLOCATOR_ENTRIES
        .iter()
        .find(|entry| **entry == name);
    entry.copied().or_else(|| {
        let internal = tables::ALLOCATOR_INTERNALS.iter();
        internal
            .copied()
            .find(|(from, _)| *from == name)
            .map(|(_, entry)| entry)
    })
}

/// Whether a fault in `name` can lie under the public entry `entry`: it is that entry, or an
/// internal function that allocates (or frees) as the entry does.
pub fn serves_entry(name: &str, entry: &str) -> bool {
    let (name, entry) = (function(name), function(entry));
    let internal = tables::ALLOCATOR_INTERNALS.iter();
    let mut internal = internal.filter(|(from, _)| *from == name);
    let frees = |entry: &str| tables::FREEING_ENTRIES.contains(&entry);
    tables::ALLOCATOR_ENTRIES.contains(&entry)
        && (name == entry || internal.any(|(_, to)| frees(to) == frees(entry)))
}

/// A cache's name without what differs from boot to boot: `kmalloc-rnd-05-256`
/// (CONFIG_RANDOM_KMALLOC_CACHES, since 6.6) → `kmalloc-256`.
pub fn cache(name: &str) -> String {
    let random = name
        .strip_prefix("kmalloc-rnd-")
        .and_then(|rest| rest.split_once('-'))
        .filter(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    match random {
        Some((_, size)) => format!("kmalloc-{size}"),
        None => name.to_owned(),
    }
}

/// Normalises a chain, innermost frame first.
pub fn chain(raw: &[Frame]) -> Normalised {
    let mut out = Normalised::default();
    let mut frames = strip_suffixes(raw, &mut out.collapsed);
    drop_panic_machinery(&mut frames, &mut out.collapsed);
    out.syscall = collapse_syscall(&mut frames, &mut out.collapsed);
    collapse_allocator(&mut frames, &mut out.collapsed);
    out.frames = frames;
    out
}

fn took(rule: &'static str, frame: &Frame) -> Collapsed {
    Collapsed {
        rule,
        raw: frame.to_string(),
    }
}

fn strip_suffixes(raw: &[Frame], collapsed: &mut Vec<Collapsed>) -> Vec<Frame> {
    let strip = |frame: &Frame| {
        let stripped = function(&frame.function);
        if stripped != frame.function {
            collapsed.push(took("suffix", frame));
        }
        Frame {
            function: stripped.to_owned(),
            ..frame.clone()
        }
    };
    raw.iter().map(strip).collect()
}

/// Everything up to the innermost run's last frame of the crash path and the exception entry.
fn drop_panic_machinery(frames: &mut Vec<Frame>, collapsed: &mut Vec<Collapsed>) {
    let machinery = |frame: &Frame| {
        let name = frame.function.as_str();
        tables::PANIC_MACHINERY.contains(&name)
            || tables::PANIC_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let run = frames.iter().take_while(|frame| machinery(frame)).count();
    collapsed.extend(
        frames
            .drain(..run)
            .map(|frame| took("panic-machinery", &frame)),
    );
}

/// The outermost run of system-call entry code; its innermost named wrapper names the call.
fn collapse_syscall(frames: &mut Vec<Frame>, collapsed: &mut Vec<Collapsed>) -> Option<String> {
    let mut name = None;
    let mut keep = frames.len();
    for (index, frame) in frames.iter().enumerate().rev() {
        let called = syscall(&frame.function);
        if called != frame.function {
            name = Some(called.to_owned());
        } else if tables::ENTRY_CODE.contains(&called) {
            // The assembly and C below the dispatch.
        } else if let Some((_, call)) = tables::SYSCALL_BODIES
            .iter()
            .find(|(body, _)| *body == called)
        {
            name.get_or_insert_with(|| (*call).to_owned());
        } else {
            break;
        }
        keep = index;
    }
    // Entry code without a wrapper names no call; nothing inside it is lost.
    collapsed.extend(
        frames
            .drain(keep..)
            .map(|frame| took("syscall-wrapper", &frame)),
    );
    name
}

/// The innermost run of allocator functions becomes its outermost, public one.
fn collapse_allocator(frames: &mut Vec<Frame>, collapsed: &mut Vec<Collapsed>) {
    let allocator = |frame: &Frame| allocator_entry(&frame.function).is_some();
    let run = frames.iter().take_while(|frame| allocator(frame)).count();
    let Some(outermost) = run.checked_sub(1).and_then(|last| frames.get(last)) else {
        return;
    };
    let Some(entry) = allocator_entry(&outermost.function) else {
        return;
    };
    let public = Frame {
        function: entry.to_owned(),
        inlined: false,
        ..outermost.clone()
    };
    let taken: Vec<Frame> = frames.splice(..run, [public]).collect();
    let internal = taken.iter().filter(|frame| frame.function != entry);
    collapsed.extend(internal.map(|frame| took("allocator-internal", frame)));
}

#[cfg(test)]
mod tests;
