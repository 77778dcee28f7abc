//! What follows from the evidence: the facts of one crash, each with what it rests on or why it is not known, what
//! agrees, what contradicts, and which frames were refuted.
mod allocation;
mod build;
pub(crate) mod case;
mod exception;
mod faulting;
mod frames;
mod hardened;
mod kaslr;
mod leftover;
pub(crate) mod registers;
pub(crate) mod slab;
mod syscall;

pub use build::of;

use recrash_kernel::decode::Decoded;

/// What a statement rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A line of the text (1 the first) and what it says.
    Line {
        /// Line number.
        line: usize,
        /// Its text, trimmed.
        text: String,
    },
    /// A word of the stack.
    StackWord {
        /// Its address.
        at: u64,
        /// Its value.
        value: u64,
        /// Line number.
        line: usize,
    },
    /// An instruction, by function and offset (`__kmalloc+142`), AT&T text.
    Instruction {
        /// Place, as text; the address where no symbol is known.
        place: String,
        /// The instruction.
        text: String,
        /// Line number.
        line: usize,
    },
    /// A rule of the architecture or the kernel, with its source.
    Rule(String),
    /// Another statement of this account.
    Follows(String),
}

/// What stands behind the place of an instruction that another text lent.
pub const LENT: &str = " (lent by the other text)";

/// A statement with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<T> {
    /// The statement.
    pub value: T,
    /// What it rests on.
    pub basis: Vec<Basis>,
}

/// Known, or why not.
pub type Told<T> = Result<Known<T>, String>;

/// The account of one crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Which kernel.
    pub release: Told<String>,
    /// Who ran.
    pub task: Told<Task>,
    /// What the CPU raised.
    pub exception: Told<Exception>,
    /// The registers of the interrupted context.
    pub registers: Told<Registers>,
    /// Where it was interrupted.
    pub place: Told<Place>,
    /// The faulting instruction and the address that it used.
    pub faulting: Told<Faulting>,
    /// Where the address registers came from, base first.
    pub origins: Vec<Origin>,
    /// Values that should agree: held or not.
    pub checks: Vec<Check>,
    /// The slab cache.
    pub cache: Told<Cache>,
    /// The list that was read.
    pub freelist: Told<Freelist>,
    /// What the wild value can be, by its bytes in memory order.
    pub decoded: Told<Decoded>,
    /// What the allocator was asked for.
    pub allocation: Told<Allocation>,
    /// The system call.
    pub syscall: Told<Syscall>,
    /// The chain from the interrupted function outwards, refuted frames left out.
    pub frames: Told<Vec<Frame>>,
    /// The function at the chain's outer end, where the chain is whole; else where and why it breaks off.
    pub frames_end: Told<String>,
    /// Frames that the evidence refutes.
    pub dropped: Vec<Dropped>,
    /// Left-over addresses in registers: hints at code that ran before, no more.
    pub hints: Vec<Hint>,
    /// What the text says twice and differently.
    pub contradictions: Vec<Contradiction>,
    /// What another text of the same kernel build lent; empty without one.
    pub lent: Vec<String>,
    /// Where the kernel was moved by KASLR; `false` where symbols lie at their linked addresses.
    pub kaslr: Told<bool>,
}

/// Who ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Process id.
    pub pid: Option<u64>,
    /// Process name.
    pub comm: Option<String>,
    /// CPU.
    pub cpu: Option<u32>,
}

/// What the CPU raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Vector.
    pub vector: Option<u8>,
    /// `#SS`.
    pub mnemonic: Option<String>,
    /// Entry code (`stack_segment`) or the words of the headline.
    pub by: String,
    /// Error code; `None` where it is gone (the entry code put -1 in its slot).
    pub error_code: Option<u64>,
    /// The faulting address that a page fault reports.
    pub address: Option<u64>,
    /// Whether kernel code was interrupted, so that no other stack was switched to.
    pub same_privilege: Option<bool>,
    /// Whether the saved rip is the faulting instruction itself (a fault, not a trap).
    pub is_fault: Option<bool>,
}

/// A code address that a register still held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Register, 64-bit name.
    pub register: String,
    /// The address.
    pub value: u64,
    /// The function that it lies in.
    pub function: String,
    /// Module.
    pub module: Option<String>,
    /// What it rests on.
    pub basis: Vec<Basis>,
}

/// The registers of the interrupted context, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    /// The 21 slots in the order of `recrash_kernel::regs::PT_REGS_NAMES`; `None` where the text does not have it.
    pub slots: [Option<u64>; 21],
    /// What each slot rests on.
    pub basis: Vec<Basis>,
    /// Stack address of the first slot, where found on the stack.
    pub at: Option<u64>,
    /// How they were found: by shape, from an exception block, from an oops.
    pub how: How,
}

