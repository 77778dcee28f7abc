//! Which object an address lies in, of which cache, and whether it is free: page, slab, index, and the freelists.
use super::cache::Cache;
use super::freelist::{WalkEnd, walk_freelist};
use super::slab::{Part, Slab};
use super::{Lists, Slub};
use crate::object::Missing;
use recrash_vmcore::VirtAddr;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

/// An object of a slab, with where in it an address lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabObject {
    /// Its cache.
    pub cache: Arc<Cache>,
    /// Its slab.
    pub slab: Slab,
    /// Start of the object, as the allocator gave it out.
    pub at: VirtAddr,
    /// Its number in the slab, from 0.
    pub index: u64,
    /// Bytes from the object's start to the address asked for; negative in the red zone to its left.
    pub offset: i64,
    /// What the address is a part of.
    pub part: Part,
    /// Whether it is in use.
    pub state: ObjectState,
}

/// Whether an object is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// On no freelist, and all that it could be on were walked to their end.
    Allocated,
    /// On a freelist.
    Free(FreeOn),
    /// A list that it could be on can't be walked to its end.
    Unknown(String),
}

/// The list that a free object is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreeOn {
    /// The list that this CPU allocates from.
    Cpu(u32),
    /// The slab's own.
    Slab,
}

impl std::fmt::Display for ObjectState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allocated => f.write_str("allocated"),
            Self::Free(FreeOn::Cpu(cpu)) => write!(f, "free (on CPU {cpu}'s list)"),
            Self::Free(FreeOn::Slab) => f.write_str("free (on the slab's list)"),
            Self::Unknown(why) => write!(f, "allocated or free: {why}"),
        }
    }
}

/// The free objects on the CPUs' lists of one cache.
#[derive(Debug, Default)]
pub(super) struct CpuFree {
    /// Which CPU's list each is on.
    pub(super) objects: HashMap<VirtAddr, u32>,
    /// Lists that do not end at NULL: the slab, and how they end.
    pub(super) broken: Vec<(VirtAddr, String)>,
}

impl Slub<'_> {
    /// The object that an address lies in.
    ///
    /// # Errors
    /// [`Missing`] when the address lies in no slab (it says what the page is instead), in no object of it, or its
    /// page descriptor is not in the dump.
    pub fn find_object(&self, at: VirtAddr) -> Result<SlabObject, Missing> {
        let page = self.map.page_of(at)?;
        let state = self.map.state(self.kernel, page)?;
        if !state.slab {
            let what = match self.map.order(self.kernel, state.head) {
                Some(0) => "a single page".into(),
                Some(order) => format!(
                    "a compound page of order {order} (a large kmalloc, or another such allocation)"
                ),
                None => "a page of unknown use".into(),
            };
            return Err(Missing::Implausible(format!(
                "{at} lies in no slab but in {what}"
            )));
        }
        let slab = self.slab(state.head)?;
        let cache = self.cache(slab.cache)?;
        let slot = slab.slot(&cache, at).ok_or_else(|| {
            Missing::Implausible(format!(
                "{at} lies in a slab of {}, behind its last object",
                cache.name
            ))
        })?;
        let state = self.state(&cache, &slab, slot.object);
        Ok(SlabObject {
            cache,
            slab,
            at: slot.object,
            index: slot.index,
            offset: slot.offset,
            part: slot.part,
            state,
        })
    }

    /// Whether an object is on one of the lists that hold free ones.
    #[must_use]
    pub fn state(&self, cache: &Cache, slab: &Slab, object: VirtAddr) -> ObjectState {
        let cpu_free = self.cpu_free(cache);
        if let Some(cpu) = cpu_free.objects.get(&object) {
            return ObjectState::Free(FreeOn::Cpu(*cpu));
        }
        let coding = match self.coding(cache) {
            Ok(coding) => coding,
            // An empty list has nothing to decode.
            Err(_) if slab.freelist.0 == 0 && cpu_free.broken.is_empty() => {
                return ObjectState::Allocated;
            }
            Err(missing) => return ObjectState::Unknown(missing.to_string()),
        };
        let walk = walk_freelist(self.kernel, cache, slab, slab.freelist, coding);
        if walk.objects.contains(&object) {
            return ObjectState::Free(FreeOn::Slab);
        }
        let broken = cpu_free.broken.iter().find(|(at, _)| *at == slab.at);
        match (walk.end, broken) {
            (WalkEnd::Null, None) => ObjectState::Allocated,
            (WalkEnd::Null, Some((_, why))) => ObjectState::Unknown(why.clone()),
            (end, _) => ObjectState::Unknown(format!("the slab's list is broken: {end}")),
        }
    }

    /// The objects on the CPUs' lists of a cache, walked once.
    pub(super) fn cpu_free(&self, cache: &Cache) -> Arc<CpuFree> {
        let known = || self.cpu_free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = known().get(&cache.at) {
            return Arc::clone(free);
        }
        let free = Arc::new(self.walk_cpus(cache));
        known().insert(cache.at, Arc::clone(&free));
        free
    }

    fn walk_cpus(&self, cache: &Cache) -> CpuFree {
        let mut free = CpuFree::default();
        for &cpu in &self.cpus {
            let Ok(cpu_slab) = cache.cpu_slab(self.kernel, cpu) else {
                continue;
            };
            if cpu_slab.freelist.0 == 0 {
                continue;
            }
            let walked = self.slab(cpu_slab.slab).and_then(|slab| {
                let coding = self.coding(cache)?;
                Ok(walk_freelist(
                    self.kernel,
                    cache,
                    &slab,
                    cpu_slab.freelist,
                    coding,
                ))
            });
            let broken = match walked {
                Ok(walk) => {
                    free.objects
                        .extend(walk.objects.into_iter().map(|object| (object, cpu)));
                    (walk.end != WalkEnd::Null).then(|| walk.end.to_string())
                }
                Err(missing) => Some(missing.to_string()),
            };
            if let Some(why) = broken {
                let why = format!("CPU {cpu}'s list is broken: {why}");
                free.broken.push((cpu_slab.slab, why));
            }
        }
        free
    }

    /// Number of free objects on the CPUs' lists of a cache, and why there may be more.
    pub(super) fn count_cpu_free(&self, cache: &Cache, lists: &mut Lists) -> u64 {
        let free = self.cpu_free(cache);
        lists.missing.extend(
            free.broken
                .iter()
                .map(|(_, why)| Missing::Implausible(why.clone())),
        );
        free.objects.len() as u64
    }
}
