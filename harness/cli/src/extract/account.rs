//! The account of a crash in plain words, with addresses: for people, never compared.
use super::corruption;
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_kernel::exception::Exception;
use recrash_kernel::unwind::{self, End};
use recrash_kernel::{Crash, Kernel, Missing};
use recrash_vmcore::{PagingLevels, VirtAddr};

use crate::report::{CrashReport, Fact, Frame, Register, SourceLine};

pub(super) fn report(kernel: &Kernel<'_>, crash: &Crash) -> CrashReport {
    let mut report = CrashReport {
        missing: kernel.notes(),
        ..CrashReport::default()
    };
    let mut out = Gaps(&mut report.missing);
    let context = context(kernel, crash, &mut out);
    let fault = fault(crash, &mut out);
    let frames = frames(crash, &mut out);
    let registers = out
        .take("registers", &crash.exception)
        .map(|e| registers(kernel, crash, e));
    let origins = origins(crash, &mut out);
    let (corruption, slab) = corruption::account(kernel, crash, out.0);
    report.context = context;
    report.fault = fault;
    report.frames = frames;
    report.registers = registers.unwrap_or_default();
    report.origins = origins;
    report.corruption = corruption;
    report.slab = slab;
    report.missing.dedup();
    report
}

/// Collects the reasons for what is not there.
struct Gaps<'r>(&'r mut Vec<String>);

impl Gaps<'_> {
    fn take<'c, T>(&mut self, what: &str, from: &'c Result<T, Missing>) -> Option<&'c T> {
        from.as_ref()
            .map_err(|missing| self.0.push(format!("{what}: {missing}")))
            .ok()
    }
}

fn context(kernel: &Kernel<'_>, crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(release) = kernel.info().osrelease() {
        facts.push(Fact::new("kernel", release));
    }
    if let Some(task) = gaps.take("task", &crash.task) {
        let cpu = crash
            .cpu
            .as_ref()
            .map_or_else(|_| "?".into(), u32::to_string);
        let value = format!("{} (pid {}) on CPU {cpu}", task.comm, task.pid);
        facts.push(Fact::new("process", value).proven_by(format!("task_struct at {}", task.at)));
    }
    if let Some(call) = gaps.take("system call", &crash.syscall) {
        let [first, second, ..] = call.arguments;
        let request = call
            .request
            .as_deref()
            .map(|name| format!(" = {name}"))
            .unwrap_or_default();
        let value = format!("{}({first:#x}, {second:#x}{request}, …)", call.name);
        facts.push(Fact::new("system call", value));
    }
    facts
}

fn fault(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(exception) = gaps.take("exception", &crash.exception) {
        let value = exception.trap.map_or_else(
            || "unknown vector".into(),
            |trap| format!("{} {} (vector {})", trap.mnemonic, trap.name, trap.vector),
        );
        let entry = exception
            .entry
            .as_ref()
            .map_or_else(|| "?".into(), ToString::to_string);
        let proof = format!("entry code {entry}, pt_regs at {}", exception.at);
        facts.push(Fact::new("trap", value).proven_by(proof));
        facts.extend(
            exception
                .error_code
                .map(|code| Fact::new("error code", format!("{code:#x}"))),
        );
    }
    if let Some(faulting) = gaps.take("faulting instruction", &crash.faulting) {
        facts.push(
            Fact::new("instruction", &faulting.text).proven_by(format!("at {}", faulting.at)),
        );
        if let Some(operand) = &faulting.operand {
            let kind = if operand.canonical {
                "canonical"
            } else {
                "not canonical"
            };
            let segment = if operand.stack_segment {
                "stack segment"
            } else {
                "data segment"
            };
            let access = if operand.writes { "written" } else { "read" };
            let value = format!("{} ({kind}, {segment}, {access})", operand.effective);
            facts.push(Fact::new("address", value));
        }
    }
    facts
}

