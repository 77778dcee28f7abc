//! How lines of an oops begin: those that end a call trace, those without a value that is read, and marks of stacks.
use super::place::frame;
use super::registers::registers;

/// Lines that begin one of these end a call trace.
pub(super) const ENDS: &[&str] = &[
    "---[ end",
    "Modules linked in:",
    "Code:",
    "Allocated by task",
    "Freed by task",
    "allocated by task",
    "freed by task",
    "kfence-#",
    "Last potentially related work",
    "The buggy address",
    "Memory state around",
    "Showing all locks",
    "Kernel panic",
    "Kernel Offset",
    "Mem-Info",
    "Rebooting in",
    "======",
    "RIP  [<",
];
/// Lines that stand in an oops without saying anything that is read here.
pub(super) const KNOWN: &[&str] = &[
    "Stack:",
    "PGD ",
    "Oops: ",
    "#PF: ",
    "#PF error",
    "task: ",
    "Workqueue: ",
    "Sched_clock",
    "KASAN: ",
    "Dumping ftrace",
    "(ftrace buffer empty)",
    "Tainted: ",
    "Hardware name:",
    "CPU: ",
    "note: ",
    "irq event stamp",
];
/// Whether a line of an oops begins here, rather than one that goes on.
pub(super) fn opens(text: &str) -> bool {
    const OPENS: &[&str] = &[
        "RIP",
        "Code:",
        "Call Trace",
        "<",
        "BUG",
        "IP: ",
        "INFO: ",
        "WARNING: ",
    ];
    let text = text.trim_start();
    let begins = |list: &[&str]| list.iter().any(|words| text.starts_with(words));
    begins(OPENS)
        || begins(ENDS)
        || begins(KNOWN)
        || !registers(text).is_empty()
        || frame(text, None).is_some()
}

/// `<IRQ>` begins a stack, `</IRQ>`, `<EOI>` and `<<EOE>>` end one.
pub(super) fn marker(text: &str) -> Option<(Option<&str>, &str)> {
    let rest = text.trim_start().strip_prefix('<')?;
    let rest = rest.strip_prefix('<').unwrap_or(rest);
    let (name, after) = rest.split_once('>')?;
    let after = after.strip_prefix('>').unwrap_or(after);
    let ends = name.starts_with('/') || matches!(name, "EOI" | "EOE");
    let name = name.trim_start_matches('/');
    let named = (1..=16).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || matches!(c, '#' | '_'));
    named.then_some(((!ends).then_some(name), after))
}
