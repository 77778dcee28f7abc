//! The registers in plain words: what each value is, and where it came from.
use super::account::Gaps;
use recrash_kernel::pointee::{Kind, Landmarks};
use recrash_kernel::slice::{End, Origin, Role};
use recrash_kernel::{Crash, Kernel};

use crate::report::{Fact, Register};

/// The registers of the exception; where there was none, of what was interrupted, or those that the dump saved for
/// the CPU.
pub(super) fn registers(kernel: &Kernel<'_>, crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Register> {
    let of_exception = crash.exception.as_ref().map(|exception| exception.regs);
    let interrupted = crash.interrupted.as_ref().map(|context| context.regs);
    let regs = match (of_exception.ok().or(interrupted), &crash.saved) {
        (Some(regs), _) => regs,
        (None, Ok(regs)) => *regs,
        (None, Err(missing)) => {
            gaps.note("registers", missing);
            return Vec::new();
        }
    };
    let landmarks = Landmarks::of(kernel);
    regs.iter()
        .map(|(name, value)| Register {
            name: name.into(),
            value,
            meaning: meaning(crash, &landmarks, name, value),
        })
        .collect()
}

/// Whose registers are shown, where they are not those of an exception.
pub(super) fn whose(crash: &Crash) -> String {
    match (&crash.exception, &crash.interrupted, &crash.saved) {
        (Err(_), Some(context), _) => {
            let by = match &context.entry {
                Some(entry) => entry.symbol.as_str(),
                None => "an interrupt",
            };
            format!(
                "of the innermost context that was interrupted (by {by}), pt_regs at {}",
                context.at
            )
        }
        (Err(_), None, Ok(_)) => "as the dump saved them for the CPU".into(),
        _ => String::new(),
    }
}

/// What a register's value is: as a part of this crash, or as what any value can be.
fn meaning(crash: &Crash, landmarks: &Landmarks<'_>, name: &str, value: u64) -> String {
    match name {
        "orig_rax" if value == u64::MAX => {
            return "no system call: the entry code put -1 over the error code".into();
        }
        "cs" | "ss" | "orig_rax" => return String::new(),
        "rflags" => return flags(value),
        _ => {}
    }
    if let Some(known) = of_freelist(crash, value) {
        return known;
    }
    let pointee = landmarks.describe(value);
    match pointee.kind {
        // A kernel thread has no user memory.
        Kind::User if in_kernel_thread(crash) => String::new(),
        Kind::Stack(_) => format!("{pointee}{}", in_frame(crash, value)),
        _ => pointee.to_string(),
    }
}

fn in_kernel_thread(crash: &Crash) -> bool {
    let mm = crash.task.as_ref().ok().and_then(|task| task.mm);
    mm.is_some_and(|mm| mm.0 == 0)
}

/// The frame of the walked stack that an address lies in.
fn in_frame(crash: &Crash, value: u64) -> String {
    let frames = crash
        .backtrace
        .as_ref()
        .map(|trace| trace.frames.as_slice());
    let frames = frames.unwrap_or_default();
    let outer = frames.iter().skip(1);
    let found = frames
        .iter()
        .zip(outer)
        .find(|(frame, outer)| (frame.sp.0..outer.sp.0).contains(&value));
    match found.and_then(|(frame, _)| frame.place.as_ref()) {
        Some(place) => format!(", in the frame of {}", place.symbol),
        None => String::new(),
    }
}

/// The flags that are set (Intel SDM volume 1, 3.4.3).
fn flags(value: u64) -> String {
    const NAMES: [(u32, &str); 12] = [
        (0, "CF"),
        (2, "PF"),
        (4, "AF"),
        (6, "ZF"),
        (7, "SF"),
        (8, "TF"),
        (9, "IF"),
        (10, "DF"),
        (11, "OF"),
        (14, "NT"),
        (16, "RF"),
        (18, "AC"),
    ];
    let set: Vec<&str> = NAMES
        .iter()
        .filter(|(bit, _)| value >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect();
    set.join(" ")
}

/// The parts of the freelist that the faulting instruction followed.
fn of_freelist(crash: &Crash, value: u64) -> Option<String> {
    let hit = crash.freelist.as_ref().ok()?;
    let parts = [
        (hit.cpu_slab.freelist.0, "kmem_cache_cpu.freelist"),
        (hit.cache.at.0, "struct kmem_cache"),
        (hit.cpu_slab.at.0, "struct kmem_cache_cpu"),
        (
            hit.cpu_slab.freelist.wrapping_add(hit.cache.offset).0,
            "kmem_cache_cpu.freelist + kmem_cache.offset",
        ),
        (hit.cpu_slab.tid, "kmem_cache_cpu.tid"),
    ];
    let (_, what) = parts
        .iter()
        .find(|(known, _)| *known == value && value != 0)?;
    Some(format!("{what} of {}", hit.cache.name))
}

/// Where the registers came from, those of the faulting address first.
pub(super) fn origins(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
    let Some(slice) = gaps.take("origins of the registers", &crash.slice) else {
        return Vec::new();
    };
    gaps.0.extend(slice.notes.iter().cloned());
    let known =
        |origin: &&Origin| !(origin.role == Role::Other && matches!(origin.end, End::Unknown(_)));
    let start = slice.start.0;
    slice
        .origins
        .iter()
        .filter(known)
        .map(|origin| told(origin, start))
        .collect()
}

/// An origin, with the instructions that it came through as offsets in the function.
fn told(origin: &Origin, start: u64) -> Fact {
    let name = match origin.current {
        true => origin.register.to_string(),
        false => format!("{} before", origin.register),
    };
    let mut value = format!("← {}", origin.expression);
    if let Some(known) = origin.meaning.as_ref().or(origin.type_name.as_ref()) {
        value.push_str(&format!(" = {known}"));
    }
    let alone = origin.chain.len() == 1;
    let steps: Vec<String> = origin
        .chain
        .iter()
        .map(|step| {
            let at = step.at.0.wrapping_sub(start);
            let mut line = format!("+{at:#x} {}", step.text);
            if !alone {
                line.push_str(&format!(": {}", step.meaning));
            }
            if let Some(check) = &step.check {
                line.push_str(&format!("; {check}"));
            }
            line
        })
        .collect();
    Fact::new(name, value).proven_by(steps.join("\n"))
}
