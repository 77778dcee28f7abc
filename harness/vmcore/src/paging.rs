//! Virtual to physical: a walk of x86-64 page tables (Intel SDM volume 3, chapter 4.5).
//!
//! Permissions are not checked; a crashed kernel's memory is only looked at.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CpuState, PagingLevels, PhysAddr, PhysMem, ReadError, VirtAddr, VirtMem, Vmcoreinfo};

const PAGE_SHIFT: u32 = 12;
const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
const PRESENT: u64 = 1;
/// In a PDPT or PD entry: this is a page, not a table.
const LARGE: u64 = 1 << 7;
/// Bits of an entry that hold a physical address (bits 12 to 51).
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Where x86-64 kernels map their image (`__START_KERNEL_map`, asm/page_64_types.h).
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// The tables, from the last to the first: name, lowest address bit it translates, whether its
/// entries can map a page themselves.
const TABLES: [(&str, u32, bool); 5] = [
    ("PT", 12, true),
    ("PD", 21, true),
    ("PDPT", 30, true),
    ("PML4", 39, false),
    ("PML5", 48, false),
];

/// What the kernel's top table is called: since 4.13, at all times in VMCOREINFO, before 4.13.
pub(crate) const KERNEL_TABLES: [&str; 3] = ["init_top_pgt", "swapper_pg_dir", "init_level4_pgt"];

/// The kernel's own address space cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// VMCOREINFO lacks a value that is needed.
    #[error("VMCOREINFO has no {0}")]
    Missing(&'static str),
}

/// One entry that a walk looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkStep {
    /// Name of the table: PML5, PML4, PDPT, PD or PT.
    pub level: &'static str,
    /// Where the entry lies.
    pub entry_at: PhysAddr,
    /// The entry, flags and all.
    pub entry: u64,
}

/// The page that an address lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Where the page begins.
    pub page: PhysAddr,
    /// 4 KiB, 2 MiB or 1 GiB, in bytes.
    pub size: u64,
}

/// The way through the page tables to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Entries looked at, from the top table down.
    pub steps: Vec<WalkStep>,
    /// The page, or why there is none.
    pub end: Result<Mapping, ReadError>,
}

/// One set of page tables over physical memory.
pub struct AddressSpace<'a> {
    memory: &'a dyn PhysMem,
    root: PhysAddr,
    levels: PagingLevels,
    sme_mask: u64,
    cache: TranslationCache,
}

impl<'a> AddressSpace<'a> {
    /// The space whose top table is at `root`. `sme_mask` is the bit that marks encrypted memory
    /// in entries (AMD SME), or 0.
    #[must_use]
    pub fn new(
        memory: &'a dyn PhysMem,
        root: PhysAddr,
        levels: PagingLevels,
        sme_mask: u64,
    ) -> Self {
        let root = PhysAddr(root.0 & ADDRESS & !sme_mask);
        Self {
            memory,
            root,
            levels,
            sme_mask,
            cache: TranslationCache::new(),
        }
    }

    /// The kernel's space, from `SYMBOL(init_top_pgt)` (or `swapper_pg_dir`, or before 4.13
    /// `init_level4_pgt`), `NUMBER(phys_base)`, `NUMBER(pgtable_l5_enabled)` and
    /// `NUMBER(sme_mask)`.
    ///
    /// # Errors
    /// When VMCOREINFO names no top table or no `phys_base`.
    pub fn kernel(memory: &'a dyn PhysMem, info: &Vmcoreinfo) -> Result<Self, SpaceError> {
        let phys_base = info
            .number("phys_base")
            .ok_or(SpaceError::Missing("NUMBER(phys_base)"))?;
        Self::kernel_at(memory, info, phys_base.cast_unsigned())
    }

    /// As [`AddressSpace::kernel`], with a `phys_base` known from elsewhere: kernels before 4.10
    /// do not give its value.
    ///
    /// # Errors
    /// When VMCOREINFO names no top table.
    pub fn kernel_at(
        memory: &'a dyn PhysMem,
        info: &Vmcoreinfo,
        phys_base: u64,
    ) -> Result<Self, SpaceError> {
        let root = KERNEL_TABLES
            .iter()
            .find_map(|name| info.symbol(name))
            .ok_or(SpaceError::Missing(
                "SYMBOL(init_top_pgt) or SYMBOL(swapper_pg_dir)",
            ))?;
        let levels = match info.number("pgtable_l5_enabled") {
            Some(on) if on != 0 => PagingLevels::Five,
            _ => PagingLevels::Four,
        };
        let sme_mask = info.number("sme_mask").unwrap_or(0).cast_unsigned();
        let root = root.wrapping_sub(START_KERNEL_MAP).wrapping_add(phys_base);
        Ok(Self::new(memory, PhysAddr(root), levels, sme_mask))
    }

