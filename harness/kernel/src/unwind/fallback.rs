//! Guesses where the tables do not reach. A return address on the stack proves nothing: calls long over left theirs.
//! So a guess counts only if the frames outwards of it lead to the end of the stack by the tables, and if each call on
//! the way can have been of the function inside of it. What does not is not shown.
use super::link::{Link, function_of, link, returns_in, target_of};
use super::state::State;
use super::walk::{Stacks, Walk};
use super::{Backtrace, CodeAddr, End, Fallback, Frame, FrameSource};
use crate::kernel::Kernel;
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::stacks;
use crate::task;
use crate::unwind::state::Known;
use recrash_debuginfo::orc::{CfaBase, OrcKind};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Candidates that are followed, of those that fit the function inside.
const MAX_CANDIDATES: usize = 256;
/// Frames of a chain of frame pointers.
const MAX_CHAIN: usize = 1024;

/// Adds guessed frames to a walk that ended before the stack did, if there are any that hold.
pub(super) fn guess(stacks: &Stacks<'_, '_>, state: &State, trace: &mut Backtrace) {
    let inside = Inside::new(stacks.kernel(), state, trace);
    let found = by_frame_pointer(stacks, state)
        .into_iter()
        .chain(by_scan(stacks, state))
        .filter_map(|candidate| Some((inside.fits(stacks.kernel(), state, &candidate)?, candidate)))
        .take(MAX_CANDIDATES)
        .find_map(|(fit, candidate)| follow(stacks, fit, candidate))
        .or_else(|| chain(stacks, state));
    let Some((frames, end, user)) = found else {
        return;
    };
    trace.fallback = Some(Fallback {
        first: trace.frames.len(),
        end,
        user,
    });
    trace.frames.extend(frames);
}

/// The frame whose caller is looked for.
enum Inside {
    /// It is in this function, of which only the frame is not known.
    Function(VirtAddr),
    /// The program counter is not one; the function inside called it, and returned to it or was about to.
    Between(VirtAddr),
    /// Control went where no code is, or to code that no symbol names.
    Nowhere,
}

/// How much a candidate tells by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The call was of the function inside.
    Proven,
    /// It was through a pointer; the next call outwards has to fit.
    Possible,
}

impl Inside {
    fn new(kernel: &Kernel<'_>, state: &State, trace: &Backtrace) -> Self {
        let at = state.pc.lookup();
        let named = || function_of(kernel, at).filter(|_| kernel.is_text(at));
        match (named(), trace.frames.as_slice()) {
            (Some(function), _) => Self::Function(function),
            (None, [.., inner, last]) if last.source == FrameSource::Orc => {
                function_of(kernel, inner.pc.lookup()).map_or(Self::Nowhere, Self::Between)
            }
            _ => Self::Nowhere,
        }
    }

    /// A call through a pointer could have been of anything, so it counts only where the stack pointer or a frame
    /// pointer says that a return address has to be.
    fn fits(&self, kernel: &Kernel<'_>, state: &State, candidate: &Candidate) -> Option<Fit> {
        let is_due = candidate.slot == state.sp || candidate.source == FrameSource::FramePointer;
        match self {
            Self::Function(start) => match link(kernel, Some(*start), candidate.ret) {
                Link::Direct => Some(Fit::Proven),
                Link::Open => is_due.then_some(Fit::Possible),
                Link::Broken => None,
            },
            Self::Between(inner) => {
                between(kernel, *inner, state, candidate).then_some(Fit::Proven)
            }
            Self::Nowhere => {
                let link = link(kernel, None, candidate.ret);
                (is_due && link == Link::Open).then_some(Fit::Possible)
            }
        }
    }
}

/// Whether the function that the candidate calls can be the one whose return address was lost: it has to call the
/// function inside, at a place where its frame reaches up to the candidate.
fn between(kernel: &Kernel<'_>, inner: VirtAddr, state: &State, candidate: &Candidate) -> bool {
    let Some(lost) = target_of(kernel, candidate.ret) else {
        return false;
    };
    returns_in(kernel, lost, inner).into_iter().any(|ret| {
        let rule = kernel.orc(ret.offset(-1).0);
        rule.is_some_and(|rule| {
            let base = match rule.cfa {
                CfaBase::Sp => Some(state.sp),
                CfaBase::Bp => state.bp(),
                _ => None,
            };
            let offset = i64::from(rule.sp_offset).wrapping_sub(8);
            let slot = base.map(|base| base.wrapping_add_signed(offset));
            rule.kind == OrcKind::Call && slot == Some(candidate.slot)
        })
    })
}

type Guess = (Vec<Frame>, End, Option<PtRegs>);

/// A return address on the stack.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    slot: u64,
    ret: VirtAddr,
    bp: Option<u64>,
    source: FrameSource,
}

impl Candidate {
    fn state(&self) -> State {
        State {
            pc: CodeAddr::Return(self.ret),
            sp: self.slot.wrapping_add(8),
            known: Known::only_bp(self.bp),
        }
    }
}

/// rbp as a frame pointer: the caller's rbp lies there, the return address behind it.
fn by_frame_pointer(stacks: &Stacks<'_, '_>, state: &State) -> Option<Candidate> {
    let bp = state.bp().filter(|bp| bp % 8 == 0 && *bp >= state.sp)?;
    let mut stacks = stacks.clone();
    let caller = stacks.word(bp).ok()?;
    let slot = bp.wrapping_add(8);
    let ret = VirtAddr(stacks.word(slot).ok()?);
    Some(Candidate {
        slot,
        ret,
        bp: Some(caller),
        source: FrameSource::FramePointer,
    })
}

