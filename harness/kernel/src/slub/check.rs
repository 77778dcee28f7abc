//! Everything that is wrong with the freelists of a dump, without a fault that points at it: lists that do not end
//! at NULL, slabs that belong elsewhere, debugging data that was overwritten. What overwrote it is not said here.
use super::cache::Cache;
use super::coding::PointerCoding;
use super::debug::{self, Violation};
use super::freelist::{FreelistWalk, Link, WalkEnd, walk_freelist};
use super::lists::Holder;
use super::slab::Slab;
use super::{Lists, Slub};
use crate::object::Missing;
use recrash_vmcore::VirtAddr;
use std::collections::HashSet;
use std::sync::Arc;

/// Slabs looked at most, of all caches together: a dump of that many is 16 GiB of slabs at least.
const MAX_SLABS: usize = 4 << 20;
/// Findings kept: a dump where more is wrong is not read for each of them.
const MAX_FINDINGS: usize = 1000;

/// The result of looking at all caches.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// What is wrong, in the order of the caches.
    pub findings: Vec<Finding>,
    /// Caches looked at.
    pub caches: usize,
    /// Slabs looked at.
    pub slabs: usize,
    /// Free objects met on lists.
    pub free_objects: u64,
    /// What could not be looked at.
    pub missing: Vec<Missing>,
}

/// Something that no sound kernel leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The cache.
    pub cache: Arc<Cache>,
    /// Which list the slab is on.
    pub holder: Holder,
    /// The slab.
    pub slab: Slab,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A freelist does not end at NULL.
    List {
        /// Objects walked before the bad link.
        walked: usize,
        /// How it ends.
        end: WalkEnd,
        /// How its links were read.
        coding: PointerCoding,
        /// Which bytes of the bad link were overwritten, where that can be told; 0 is the lowest address.
        extent: Option<Extent>,
    },
    /// The slab says that it belongs to another cache.
    Foreign(VirtAddr),
    /// The list has another number of objects than the slab counts as free. A CPU that died in the middle of an
    /// allocation may leave one object more or less.
    Count {
        /// `objects - inuse`.
        counted: u64,
        /// Objects on the list.
        walked: u64,
    },
    /// Debugging data of an object was overwritten.
    Debug {
        /// The object.
        object: VirtAddr,
        /// What and how.
        violation: Violation,
    },
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List {
                walked,
                end,
                extent,
                ..
            } => {
                write!(f, "freelist after {walked} objects: {end}")?;
                match extent {
                    Some(extent) => write!(f, "; {extent}"),
                    None => Ok(()),
                }
            }
            Self::Foreign(cache) => write!(f, "the slab belongs to the cache at {cache}"),
            Self::Count { counted, walked } => write!(
                f,
                "{walked} objects on the freelist, {counted} counted as free"
            ),
            Self::Debug { object, violation } => write!(
                f,
                "{} bytes of the {} of the object at {object} overwritten at {}",
                violation.bytes.len(),
                violation.zone.label(),
                violation.at
            ),
        }
    }
}

/// Which bytes of a pointer differ from a pointer that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte that differs, 0 the lowest address.
    pub start: u8,
    /// One past the last.
    pub end: u8,
    /// The only bit that differs, 0 the lowest, where it is only one.
    pub bit: Option<u8>,
    /// The pointer that is nearest.
    pub nearest: VirtAddr,
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.bit {
            Some(bit) => write!(f, "bit {bit} of {} flipped", self.nearest),
            None => write!(
                f,
                "only bytes {} to {} overwritten, the others are those of a pointer into the slab",
                self.start, self.end
            ),
        }
    }
}

/// Bytes of a pointer that must be right by themselves to say that the others were overwritten: of random words
/// fewer than one in a million has four that agree with one of a slab's objects.
const KEPT: u32 = 4;

/// Which bytes of a bad link differ from the pointer to an object of the slab (or NULL) that is nearest to it;
/// `None` where so many differ that it may as well be all of them.
#[must_use]
pub fn extent(cache: &Cache, slab: &Slab, link: &Link, coding: PointerCoding) -> Option<Extent> {
    let code = |pointer: VirtAddr| match link.carrier {
        Some(carrier) => cache.code(coding, pointer.0, carrier),
        None => pointer.0,
    };
    // NULL ends most lists, but eight bytes of zero are no evidence of a pointer where they are not coded.
    let null = (link.carrier.is_some() && coding != PointerCoding::Plain).then_some(VirtAddr(0));
    let candidates = slab.all_objects(cache).chain(null);
    let differing = |pointer: VirtAddr| {
        let difference = link.stored ^ code(pointer);
        let (start, end) = (
            difference.trailing_zeros() / 8,
            8 - difference.leading_zeros() / 8,
        );
        (
            end.saturating_sub(start),
            difference.count_ones(),
            start,
            end,
            difference,
            pointer,
        )
    };
    let nearest = candidates
        .map(differing)
        .min_by_key(|(length, ones, ..)| (*ones > 1, *length))?;
    let (length, ones, start, end, difference, pointer) = nearest;
    let kept = 8u32.saturating_sub(length);
    let narrow = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    (kept >= KEPT && ones > 0).then(|| Extent {
        start: narrow(start),
        end: narrow(end),
        bit: (ones == 1).then(|| narrow(difference.trailing_zeros())),
        nearest: pointer,
    })
}

