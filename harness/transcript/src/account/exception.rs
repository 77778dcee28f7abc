//! What the CPU raised: by the entry code on the stack, else by the headline.
use super::case::{Case, of_frame, of_log};
use super::registers::{basis, value};
use super::{Basis, Exception, Known, Registers, Told};
use recrash_kernel::trap::{self, TRAPS, Trap};

/// Vectors of faults: the saved rip is that of the instruction (Intel SDM volume 3A, table 6-1).
const FAULTS: &[u8] = &[0, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19, 20, 21];
/// Vectors that push an error code (there).
const WITH_CODE: &[u8] = &[8, 10, 11, 12, 13, 14, 17, 21];
const MINUS_ONE: u64 = u64::MAX;

pub(super) fn of(case: &Case<'_>, registers: &Told<Registers>) -> Told<Exception> {
    let registers = registers.as_ref().ok().map(|known| &known.value);
    by_entry(case, registers)
        .or_else(|| by_oops(case, registers))
        .or_else(|| by_panic(case))
        .ok_or_else(|| {
            "no entry code on the stack, no headline and no PANIC line name an exception".into()
        })
}

fn by_entry(case: &Case<'_>, registers: Option<&Registers>) -> Option<Known<Exception>> {
    let entries = case.entries();
    let below = registers
        .and_then(|registers| registers.at)
        .map(|at| at.wrapping_sub(8));
    let frame = entries
        .iter()
        .find(|frame| Some(frame.at) == below)
        .or(entries.first())?;
    let trap = trap::by_entry(&frame.function)?;
    let mut known = raised(Some(trap), frame.function.clone(), registers);
    known.basis.insert(0, of_frame(frame));
    if trap.vector == 14 {
        known.value.address = case
            .details()
            .and_then(|details| details.exception.as_ref()?.value.address);
    }
    error_code(case, &frame.function, trap, registers, &mut known);
    Some(known)
}

/// Privilege and class, which follow from the vector and the registers.
fn raised(trap: Option<&Trap>, by: String, registers: Option<&Registers>) -> Known<Exception> {
    let mut found = Vec::new();
    let cs = registers.and_then(|registers| value(registers, "cs"));
    let rip = registers.and_then(|registers| value(registers, "rip"));
    let kernel = match (cs, rip) {
        (Some(cs), _) => Some(cs & 3 == 0),
        (None, Some(rip)) => Some(rip >> 63 == 1),
        _ => None,
    };
    if let (Some(registers), Some(true)) = (registers, kernel) {
        let slot = if cs.is_some() { "cs" } else { "rip" };
        found.extend(basis(registers, slot));
        found.push(Basis::Rule("kernel code was interrupted, so the privilege level and the stack stay the same (Intel SDM volume 3A, 6.12.1)".into()));
    }
    let is_fault = trap.map(|trap| FAULTS.contains(&trap.vector));
    if is_fault == Some(true) {
        found.push(Basis::Rule("a fault, not a trap: the saved rip is that of the faulting instruction itself (Intel SDM volume 3A, 6.5)".into()));
    }
    Known {
        value: Exception {
            vector: trap.map(|trap| trap.vector),
            mnemonic: trap.map(|trap| trap.mnemonic.to_string()),
            by,
            error_code: None,
            address: None,
            same_privilege: kernel,
            is_fault,
        },
        basis: found,
    }
}

/// The entry code hands the hardware's error code on in rsi and puts -1 in its slot, orig_ax.
fn error_code(
    case: &Case<'_>,
    entry: &str,
    trap: &Trap,
    registers: Option<&Registers>,
    known: &mut Known<Exception>,
) {
    let Some(registers) = registers.filter(|_| WITH_CODE.contains(&trap.vector)) else {
        return;
    };
    match value(registers, "orig_rax") {
        Some(MINUS_ONE) => {
            known.basis.extend(basis(registers, "orig_rax"));
            known.basis.push(Basis::Rule("the error code is gone: the entry code moves it to rsi and writes -1 into its slot, orig_ax (arch/x86/entry/entry_64.S)".into()));
            let code = case.code.lines.iter().filter(|line| line.is_of(entry));
            known.basis.extend(
                code.filter(|line| line.text.contains("0x78(%rsp)"))
                    .map(|line| line.basis()),
            );
            known.value.error_code = case
                .details()
                .and_then(|details| details.exception.as_ref()?.value.error_code);
        }
        other => known.value.error_code = other,
    }
}

fn by_oops(case: &Case<'_>, registers: Option<&Registers>) -> Option<Known<Exception>> {
    let found = case.details()?.exception.as_ref()?;
    let exception = &found.value;
    let trap = exception
        .vector
        .and_then(|vector| TRAPS.iter().find(|trap| trap.vector == vector));
    let mut known = raised(trap, exception.headline.clone(), registers);
    known.value.vector = exception.vector;
    known.value.error_code = exception.error_code;
    known.value.address = exception.address;
    known
        .basis
        .insert(0, of_log(found.line, exception.headline.clone()));
    Some(known)
}

/// `PANIC:` of the session's banner.
fn by_panic(case: &Case<'_>) -> Option<Known<Exception>> {
    let (text, line) = case.evidence.system.panic.as_ref()?;
    let lower = text.to_lowercase();
    let named: &[(&str, u8)] = &[
        ("unable to handle", 14),
        ("general protection", 13),
        ("stack segment", 12),
        ("double fault", 8),
        ("invalid opcode", 6),
        ("kernel bug", 6),
        ("divide error", 0),
    ];
    let vector = named
        .iter()
        .find(|(words, _)| lower.contains(words))
        .map(|(_, vector)| *vector);
    let trap = vector.and_then(|vector| TRAPS.iter().find(|trap| trap.vector == vector));
    let mut known = raised(trap, text.clone(), None);
    known.basis.insert(
        0,
        Basis::Line {
            line: *line,
            text: format!("PANIC: {text}"),
        },
    );
    Some(known)
}
