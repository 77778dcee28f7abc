//! The account of a crash in plain words, with addresses: for people, never compared.
use super::corruption;
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_kernel::exception::Exception;
use recrash_kernel::instruction::{self, BadJump, Came, Faulting, MemoryOperand, Verdict};
use recrash_kernel::pointee::Landmarks;
use recrash_kernel::slice::{End, Origin, Role};
use recrash_kernel::unwind;
use recrash_kernel::{Crash, Kernel, Missing};

use crate::report::{CrashReport, Fact, Frame, Register, SourceLine};

pub(super) fn report(kernel: &Kernel<'_>, crash: &Crash) -> CrashReport {
    let mut report = CrashReport {
        missing: kernel.notes(),
        ..CrashReport::default()
    };
    let mut out = Gaps(&mut report.missing);
    let context = context(kernel, crash, &mut out);
    let fault = fault(kernel, crash, &mut out);
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

fn fault(kernel: &Kernel<'_>, crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
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
    if let Some(jump) = &crash.jump {
        facts.push(jumped(jump));
    }
    if let Some(faulting) = gaps.take("faulting instruction", &crash.faulting) {
        let bytes: Vec<String> = faulting
            .bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let proof = format!("at {}, bytes {}", faulting.at, bytes.join(" "));
        facts.push(Fact::new("instruction", &faulting.text).proven_by(proof));
        facts.extend(faulting.operand.as_ref().map(address));
        facts.push(hardware(kernel, crash, faulting));
    }
    facts.extend(requested(crash));
    facts
}

/// The address that the instruction used, and how.
fn address(operand: &MemoryOperand) -> Fact {
    let kind = if operand.canonical {
        "canonical"
    } else {
        "not canonical"
    };
    let segment = match operand.segment {
        "ss" => "stack segment".to_string(),
        "gs" => "gs, the CPU's own data".into(),
        "ds" | "es" => "data segment".into(),
        other => format!("segment {other}"),
    };
    let access = match (operand.reads, operand.writes) {
        (true, true) => "read and written",
        (false, true) => "written",
        _ => "read",
    };
    let size = match operand.size {
        0 => String::new(),
        size => format!(", {size} bytes"),
    };
    let value = format!("{} ({kind}, {segment}, {access}{size})", operand.address());
    Fact::new("address", value)
}

/// What hardware raises for the instruction, held against what came.
fn hardware(kernel: &Kernel<'_>, crash: &Crash, faulting: &Faulting) -> Fact {
    let expected = &faulting.expected;
    let Some(vector) = expected.vector else {
        return Fact::new(
            "hardware",
            format!("raises nothing for it: {}", expected.why),
        );
    };
    let name = recrash_kernel::trap::TRAPS
        .iter()
        .find(|trap| trap.vector == vector)
        .map_or_else(
            || format!("vector {vector}"),
            |trap| trap.mnemonic.to_string(),
        );
    let code = expected
        .code
        .map(|code| format!(", error code {:#x}", code.bits()));
    let fact = Fact::new(
        "hardware",
        format!(
            "raises {name}{}: {}",
            code.unwrap_or_default(),
            expected.why
        ),
    );
    let Some(came) = came(crash) else { return fact };
    let levels = kernel.memory().levels();
    match instruction::judge(expected, faulting.operand.as_ref(), came, levels) {
        Verdict::Same => fact
            .proven_by("as it came; the saved rip is the instruction itself (a fault, not a trap)"),
        Verdict::Explained(why) => fact.proven_by(why),
        Verdict::Unexplained(what) => {
            fact.proven_by(format!("{what}, which this does not explain"))
        }
        Verdict::Open => fact,
    }
}

fn came(crash: &Crash) -> Option<Came> {
    let exception = crash.exception.as_ref().ok()?;
    Some(Came {
        vector: exception.trap?.vector,
        error_code: exception.error_code,
        cr2: None,
    })
}

/// A jump to where there is no code.
fn jumped(jump: &BadJump) -> Fact {
    let what = match (jump.canonical, jump.mapped) {
        (false, _) => "not canonical",
        (true, Some(true)) => "mapped, but code of nothing known",
        (true, Some(false)) => "not mapped",
        (true, None) => "whether it is mapped is not known",
    };
    let fact = Fact::new("jump", format!("to {} ({what})", jump.target));
    match &jump.from {
        Some((at, text)) => fact.proven_by(format!(
            "by `{text}` at {at}, whose return address is on the stack"
        )),
        None => fact,
    }
}

/// What the allocator was asked for.
fn requested(crash: &Crash) -> Vec<Fact> {
    let Ok(allocation) = &crash.allocation else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    if let Ok(size) = &allocation.size {
        facts.push(Fact::new("requested", format!("{} bytes", size.value)).proven_by(&size.by));
    }
    if let Ok(flags) = &allocation.flags {
        let names = allocation
            .flag_names
            .as_ref()
            .map(|names| format!(" = {names}"));
        let value = format!("{:#x}{}", flags.value, names.unwrap_or_default());
        facts.push(Fact::new("gfp flags", value).proven_by(&flags.by));
    }
    facts
}

/// Where the registers came from, those of the faulting address first.
fn origins(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
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

fn frames(crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Frame> {
    let Some(trace) = gaps.take("backtrace", &crash.backtrace) else {
        return Vec::new();
    };
    if !matches!(trace.end, unwind::End::User | unwind::End::Outermost) {
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
    let landmarks = Landmarks::of(kernel);
    exception
        .regs
        .iter()
        .map(|(name, value)| Register {
            name: name.into(),
            value,
            meaning: meaning(crash, &landmarks, name, value),
        })
        .collect()
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
    match of_freelist(crash, value) {
        Some(known) => known,
        None => landmarks.describe(value).to_string(),
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

