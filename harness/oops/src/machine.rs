//! Which machine a log comes from, where it is not x86: each prints registers and exceptions in words of its own.
use crate::titles::rule;

/// A machine and what only its kernel prints (`show_regs` of arch/*/kernel).
const MACHINES: [(&str, &str); 6] = [
    (
        "arm64",
        r"\bpstate: [0-9a-f]{8}|\bELR_EL1\b|\bel[01]h?_(?:64_)?(?:sync|irq|svc|ia|da)\b|\bel0_svc|ESR = 0x|swapper pgtable: .*-bit VAs|\bx29: [0-9a-f]{16}|\binvoke_syscall\+",
    ),
    (
        "arm",
        r"\bpsr: ?[0-9a-f]{8}|^pgd = |PC is at |\[<[0-9a-f]{8}>\] \(\w+\) from |Hardware name: ARM-Versatile|\bret_fast_syscall\b|__dabt_svc|Internal error: Oops: .* ARM$",
    ),
    (
        "riscv",
        r"\bbadaddr: [0-9a-f]{16}|\bepc : [0-9a-f]{16}|riscv-virtio",
    ),
    (
        "powerpc",
        r"^NIP:? +[\[c0-9]|\bNIP \[[0-9a-f]{16}\]|REGS: [0-9a-f]+ TRAP: |\bprogram_check_(?:common|exception)|PowerPC|pSeries|\[c00000[0-9a-f]{10}\] \[c00000[0-9a-f]{10}\] ",
    ),
    (
        "s390",
        r"Krnl PSW ?:|Krnl GPRS|\bLast Breaking-Event-Address",
    ),
    (
        "mips",
        r"^\$ ?[0-9]+ +: [0-9a-f]{8}|Cause : [0-9a-f]{8}|\bepc +: [0-9a-f]{8}\b",
    ),
];

/// Its name; `None` where nothing speaks against x86.
#[must_use]
pub fn of(log: &str) -> Option<&'static str> {
    let mut counts = [0usize; MACHINES.len()];
    for line in crate::lines::lines(log) {
        if line.text.len() > LONGEST {
            continue;
        }
        if rule::regex(X86).is_some_and(|regex| regex.is_match(line.text)) {
            return None;
        }
        for (count, (_, pattern)) in counts.iter_mut().zip(MACHINES) {
            *count +=
                usize::from(rule::regex(pattern).is_some_and(|regex| regex.is_match(line.text)));
        }
    }
    let (count, (name, _)) = counts
        .iter()
        .zip(MACHINES)
        .max_by_key(|(count, _)| **count)?;
    (*count > 0).then_some(name)
}

/// Longer lines are no register lines.
const LONGEST: usize = 1200;

/// Registers as only x86 prints them.
const X86: &str = r"\bRIP: [0-9a-f]{4}:|\bRAX: [0-9a-f]{16}\b|\bEFLAGS: [0-9a-f]{8}|\bORIG_RAX: ";

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn each_machine_is_known_by_its_registers() {
        for (log, machine) in [
            ("RIP: 0010:foo+0x1/0x2", None),
            ("pstate: 60400005 (nZCv daif +PAN -UAO)", Some("arm64")),
            ("[ 1.0] PC is at foo+0x1/0x2", Some("arm")),
            (
                "status: 0000000000000120 badaddr: 0000000000000008 cause: 000000000000000d",
                Some("riscv"),
            ),
            ("NIP [c000000000012345] foo+0x10/0x20", Some("powerpc")),
            ("Krnl PSW : 0704c00180000000 0000000000123456", Some("s390")),
            ("Call Trace:\n foo+0x1/0x2", None),
        ] {
            assert_eq!(of(log), machine, "{log}");
        }
    }
}
