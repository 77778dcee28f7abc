//! The exception that a task died of: where its pt_regs lie on the stack, which entry code put them there, and
//! hence which vector came. Does not unwind.
use crate::kernel::{Kernel, Place, missing};
use crate::object::{Missing, Object};
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::task::Task;
use crate::trap::{self, Trap};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Largest kernel stack: THREAD_SIZE with KASAN is 32 KiB (arch/x86/include/asm/page_64_types.h).
const MAX_STACK: u64 = 32 << 10;

/// An exception in kernel mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Where the registers lie.
    pub at: VirtAddr,
    /// The interrupted context.
    pub regs: PtRegs,
    /// The entry code that a return address right below the registers points into.
    pub entry: Option<Place>,
    /// Which vector that entry code serves.
    pub trap: Option<&'static Trap>,
    /// `task.thread.error_code`, which the handler copied from what the CPU pushed.
    pub error_code: Option<u64>,
}

/// Finds the pt_regs of `regs` on the task's stack.
///
/// The CPU aligns the stack pointer down to 16 bytes before it pushes a same-privilege exception's frame (Intel
/// SDM volume 3, 6.14.2), and the entry code pushes the rest right below, so the place follows from the
/// interrupted rsp. On an IST stack it does not, and the stack is not the task's: that is reported as missing.
///
/// # Errors
/// [`Missing`] when the words there are not these registers.
pub fn find(kernel: &Kernel<'_>, task: &Task, regs: &PtRegs) -> Result<Exception, Missing> {
    let at = VirtAddr((regs.rsp() & !0xf).wrapping_sub(PT_REGS_SIZE));
    if at.0.wrapping_sub(task.stack.0) >= MAX_STACK {
        return Err(Missing::Implausible(format!(
            "the interrupted stack pointer {} is not on the stack of task {}",
            VirtAddr(regs.rsp()),
            task.pid
        )));
    }
    let found = read(kernel, at)?;
    if (found.rip(), found.rsp(), found.rbp()) != (regs.rip(), regs.rsp(), regs.rbp()) {
        return Err(Missing::Implausible(format!(
            "the words at {at} are not the saved registers"
        )));
    }
    Ok(describe(kernel, task, at, found))
}

/// The exception whose registers lie at `at`.
#[must_use]
pub fn describe(kernel: &Kernel<'_>, task: &Task, at: VirtAddr, regs: PtRegs) -> Exception {
    let entry = kernel
        .memory()
        .u64_at(at.offset(-8))
        .ok()
        .and_then(|return_address| kernel.place(VirtAddr(return_address).offset(-1)));
    let trap = entry
        .as_ref()
        .and_then(|place| trap::by_entry(&place.symbol));
    let thread = Object::new(kernel, "task_struct", task.at);
    // thread.trap_nr keeps the last exception that a handler recorded; only the same one's error code counts.
    let recorded = thread.u64("thread.trap_nr").ok();
    let same = trap.is_some_and(|trap| recorded == Some(trap.vector.into()));
    let error_code = same.then(|| thread.u64("thread.error_code").ok()).flatten();
    Exception {
        at,
        regs,
        entry,
        trap,
        error_code,
    }
}

/// The pt_regs at an address.
///
/// # Errors
/// [`Missing::Memory`].
pub fn read(kernel: &Kernel<'_>, at: VirtAddr) -> Result<PtRegs, Missing> {
    let mut bytes = [0; PT_REGS_SIZE as usize];
    kernel
        .memory()
        .read(at, &mut bytes)
        .map_err(missing("pt_regs"))?;
    Ok(PtRegs::from_bytes(&bytes))
}
