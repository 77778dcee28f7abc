//! Unwinds kernel stacks by ORC, through exception frames, up to user mode. Every frame says how it was found;
//! where the tables end the walk ends, with the reason. Never scans the stack.
use crate::exception;
use crate::kernel::{Kernel, Place};
use crate::object::Missing;
use crate::regs::PtRegs;
use iced_x86::Register;
use recrash_debuginfo::orc::{BpRule, CfaBase, OrcKind, OrcRule};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Deepest stack that is walked; a 32 KiB stack holds fewer calls.
const MAX_FRAMES: usize = 512;

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

/// How a frame was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameSource {
    /// From an ORC rule: the return address of a call.
    Orc,
    /// From the pt_regs of an exception or interrupt on the stack.
    ExceptionRegs,
    /// From the registers that the dump saved for the CPU.
    Registers,
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
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// User mode was reached.
    User,
    /// The tables say that this is the outermost frame (a kernel thread's or an idle task's).
    Outermost,
    /// No rule for a program counter.
    NoRule(VirtAddr),
    /// A rule needs a register whose value is not known here.
    UnknownRegister(&'static str),
    /// The stack could not be read.
    Unreadable(Missing),
    /// The stack pointer did not move outwards, or there are more frames than a stack can hold.
    Runaway,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User => write!(f, "user mode"),
            Self::Outermost => write!(f, "outermost frame"),
            Self::NoRule(pc) => write!(f, "no unwind rule for {pc}"),
            Self::UnknownRegister(name) => {
                write!(f, "the rule needs {name}, whose value is not known")
            }
            Self::Unreadable(missing) => write!(f, "stack not readable: {missing}"),
            Self::Runaway => write!(f, "the stack pointer does not move outwards"),
        }
    }
}

/// A walked stack, innermost frame first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backtrace {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Registers in kernel mode met on the way: where they lie, their values.
    pub exceptions: Vec<(VirtAddr, PtRegs)>,
    /// The registers with which user space entered the kernel.
    pub user: Option<PtRegs>,
    /// Why the walk ended.
    pub end: End,
}

/// What a frame's rule is applied to.
#[derive(Clone, Copy)]
struct State {
    pc: CodeAddr,
    sp: u64,
    bp: u64,
    /// All registers, as long as the frame is the interrupted one.
    regs: Option<PtRegs>,
}

enum Step {
    /// The next frame, how it was found, and where its registers lie if they do.
    To(State, FrameSource, Option<VirtAddr>),
    User(Option<PtRegs>),
    Stop(End),
}

/// Walks outwards from a context.
#[must_use]
pub fn from_regs(kernel: &Kernel<'_>, regs: &PtRegs) -> Backtrace {
    let pc = CodeAddr::Interrupted(VirtAddr(regs.rip()));
    let mut state = State {
        pc,
        sp: regs.rsp(),
        bp: regs.rbp(),
        regs: Some(*regs),
    };
    let mut trace = Backtrace {
        frames: Vec::new(),
        exceptions: Vec::new(),
        user: None,
        end: End::Runaway,
    };
    let mut source = FrameSource::Registers;
    while trace.frames.len() < MAX_FRAMES {
        let place = kernel.place(state.pc.lookup());
        trace.frames.push(Frame {
            pc: state.pc,
            sp: VirtAddr(state.sp),
            place,
            source,
        });
        match step(kernel, &state) {
            Step::To(next, how, exception) => {
                if next.sp <= state.sp {
                    return trace;
                }
                trace.exceptions.extend(exception.zip(next.regs));
                (state, source) = (next, how);
            }
            Step::User(regs) => {
                (trace.user, trace.end) = (regs, End::User);
                return trace;
            }
            Step::Stop(end) => {
                trace.end = end;
                return trace;
            }
        }
    }
    trace
}

fn step(kernel: &Kernel<'_>, state: &State) -> Step {
    let pc = state.pc.lookup();
    let Some(rule) = kernel.orc(pc.0) else {
        return Step::Stop(End::NoRule(state.pc.raw()));
    };
    let cfa = match cfa(kernel, &rule, state) {
        Ok(cfa) => cfa,
        Err(end) => return Step::Stop(end),
    };
    let next = match rule.kind {
        OrcKind::Call => after_call(kernel, &rule, state, cfa),
        OrcKind::Regs => after_regs(kernel, cfa),
        OrcKind::RegsPartial => after_iret(kernel, &rule, state, cfa),
        OrcKind::End => return Step::Stop(End::Outermost),
        OrcKind::Undefined => return Step::Stop(End::NoRule(state.pc.raw())),
    };
    next.unwrap_or_else(|missing| Step::Stop(End::Unreadable(missing)))
}