/// Where the registers came from, those of the faulting address first.
fn origins(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
    let Some(slice) = gaps.take("origins of the registers", &crash.slice) else {
        return Vec::new();
    };
    slice
        .origins
        .iter()
        .map(|origin| {
            let text = origin.to_string();
            let value = text.split_once(' ').map_or("", |(_, rest)| rest);
            let steps: Vec<String> = origin
                .chain
                .iter()
                .map(|step| {
                    let check = step.check.as_ref().map(|check| format!("; {check}"));
                    format!(
                        "{:#x} {}: {}{}",
                        step.at,
                        step.text,
                        step.meaning,
                        check.unwrap_or_default()
                    )
                })
                .collect();
            Fact::new(origin.register, value).proven_by(steps.join("\n"))
        })
        .collect()
}

fn frames(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Frame> {
    let Some(trace) = gaps.take("backtrace", &crash.backtrace) else {
        return Vec::new();
    };
    if !matches!(trace.end, End::User | End::Outermost) {
        gaps.0.push(format!("outer frames: {}", trace.end));
    }
    trace.frames.iter().map(raw_frame).collect()
}

/// Adds file, line and inlined functions to the frames, and why where there are none.
pub(super) fn add_lines(report: &mut CrashReport, kernel: &Kernel<'_>, crash: &Crash) {
    let Ok(trace) = &crash.backtrace else { return };
    let mut reasons = Vec::new();
    for (shown, frame) in report.frames.iter_mut().zip(&trace.frames) {
        match kernel.source_frames(frame.pc.lookup()) {
            Ok(frames) => shown.source = frames.into_iter().map(source).collect(),
            Err(missing) => reasons.push(format!("source lines: {missing}")),
        }
    }
    reasons.sort();
    reasons.dedup();
    report.missing.extend(reasons);
}

fn source(frame: SourceFrame) -> SourceLine {
    SourceLine {
        function: frame.function,
        file: frame.file,
        line: frame.line,
        inlined: frame.inlined,
    }
}

fn raw_frame(frame: &unwind::Frame) -> Frame {
    Frame {
        address: frame.pc.raw().0,
        symbol: frame.place.as_ref().map_or_else(
            || "?".into(),
            |place| {
                // The symbol was looked up one byte before a return address; the offset shown is the address's own.
                let behind = frame.pc.raw().0.wrapping_sub(frame.pc.lookup().0);
                let mut place = place.clone();
                place.offset += behind;
                place.to_string()
            },
        ),
        found_by: frame.source.label().into(),
        source: Vec::new(),
    }
}

fn registers(kernel: &Kernel<'_>, crash: &Crash, exception: &Exception) -> Vec<Register> {
    exception
        .regs
        .iter()
        .map(|(name, value)| Register {
            name: name.into(),
            value,
            meaning: meaning(kernel, crash, value),
        })
        .collect()
}

/// What a register's value is, as far as this crash's own parts say it.
fn meaning(kernel: &Kernel<'_>, crash: &Crash, value: u64) -> String {
    let at = VirtAddr(value);
    if let Ok(hit) = &crash.freelist {
        let is = |what: String| format!("{what} of {}", hit.cache.name);
        if value == hit.cpu_slab.freelist.0 {
            return is("kmem_cache_cpu.freelist".into());
        }
        if value == hit.cache.at.0 {
            return is("struct kmem_cache".into());
        }
        if value == hit.cpu_slab.at.0 {
            return is("struct kmem_cache_cpu".into());
        }
        if value == hit.cpu_slab.freelist.wrapping_add(hit.cache.offset).0 {
            return is("kmem_cache_cpu.freelist + kmem_cache.offset".into());
        }
        if value == hit.cpu_slab.tid && value != 0 {
            return is("kmem_cache_cpu.tid".into());
        }
    }
    if kernel.is_text(at) {
        return kernel
            .place(at)
            .map(|place| place.to_string())
            .unwrap_or_default();
    }
    if let Ok(task) = &crash.task {
        if value == task.at.0 {
            return "current task".into();
        }
        if value.wrapping_sub(task.stack.0) < 16 << 10 {
            return format!("stack+{:#x}", value.wrapping_sub(task.stack.0));
        }
    }
    let levels: PagingLevels = kernel.memory().levels();
    if at.is_canonical(levels) {
        String::new()
    } else {
        "not canonical".into()
    }
}
