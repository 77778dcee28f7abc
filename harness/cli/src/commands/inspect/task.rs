//! Which task is meant: by pid, by the address of its `task_struct`, or the one that crashed.
use anyhow::anyhow;
use recrash_kernel::task::{self, Task};
use recrash_kernel::{Kernel, Missing, Object};
use recrash_vmcore::{AddressSpace, VirtAddr};

use super::address;
use super::session::Session;
use crate::failure::Failure;

/// The task that the crashed CPU ran; where no CPU died (QEMU's dump of a live machine), CPU 0's, with the reason.
pub(super) fn crashed(kernel: &Kernel<'_>) -> (Result<Task, Missing>, Option<Missing>) {
    match task::crashing_cpu(kernel) {
        Ok(cpu) => (on_cpu(kernel, cpu), None),
        Err(why) => (on_cpu(kernel, 0), Some(why)),
    }
}

/// The task that a CPU ran.
pub(super) fn on_cpu(kernel: &Kernel<'_>, cpu: u32) -> Result<Task, Missing> {
    let running = task::running(kernel)
        .iter()
        .find(|task| task.cpu == Some(cpu));
    running
        .cloned()
        .map_or_else(|| task::current(kernel, cpu), Ok)
}

/// The tasks with this pid (several idle tasks have 0), or the one at this address.
pub(super) fn find(session: &Session<'_>, text: &str) -> Result<Vec<Task>, Failure> {
    let kernel = session.kernel()?;
    let (all, _) = task::list(kernel);
    if let Ok(pid) = text.parse::<i32>() {
        let found: Vec<Task> = all.iter().filter(|task| task.pid == pid).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let at = address::address(session, text).ok().map(VirtAddr);
    if let Some(found) = all.iter().find(|task| Some(task.at) == at) {
        return Ok(vec![found.clone()]);
    }
    Err(
        Failure::usage(anyhow!("there is no task {text:?}")).hint(format!(
            "expected a pid or the address of a task_struct; {} tasks are known: recrash inspect {} ps",
            all.len(),
            session.file
        )),
    )
}

/// The address space of a process.
pub(super) fn space<'k>(session: &'k Session<'_>, who: &str) -> Result<AddressSpace<'k>, Failure> {
    let kernel = session.kernel()?;
    let tasks = find(session, who)?;
    let mm = tasks.iter().find_map(|task| task.mm).filter(|mm| mm.0 != 0);
    let mm = mm.ok_or_else(|| {
        Failure::usage(anyhow!(
            "{who} is a kernel thread, without memory of its own"
        ))
    })?;
    let pgd = Object::new(kernel, "mm_struct", mm)
        .ptr("pgd")
        .map_err(|missing| session.nothing(missing))?;
    let root = kernel
        .memory()
        .translate(pgd)
        .map_err(|error| session.nothing(format!("page tables of {who}: {error}")))?;
    Ok(kernel.memory().with_root(root))
}
