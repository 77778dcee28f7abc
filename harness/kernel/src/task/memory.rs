//! How much memory a process uses: total size and resident pages.
use super::Task;
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

/// MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES of `rss_stat` (include/linux/mm_types_task.h): what counts as resident.
/// MM_SWAPENTS at 2 does not.
const RESIDENT: [u64; 3] = [0, 1, 3];

/// A process's memory, in pages of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Pages mapped (`total_vm`).
    pub total: u64,
    /// Pages resident, by the process's own counters. Before 6.2 each thread keeps up to 64 pages to itself before it
    /// adds them (`task_struct.rss_stat`); they are not counted here.
    pub resident: u64,
}

/// A process's memory; `None` for a kernel thread.
///
/// # Errors
/// [`Missing`] when `mm_struct` could not be read.
pub fn memory(kernel: &Kernel<'_>, task: &Task) -> Result<Option<Memory>, Missing> {
    let at = match task.mm {
        Some(at) if at.0 == 0 => return Ok(None),
        Some(at) => at,
        None => Object::new(kernel, "task_struct", task.at).ptr("mm")?,
    };
    let mm = Object::new(kernel, "mm_struct", at);
    Ok(Some(Memory {
        total: mm.u64("total_vm")?,
        resident: resident(kernel, mm)?,
    }))
}

fn resident(kernel: &Kernel<'_>, mm: Object<'_>) -> Result<u64, Missing> {
    let mut sum = 0i64;
    for index in RESIDENT {
        sum = sum.wrapping_add(counter(kernel, mm, index)?);
    }
    // Counters that are spread over CPUs may be negative for a moment.
    Ok(sum.max(0).cast_unsigned())
}

/// Since 6.2 each is a `percpu_counter` (commit f1a7941243c1), before an `atomic_long_t` in `struct mm_rss_stat`.
fn counter(kernel: &Kernel<'_>, mm: Object<'_>, index: u64) -> Result<i64, Missing> {
    let plain = format!("rss_stat.count[{index}]");
    if kernel.own_types().field("mm_struct", &plain).is_some() {
        return Ok(mm.u64(&plain)?.cast_signed());
    }
    let at = mm.addr_of(&format!("rss_stat[{index}]"))?;
    let counter = Object::new(kernel, "percpu_counter", at);
    let mut sum = counter.u64("count")?.cast_signed();
    let Ok(counters) = counter.ptr("counters") else {
        return Ok(sum);
    };
    for cpu in 0..kernel.cpu_count()? {
        let at = kernel.per_cpu(cpu, counters.0)?;
        sum = sum.wrapping_add(i64::from(spread(kernel, at)?));
    }
    Ok(sum)
}

/// A CPU's share, an s32.
fn spread(kernel: &Kernel<'_>, at: VirtAddr) -> Result<i32, Missing> {
    kernel
        .memory()
        .u32_at(at)
        .map(u32::cast_signed)
        .map_err(missing("a CPU's share of a counter"))
}
