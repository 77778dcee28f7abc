//! Free objects that somebody wrote to: the poison of a debugged cache has other bytes in it, and the red zones around
//! it say that the kernel took the object for free. Lists are not asked: whoever finds such an object first takes its
//! slab off them. What the bytes mean is not said here.
use super::cache::Cache;
use super::debug::{self, DebugLayout, ObjectDebug, Zone, ZoneSpan};
use super::{Slab, Slub};
use crate::object::Missing;
use recrash_vmcore::VirtAddr;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Objects told at most: a machine where more are written to is not read for each of them.
const MAX_OBJECTS: usize = 64;
/// Reasons kept at most.
const MAX_MISSING: usize = 16;

/// A free object that was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleWrite {
    /// Its cache.
    pub cache: Arc<Cache>,
    /// Its slab.
    pub slab: Slab,
    /// Its start.
    pub at: VirtAddr,
    /// From the first byte that is no poison to the last, in bytes from the object's start.
    pub span: Range<u64>,
    /// These bytes. One at either end that happens to be the poison's value is not among them.
    pub bytes: Vec<u8>,
    /// Its surroundings and its tracks.
    pub debug: ObjectDebug,
}

impl StaleWrite {
    /// Whether everything around the object is what debugging put there: nothing ran into it or out of it.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.debug
            .violations
            .iter()
            .all(|violation| violation.zone == Zone::Poison)
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct StaleWrites {
    /// The objects, by address.
    pub found: Vec<StaleWrite>,
    /// Caches that have what this needs: red zones and poison.
    pub caches: Vec<String>,
    /// Objects looked at.
    pub looked_at: u64,
    /// What could not be looked at.
    pub missing: Vec<Missing>,
}

impl StaleWrites {
    fn miss(&mut self, missing: Missing) {
        if self.missing.len() < MAX_MISSING && !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }
}

impl Slub<'_> {
    /// Looks at every object of every cache with red zones and poison.
    ///
    /// # Errors
    /// As [`Slub::all_slabs`].
    pub fn stale_writes(&self) -> Result<StaleWrites, Missing> {
        let slabs = self.all_slabs()?;
        let mut all = StaleWrites::default();
        slabs.missing.into_iter().for_each(|why| all.miss(why));
        let mut layouts: HashMap<VirtAddr, Option<(Arc<Cache>, DebugLayout)>> = HashMap::new();
        for slab in &slabs.slabs {
            let known = layouts
                .entry(slab.cache)
                .or_insert_with(|| self.debugged(slab.cache, &mut all));
            let Some((cache, layout)) = known else {
                continue;
            };
            for at in slab.all_objects(cache) {
                if all.found.len() >= MAX_OBJECTS {
                    all.miss(Missing::Implausible(format!(
                        "more than {MAX_OBJECTS} free objects were written to"
                    )));
                    return Ok(all);
                }
                all.looked_at = all.looked_at.saturating_add(1);
                let debug = debug::object_debug(self.kernel, cache, layout, at, false);
                if !is_free(&debug) {
                    continue;
                }
                let Some((span, bytes)) = written(at, &debug) else {
                    continue;
                };
                all.found.push(StaleWrite {
                    cache: Arc::clone(cache),
                    slab: slab.clone(),
                    at,
                    span,
                    bytes,
                    debug,
                });
            }
        }
        all.found.sort_by_key(|found| found.at);
        Ok(all)
    }

    /// The cache, where it has both red zones and poison.
    fn debugged(&self, at: VirtAddr, all: &mut StaleWrites) -> Option<(Arc<Cache>, DebugLayout)> {
        let cache = self.cache(at).map_err(|why| all.miss(why)).ok()?;
        let layout = debug::layout(self.kernel, &cache)?;
        if !(cache.flags.red_zone && layout.poison) {
            return None;
        }
        all.caches.push(cache.name.clone());
        Some((cache, layout))
    }
}

/// Whether most of the red zones' bytes are those of a free object.
fn is_free(debug: &ObjectDebug) -> bool {
    let is_red = |zone: Zone| matches!(zone, Zone::LeftRedZone | Zone::RightRedZone);
    let zones = debug.zones.iter().filter(|span| is_red(span.zone));
    let total: u64 = zones.clone().map(|span| span.length).sum();
    let wrong: u64 = zones.map(|span| wrong_bytes(debug, span)).sum();
    total > 0 && wrong.saturating_mul(2) < total
}

/// Bytes of a zone that are not what they should be.
fn wrong_bytes(debug: &ObjectDebug, span: &ZoneSpan) -> u64 {
    let inside = |at: VirtAddr| {
        at.checked_since(span.start)
            .is_some_and(|into| into < span.length)
    };
    let mut found = debug.violations.iter();
    found
        .find(|violation| violation.zone == span.zone && inside(violation.at))
        .map_or(0, |violation| {
            let wrong = violation.bytes.iter();
            wrong.filter(|byte| **byte != violation.expected).count() as u64
        })
}

/// The bytes that lie over the poison, from the object's start. The poison's last byte has a value of its own, so there
/// may be two stretches; what lies between them is poison.
fn written(at: VirtAddr, debug: &ObjectDebug) -> Option<(Range<u64>, Vec<u8>)> {
    let mut span: Option<Range<u64>> = None;
    let mut bytes = Vec::new();
    let mut poison: Vec<_> = debug
        .violations
        .iter()
        .filter(|violation| violation.zone == Zone::Poison)
        .collect();
    poison.sort_by_key(|violation| violation.at);
    for violation in poison {
        let start = violation.at.checked_since(at)?;
        let end = start.checked_add(violation.bytes.len() as u64)?;
        if let Some(known) = &span {
            let gap = usize::try_from(start.checked_sub(known.end)?).ok()?;
            bytes.resize(bytes.len().checked_add(gap)?, debug::POISON_FREE);
        }
        bytes.extend_from_slice(&violation.bytes);
        span = Some(span.map_or(start, |known| known.start)..end);
    }
    Some((span?, bytes))
}
