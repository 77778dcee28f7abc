//! Backwards from the faulting instruction over the lines that the text has: where the registers of the address came
//! from. A line that is not shown is a gap, and what rests on it says so. It names no struct of the text.
mod code;
mod effect;
mod table;

pub(crate) use code::Code;
pub(crate) use effect::{Effect, effect};
pub(crate) use table::{member_offset, return_type};

use crate::account::Basis;
use crate::att::Memory;

/// Lines that one trail goes back over.
const MAX_LINES: usize = 4096;
/// Copies from register to register in one trail.
const MAX_STEPS: usize = 32;

/// Where the trail of a register ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Loaded from memory; how many lines before the fault it was, as an index into the code.
    Load(Memory, usize),
    /// What a call returned.
    Returned(String),
    /// Computed from others, by name.
    Sum(String, String, usize),
    /// Not known, and why.
    Unknown(String),
}

/// A trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trail {
    pub(crate) steps: Vec<Basis>,
    pub(crate) found: Found,
    /// Registers that held the value on the way, the first one asked for first.
    pub(crate) through: Vec<String>,
}

/// Follows a register back from before the line with index `before`.
pub(crate) fn back(code: &Code, function: &str, before: usize, register: &str) -> Trail {
    let mut trail = Trail {
        steps: Vec::new(),
        found: Found::Unknown(format!(
            "the text does not have the instruction that set {register}"
        )),
        through: vec![register.to_string()],
    };
    let mut wanted = register.to_string();
    let mut gap = false;
    let mut last = before;
    for index in (0..before).rev().take(MAX_LINES) {
        let Some(line) = code.lines.get(index).filter(|line| line.is_of(function)) else {
            continue;
        };
        gap |= !code.follows(index, last);
        last = index;
        let Some(parsed) = &line.parsed else { continue };
        if parsed.never_falls_through() {
            trail.found = Found::Unknown(format!(
                "{wanted} was set before a jump to here from elsewhere, after `{}`",
                line.text
            ));
            return trail;
        }
        if parsed.is_cut_off() {
            trail.found = Found::Unknown(format!(
                "`{}` is cut off in the text: it may have set {wanted}",
                line.text
            ));
            return trail;
        }
        let effect = effect(parsed, &wanted);
        if effect == Effect::None {
            continue;
        }
        trail.steps.push(line.basis());
        if std::mem::take(&mut gap) {
            trail.steps.push(Basis::Follows(format!(
                "assuming the lines not shown between there and the next one shown do not set {wanted}"
            )));
        }
        trail.found = match effect {
            Effect::Copy(from) if trail.steps.len() < MAX_STEPS => {
                trail.through.push(from.clone());
                trail.found = Found::Unknown(format!(
                    "the text does not have the instruction that set {from}"
                ));
                wanted = from;
                continue;
            }
            Effect::Load(memory) => Found::Load(memory, index),
            Effect::Returned(function) => Found::Returned(function),
            Effect::Sum(one, other) => Found::Sum(one, other, index),
            Effect::Copy(_) => Found::Unknown("the trail is longer than is followed".into()),
            Effect::Other(why) => Found::Unknown(why),
            Effect::None => continue,
        };
        return trail;
    }
    trail
}

/// Whether a register still has the value that it had before the line `from`, at the line `until`.
pub(crate) fn unchanged(
    code: &Code,
    function: &str,
    from: usize,
    until: usize,
    register: &str,
) -> bool {
    (from..until)
        .filter_map(|index| code.lines.get(index))
        .all(|line| {
            !line.is_of(function)
                || line.parsed.as_ref().is_none_or(|parsed| {
                    !parsed.is_cut_off() && effect(parsed, register) == Effect::None
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Evidence, Instruction};

    fn check(lines: &[(u64, &str)], register: &str) -> Found {
        let evidence = Evidence {
            instructions: (1..)
                .zip(lines)
                .map(|(line, (offset, text))| Instruction {
                    address: Some(0x1000 + offset),
                    place: Some(("f".into(), *offset)),
                    text: (*text).into(),
                    source: None,
                    line,
                })
                .collect(),
            ..Evidence::default()
        };
        let code = Code::of(&evidence, None);
        back(&code, "f", code.lines.len(), register).found
    }

    #[test]
    fn copies_lead_to_a_load_or_a_call() {
        let lines = [
            (0, "callq 0x99 <kmalloc_slab>"),
            (5, "mov %rax,%r14"),
            (8, "mov %r14,%r15"),
        ];
        assert_eq!(check(&lines, "r15"), Found::Returned("kmalloc_slab".into()));
        let lines = [(0, "mov (%r8),%rbp"), (4, "mov 0x8(%r8),%rdx")];
        let Found::Load(memory, 0) = check(&lines, "rbp") else {
            panic!("no load")
        };
        assert_eq!((memory.base_name(), memory.displacement), (Some("r8"), 0));
    }

    #[test]
    fn a_call_forgets_what_it_may_overwrite_and_a_jump_ends_the_trail() {
        assert!(matches!(
            check(&[(0, "mov (%r8),%rcx"), (4, "call 0x99 <f>")], "rcx"),
            Found::Unknown(_)
        ));
        assert!(matches!(
            check(&[(0, "mov (%r8),%rcx"), (4, "jmp 0x99")], "rcx"),
            Found::Unknown(_)
        ));
        assert!(matches!(check(&[], "rcx"), Found::Unknown(_)));
    }
}
