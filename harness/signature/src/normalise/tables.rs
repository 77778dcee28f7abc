//! Which names normalising takes away. Names of several kernel lines stand side by side; a name
//! that a kernel does not have costs nothing.

/// Symbol suffixes besides numbers: GCC's clones and sections, Clang's LTO.
pub(super) const SUFFIXES: [&str; 7] = [
    "constprop",
    "isra",
    "part",
    "cold",
    "unlikely",
    "llvm",
    "lto_priv",
];

/// From the exception to the capture kernel (arch/x86/kernel/{traps,dumpstack,machine_kexec_64}.c,
/// arch/x86/mm/fault.c, kernel/kexec_core.c, kernel/panic.c; 4.18 to 6.12).
pub(super) const PANIC_MACHINERY: [&str; 62] = [
    "machine_kexec",
    "__crash_kexec",
    "crash_kexec",
    "native_machine_crash_shutdown",
    "crash_setup_regs",
    "relocate_kernel",
    "vpanic",
    "panic",
    "nmi_panic",
    "oops_end",
    "oops_exit",
    "die",
    "die_addr",
    "__die",
    "__die_body",
    "do_trap",
    "do_trap_no_signal",
    "do_error_trap",
    "do_stack_segment",
    "do_general_protection",
    "do_invalid_op",
    "do_divide_error",
    "do_page_fault",
    "__do_page_fault",
    "do_kern_addr_fault",
    "do_user_addr_fault",
    "do_double_fault",
    "do_segment_not_present",
    "do_alignment_check",
    "do_nmi",
    "handle_bug",
    "no_context",
    "__bad_area_nosemaphore",
    "bad_area_nosemaphore",
    "bad_area",
    "__bad_area",
    "bad_area_access_error",
    "page_fault_oops",
    "kernelmode_fixup_or_oops",
    "handle_page_fault",
    "stack_segment",
    "general_protection",
    "page_fault",
    "async_page_fault",
    "invalid_op",
    "divide_error",
    "double_fault",
    "segment_not_present",
    "alignment_check",
    "error_entry",
    "error_exit",
    "do_async_page_fault",
    "pgtable_bad",
    "show_stack",
    "show_stack_log_lvl",
    "show_regs",
    "__show_regs",
    "dump_stack",
    "dump_stack_lvl",
    "__dump_stack",
    "spurious_kernel_fault",
    "math_error",
];

/// Families of exception entries since 5.8 (arch/x86/include/asm/idtentry.h).
pub(super) const PANIC_PREFIXES: [&str; 5] =
    ["asm_exc_", "exc_", "__exc_", "noist_exc_", "xen_asm_exc_"];

/// Wrappers that carry the call's name, longest first where one begins another.
pub(super) const SYSCALL_PREFIXES: [&str; 14] = [
    "__ia32_compat_sys_",
    "__x32_compat_sys_",
    "__do_compat_sys_",
    "__se_compat_sys_",
    "compat_ksys_",
    "compat_SyS_",
    "__x64_sys_",
    "__ia32_sys_",
    "__do_sys_",
    "__se_sys_",
    "ksys_",
    "SyS_",
    "SYSC_",
    "sys_",
];

/// Between the CPU's entry and the wrapper (arch/x86/entry; 4.18 to 6.12).
pub(super) const ENTRY_CODE: [&str; 16] = [
    "entry_SYSCALL_64_after_hwframe",
    "entry_SYSCALL_64",
    "entry_SYSCALL_64_safe_stack",
    "do_syscall_64",
    "do_syscall_x64",
    "__do_syscall_64",
    "x64_sys_call",
    "ia32_sys_call",
    "do_int80_syscall_32",
    "do_fast_syscall_32",
    "__do_fast_syscall_32",
    "do_syscall_32_irqs_on",
    "entry_SYSENTER_compat_after_hwframe",
    "entry_SYSCALL_compat_after_hwframe",
    "entry_INT80_compat",
    "do_SYSENTER_32",
];

/// Bodies of a call in fs/ that some builds keep as a frame and others inline.
pub(super) const SYSCALL_BODIES: [(&str, &str); 3] = [
    ("do_vfs_ioctl", "ioctl"),
    ("vfs_ioctl", "ioctl"),
    ("compat_ioctl", "ioctl"),
];

/// The allocator's public entries (include/linux/slab.h; 4.18 to 6.12).
pub(super) const ALLOCATOR_ENTRIES: [&str; 18] = [
    "__kmalloc",
    "__kmalloc_node",
    "__kmalloc_track_caller",
    "__kmalloc_node_track_caller",
    "kmem_cache_alloc",
    "kmem_cache_alloc_node",
    "kmem_cache_alloc_lru",
    "kmem_cache_alloc_bulk",
    "kmalloc_trace",
    "kmalloc_node_trace",
    "__kmalloc_cache",
    "__kmalloc_cache_node",
    "kmem_cache_alloc_trace",
    "kmem_cache_alloc_node_trace",
    "kfree",
    "kmem_cache_free",
    "kmem_cache_free_bulk",
    "krealloc",
];

/// Those that give memory back.
pub(super) const FREEING_ENTRIES: [&str; 3] = ["kfree", "kmem_cache_free", "kmem_cache_free_bulk"];

/// What lies under them in mm/slub.c and mm/slab_common.c, with the entry each stands for.
pub(super) const ALLOCATOR_INTERNALS: [(&str, &str); 18] = [
    ("__kmem_cache_alloc_node", "__kmalloc"),
    ("__do_kmalloc_node", "__kmalloc"),
    ("slab_alloc_node", "__kmalloc"),
    ("slab_alloc", "__kmalloc"),
    ("__slab_alloc_node", "__kmalloc"),
    ("__slab_alloc", "__kmalloc"),
    ("___slab_alloc", "__kmalloc"),
    ("get_freepointer_safe", "__kmalloc"),
    ("get_freepointer", "__kmalloc"),
    ("freelist_dereference", "__kmalloc"),
    ("freelist_ptr", "__kmalloc"),
    ("freelist_ptr_decode", "__kmalloc"),
    ("prefetch_freepointer", "__kmalloc"),
    ("__kmem_cache_alloc_lru", "kmem_cache_alloc"),
    ("__slab_free", "kfree"),
    ("slab_free", "kfree"),
    ("do_slab_free", "kfree"),
    ("__kmem_cache_free", "kfree"),
];
