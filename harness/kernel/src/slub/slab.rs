//! One slab: its descriptor (`struct slab`, `struct page` before 5.17), its objects, and which of them an address
//! lies in. Knows no lists of slabs.
use super::cache::{Cache, optional};
use super::page::PageMap;
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_vmcore::VirtAddr;

/// A slab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slab {
    /// Address of its descriptor.
    pub at: VirtAddr,
    /// Address of its first byte.
    pub start: VirtAddr,
    /// The cache that it says it belongs to.
    pub cache: VirtAddr,
    /// Number of objects.
    pub objects: u64,
    /// Objects in use, as the kernel counts: those on a CPU's list are among them.
    pub inuse: u64,
    /// Whether a CPU had taken it off the node's lists (`frozen`).
    pub frozen: bool,
    /// Its own first free object; a CPU's active slab has another list beside.
    pub freelist: VirtAddr,
}

/// An object of a slab, and where in it an address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Start of the object, as the allocator gave it out.
    pub object: VirtAddr,
    /// Its number in the slab, from 0.
    pub index: u64,
    /// Bytes from the object's start to the address; negative in the red zone to its left.
    pub offset: i64,
    /// What the address is a part of.
    pub part: Part,
}

/// Part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the caller asked for.
    Object,
    /// The red zone to its left.
    LeftRedZone,
    /// Behind the object: red zone, freelist pointer, tracks, padding.
    Metadata,
}

/// Structure name of a slab's descriptor: commit d122019bf061 ("mm: Split slab into its own type", 5.17).
pub(super) fn descriptor(kernel: &Kernel<'_>) -> &'static str {
    if kernel.types().size_of("slab").is_some() {
        "slab"
    } else {
        "page"
    }
}

impl Slab {
    /// The slab whose descriptor lies at `at`.
    ///
    /// # Errors
    /// [`Missing`] when its memory or layout is, or `at` is no place for a descriptor.
    pub fn read(kernel: &Kernel<'_>, map: &PageMap, at: VirtAddr) -> Result<Self, Missing> {
        let object = Object::new(kernel, descriptor(kernel), at);
        Ok(Self {
            at,
            start: map.address_of(at)?,
            cache: VirtAddr(optional(&object, "slab_cache")?.unwrap_or(0)),
            objects: object.u64("objects")?,
            inuse: optional(&object, "inuse")?.unwrap_or(0),
            frozen: optional(&object, "frozen")?.unwrap_or(0) != 0,
            freelist: VirtAddr(optional(&object, "freelist")?.unwrap_or(0)),
        })
    }

    /// Start of object `index`, whether or not the slab has so many.
    #[must_use]
    pub fn object(&self, cache: &Cache, index: u64) -> VirtAddr {
        self.start
            .wrapping_add(cache.red_left_pad)
            .wrapping_add(index.wrapping_mul(cache.size))
    }

    /// Starts of all objects. `objects` is 15 bits wide, so there are few.
    pub fn all_objects<'s>(&'s self, cache: &'s Cache) -> impl Iterator<Item = VirtAddr> + 's {
        (0..self.objects.min(1 << 15)).map(|index| self.object(cache, index))
    }

    /// The object's number, if `at` is the start of one.
    #[must_use]
    pub fn index_of(&self, cache: &Cache, at: VirtAddr) -> Option<u64> {
        let distance = at.checked_since(self.object(cache, 0))?;
        let index = distance.checked_div(cache.size)?;
        (self.object(cache, index) == at && index < self.objects).then_some(index)
    }

    /// Whether an address lies between the slab's first object and the end of its last.
    #[must_use]
    pub fn contains(&self, cache: &Cache, at: VirtAddr) -> bool {
        let length = self.objects.saturating_mul(cache.size);
        at.checked_since(self.start)
            .is_some_and(|distance| distance < length)
    }

    /// The object that an address lies in; `None` outside, and in what is left behind the last object.
    #[must_use]
    pub fn slot(&self, cache: &Cache, at: VirtAddr) -> Option<Slot> {
        if !self.contains(cache, at) {
            return None;
        }
        let index = at.checked_since(self.start)?.checked_div(cache.size)?;
        let object = self.object(cache, index);
        let offset = at.0.wrapping_sub(object.0).cast_signed();
        let part = match u64::try_from(offset) {
            Err(_) => Part::LeftRedZone,
            Ok(offset) if offset < cache.object_size => Part::Object,
            Ok(_) => Part::Metadata,
        };
        Some(Slot {
            object,
            index,
            offset,
            part,
        })
    }
}