/// Every word between the stack pointer and the stack's end that is an address of known text.
fn by_scan<'a>(stacks: &'a Stacks<'_, '_>, state: &State) -> impl Iterator<Item = Candidate> + 'a {
    let first = state.sp.wrapping_add(7) & !7;
    let end = stacks
        .current()
        .filter(|stack| stack.contains(VirtAddr(first)))
        .or_else(|| {
            let mut fresh = stacks.clone();
            fresh.word(first).ok()?;
            fresh.current()
        })
        .map_or(first, |stack| stack.high.0);
    let bp = state.bp();
    (first..end).step_by(8).filter_map(move |slot| {
        let word = stacks.kernel().memory().u64_at(VirtAddr(slot)).ok()?;
        let ret = VirtAddr(word);
        stacks.kernel().is_text(ret).then_some(Candidate {
            slot,
            ret,
            bp,
            source: FrameSource::StackScan,
        })
    })
}

/// Walks on from a candidate by the tables, and gives what was found if it holds.
fn follow(stacks: &Stacks<'_, '_>, fit: Fit, candidate: Candidate) -> Option<Guess> {
    let kernel = stacks.kernel();
    let mut walk = Walk::new(stacks.clone(), candidate.state(), candidate.source);
    let mut proven = fit == Fit::Proven;
    let end = loop {
        if let Err(end) = walk.advance() {
            break end;
        }
        let [.., callee, caller] = walk.frames.as_slice() else {
            return None;
        };
        let CodeAddr::Return(ret) = caller.pc else {
            continue;
        };
        match link(kernel, function_of(kernel, callee.pc.lookup()), ret) {
            Link::Direct => proven = true,
            Link::Open if proven => {}
            Link::Open | Link::Broken => return None,
        }
    };
    let holds = match end {
        End::User => ends_on_top(&walk),
        End::Outermost => true,
        _ => false,
    };
    let mut frames = walk.frames;
    for frame in frames.iter_mut().skip(1) {
        frame.source = FrameSource::AfterGuess;
    }
    (proven && holds).then_some((frames, end, walk.user.map(|(_, regs)| regs)))
}

/// The registers of user mode lie at the top of the task's stack, below a few words that FRED left free. A kernel
/// thread has none, though its stack may still have those of a task that had it before.
fn ends_on_top(walk: &Walk<'_, '_>) -> bool {
    let (Some((at, _)), Some(stack)) = (walk.user, walk.stacks.current()) else {
        return false;
    };
    let owner = stacks::locate(walk.stacks.kernel(), at).and_then(|found| found.task);
    let task = owner.and_then(|owner| task::read(walk.stacks.kernel(), owner.at).ok());
    if task.and_then(|task| task.is_kernel_thread()) == Some(true) {
        return false;
    }
    let above = stack.high.0.wrapping_sub(at.0.wrapping_add(PT_REGS_SIZE));
    above <= 16
}

/// A kernel without unwind tables keeps frame pointers instead (CONFIG_UNWINDER_FRAME_POINTER): their chain, as far as
/// each return address is one. Entry code leaves a pointer to pt_regs in rbp, marked by its lowest bit.
fn chain(stacks: &Stacks<'_, '_>, state: &State) -> Option<Guess> {
    let kernel = stacks.kernel();
    if !kernel.is_text(state.pc.lookup()) || kernel.orc(state.pc.lookup().0).is_some() {
        return None;
    }
    let mut walk = Walk::new(stacks.clone(), *state, FrameSource::FramePointer);
    let mut end = End::NoRule(state.pc.raw());
    while walk.frames.len() < MAX_CHAIN {
        let Some(next) = outer(&mut walk, &mut end) else {
            break;
        };
        if next.sp <= walk.state.sp {
            break;
        }
        walk.state = next;
        walk.push(FrameSource::FramePointer, None);
    }
    let frames: Vec<Frame> = walk.frames.into_iter().skip(1).collect();
    (!frames.is_empty()).then_some((frames, end, walk.user.map(|(_, regs)| regs)))
}

/// The frame outside by the frame pointer; `None` at the chain's end, whose reason is in `end`.
fn outer(walk: &mut Walk<'_, '_>, end: &mut End) -> Option<State> {
    let bp = walk.state.bp()?;
    if bp & 1 == 1 {
        let at = bp & !1;
        let mut bytes = [0; PT_REGS_SIZE as usize];
        walk.stacks.read(at, &mut bytes, "pt_regs").ok()?;
        let regs = PtRegs::from_bytes(&bytes);
        if regs.is_user() {
            (walk.user, *end) = (Some((VirtAddr(at), regs)), End::User);
            return None;
        }
        walk.exceptions.push((VirtAddr(at), regs));
        return Some(State::interrupted(&regs));
    }
    if bp == 0 {
        *end = End::Outermost;
        return None;
    }
    let candidate = by_frame_pointer(&walk.stacks, &walk.state)?;
    let kernel = walk.stacks.kernel();
    let inside = function_of(kernel, walk.state.pc.lookup());
    *end = End::NotText(candidate.ret);
    (link(kernel, inside, candidate.ret) != Link::Broken).then(|| candidate.state())
}
