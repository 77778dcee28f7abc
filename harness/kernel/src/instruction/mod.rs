//! The faulting instruction: decoded, with every address it used, what those addresses mean to the CPU, and the
//! vector that hardware raises for it. Does not say where its registers came from.
mod expect;
mod jump;
mod operand;

use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::PtRegs;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use recrash_vmcore::{VirtAddr, VirtMem};

pub use expect::{Came, Expected, PageFaultCode, Verdict, judge};
pub use jump::{BadJump, bad_jump};
pub use operand::MemoryOperand;

/// Longest x86 instruction in bytes (Intel SDM volume 2, section 2.3.11).
const MAX_INSTRUCTION: usize = 15;

/// A decoded instruction that faulted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulting {
    /// Where it lies.
    pub at: VirtAddr,
    /// Intel syntax, for example `mov rbx, [rbp+rax]`.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The memory operand that faulted, or the first where none is known to have.
    pub operand: Option<MemoryOperand>,
    /// All memory that it reads or writes, the stack of a push, call or return among it.
    pub operands: Vec<MemoryOperand>,
    /// What hardware raises for it.
    pub expected: Expected,
}

impl Faulting {
    /// Whether it is a branch whose target is no address, which faults where it is and not where it goes.
    #[must_use]
    pub fn branches_wild(&self) -> bool {
        self.expected.branch
    }
}

/// Decodes the instruction at `regs.rip()`. `cpu` is the CPU that ran it, whose per-CPU area gs addresses.
///
/// # Errors
/// [`Missing`] when the text is not in the dump or does not decode.
pub fn faulting(kernel: &Kernel<'_>, regs: &PtRegs, cpu: Option<u32>) -> Result<Faulting, Missing> {
    let at = VirtAddr(regs.rip());
    let bytes = text(kernel, at)?;
    let per_cpu = cpu.and_then(|cpu| kernel.per_cpu(cpu, 0).ok());
    let world = operand::World {
        levels: kernel.memory().levels(),
        gs_base: per_cpu.map(|at| at.0),
        translate: &|at| kernel.memory().translate(at).map(|_| ()),
        word: &|at, size| {
            let mut bytes = [0; 8];
            let slot = bytes.get_mut(..usize::try_from(size).ok()?)?;
            kernel.memory().read(at, slot).ok()?;
            Some(u64::from_le_bytes(bytes))
        },
    };
    decode(&bytes, at, regs, &world)
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
    world: &operand::World<'_>,
) -> Option<Faulting> {
    let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let operands = operand::all(&instruction, regs, world);
    let (expected, faulted) = expect::expect(&instruction, regs, &operands, world);
    let operand = faulted
        .and_then(|number| operands.get(number))
        .or_else(|| operands.first())
        .cloned();
    Some(Faulting {
        at,
        text: spelled(&instruction),
        bytes: bytes.get(..instruction.len()).unwrap_or_default().to_vec(),
        operand,
        operands,
        expected,
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

#[cfg(test)]
mod tests;
