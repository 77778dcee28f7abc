//! Which freelist holds the wild pointer: the head of a CPU's list, the head of a slab's own, or the link in an object.
use crate::instruction::MemoryOperand;
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::PtRegs;
use crate::slub::{
    self, Cache, CpuSlab, FreelistWalk, Holder, Link, PointerCoding, Slab, Slub, WalkEnd,
};
use recrash_vmcore::VirtAddr;

/// A freelist that holds the wild pointer that the faulting instruction followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptFreelist {
    /// The cache.
    pub cache: Cache,
    /// Its state on the CPU that the list belongs to, or that died.
    pub cpu_slab: CpuSlab,
    /// Where the pointer was read.
    pub site: ListSite,
    /// How the faulting operand came to the address.
    pub operand: OperandParts,
    /// Names of the registers that held the pointer.
    pub registers: Vec<&'static str>,
}

/// Where a list's wild pointer lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListSite {
    /// `kmem_cache_cpu.freelist` of a CPU: which object carried it is not recorded, it was taken off the list.
    CpuHead {
        /// The CPU.
        cpu: u32,
        /// The pointer.
        pointer: VirtAddr,
    },
    /// The list of a slab itself (`slab.freelist`): the same.
    SlabHead {
        /// The list that the slab is on.
        holder: Holder,
        /// The slab's descriptor.
        slab: VirtAddr,
        /// The pointer.
        pointer: VirtAddr,
    },
    /// The next-free pointer in a free object, which is still there.
    Link {
        /// The list that the slab is on.
        holder: Holder,
        /// The slab's descriptor.
        slab: VirtAddr,
        /// The object, the word in it, and the pointer.
        link: Link,
        /// How it was coded.
        coding: PointerCoding,
    },
}

impl ListSite {
    /// The wild pointer.
    #[must_use]
    pub fn pointer(&self) -> VirtAddr {
        match self {
            Self::CpuHead { pointer, .. } | Self::SlabHead { pointer, .. } => *pointer,
            Self::Link { link, .. } => link.pointer,
        }
    }
}

/// How an operand adds up to the address of the next-free pointer: the list's entry + `kmem_cache.offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandParts {
    /// One register holds the entry, the rest is the offset: a second register, or a displacement.
    EntryPlusOffset {
        /// Whether the entry is in the base register; in the index register otherwise.
        entry_in_base: bool,
    },
    /// The sum is in one register.
    Sum,
}

/// The freelist whose pointer the faulting instruction followed: the address it used is the pointer plus the cache's
/// freelist offset, as `get_freepointer()` computes it.
///
/// Looked for first at the head of the lists of the CPU that died, then of the others. The lists of slabs, and the
/// objects on all lists, are walked only if the address is no address at all or the fault came in the allocator: a
/// busy machine has many.
///
/// # Errors
/// [`Missing`] when the caches can't be listed, or none has such a freelist.
pub fn freelist_of(
    kernel: &Kernel<'_>,
    operand: &MemoryOperand,
    regs: &PtRegs,
    cpu: u32,
) -> Result<CorruptFreelist, Missing> {
    let (caches, cut) = slub::caches(kernel)?;
    let search = Search {
        kernel,
        operand,
        regs,
    };
    let mut cpus: Vec<u32> = (0..kernel.cpu_count()?).collect();
    cpus.sort_by_key(|other| (*other != cpu, *other));
    for &cpu in &cpus {
        if let Some(found) = search.heads(&caches, cpu) {
            return Ok(found);
        }
    }
    let deep = !operand.canonical || in_allocator(kernel, regs);
    if deep && let Some(found) = search.lists(&caches, cpu) {
        return Ok(found);
    }
    let searched = cut.map_or_else(String::new, |cut| {
        format!(" (list of caches cut short: {cut})")
    });
    let lists = if deep {
        ", and no object on any list,"
    } else {
        ""
    };
    Err(Missing::Implausible(format!(
        "no cache's freelist on CPU {cpu} or another{lists} leads to the address that the faulting instruction \
         used{searched}"
    )))
}

