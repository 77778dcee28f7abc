//! What one instruction leaves in a register or a stack slot, said in terms of what went in.
//! Covers what compilers make of pointers and sizes; anything else is [`Effect::Other`], never a guess.
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// A place in which a value lives within a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Loc {
    /// A general register, by the number that instructions encode it with (rax 0 … r15 15).
    Reg(u8),
    /// Eight bytes of the frame, counted from the stack pointer at entry.
    Slot(i64),
}

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
/// rax, rcx, rdx, rsi, rdi, r8 … r11: what a call may leave changed (System V ABI for x86-64, 3.2.1).
const CALLER_SAVED: u16 = 0b0000_1111_1100_0111;
/// Where the first six integer arguments are (ABI, 3.2.3).
pub(super) const ARGUMENTS: [u8; 6] = [7, 6, 2, 1, 8, 9];

/// Assembly helpers that leave every register as it was (arch/x86/entry/thunk_64.S, ftrace_64.S,
/// lib/cmpxchg16b_emu.S, retpoline.S).
const PRESERVING: &[&str] = &[
    "__fentry__",
    "ftrace_caller",
    "ftrace_regs_caller",
    "preempt_schedule_thunk",
    "preempt_schedule_notrace_thunk",
    "___preempt_schedule",
    "___preempt_schedule_notrace",
    "trace_hardirqs_on_thunk",
    "trace_hardirqs_off_thunk",
    "entry_untrain_ret",
    "zen_untrain_ret",
    "entry_ibpb",
];

/// The register's number, whatever width is named; `None` for others than general registers.
pub(super) fn general(register: Register) -> Option<u8> {
    let full = register.full_register();
    full.is_gpr64()
        .then(|| u8::try_from(full.number()).ok())
        .flatten()
}

/// Name of a general register by number.
pub(super) fn name(register: u8) -> &'static str {
    NAMES.get(usize::from(register)).copied().unwrap_or("?")
}

/// Number of a general register by its 64-bit name.
pub(super) fn by_name(register: &str) -> Option<u8> {
    NAMES
        .iter()
        .position(|name| *name == register)
        .and_then(|number| u8::try_from(number).ok())
}

/// An address as an instruction writes it. A rip-relative one is a displacement alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) base: Option<u8>,
    pub(super) index: Option<u8>,
    pub(super) scale: u32,
    pub(super) displacement: u64,
    /// Relative to the CPU's per-CPU area (segment gs).
    pub(super) per_cpu: bool,
}

/// What goes into an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Register(u8),
    Constant(u64),
    Memory(Address),
}

/// What a register or slot holds after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// One input, extended from `width` bytes to eight.
    Moved {
        from: Input,
        width: u32,
        signed: bool,
    },
    /// An address computed, not followed.
    AddressOf { address: Address, width: u32 },
    /// Two inputs and a sign between them.
    Combined {
        sign: &'static str,
        left: Input,
        right: Input,
        width: u32,
    },
    /// One input and an operation's name.
    Applied {
        operation: &'static str,
        to: Input,
        width: u32,
    },
    /// One of two inputs: a conditional move, or the accumulator of a compare-and-exchange.
    Either {
        left: Input,
        right: Input,
        width: u32,
    },
    /// What a call returned (rax).
    Returned,
    /// A call was free to change it.
    Clobbered,
    /// The word on the stack that a pop took.
    Popped,
    /// An instruction that is not looked into.
    Other,
}

/// Which general registers an instruction may change, as a bit set by number.
pub(super) fn written(
    instruction: &Instruction,
    factory: &mut iced_x86::InstructionInfoFactory,
    callee: Option<&str>,
) -> u16 {
    use iced_x86::OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    let mut set = 0;
    for used in factory.info(instruction).used_registers() {
        if matches!(used.access(), CondWrite | ReadCondWrite | ReadWrite | Write)
            && let Some(register) = general(used.register())
        {
            set |= 1u16 << register;
        }
    }
    let calls = instruction.mnemonic() == Mnemonic::Call;
    if calls && !callee.is_some_and(preserves) {
        set |= CALLER_SAVED;
    }
    set
}

/// Whether a function leaves all registers as they were.
fn preserves(name: &str) -> bool {
    PRESERVING.contains(&name)
}

