//! The registers of an interrupted context (`struct pt_regs`, arch/x86/include/asm/ptrace.h) as plain data.
use iced_x86::Register;

/// Size of `struct pt_regs` in bytes.
pub const PT_REGS_SIZE: u64 = 21 * 8;

/// Names of the 21 slots in the order in which they lie in memory, lowest address first.
pub const PT_REGS_NAMES: [&str; 21] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs", "rflags", "rsp", "ss",
];

/// All 21 slots, in [`PT_REGS_NAMES`]' order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtRegs(pub [u64; 21]);

impl PtRegs {
    /// The registers in 168 little-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; PT_REGS_SIZE as usize]) -> Self {
        let mut slots = [0; 21];
        for (slot, word) in slots.iter_mut().zip(bytes.chunks_exact(8)) {
            *slot = word.try_into().map_or(0, u64::from_le_bytes);
        }
        Self(slots)
    }

    fn slot(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Instruction pointer.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.slot(16)
    }
    /// Stack pointer at the time of the interruption.
    #[must_use]
    pub fn rsp(&self) -> u64 {
        self.slot(19)
    }
    /// Frame pointer or general register rbp.
    #[must_use]
    pub fn rbp(&self) -> u64 {
        self.slot(4)
    }
    /// `orig_ax`: the system call's number, or -1 where an exception's entry code put it.
    #[must_use]
    pub fn orig_rax(&self) -> u64 {
        self.slot(15)
    }
    /// Whether the context was user mode (the low two bits of cs).
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.slot(17) & 3 == 3
    }

    /// Name and value of each slot, in memory order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        PT_REGS_NAMES.iter().copied().zip(self.0.iter().copied())
    }

    /// Value of a general register or rip by iced's name for it, whatever its width (the full register is given).
    #[must_use]
    pub fn get(&self, register: Register) -> Option<u64> {
        let index = match register.full_register() {
            Register::R15 => 0,
            Register::R14 => 1,
            Register::R13 => 2,
            Register::R12 => 3,
            Register::RBP => 4,
            Register::RBX => 5,
            Register::R11 => 6,
            Register::R10 => 7,
            Register::R9 => 8,
            Register::R8 => 9,
            Register::RAX => 10,
            Register::RCX => 11,
            Register::RDX => 12,
            Register::RSI => 13,
            Register::RDI => 14,
            Register::RIP => 16,
            Register::RSP => 19,
            _ => return None,
        };
        Some(self.slot(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_named_in_the_order_in_which_the_entry_code_pushes_them() {
        let mut bytes = [0u8; PT_REGS_SIZE as usize];
        for (index, byte) in bytes.iter_mut().step_by(8).enumerate() {
            *byte = index as u8;
        }
        let regs = PtRegs::from_bytes(&bytes);
        assert_eq!(
            regs.iter().find(|(name, _)| *name == "orig_rax"),
            Some(("orig_rax", 15))
        );
        assert_eq!((regs.rip(), regs.rsp(), regs.rbp()), (16, 19, 4));
        assert_eq!(regs.get(Register::EDI), Some(14));
        assert_eq!(regs.get(Register::XMM0), None);
    }
}
