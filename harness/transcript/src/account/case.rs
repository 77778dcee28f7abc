//! The evidence of one crash put in order: which backtrace is the crash's, its frames joined, the words by address, the
//! instructions of the text and of code bytes. It draws no conclusion about the crash.
use super::{Basis, Place};
use crate::evidence::{Evidence, Frame, Member, RegisterBlock, Struct, Word};
use crate::shape;
use crate::slice::Code;
use recrash_kernel::trap;
use recrash_oops::{Details, Report};
use std::collections::BTreeMap;

/// Frames of one crash that are looked at.
const MAX_FRAMES: usize = 4096;
/// Functions of the kernel's way from an exception to the capture kernel.
const PANIC_PATH: &[&str] = &[
    "machine_kexec",
    "__crash_kexec",
    "crash_kexec",
    "oops_end",
    "die",
    "die_addr",
    "do_trap",
    "do_error_trap",
    "panic",
    "no_context",
    "page_fault_oops",
    "__bad_area_nosemaphore",
    "bad_area_nosemaphore",
    "exc_page_fault",
    "do_page_fault",
    "do_user_addr_fault",
    "exc_general_protection",
    "do_general_protection",
    "do_stack_segment",
    "exc_stack_segment",
    "exc_invalid_op",
    "do_invalid_op",
    "handle_bug",
    "crash_nmi_callback",
    "nmi_handle",
    "default_do_nmi",
    "do_nmi",
    "exc_nmi",
    "end_repeat_nmi",
    "nmi_panic",
    "sysrq_handle_crash",
    "kernelmode_fixup_or_oops",
    "bad_area",
    "__die",
    "vpanic",
    "exc_divide_error",
    "exc_double_fault",
];

/// One crash's evidence.
pub(crate) struct Case<'e> {
    pub(crate) evidence: &'e Evidence,
    pub(crate) words: BTreeMap<u64, Word>,
    /// Frames of the crashed task, innermost first, one for each stack address.
    pub(crate) frames: Vec<&'e Frame>,
    /// Blocks of the crashed task.
    pub(crate) blocks: Vec<&'e RegisterBlock>,
    /// Index of the crashed task.
    pub(crate) task: Option<usize>,
    pub(crate) oops: Option<&'e (Report, Details)>,
    pub(crate) code: Code,
}

impl<'e> Case<'e> {
    pub(crate) fn new(evidence: &'e Evidence) -> Self {
        let chosen = crashed(evidence);
        let task = chosen.and_then(|index| evidence.backtraces.get(index)?.task);
        let mine: Vec<_> = evidence
            .backtraces
            .iter()
            .enumerate()
            .filter(|(index, trace)| Some(*index) == chosen || belongs(evidence, trace.task, task))
            .map(|(_, trace)| trace)
            .collect();
        let mut frames: Vec<&Frame> = mine
            .iter()
            .flat_map(|trace| &trace.frames)
            .take(MAX_FRAMES)
            .collect();
        frames.sort_by_key(|frame| frame.at);
        frames.dedup_by_key(|frame| frame.at);
        let oops = evidence.oopses.first();
        Self {
            evidence,
            words: shape::by_address(&evidence.words),
            frames,
            blocks: mine.iter().flat_map(|trace| &trace.registers).collect(),
            task,
            code: Code::of(evidence, oops.map(|(_, details)| details)),
            oops,
        }
    }

