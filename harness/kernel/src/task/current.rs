//! Which CPU died, which task each CPU was running.
use super::{Task, read};
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

/// The CPU that crashed.
///
/// `panic_cpu` (kernel/panic.c) is set by whoever reaches panic or crash_kexec first; `crashing_cpu`
/// (arch/x86/kernel/reboot.c) by the shutdown that precedes kexec. Either is -1 when its path was not taken. A
/// hypervisor may have saved the memory before either was: then `die_owner` (arch/x86/kernel/dumpstack.c) names the CPU
/// that is in the middle of an oops, and is -1 when none is.
///
/// # Errors
/// [`Missing`] when neither names a CPU.
pub fn crashing_cpu(kernel: &Kernel<'_>) -> Result<u32, Missing> {
    let count = kernel.cpu_count()?;
    let read = |name: &str| {
        let at = kernel.own_symbol(name)?;
        match kernel.memory().u32_at(at).map_err(missing(name))? {
            cpu if cpu < count => Ok(cpu),
            cpu => Err(Missing::Implausible(format!(
                "{name} is {}",
                cpu.cast_signed()
            ))),
        }
    };
    let reason = match read("panic_cpu").or_else(|_| read("crashing_cpu")) {
        Ok(cpu) => return Ok(cpu),
        Err(reason) => reason,
    };
    read("die_owner").map_err(|_| reason)
}

/// The task that was running on a CPU: `current_task`, part of `pcpu_hot` from 6.2 to 6.14 (commit
/// e57ef2ed97c1 "x86: Put hot per CPU variables into a struct").
///
/// # Errors
/// [`Missing`] when per-CPU data or `task_struct`'s layout is.
pub fn current(kernel: &Kernel<'_>, cpu: u32) -> Result<Task, Missing> {
    read(kernel, current_at(kernel, cpu)?)
}

fn current_at(kernel: &Kernel<'_>, cpu: u32) -> Result<VirtAddr, Missing> {
    let at = match kernel.own_per_cpu(cpu, "current_task") {
        Ok(at) => at,
        Err(_) => Object::new(kernel, "pcpu_hot", kernel.own_per_cpu(cpu, "pcpu_hot")?)
            .addr_of("current_task")?,
    };
    let task = kernel
        .memory()
        .u64_at(at)
        .map_err(missing("current_task"))?;
    Ok(VirtAddr(task))
}

/// The task that each CPU was running, looked up once. CPUs whose task could not be read are left out, and so are
/// those that never came up.
#[must_use]
pub fn running<'k>(kernel: &'k Kernel<'_>) -> &'k [Task] {
    kernel.stack_cache().running.get_or_init(|| {
        let cpus = 0..kernel.cpu_count().unwrap_or(0);
        let task = |cpu| {
            let task = current(kernel, cpu).ok()?;
            Some(Task {
                cpu: Some(cpu),
                on_cpu: Some(true),
                ..task
            })
        };
        cpus.filter_map(task).collect()
    })
}

/// Lowest address of the kernel stack of some task that was running; for probing stacks' size.
#[must_use]
pub fn any_stack(kernel: &Kernel<'_>) -> Option<VirtAddr> {
    let stacks = || running(kernel).iter().filter(|task| task.stack.0 != 0);
    // The first task's stack lies in the kernel's image, without a guard page.
    stacks().find(|task| task.pid != 0).map(|task| task.stack)
}
