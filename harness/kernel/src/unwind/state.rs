//! What a rule is applied to: program counter, stack pointer, and the registers whose values are known in a frame.
use super::CodeAddr;
use crate::regs::PtRegs;
use recrash_vmcore::VirtAddr;

/// Slots of `pt_regs` that hold general registers, r15 to rdi.
const GENERAL: usize = 15;
/// Slot of rbp.
pub(super) const RBP: usize = 4;
/// Slots that rules can ask for, with their names.
pub(super) const R13: (usize, &str) = (2, "r13");
pub(super) const R10: (usize, &str) = (7, "r10");
pub(super) const RDX: (usize, &str) = (12, "rdx");
pub(super) const RDI: (usize, &str) = (14, "rdi");

/// General registers of a frame, in `pt_regs` order; `None` where the value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known([Option<u64>; GENERAL]);

impl Known {
    pub(super) fn all(regs: &PtRegs) -> Self {
        let mut known = Self::default();
        for (slot, value) in known.0.iter_mut().zip(regs.0) {
            *slot = Some(value);
        }
        known
    }

    pub(super) fn get(&self, index: usize) -> Option<u64> {
        self.0.get(index).copied().flatten()
    }

    pub(super) fn set(&mut self, index: usize, value: Option<u64>) {
        if let Some(slot) = self.0.get_mut(index) {
            *slot = value;
        }
    }

    /// Only rbp, as after a call: of the others the tables say nothing.
    pub(super) fn only_bp(value: Option<u64>) -> Self {
        let mut known = Self::default();
        known.set(RBP, value);
        known
    }
}

/// One frame's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) pc: CodeAddr,
    pub(super) sp: u64,
    pub(super) known: Known,
}

impl State {
    /// The context that registers are of.
    pub(super) fn interrupted(regs: &PtRegs) -> Self {
        Self {
            pc: CodeAddr::Interrupted(VirtAddr(regs.rip())),
            sp: regs.rsp(),
            known: Known::all(regs),
        }
    }

    pub(super) fn bp(&self) -> Option<u64> {
        self.known.get(RBP)
    }
}
