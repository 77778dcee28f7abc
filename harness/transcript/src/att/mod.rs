//! One instruction in AT&T syntax, as objdump, gdb and crash print it, to mnemonic and operands. It judges nothing and
//! never fails: what it can't read becomes [`Operand::Other`].
pub mod bytes;
mod intel;
mod register;

pub use intel::{by_place, intel};
pub use register::{full_name, width};

/// Longest text that is looked at; instructions with symbols have about 200 characters.
const MAX_TEXT: usize = 1024;
/// Most operands an instruction has.
const MAX_OPERANDS: usize = 5;
/// Mnemonics that always have two operands, without the suffix of their width.
const TWO_OPERANDS: &[&str] = &[
    "mov", "movabs", "movz", "movzb", "movzw", "movsb", "movsw", "movsl", "movzx", "movsx", "add",
    "adc", "sub", "sbb", "and", "or", "xor", "cmp", "test", "lea", "xchg", "xadd", "cmpxchg", "bt",
    "bts", "btr", "btc", "bsf", "bsr", "popcnt", "tzcnt", "lzcnt",
];
/// How the names of other registers than the general ones begin.
const SPECIAL: &[&str] = &[
    "xmm", "ymm", "zmm", "mm", "st", "cr", "dr", "db", "tr", "bnd", "k", "cs", "ds", "es", "fs",
    "gs", "ss",
];
/// What may stand before the mnemonic.
const PREFIXES: &[&str] = &[
    "lock", "rep", "repz", "repnz", "repe", "repne", "data16", "addr32", "cs", "ds", "es", "ss",
    "fs", "gs", "notrack", "bnd", "xacquire", "xrelease", "rex.W",
];

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Mnemonic as written, suffix kept: `callq`.
    pub mnemonic: String,
    /// Operands in AT&T order: sources first, destination last.
    pub operands: Vec<Operand>,
}

/// An operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `%rax`: its name as written, without `%`.
    Register(String),
    /// `$0x10`, sign extended.
    Immediate(i64),
    /// `0x0(%rbp,%rax,1)`.
    Memory(Memory),
    /// Target of a direct branch, and its symbol where printed.
    Target(u64, Option<String>),
    /// `*%rax`, `*0x8(%rax)`.
    Indirect(Box<Operand>),
    /// Not read.
    Other(String),
}

/// A memory operand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Segment override.
    pub segment: Option<String>,
    /// Displacement in bytes.
    pub displacement: i64,
    /// Base register as written.
    pub base: Option<String>,
    /// Index register as written.
    pub index: Option<String>,
    /// 1, 2, 4 or 8.
    pub scale: u8,
}

impl Memory {
    /// 64-bit name of the base.
    #[must_use]
    pub fn base_name(&self) -> Option<&'static str> {
        full_name(self.base.as_deref()?)
    }

    /// 64-bit name of the index.
    #[must_use]
    pub fn index_name(&self) -> Option<&'static str> {
        full_name(self.index.as_deref()?)
    }
}

