//! Where a walk begins: the registers saved for a CPU, or what a context switch saved of a sleeping task.
use super::state::{Known, RBP, State};
use super::walk::{from_regs, from_state};
use super::{Backtrace, CodeAddr, FrameSource};
use crate::exception::ABOVE_NMI_REGS;
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use crate::regs::{PT_REGS_SIZE, PtRegs};
use crate::stacks::{self, StackKind};
use crate::task::{self, Task};
use recrash_vmcore::{Gregs, Prstatus, VirtAddr, VirtMem};
use std::collections::HashMap;

/// The mark, counted down from the stack's end.
const NMI_MARK: u64 = 7;

/// Registers of a CPU and how they came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// The registers.
    pub regs: PtRegs,
    /// Where they come from.
    pub from: &'static str,
}

/// The registers that a CPU had when the kernel died.
///
/// An NT_PRSTATUS note holds them. Which note is whose follows from the stack that its rsp is on, from gs_base (QEMU
/// saves the kernel's, a CPU's per-CPU base) and from the process id; where none of them tells, from the order of the
/// notes. A CPU without a note that was stopped by an NMI has them on its NMI stack.
///
/// # Errors
/// [`Missing`] when no registers are known.
pub fn saved_regs(kernel: &Kernel<'_>, cpu: u32) -> Result<Saved, Missing> {
    let owners = kernel
        .stack_cache()
        .saved
        .get_or_init(|| note_of_each_cpu(kernel));
    let note = usize::try_from(cpu)
        .ok()
        .and_then(|cpu| owners.get(cpu).copied().flatten())
        .and_then(|note| kernel.prstatus().get(note));
    if let Some(note) = note {
        return Ok(Saved {
            regs: pt_regs(&note.regs),
            from: "NT_PRSTATUS",
        });
    }
    nmi_regs(kernel, cpu).map_err(|reason| {
        Missing::Implausible(format!(
            "no NT_PRSTATUS note is of CPU {cpu}, and its NMI stack has no registers: {reason}"
        ))
    })
}

/// `user_regs_struct` begins with the 21 slots of pt_regs, in the same order.
fn pt_regs(regs: &Gregs) -> PtRegs {
    let mut slots = [0; 21];
    for (slot, (_, value)) in slots.iter_mut().zip(regs.named()) {
        *slot = value;
    }
    PtRegs(slots)
}

/// For each CPU the index of its note.
fn note_of_each_cpu(kernel: &Kernel<'_>) -> Vec<Option<usize>> {
    let notes = kernel.prstatus();
    let count = usize::try_from(kernel.cpu_count().unwrap_or(0)).unwrap_or(0);
    let mut owners = vec![None; count];
    let told = Evidence::collect(kernel);
    let mut open = Vec::new();
    for (index, note) in notes.iter().enumerate() {
        let cpu = told
            .cpu_of(kernel, note)
            .and_then(|cpu| usize::try_from(cpu).ok());
        match cpu.and_then(|cpu| owners.get_mut(cpu)) {
            Some(owner) if owner.is_none() => *owner = Some(index),
            _ => open.push(index),
        }
    }
    // The others: their own number if it is free, when there is a note for every CPU.
    if notes.len() == count {
        for index in open {
            if let Some(owner) = owners.get_mut(index)
                && owner.is_none()
            {
                *owner = Some(index);
            }
        }
    }
    owners
}

/// What tells whose note it is.
struct Evidence {
    by_base: HashMap<u64, u32>,
    by_pid: HashMap<i32, u32>,
}

impl Evidence {
    fn collect(kernel: &Kernel<'_>) -> Self {
        let cpus = 0..kernel.cpu_count().unwrap_or(0);
        let by_base = cpus
            .filter_map(|cpu| Some((kernel.per_cpu(cpu, 0).ok()?.0, cpu)))
            .collect();
        let by_pid = task::running(kernel)
            .iter()
            .filter(|task| task.pid != 0)
            .filter_map(|task| Some((task.pid, task.cpu?)))
            .collect();
        Self { by_base, by_pid }
    }

    fn cpu_of(&self, kernel: &Kernel<'_>, note: &Prstatus) -> Option<u32> {
        let by_stack = || stacks::locate(kernel, VirtAddr(note.regs.rsp))?.cpu;
        let by_pid = || {
            let cpu = self.by_pid.get(&note.pid.cast_signed()).copied()?;
            // QEMU's note has the CPU's number plus one for its process id; its name is then none of a process.
            (note.pid != cpu.wrapping_add(1) || note.regs.cs & 3 == 3).then_some(cpu)
        };
        by_stack()
            .or_else(|| self.by_base.get(&note.regs.gs_base).copied())
            .or_else(by_pid)
    }
}

/// The registers that an NMI interrupted, if one is being handled on this CPU.
fn nmi_regs(kernel: &Kernel<'_>, cpu: u32) -> Result<Saved, Missing> {
    let stack = stacks::cpu_stacks(kernel)
        .of(cpu, StackKind::Nmi)
        .ok_or_else(|| Missing::Implausible("it is not known where that lies".into()))?;
    let word = |below: u64| {
        let at = VirtAddr(stack.high.0.wrapping_sub(below.wrapping_mul(8)));
        kernel.memory().u64_at(at).map_err(missing("NMI stack"))
    };
    if word(NMI_MARK)? != 1 {
        return Err(Missing::Implausible("no NMI was being handled".into()));
    }
    let at = stack
        .high
        .0
        .wrapping_sub(ABOVE_NMI_REGS)
        .wrapping_sub(PT_REGS_SIZE);
    let regs = crate::exception::read(kernel, VirtAddr(at))?;
    if (regs.rip(), regs.rsp()) != (word(5)?, word(2)?) {
        return Err(Missing::Implausible(
            "the copies of the interrupted context differ".into(),
        ));
    }
    Ok(Saved {
        regs,
        from: "the NMI that stopped the CPU",
    })
}