/// The memory operand's address.
pub(super) fn address(instruction: &Instruction) -> Address {
    let rip = instruction.is_ip_rel_memory_operand();
    let register = |register: Register| general(register).filter(|_| !rip);
    Address {
        base: register(instruction.memory_base()),
        index: register(instruction.memory_index()),
        scale: instruction.memory_index_scale(),
        displacement: instruction.memory_displacement64(),
        per_cpu: instruction.segment_prefix() == Register::GS,
    }
}

/// An operand as input; `None` for what is neither general register, number nor memory.
fn input(instruction: &Instruction, operand: u32) -> Option<Input> {
    match instruction.op_kind(operand) {
        OpKind::Register => general(instruction.op_register(operand)).map(Input::Register),
        OpKind::Memory => Some(Input::Memory(address(instruction))),
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Some(Input::Constant(instruction.immediate(operand))),
        _ => None,
    }
}

/// Bytes of an operand.
fn width(instruction: &Instruction, operand: u32) -> u32 {
    let bytes = match instruction.op_kind(operand) {
        OpKind::Register => instruction.op_register(operand).size(),
        OpKind::Memory => instruction.memory_size().size(),
        _ => 8,
    };
    u32::try_from(bytes).unwrap_or(8)
}

/// ah, bh, ch, dh: not the low byte.
fn is_high_byte(register: Register) -> bool {
    matches!(
        register,
        Register::AH | Register::BH | Register::CH | Register::DH
    )
}

/// The signs of two-operand arithmetic.
const SIGNS: &[(Mnemonic, &str)] = &[
    (Mnemonic::Add, "+"),
    (Mnemonic::Sub, "-"),
    (Mnemonic::And, "&"),
    (Mnemonic::Or, "|"),
    (Mnemonic::Xor, "^"),
    (Mnemonic::Shl, "<<"),
    (Mnemonic::Shr, ">>"),
    (Mnemonic::Sar, ">>"),
    (Mnemonic::Rol, "rol"),
    (Mnemonic::Ror, "ror"),
    (Mnemonic::Imul, "*"),
];

/// One-operand arithmetic, and two-operand ones whose second operand alone goes in.
const OPERATIONS: &[(Mnemonic, &str, u32)] = &[
    (Mnemonic::Neg, "-", 0),
    (Mnemonic::Not, "~", 0),
    (Mnemonic::Bswap, "bswap", 0),
    (Mnemonic::Bsf, "bsf", 1),
    (Mnemonic::Bsr, "bsr", 1),
    (Mnemonic::Tzcnt, "tzcnt", 1),
    (Mnemonic::Lzcnt, "lzcnt", 1),
    (Mnemonic::Popcnt, "popcnt", 1),
];

/// What `instruction` leaves in `register`, which it changes.
pub(super) fn in_register(instruction: &Instruction, register: u8) -> Effect {
    let mnemonic = instruction.mnemonic();
    if mnemonic == Mnemonic::Call {
        return if register == 0 {
            Effect::Returned
        } else {
            Effect::Clobbered
        };
    }
    if mnemonic == Mnemonic::Cmpxchg {
        return compared(instruction, register).unwrap_or(Effect::Other);
    }
    if matches!(mnemonic, Mnemonic::Xchg | Mnemonic::Xadd) {
        return exchanged(instruction, register).unwrap_or(Effect::Other);
    }
    if mnemonic == Mnemonic::Cdqe {
        return Effect::Moved {
            from: Input::Register(0),
            width: 4,
            signed: true,
        };
    }
    let first = instruction.op0_kind() == OpKind::Register
        && general(instruction.op0_register()) == Some(register);
    let whole = width(instruction, 0) >= 4 && !is_high_byte(instruction.op0_register());
    if !first || !whole || is_high_byte(instruction.op1_register()) {
        return Effect::Other;
    }
    computed(instruction).unwrap_or(Effect::Other)
}

