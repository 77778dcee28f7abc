//! Which CPU died and which task it was running.
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

/// A task, as far as a crash report needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// `struct task_struct`.
    pub at: VirtAddr,
    /// Thread id.
    pub pid: i32,
    /// Process name.
    pub comm: String,
    /// Lowest address of its kernel stack.
    pub stack: VirtAddr,
}

/// The CPU that crashed.
///
/// `panic_cpu` (kernel/panic.c) is set by whoever reaches panic or crash_kexec first; `crashing_cpu`
/// (arch/x86/kernel/reboot.c) by the shutdown that precedes kexec. Either is -1 when its path was not taken.
///
/// # Errors
/// [`Missing`] when neither names a CPU.
pub fn crashing_cpu(kernel: &Kernel<'_>) -> Result<u32, Missing> {
    let count = kernel.cpu_count()?;
    let mut reason = None;
    for name in ["panic_cpu", "crashing_cpu"] {
        match kernel
            .symbol(name)
            .and_then(|at| kernel.memory().u32_at(at).map_err(missing(name)))
        {
            Ok(cpu) if cpu < count => return Ok(cpu),
            Ok(cpu) => {
                reason = Some(Missing::Implausible(format!(
                    "{name} is {}",
                    cpu.cast_signed()
                )))
            }
            Err(missing) => reason = Some(missing),
        }
    }
    Err(reason.unwrap_or_else(|| Missing::Symbol("panic_cpu".into())))
}

/// The task that was running on a CPU: `current_task`, part of `pcpu_hot` from 6.2 to 6.14 (commit
/// e57ef2ed97c1 "x86: Put hot per CPU variables into a struct").
///
/// # Errors
/// [`Missing`] when per-CPU data or `task_struct`'s layout is.
pub fn current<'k>(kernel: &'k Kernel<'k>, cpu: u32) -> Result<Task, Missing> {
    let at = match kernel.per_cpu_symbol(cpu, "current_task") {
        Ok(at) => at,
        Err(_) => Object::new(kernel, "pcpu_hot", kernel.per_cpu_symbol(cpu, "pcpu_hot")?)
            .addr_of("current_task")?,
    };
    let task = VirtAddr(
        kernel
            .memory()
            .u64_at(at)
            .map_err(missing("current_task"))?,
    );
    read(Object::new(kernel, "task_struct", task))
}

fn read(object: Object<'_>) -> Result<Task, Missing> {
    Ok(Task {
        at: object.at,
        pid: object.i32("pid")?,
        comm: object.char_array("comm")?,
        stack: object.ptr("stack")?,
    })
}
