//! What an account is composed from, whichever way the crash came: the account of a text, or the same filled from a
//! dump, with what only one of the two has.
use recrash_kernel::regs::PT_REGS_NAMES;
use recrash_signature::Signature;
use recrash_transcript::account::{Account, Basis, Registers};

use super::findings::Proof;
use super::message::Hex;
use super::story::Subject;

/// Everything that is known of one crash.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// What was read.
    pub(crate) subject: Subject,
    /// The facts. From a dump, lines of evidence have number 0.
    pub(crate) account: Account,
    /// The field that held the wild pointer, `struct.field`, where no list did; it lies in an object of the account's cache.
    pub(crate) field: Option<String>,
    /// The eight bytes in memory order, obfuscation undone.
    pub(crate) bytes: Option<[u8; 8]>,
    /// The kernel's own reports, first one first.
    pub(crate) reports: Vec<KernelReport>,
    /// What `panic()` said.
    pub(crate) panic: Option<String>,
    /// Why there is no exception.
    pub(crate) calm: Option<String>,
    /// The object that carried the bytes.
    pub(crate) carrier: Option<u64>,
    /// Whether they still lie there.
    pub(crate) still_there: Option<bool>,
    /// How the entry code deals with the error code, and who pushes the registers.
    pub(crate) entry: Vec<Proof>,
    /// What else is missing.
    pub(crate) notes: Vec<String>,
}

/// A report of the kernel's in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelReport {
    /// Title in syzkaller's style.
    pub(crate) title: String,
    /// Other titles.
    pub(crate) alternatives: Vec<String>,
    /// Why it is not to be trusted.
    pub(crate) corrupted: Option<String>,
    /// Line of the log, 1 the first; 0 where the log has no lines.
    pub(crate) line: usize,
}

impl Facts {
    /// The value of a slot of the saved registers, with what it rests on.
    pub(crate) fn register(&self, name: &str) -> Option<(u64, Vec<Proof>)> {
        let registers = self.account.registers.as_ref().ok()?;
        let index = slot(name)?;
        let value = *registers.value.slots.get(index)?.as_ref()?;
        let basis = slot_basis(&registers.value, index);
        Some((value, basis.map(proof).into_iter().collect()))
    }

    /// The registers that hold a value, `orig_rax` and what follows left out.
    pub(crate) fn holders(&self, value: u64) -> Vec<&'static str> {
        let Ok(registers) = &self.account.registers else {
            return Vec::new();
        };
        PT_REGS_NAMES
            .iter()
            .zip(&registers.value.slots)
            .take(15)
            .filter(|(_, slot)| **slot == Some(value))
            .map(|(name, _)| *name)
            .collect()
    }

    /// Adds what the log of a dump called the crash.
    pub(crate) fn reported(&mut self, signature: &Signature) {
        let Some(title) = signature.fault.report.value() else {
            return;
        };
        self.reports.push(KernelReport {
            title: title.clone(),
            alternatives: signature.alternative_titles.clone(),
            corrupted: None,
            line: 0,
        });
    }

    /// The wild value: the list's, else the base register's.
    pub(crate) fn value(&self) -> Option<u64> {
        let list = self.account.freelist.as_ref().ok();
        list.map(|list| list.value.value)
            .or_else(|| u64::from_le_bytes(self.bytes?).into())
    }

    /// Name of the slab cache.
    pub(crate) fn cache(&self) -> Option<&str> {
        self.account.cache.as_ref().ok()?.value.name.as_deref()
    }
}

/// What a slot rests on: its word of the stack, or the line that prints its register.
pub(crate) fn slot_basis(registers: &Registers, index: usize) -> Option<&Basis> {
    let name = PT_REGS_NAMES.get(index)?;
    let offset = u64::try_from(index).ok()?.checked_mul(8)?;
    let at = registers.at.and_then(|at| at.checked_add(offset));
    registers.basis.iter().find(|basis| match basis {
        Basis::StackWord { at: word, .. } => Some(*word) == at,
        Basis::Line { text, .. } => text
            .split(':')
            .next()
            .is_some_and(|shown| shown.eq_ignore_ascii_case(name)),
        _ => false,
    })
}

/// Index of a slot of `pt_regs`.
pub(crate) fn slot(name: &str) -> Option<usize> {
    let mut names = PT_REGS_NAMES.iter();
    names.position(|known| *known == name)
}

/// What a fact rests on, as evidence.
pub(crate) fn proofs(basis: &[Basis]) -> Vec<Proof> {
    basis.iter().map(proof).collect()
}

/// One piece.
pub(crate) fn proof(basis: &Basis) -> Proof {
    match basis {
        Basis::Line { line: 0, text } => Proof::Memory { what: text.clone() },
        Basis::Line { line, text } => Proof::Line {
            line: *line,
            text: text.clone(),
        },
        Basis::StackWord { at, value, line: 0 } => Proof::StackMemory {
            at: Hex(*at),
            value: Hex(*value),
        },
        Basis::StackWord { at, value, line } => Proof::StackWord {
            at: Hex(*at),
            value: Hex(*value),
            line: *line,
        },
        Basis::Instruction {
            place,
            text,
            line: 0,
        } => Proof::InstructionMemory {
            place: place.clone(),
            text: text.clone(),
        },
        Basis::Instruction { place, text, line } => Proof::Instruction {
            place: place.clone(),
            text: text.clone(),
            line: *line,
        },
        Basis::Rule(rule) => Proof::Stated { rule: rule.clone() },
        Basis::Follows(from) => Proof::Follows { from: from.clone() },
    }
}

/// The line of a piece of evidence, where it has one.
pub(crate) fn line(basis: &Basis) -> Option<usize> {
    let (Basis::Line { line, .. }
    | Basis::StackWord { line, .. }
    | Basis::Instruction { line, .. }) = basis
    else {
        return None;
    };
    Some(*line).filter(|line| *line > 0)
}
