//! SLUB's state in a dump: caches, slabs, freelists, the object an address lies in, and what is wrong with them.
//!
//! [`Slub`] is put together once for a kernel and asked often; the functions beside it are for one question. What
//! the bytes that overwrote something mean is [`crate::decode`]'s matter.
//!
//! ```no_run
//! # use recrash_kernel::{Kernel, slub::Slub};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dump = recrash_vmcore::Vmcore::open("vmcore".as_ref())?;
//! let info = dump.vmcoreinfo().ok_or("no VMCOREINFO")?;
//! let kernel = Kernel::open(&dump, info, dump.prstatus())?;
//! for finding in Slub::new(&kernel)?.check()?.findings {
//!     println!("{} ({}): {}", finding.cache.name, finding.holder, finding.what);
//! }
//! # Ok(())
//! # }
//! ```
mod alias;
mod cache;
mod check;
mod coding;
mod debug;
mod depot;
mod find;
mod freelist;
mod lists;
mod page;
mod scan;
mod slab;
mod stale;
mod usage;

pub use alias::{Aliases, aliases};
pub use cache::{Cache, CacheFlags, CpuSlab, caches, init_on_alloc};
pub use check::{Check, Extent, Finding, Wrong, extent};
pub use coding::PointerCoding;
pub use debug::{
    DebugLayout, ObjectDebug, Track, TrackTrace, Violation, Zone, ZoneSpan, layout, object_debug,
};
pub use find::{FreeOn, ObjectState, SlabObject};
pub use freelist::{FreelistWalk, Link, WalkEnd, walk_freelist};
pub use lists::{Holder, Lists, NodeCounts};
pub use page::{PageMap, PageState};
pub use scan::AllSlabs;
pub use slab::{Part, Slab, Slot};
pub use stale::{StaleWrite, StaleWrites};
pub use usage::Usage;

use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use coding::Votes;
use find::CpuFree;
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The allocator of one kernel: where its pages are, which CPUs it has, how it codes pointers.
pub struct Slub<'k> {
    kernel: &'k Kernel<'k>,
    map: PageMap,
    cpus: Vec<u32>,
    hardened: OnceLock<Option<PointerCoding>>,
    caches: Mutex<HashMap<VirtAddr, Arc<Cache>>>,
    cpu_free: Mutex<HashMap<VirtAddr, Arc<CpuFree>>>,
}

impl<'k> Slub<'k> {
    /// The allocator of a kernel.
    ///
    /// # Errors
    /// [`Missing`] when page descriptors or CPUs can't be found.
    pub fn new(kernel: &'k Kernel<'k>) -> Result<Self, Missing> {
        Ok(Self {
            kernel,
            map: PageMap::read(kernel)?,
            cpus: possible_cpus(kernel)?,
            hardened: OnceLock::new(),
            caches: Mutex::default(),
            cpu_free: Mutex::default(),
        })
    }

    /// Where page descriptors and directly mapped memory are.
    #[must_use]
    pub fn map(&self) -> &PageMap {
        &self.map
    }

    /// The CPUs that have per-CPU areas.
    #[must_use]
    pub fn cpus(&self) -> &[u32] {
        &self.cpus
    }

    /// All caches; see [`caches`].
    ///
    /// # Errors
    /// As [`caches`].
    pub fn caches(&self) -> Result<(Vec<Cache>, Option<Missing>), Missing> {
        caches(self.kernel)
    }

    /// The cache at an address, read once.
    ///
    /// # Errors
    /// As [`Cache::read`].
    pub fn cache(&self, at: VirtAddr) -> Result<Arc<Cache>, Missing> {
        let mut known = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = known.get(&at) {
            return Ok(Arc::clone(cache));
        }
        let cache = Arc::new(Cache::read(self.kernel, at)?);
        known.insert(at, Arc::clone(&cache));
        Ok(cache)
    }

    /// The slab whose descriptor lies at `at`.
    ///
    /// # Errors
    /// As [`Slab::read`].
    pub fn slab(&self, at: VirtAddr) -> Result<Slab, Missing> {
        Slab::read(self.kernel, &self.map, at)
    }

    /// The slabs on a cache's lists.
    #[must_use]
    pub fn lists(&self, cache: &Cache) -> Lists {
        lists::lists(self.kernel, &self.map, cache, &self.cpus)
    }

