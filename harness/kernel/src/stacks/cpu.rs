//! The stacks that each CPU has of its own: interrupts, exceptions (IST), entry.
//!
//! Where they lie has changed: 5.2 put guard pages between the exception stacks (commit 019b17b3ffe4), 5.2 mapped the
//! interrupt stack (commit 0ac261042040), 6.2 moved its pointer into `pcpu_hot` (commit d7b6d709a76a) and 6.15 out again.
use super::bounds::{Bounds, StackKind};
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

const PAGE: u64 = 4096;
/// IRQ_STACK_SIZE without KASAN (arch/x86/include/asm/page_64_types.h).
const IRQ_STACK: u64 = 16 << 10;
/// CPU_ENTRY_AREA_PER_CPU (arch/x86/include/asm/cpu_entry_area.h): behind one page with the interrupt table. Since
/// 6.2 CPUs have random places in the area (commit 97e3d26b5e5f), which only their own pointers tell.
const ENTRY_AREAS: u64 = 0xffff_fe00_0000_1000;
/// Exception stacks of kernels before 5.2 in their order: size in pages, kind (`exception_stack_sizes`).
const OLD_EXCEPTION_STACKS: [(u64, StackKind); 4] = [
    (1, StackKind::DoubleFault),
    (1, StackKind::Nmi),
    (2, StackKind::Debug),
    (1, StackKind::MachineCheck),
];
/// Fields of `struct cea_exception_stacks`.
const EXCEPTION_STACKS: [(&str, StackKind); 8] = [
    ("DF_stack", StackKind::DoubleFault),
    ("NMI_stack", StackKind::Nmi),
    ("DB2_stack", StackKind::Debug),
    ("DB1_stack", StackKind::Debug),
    ("DB_stack", StackKind::Debug),
    ("MCE_stack", StackKind::MachineCheck),
    ("VC_stack", StackKind::Vc),
    ("VC2_stack", StackKind::VcFallback),
];

/// Every CPU's own stacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStacks {
    /// By lowest address; they do not overlap.
    stacks: Vec<Bounds>,
    /// What could not be found, the first CPU's reason for each.
    pub missing: Vec<Missing>,
}

impl CpuStacks {
    /// The stack that an address lies on.
    #[must_use]
    pub fn find(&self, at: VirtAddr) -> Option<Bounds> {
        let after = self.stacks.partition_point(|stack| stack.low <= at);
        let stack = self.stacks.get(after.checked_sub(1)?)?;
        stack.contains(at).then_some(*stack)
    }

    /// A CPU's stack of a kind; of several debug stacks the lowest.
    #[must_use]
    pub fn of(&self, cpu: u32, kind: StackKind) -> Option<Bounds> {
        let is = |stack: &&Bounds| stack.cpu == Some(cpu) && stack.kind == kind;
        self.stacks.iter().find(is).copied()
    }

    /// All of them, by lowest address.
    pub fn iter(&self) -> impl Iterator<Item = &Bounds> {
        self.stacks.iter()
    }

    fn keep(&mut self, found: Result<Vec<Bounds>, Missing>) {
        match found {
            Ok(found) => self.stacks.extend(found),
            Err(missing) if !self.missing.contains(&missing) => self.missing.push(missing),
            Err(_) => {}
        }
    }
}

/// Every CPU's own stacks, looked up once.
#[must_use]
pub fn cpu_stacks<'k>(kernel: &'k Kernel<'_>) -> &'k CpuStacks {
    kernel.stack_cache().cpu_stacks.get_or_init(|| read(kernel))
}

fn read(kernel: &Kernel<'_>) -> CpuStacks {
    let mut found = CpuStacks::default();
    let count = match kernel.cpu_count() {
        Ok(count) => count,
        Err(missing) => {
            found.missing.push(missing);
            return found;
        }
    };
    for cpu in 0..count {
        found.keep(irq(kernel, cpu));
        found.keep(exceptions(kernel, cpu));
        found.keep(entry(kernel, cpu));
    }
    found.stacks.sort_unstable_by_key(|stack| stack.low);
    found.stacks.dedup_by(|next, before| before.high > next.low);
    found.missing.truncate(16);
    found
}

fn irq(kernel: &Kernel<'_>, cpu: u32) -> Result<Vec<Bounds>, Missing> {
    let top = irq_top(kernel, cpu)?;
    if top == 0 {
        return Ok(Vec::new());
    }
    let size = ["struct irq_stack", "union irq_stack_union"]
        .iter()
        .find_map(|name| kernel.own_types().size_of(name))
        .filter(|size| *size >= PAGE && *size <= 8 * IRQ_STACK && size % PAGE == 0)
        .unwrap_or(IRQ_STACK);
    // Since 5.12 the pointer is to the last word, before to the end (commit 951c2a51ae75).
    let high = VirtAddr(top.wrapping_add(15) & !15);
    Ok(vec![Bounds {
        kind: StackKind::Irq,
        cpu: Some(cpu),
        low: VirtAddr(high.0.wrapping_sub(size)),
        high,
    }])
}

