//! Which vector hardware raises for an instruction with these registers, and what it means that another came.
//! From the instruction, its addresses and the page tables; never from the vector that came.
use super::operand::{MemoryOperand, World};
use crate::regs::PtRegs;
use crate::trap::TRAPS;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use recrash_vmcore::{PagingLevels, ReadError, VirtAddr};

/// What hardware raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The vector; `None` where the instruction has nothing to fault for, or that can't be known.
    pub vector: Option<u8>,
    /// The page fault's error code, for vector 14.
    pub code: Option<PageFaultCode>,
    /// Why.
    pub why: String,
    /// For the target of a branch.
    pub branch: bool,
}

/// Bits of a page fault's error code (Intel SDM volume 3, 4.7) that follow from the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFaultCode {
    /// Bit 0: the page was there, and the access not allowed.
    pub present: bool,
    /// Bit 1: a write.
    pub write: bool,
    /// Bit 4: an instruction fetch.
    pub fetch: bool,
}

impl PageFaultCode {
    /// As the CPU pushes it, for an access in kernel mode.
    #[must_use]
    pub fn bits(self) -> u64 {
        u64::from(self.present) | u64::from(self.write) << 1 | u64::from(self.fetch) << 4
    }
}

/// What came, as the dump tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// The vector.
    pub vector: u8,
    /// Its error code, where the handler recorded it.
    pub error_code: Option<u64>,
    /// The address of a page fault, where the handler recorded it.
    pub cr2: Option<u64>,
}

/// What came, held against what hardware raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same.
    Same,
    /// Another one, for a reason that is known.
    Explained(String),
    /// Another one, or the same with another error code or address.
    Unexplained(String),
    /// Nothing was expected, so nothing can be said.
    Open,
}

/// What hardware raises for an instruction, and the number of the operand that it raises it for.
pub(super) fn expect(
    instruction: &Instruction,
    regs: &PtRegs,
    operands: &[MemoryOperand],
    world: &World<'_>,
) -> (Expected, Option<usize>) {
    let simple = |vector, why: &str| (raised(vector, why.into()), None);
    match instruction.mnemonic() {
        Mnemonic::Ud2 | Mnemonic::Ud1 | Mnemonic::Ud0 => {
            return simple(6, "an instruction made to be invalid (BUG or WARN)");
        }
        Mnemonic::Int3 => return simple(3, "a breakpoint"),
        _ => {}
    }
    for (number, operand) in operands.iter().enumerate() {
        if let Some(expected) = for_address(instruction, operand) {
            return (expected, Some(number));
        }
    }
    for (number, operand) in operands.iter().enumerate() {
        if let Some(expected) = for_mapping(operand, world) {
            return (expected, Some(number));
        }
    }
    if let Some(expected) = for_target(instruction, regs, operands, world) {
        return (expected, None);
    }
    if let Some(expected) = for_division(instruction, regs, operands, world) {
        return (expected, None);
    }
    let why = if PRIVILEGED.contains(&instruction.mnemonic()) {
        return simple(
            13,
            "a privileged instruction that was given what it refuses",
        );
    } else if operands.is_empty() {
        "uses no memory and can't fail by its registers"
    } else {
        "its memory is mapped, as far as the dump's page tables say"
    };
    let nothing = Expected {
        vector: None,
        code: None,
        why: why.into(),
        branch: false,
    };
    (nothing, None)
}

/// Instructions that raise #GP for their operands' values rather than for an address.
const PRIVILEGED: &[Mnemonic] = &[
    Mnemonic::Wrmsr,
    Mnemonic::Rdmsr,
    Mnemonic::Xsetbv,
    Mnemonic::Iretq,
    Mnemonic::Xrstor,
    Mnemonic::Xrstors,
    Mnemonic::Xrstor64,
    Mnemonic::Xrstors64,
    Mnemonic::Fxrstor64,
];

fn raised(vector: u8, why: String) -> Expected {
    Expected {
        vector: Some(vector),
        code: None,
        why,
        branch: false,
    }
}

/// Not canonical, or not aligned where it must be: known without the page tables.
fn for_address(instruction: &Instruction, operand: &MemoryOperand) -> Option<Expected> {
    let at = operand.address();
    if !operand.canonical {
        let (vector, through) = if operand.stack_segment {
            (12, "the stack segment")
        } else {
            (13, "a data segment")
        };
        return Some(raised(
            vector,
            format!("{at} is not canonical, through {through}"),
        ));
    }
    // Intel SDM volume 2: CMPXCHG16B, and the aligned moves of SSE.
    let aligned = match instruction.mnemonic() {
        Mnemonic::Cmpxchg16b
        | Mnemonic::Movaps
        | Mnemonic::Movapd
        | Mnemonic::Movdqa
        | Mnemonic::Movntdq
        | Mnemonic::Movntps
        | Mnemonic::Movntpd
        | Mnemonic::Fxsave64
        | Mnemonic::Fxrstor64 => Some(16),
        Mnemonic::Vmovaps | Mnemonic::Vmovdqa | Mnemonic::Vmovapd => Some(u64::from(operand.size)),
        _ => None,
    };
    aligned
        .filter(|bytes| *bytes > 0 && !at.0.is_multiple_of(*bytes))
        .map(|bytes| raised(13, format!("{at} is not aligned to {bytes} bytes")))
}

fn for_mapping(operand: &MemoryOperand, world: &World<'_>) -> Option<Expected> {
    let first = operand.linear?;
    let last = first.wrapping_add(u64::from(operand.size.max(1)) - 1);
    let absent = [first, last]
        .into_iter()
        .find(|at| matches!((world.translate)(*at), Err(ReadError::NotPresent { .. })))?;
    Some(Expected {
        vector: Some(14),
        code: Some(PageFaultCode {
            present: false,
            write: operand.writes,
            fetch: false,
        }),
        why: format!("{absent} is not mapped"),
        branch: false,
    })
}

