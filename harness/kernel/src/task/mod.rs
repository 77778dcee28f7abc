//! Tasks: every thread of every process, the idle tasks, who died and who was running. Does not unwind.
mod current;
mod fields;
mod list;
mod memory;
mod state;

pub use current::{any_stack, crashing_cpu, current, running};
pub use list::{list, tasks};
pub use memory::{Memory, memory};
pub use state::TaskState;

use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::stacks;
use recrash_vmcore::VirtAddr;

/// `PF_*` flags of a task (include/linux/sched.h); the values have not changed since 4.18.
pub mod flags {
    /// Idle task.
    pub const IDLE: u32 = 0x2;
    /// Being shut down.
    pub const EXITING: u32 = 0x4;
    /// Kernel thread.
    pub const KTHREAD: u32 = 0x0020_0000;
}

/// A task. What the kernel's types do not have is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// `struct task_struct`.
    pub at: VirtAddr,
    /// Thread id; 0 for idle tasks.
    pub pid: i32,
    /// Process name.
    pub comm: String,
    /// Lowest address of its kernel stack.
    pub stack: VirtAddr,
    /// Process id, the `pid` of the group's leader.
    pub tgid: Option<i32>,
    /// Process id of the parent (`real_parent`'s `tgid`), which `getppid()` would give it.
    pub parent: Option<i32>,
    /// What it does: runs, sleeps, is dead.
    pub state: Option<TaskState>,
    /// The CPU that it runs on or ran on last.
    pub cpu: Option<u32>,
    /// Whether a CPU was executing it.
    pub on_cpu: Option<bool>,
    /// `PF_*` flags.
    pub flags: Option<u32>,
    /// `struct mm_struct`, null for kernel threads.
    pub mm: Option<VirtAddr>,
    /// When it was started: nanoseconds since boot, without suspended time.
    pub start_time: Option<u64>,
}

impl Task {
    /// Whether it is a kernel thread, by its flag, else by having no memory of its own.
    #[must_use]
    pub fn is_kernel_thread(&self) -> Option<bool> {
        let by_mm = || Some(self.mm?.0 == 0);
        self.flags
            .map(|flags| flags & flags::KTHREAD != 0)
            .or_else(by_mm)
    }

    /// Whether it is the first thread of its process.
    #[must_use]
    pub fn is_group_leader(&self) -> bool {
        self.tgid.is_none_or(|tgid| tgid == self.pid)
    }
}

/// A task at a known address.
///
/// # Errors
/// [`Missing`] when its id, name or stack could not be read.
pub fn read(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Task, Missing> {
    fields::Fields::new(kernel)?.read(kernel, at)
}

/// The registers with which a task entered the kernel from user mode: they lie at the top of its stack, whatever
/// happened below. Kernel threads have none.
///
/// # Errors
/// [`Missing`] when the stack could not be read, or what lies there are no registers of user mode.
pub fn user_regs(kernel: &Kernel<'_>, task: &Task) -> Result<(VirtAddr, PtRegs), Missing> {
    let top = stacks::of_task(kernel, task).high;
    // With FRED two words are left free above them (TOP_OF_KERNEL_STACK_PADDING, since 6.9).
    let mut unread = None;
    for padding in [0, 16] {
        let at = VirtAddr(top.0.wrapping_sub(PT_REGS_SIZE).wrapping_sub(padding));
        match crate::exception::read(kernel, at) {
            Ok(regs) if is_user_entry(&regs) => return Ok((at, regs)),
            Ok(_) => {}
            Err(missing) => unread = Some(missing),
        }
    }
    Err(unread.unwrap_or_else(|| {
        Missing::Implausible(format!(
            "no registers of user mode lie at the top of the stack of task {}",
            task.pid
        ))
    }))
}

/// Code segments of user mode: 64-bit, 32-bit (__USER_CS, __USER32_CS, arch/x86/include/asm/segment.h).
fn is_user_entry(regs: &PtRegs) -> bool {
    let cs = regs.iter().find(|(name, _)| *name == "cs");
    cs.is_some_and(|(_, value)| [0x33, 0x23].contains(&value))
}
