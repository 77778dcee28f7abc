//! `WARN()` (kernel/panic.c, `__warn`), told apart by the file that checks, where the check serves its callers.
use crate::report::Kind::{Integrity, Locking, Warning};
use crate::titles::rule::{FROM_WARNING, NOWHERE, Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        r"WARNING: .*lib/debugobjects\.c.* (?:debug_print|debug_check|at)",
        "WARNING: ODEBUG bug in {f}",
        Integrity,
        FROM_WARNING.past(&[
            "debug_", "rcu", "hrtimer_", "timer_", "work_", "percpu_", "vunmap", "vfree",
            "__free_", "kobject_",
        ]),
    ),
    rule(
        r"WARNING: .*mm/usercopy\.c.* (?:usercopy_warn|at)",
        "WARNING: bad usercopy in {f}",
        Integrity,
        FROM_WARNING.past(&["usercopy", "__check"]),
    ),
    rule(
        r"WARNING: .*lib/kobject\.c.* (?:kobject_|at)",
        "WARNING: kobject bug in {f}",
        Warning,
        FROM_WARNING.past(&["kobject_"]),
    ),
    rule(
        r"WARNING: .*fs/proc/generic\.c.* (?:proc_register|at)",
        "WARNING: proc registration bug in {f}",
        Warning,
        FROM_WARNING.past(&["proc_"]),
    ),
    rule(
        r"WARNING: .*lib/refcount\.c.* (?:refcount_|at)",
        "WARNING: refcount bug in {f}",
        Integrity,
        FROM_WARNING.past(&["refcount", "kobject_"]),
    ),
    rule(
        r"WARNING: .*kernel/locking/lockdep\.c.*lock_",
        "WARNING: locking bug in {f}",
        Locking,
        FROM_WARNING.past(&["lock_sock", "release_sock"]),
    ),
    rule(
        r"WARNING: .*mm/.*\.c.* k?.?malloc",
        "WARNING: kmalloc bug in {f}",
        Warning,
        FROM_WARNING.past(&["kmalloc", "krealloc", "slab", "kmem"]),
    ),
    rule(
        r"WARNING: .*mm/vmalloc\.c.*__vmalloc_node",
        "WARNING: zero-size vmalloc in {f}",
        Warning,
        FROM_WARNING,
    ),
    rule(
        r"WARNING: .* usb_submit_urb",
        "WARNING in {f}/usb_submit_urb",
        Warning,
        FROM_WARNING.past(&[
            "usb_submit_urb",
            "usb_start_wait_urb",
            "usb_bulk_msg",
            "usb_interrupt_msg",
            "usb_control_msg",
        ]),
    ),
    // Linux v6.19 puts file and condition first
    rule(
        r"WARNING: (?:\[.*\] )?<src> at 0x[0-9a-f]+, CPU#[0-9]+",
        "WARNING in {f}",
        Warning,
        FROM_WARNING,
    ),
    rule(
        r"WARNING: .* at <src> <fn>",
        "WARNING in {f}",
        Warning,
        FROM_WARNING,
    ),
    rule(
        r"WARNING: (?:\[.*\] )?<src> at <fn>",
        "WARNING in {f}",
        Warning,
        FROM_WARNING,
    ),
    // the unwinders' own (arch/x86/kernel/unwind_frame.c)
    rule(
        r"WARNING: kernel stack regs at [0-9a-f]+ in [^ ]* has bad '([^']+)' value",
        "WARNING: kernel stack regs has bad '{1}' value",
        Warning,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"WARNING: kernel stack frame pointer at [0-9a-f]+ in [^ ]* has bad value",
        "WARNING: kernel stack frame pointer has bad value",
        Warning,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"WARNING: kernel stack (?:regs|frame pointer) .* has bad (?:'bp' )?value",
        "WARNING: kernel stack regs has bad value",
        Warning,
        NOWHERE,
    )
    .traceless(),
];