/// The canonical frame address: the stack pointer before the call, or where saved registers lie.
fn cfa(kernel: &Kernel<'_>, rule: &OrcRule, state: &State) -> Result<u64, End> {
    let full = |register, name| {
        state
            .regs
            .and_then(|regs| regs.get(register))
            .ok_or(End::UnknownRegister(name))
    };
    let offset = i64::from(rule.sp_offset).cast_unsigned();
    let load = |at: u64| {
        kernel.memory().u64_at(VirtAddr(at)).map_err(|error| {
            End::Unreadable(Missing::Memory {
                what: "saved stack pointer".into(),
                error,
            })
        })
    };
    Ok(match rule.cfa {
        CfaBase::Sp => state.sp.wrapping_add(offset),
        CfaBase::Bp => state.bp.wrapping_add(offset),
        CfaBase::SpIndirect => load(state.sp)?.wrapping_add(offset),
        CfaBase::SpOffsetIndirect => load(state.sp.wrapping_add(offset))?,
        CfaBase::BpIndirect => load(state.bp.wrapping_add(offset))?,
        CfaBase::R10 => full(Register::R10, "r10")?.wrapping_add(offset),
        CfaBase::R13 => full(Register::R13, "r13")?.wrapping_add(offset),
        CfaBase::Di => full(Register::RDI, "rdi")?.wrapping_add(offset),
        CfaBase::Dx => full(Register::RDX, "rdx")?.wrapping_add(offset),
        CfaBase::PrevSp | CfaBase::Undefined => return Err(End::NoRule(state.pc.raw())),
    })
}

fn after_call(
    kernel: &Kernel<'_>,
    rule: &OrcRule,
    state: &State,
    cfa: u64,
) -> Result<Step, Missing> {
    let word = |at: u64, what: &str| {
        kernel
            .memory()
            .u64_at(VirtAddr(at))
            .map_err(crate::kernel::missing(what))
    };
    let bp = caller_bp(kernel, rule, state, cfa)?;
    let return_address = VirtAddr(word(cfa.wrapping_sub(8), "return address")?);
    let next = State {
        pc: CodeAddr::Return(return_address),
        sp: cfa,
        bp,
        regs: None,
    };
    Ok(Step::To(next, FrameSource::Orc, None))
}

fn caller_bp(kernel: &Kernel<'_>, rule: &OrcRule, state: &State, cfa: u64) -> Result<u64, Missing> {
    let saved = |base: u64, offset: i16| {
        let at = VirtAddr(base.wrapping_add(i64::from(offset).cast_unsigned()));
        kernel
            .memory()
            .u64_at(at)
            .map_err(crate::kernel::missing("saved rbp"))
    };
    match rule.bp {
        BpRule::Unchanged => Ok(state.bp),
        BpRule::AtCfa(offset) => saved(cfa, offset),
        BpRule::AtBp(offset) => saved(state.bp, offset),
    }
}

/// The frame below is entry code; a whole pt_regs lies at the CFA.
fn after_regs(kernel: &Kernel<'_>, cfa: u64) -> Result<Step, Missing> {
    let at = VirtAddr(cfa);
    let regs = exception::read(kernel, at)?;
    if regs.is_user() {
        return Ok(Step::User(Some(regs)));
    }
    let pc = CodeAddr::Interrupted(VirtAddr(regs.rip()));
    let next = State {
        pc,
        sp: regs.rsp(),
        bp: regs.rbp(),
        regs: Some(regs),
    };
    Ok(Step::To(next, FrameSource::ExceptionRegs, Some(at)))
}

/// Only what the CPU pushed lies at the CFA: rip, cs, rflags, rsp, ss.
fn after_iret(
    kernel: &Kernel<'_>,
    rule: &OrcRule,
    state: &State,
    cfa: u64,
) -> Result<Step, Missing> {
    let word = |index: u64| {
        let at = VirtAddr(cfa.wrapping_add(index * 8));
        kernel
            .memory()
            .u64_at(at)
            .map_err(crate::kernel::missing("interrupt frame"))
    };
    let (rip, cs, rsp) = (word(0)?, word(1)?, word(3)?);
    if cs & 3 == 3 {
        return Ok(Step::User(None));
    }
    let bp = caller_bp(kernel, rule, state, cfa)?;
    let next = State {
        pc: CodeAddr::Interrupted(VirtAddr(rip)),
        sp: rsp,
        bp,
        regs: None,
    };
    Ok(Step::To(next, FrameSource::ExceptionRegs, None))
}