/// A branch through a register or memory to what is no address: the CPU checks the target before it goes there
/// (Intel SDM volume 2, CALL, JMP, RET: #GP(0) where the target is not canonical).
fn for_target(
    instruction: &Instruction,
    regs: &PtRegs,
    operands: &[MemoryOperand],
    world: &World<'_>,
) -> Option<Expected> {
    let indirect = matches!(
        instruction.flow_control(),
        FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Return
    );
    let target = if !indirect {
        return None;
    } else if instruction.op0_kind() == OpKind::Register && instruction.op_count() > 0 {
        regs.get(instruction.op0_register())?
    } else {
        let operand = operands.iter().find(|operand| operand.reads)?;
        (world.word)(operand.linear?, 8)?
    };
    let target = VirtAddr(target);
    if !target.is_canonical(world.levels) {
        return Some(Expected {
            branch: true,
            ..raised(13, format!("the branch's target {target} is not canonical"))
        });
    }
    None
}

/// Divisor 0, or a quotient too large (Intel SDM volume 2, DIV, IDIV).
fn for_division(
    instruction: &Instruction,
    regs: &PtRegs,
    operands: &[MemoryOperand],
    world: &World<'_>,
) -> Option<Expected> {
    let signed = match instruction.mnemonic() {
        Mnemonic::Div => false,
        Mnemonic::Idiv => true,
        _ => return None,
    };
    let (divisor, bytes) = match instruction.op0_kind() {
        OpKind::Register => {
            let register = instruction.op0_register();
            (regs.get(register)?, register.size())
        }
        _ => {
            let operand = operands.first()?;
            let value = (world.word)(operand.linear?, operand.size)?;
            (value, usize::try_from(operand.size).ok()?)
        }
    };
    let bits = u32::try_from(bytes).ok()?.checked_mul(8)?;
    let mask = u64::MAX.checked_shr(64u32.checked_sub(bits)?)?;
    let divisor = divisor & mask;
    if divisor == 0 {
        return Some(raised(0, "division by 0".into()));
    }
    let (low, high) = (
        regs.get(Register::RAX)? & mask,
        regs.get(Register::RDX)? & mask,
    );
    // An unsigned quotient fits where the dividend's upper half is smaller than the divisor.
    let overflows = if signed {
        signed_overflow(high, low, divisor, bits)
    } else {
        bits >= 16 && high >= divisor
    };
    overflows.then(|| raised(0, "the quotient does not fit".into()))
}

fn signed_overflow(high: u64, low: u64, divisor: u64, bits: u32) -> bool {
    if bits < 32 {
        return false;
    }
    let dividend = (u128::from(high) << bits | u128::from(low)).cast_signed();
    let (wide, narrow) = (128 - 2 * bits, 64 - bits);
    let dividend = (dividend << wide) >> wide;
    let divisor = i128::from((divisor << narrow).cast_signed() >> narrow);
    let Some(quotient) = dividend.checked_div(divisor) else {
        return true;
    };
    let limit = 1i128 << (bits - 1);
    !(-limit..limit).contains(&quotient)
}

/// Holds what came against what hardware raises.
#[must_use]
pub fn judge(
    expected: &Expected,
    faulted: Option<&MemoryOperand>,
    came: Came,
    levels: PagingLevels,
) -> Verdict {
    let Some(vector) = expected.vector else {
        return nothing_expected(came);
    };
    match (vector, came.vector) {
        (12, 13) => Verdict::Explained(
            "hardware raises #SS through the stack segment; QEMU's TCG raises #GP instead".into(),
        ),
        (12 | 13, 14) if levels == PagingLevels::Four => Verdict::Unexplained(
            "#PF came for an address that is not canonical with four levels of page tables".into(),
        ),
        (a, b) if a != b => Verdict::Unexplained(format!("{} came", mnemonic(b))),
        (14, _) => page_fault(expected, faulted, came),
        _ => Verdict::Same,
    }
}

fn nothing_expected(came: Came) -> Verdict {
    match came.vector {
        14 => Verdict::Explained(
            "#PF came for a mapped page: not allowed (write, user page, no execution), or mapped since".into(),
        ),
        2 | 18 => Verdict::Explained("it comes from outside the instruction".into()),
        _ => Verdict::Open,
    }
}

fn page_fault(expected: &Expected, faulted: Option<&MemoryOperand>, came: Came) -> Verdict {
    let range = faulted.and_then(|operand| {
        let at = operand.linear?;
        Some(at.0..=at.0.saturating_add(u64::from(operand.size.max(1)) - 1))
    });
    if let (Some(range), Some(cr2)) = (range, came.cr2)
        && !range.contains(&cr2)
    {
        return Verdict::Unexplained(format!("the page fault's address was {cr2:#x}"));
    }
    // Bits 0, 1 and 4 follow from the access; the others from the pages.
    const FROM_ACCESS: u64 = 0b1_0011;
    match (expected.code, came.error_code) {
        (Some(code), Some(error)) if code.bits() != error & FROM_ACCESS => {
            Verdict::Unexplained(format!("its error code was {error:#x}"))
        }
        _ => Verdict::Same,
    }
}

fn mnemonic(vector: u8) -> String {
    TRAPS.iter().find(|trap| trap.vector == vector).map_or_else(
        || format!("vector {vector}"),
        |trap| trap.mnemonic.to_string(),
    )
}