/// What an instruction leaves in its first operand, a register of four or eight bytes.
fn computed(instruction: &Instruction) -> Option<Effect> {
    let mnemonic = instruction.mnemonic();
    let width = width(instruction, 0);
    let moved = |from, width, signed| Effect::Moved {
        from,
        width,
        signed,
    };
    let same = || {
        instruction.op1_kind() == OpKind::Register
            && instruction.op0_register() == instruction.op1_register()
    };
    match mnemonic {
        Mnemonic::Mov => Some(moved(input(instruction, 1)?, width, false)),
        Mnemonic::Movzx => Some(moved(
            input(instruction, 1)?,
            self::width(instruction, 1),
            false,
        )),
        Mnemonic::Movsx | Mnemonic::Movsxd => Some(moved(
            input(instruction, 1)?,
            self::width(instruction, 1),
            true,
        )),
        Mnemonic::Lea => Some(Effect::AddressOf {
            address: Address {
                per_cpu: false,
                ..address(instruction)
            },
            width,
        }),
        Mnemonic::Pop => Some(Effect::Popped),
        Mnemonic::Xor | Mnemonic::Sub if same() => Some(moved(Input::Constant(0), width, false)),
        Mnemonic::Inc | Mnemonic::Dec => Some(Effect::Combined {
            sign: if mnemonic == Mnemonic::Inc { "+" } else { "-" },
            left: input(instruction, 0)?,
            right: Input::Constant(1),
            width,
        }),
        Mnemonic::Imul if instruction.op_count() == 3 => Some(Effect::Combined {
            sign: "*",
            left: input(instruction, 1)?,
            right: input(instruction, 2)?,
            width,
        }),
        _ => table(instruction, width),
    }
}

fn table(instruction: &Instruction, width: u32) -> Option<Effect> {
    let mnemonic = instruction.mnemonic();
    if let Some((_, sign)) = SIGNS.iter().find(|(known, _)| *known == mnemonic) {
        return (instruction.op_count() == 2)
            .then(|| {
                Some(Effect::Combined {
                    sign,
                    left: input(instruction, 0)?,
                    right: input(instruction, 1)?,
                    width,
                })
            })
            .flatten();
    }
    if let Some((_, operation, operand)) = OPERATIONS.iter().find(|(known, ..)| *known == mnemonic)
    {
        return Some(Effect::Applied {
            operation,
            to: input(instruction, *operand)?,
            width,
        });
    }
    (instruction.condition_code() != iced_x86::ConditionCode::None && instruction.op_count() == 2)
        .then(|| {
            Some(Effect::Either {
                left: input(instruction, 0)?,
                right: input(instruction, 1)?,
                width,
            })
        })
        .flatten()
}

/// cmpxchg leaves in rax what the memory held: the old rax where it succeeded. A register as first operand is
/// left alone or gets the second one.
fn compared(instruction: &Instruction, register: u8) -> Option<Effect> {
    let width = width(instruction, 0);
    let (left, right) = if register == 0 {
        (Input::Register(0), input(instruction, 0)?)
    } else {
        (input(instruction, 0)?, input(instruction, 1)?)
    };
    (width >= 4).then_some(Effect::Either { left, right, width })
}

/// xchg gives each operand the other's value; xadd gives the second the first's, the first the sum.
fn exchanged(instruction: &Instruction, register: u8) -> Option<Effect> {
    let holds = |operand| {
        instruction.op_kind(operand) == OpKind::Register
            && general(instruction.op_register(operand)) == Some(register)
    };
    let width = width(instruction, 0);
    if width < 4 {
        return None;
    }
    let other = match (holds(0), holds(1)) {
        (_, true) => 0,
        (true, false) if instruction.mnemonic() == Mnemonic::Xchg => 1,
        _ => return None,
    };
    Some(Effect::Moved {
        from: input(instruction, other)?,
        width,
        signed: false,
    })
}

/// What an instruction leaves in the stack slot that it writes.
pub(super) fn in_slot(instruction: &Instruction) -> Effect {
    let from = match instruction.mnemonic() {
        Mnemonic::Push => input(instruction, 0),
        Mnemonic::Mov => input(instruction, 1),
        _ => None,
    };
    let width = match instruction.mnemonic() {
        Mnemonic::Push => 8,
        _ => width(instruction, 0),
    };
    match from {
        Some(from) if width == 8 || width == 4 => Effect::Moved {
            from,
            width,
            signed: false,
        },
        _ => Effect::Other,
    }
}
