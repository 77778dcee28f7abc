//! The exception that a task died of: where its pt_regs lie on the stack, which entry code put them there, and
//! hence which vector came. Does not unwind.
use crate::kernel::{Kernel, Place, missing};
use crate::object::{Missing, Object};
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::stacks::{self, Bounds, StackKind};
use crate::task::Task;
use crate::trap::{self, Trap};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Bytes above the registers on the NMI stack when it came from kernel mode (arch/x86/entry/entry_64.S): what the CPU
/// pushed, rdx, the mark of an NMI under way, a copy to return by.
pub(crate) const ABOVE_NMI_REGS: u64 = (5 + 1 + 1 + 5) * 8;

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

/// Finds the pt_regs of `regs` on the stack.
///
/// The CPU aligns the stack pointer down to 16 bytes before it pushes a same-privilege exception's frame (Intel
/// SDM volume 3, 6.14.2), and the entry code pushes the rest right below, so the place follows from the
/// interrupted rsp, on a task's stack or an interrupt's. An exception with a stack of its own (#DF, NMI, #DB, #MC)
/// has them at that stack's top.
///
/// # Errors
/// [`Missing`] when in none of these places the words are these registers.
pub fn find(kernel: &Kernel<'_>, task: &Task, regs: &PtRegs) -> Result<Exception, Missing> {
    let below = VirtAddr((regs.rsp() & !0xf).wrapping_sub(PT_REGS_SIZE));
    let same_stack = stacks::of_task(kernel, task).contains(below)
        || stacks::cpu_stacks(kernel).find(below).is_some();
    let on_top = stacks::cpu_stacks(kernel).iter().filter_map(on_top);
    let is_it = |at: VirtAddr| {
        let found = read(kernel, at).ok()?;
        let same = (found.rip(), found.rsp(), found.rbp()) == (regs.rip(), regs.rsp(), regs.rbp());
        same.then(|| describe(kernel, task, at, found))
    };
    let mut places = same_stack.then_some(below).into_iter().chain(on_top);
    places.find_map(is_it).ok_or_else(|| {
        Missing::Implausible(format!(
            "the registers saved at {} lie neither at {below} nor on top of an exception's stack",
            VirtAddr(regs.rip())
        ))
    })
}

/// Where an exception with this stack has its registers; `None` for stacks of other kinds.
fn on_top(stack: &Bounds) -> Option<VirtAddr> {
    let above = match stack.kind {
        StackKind::Nmi => ABOVE_NMI_REGS,
        StackKind::Task | StackKind::Irq | StackKind::Entry => return None,
        _ => 0,
    };
    Some(stack.high.offset(-(above + PT_REGS_SIZE).cast_signed()))
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
