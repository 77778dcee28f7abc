//! Slab caches: `struct kmem_cache` as far as the other parts need it, its flags, and the list of all of them.
//! Slabs and lists are not here.
use super::coding::PointerCoding;
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object, list_entries};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// More caches than any kernel creates.
const MAX_CACHES: usize = 65_536;
/// A cache's name is short; `kmem_cache_create()` sets no limit.
const MAX_NAME: usize = 128;

/// A slab cache (`struct kmem_cache`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Address of the `struct kmem_cache`.
    pub at: VirtAddr,
    /// Name, for example `kmalloc-256`; of several caches that were merged the first one's. The others' names:
    /// [`super::aliases`].
    pub name: String,
    /// Distance between objects in bytes.
    pub size: u64,
    /// Size without metadata in bytes.
    pub object_size: u64,
    /// Where the freelist pointer lies in a free object, in bytes from the object's start.
    pub offset: u64,
    /// Bytes from the object's start to its metadata (`kmem_cache.inuse`); `None` where the types don't have it.
    pub inuse: Option<u64>,
    /// Bytes of red zone to the left of each object, 0 without.
    pub red_left_pad: u64,
    /// What debugging it has.
    pub flags: CacheFlags,
    /// How many caches share this one: more than 1 for a merged one.
    pub refcount: Option<i32>,
    /// Order and objects of a new slab (`kmem_cache.oo`); an old slab may be smaller.
    pub order_objects: Option<(u32, u32)>,
    /// CONFIG_SLAB_FREELIST_HARDENED's secret; `None` where the kernel keeps the pointer as it is.
    pub random: Option<u64>,
    /// Per-CPU offset of its `struct kmem_cache_cpu`.
    pub(super) cpu_slab: u64,
}

/// `kmem_cache.flags`, the ones that change what lies in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFlags {
    /// The word itself.
    pub raw: u64,
    /// SLAB_RED_ZONE: bytes around each object tell an overflow.
    pub red_zone: bool,
    /// SLAB_POISON and the internal flag that says that objects really are poisoned (no constructor, no RCU).
    pub poison: bool,
    /// SLAB_STORE_USER: who allocated and freed each object last.
    pub store_user: bool,
    /// SLAB_TYPESAFE_BY_RCU: a freed object may still be read.
    pub typesafe_by_rcu: bool,
}

/// A flag by its bit's name since 6.9 (commit cc61eb851f3f "mm, slab: use an enum to define SLAB_ cache creation
/// flags"), and its value before, which had been the same since 2.6 (include/linux/slab.h, mm/slub.c).
fn flag(kernel: &Kernel<'_>, bit_name: &str, before: u64) -> u64 {
    let by_name = kernel.types().enum_value(bit_name);
    let by_name = by_name
        .and_then(|bit| u32::try_from(bit).ok())
        .and_then(|bit| 1u64.checked_shl(bit));
    by_name.unwrap_or(before)
}

impl CacheFlags {
    fn new(kernel: &Kernel<'_>, raw: u64) -> Self {
        let has = |name, before| raw & flag(kernel, name, before) != 0;
        Self {
            raw,
            red_zone: has("_SLAB_RED_ZONE", 0x400),
            poison: has("_SLAB_POISON", 0x800) && has("_SLAB_OBJECT_POISON", 0x8000_0000),
            store_user: has("_SLAB_STORE_USER", 0x1_0000),
            typesafe_by_rcu: has("_SLAB_TYPESAFE_BY_RCU", 0x8_0000),
        }
    }
}

impl Cache {
    /// The cache whose `struct kmem_cache` lies at `at`.
    ///
    /// # Errors
    /// [`Missing`] when its memory or layout is.
    pub fn read(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Self, Missing> {
        let object = Object::new(kernel, "kmem_cache", at);
        let size = object.u64("size")?;
        if size == 0 {
            return Err(Missing::Implausible(format!(
                "kmem_cache at {at} has objects of no bytes"
            )));
        }
        Ok(Self {
            at,
            name: object.string("name", MAX_NAME)?.unwrap_or_default(),
            size,
            object_size: object.u64("object_size")?,
            offset: object.u64("offset")?,
            inuse: optional(&object, "inuse")?,
            red_left_pad: optional(&object, "red_left_pad")?.unwrap_or(0),
            flags: CacheFlags::new(kernel, optional(&object, "flags")?.unwrap_or(0)),
            refcount: if object.has("refcount") {
                Some(object.i32("refcount")?)
            } else {
                None
            },
            order_objects: optional(&object, "oo.x")?.map(order_objects),
            random: optional(&object, "random")?,
            cpu_slab: object.u64("cpu_slab")?,
        })
    }

    /// The codings that this cache can have; the types do not tell the two hardened ones apart
    /// (by what lies in memory that can).
    #[must_use]
    pub fn codings(&self) -> &'static [PointerCoding] {
        match self.random {
            None => &[PointerCoding::Plain],
            Some(_) => &[PointerCoding::HardenedSwapped, PointerCoding::Hardened],
        }
    }

