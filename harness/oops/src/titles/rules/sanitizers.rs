//! KASAN, KMSAN, KCSAN, KFENCE (mm/*/report.c, kernel/kcsan/report.c), UBSAN (lib/ubsan.c), kmemleak (mm/kmemleak.c).
use crate::report::Kind::{Leak, Sanitizer};
use crate::titles::rule::{FROM_TRACE, NOWHERE, Pick, Rule, Step, TRACE, Trail, rule};

const ACCESS: &[&str] = &["bad-access in {f}"];
const FREE: &[&str] = &["invalid-free in {f}"];

/// The function of the headline is the first candidate, then the trace.
const KASAN: Trail = Trail {
    ways: &[&[
        Step::Find(r"BUG: KASAN: (?:[a-z-]+)(?: or [a-z-]+)? in <fn>"),
        TRACE,
        Step::Stack,
    ]],
    // tag checks of arm64 arrive through the abort handlers
    skip: &["kernel_fault", "tag_check", "mem_abort", "^el1_", "^el1h_"],
    pick: Pick::First,
};
const KASAN_FREE: Trail = KASAN.past(&["slab_", "kfree", "vunmap", "vfree"]);

/// No line announces the stack: it begins below the headline, and ends where the value's history begins.
const KMSAN: Trail = Trail {
    ways: &[&[
        Step::Stack,
        Step::Find(r"Local variable .* created at:|Uninit was created at:"),
    ]],
    skip: &[
        "alloc_skb",
        "netlink_ack",
        "netlink_rcv_skb",
        "_encrypt$",
        "^(?:crypto|cipher|drbg|rng)_",
    ],
    pick: Pick::First,
};
const KMSAN_USB: Trail = KMSAN.past(&[
    "alloc_skb",
    "usb_submit_urb",
    "usb_start_wait_urb",
    "usb_bulk_msg",
    "usb_interrupt_msg",
    "usb_control_msg",
]);

const KFENCE: Trail = Trail {
    ways: &[&[
        Step::Find(r"BUG: KFENCE: (?:[a-z -]+) in <fn>"),
        Step::Stack,
    ]],
    skip: &[],
    pick: Pick::First,
};

const UBSAN: Trail = FROM_TRACE.past(&["ubsan", "overflow"]);

const LEAK: Trail = Trail {
    ways: &[&[
        Step::Find(r"backtrace(?: \(crc [0-9a-f]*\))?:"),
        Step::Stack,
    ]],
    skip: &[
        "kmemleak",
        "mmap",
        "kmem",
        "slab",
        "alloc",
        "create_object",
        "idr_get",
        "list_lru_init",
        "kv?asprintf",
        "pcpu_create",
        "strn?dup",
        "memdup",
    ],
    pick: Pick::First,
};

pub(super) const RULES: &[Rule] = &[
    rule(
        r"BUG: KASAN: ([a-z-]+) in <fn>",
        "KASAN: {1} {3} in {f}",
        Sanitizer,
        KASAN,
    )
    .then(&[r"(Read|Write) (?:of size|at addr) [0-9a-f]+"])
    .or(ACCESS),
    rule(
        r"BUG: KASAN: (?:double-free or invalid-free|double-free|invalid-free) in <fn>",
        "KASAN: invalid-free in {f}",
        Sanitizer,
        KASAN_FREE,
    )
    .or(FREE),
    rule(
        r"BUG: KASAN: ([a-z-]+) on address",
        "KASAN: {1} {2}",
        Sanitizer,
        NOWHERE,
    )
    .then(&[r"(Read|Write) of size [0-9]+"]),
    rule(r"BUG: KASAN: (.*)", "KASAN: {1}", Sanitizer, NOWHERE).remnant(),
    rule(
        r"BUG: KMSAN: kernel-usb-infoleak in ",
        "KMSAN: kernel-usb-infoleak in {f}",
        Sanitizer,
        KMSAN_USB,
    )
    .traceless(),
    rule(
        r"BUG: KMSAN: ([a-z-]+) in ",
        "KMSAN: {1} in {f}",
        Sanitizer,
        KMSAN,
    )
    .or(ACCESS)
    .traceless(),
    rule(r"BUG: KCSAN: (.*)", "KCSAN: {1}", Sanitizer, NOWHERE).traceless(),
    rule(
        r"BUG: KFENCE: (use-after-free|out-of-bounds|invalid) (read|write) in <fn>",
        "KFENCE: {1} {2} in {f}",
        Sanitizer,
        KFENCE,
    )
    .or(ACCESS)
    .traceless(),
    rule(
        r"BUG: KFENCE: invalid free in <fn>",
        "KFENCE: invalid free in {f}",
        Sanitizer,
        KFENCE,
    )
    .or(FREE)
    .traceless(),
    rule(
        r"BUG: KFENCE: memory corruption in <fn>",
        "KFENCE: memory corruption in {f}",
        Sanitizer,
        KFENCE,
    )
    .traceless(),
    rule(
        r"UBSAN: Undefined behaviour in",
        "UBSAN: undefined-behaviour in {f}",
        Sanitizer,
        UBSAN,
    ),
    rule(
        r"UBSAN: array-index-out-of-bounds in",
        "UBSAN: array-index-out-of-bounds in {f}",
        Sanitizer,
        UBSAN,
    )
    .or(ACCESS),
    rule(r"UBSAN: (.*?) in", "UBSAN: {1} in {f}", Sanitizer, UBSAN),
    rule(r"BUG: memory leak", "memory leak in {f}", Leak, LEAK),
];
