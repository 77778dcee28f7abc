//! The account of a crash in plain words, with addresses: for people, never compared.
use super::{corruption, fault, memory, registers};
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_kernel::crash::NO_EXCEPTION;
use recrash_kernel::unwind;
use recrash_kernel::{Crash, Kernel, Missing};

use crate::report::{CrashReport, Fact, Frame, SourceLine};

pub(super) fn report(kernel: &Kernel<'_>, crash: &Crash) -> CrashReport {
    let mut report = CrashReport {
        missing: kernel.notes(),
        ..CrashReport::default()
    };
    let mut out = Gaps(&mut report.missing);
    let context = context(kernel, crash, &mut out);
    let fault = fault::fault(kernel, crash, &mut out);
    let frames = frames(crash, &mut out);
    let registers = registers::registers(kernel, crash, &mut out);
    let origins = registers::origins(crash, &mut out);
    let (corruption, slab) = corruption::account(kernel, crash, out.0);
    report.context = context;
    report.fault = fault;
    report.frames = frames;
    report.registers = registers;
    report.registers_of = registers::whose(crash);
    report.origins = origins;
    report.corruption = corruption;
    report.slab = slab;
    report.memory = memory::memory(kernel, crash);
    // Said once, in the fault.
    if crash.calm.is_some() {
        report.missing.retain(|told| !told.ends_with(NO_EXCEPTION));
    }
    report.missing.dedup();
    report
}

/// Collects the reasons for what is not there.
pub(super) struct Gaps<'r>(pub(super) &'r mut Vec<String>);

impl Gaps<'_> {
    pub(super) fn take<'c, T>(
        &mut self,
        what: &str,
        from: &'c Result<T, Missing>,
    ) -> Option<&'c T> {
        from.as_ref()
            .map_err(|missing| self.note(what, missing))
            .ok()
    }

    /// One thing that is missing hides others: its reason is told once.
    pub(super) fn note(&mut self, what: &str, missing: &Missing) {
        let reason = format!(": {missing}");
        if !self.0.iter().any(|told| told.ends_with(&reason)) {
            self.0.push(format!("{what}{reason}"));
        }
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