    /// The space that a CPU was in, by its CR3 and CR4. `sme_mask` as for [`AddressSpace::new`].
    #[must_use]
    pub fn of_cpu(memory: &'a dyn PhysMem, cpu: &CpuState, sme_mask: u64) -> Self {
        Self::new(memory, cpu.page_table(), cpu.paging_levels(), sme_mask)
    }

    /// Another space of the same machine, such as a process's (`mm->pgd`).
    #[must_use]
    pub fn with_root(&self, root: PhysAddr) -> Self {
        Self::new(self.memory, root, self.levels, self.sme_mask)
    }

    /// Depth of the page tables.
    #[must_use]
    pub fn levels(&self) -> PagingLevels {
        self.levels
    }

    /// Physical address of the top table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The physical memory under this space.
    #[must_use]
    pub fn memory(&self) -> &'a dyn PhysMem {
        self.memory
    }

    /// Physical address of one byte.
    ///
    /// # Errors
    /// [`ReadError::NonCanonical`], or what the walk met: a missing or bad entry, with its level,
    /// or a table that the dump does not have.
    pub fn translate(&self, at: VirtAddr) -> Result<PhysAddr, ReadError> {
        if !at.is_canonical(self.levels) {
            return Err(ReadError::NonCanonical(at));
        }
        let in_page = at.0 % PAGE_SIZE;
        if let Some(page) = self.cache.get(at) {
            return Ok(PhysAddr(page | in_page));
        }
        let page = self.walk(at)?;
        self.cache.put(at, page);
        Ok(PhysAddr(page | in_page))
    }

    /// Every entry on the way from the top table to the page of `at`, and how the way ended.
    #[must_use]
    pub fn walk_entries(&self, at: VirtAddr) -> Walk {
        let mut steps = Vec::new();
        let end = if at.is_canonical(self.levels) {
            self.walk_with(at, &mut |step| steps.push(step))
        } else {
            Err(ReadError::NonCanonical(at))
        };
        Walk { steps, end }
    }

    /// Calls `visit` for each page that is mapped at an address in `range`, lowest address first, until it gives
    /// false. Gives the reasons why tables could not be read, the first few of them.
    ///
    /// A table that is met twice (tables that lead in circles, aliases) is entered once, so that the time taken
    /// follows the tables that there are.
    pub fn mapped(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(VirtAddr, Mapping) -> bool,
    ) -> Vec<ReadError> {
        let depth = match self.levels {
            PagingLevels::Four => 4,
            PagingLevels::Five => 5,
        };
        let mut tour = Tour {
            space: self,
            range,
            seen: HashSet::new(),
            gaps: Vec::new(),
            visit,
        };
        tour.table(self.root.0, depth, 0);
        tour.gaps
    }

    /// Physical address of the 4 KiB page (or of that part of a larger one) that holds `at`.
    fn walk(&self, at: VirtAddr) -> Result<u64, ReadError> {
        let mapping = self.walk_with(at, &mut |_| {})?;
        let within = at.0 & (mapping.size - 1) & !(PAGE_SIZE - 1);
        Ok(mapping.page.0 | within)
    }

    fn walk_with(
        &self,
        at: VirtAddr,
        seen: &mut dyn FnMut(WalkStep),
    ) -> Result<Mapping, ReadError> {
        let depth = match self.levels {
            PagingLevels::Four => 4,
            PagingLevels::Five => 5,
        };
        let mut table = self.root.0;
        for &(level, shift, may_be_page) in TABLES.iter().take(depth).rev() {
            let index = (at.0 >> shift) & 0x1ff;
            let entry_at = PhysAddr(table | (index << 3));
            let entry = self
                .memory
                .u64_at(entry_at)
                .map_err(|cause| ReadError::Table {
                    at,
                    level,
                    cause: Box::new(cause),
                })?;
            seen(WalkStep {
                level,
                entry_at,
                entry,
            });
            if entry & PRESENT == 0 {
                return Err(ReadError::NotPresent { at, level, entry });
            }
            let target = entry & ADDRESS & !self.sme_mask;
            let is_large = shift > PAGE_SHIFT && entry & LARGE != 0;
            if !is_large && shift > PAGE_SHIFT {
                table = target;
                continue;
            }
            if !may_be_page {
                return Err(ReadError::BadEntry { at, level, entry });
            }
            let span = (1_u64 << shift) - 1;
            // Bit 12 of a large page's entry is its PAT bit, the bits above it are reserved.
            if is_large && target & span & !PAGE_SIZE != 0 {
                return Err(ReadError::BadEntry { at, level, entry });
            }
            return Ok(Mapping {
                page: PhysAddr(target & !span),
                size: span + 1,
            });
        }
        // The last table always answers above; this keeps the compiler content without a panic.
        Err(ReadError::NonCanonical(at))
    }
}

