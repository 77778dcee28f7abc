//! ORC unwind tables (`arch/x86/include/asm/orc_types.h`, `arch/x86/kernel/unwind_orc.c`).
//!
//! Finds the rule for an address and normalises the layouts there have been. Applying a rule to
//! registers and stack is the unwinder's work, not done here.

mod layout;
mod table;
#[cfg(test)]
mod tests;

pub use layout::OrcLayout;
pub use table::OrcTable;

/// What the CFA (the stack pointer before the call) is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CfaBase {
    /// Not known.
    Undefined,
    /// The previous stack pointer itself; not used for the CFA by any kernel.
    PrevSp,
    /// rdx + offset.
    Dx,
    /// rdi + offset.
    Di,
    /// rbp + offset.
    Bp,
    /// rsp + offset.
    Sp,
    /// r10 + offset: functions that realign their stack.
    R10,
    /// r13 + offset.
    R13,
    /// The 8 bytes at rbp + offset.
    BpIndirect,
    /// The 8 bytes at rsp, plus offset: code that swapped stacks. Since v5.12 (commit
    /// aafeb14e9da2, "objtool: Support stack-swizzle").
    SpIndirect,
    /// The 8 bytes at rsp + offset: the old pt_regs pointer on top of an interrupt stack, up to
    /// v5.8. Has the same number in the table as [`CfaBase::SpIndirect`], but goes with
    /// [`OrcKind::Regs`], which the new use never does.
    SpOffsetIndirect,
}

/// Where the caller's rbp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BpRule {
    /// Still in rbp.
    Unchanged,
    /// Saved at CFA + offset.
    AtCfa(i16),
    /// Saved at rbp + offset.
    AtBp(i16),
}

/// What lies at the CFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrcKind {
    /// A call: the return address at CFA - 8, and the CFA is the caller's rsp.
    Call,
    /// A whole `pt_regs` at the CFA.
    Regs,
    /// Only the hardware's frame, rip at the CFA: the last five slots of `pt_regs`. Called
    /// `REGS_IRET` up to 5.10. Other registers keep their values, if they are known.
    RegsPartial,
    /// The last frame of a stack.
    End,
    /// No unwinding from here: data, gaps between sections, or an impossible entry.
    Undefined,
}

/// How to get from a frame to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrcRule {
    /// What the CFA is counted from.
    pub cfa: CfaBase,
    /// Bytes to add.
    pub sp_offset: i16,
    /// The caller's rbp.
    pub bp: BpRule,
    /// What lies at the CFA.
    pub kind: OrcKind,
    /// The frame was interrupted here, so the caller's address is no return address and has to be
    /// looked up as it is. Before v6.3 not in the table but implied by the regs kinds.
    pub signal: bool,
}

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrcError {
    /// The two sections do not belong together.
    #[error(
        "ORC sections do not match: {ip} bytes of addresses (4 each), {entries} bytes of entries (6 each)"
    )]
    Lengths {
        /// Bytes of `.orc_unwind_ip`.
        ip: usize,
        /// Bytes of `.orc_unwind`.
        entries: usize,
    },
    /// More rows than 32 bits count.
    #[error("ORC table of {rows} rows is too large")]
    TooLarge {
        /// Number of rows.
        rows: usize,
    },
    /// The entries contradict every layout known.
    #[error(
        "ORC entries fit no known layout: {impossible} of {rows} are impossible in the best one ({best:?})"
    )]
    UnknownLayout {
        /// The layout with the fewest contradictions.
        best: OrcLayout,
        /// Entries that contradict it.
        impossible: usize,
        /// Entries looked at.
        rows: usize,
    },
}