fn irq_top(kernel: &Kernel<'_>, cpu: u32) -> Result<u64, Missing> {
    let named = ["hardirq_stack_ptr", "irq_stack_ptr"]
        .iter()
        .find_map(|name| kernel.own_per_cpu(cpu, name).ok());
    let at = match named {
        Some(at) => at,
        None => Object::new(kernel, "pcpu_hot", kernel.own_per_cpu(cpu, "pcpu_hot")?)
            .addr_of("hardirq_stack_ptr")?,
    };
    kernel
        .memory()
        .u64_at(at)
        .map_err(missing("the pointer to the IRQ stack"))
}

fn exceptions(kernel: &Kernel<'_>, cpu: u32) -> Result<Vec<Bounds>, Missing> {
    if kernel.own_symbol("cea_exception_stacks").is_err() {
        return old_exceptions(kernel, cpu);
    }
    let Some(base) = exception_stacks(kernel, cpu)? else {
        return Ok(Vec::new());
    };
    let layout = Object::new(kernel, "cea_exception_stacks", base);
    layout.addr_of("NMI_stack")?;
    let bounds = |(field, kind): &(&str, StackKind)| {
        let field = kernel.own_types().field("cea_exception_stacks", field)?;
        let low = base.wrapping_add(field.offset);
        (field.size > 0).then_some(Bounds {
            kind: *kind,
            cpu: Some(cpu),
            low,
            high: low.wrapping_add(field.size),
        })
    };
    Ok(EXCEPTION_STACKS.iter().filter_map(bounds).collect())
}

/// `struct cea_exception_stacks` of a CPU; `None` for one that never came up.
fn exception_stacks(kernel: &Kernel<'_>, cpu: u32) -> Result<Option<VirtAddr>, Missing> {
    let at = kernel.own_per_cpu(cpu, "cea_exception_stacks")?;
    let base = kernel
        .memory()
        .u64_at(at)
        .map_err(missing("cea_exception_stacks"))?;
    Ok((base != 0).then_some(VirtAddr(base)))
}

/// Before 5.2 `orig_ist.ist` had each stack's end, and they lay one behind the other.
fn old_exceptions(kernel: &Kernel<'_>, cpu: u32) -> Result<Vec<Bounds>, Missing> {
    let ist = kernel.own_per_cpu(cpu, "orig_ist")?;
    let mut found = Vec::new();
    for ((pages, kind), index) in OLD_EXCEPTION_STACKS.iter().zip(0u64..) {
        let at = ist.wrapping_add(index * 8);
        let high = kernel.memory().u64_at(at).map_err(missing("orig_ist"))?;
        if high != 0 {
            found.push(Bounds {
                kind: *kind,
                cpu: Some(cpu),
                low: VirtAddr(high.wrapping_sub(pages * PAGE)),
                high: VirtAddr(high),
            });
        }
    }
    Ok(found)
}

/// Since 4.15 the first instructions after user mode have a stack of their own (commit 7f2590a110b8).
fn entry(kernel: &Kernel<'_>, cpu: u32) -> Result<Vec<Bounds>, Missing> {
    let page = kernel.field("cpu_entry_area", "entry_stack_page")?;
    let size = kernel
        .own_types()
        .size_of("struct entry_stack")
        .filter(|size| *size <= PAGE)
        .unwrap_or(PAGE);
    let area = match kernel.own_symbol("cea_exception_stacks") {
        Ok(_) => {
            let stacks = kernel.field("cpu_entry_area", "estacks")?;
            match exception_stacks(kernel, cpu)? {
                Some(base) => base.0.wrapping_sub(stacks.offset),
                None => return Ok(Vec::new()),
            }
        }
        Err(_) => {
            let size = kernel.own_types().size_of("struct cpu_entry_area");
            let size = size.ok_or_else(|| Missing::Type("cpu_entry_area".into()))?;
            ENTRY_AREAS.wrapping_add(size.wrapping_mul(cpu.into()))
        }
    };
    let low = VirtAddr(area.wrapping_add(page.offset));
    Ok(vec![Bounds {
        kind: StackKind::Entry,
        cpu: Some(cpu),
        low,
        high: low.wrapping_add(size),
    }])
}