impl Instruction {
    /// The first memory operand, also that of an indirect branch.
    #[must_use]
    pub fn memory(&self) -> Option<&Memory> {
        self.operands.iter().find_map(|operand| match operand {
            Operand::Memory(memory) => Some(memory),
            Operand::Indirect(inside) => match inside.as_ref() {
                Operand::Memory(memory) => Some(memory),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether a part of its text is missing: a line that was cut off or wrapped. One without its last operands is known
    /// for mnemonics that always have two.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        let name = self.mnemonic.as_str();
        let stem = name.strip_suffix(['b', 'w', 'l', 'q']).unwrap_or(name);
        let two = name.starts_with("cmov")
            || TWO_OPERANDS.contains(&name)
            || TWO_OPERANDS.contains(&stem);
        (two && self.operands.len() < 2) || self.operands.iter().any(Operand::is_cut_off)
    }

    /// Whether it is a call.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self.mnemonic.as_str(), "call" | "callq")
    }

    /// Whether the next line is never reached from here.
    #[must_use]
    pub fn never_falls_through(&self) -> bool {
        const ENDS: &[&str] = &["jmp", "jmpq", "ret", "retq", "iretq", "ud2", "hlt"];
        ENDS.contains(&self.mnemonic.as_str())
    }
}

impl Operand {
    fn is_cut_off(&self) -> bool {
        // objdump's name for no index.
        let none = ["riz", "eiz"];
        let nameless = |name: &Option<String>| {
            name.as_deref()
                .is_some_and(|name| full_name(name).is_none() && !none.contains(&name))
        };
        match self {
            Self::Other(_) => true,
            Self::Memory(memory) => nameless(&memory.base) || nameless(&memory.index),
            Self::Indirect(inside) => inside.is_cut_off(),
            Self::Register(name) => {
                let special = SPECIAL.iter().any(|stem| name.starts_with(stem));
                !special && full_name(name).is_none()
            }
            Self::Immediate(_) | Self::Target(..) => false,
        }
    }
}

/// Reads one instruction; `None` for an empty text or `(bad)`.
#[must_use]
pub fn parse(text: &str) -> Option<Instruction> {
    let text: String = text.chars().take(MAX_TEXT).collect();
    let text = text.split(" #").next().unwrap_or_default().trim();
    let (mnemonic, rest) = after_prefixes(text);
    if mnemonic.is_empty() || !mnemonic.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let branches = branches(mnemonic);
    let operands = split(rest)
        .into_iter()
        .take(MAX_OPERANDS)
        .map(|operand| self::operand(operand, branches))
        .collect();
    Some(Instruction {
        mnemonic: mnemonic.to_string(),
        operands,
    })
}

/// Mnemonic and what follows it.
fn after_prefixes(text: &str) -> (&str, &str) {
    let mut rest = text;
    loop {
        let (word, after) = rest
            .split_once(|c: char| c.is_whitespace())
            .unwrap_or((rest, ""));
        let after = after.trim_start();
        let plain = word.trim_end_matches(',');
        if after.is_empty() || !PREFIXES.contains(&plain) {
            return (word, after);
        }
        rest = after;
    }
}

fn branches(mnemonic: &str) -> bool {
    mnemonic.starts_with('j') || mnemonic.starts_with("call") || mnemonic.starts_with("loop")
}

/// At the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0usize, 0usize);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(from..at).unwrap_or_default().trim());
                from = at.saturating_add(1);
            }
            _ => {}
        }
    }
    let last = text.get(from..).unwrap_or_default().trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

fn operand(text: &str, branch: bool) -> Operand {
    let other = || Operand::Other(text.to_string());
    if let Some(inside) = text.strip_prefix('*') {
        return Operand::Indirect(Box::new(self::operand(inside.trim(), false)));
    }
    if let Some(number) = text.strip_prefix('$') {
        return signed(number).map_or_else(other, Operand::Immediate);
    }
    if let Some(name) = text.strip_prefix('%')
        && !name.contains([':', '(', ','])
    {
        return Operand::Register(name.to_string());
    }
    if branch && !text.contains('(') {
        let (number, symbol) = text.split_once(' ').unwrap_or((text, ""));
        let symbol = symbol.trim().trim_start_matches('<').trim_end_matches('>');
        let symbol = (!symbol.is_empty()).then(|| symbol.to_string());
        return signed(number).map_or_else(other, |to| Operand::Target(to.cast_unsigned(), symbol));
    }
    memory(text).map_or_else(other, Operand::Memory)
}

/// `%gs:0x8(%rax,%rbx,4)`.
fn memory(text: &str) -> Option<Memory> {
    let (segment, text) = match text.strip_prefix('%').and_then(|text| text.split_once(':')) {
        Some((segment, rest)) => (Some(segment.to_string()), rest),
        None => (None, text),
    };
    let (displacement, inside) = match text.split_once('(') {
        Some((before, inside)) => (before.trim(), Some(inside.strip_suffix(')')?)),
        None => (text.trim(), None),
    };
    let mut parts = inside.unwrap_or_default().split(',').map(str::trim);
    let mut register = || match parts.next() {
        None | Some("") => Some(None),
        Some(name) => Some(Some(name.strip_prefix('%')?.to_string())),
    };
    let (base, index) = (register()?, register()?);
    let scale = match parts.next() {
        None | Some("") => 1,
        Some(number) => number.parse().ok().filter(|n| matches!(n, 1 | 2 | 4 | 8))?,
    };
    let displacement = match displacement {
        "" if inside.is_some() => 0,
        number => signed(number)?,
    };
    Some(Memory {
        segment,
        displacement,
        base,
        index,
        scale,
    })
}

