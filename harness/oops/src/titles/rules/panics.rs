//! `panic()` (kernel/panic.c). One that follows a report belongs to it: its headline is lost where it comes first.
use crate::report::Kind::{Integrity, Panic};
use crate::titles::rule::{FROM_TRACE, NOWHERE, Pick, Rule, rule};

const OVERFLOW: &[&str] = &["stack-overflow in {f}"];

pub(super) const RULES: &[Rule] = &[
    rule(
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: <fn>",
        "kernel panic: stack is corrupted in {1}",
        Integrity,
        NOWHERE,
    )
    .traceless()
    .inner(),
    rule(
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: [a-f0-9]+",
        "kernel panic: stack is corrupted in {f}",
        Integrity,
        FROM_TRACE.past(&["stack_chk"]),
    )
    .inner(),
    rule(
        r"Kernel panic - not syncing: corrupted stack end detected inside scheduler",
        "kernel panic: corrupted stack end in {f}",
        Integrity,
        FROM_TRACE
            .past(&["schedule", "retint_kernel"])
            .pick(Pick::Stall),
    )
    .or(OVERFLOW)
    .inner(),
    rule(
        r"Kernel panic - not syncing: kernel stack overflow",
        "kernel stack overflow in {f}",
        Integrity,
        FROM_TRACE.past(&["bad_stack"]).pick(Pick::Stall),
    )
    .or(OVERFLOW)
    .inner(),
    rule(
        r"Kernel panic - not syncing: (Attempted to kill init!)",
        "kernel panic: {1}",
        Panic,
        NOWHERE,
    )
    .inner(),
    rule(
        r"Kernel panic - not syncing: (Couldn't open N_TTY ldisc) for [^ ]+ --- error -[0-9]+",
        "kernel panic: {1}",
        Panic,
        NOWHERE,
    )
    .inner(),
    rule(
        r"Kernel panic - not syncing: (Fatal exception|panic_on_warn set|hung_task: blocked tasks)",
        "kernel panic: {1}",
        Panic,
        NOWHERE,
    )
    .remnant()
    .inner(),
    rule(
        r"Kernel panic - not syncing: (.*)",
        "kernel panic: {1}",
        Panic,
        NOWHERE,
    )
    .inner(),
];
