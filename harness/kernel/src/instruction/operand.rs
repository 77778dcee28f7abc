//! The memory that an instruction uses, with the addresses that the registers made of it.
use crate::regs::PtRegs;
use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, Register, UsedMemory};
use recrash_vmcore::{PagingLevels, ReadError, VirtAddr};

/// What an instruction's addresses mean outside of it.
pub(super) struct World<'w> {
    pub(super) levels: PagingLevels,
    /// Base of gs in kernel mode: the CPU's per-CPU area.
    pub(super) gs_base: Option<u64>,
    /// Whether an address is mapped.
    pub(super) translate: &'w dyn Fn(VirtAddr) -> Result<(), ReadError>,
    /// An integer of 1 to 8 bytes as memory holds it now.
    pub(super) word: &'w dyn Fn(VirtAddr, u32) -> Option<u64>,
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
    /// The effective address plus the base of fs or gs, which alone have one in 64-bit mode; `None` where that base
    /// is not known.
    pub linear: Option<VirtAddr>,
    /// Name of the segment: `ss`, `ds`, `gs`.
    pub segment: &'static str,
    /// Bytes read or written; 0 where the instruction does not say.
    pub size: u32,
    /// Whether the CPU accepts every byte's address under the paging mode in use.
    pub canonical: bool,
    /// Whether the segment is SS: base rbp or rsp (Intel SDM volume 1, table 3-5), for which hardware raises #SS
    /// and not #GP when the address is not canonical.
    pub stack_segment: bool,
    /// Whether the operand is written.
    pub writes: bool,
    /// Whether the operand is read.
    pub reads: bool,
    /// Not written in the instruction: the stack of a push, pop, call or return, a string instruction's operands.
    pub implicit: bool,
}

impl MemoryOperand {
    /// The address that the page tables were asked for, as far as it is known.
    #[must_use]
    pub fn address(&self) -> VirtAddr {
        self.linear.unwrap_or(self.effective)
    }
}

/// All memory that an instruction reads or writes, in the order in which the CPU's manual lists it.
pub(super) fn all(
    instruction: &Instruction,
    regs: &PtRegs,
    world: &World<'_>,
) -> Vec<MemoryOperand> {
    let mut factory = InstructionInfoFactory::new();
    factory
        .info(instruction)
        .used_memory()
        .iter()
        .filter(|used| used.access() != OpAccess::NoMemAccess)
        .map(|used| one(instruction, used, regs, world))
        .collect()
}

fn one(
    instruction: &Instruction,
    used: &UsedMemory,
    regs: &PtRegs,
    world: &World<'_>,
) -> MemoryOperand {
    let known = |register: Register| (register != Register::None).then_some(register);
    let name = |register: Register| format!("{register:?}").to_lowercase();
    // iced gives rip-relative operands resolved into the displacement; rip itself is then not added.
    let base = known(used.base()).filter(|base| *base != Register::RIP);
    let index = known(used.index());
    let base_value = base.and_then(|base| regs.get(base));
    let index_value = index.and_then(|index| regs.get(index));
    let scaled = index_value
        .unwrap_or(0)
        .wrapping_mul(u64::from(used.scale()));
    let effective = VirtAddr(
        base_value
            .unwrap_or(0)
            .wrapping_add(scaled)
            .wrapping_add(used.displacement()),
    );
    let linear = match used.segment() {
        Register::GS => world.gs_base.map(|base| effective.wrapping_add(base)),
        // A user-mode register that the kernel leaves alone; its value is in thread_struct, not on the stack.
        Register::FS => None,
        _ => Some(effective),
    };
    let size = u32::try_from(used.memory_size().size()).unwrap_or(0);
    let stack_segment = used.segment() == Register::SS;
    MemoryOperand {
        base: base.map(name),
        base_value,
        index: index.map(name),
        index_value,
        scale: used.scale(),
        displacement: used.displacement().cast_signed(),
        effective,
        linear,
        segment: segment_name(used.segment()),
        size,
        canonical: canonical(linear.unwrap_or(effective), size, world.levels),
        stack_segment,
        writes: matches!(
            used.access(),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        ),
        reads: !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite),
        implicit: is_implicit(instruction, used),
    }
}

/// Whether the operand is none that the instruction writes with its own base and index.
fn is_implicit(instruction: &Instruction, used: &UsedMemory) -> bool {
    let explicit = (0..instruction.op_count())
        .any(|operand| instruction.op_kind(operand) == iced_x86::OpKind::Memory);
    !(explicit
        && used.base() == instruction.memory_base()
        && used.index() == instruction.memory_index())
}

/// Every byte of the access on the same side of the hole.
fn canonical(at: VirtAddr, size: u32, levels: PagingLevels) -> bool {
    let last = at.wrapping_add(u64::from(size.max(1)) - 1);
    at.is_canonical(levels) && last.is_canonical(levels) && (at.0 >> 63 == last.0 >> 63)
}

fn segment_name(segment: Register) -> &'static str {
    match segment {
        Register::SS => "ss",
        Register::ES => "es",
        Register::CS => "cs",
        Register::FS => "fs",
        Register::GS => "gs",
        _ => "ds",
    }
}
