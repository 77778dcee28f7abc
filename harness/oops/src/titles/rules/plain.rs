//! Headlines that are their own title, and what programs that test kernels print on the same console.
use crate::report::Kind::{Integrity, Other, Warning};
use crate::titles::rule::{NOWHERE, Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        r"VFS: Close: file count is 0",
        "VFS: Close: file count is zero (use-after-free)",
        Integrity,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"VFS: Busy inodes after unmount",
        "VFS: Busy inodes after unmount (use-after-free)",
        Integrity,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"trusty: panic.* ASSERT FAILED at \(.*?\): (.+)",
        "trusty: ASSERT FAILED: {1}",
        Other,
        NOWHERE,
    )
    .traceless(),
    rule(
        r"trusty: panic.* ASSERT FAILED.*: *(.*)",
        "trusty: ASSERT FAILED: {1}",
        Other,
        NOWHERE,
    )
    .remnant(),
    rule(
        r"trusty: panic \(.*?\): (.+)",
        "trusty: panic: {1}",
        Other,
        NOWHERE,
    )
    .traceless(),
    rule(r"SYZFAIL:(.*)", "SYZFAIL:{1}", Other, NOWHERE).traceless(),
    rule(r"SYZFATAL:(.*)", "SYZFATAL:{1}", Other, NOWHERE)
        .or(&["SYZFATAL"])
        .traceless(),
    rule(r"^fatal error: ", "go runtime error", Other, NOWHERE).traceless(),
    rule(
        r"^Booting the kernel",
        "unexpected kernel reboot",
        Other,
        NOWHERE,
    )
    .traceless()
    .again()
    .inner(),
    // KASAN's history of an object whose headline is lost
    rule(
        r"INFO: (Freed|Allocated) in (.*)",
        "INFO: {1} in {2}",
        Other,
        NOWHERE,
    )
    .remnant()
    .inner(),
    // a headline that the kernel printed in two parts, the second of them lost
    rule(r"(BUG|WARNING|INFO):\s*$", "{1}: corrupted", Other, NOWHERE).remnant(),
    // whatever else it calls a bug
    rule(r"(BUG: .*)", "{1}", Other, NOWHERE)
        .traceless()
        .general(),
    rule(r"(WARNING: .*)", "{1}", Warning, NOWHERE)
        .traceless()
        .general(),
    rule(r"(INFO: .*)", "{1}", Other, NOWHERE)
        .traceless()
        .general(),
    rule(r"(panic: .*)", "{1}", Other, NOWHERE)
        .traceless()
        .general(),
];
