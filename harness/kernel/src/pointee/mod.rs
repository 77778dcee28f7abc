//! What a 64-bit value found in a crash is or points at: a symbol, a slab object, a stack, a per-CPU variable, a
//! region of the address space, an error code, text, poison, or nothing that an address can be.
//! Says what a value looks like; that a register was meant as such is for others to show.
mod landmarks;
mod pattern;
mod render;

use crate::kernel::{Kernel, Place};
use crate::slub::SlabObject;
use crate::stacks::StackRef;
use recrash_vmcore::VirtAddr;

pub use landmarks::Landmarks;
pub use pattern::poison;

/// A value and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointee {
    /// The value.
    pub value: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a value can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// 0.
    Zero,
    /// Below a page: a number, or NULL and a field's offset.
    Small,
    /// A positive number of at most 32 bits, below what is usually mapped.
    Integer,
    /// `-errno` as a pointer or an int (include/linux/err.h): the positive number.
    Error(u16),
    /// In code of the kernel or a module.
    Text(Place),
    /// In data of the kernel or a module.
    Data(Place),
    /// In a CPU's per-CPU area.
    PerCpu {
        /// Whose.
        cpu: u32,
        /// Bytes from the area's start.
        offset: u64,
        /// The variable and the distance from its start; `None` in the part that is handed out at run time.
        variable: Option<(String, u64)>,
    },
    /// The offset of a per-CPU variable, as a per-CPU pointer holds it.
    PerCpuOffset(String),
    /// In a `struct task_struct`.
    Task(TaskRef),
    /// On a kernel stack.
    Stack(Box<StackRef>),
    /// In an object of a slab cache.
    Slab(Box<SlabObject>),
    /// In a region of the address space; nothing more is known of it.
    Region(Region, Option<Mapping>),
    /// In the half of the address space that user mode has.
    User,
    /// A pattern that the kernel or a debugging option leaves behind.
    Poison(&'static str),
    /// Printable characters.
    Characters(Characters),
    /// No address under the paging mode in use, and nothing known.
    NonCanonical,
}

/// A task that a value points into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    /// Thread id.
    pub pid: i32,
    /// Process name.
    pub comm: String,
    /// Bytes from the start of its `task_struct`.
    pub offset: u64,
    /// The CPU that was running it, if one was.
    pub running_on: Option<u32>,
}

/// Parts of the kernel's address space (Documentation/arch/x86/x86_64/mm.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// All physical memory, in order.
    DirectMap,
    /// vmalloc, ioremap, stacks.
    Vmalloc,
    /// `struct page`s.
    Vmemmap,
    /// KASAN's shadow memory.
    KasanShadow,
    /// Entry code's stacks and descriptor tables.
    CpuEntryArea,
    /// The kernel image.
    KernelImage,
    /// Modules.
    Modules,
    /// Fixed mappings.
    Fixmap,
    /// None of these.
    Other,
}

/// What the page tables say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Mapped to this physical address.
    Mapped(u64),
    /// Not mapped.
    Absent,
}

/// Text in eight bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Characters {
    /// One byte a character.
    Ascii(String),
    /// Two bytes a character.
    Utf16(String),
}

/// What a value is or points at. For many values ask [`Landmarks`], which looks things up once.
#[must_use]
pub fn describe(kernel: &Kernel<'_>, value: u64) -> Pointee {
    Landmarks::of(kernel).describe(value)
}

/// The static per-CPU variable at an offset of the per-CPU area, and the distance from its start.
#[must_use]
pub fn per_cpu_variable(kernel: &Kernel<'_>, offset: u64) -> Option<(String, u64)> {
    let end = kernel
        .symbol("__per_cpu_end")
        .ok()
        .map_or(1 << 24, |end| end.0);
    let place = (offset < end)
        .then(|| kernel.place(VirtAddr(offset)))
        .flatten()?;
    // Symbols at the same low addresses that are no variables mark the area itself.
    let mark = place.symbol.starts_with("__per_cpu_");
    (!mark).then_some((place.symbol, place.offset))
}
