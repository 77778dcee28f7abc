//! The table of rules, a file for each family. Within a headline the first rule whose lines all follow wins.
mod exceptions;
mod hangs;
mod locking;
mod panics;
mod plain;
mod sanitizers;
mod warnings;

use super::rule::Rule;

/// All rules, special ones before general ones.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    [
        sanitizers::RULES,
        exceptions::RULES,
        hangs::RULES,
        locking::RULES,
        warnings::RULES,
        panics::RULES,
        plain::RULES,
    ]
    .into_iter()
    .flatten()
}

/// Lines that look like a headline and say nothing of a bug.
pub(crate) const NO_REPORTS: &str = concat!(
    // words that end like a headline
    r"ODEBUG:|DEBUG:|xlog_status:|rmt_storage:INFO:|_INFO:|_panic:|ddb\.onpanic:|evtlog_status:",
    // notes of the kernel's
    r"|INFO: lockdep is turned off|INFO: Stall ended before state dump start|INFO: NMI handler|INFO: (?:Slab|Object|0x[0-9a-f]+-0x)|(?:handler|interrupt).*took too long",
    r"|INFO: recovery required on readonly filesystem|EXT4-[Ff][Ss](?: \(.*\))?:|XFS \(\w+\): WARNING",
    r"|WARNING: [Tt]he mand mount option|WARNING: workqueue cpumask: online intersect|WARNING: Unprivileged eBPF is enabled",
    r"|WARNING: fbcon: Driver '.*' missed to adjust|WARNING: See https.* for mitigation options|WARNING: kernel not compiled with",
    r"|(?i:warning: .* uses (?:deprecated v2 capabilities|wireless extensions))",
    // user space on the same console
    r"|fatal error: cannot create timer|WARNING: /etc/ssh/moduli does not exist|WARNING: Unsupported flag value\(s\)|INFO: sys_.* is not present in /proc/kallsyms|(?:BUG|INFO): no syscalls can create resource",
    r"|general protection fault .* error:[0-9a-f]+ in ",
);
