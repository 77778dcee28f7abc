//! Which kernel stack an address lies on: of a task, or one of a CPU's own (interrupts, exceptions, entry).
//! Knows bounds and owners; reads no frames.
mod bounds;
mod cache;
mod cpu;
mod size;

pub use bounds::{Bounds, StackKind};
pub(crate) use cache::StackCache;
pub use cpu::{CpuStacks, cpu_stacks};
pub use size::{ThreadSize, thread_size};

use crate::kernel::Kernel;
use crate::task::{self, Task};
use recrash_vmcore::{VirtAddr, VirtMem};

/// The kernel marks the lowest word of each task's stack with it (`STACK_END_MAGIC`, include/uapi/linux/magic.h).
const STACK_END_MAGIC: u64 = 0x57ac_6e9d;

/// The task whose stack it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackOwner {
    /// `struct task_struct`.
    pub at: VirtAddr,
    /// Thread id.
    pub pid: i32,
    /// Name.
    pub comm: String,
}

/// Where on which stack an address lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackRef {
    /// Which stack it is.
    pub kind: StackKind,
    /// The CPU whose stack it is; for a task's stack the CPU that was running the task, if one was.
    pub cpu: Option<u32>,
    /// The task whose stack it is; `None` for a CPU's own.
    pub task: Option<StackOwner>,
    /// Lowest address of the stack.
    pub low: VirtAddr,
    /// First address past the stack.
    pub high: VirtAddr,
    /// Bytes from `low` up to the address.
    pub offset: u64,
}

impl StackRef {
    /// The stack's bounds, as the unwinder uses them.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            kind: self.kind,
            cpu: self.cpu,
            low: self.low,
            high: self.high,
        }
    }

    fn of_cpu(bounds: Bounds, at: VirtAddr) -> Self {
        Self {
            kind: bounds.kind,
            cpu: bounds.cpu,
            task: None,
            low: bounds.low,
            high: bounds.high,
            offset: at.0.wrapping_sub(bounds.low.0),
        }
    }

    fn of_task(task: &Task, bounds: Bounds, at: VirtAddr) -> Self {
        Self {
            task: Some(StackOwner {
                at: task.at,
                pid: task.pid,
                comm: task.comm.clone(),
            }),
            ..Self::of_cpu(bounds, at)
        }
    }
}

impl std::fmt::Display for StackRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.task, self.cpu) {
            (Some(task), _) => write!(f, "stack of {} (pid {})", task.comm, task.pid)?,
            (None, Some(cpu)) => write!(f, "{} of CPU {cpu}", self.kind)?,
            (None, None) => write!(f, "{}", self.kind)?,
        }
        write!(f, "+{:#x}", self.offset)
    }
}

/// Which stack an address lies on; `None` when on none that is known.
///
/// A CPU's own stacks are looked at first, then the stacks of the tasks that were running, then those of all tasks;
/// for the last the window must carry the mark that the kernel puts at a stack's end, so that an address that is none
/// of a stack's does not cost a walk of all tasks.
#[must_use]
pub fn locate(kernel: &Kernel<'_>, at: VirtAddr) -> Option<StackRef> {
    if let Some(bounds) = cpu_stacks(kernel).find(at) {
        return Some(StackRef::of_cpu(bounds, at));
    }
    let size = thread_size(kernel).bytes;
    let on = |task: &Task| {
        let bounds = of_task(kernel, task);
        bounds
            .contains(at)
            .then(|| StackRef::of_task(task, bounds, at))
    };
    if let Some(found) = task::running(kernel).iter().find_map(on) {
        return Some(found);
    }
    let window = VirtAddr(at.0 & !(size.wrapping_sub(1)));
    if kernel.memory().u64_at(window) != Ok(STACK_END_MAGIC) {
        return None;
    }
    task::list(kernel).0.iter().find_map(on)
}

/// The bounds of a task's stack.
#[must_use]
pub fn of_task(kernel: &Kernel<'_>, task: &Task) -> Bounds {
    Bounds {
        kind: StackKind::Task,
        cpu: task.on_cpu.and_then(|on| task.cpu.filter(|_| on)),
        low: task.stack,
        high: task.stack.wrapping_add(thread_size(kernel).bytes),
    }
}
