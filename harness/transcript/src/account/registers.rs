//! The registers of the interrupted context: by shape, from a block, from an oops; compared where several have them.
use super::case::{Case, of_log};
use super::{Basis, Contradiction, Dropped, Hint, How, Known, Registers, Told};
use crate::shape::{self, Surroundings};
use recrash_kernel::regs::PT_REGS_NAMES;

const SIZE: u64 = 168;

/// What one source has.
struct Source {
    how: How,
    at: Option<u64>,
    values: [Option<(u64, Basis)>; 21],
    why: Vec<Basis>,
}

/// The registers, and what contradicts them.
pub(super) fn of(case: &Case<'_>) -> (Told<Registers>, Vec<Contradiction>) {
    let sources: Vec<Source> = [by_shape(case), by_block(case), by_oops(case)]
        .into_iter()
        .flatten()
        .collect();
    let Some(first) = sources.first() else {
        let why = "no words of a stack have the shape of saved registers, no block of an exception, no oops";
        return (Err(why.into()), Vec::new());
    };
    let mut slots = [None; 21];
    let mut basis = first.why.clone();
    let mut contradictions = Vec::new();
    for (number, name) in PT_REGS_NAMES.iter().enumerate() {
        let values: Vec<(&u64, &Basis)> = sources
            .iter()
            .filter(|source| same_context(first, source))
            .filter_map(|source| {
                source
                    .values
                    .get(number)?
                    .as_ref()
                    .map(|(value, basis)| (value, basis))
            })
            .collect();
        let Some((value, from)) = values.first() else {
            continue;
        };
        if let Some(slot) = slots.get_mut(number) {
            *slot = Some(**value);
        }
        basis.push((*from).clone());
        contradictions.extend(
            values
                .iter()
                .skip(1)
                .filter(|(other, _)| other != value)
                .map(|(other, at)| Contradiction {
                    what: (*name).into(),
                    one: format!("{value:#x} ({})", place(from)),
                    other: format!("{other:#x} ({})", place(at)),
                    basis: vec![(*from).clone(), (*at).clone()],
                }),
        );
    }
    let value = Registers {
        slots,
        basis: basis.clone(),
        at: first.at,
        how: first.how,
    };
    (Ok(Known { value, basis }), contradictions)
}

fn place(basis: &Basis) -> String {
    match basis {
        Basis::StackWord { at, line, .. } => format!("stack word at {at:x}, line {line}"),
        Basis::Line { line, .. } | Basis::Instruction { line, .. } => format!("line {line}"),
        Basis::Rule(text) | Basis::Follows(text) => text.clone(),
    }
}

