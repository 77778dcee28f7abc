//! Lockups, stalls and hangs (kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/hung_task.c, kernel/workqueue.c).
use crate::report::Kind::Stall;
use crate::titles::rule::{
    FROM_REGISTERS, FROM_TRACE, NOWHERE, Pick, REGISTER, Rule, Step, TRACE, Trail, rule,
};

const STALL: &[&str] = &["stall in {f}"];
const HANG: &[&str] = &["hang in {f}"];

/// The stall is found by the timer interrupt: what matters is what it interrupted.
const INTERRUPTED: Trail = Trail {
    ways: &[
        &[Step::Find("apic_timer_interrupt"), REGISTER, Step::Stack],
        &[
            Step::Find("apic_timer_interrupt|Exception stack|el1h_64_irq"),
            Step::Stack,
        ],
        // A CPU that finds its own stall shows the registers it had (since Linux v5.13, show_regs()).
        &[REGISTER, TRACE, Step::Stack],
    ],
    skip: &["apic_timer_interrupt", "rcu"],
    pick: Pick::Stall,
};

pub(super) const RULES: &[Rule] = &[
    rule(
        r"BUG: soft lockup",
        "BUG: soft lockup in {f}",
        Stall,
        FROM_REGISTERS.pick(Pick::Stall),
    )
    .or(STALL),
    rule(
        r"INFO: rcu_(?:preempt|sched|bh|tasks) (?:self-)?detected(?: expedited)? stall",
        "INFO: rcu detected stall in {f}",
        Stall,
        INTERRUPTED,
    )
    .or(STALL),
    rule(
        r"INFO: task .* blocked for more than [0-9]+ seconds",
        "INFO: task hung in {f}",
        Stall,
        FROM_TRACE.pick(Pick::Hang),
    )
    .or(HANG),
    rule(
        r"INFO: task .* can't die for more than .* seconds",
        "INFO: task can't die in {f}",
        Stall,
        FROM_TRACE.past(&["schedule"]),
    )
    .or(HANG),
    rule(
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup",
        Stall,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"Watchdog detected hard LOCKUP",
        "BUG: hard lockup in {f}",
        Stall,
        FROM_REGISTERS.pick(Pick::Stall),
    )
    .or(STALL),
    rule(
        r"unregister_netdevice: waiting for (?:.*) to become free",
        "unregister_netdevice: waiting for DEV to become free",
        Stall,
        NOWHERE,
    )
    .traceless()
    .inner(),
];
