//! Where rsp and rbp stand within the function's frame at each instruction, counted from the stack pointer at the
//! function's entry (which points at the return address). Known, or not: never guessed.
use super::code::Code;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Where a realigned stack pointer is said to stand: how far that is from the entry is known at run time only, so
/// the frame below is counted from a place of its own, far from all others.
const REALIGNED: i64 = -(1 << 40);

/// Whether two distances are counted from the same place.
pub(super) fn same_frame(a: i64, b: i64) -> bool {
    a.abs_diff(b) < REALIGNED.unsigned_abs() / 2
}

/// Distances from the stack pointer at entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// rsp.
    pub(super) sp: Option<i64>,
    /// rbp, where it is a frame pointer.
    pub(super) bp: Option<i64>,
}

/// A frame's levels before each instruction; `None` where no path was followed.
pub(super) struct Stack {
    before: Vec<Option<Level>>,
}

impl Stack {
    /// Follows every path from the entry.
    pub(super) fn follow(code: &Code) -> Self {
        let mut before = vec![None; code.instructions.len()];
        let entry = Level {
            sp: Some(0),
            bp: None,
        };
        let mut work = vec![(code.entry, entry)];
        while let Some((number, level)) = work.pop() {
            let (Some(slot), Some(instruction)) = (before.get_mut(number), code.get(number)) else {
                continue;
            };
            let merged = slot.map_or(level, |known: Level| known.meet(level));
            if *slot == Some(merged) {
                continue;
            }
            *slot = Some(merged);
            let after = merged.after(instruction);
            work.extend(code.after(number).iter().map(|to| (*to, after)));
        }
        Self { before }
    }

    /// The levels before an instruction.
    pub(super) fn at(&self, number: usize) -> Option<Level> {
        self.before.get(number).copied().flatten()
    }

    /// Where in the frame a memory operand of an instruction lies.
    pub(super) fn slot(&self, number: usize, instruction: &Instruction) -> Option<i64> {
        if instruction.memory_index() != Register::None {
            return None;
        }
        let level = self.at(number)?;
        let base = match instruction.memory_base() {
            Register::RSP => level.sp?,
            Register::RBP => level.bp?,
            _ => return None,
        };
        base.checked_add(instruction.memory_displacement64().cast_signed())
    }
}

impl Level {
    fn meet(self, other: Self) -> Self {
        let same = |a: Option<i64>, b| a.filter(|_| a == b);
        Self {
            sp: same(self.sp, other.sp),
            bp: same(self.bp, other.bp),
        }
    }

    fn after(self, instruction: &Instruction) -> Self {
        let (sp, bp) = (self.sp, self.bp);
        let moved = |from: Option<i64>, by: i64| from.and_then(|at| at.checked_add(by));
        let op0 = instruction.op0_register();
        match instruction.mnemonic() {
            Mnemonic::Push => Self {
                sp: moved(sp, -8),
                bp,
            },
            Mnemonic::Pushfq => Self {
                sp: moved(sp, -8),
                bp,
            },
            Mnemonic::Popfq => Self {
                sp: moved(sp, 8),
                bp,
            },
            Mnemonic::Pop => Self {
                sp: if op0 == Register::RSP {
                    None
                } else {
                    moved(sp, 8)
                },
                bp: bp.filter(|_| op0 != Register::RBP),
            },
            Mnemonic::Leave => Self {
                sp: moved(bp, 8),
                bp: None,
            },
            // What a call pushes its callee takes off again.
            Mnemonic::Call => self,
            _ => Self {
                sp: if writes(instruction, Register::RSP) {
                    computed(self, instruction)
                } else {
                    sp
                },
                bp: if writes(instruction, Register::RBP) {
                    computed(self, instruction)
                } else {
                    bp
                },
            },
        }
    }

    fn of(self, register: Register) -> Option<i64> {
        match register {
            Register::RSP => self.sp,
            Register::RBP => self.bp,
            _ => None,
        }
    }
}

/// Whether the first operand is this register, and written; compares and tests only read it.
fn writes(instruction: &Instruction, register: Register) -> bool {
    instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().full_register() == register
        && !matches!(
            instruction.mnemonic(),
            Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Bt
        )
}

/// The level that an instruction gives its first operand.
fn computed(level: Level, instruction: &Instruction) -> Option<i64> {
    let immediate = || match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
            Some(instruction.immediate(1).cast_signed())
        }
        _ => None,
    };
    match instruction.mnemonic() {
        Mnemonic::Add => level
            .of(instruction.op0_register())?
            .checked_add(immediate()?),
        Mnemonic::Sub => level
            .of(instruction.op0_register())?
            .checked_sub(immediate()?),
        Mnemonic::And if instruction.op0_register() == Register::RSP => {
            let aligns = immediate()? < 0 && level.sp.is_some_and(|at| same_frame(at, 0));
            aligns.then_some(REALIGNED)
        }
        Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
            level.of(instruction.op1_register())
        }
        Mnemonic::Lea if instruction.memory_index() == Register::None => level
            .of(instruction.memory_base())?
            .checked_add(instruction.memory_displacement64().cast_signed()),
        _ => None,
    }
}