/// The same instruction pointer, or one of them has none.
fn same_context(one: &Source, other: &Source) -> bool {
    let rip = |source: &Source| {
        source
            .values
            .get(16)
            .cloned()
            .flatten()
            .map(|(value, _)| value)
    };
    match (rip(one), rip(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

fn by_shape(case: &Case<'_>) -> Option<Source> {
    let entries: Vec<u64> = case.entries().iter().map(|frame| frame.at).collect();
    let is_text = |at: u64| case.is_text(at);
    let found = shape::find(
        &case.words,
        &Surroundings {
            is_text: &is_text,
            entries: &entries,
        },
    )
    .into_iter()
    .find(|found| !found.user)?;
    let values = found.slots.map(|slot| {
        slot.map(|word| {
            (
                word.value,
                Basis::StackWord {
                    at: word.at,
                    value: word.value,
                    line: word.line,
                },
            )
        })
    });
    let mut why: Vec<Basis> = found
        .why
        .into_iter()
        .map(|why| {
            Basis::Rule(format!(
                "shape of pt_regs (arch/x86/include/asm/ptrace.h): {why}"
            ))
        })
        .collect();
    why.extend(
        case.entries()
            .iter()
            .filter(|frame| frame.at.wrapping_add(8) == found.at)
            .map(|frame| super::case::of_frame(frame)),
    );
    Some(Source {
        how: How::Shape,
        at: Some(found.at),
        values,
        why,
    })
}

/// The innermost block of an exception in kernel mode.
fn by_block(case: &Case<'_>) -> Option<Source> {
    let block = case.blocks.iter().find(|block| block.exception.is_some())?;
    let values = PT_REGS_NAMES.map(|name| {
        let (_, value, line) = block.registers.iter().find(|(known, ..)| known == name)?;
        Some((
            *value,
            Basis::Line {
                line: *line,
                text: format!("{}: {value:016x}", name.to_uppercase()),
            },
        ))
    });
    let why = vec![Basis::Line {
        line: block.line,
        text: "[exception RIP: …]".into(),
    }];
    Some(Source {
        how: How::Block,
        at: None,
        values,
        why,
    })
}

fn by_oops(case: &Case<'_>) -> Option<Source> {
    let details = case.details()?;
    if details.registers.is_empty() {
        return None;
    }
    let values = PT_REGS_NAMES.map(|name| {
        let found = details
            .registers
            .iter()
            .find(|found| found.value.0 == name)?;
        let value = found.value.1;
        Some((
            value,
            of_log(found.line, format!("{}: {value:016x}", name.to_uppercase())),
        ))
    });
    let why = details.rip.iter().map(|rip| {
        let symbol = rip.value.symbol.clone().unwrap_or_default();
        of_log(rip.line, format!("RIP: {symbol}"))
    });
    Some(Source {
        how: How::Oops,
        at: None,
        values,
        why: why.collect(),
    })
}

/// The value of a register by its 64-bit name.
pub(crate) fn value(registers: &Registers, name: &str) -> Option<u64> {
    let number = PT_REGS_NAMES.iter().position(|known| *known == name)?;
    registers.slots.get(number).copied().flatten()
}

/// What a register's value rests on.
pub(crate) fn basis(registers: &Registers, name: &str) -> Vec<Basis> {
    let shown = name.to_uppercase();
    let number = PT_REGS_NAMES.iter().position(|known| *known == name);
    let at = number
        .zip(registers.at)
        .and_then(|(number, at)| at.checked_add(u64::try_from(number).ok()?.checked_mul(8)?));
    registers
        .basis
        .iter()
        .filter(|basis| match basis {
            Basis::StackWord { at: word, .. } => Some(*word) == at,
            Basis::Line { text, .. } => text.split(':').next() == Some(shown.as_str()),
            _ => false,
        })
        .cloned()
        .collect()
}

/// Frames that a backtrace drew in the middle of the registers, and what their addresses still hint at.
pub(super) fn refuted(case: &Case<'_>, registers: &Registers) -> (Vec<Dropped>, Vec<Hint>) {
    let Some(start) = registers.at else {
        return (Vec::new(), Vec::new());
    };
    let rip = start.wrapping_add(16 * 8);
    let mut dropped = Vec::new();
    let mut hints = Vec::new();
    for frame in &case.frames {
        let inside = frame.at.wrapping_sub(start);
        // The frame of the interrupted function stands on its rip's slot.
        if inside >= SIZE || frame.at == rip {
            continue;
        }
        let slot = usize::try_from(inside / 8)
            .ok()
            .and_then(|slot| PT_REGS_NAMES.get(slot))
            .copied()
            .unwrap_or("?");
        let mut basis = vec![super::case::of_frame(frame)];
        basis.extend(self::basis(registers, slot));
        dropped.push(Dropped {
            function: frame.function.clone(),
            why: format!(
                "its stack address {:x} lies inside the saved registers ({:x} to {:x}): its return address is the {slot} slot, no call",
                frame.at, start, start.wrapping_add(SIZE)
            ),
            basis: basis.clone(),
        });
        if value(registers, slot) == Some(frame.address) {
            hints.push(Hint {
                register: slot.into(),
                value: frame.address,
                function: frame.function.clone(),
                module: frame.module.clone(),
                basis,
            });
        }
    }
    (dropped, hints)
}