/// How registers were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// In the words of the stack, by the shape of a `pt_regs`.
    Shape,
    /// A block that the session prints.
    Block,
    /// The registers of an oops.
    Oops,
}

/// A place in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Function, suffixes kept.
    pub function: String,
    /// Bytes from its start.
    pub offset: Option<u64>,
    /// Module.
    pub module: Option<String>,
    /// Address.
    pub address: Option<u64>,
}

/// The faulting instruction and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulting {
    /// AT&T, as the text has it.
    pub text: String,
    /// Intel syntax, address registers by place: `mov rbx, [base+index]`.
    pub by_place: String,
    /// Base register, 64-bit name.
    pub base: Option<String>,
    /// Index register, 64-bit name, and scale.
    pub index: Option<(String, u8)>,
    /// Displacement.
    pub displacement: i64,
    /// Segment override, or the one that the base implies: `ss` for rbp and rsp, else `ds`.
    pub segment: String,
    /// Effective address, where all registers are known.
    pub address: Option<u64>,
    /// Whether it is canonical with 4-level paging (48 bits).
    pub canonical: Option<bool>,
    /// The vector that hardware raises for it, and why.
    pub hardware: Option<(u8, String)>,
}

/// Where an address register came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Register, 64-bit name.
    pub register: String,
    /// Its value.
    pub value: Option<u64>,
    /// Its place in the address: base or index.
    pub role: Role,
    /// The instructions it went through, last one first.
    pub steps: Vec<Basis>,
    /// Where the trail ends.
    pub end: End,
}

/// A register's place in the faulting address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The base.
    Base,
    /// The index.
    Index,
    /// Neither: followed for what it tells.
    Other,
}

/// Where a trail ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Loaded from memory.
    Load {
        /// The register that held the address, and its value.
        from: (String, Option<u64>),
        /// Displacement.
        displacement: i64,
        /// The field, where a struct of the text lies there: `kmem_cache_cpu.freelist`.
        field: Option<String>,
    },
    /// What a function returned.
    Returned {
        /// The function.
        function: String,
        /// Its C type, where known: `struct kmem_cache *`.
        type_name: Option<String>,
    },
    /// The text does not have the instruction that set it.
    Unknown(String),
}

/// Two values that should agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is compared: `kmem_cache_cpu.tid == rdx`.
    pub what: String,
    /// Left value.
    pub left: u64,
    /// Right value.
    pub right: u64,
    /// Whether it holds.
    pub holds: bool,
    /// What it means that it does, or does not.
    pub meaning: String,
    /// What the values rest on.
    pub basis: Vec<Basis>,
}

/// The slab cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Address of the `kmem_cache`.
    pub address: Option<u64>,
    /// Name; derived from the size for a cache of `kmalloc`'s.
    pub name: Option<String>,
    /// `object_size`, bytes.
    pub object_size: Option<u64>,
    /// `offset`, bytes.
    pub offset: Option<u64>,
    /// Whether the next-free pointer is stored obfuscated.
    pub hardened: Option<bool>,
}

/// The list that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freelist {
    /// Address of the `kmem_cache_cpu`.
    pub cpu_slab: u64,
    /// `freelist`.
    pub value: u64,
    /// `tid`.
    pub tid: Option<u64>,
}

/// What the allocator was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Size, bytes, with what it rests on.
    pub size: Told<u64>,
    /// Flags.
    pub flags: Told<u64>,
    /// Flags by name.
    pub flag_names: Option<String>,
}

/// The system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    /// `ioctl`.
    pub name: String,
    /// Number.
    pub number: u64,
    /// File descriptor, where the call has one.
    pub fd: Option<u64>,
    /// Decoded request: `USBDEVFS_SUBMITURB`.
    pub request: Option<String>,
}

/// One frame that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Function as printed.
    pub function: String,
    /// Module.
    pub module: Option<String>,
    /// Marked inlined by the text.
    pub inlined: bool,
    /// What it rests on.
    pub basis: Basis,
}

/// A frame that the evidence refutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Function.
    pub function: String,
    /// Why: for example, its return address is the r9 slot of the saved registers.
    pub why: String,
    /// What it rests on.
    pub basis: Vec<Basis>,
}

/// What the text says twice and differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What: `rbp`.
    pub what: String,
    /// One value and where it stands.
    pub one: String,
    /// The other.
    pub other: String,
    /// What they rest on.
    pub basis: Vec<Basis>,
}
