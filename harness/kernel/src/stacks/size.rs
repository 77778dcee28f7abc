//! Size of a task's stack: 16 KiB, 32 KiB with KASAN (THREAD_SIZE, arch/x86/include/asm/page_64_types.h).
use crate::kernel::Kernel;
use recrash_vmcore::{VirtAddr, VirtMem};

const PAGE: u64 = 4096;
/// THREAD_SIZE without KASAN.
const USUAL: u64 = 16 << 10;
/// Sizes that a kernel can have been built with.
const POSSIBLE: [u64; 4] = [8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// The size and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSize {
    /// Bytes.
    pub bytes: u64,
    /// Where it comes from.
    pub from: &'static str,
}

/// Size of a task's stack.
///
/// By `union thread_union`, else by the linker's marks around the first task's stack, else by the pages mapped from
/// the lowest address of a running task's stack up to the guard page; else the usual size.
#[must_use]
pub fn thread_size<'k>(kernel: &'k Kernel<'_>) -> &'k ThreadSize {
    kernel.stack_cache().thread_size.get_or_init(|| {
        let known = |bytes: u64, from| {
            POSSIBLE
                .contains(&bytes)
                .then_some(ThreadSize { bytes, from })
        };
        let by_type = kernel.own_types().size_of("union thread_union");
        by_type
            .and_then(|bytes| known(bytes, "union thread_union"))
            .or_else(|| {
                known(
                    between_marks(kernel)?,
                    "__start_init_task to __end_init_task",
                )
            })
            .or_else(|| known(mapped(kernel)?, "pages mapped below the guard page"))
            .unwrap_or(ThreadSize {
                bytes: USUAL,
                from: "the usual size, assumed",
            })
    })
}

/// include/asm-generic/vmlinux.lds.h, `INIT_TASK_DATA`; named `__start_init_task` since 4.16, `__start_init_stack`
/// since 6.10.
fn between_marks(kernel: &Kernel<'_>) -> Option<u64> {
    [
        ("__start_init_task", "__end_init_task"),
        ("__start_init_stack", "__end_init_stack"),
    ]
    .iter()
    .find_map(|(start, end)| {
        let (start, end) = (kernel.own_symbol(start).ok()?, kernel.own_symbol(end).ok()?);
        end.checked_since(start)
    })
}

/// With VMAP_STACK a stack is an area of its own, with a page behind it that is not mapped.
fn mapped(kernel: &Kernel<'_>) -> Option<u64> {
    let low = crate::task::any_stack(kernel)?;
    let most = POSSIBLE.iter().max()?.wrapping_add(PAGE);
    let is_mapped = |offset: u64| kernel.memory().translate(low.wrapping_add(offset)).is_ok();
    (0..most)
        .step_by(4096)
        .find(|offset| !is_mapped(*offset))
        .filter(|bytes| *bytes > 0)
        .filter(|_| kernel.memory().u8_at(VirtAddr(low.0)).is_ok())
}