    /// The word that a kernel with this coding has at `object`'s freelist pointer to read it as `pointer`, or the
    /// other way round.
    #[must_use]
    pub fn code(&self, coding: PointerCoding, word: u64, object: VirtAddr) -> u64 {
        let at = object.wrapping_add(self.offset);
        coding.apply(word, self.random.unwrap_or(0), at)
    }

    /// CPU `cpu`'s active slab of this cache.
    ///
    /// # Errors
    /// [`Missing`] when its memory or layout is.
    pub fn cpu_slab(&self, kernel: &Kernel<'_>, cpu: u32) -> Result<CpuSlab, Missing> {
        let at = kernel.per_cpu(cpu, self.cpu_slab)?;
        let object = Object::new(kernel, "kmem_cache_cpu", at);
        // Linux commit bb192ed9aa71 ("mm/slub: Convert most struct page to struct slab by spatch", 5.17).
        let slab = object.ptr("slab").or_else(|_| object.ptr("page"))?;
        Ok(CpuSlab {
            at,
            freelist: object.ptr("freelist")?,
            tid: object.u64("tid")?,
            slab,
        })
    }
}

/// `None` where the structure has no such field; a field that can't be read is an error.
pub(super) fn optional(object: &Object<'_>, field: &str) -> Result<Option<u64>, Missing> {
    if object.has(field) {
        object.u64(field).map(Some)
    } else {
        Ok(None)
    }
}

/// `struct kmem_cache_order_objects`: order above 16 bits of number of objects (mm/slub.c, OO_SHIFT).
#[expect(clippy::cast_possible_truncation, reason = "x is an unsigned int")]
fn order_objects(x: u64) -> (u32, u32) {
    let x = x as u32;
    (x >> 16, x & 0xffff)
}

/// A CPU's active slab (`struct kmem_cache_cpu`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSlab {
    /// Address of the `struct kmem_cache_cpu`.
    pub at: VirtAddr,
    /// The first free object, as the next allocation will take it.
    pub freelist: VirtAddr,
    /// Transaction id.
    pub tid: u64,
    /// The slab that the freelist belongs to: `struct slab`, `struct page` before 5.17.
    pub slab: VirtAddr,
}

/// All slab caches, in the kernel's own order (the last one created first).
///
/// # Errors
/// [`Missing`] when the list can't be found; a list that breaks off gives what came before, with the reason.
pub fn caches(kernel: &Kernel<'_>) -> Result<(Vec<Cache>, Option<Missing>), Missing> {
    let head = kernel.symbol("slab_caches")?;
    let (objects, mut cut) = list_entries(kernel, head, "kmem_cache", "list", MAX_CACHES);
    let mut caches = Vec::new();
    let mut seen = HashSet::new();
    // A list that runs in a circle gives each of its caches once; the reason says that it did.
    for object in objects.into_iter().filter(|object| seen.insert(object.at)) {
        match Cache::read(kernel, object.at) {
            Ok(cache) => caches.push(cache),
            Err(missing) => cut = Some(missing),
        }
    }
    Ok((caches, cut))
}

/// Whether init_on_alloc is on (static key, mm/page_alloc.c): new objects are zeroed.
///
/// # Errors
/// [`Missing`] on kernels without it (before 5.3).
pub fn init_on_alloc(kernel: &Kernel<'_>) -> Result<bool, Missing> {
    let at = kernel.symbol("init_on_alloc")?;
    Ok(kernel
        .memory()
        .u32_at(at)
        .map_err(missing("init_on_alloc"))?
        .cast_signed()
        > 0)
}
