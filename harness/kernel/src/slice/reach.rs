//! Which instructions a value can come from: backwards along every path, to the nearest ones that write its place.
use super::around::Around;
use super::code::{Code, callee};
use super::effect::{Loc, written};
use super::stack::Stack;
use iced_x86::{InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Where a backward walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// An instruction that writes the place.
    Written(usize),
    /// The function's entry: the caller left it there.
    Entry,
    /// An instruction that nothing known leads to.
    Orphan(usize),
}

/// What each instruction writes.
pub(super) struct Writes {
    registers: Vec<u16>,
    /// Offset in the frame and size in bytes.
    slots: Vec<Option<(i64, i64)>>,
    /// Instructions that write memory through a pointer, or call a function that may.
    anywhere: Vec<bool>,
    /// Lowest part of the frame whose address is taken: what lies above may be changed through it.
    escapes: Option<i64>,
}

impl Writes {
    pub(super) fn of(code: &Code, stack: &Stack, around: &dyn Around) -> Self {
        let mut factory = InstructionInfoFactory::new();
        let mut writes = Self {
            registers: Vec::new(),
            slots: Vec::new(),
            anywhere: Vec::new(),
            escapes: None,
        };
        for (number, instruction) in code.instructions.iter().enumerate() {
            let calls = instruction.mnemonic() == Mnemonic::Call;
            let name = calls.then(|| callee(around, instruction)).flatten();
            writes
                .registers
                .push(written(instruction, &mut factory, name.as_deref()));
            let stores = factory.info(instruction).used_memory().iter().any(|used| {
                !matches!(
                    used.access(),
                    OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
                )
            });
            let slot = match instruction.mnemonic() {
                Mnemonic::Push | Mnemonic::Pushfq => stack
                    .at(number)
                    .and_then(|level| Some((level.sp?.checked_sub(8)?, 8))),
                Mnemonic::Call => None,
                _ if stores => stack.slot(number, instruction).map(|at| {
                    let size = instruction.memory_size().size().max(1);
                    (at, i64::try_from(size).unwrap_or(i64::MAX))
                }),
                _ => None,
            };
            let taken = match instruction.mnemonic() {
                Mnemonic::Lea => stack.slot(number, instruction),
                Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
                    match instruction.op1_register() {
                        Register::RSP => stack.at(number).and_then(|level| level.sp),
                        _ => None,
                    }
                }
                _ => None,
            };
            let moves_frame = matches!(instruction.op0_register(), Register::RSP | Register::RBP)
                && instruction.op0_kind() == OpKind::Register;
            if let Some(at) = taken.filter(|_| !moves_frame) {
                writes.escapes = Some(writes.escapes.map_or(at, |lowest: i64| lowest.min(at)));
            }
            writes.anywhere.push(calls || (stores && slot.is_none()));
            writes.slots.push(slot);
        }
        writes
    }

    /// Whether an instruction writes (or may write) `width` bytes of a place.
    pub(super) fn writes(&self, number: usize, place: Loc, width: u32) -> bool {
        match place {
            Loc::Reg(register) => self
                .registers
                .get(number)
                .is_some_and(|set| set & (1u16 << (register & 15)) != 0),
            Loc::Slot(at) => {
                let end = at.saturating_add(width.into());
                let exact = self.slots.get(number).copied().flatten();
                let overlaps = exact
                    .is_some_and(|(start, size)| start < end && at < start.saturating_add(size));
                let exposed = self.escapes.is_some_and(|lowest| lowest < end);
                overlaps || (exposed && self.anywhere.get(number).copied().unwrap_or(false))
            }
        }
    }

    /// The slot that an instruction writes, with its size in bytes.
    pub(super) fn slot(&self, number: usize) -> Option<(i64, i64)> {
        self.slots.get(number).copied().flatten()
    }

    /// All slots that are written, each once.
    pub(super) fn slots(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self.slots.iter().flatten().map(|(at, _)| *at).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The ends of all paths that lead to `before` without a write to `place`, each once.
pub(super) fn reaching(
    code: &Code,
    writes: &Writes,
    place: Loc,
    width: u32,
    before: usize,
) -> Vec<Reach> {
    let mut seen = vec![false; code.instructions.len()];
    let mut found = Vec::new();
    let mut work = vec![before];
    while let Some(number) = work.pop() {
        match seen.get_mut(number) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let before = code.before(number);
        if number == code.entry {
            found.push(Reach::Entry);
        } else if before.is_empty() {
            found.push(Reach::Orphan(number));
        }
        for from in before {
            if writes.writes(*from, place, width) {
                found.push(Reach::Written(*from));
            } else {
                work.push(*from);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a place still holds at `here` what it held before `from` ran the last time.
pub(super) fn kept(
    code: &Code,
    writes: &Writes,
    place: Loc,
    width: u32,
    from: usize,
    here: usize,
) -> bool {
    if from == here {
        return true;
    }
    // Everything on a path from `from` to `here` that does not come by `from` again.
    let back = backwards(code, here, from);
    let forth = forwards(code, from);
    if !back.get(from).copied().unwrap_or(false) {
        return false;
    }
    let between = back.iter().zip(&forth).enumerate();
    !between
        .filter(|(_, (back, forth))| **back && **forth)
        .any(|(number, _)| writes.writes(number, place, width))
}

/// What lies on paths that end right before `here`; not followed past `stop`.
fn backwards(code: &Code, here: usize, stop: usize) -> Vec<bool> {
    let mut seen = vec![false; code.instructions.len()];
    let mut work = code.before(here).to_vec();
    while let Some(number) = work.pop() {
        if let Some(slot) = seen.get_mut(number)
            && !std::mem::replace(slot, true)
            && number != stop
        {
            work.extend(code.before(number));
        }
    }
    seen
}

/// What lies on paths that begin with `from`.
fn forwards(code: &Code, from: usize) -> Vec<bool> {
    let mut seen = vec![false; code.instructions.len()];
    let mut work = vec![from];
    while let Some(number) = work.pop() {
        if let Some(slot) = seen.get_mut(number)
            && !std::mem::replace(slot, true)
        {
            work.extend(code.after(number));
        }
    }
    seen
}
