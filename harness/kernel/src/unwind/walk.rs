//! The walk: frame after frame, never off the known stacks, never back to one that was left.
//!
//! A stack is left for another one, when an interrupt or exception came, and each is visited once: that, and that the
//! stack pointer only grows while it stays on one, bounds the walk.
use super::fallback;
use super::state::State;
use super::step::{Step, step};
use super::{Backtrace, End, Frame, FrameSource};
use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use crate::regs::PtRegs;
use crate::stacks::{self, Bounds, StackKind};
use recrash_vmcore::{VirtAddr, VirtMem};

/// More frames than all stacks of a CPU hold: a frame has at least its return address.
const MAX_FRAMES: usize = 8192;

/// The stacks of a walk: the one it is on and those that it left.
#[derive(Clone)]
pub(super) struct Stacks<'k, 'd> {
    kernel: &'k Kernel<'d>,
    /// The last one is the current.
    visited: Vec<Bounds>,
}

impl<'k, 'd> Stacks<'k, 'd> {
    pub(super) fn new(kernel: &'k Kernel<'d>) -> Self {
        Self {
            kernel,
            visited: Vec::new(),
        }
    }

    pub(super) fn kernel(&self) -> &'k Kernel<'d> {
        self.kernel
    }

    pub(super) fn current(&self) -> Option<Bounds> {
        self.visited.last().copied()
    }

    /// The word at an address of the stack.
    pub(super) fn word(&mut self, at: u64) -> Result<u64, End> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes, "stack")?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads from the current stack, or from another one that is entered by that.
    pub(super) fn read(&mut self, at: u64, buf: &mut [u8], what: &str) -> Result<(), End> {
        let (at, length) = (VirtAddr(at), u64::try_from(buf.len()).unwrap_or(u64::MAX));
        if !self.current().is_some_and(|stack| stack.holds(at, length)) {
            self.enter(at, length)?;
        }
        self.kernel
            .memory()
            .read(at, buf)
            .map_err(missing(what))
            .map_err(End::Unreadable)
    }

    fn enter(&mut self, at: VirtAddr, length: u64) -> Result<(), End> {
        let stack = self.find(at).ok_or(End::OffStack(at))?;
        if !stack.holds(at, length) {
            return Err(End::OffStack(at));
        }
        if self.visited.iter().any(|left| left.low == stack.low) {
            return Err(End::Revisited(at));
        }
        // Nothing leads from one CPU's stack to another's.
        let cpu = self.visited.iter().find_map(|left| left.cpu);
        if cpu.is_some_and(|cpu| stack.cpu.is_some_and(|other| other != cpu)) {
            return Err(End::OffStack(at));
        }
        self.visited.push(stack);
        Ok(())
    }

    /// The stack that an address lies on. Where tasks are not known, a walk may begin on any stack.
    fn find(&self, at: VirtAddr) -> Option<Bounds> {
        if let Some(found) = stacks::locate(self.kernel, at) {
            return Some(found.bounds());
        }
        self.visited.is_empty().then(|| self.window(at)).flatten()
    }

    /// Stacks are aligned to their size, whatever they are allocated from (THREAD_ALIGN).
    fn window(&self, at: VirtAddr) -> Option<Bounds> {
        let size = stacks::thread_size(self.kernel).bytes;
        let low = VirtAddr(at.0 & !size.wrapping_sub(1));
        self.kernel.memory().translate(at).ok()?;
        Some(Bounds {
            kind: StackKind::Task,
            cpu: None,
            low,
            high: VirtAddr(low.0.checked_add(size)?),
        })
    }

    /// The stack that a frame is on: an empty one's pointer is at its end.
    fn of_frame(&self, sp: u64) -> Option<Bounds> {
        let at = VirtAddr(sp);
        let current = self.current();
        current
            .filter(|stack| stack.contains(at) || stack.high == at)
            .or_else(|| self.find(at))
    }
}

/// Walks outwards from a context.
#[must_use]
pub fn from_regs(kernel: &Kernel<'_>, regs: &PtRegs) -> Backtrace {
    if regs.is_user() {
        return Backtrace::in_user_mode(*regs);
    }
    from_state(kernel, State::interrupted(regs), FrameSource::Registers)
}

/// Walks outwards from a frame that was found otherwise.
pub(super) fn from_state(kernel: &Kernel<'_>, state: State, source: FrameSource) -> Backtrace {
    let mut walk = Walk::new(Stacks::new(kernel), state, source);
    let end = walk.run();
    let user = walk.user.map(|(_, regs)| regs);
    let mut trace = Backtrace {
        frames: walk.frames,
        exceptions: walk.exceptions,
        user,
        end,
        fallback: None,
    };
    if !matches!(trace.end, End::User | End::Outermost) {
        fallback::guess(&walk.stacks, &walk.state, &mut trace);
    }
    trace
}

/// A walk under way.
pub(super) struct Walk<'k, 'd> {
    pub(super) stacks: Stacks<'k, 'd>,
    /// The outermost frame so far.
    pub(super) state: State,
    pub(super) frames: Vec<Frame>,
    pub(super) exceptions: Vec<(VirtAddr, PtRegs)>,
    /// Where the registers of user mode lie, and their values.
    pub(super) user: Option<(VirtAddr, PtRegs)>,
}

impl<'k, 'd> Walk<'k, 'd> {
    pub(super) fn new(stacks: Stacks<'k, 'd>, state: State, source: FrameSource) -> Self {
        let mut walk = Self {
            stacks,
            state,
            frames: Vec::new(),
            exceptions: Vec::new(),
            user: None,
        };
        walk.push(source, None);
        walk
    }

    pub(super) fn push(&mut self, source: FrameSource, regs_at: Option<VirtAddr>) {
        self.frames.push(Frame {
            pc: self.state.pc,
            sp: VirtAddr(self.state.sp),
            place: self.stacks.kernel.place(self.state.pc.lookup()),
            source,
            stack: self.stacks.of_frame(self.state.sp),
            regs_at,
        });
    }

    /// Steps until there is no frame outside.
    pub(super) fn run(&mut self) -> End {
        while self.frames.len() < MAX_FRAMES {
            if let Err(end) = self.advance() {
                return end;
            }
        }
        End::Runaway
    }

    /// One step; `Err` with the end.
    pub(super) fn advance(&mut self) -> Result<(), End> {
        match step(&mut self.stacks, &self.state)? {
            Step::User(regs) => {
                self.user = regs;
                Err(End::User)
            }
            Step::To(next, source, regs) => {
                self.check_direction(next.sp)?;
                self.state = next;
                self.exceptions.extend(regs);
                self.push(source, regs.map(|(at, _)| at));
                Ok(())
            }
        }
    }

    /// On one stack the pointer moves outwards.
    fn check_direction(&self, next: u64) -> Result<(), End> {
        let stays = self.stacks.current().is_some_and(|stack| {
            stack.contains(VirtAddr(next)) && stack.contains(VirtAddr(self.state.sp))
        });
        match stays && next <= self.state.sp {
            true => Err(End::Runaway),
            false => Ok(()),
        }
    }
}

/// Why memory that is no stack's could not be read, as an end.
impl From<Missing> for End {
    fn from(missing: Missing) -> Self {
        Self::Unreadable(missing)
    }
}
