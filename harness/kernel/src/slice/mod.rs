//! Backward slices: where each register of a crashed context came from, followed through the function's own
//! instructions with the types of BTF or DWARF, and checked against what the crash still shows.
//!
//! ```text
//! rbp ← [r8] = kmem_cache_cpu.freelist
//! r8 ← this_cpu kmem_cache.cpu_slab = struct kmem_cache_cpu *
//! r15 ← return value of kmalloc_slab = struct kmem_cache *
//! ```
//!
//! A slice stops where it cannot know: at a call's result, at an argument, at a load, at an instruction that it
//! does not follow; and says so. It looks at one function; [`of_call`] looks at a caller with the registers that
//! its callee saved.
mod arguments;
mod around;
mod code;
mod effect;
mod reach;
mod render;
mod stack;
#[cfg(test)]
mod tests;
mod trace;
mod typed;
mod value;

use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::PtRegs;
use around::{Around, Crashed};
use recrash_vmcore::VirtAddr;
use trace::{Registers, Tracer};

pub use arguments::{Argument, Saved};

/// What a slice of one function gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The function's symbol.
    pub function: String,
    /// Its first byte.
    pub start: VirtAddr,
    /// Where each register came from: the address registers of the instruction first, then those that they came
    /// from, then its other operands, then the rest.
    pub origins: Vec<Origin>,
    /// The function's integer parameters, with their values where the crash still has them.
    pub arguments: Vec<Argument>,
    /// The callee-saved registers as they were when the function was entered: the caller's.
    pub saved: Vec<Saved>,
    /// The stack pointer at the function's entry, where its return address lies.
    pub entry_sp: Option<VirtAddr>,
    /// What was left out of account, one line each.
    pub notes: Vec<String>,
}

/// Why a register was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Base of the instruction's memory operand.
    Base,
    /// Its index.
    Index,
    /// A register that an address register came from.
    Via,
    /// Another operand.
    Operand,
    /// Not used by the instruction.
    Other,
}

/// Where a register's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The register, 64-bit name.
    pub register: &'static str,
    /// Why it was followed.
    pub role: Role,
    /// Whether the register still holds this at the place looked at; otherwise it held it before.
    pub current: bool,
    /// Its value when it held this, if the crash still shows that.
    pub value: Option<u64>,
    /// The instructions that it came through, latest first.
    pub chain: Vec<Step>,
    /// Where the chain ends.
    pub end: End,
    /// The end in terms of registers, functions and numbers: `[r15+0x20]`, `return value of kmalloc_slab`.
    pub expression: String,
    /// What that is: a field, a variable, a parameter's name; `None` where nothing says.
    pub meaning: Option<String>,
    /// Type in C's spelling, where one flowed here.
    pub type_name: Option<String>,
}

/// One instruction on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it lies.
    pub at: VirtAddr,
    /// Intel syntax.
    pub text: String,
    /// What it did: `r15 ← r14`.
    pub meaning: String,
    /// What the crash says about it: `equals what memory holds now`.
    pub check: Option<String>,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A number in the code.
    Constant(u64),
    /// Memory: address, if the crash still shows the registers that made it; bytes read.
    Load {
        /// Where.
        at: Option<VirtAddr>,
        /// How much.
        size: u32,
        /// The field or variable, where types say: `kmem_cache_cpu.freelist`.
        field: Option<String>,
    },
    /// Computed from other values.
    Computed,
    /// What a function returned.
    Return {
        /// Its symbol; `None` for a call through a pointer.
        function: Option<String>,
    },
    /// A parameter of the function, counted from 1.
    Argument {
        /// Which.
        number: usize,
        /// Its name, where a prototype that can be trusted says.
        name: Option<String>,
    },
    /// What the caller had in this register.
    Caller,
    /// One of several, and nothing decides which.
    Several(Vec<String>),
    /// Not known, and why.
    Unknown(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ← {}", self.register, self.expression)?;
        let known = self.meaning.as_ref().or(self.type_name.as_ref());
        match known.filter(|known| **known != self.expression) {
            Some(known) => write!(f, " = {known}"),
            None => Ok(()),
        }
    }
}

/// Slices the function that `regs` were interrupted in. `cpu` is the CPU that ran it, whose per-CPU area `gs`
/// addresses; without it addresses in that area stay unknown.
///
/// # Errors
/// [`Missing`] when the function's text is not in the dump, or the instruction pointer is in no known function.
pub fn of_fault(kernel: &Kernel<'_>, regs: &PtRegs, cpu: Option<u32>) -> Result<Slice, Missing> {
    let mut registers: Registers = [None; 16];
    for (name, value) in regs.iter() {
        let slot = effect::by_name(name).and_then(|number| registers.get_mut(usize::from(number)));
        if let Some(slot) = slot {
            *slot = Some(value);
        }
    }
    slice(&Crashed::new(kernel, cpu), regs.rip(), registers)
}

/// Slices a caller at its call: what it had put into the argument registers. `callee` is the slice of the function
/// called, whose saved registers are the caller's.
///
/// # Errors
/// [`Missing`] when the caller can't be found or did not call that function directly.
pub fn of_call(kernel: &Kernel<'_>, callee: &Slice, cpu: Option<u32>) -> Result<Slice, Missing> {
    arguments::caller(&Crashed::new(kernel, cpu), callee)
}

/// What the caller had put into the register of the callee's argument `number` (from 1), in a slice made by
/// [`of_call`].
#[must_use]
pub fn passed(caller: &Slice, number: usize) -> Option<u64> {
    arguments::passed(caller, number)
}

fn slice(around: &dyn Around, at: u64, registers: Registers) -> Result<Slice, Missing> {
    let mut tracer = Tracer::new(around, at, registers)?;
    let arguments = arguments::of_function(&mut tracer);
    let known = arguments::known(&arguments);
    tracer.start_again(known);
    let origins = render::origins(&mut tracer);
    let saved = arguments::saved(&mut tracer);
    let mut notes = Vec::new();
    for jump in &tracer.code.unresolved {
        notes.push(format!(
            "{} jumps through a register or a table at {jump:#x}: paths through it are not followed",
            tracer.code.function.name
        ));
    }
    let (_, trusted) = typed::source_name(&tracer.code.function.name);
    if !trusted {
        notes.push(format!(
            "{} is a compiler's variant: its parameters may not be those of the source, so they have no names",
            tracer.code.function.name
        ));
    }
    Ok(Slice {
        function: tracer.code.function.name.clone(),
        start: VirtAddr(tracer.code.function.start),
        origins,
        arguments,
        saved,
        entry_sp: tracer.stack_at_entry().map(VirtAddr),
        notes,
    })
}