/// Hexadecimal with `0x`, else decimal; larger numbers than `i64` has are taken as two's complement.
fn signed(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => match digits.parse() {
            Ok(number) => Ok(number),
            // Branch targets of objdump have no prefix.
            Err(_) => u64::from_str_radix(digits, 16),
        },
    };
    let number = number.ok()?.cast_signed();
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, mnemonic: &str, operands: &[Operand]) {
        let found = parse(text).expect(text);
        assert_eq!(
            (found.mnemonic.as_str(), found.operands.as_slice()),
            (mnemonic, operands)
        );
    }

    fn register(name: &str) -> Operand {
        Operand::Register(name.into())
    }

    fn at(displacement: i64, base: Option<&str>, index: Option<&str>, scale: u8) -> Memory {
        Memory {
            segment: None,
            displacement,
            base: base.map(Into::into),
            index: index.map(Into::into),
            scale,
        }
    }

    #[test]
    fn a_part_of_an_instruction_is_told_from_a_whole_one() {
        let cut = |text: &str| parse(text).is_none_or(|found| found.is_cut_off());
        for whole in [
            "mov 0x0(%rbp,%rax,1),%rbx",
            "movq $0xffffffffffffffff,0x78(%rsp)",
            "subl $0x8,(%rdi)",
            "movslq %edx,%rdx",
            "lea 0x0(%rsi,%riz,1),%rsi",
            "push %rbp",
            "callq 0xffffffff84a01310 <error_entry>",
            "ret",
            "clac",
            "cmpxchg16b %gs:(%rsi)",
        ] {
            assert!(!cut(whole), "{whole}");
        }
        let text = "mov 0x0(%rbp,%rax,1),%rbx";
        for end in 4..text.len() {
            assert!(cut(&text[..end]), "{}", &text[..end]);
        }
        assert!(cut("cmove 0x8(%rax)") && cut("subl $0x8"));
    }

    #[test]
    fn the_real_dumps_instructions_are_read() {
        check(
            "mov    0x0(%rbp,%rax,1),%rbx",
            "mov",
            &[
                Operand::Memory(at(0, Some("rbp"), Some("rax"), 1)),
                register("rbx"),
            ],
        );
        check(
            "callq  0xffffffff8423fe30 <kmalloc_slab>",
            "callq",
            &[Operand::Target(
                0xffff_ffff_8423_fe30,
                Some("kmalloc_slab".into()),
            )],
        );
        check(
            "movq   $0xffffffffffffffff,0x78(%rsp)",
            "movq",
            &[
                Operand::Immediate(-1),
                Operand::Memory(at(0x78, Some("rsp"), None, 1)),
            ],
        );
        check(
            "nopw   %cs:0x0(%rax,%rax,1)",
            "nopw",
            &[Operand::Memory(Memory {
                segment: Some("cs".into()),
                ..at(0, Some("rax"), Some("rax"), 1)
            })],
        );
    }

    #[test]
    fn prefixes_comments_and_odd_operands_do_not_confuse() {
        check(
            "lock cmpxchg16b %gs:(%r8)",
            "cmpxchg16b",
            &[Operand::Memory(Memory {
                segment: Some("gs".into()),
                ..at(0, Some("r8"), None, 1)
            })],
        );
        check(
            "mov 0x10(%rip),%rax        # 0xffffffff81000017",
            "mov",
            &[
                Operand::Memory(at(0x10, Some("rip"), None, 1)),
                register("rax"),
            ],
        );
        check(
            "jmpq *-0x7d(,%rax,8)",
            "jmpq",
            &[Operand::Indirect(Box::new(Operand::Memory(at(
                -0x7d,
                None,
                Some("rax"),
                8,
            ))))],
        );
        assert_eq!(parse("(bad)"), None);
        assert_eq!(parse(""), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", tail in "[a-z%$(),*:0-9x -]{0,80}") {
            let _ = parse(&text);
            if let Some(found) = parse(&format!("mov {tail}")) {
                let _ = intel(&found);
                let _ = by_place(&intel(&found), found.memory());
            }
        }
    }
}