    pub(crate) fn details(&self) -> Option<&'e Details> {
        self.oops.map(|(_, details)| details)
    }

    /// Addresses that printed frames, instructions and blocks have in the kernel's image or its modules.
    pub(crate) fn is_text(&self, at: u64) -> bool {
        const IMAGE: std::ops::Range<u64> = 0xffff_ffff_8000_0000..0xffff_ffff_c000_0000;
        const MODULES: std::ops::Range<u64> = 0xffff_ffff_c000_0000..0xffff_ffff_ff00_0000;
        /// Larger than the text of the largest kernels.
        const SPAN: u64 = 256 << 20;
        let known = |other: u64| other.abs_diff(at) < SPAN;
        let any = self
            .frames
            .iter()
            .any(|frame| IMAGE.contains(&frame.address));
        match at {
            at if IMAGE.contains(&at) => {
                !any || self.frames.iter().any(|frame| known(frame.address))
            }
            at if MODULES.contains(&at) => self.frames.iter().any(|frame| frame.module.is_some()),
            _ => false,
        }
    }

    /// The exception's entry frame: the outermost one on the way that the kernel died.
    pub(crate) fn entries(&self) -> Vec<&'e Frame> {
        self.frames
            .iter()
            .copied()
            .filter(|frame| trap::by_entry(&frame.function).is_some())
            .collect()
    }

    /// The function at an address: by an instruction there, a block, or a frame with that very address.
    pub(crate) fn place(&self, at: u64) -> Option<(Place, Basis)> {
        let known = |function: &str, offset: Option<u64>, module: Option<String>| Place {
            function: function.into(),
            offset,
            module,
            address: Some(at),
        };
        if let Some(line) = self.code.at(at)
            && let Some((function, offset)) = &line.place
        {
            return Some((known(function, Some(*offset), None), line.basis()));
        }
        let block = self.blocks.iter().find_map(|block| {
            let (function, offset) = block.exception.as_ref()?;
            let (_, rip, line) = block.registers.iter().find(|(name, ..)| name == "rip")?;
            (*rip == at).then(|| {
                let text = format!("[exception RIP: {function}{}]", plus(*offset));
                (
                    known(function, *offset, None),
                    Basis::Line { line: *line, text },
                )
            })
        });
        block.or_else(|| {
            let frame = self.frames.iter().find(|frame| frame.address == at)?;
            Some((
                known(
                    &frame.function,
                    self.code.offset(&frame.function, at),
                    frame.module.clone(),
                ),
                of_frame(frame),
            ))
        })
    }

    /// Structs of a type.
    pub(crate) fn structs(&self, name: &str) -> impl Iterator<Item = &'e Struct> {
        let name = name.to_string();
        self.evidence
            .structs
            .iter()
            .filter(move |found| found.name == name)
    }
}

fn belongs(evidence: &Evidence, task: Option<usize>, wanted: Option<usize>) -> bool {
    let pid = |index: Option<usize>| {
        index
            .and_then(|index| evidence.tasks.get(index))
            .map(|task| task.pid)
    };
    match (pid(task), pid(wanted)) {
        (Some(one), Some(other)) => one == other,
        // A dump of stack words often has no head; it is the crash's unless its stack is another one.
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// The crash's backtrace: that of the session's task, else one on the way to the capture kernel, else the first.
fn crashed(evidence: &Evidence) -> Option<usize> {
    let pid = evidence.system.pid.as_ref().map(|(pid, _)| *pid);
    let of =
        |trace: &crate::evidence::Backtrace| trace.task.and_then(|task| evidence.tasks.get(task));
    let by_pid =
        |trace: &crate::evidence::Backtrace| pid.is_some() && of(trace).map(|task| task.pid) == pid;
    let by_path = |trace: &crate::evidence::Backtrace| {
        trace.frames.iter().any(|frame| {
            is_panic_path(&frame.function) || trap::by_entry(&frame.function).is_some()
        })
    };
    let traces = &evidence.backtraces;
    traces
        .iter()
        .position(by_pid)
        .or_else(|| {
            traces
                .iter()
                .position(|trace| trace.task.is_some() && by_path(trace))
        })
        .or_else(|| traces.iter().position(by_path))
        .or_else(|| (!traces.is_empty()).then_some(0))
}

/// Whether a function belongs to the way from the exception to the capture kernel.
pub(crate) fn is_panic_path(function: &str) -> bool {
    PANIC_PATH.contains(&function)
}

/// `+171`, or nothing.
pub(crate) fn plus(offset: Option<u64>) -> String {
    offset
        .map(|offset| format!("+{offset}"))
        .unwrap_or_default()
}

/// A frame as crash prints it.
pub(crate) fn of_frame(frame: &Frame) -> Basis {
    let module = frame
        .module
        .as_ref()
        .map(|module| format!(" [{module}]"))
        .unwrap_or_default();
    Basis::Line {
        line: frame.line,
        text: format!(
            "#{} [{:x}] {} at {:x}{module}",
            frame.number, frame.at, frame.function, frame.address
        ),
    }
}

/// A member as crash prints it.
pub(crate) fn of_member(of: &Struct, member: &Member) -> Basis {
    Basis::Line {
        line: member.line,
        text: format!("{}: {} = {}", of.name, member.path, member.text),
    }
}

/// A line of a log; those are counted from 0.
pub(crate) fn of_log(line: usize, text: impl Into<String>) -> Basis {
    Basis::Line {
        line: line.saturating_add(1),
        text: text.into(),
    }
}
