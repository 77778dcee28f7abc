//! Lines of registers: `RAX: 0000000000000000 RBX: …` (arch/x86/kernel/process_64.c, `__show_regs`).
use super::place::hex;

/// One value of such a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Register {
    /// By the name of `pt_regs`.
    pub(super) name: &'static str,
    /// `None` where it is cut off or altered.
    pub(super) value: Option<u64>,
}

/// What is printed, the name of it, and how many digits it has.
const NAMES: &[(&str, &str, usize)] = &[
    ("RAX", "rax", 16),
    ("RBX", "rbx", 16),
    ("RCX", "rcx", 16),
    ("RDX", "rdx", 16),
    ("RSI", "rsi", 16),
    ("RDI", "rdi", 16),
    ("RBP", "rbp", 16),
    ("RSP", "rsp", 16),
    ("R8", "r8", 16),
    ("R08", "r8", 16),
    ("R9", "r9", 16),
    ("R09", "r9", 16),
    ("R10", "r10", 16),
    ("R11", "r11", 16),
    ("R12", "r12", 16),
    ("R13", "r13", 16),
    ("R14", "r14", 16),
    ("R15", "r15", 16),
    ("EFLAGS", "rflags", 8),
    ("RFLAGS", "rflags", 8),
    ("ORIG_RAX", "orig_rax", 16),
    ("CR0", "cr0", 16),
    ("CR2", "cr2", 16),
    ("CR3", "cr3", 16),
    ("CR4", "cr4", 16),
    ("DR0", "dr0", 16),
    ("DR1", "dr1", 16),
    ("DR2", "dr2", 16),
    ("DR3", "dr3", 16),
    ("DR6", "dr6", 16),
    ("DR7", "dr7", 16),
    ("FS", "fs_base", 16),
    ("GS", "gs_base", 16),
    ("knlGS", "kernel_gs_base", 16),
    ("CS", "cs", 4),
    ("DS", "ds", 4),
    ("ES", "es", 4),
    ("PKRU", "pkru", 8),
];

/// The registers of `text`; empty where it is no such line. A `RIP:` line's are only what follows the place.
pub(super) fn registers(text: &str) -> Vec<Register> {
    let text = text.trim_start();
    let mut words = text.split_ascii_whitespace().peekable();
    let mut found = Vec::new();
    // `RSP <ffff…>` ends an oops before 4.15 (arch/x86/kernel/dumpstack.c, `__die`).
    if let Some(stack) = text.strip_prefix("RSP <") {
        let digits = stack.split('>').next().unwrap_or_default();
        found.push(register(("rsp", 16), digits));
        return found;
    }
    while let Some(word) = words.next() {
        // `GS:ffff…(0000)` has no blank.
        let pair = word.split_once(':').filter(|(_, value)| !value.is_empty());
        let kind = pair.and_then(|(kind, value)| Some((named(kind)?, value)));
        if let Some((kind, value)) = kind {
            push(&mut found, kind, value);
            continue;
        }
        let Some(kind) = word.strip_suffix(':').and_then(named) else {
            // Only a line that begins with a register is one.
            if found.is_empty() {
                return found;
            }
            continue;
        };
        let value = words.next_if(|word| !word.ends_with(':'));
        push(&mut found, kind, value.unwrap_or_default());
    }
    found
}

fn named(word: &str) -> Option<(&'static str, usize)> {
    let found = NAMES.iter().find(|(printed, ..)| *printed == word)?;
    Some((found.1, found.2))
}

/// `0018:ffff…` carries the stack's selector, `ffff…(0000)` the selector of a base.
fn push(found: &mut Vec<Register>, kind: (&'static str, usize), printed: &str) {
    let digits = match printed.split_once(':') {
        Some((selector, digits)) if kind.0 == "rsp" => {
            found.push(register(("ss", 4), selector));
            digits
        }
        _ => printed.split('(').next().unwrap_or_default(),
    };
    found.push(register(kind, digits));
}

fn register((name, width): (&'static str, usize), digits: &str) -> Register {
    // Flags and keys may grow, nothing shrinks: fewer digits are a line that was cut.
    let whole = digits.len() == width || width == 8 && (8..=16).contains(&digits.len());
    Register {
        name,
        value: whole.then(|| hex(digits)).flatten(),
    }
}
