//! What one instruction leaves in one register. It follows nothing.
use crate::att::{Instruction, Memory, Operand, full_name, width};

/// Registers that a function may overwrite (System V ABI for x86-64, 3.2.1).
const CALL_CLOBBERS: &[&str] = &["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"];
/// Instructions that only read their operands.
const READERS: &[&str] = &[
    "cmp", "test", "push", "nop", "bt", "ret", "prefetch", "clac", "stac", "lfence", "endbr64",
];

/// What an instruction does to a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Leaves it alone.
    None,
    /// Copies another one, by its 64-bit name.
    Copy(String),
    /// Loads it.
    Load(Memory),
    /// Sets it to what a function returned.
    Returned(String),
    /// Sets it to the sum of itself and another, or of two.
    Sum(String, String),
    /// Sets it to something else.
    Other(String),
}

/// What an instruction leaves in a register, 64-bit name.
pub(crate) fn effect(instruction: &Instruction, register: &str) -> Effect {
    let name = instruction.mnemonic.as_str();
    if instruction.is_call() {
        return call(instruction, register);
    }
    let stem = name.trim_end_matches(['b', 'w', 'l', 'q']);
    if name.starts_with('j')
        || READERS
            .iter()
            .any(|known| stem == *known || name.starts_with("nop") || name == *known)
    {
        return Effect::None;
    }
    let other = || Effect::Other(format!("`{name}` computes {register}"));
    // Those that write what they do not name.
    let implicit = match stem {
        s if s.starts_with("cmpxchg") => register == "rax",
        "mul" | "div" | "idiv" | "cqto" | "cltd" | "rdtsc" | "rdmsr" | "cpuid" => {
            matches!(register, "rax" | "rdx")
        }
        "movs" | "stos" | "lods" | "scas" => {
            matches!(register, "rax" | "rdi" | "rsi" | "rcx") && instruction.operands.len() != 2
        }
        _ => false,
    };
    if implicit {
        return other();
    }
    let is_it = |operand: &Operand| matches!(operand, Operand::Register(name) if full_name(name) == Some(register));
    let exchanged = (stem.starts_with("xchg") || stem.starts_with("xadd"))
        && instruction.operands.iter().any(is_it);
    let Some(target) = instruction.operands.last().filter(|target| is_it(target)) else {
        return if exchanged { other() } else { Effect::None };
    };
    let narrow =
        matches!(target, Operand::Register(name) if width(name).is_some_and(|bits| bits < 32));
    let source = instruction
        .operands
        .first()
        .filter(|_| instruction.operands.len() == 2);
    let whole = !narrow && !exchanged;
    match (source, stem) {
        (Some(Operand::Memory(memory)), _) if whole && is_move(name) => {
            Effect::Load(memory.clone())
        }
        (Some(Operand::Register(from)), _) if whole && is_move(name) => {
            full_name(from).map_or_else(other, |from| Effect::Copy(from.into()))
        }
        (Some(Operand::Register(from)), "add") if whole => {
            full_name(from).map_or_else(other, |from| Effect::Sum(register.into(), from.into()))
        }
        (Some(Operand::Memory(memory)), "lea") if whole => {
            match (memory.base_name(), memory.index_name()) {
                (Some(base), Some(index)) if memory.scale == 1 && memory.displacement == 0 => {
                    Effect::Sum(base.into(), index.into())
                }
                _ => other(),
            }
        }
        _ => other(),
    }
}

/// Whether it moves a value as it is, or extended.
fn is_move(name: &str) -> bool {
    matches!(
        name,
        "mov"
            | "movq"
            | "movl"
            | "movabs"
            | "movslq"
            | "movzbl"
            | "movzwl"
            | "movzbq"
            | "movzwq"
            | "movsbl"
            | "movswl"
            | "movsbq"
            | "movswq"
    )
}

fn call(instruction: &Instruction, register: &str) -> Effect {
    if !CALL_CLOBBERS.contains(&register) {
        return Effect::None;
    }
    let symbol = instruction
        .operands
        .first()
        .and_then(|operand| match operand {
            Operand::Target(at, symbol) => {
                Some(symbol.clone().unwrap_or_else(|| format!("{at:#x}")))
            }
            _ => None,
        });
    match symbol {
        // A call into the middle of a function, or `f+0x0`.
        Some(symbol) if register == "rax" => {
            Effect::Returned(symbol.split('+').next().unwrap_or_default().into())
        }
        _ => Effect::Other(format!("a call may have overwritten {register}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::att::parse;

    fn check(text: &str, register: &str, expected: Effect) {
        assert_eq!(
            effect(&parse(text).expect(text), register),
            expected,
            "{text}"
        );
    }

    #[test]
    fn only_what_writes_the_register_counts() {
        check("cmp %rax,%rbx", "rbx", Effect::None);
        check("mov %rbx,(%rax)", "rax", Effect::None);
        check("mov %rbx,%rax", "rax", Effect::Copy("rbx".into()));
        check(
            "add %rax,%rcx",
            "rcx",
            Effect::Sum("rcx".into(), "rax".into()),
        );
        check(
            "callq 0x10 <kmalloc_slab>",
            "rax",
            Effect::Returned("kmalloc_slab".into()),
        );
        check("callq 0x10 <kmalloc_slab>", "r14", Effect::None);
        assert!(matches!(
            effect(&parse("mov %al,%cl").unwrap(), "rcx"),
            Effect::Other(_)
        ));
        assert!(matches!(
            effect(&parse("mov 0x20(%r15),%eax").unwrap(), "rax"),
            Effect::Load(_)
        ));
    }
}