    /// How this kernel codes the pointers of a cache. Of the two hardened forms the one that makes sense of links
    /// in memory: the types don't tell, and stable kernels before 5.7 took the change.
    ///
    /// # Errors
    /// [`Missing`] when no link in any cache tells the two apart.
    pub fn coding(&self, cache: &Cache) -> Result<PointerCoding, Missing> {
        if cache.random.is_none() {
            return Ok(PointerCoding::Plain);
        }
        self.hardened
            .get_or_init(|| self.vote(cache))
            .ok_or_else(|| {
                Missing::Implausible(
                    "no link of a freelist tells whether pointers are coded with swapped addresses"
                        .into(),
                )
            })
    }

    /// Caches with debugging never let a CPU keep a list (commit c7323a5ad078 "mm/slub: restrict sysfs validation to
    /// debug caches and make it safe", 6.1): with debugging on for all, only the slabs' own lists have links.
    fn vote(&self, first: &Cache) -> Option<PointerCoding> {
        let others = || self.caches().map(|(caches, _)| caches).unwrap_or_default();
        let mut votes = Votes::default();
        for look in [Self::vote_of_cpus, Self::vote_of_lists] {
            look(self, first, &mut votes);
            if votes.decided() {
                break;
            }
            for cache in others().iter().filter(|cache| cache.at != first.at) {
                look(self, cache, &mut votes);
                if votes.decided() {
                    return votes.winner();
                }
            }
        }
        votes.winner()
    }

    /// The links after the heads of the CPUs' lists: cheap to reach, and many.
    fn vote_of_cpus(&self, cache: &Cache, votes: &mut Votes) {
        for &cpu in &self.cpus {
            let Ok(cpu_slab) = cache.cpu_slab(self.kernel, cpu) else {
                continue;
            };
            let Ok(slab) = self.slab(cpu_slab.slab) else {
                continue;
            };
            for head in [cpu_slab.freelist, slab.freelist] {
                self.vote_of_link(cache, &slab, head, votes);
            }
        }
    }

    /// The links after the heads of the lists of slabs that no CPU allocates from.
    fn vote_of_lists(&self, cache: &Cache, votes: &mut Votes) {
        for (holder, slab) in &self.lists(cache).slabs {
            if slab.cache == cache.at && !matches!(holder, Holder::CpuActive(_)) {
                self.vote_of_link(cache, slab, slab.freelist, votes);
            }
        }
    }

    fn vote_of_link(&self, cache: &Cache, slab: &Slab, object: VirtAddr, votes: &mut Votes) {
        if slab.index_of(cache, object).is_none() {
            return;
        }
        let fits = |coding| {
            freelist::next(self.kernel, cache, object, coding).is_ok_and(|link| {
                link.pointer.0 == 0 || slab.index_of(cache, link.pointer).is_some()
            })
        };
        votes.add(
            fits(PointerCoding::HardenedSwapped),
            fits(PointerCoding::Hardened),
        );
    }
}

/// The object that an address lies in; for one question. [`Slub::find_object`] for many.
///
/// # Errors
/// [`Missing`] when the address lies in no slab, or its page descriptor is not in the dump.
pub fn find_object(kernel: &Kernel<'_>, at: VirtAddr) -> Result<SlabObject, Missing> {
    Slub::new(kernel)?.find_object(at)
}

/// How much of a cache is in use.
///
/// # Errors
/// As [`Slub::new`].
pub fn usage(kernel: &Kernel<'_>, cache: &Cache) -> Result<Usage, Missing> {
    Ok(Slub::new(kernel)?.usage(cache))
}

/// Everything that is wrong with the freelists of all caches.
///
/// # Errors
/// As [`Slub::new`].
pub fn check(kernel: &Kernel<'_>) -> Result<Check, Missing> {
    Slub::new(kernel)?.check()
}

/// The CPUs that can exist: the others have no per-CPU area, and their slots in `__per_cpu_offset` lead elsewhere.
fn possible_cpus(kernel: &Kernel<'_>) -> Result<Vec<u32>, Missing> {
    let count = kernel.cpu_count()?;
    let Ok(mask) = kernel.symbol("__cpu_possible_mask") else {
        return Ok((0..count).collect());
    };
    let mut cpus = Vec::new();
    for cpu in 0..count {
        let word = kernel
            .memory()
            .u64_at(mask.wrapping_add(u64::from(cpu / 64) * 8))
            .map_err(missing("__cpu_possible_mask"))?;
        if word.checked_shr(cpu % 64).unwrap_or(0) & 1 == 1 {
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}
