//! What a slice asks of the world outside the function: text, symbols, types, memory, the CPU's per-CPU area.
//! The kernel answers it; tests answer it from arrays.
use crate::kernel::{Kernel, Place};
use crate::object::Missing;
use crate::slub::{ObjectState, Slub};
use recrash_debuginfo::types::Types;
use recrash_vmcore::{VirtAddr, VirtMem};

/// More rows than any exception table has; a larger one is a corrupt dump.
const MAX_FIXUPS: u64 = 1 << 17;
/// Bytes of a `struct exception_table_entry`: three 32-bit words since 4.6 (548acf19234d "x86/mm: Expand the
/// exception table logic to allow new handling options").
const FIXUP_ROW: u64 = 12;

/// A function as the symbols know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// Symbol name, compiler suffixes included.
    pub(crate) name: String,
    /// First byte.
    pub(crate) start: u64,
    /// Bytes up to the next symbol.
    pub(crate) size: u64,
}

/// The world around a function.
pub(crate) trait Around {
    /// `size` bytes of text as they lie in memory.
    fn text(&self, at: u64, size: usize) -> Result<Vec<u8>, Missing>;
    /// The function that an address lies in.
    fn function(&self, at: u64) -> Option<Function>;
    /// Where a symbol lies.
    fn address_of(&self, symbol: &str) -> Option<u64>;
    /// The symbol that an address lies in.
    fn place(&self, at: u64) -> Option<Place>;
    /// The types.
    fn types(&self) -> &Types;
    /// An integer of `size` bytes (1, 2, 4 or 8) as memory holds it now.
    fn word(&self, at: u64, size: u32) -> Option<u64>;
    /// What the CPU's gs base is in kernel mode: `__per_cpu_offset[cpu]`.
    fn per_cpu_base(&self) -> Option<u64>;
    /// The per-CPU variable at an offset of the per-CPU area, and the distance from its start.
    fn per_cpu_variable(&self, offset: u64) -> Option<(String, u64)>;
    /// Tag of the structure that an address is the start of, where the slab allocator has a cache for it alone.
    fn structure_at(&self, at: u64) -> Option<String>;
    /// Exception table: instructions in `from..to` that may fault, and where the handler then goes on.
    fn fixups(&self, from: u64, to: u64) -> Vec<(u64, u64)>;
}

/// A crashed kernel, seen from one of its CPUs.
pub(crate) struct Crashed<'k> {
    pub(crate) kernel: &'k Kernel<'k>,
    pub(crate) cpu: Option<u32>,
    slub: Option<Slub<'k>>,
}

impl<'k> Crashed<'k> {
    /// A kernel, seen from `cpu`.
    pub(crate) fn new(kernel: &'k Kernel<'k>, cpu: Option<u32>) -> Self {
        Self {
            kernel,
            cpu,
            slub: Slub::new(kernel).ok(),
        }
    }
}

impl Around for Crashed<'_> {
    fn text(&self, at: u64, size: usize) -> Result<Vec<u8>, Missing> {
        self.kernel
            .memory()
            .bytes(VirtAddr(at), size)
            .map_err(crate::kernel::missing("text of the function"))
    }

    fn function(&self, at: u64) -> Option<Function> {
        let (start, size) = self.kernel.function_range(VirtAddr(at))?;
        let name = self.kernel.place(start)?.symbol;
        Some(Function {
            name,
            start: start.0,
            size,
        })
    }

    fn address_of(&self, symbol: &str) -> Option<u64> {
        self.kernel.symbol(symbol).ok().map(|at| at.0)
    }

    fn place(&self, at: u64) -> Option<Place> {
        self.kernel.place(VirtAddr(at))
    }

    fn types(&self) -> &Types {
        self.kernel.types()
    }

    fn word(&self, at: u64, size: u32) -> Option<u64> {
        let mut bytes = [0; 8];
        let size = usize::try_from(size).ok()?;
        self.kernel
            .memory()
            .read(VirtAddr(at), bytes.get_mut(..size)?)
            .ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn per_cpu_base(&self) -> Option<u64> {
        self.kernel.per_cpu(self.cpu?, 0).ok().map(|at| at.0)
    }

    fn per_cpu_variable(&self, offset: u64) -> Option<(String, u64)> {
        crate::pointee::per_cpu_variable(self.kernel, offset)
    }

    fn structure_at(&self, at: u64) -> Option<String> {
        let object = self.slub.as_ref()?.find_object(VirtAddr(at)).ok()?;
        let cache = &object.cache;
        // A merged cache has objects of several kinds under the first one's name.
        let alone = cache.refcount.is_none_or(|count| count <= 1);
        let used = !matches!(object.state, ObjectState::Free(_));
        let fits = self.types().find_struct(&cache.name).is_some();
        (object.at.0 == at && alone && used && fits).then(|| cache.name.clone())
    }

    fn fixups(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        self.fixup_rows(from, to).unwrap_or_default()
    }
}

impl Crashed<'_> {
    /// The kernel sorts the table by instruction at boot or build (lib/extable.c); both addresses are relative to
    /// their own field.
    fn fixup_rows(&self, from: u64, to: u64) -> Option<Vec<(u64, u64)>> {
        let start = self.address_of("__start___ex_table")?;
        let stop = self.address_of("__stop___ex_table")?;
        let count = stop.checked_sub(start)? / FIXUP_ROW;
        if count > MAX_FIXUPS {
            return None;
        }
        let relative = |field: u64| {
            let distance = u32::try_from(self.word(field, 4)?).ok()?.cast_signed();
            Some(field.wrapping_add_signed(distance.into()))
        };
        let at = |row: u64| start.wrapping_add(row.wrapping_mul(FIXUP_ROW));
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if relative(at(middle))? < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut rows = Vec::new();
        for row in low..count {
            let instruction = relative(at(row))?;
            if instruction >= to {
                break;
            }
            rows.push((instruction, relative(at(row).wrapping_add(4))?));
        }
        Some(rows)
    }
}
