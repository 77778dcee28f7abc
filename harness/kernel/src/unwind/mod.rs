//! Unwinds kernel stacks by ORC: through calls, exception and interrupt frames, from one stack to the next, up to user
//! mode. Every frame says how it was found. Where the tables do not reach, [`Fallback`] says from where on frames are
//! guessed, and why; only guesses that lead to the stack's end are given.
pub(crate) mod branches;
mod fallback;
mod link;
mod start;
mod state;
mod step;
mod trampoline;
mod walk;

pub use start::{Saved, of_cpu, of_task, saved_regs};
pub use walk::from_regs;

use crate::kernel::Place;
use crate::object::Missing;
use crate::regs::PtRegs;
use crate::stacks::Bounds;
use recrash_vmcore::VirtAddr;

/// A code address and what kind of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeAddr {
    /// The instruction that was interrupted, or was about to run.
    Interrupted(VirtAddr),
    /// After a call; a callee that does not return leaves it in the next function, so look up one byte before.
    Return(VirtAddr),
}

impl CodeAddr {
    /// The address as it stands in the register or on the stack.
    #[must_use]
    pub fn raw(self) -> VirtAddr {
        match self {
            Self::Interrupted(at) | Self::Return(at) => at,
        }
    }

    /// The address to look symbols and rules up with.
    #[must_use]
    pub fn lookup(self) -> VirtAddr {
        match self {
            Self::Interrupted(at) => at,
            Self::Return(at) => at.offset(-1),
        }
    }
}

/// How a frame was found, least trusted first. The first three are guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameSource {
    /// A return address that lay on the stack, with a call before it that fits.
    StackScan,
    /// From rbp, taken for a frame pointer.
    FramePointer,
    /// From an ORC rule, but outwards of a guessed frame.
    AfterGuess,
    /// From an ORC rule: the return address of a call.
    Orc,
    /// From what a context switch saved of a task that does not run.
    SwitchFrame,
    /// From the registers of an exception or interrupt on the stack.
    ExceptionRegs,
    /// From the registers that the dump saved for the CPU.
    Registers,
}

impl FrameSource {
    /// In words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::StackScan => "stack scan (a guess)",
            Self::FramePointer => "frame pointer (a guess)",
            Self::AfterGuess => "ORC, after a guess",
            Self::Orc => "ORC",
            Self::SwitchFrame => "context switch",
            Self::ExceptionRegs => "exception frame",
            Self::Registers => "registers",
        }
    }

    /// Whether it follows from registers and tables alone.
    #[must_use]
    pub fn is_trusted(self) -> bool {
        self >= Self::Orc
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Program counter.
    pub pc: CodeAddr,
    /// Stack pointer in this frame.
    pub sp: VirtAddr,
    /// The function.
    pub place: Option<Place>,
    /// How it was found.
    pub source: FrameSource,
    /// The stack that it is on; `None` when the stack pointer is on none that is known.
    pub stack: Option<Bounds>,
    /// Where the `pt_regs` lie that this frame was found by, if it was and they are whole.
    pub regs_at: Option<VirtAddr>,
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// User mode was reached.
    User,
    /// The tables say that this is the outermost frame (a kernel thread's or an idle task's).
    Outermost,
    /// No rule for a program counter in the kernel's or a module's text.
    NoRule(VirtAddr),
    /// The program counter is in no text that is known: a BPF program, a trampoline, or nothing at all.
    NotText(VirtAddr),
    /// A probe's trampoline stands in place of the return address, and which it replaced is not known.
    Trampoline(&'static str),
    /// A rule needs a register whose value is not known here.
    UnknownRegister(&'static str),
    /// The stack could not be read.
    Unreadable(Missing),
    /// The stack pointer left every stack that is known.
    OffStack(VirtAddr),
    /// The stack pointer came back to a stack that was left.
    Revisited(VirtAddr),
    /// The stack pointer did not move outwards, or there are more frames than stacks can hold.
    Runaway,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User => write!(f, "user mode"),
            Self::Outermost => write!(f, "outermost frame"),
            Self::NoRule(pc) => write!(f, "no unwind rule for {pc}"),
            Self::NotText(pc) => write!(f, "no unwind rule for {pc}, which is in no known text"),
            Self::Trampoline(name) => {
                write!(f, "{name} replaced a return address that was not found")
            }
            Self::UnknownRegister(name) => {
                write!(f, "the rule needs {name}, whose value is not known")
            }
            Self::Unreadable(missing) => write!(f, "stack not readable: {missing}"),
            Self::OffStack(at) => write!(f, "the stack pointer {at} is on no known stack"),
            Self::Revisited(at) => {
                write!(
                    f,
                    "the stack pointer {at} is on a stack that was left before"
                )
            }
            Self::Runaway => write!(f, "the stack pointer does not move outwards"),
        }
    }
}

/// From where on the frames of a [`Backtrace`] are guesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// Index of the first guessed frame.
    pub first: usize,
    /// Where the guessed frames end.
    pub end: End,
    /// The registers with which user space entered the kernel, where the guesses lead there.
    pub user: Option<PtRegs>,
}

/// A walked stack, innermost frame first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backtrace {
    /// The frames, guessed ones last.
    pub frames: Vec<Frame>,
    /// Registers in kernel mode met on the way: where they lie, their values.
    pub exceptions: Vec<(VirtAddr, PtRegs)>,
    /// The registers with which user space entered the kernel, or was interrupted.
    pub user: Option<PtRegs>,
    /// Why the walk by registers and tables ended; guessed frames do not change it.
    pub end: End,
    /// The guesses behind that end, where there are any.
    pub fallback: Option<Fallback>,
}

impl Backtrace {
    /// The frames that follow from registers and tables alone.
    #[must_use]
    pub fn trusted(&self) -> &[Frame] {
        let first = self.fallback.as_ref().map(|fallback| fallback.first);
        let count = first.unwrap_or(self.frames.len());
        self.frames.get(..count).unwrap_or(&self.frames)
    }

    /// A CPU that was in user mode: no kernel frames.
    fn in_user_mode(regs: PtRegs) -> Self {
        Self {
            frames: Vec::new(),
            exceptions: Vec::new(),
            user: Some(regs),
            end: End::User,
            fallback: None,
        }
    }
}
