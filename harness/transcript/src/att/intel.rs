//! AT&T to Intel syntax in the form that signatures have: lower case, sizes only where the registers do not tell
//! them, address registers by place. Covers the instructions that access memory in kernels; others keep their
//! mnemonic.
use super::{Instruction, Memory, Operand, width};

/// Mnemonics that AT&T gives a size suffix.
const SUFFIXED: &[&str] = &[
    "mov", "add", "sub", "adc", "sbb", "cmp", "test", "and", "or", "xor", "inc", "dec", "neg",
    "not", "lea", "push", "pop", "call", "ret", "jmp", "sar", "shl", "shr", "rol", "ror", "mul",
    "imul", "div", "idiv", "cmpxchg", "xadd", "xchg", "bt", "bts", "btr", "btc", "leave", "nop",
    "movnti",
];
const SIZES: [(char, &str); 4] = [
    ('b', "byte ptr "),
    ('w', "word ptr "),
    ('l', "dword ptr "),
    ('q', "qword ptr "),
];

/// Mnemonic, and the size of its memory operand where the mnemonic tells it.
fn mnemonic(instruction: &Instruction) -> (String, Option<&'static str>) {
    let text = instruction.mnemonic.as_str();
    let size = |suffix: char| {
        SIZES
            .iter()
            .find(|(known, _)| *known == suffix)
            .map(|s| s.1)
    };
    let two = instruction.operands.len() == 2;
    for (stem, name) in [("movz", "movzx"), ("movs", "movsx")] {
        let letters: Vec<char> = text
            .strip_prefix(stem)
            .unwrap_or_default()
            .chars()
            .collect();
        if let (true, [from, _to]) = (two, letters.as_slice()) {
            let name = if *from == 'l' { "movsxd" } else { name };
            return (name.into(), size(*from));
        }
    }
    if text == "movabs" {
        return ("mov".into(), None);
    }
    let Some(suffix) = text.chars().last() else {
        return (text.into(), None);
    };
    match text.get(..text.len().saturating_sub(1)) {
        Some(stem) if SUFFIXED.contains(&stem) && !SUFFIXED.contains(&text) => {
            (stem.into(), size(suffix))
        }
        _ => (text.into(), None),
    }
}

/// An instruction in Intel syntax: `mov rbx, [rbp+rax]`.
#[must_use]
pub fn intel(instruction: &Instruction) -> String {
    let (name, size) = mnemonic(instruction);
    let registers = instruction
        .operands
        .iter()
        .any(|operand| matches!(operand, Operand::Register(name) if width(name).is_some()));
    // The registers tell the size, but for a narrower source.
    let size =
        size.filter(|_| !registers || name.starts_with("movzx") || name.starts_with("movsx"));
    let operands: Vec<String> = instruction
        .operands
        .iter()
        .rev()
        .map(|operand| spell(operand, size.unwrap_or_default()))
        .collect();
    match operands.is_empty() {
        true => name,
        false => format!("{name} {}", operands.join(", ")),
    }
}

fn spell(operand: &Operand, size: &str) -> String {
    match operand {
        Operand::Register(name) => name.clone(),
        Operand::Immediate(number) => self::number(*number),
        Operand::Memory(memory) => format!("{size}{}", address(memory)),
        Operand::Target(to, _) => format!("{to:#x}"),
        Operand::Indirect(inside) => match inside.as_ref() {
            Operand::Memory(memory) => format!("qword ptr {}", address(memory)),
            Operand::Register(name) => name.clone(),
            _ => "?".into(),
        },
        Operand::Other(text) => text.clone(),
    }
}

/// Up to 9 in decimal.
fn number(number: i64) -> String {
    match number.unsigned_abs() {
        small @ 0..=9 if number >= 0 => small.to_string(),
        size if number < 0 => format!("-{size:#x}"),
        size => format!("{size:#x}"),
    }
}

fn address(memory: &Memory) -> String {
    let mut inside = memory.base.clone().unwrap_or_default();
    if let Some(index) = &memory.index {
        let plus = if inside.is_empty() { "" } else { "+" };
        inside.push_str(&format!("{plus}{index}"));
        if memory.scale > 1 {
            inside.push_str(&format!("*{}", memory.scale));
        }
    }
    match memory.displacement {
        0 if !inside.is_empty() => {}
        distance if inside.is_empty() => inside = format!("{:#x}", distance.cast_unsigned()),
        distance => {
            let sign = if distance < 0 { '-' } else { '+' };
            let size = i64::try_from(distance.unsigned_abs()).unwrap_or(i64::MAX);
            inside.push_str(&format!("{sign}{}", number(size)));
        }
    }
    match &memory.segment {
        Some(segment) => format!("{segment}:[{inside}]"),
        None => format!("[{inside}]"),
    }
}

/// The text with its address registers by place: `mov rbx, [base+index]`. Without brackets it stays as it is.
#[must_use]
pub fn by_place(intel: &str, memory: Option<&Memory>) -> String {
    let parts = memory.and_then(|memory| {
        let (before, rest) = intel.split_once('[')?;
        let (_, after) = rest.split_once(']')?;
        Some((memory, before, after))
    });
    let Some((memory, before, after)) = parts else {
        return intel.to_string();
    };
    let mut inside = String::new();
    // An address relative to rip is resolved into the displacement.
    if memory.base.as_deref().is_some_and(|base| base != "rip") {
        inside.push_str("base");
    }
    if memory.index.is_some() {
        inside.push_str(if inside.is_empty() { "index" } else { "+index" });
        if memory.scale > 1 {
            inside.push_str(&format!("*{}", memory.scale));
        }
    }
    if memory.displacement != 0 || inside.is_empty() {
        inside.push_str("+displacement");
    }
    format!("{before}[{inside}]{after}")
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn check(att: &str, expected: &str, placed: &str) {
        let instruction = parse(att).expect(att);
        let text = intel(&instruction);
        assert_eq!(text, expected);
        assert_eq!(by_place(&text, instruction.memory()), placed);
    }

    #[test]
    fn text_is_that_of_the_signature() {
        check(
            "mov    0x0(%rbp,%rax,1),%rbx",
            "mov rbx, [rbp+rax]",
            "mov rbx, [base+index]",
        );
        check("mov (%rcx),%rbx", "mov rbx, [rcx]", "mov rbx, [base]");
        check(
            "movq   $0xffffffffffffffff,0x78(%rsp)",
            "mov qword ptr [rsp+0x78], -0x1",
            "mov qword ptr [base+displacement], -0x1",
        );
        check(
            "movzbl 0x8(%rax),%eax",
            "movzx eax, byte ptr [rax+8]",
            "movzx eax, byte ptr [base+displacement]",
        );
        check(
            "callq  *0x20(%rax,%rdx,8)",
            "call qword ptr [rax+rdx*8+0x20]",
            "call qword ptr [base+index*8+displacement]",
        );
        check("ud2", "ud2", "ud2");
    }
}
