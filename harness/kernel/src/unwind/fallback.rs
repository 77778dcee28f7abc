//! Guesses where the tables do not reach. A return address on the stack proves nothing: calls long over left theirs.
//! So a guess counts only if the frames outwards of it lead to the end of the stack by the tables, and if each call on
//! the way can have been of the function inside of it. What does not is not shown.
use super::link::{Link, function_of, link};
use super::state::State;
use super::walk::{Stacks, Walk};
use super::{Backtrace, CodeAddr, End, Fallback, Frame, FrameSource};
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::unwind::state::Known;
use recrash_vmcore::{VirtAddr, VirtMem};

/// Candidates that are followed, of those that fit the function inside.
const MAX_CANDIDATES: usize = 256;
/// Frames of a chain of frame pointers.
const MAX_CHAIN: usize = 1024;

/// Adds guessed frames to a walk that ended before the stack did, if there are any that hold.
pub(super) fn guess(stacks: &Stacks<'_, '_>, state: &State, trace: &mut Backtrace) {
    let inside = function_of(stacks.kernel(), state.pc.lookup());
    let found = by_frame_pointer(stacks, state)
        .into_iter()
        .chain(by_scan(stacks, state))
        .filter(|candidate| link(stacks.kernel(), inside, candidate.ret) != Link::Broken)
        .take(MAX_CANDIDATES)
        .find_map(|candidate| follow(stacks, inside, candidate))
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
fn follow(
    stacks: &Stacks<'_, '_>,
    inside: Option<VirtAddr>,
    candidate: Candidate,
) -> Option<Guess> {
    let kernel = stacks.kernel();
    let first = link(kernel, inside, candidate.ret);
    let mut walk = Walk::new(stacks.clone(), candidate.state(), candidate.source);
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
        let found = link(kernel, function_of(kernel, callee.pc.lookup()), ret);
        // A call through a pointer could have been of anything: then the next one has to fit.
        let needed = walk.frames.len() == 2 && first != Link::Direct;
        if found == Link::Broken || (needed && found != Link::Direct) {
            return None;
        }
    };
    let holds = match end {
        End::User => ends_on_top(&walk),
        End::Outermost => walk.frames.len() > 1 || first == Link::Direct,
        _ => false,
    };
    let mut frames = walk.frames;
    for frame in frames.iter_mut().skip(1) {
        frame.source = FrameSource::AfterGuess;
    }
    holds.then_some((frames, end, walk.user.map(|(_, regs)| regs)))
}

/// The registers of user mode lie at the top of the task's stack, below a few words that FRED left free.
fn ends_on_top(walk: &Walk<'_, '_>) -> bool {
    let (Some((at, _)), Some(stack)) = (walk.user, walk.stacks.current()) else {
        return false;
    };
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