/// The stack of a CPU: what it ran, or what it was interrupted in.
///
/// # Errors
/// [`Missing`] when its registers are not known.
pub fn of_cpu(kernel: &Kernel<'_>, cpu: u32) -> Result<Backtrace, Missing> {
    Ok(from_regs(kernel, &saved_regs(kernel, cpu)?.regs))
}

/// The stack of a task: of a running one by the registers of its CPU, of a sleeping one by what the context switch
/// saved.
///
/// # Errors
/// [`Missing`] when neither is known, or the task's stack is freed already.
pub fn of_task(kernel: &Kernel<'_>, task: &Task) -> Result<Backtrace, Missing> {
    let cpu = task::running(kernel)
        .iter()
        .find(|running| running.at == task.at)
        .and_then(|running| running.cpu);
    match cpu {
        Some(cpu) => of_cpu(kernel, cpu),
        None if task.on_cpu == Some(true) => switching(kernel, task),
        None => sleeping(kernel, task),
    }
}

/// A task that runs, but that no CPU names as its current one: it is being switched to or away from, or the per-CPU
/// data is damaged. Then what the last switch saved is of the past; the registers of a CPU on its stack are its own.
fn switching(kernel: &Kernel<'_>, task: &Task) -> Result<Backtrace, Missing> {
    let stack = stacks::of_task(kernel, task);
    let notes = kernel.prstatus().iter();
    let mut on_stack = notes.filter(|note| stack.contains(VirtAddr(note.regs.rsp)));
    let note = on_stack.next().ok_or_else(|| {
        Missing::Implausible(format!(
            "task {} was running, but no CPU's registers are on its stack",
            task.pid
        ))
    })?;
    Ok(from_regs(kernel, &pt_regs(&note.regs)))
}

/// `__switch_to_asm` pushes the registers that a callee has to keep (`struct inactive_task_frame`,
/// arch/x86/include/asm/switch_to.h) and leaves the stack pointer in `thread.sp`.
fn sleeping(kernel: &Kernel<'_>, task: &Task) -> Result<Backtrace, Missing> {
    if task.stack.0 == 0 {
        return Err(Missing::Implausible(format!(
            "task {} is dead and its stack is freed",
            task.pid
        )));
    }
    let sp = Object::new(kernel, "task_struct", task.at).u64("thread.sp")?;
    let frame = Object::new(kernel, "inactive_task_frame", VirtAddr(sp));
    let size = SwitchFrame::size(kernel);
    if !stacks::of_task(kernel, task).holds(VirtAddr(sp), size) {
        return Err(Missing::Implausible(format!(
            "thread.sp of task {} is {}, not on its stack",
            task.pid,
            VirtAddr(sp)
        )));
    }
    let ret = SwitchFrame::ret_addr(kernel, frame)?;
    let mut known = Known::default();
    for (index, name) in [
        (0, "r15"),
        (1, "r14"),
        (2, "r13"),
        (3, "r12"),
        (RBP, "bp"),
        (5, "bx"),
    ] {
        known.set(index, frame.u64(name).ok());
    }
    let state = State {
        pc: resumes_at(kernel, ret),
        sp: sp.wrapping_add(size),
        known,
    };
    Ok(from_state(kernel, state, FrameSource::SwitchFrame))
}

/// A new task has not run yet and begins at `ret_from_fork` (`ret_from_fork_asm` since 6.5); it was not called.
fn resumes_at(kernel: &Kernel<'_>, ret: VirtAddr) -> CodeAddr {
    let begins = ["ret_from_fork_asm", "ret_from_fork"]
        .iter()
        .any(|name| kernel.own_symbol(name) == Ok(ret));
    match begins {
        true => CodeAddr::Interrupted(ret),
        false => CodeAddr::Return(ret),
    }
}

/// `struct inactive_task_frame`: r15, r14, r13, r12, bx, bp, ret_addr; from 5.2 to 5.7 with flags before them. Where
/// types are not known it is taken to be the former, which kernels without type information have.
struct SwitchFrame;

impl SwitchFrame {
    const PLAIN: u64 = 7 * 8;

    fn size(kernel: &Kernel<'_>) -> u64 {
        kernel
            .own_types()
            .size_of("struct inactive_task_frame")
            .unwrap_or(Self::PLAIN)
    }

    fn ret_addr(kernel: &Kernel<'_>, frame: Object<'_>) -> Result<VirtAddr, Missing> {
        if frame.has("ret_addr") {
            return frame.ptr("ret_addr");
        }
        let at = frame.at.wrapping_add(Self::PLAIN.wrapping_sub(8));
        let word = kernel.memory().u64_at(at);
        word.map(VirtAddr).map_err(missing("inactive_task_frame"))
    }
}