impl Slub<'_> {
    /// Walks every list of every cache.
    ///
    /// # Errors
    /// [`Missing`] when the caches can't be listed; everything else that can't be read is among the result's
    /// `missing`.
    pub fn check(&self) -> Result<Check, Missing> {
        let (caches, cut) = self.caches()?;
        let mut check = Check::default();
        check.missing.extend(cut);
        for cache in caches {
            if check.slabs >= MAX_SLABS || check.findings.len() >= MAX_FINDINGS {
                check.missing.push(Missing::Implausible(format!(
                    "stopped after {} slabs and {} findings",
                    check.slabs,
                    check.findings.len()
                )));
                break;
            }
            self.check_cache(Arc::new(cache), &mut check);
        }
        Ok(check)
    }

    fn check_cache(&self, cache: Arc<Cache>, check: &mut Check) {
        check.caches += 1;
        let lists = self.lists(&cache);
        check.slabs += lists.slabs.len();
        check.missing.extend(lists.missing.iter().cloned());
        if lists.slabs.is_empty() {
            return;
        }
        let coding = match self.coding(&cache) {
            Ok(coding) => coding,
            Err(missing) => return check.missing.push(missing),
        };
        for (holder, slab) in &lists.slabs {
            let found = |what| Finding {
                cache: Arc::clone(&cache),
                holder: *holder,
                slab: slab.clone(),
                what,
            };
            if slab.cache != cache.at {
                check.findings.push(found(Wrong::Foreign(slab.cache)));
                continue;
            }
            let (free, wrong) = self.check_slab(&cache, &lists, *holder, slab, coding);
            check.free_objects += free;
            check.findings.extend(wrong.into_iter().map(found));
        }
    }

    /// The number of free objects of a slab, and what is wrong with it.
    fn check_slab(
        &self,
        cache: &Cache,
        lists: &Lists,
        holder: Holder,
        slab: &Slab,
        coding: PointerCoding,
    ) -> (u64, Vec<Wrong>) {
        let own = walk_freelist(self.kernel, cache, slab, slab.freelist, coding);
        let active = match holder {
            Holder::CpuActive(cpu) => lists.cpus.iter().find(|(number, _)| *number == cpu),
            _ => None,
        };
        let active = active.map(|(_, cpu_slab)| {
            walk_freelist(self.kernel, cache, slab, cpu_slab.freelist, coding)
        });
        let mut wrong = Vec::new();
        for walk in active.iter().chain([&own]) {
            wrong.extend(bad_end(cache, slab, walk));
        }
        let counted = slab.objects.saturating_sub(slab.inuse);
        if own.end == WalkEnd::Null && own.objects.len() as u64 != counted {
            wrong.push(Wrong::Count {
                counted,
                walked: own.objects.len() as u64,
            });
        }
        let whole = wrong.is_empty();
        let free: HashSet<VirtAddr> = (active.iter().flat_map(|walk| &walk.objects))
            .chain(&own.objects)
            .copied()
            .collect();
        self.check_debug(cache, slab, &free, whole, &mut wrong);
        (free.len() as u64, wrong)
    }

    /// A list that broke off leaves open which objects are free; those on it are free anyway.
    fn check_debug(
        &self,
        cache: &Cache,
        slab: &Slab,
        free: &HashSet<VirtAddr>,
        whole: bool,
        wrong: &mut Vec<Wrong>,
    ) {
        let Some(layout) = debug::layout(self.kernel, cache) else {
            return;
        };
        for object in slab.all_objects(cache) {
            let is_free = free.contains(&object);
            if !is_free && !whole {
                continue;
            }
            let debug = debug::object_debug(self.kernel, cache, &layout, object, !is_free);
            wrong.extend(
                debug
                    .violations
                    .into_iter()
                    .map(|violation| Wrong::Debug { object, violation }),
            );
        }
    }
}

fn bad_end(cache: &Cache, slab: &Slab, walk: &FreelistWalk) -> Option<Wrong> {
    (walk.end != WalkEnd::Null).then(|| Wrong::List {
        walked: walk.objects.len(),
        end: walk.end.clone(),
        coding: walk.coding,
        extent: (walk.end.bad_link()).and_then(|link| extent(cache, slab, &link, walk.coding)),
    })
}
