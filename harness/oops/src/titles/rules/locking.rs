//! Lock checks: lockdep (kernel/locking/lockdep.c; `INFO:` before Linux v4.11, `BUG:` or `WARNING:` since), RCU
//! (kernel/rcu/update.c), spin lock debugging (kernel/locking/spinlock_debug.c), and what runs in the wrong context.
use crate::report::Kind::Locking;
use crate::titles::rule::{
    FROM_TRACE, FROM_WARNING, NOWHERE, Pick, Rule, Step, TRACE, Trail, rule,
};

const AT: &str = r"at: (?:<pc> +)?<fn>";

/// The lock that is taken, the lock that is held, and the chain.
const CYCLE: Trail = Trail {
    ways: &[&[Step::Find(AT), Step::Find(AT), Step::Stack]],
    skip: &[
        "process_one_work",
        "flush_workqueue",
        "drain_workqueue",
        "destroy_workqueue",
    ],
    pick: Pick::First,
};
const BECAME: Trail = Trail {
    ways: &[&[Step::Find("which became (?:.*) at:"), Step::Stack]],
    skip: &[],
    pick: Pick::First,
};
const RELEASE: Trail = Trail {
    ways: &[&[Step::Find(r"<pc> +<fn>"), TRACE, Step::Stack]],
    skip: &[],
    pick: Pick::First,
};
const RCU: Trail = FROM_TRACE.past(&["rcu", "kmem", "slab"]);
const PREEMPTIBLE: Trail = FROM_TRACE.past(&[
    "dump_stack",
    "preemption",
    "preempt",
    "debug_",
    "processor_id",
    "this_cpu",
]);

pub(super) const RULES: &[Rule] = &[
    // cycles
    rule(
        r"WARNING: possible circular locking dependency detected",
        "possible deadlock in {f}",
        Locking,
        CYCLE,
    )
    .then(&["is trying to acquire lock"]),
    rule(
        r"WARNING: possible irq lock inversion dependency detected",
        "possible deadlock in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["just changed the state of lock", AT]),
    rule(
        r"WARNING: .*-safe -> .*-unsafe lock order detected",
        "possible deadlock in {f}",
        Locking,
        BECAME,
    ),
    rule(
        r"(?:WARNING|INFO): possible recursive locking detected",
        "possible deadlock in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["is trying to acquire lock", AT]),
    rule(
        r"INFO: possible circular locking dependency detected \]",
        "possible deadlock in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["is trying to acquire lock", AT]),
    rule(
        r"INFO: possible irq lock inversion dependency detected \]",
        "possible deadlock in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["just changed the state of lock", AT]),
    rule(
        r"INFO: .*-safe -> .*-unsafe lock order detected \]",
        "possible deadlock in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["is trying to acquire", AT]),
    // states
    rule(
        r"WARNING: inconsistent lock state",
        "inconsistent lock state in {f}",
        Locking,
        FROM_TRACE,
    )
    .then(&["takes", AT]),
    rule(
        r"INFO: inconsistent lock state \]",
        "inconsistent lock state in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["takes", AT]),
    rule(
        r"(BUG|WARNING): bad unlock balance detected!",
        "{1}: bad unlock balance in {f}",
        Locking,
        RELEASE,
    ),
    rule(
        r"(BUG|WARNING): .*still has locks held!",
        "{1}: still has locks held in {2}",
        Locking,
        NOWHERE,
    )
    .then(&[r"(?:<pc> +|at: )<fn>"])
    .traceless(),
    rule(
        r"(BUG|WARNING): lock held when returning to user space",
        "{1}: lock held when returning to user space in {2}",
        Locking,
        NOWHERE,
    )
    .then(&["leaving the kernel with locks still held", AT])
    .traceless(),
    rule(
        r"(BUG|WARNING): held lock freed!",
        "{1}: held lock freed in {2}",
        Locking,
        NOWHERE,
    )
    .then(&[r"(?:<pc> +|at: )<fn>"]),
    rule(
        r"WARNING: Nested lock was not taken",
        "WARNING: nested lock was not taken in {f}",
        Locking,
        FROM_WARNING,
    ),
    rule(
        r"BUG: Invalid wait context",
        "WARNING: locking bug in {f}",
        Locking,
        FROM_TRACE.past(&["lock_sock", "release_sock"]),
    ),
    rule(
        r"INFO: trying to register non-static key",
        "INFO: trying to register non-static key in {f}",
        Locking,
        FROM_TRACE.past(&["stack", "lock", "IRQ"]),
    ),
    rule(
        r"(INFO|WARNING): suspicious RCU usage",
        "{1}: suspicious RCU usage in {f}",
        Locking,
        RCU,
    )
    .then(&["<src>"]),
    rule(
        r"BUG: (spinlock|rwlock) (lockup suspected|already unlocked|recursion|cpu recursion|bad magic|wrong owner|wrong CPU|trylock failure on UP)",
        "BUG: {1} {2} in {f}",
        Locking,
        FROM_TRACE.past(&["spin_", "_lock", "_unlock"]),
    ),
    // context
    rule(
        r"BUG: scheduling while atomic",
        "BUG: scheduling while atomic in {f}",
        Locking,
        FROM_TRACE.past(&["^_*schedule"]),
    ),
    rule(
        r"BUG: sleeping function called from invalid context at .*",
        "BUG: sleeping function called from invalid context in {f}",
        Locking,
        FROM_TRACE,
    ),
    rule(
        r"BUG: using ([a-z_]+)\(\) in preemptible",
        "BUG: using {1}() in preemptible code in {f}",
        Locking,
        PREEMPTIBLE,
    ),
    rule(
        r"BUG: workqueue leaked (?:lock or atomic|atomic, lock or RCU)",
        "BUG: workqueue leaked lock or atomic in {1}",
        Locking,
        NOWHERE,
    )
    .then(&["last function: ([a-zA-Z0-9_]+)"])
    .traceless(),
];