/// Whether the fault came in a function of the allocator.
fn in_allocator(kernel: &Kernel<'_>, regs: &PtRegs) -> bool {
    const PARTS: [&str; 6] = [
        "slab",
        "kmalloc",
        "kfree",
        "kmem_cache",
        "freelist",
        "get_partial",
    ];
    kernel
        .place(VirtAddr(regs.rip()))
        .is_some_and(|place| PARTS.iter().any(|part| place.symbol.contains(part)))
}

struct Search<'k> {
    kernel: &'k Kernel<'k>,
    operand: &'k MemoryOperand,
    regs: &'k PtRegs,
}

impl Search<'_> {
    fn leads_here(&self, cache: &Cache, pointer: VirtAddr) -> bool {
        pointer.0 != 0 && pointer.wrapping_add(cache.offset) == self.operand.effective
    }

    fn found(&self, cache: Cache, cpu_slab: CpuSlab, site: ListSite) -> CorruptFreelist {
        let pointer = site.pointer();
        let registers = self
            .regs
            .iter()
            .filter(|(_, value)| *value == pointer.0)
            .map(|(name, _)| name)
            .collect();
        CorruptFreelist {
            operand: parts(self.operand, pointer),
            registers,
            cache,
            cpu_slab,
            site,
        }
    }

    fn heads(&self, caches: &[Cache], cpu: u32) -> Option<CorruptFreelist> {
        caches.iter().find_map(|cache| {
            let cpu_slab = cache.cpu_slab(self.kernel, cpu).ok()?;
            let pointer = cpu_slab.freelist;
            self.leads_here(cache, pointer)
                .then(|| self.found(cache.clone(), cpu_slab, ListSite::CpuHead { cpu, pointer }))
        })
    }

    fn lists(&self, caches: &[Cache], cpu: u32) -> Option<CorruptFreelist> {
        let slub = Slub::new(self.kernel).ok()?;
        caches.iter().find_map(|cache| {
            let coding = slub.coding(cache).ok()?;
            let lists = slub.lists(cache);
            let cpu_slab = |of: &u32| lists.cpus.iter().find(|(cpu, _)| cpu == of);
            let site = lists.slabs.iter().find_map(|(holder, slab)| {
                let mut heads = vec![slab.freelist];
                if let Holder::CpuActive(cpu) = holder {
                    heads.extend(cpu_slab(cpu).map(|(_, cpu_slab)| cpu_slab.freelist));
                }
                (heads.into_iter()).find_map(|head| self.list(cache, *holder, slab, head, coding))
            })?;
            let (_, cpu_slab) = cpu_slab(&cpu)?;
            Some(self.found(cache.clone(), cpu_slab.clone(), site))
        })
    }

    /// The bad link of one list, if the fault followed it.
    fn list(
        &self,
        cache: &Cache,
        holder: Holder,
        slab: &Slab,
        head: VirtAddr,
        coding: PointerCoding,
    ) -> Option<ListSite> {
        let FreelistWalk { end, .. } = slub::walk_freelist(self.kernel, cache, slab, head, coding);
        // A pointer to an object is no wild one, wherever the list goes from there.
        let link = match end {
            WalkEnd::Wild(link) | WalkEnd::OutsideSlab(link) | WalkEnd::Misaligned(link) => link,
            WalkEnd::Null | WalkEnd::Cycle(_) | WalkEnd::Unreadable { .. } => return None,
        };
        if !self.leads_here(cache, link.pointer) {
            return None;
        }
        let slab = slab.at;
        Some(match link.carrier {
            Some(_) => ListSite::Link {
                holder,
                slab,
                link,
                coding,
            },
            None => ListSite::SlabHead {
                holder,
                slab,
                pointer: link.pointer,
            },
        })
    }
}

fn parts(operand: &MemoryOperand, entry: VirtAddr) -> OperandParts {
    if operand.base_value == Some(entry.0) {
        OperandParts::EntryPlusOffset {
            entry_in_base: true,
        }
    } else if operand.index_value == Some(entry.0) && operand.scale == 1 {
        OperandParts::EntryPlusOffset {
            entry_in_base: false,
        }
    } else {
        OperandParts::Sum
    }
}
