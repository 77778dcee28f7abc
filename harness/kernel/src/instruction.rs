//! The faulting instruction: decoded, with its effective address and what that address means to the CPU.
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::PtRegs;
use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpAccess, Register,
};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Longest x86 instruction in bytes (Intel SDM volume 2, section 2.3.11).
const MAX_INSTRUCTION: usize = 15;

/// A decoded instruction that accessed memory, or could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulting {
    /// Where it lies.
    pub at: VirtAddr,
    /// Intel syntax, for example `mov rbx, [rbp+rax]`.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its memory operand.
    pub operand: Option<MemoryOperand>,
}

/// A memory operand and the address it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryOperand {
    /// Name of the base register.
    pub base: Option<String>,
    /// Value of the base register.
    pub base_value: Option<u64>,
    /// Name of the index register.
    pub index: Option<String>,
    /// Value of the index register.
    pub index_value: Option<u64>,
    /// 1, 2, 4 or 8.
    pub scale: u32,
    /// Displacement in bytes.
    pub displacement: i64,
    /// Base + index × scale + displacement (without a segment base).
    pub effective: VirtAddr,
    /// Whether the CPU accepts the effective address under the paging mode in use.
    pub canonical: bool,
    /// Whether the default segment is SS: base rbp or rsp (Intel SDM volume 1, table 3-5), for which hardware
    /// raises #SS and not #GP when the address is not canonical.
    pub stack_segment: bool,
    /// Whether the operand is written.
    pub writes: bool,
}

/// Decodes the instruction at `regs.rip()`.
///
/// # Errors
/// [`Missing`] when the text is not in the dump or does not decode.
pub fn faulting(kernel: &Kernel<'_>, regs: &PtRegs) -> Result<Faulting, Missing> {
    let at = VirtAddr(regs.rip());
    let bytes = text(kernel, at)?;
    decode(&bytes, at, regs, &|address| {
        address.is_canonical(kernel.memory().levels())
    })
    .ok_or_else(|| Missing::Implausible(format!("the bytes at {at} are no instruction")))
}

/// Up to 15 bytes of text; fewer where the dump ends.
fn text(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Vec<u8>, Missing> {
    let whole = kernel.memory().bytes(at, MAX_INSTRUCTION);
    let to_page_end = usize::try_from(0x1000 - (at.0 & 0xfff))
        .unwrap_or(MAX_INSTRUCTION)
        .min(MAX_INSTRUCTION);
    whole
        .or_else(|_| kernel.memory().bytes(at, to_page_end))
        .map_err(crate::kernel::missing("faulting instruction"))
}

fn decode(
    bytes: &[u8],
    at: VirtAddr,
    regs: &PtRegs,
    canonical: &dyn Fn(VirtAddr) -> bool,
) -> Option<Faulting> {
    let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    Some(Faulting {
        at,
        text: spelled(&instruction),
        bytes: bytes.get(..instruction.len()).unwrap_or_default().to_vec(),
        operand: memory_operand(&instruction, regs, canonical),
    })
}

/// An instruction in Intel syntax: `mov rbx, [rbp+rax]`.
#[must_use]
pub fn spelled(instruction: &Instruction) -> String {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_space_after_operand_separator(true);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_memory_size_options(iced_x86::MemorySizeOptions::Minimal);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

fn memory_operand(
    instruction: &Instruction,
    regs: &PtRegs,
    canonical: &dyn Fn(VirtAddr) -> bool,
) -> Option<MemoryOperand> {
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let used = factory.info(instruction).used_memory().first().copied()?;
    let known = |register: Register| (register != Register::None).then_some(register);
    let name = |register: Register| format!("{register:?}").to_lowercase();
    // iced gives rip-relative operands resolved into the displacement; rip itself is then not added.
    let base = known(used.base()).filter(|base| *base != Register::RIP);
    let index = known(used.index());
    let base_value = base.and_then(|base| regs.get(base));
    let index_value = index.and_then(|index| regs.get(index));
    let effective = VirtAddr(
        base_value
            .unwrap_or(0)
            .wrapping_add(
                index_value
                    .unwrap_or(0)
                    .wrapping_mul(u64::from(used.scale())),
            )
            .wrapping_add(used.displacement()),
    );
    Some(MemoryOperand {
        base: base.map(name),
        base_value,
        index: index.map(name),
        index_value,
        scale: used.scale(),
        displacement: used.displacement().cast_signed(),
        effective,
        canonical: canonical(effective),
        stack_segment: used.segment() == Register::SS,
        writes: matches!(
            used.access(),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], set: &[(usize, u64)]) -> Faulting {
        let mut slots = [0; 21];
        for (slot, value) in set {
            slots[*slot] = *value;
        }
        decode(
            bytes,
            VirtAddr(0xffff_ffff_8428_7f8b),
            &PtRegs(slots),
            &|at| {
                let top = at.0 >> 47;
                top == 0 || top == 0x1_ffff
            },
        )
        .unwrap()
    }

    #[test]
    fn the_real_dumps_load_is_non_canonical_in_the_stack_segment() {
        // mov 0x0(%rbp,%rax,1),%rbx with rbp = the head of a string descriptor
        let found = check(
            &[0x48, 0x8b, 0x5c, 0x05, 0x00],
            &[(4, 0x0072_0069_0056_0338)],
        );
        assert_eq!(found.text, "mov rbx, [rbp+rax]");
        let operand = found.operand.unwrap();
        assert_eq!(operand.effective, VirtAddr(0x0072_0069_0056_0338));
        assert!(!operand.canonical && operand.stack_segment && !operand.writes);
        assert_eq!(
            (operand.base.as_deref(), operand.index.as_deref()),
            (Some("rbp"), Some("rax"))
        );
    }

    #[test]
    fn another_base_register_is_in_the_data_segment() {
        // mov (%rdi,%rax,1),%rbx
        let operand = check(&[0x48, 0x8b, 0x1c, 0x07], &[(14, 0x1000), (10, 0x80)])
            .operand
            .unwrap();
        assert_eq!(operand.effective, VirtAddr(0x1080));
        assert!(operand.canonical && !operand.stack_segment);
    }

    #[test]
    fn a_store_is_told_from_a_load() {
        // mov %rax,(%rdi)
        assert!(check(&[0x48, 0x89, 0x07], &[]).operand.unwrap().writes);
    }
}