/// Reasons that are kept.
const GAPS_MAX: usize = 16;

/// One pass through all tables.
struct Tour<'t, 'a> {
    space: &'t AddressSpace<'a>,
    range: Range<u64>,
    seen: HashSet<(usize, u64)>,
    gaps: Vec<ReadError>,
    visit: &'t mut dyn FnMut(VirtAddr, Mapping) -> bool,
}

impl Tour<'_, '_> {
    /// Goes through a table that translates the addresses from `base` on; false to stop.
    fn table(&mut self, at: u64, depth: usize, base: u64) -> bool {
        let level = depth.checked_sub(1).and_then(|level| TABLES.get(level));
        let Some(&(name, shift, may_be_page)) = level else {
            return true;
        };
        if !self.seen.insert((depth, at)) {
            return true;
        }
        let mut bytes = [0; PAGE_SIZE as usize];
        if let Err(cause) = self.space.memory.read(PhysAddr(at), &mut bytes) {
            if self.gaps.len() < GAPS_MAX {
                self.gaps.push(ReadError::Table {
                    at: VirtAddr(base),
                    level: name,
                    cause: Box::new(cause),
                });
            }
            return true;
        }
        for (index, word) in (0_u64..).zip(bytes.chunks_exact(8)) {
            let entry = word.try_into().map_or(0, u64::from_le_bytes);
            let from = self.canonical(base | index << shift);
            let last = from.saturating_add((1 << shift) - 1);
            if entry & PRESENT == 0 || last < self.range.start || from >= self.range.end {
                continue;
            }
            let target = entry & ADDRESS & !self.space.sme_mask;
            let is_page = shift == PAGE_SHIFT || entry & LARGE != 0;
            let goes_on = if is_page {
                let size = 1_u64 << shift;
                let page = PhysAddr(target & !(size - 1));
                !may_be_page || (self.visit)(VirtAddr(from), Mapping { page, size })
            } else {
                self.table(target, depth - 1, from)
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// The upper half's addresses have all upper bits set.
    fn canonical(&self, at: u64) -> u64 {
        let unused = 64 - self.space.levels.address_bits();
        ((at << unused).cast_signed() >> unused).cast_unsigned()
    }
}

impl VirtMem for AddressSpace<'_> {
    fn read(&self, at: VirtAddr, mut buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = at;
        while !buf.is_empty() {
            let room = (PAGE_SIZE - at.0 % PAGE_SIZE).min(buf.len() as u64);
            let (now, rest) = buf.split_at_mut(room as usize);
            let page = self.translate(at)?;
            (self.memory.read(page, now)).map_err(|cause| ReadError::Page {
                at,
                cause: Box::new(cause),
            })?;
            at = at.wrapping_add(room);
            buf = rest;
        }
        Ok(())
    }
}

/// Remembers translations, without locks: each slot is one word that holds tag and page both, so
/// no reader can see half of a change.
///
/// Bits of a slot: 0 valid; 1 to 31 tag (bits 14 to 44 of the page number); 32 to 63 the physical
/// page number. Pages above 16 TiB do not fit, and are walked to each time.
struct TranslationCache {
    slots: Box<[AtomicU64]>,
}

const SLOT_BITS: u32 = 14;

impl TranslationCache {
    fn new() -> Self {
        Self {
            slots: (0..1_u64 << SLOT_BITS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn split(&self, at: VirtAddr) -> Option<(&AtomicU64, u64)> {
        // 57 bits name a canonical address; 45 of them its page.
        let page = (at.0 >> PAGE_SHIFT) & ((1 << 45) - 1);
        let slot = self.slots.get((page & ((1 << SLOT_BITS) - 1)) as usize)?;
        Some((slot, (page >> SLOT_BITS) << 1 | 1))
    }

    fn get(&self, at: VirtAddr) -> Option<u64> {
        let (slot, tag) = self.split(at)?;
        let value = slot.load(Ordering::Relaxed);
        (value & u64::from(u32::MAX) == tag).then_some((value >> 32) << PAGE_SHIFT)
    }

    fn put(&self, at: VirtAddr, page: u64) {
        let number = page >> PAGE_SHIFT;
        if let (Some((slot, tag)), true) = (self.split(at), number <= u64::from(u32::MAX)) {
            slot.store(number << 32 | tag, Ordering::Relaxed);
        }
    }
}
