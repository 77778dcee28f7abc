//! SLUB's structures (include/linux/slub_def.h, mm_types.h), by the caches whose size is in their name.
use super::memory::{Memory, not_found};
use crate::object::Missing;
use recrash_debuginfo::btf::{FieldKind, FieldSpec, StructSpec};

/// Larger than `struct kmem_cache` is before its array of nodes.
const CACHE_MAX: u64 = 512;
/// Fewer caches tell too little.
const CACHES_MIN: usize = 8;
/// Bytes of `struct page`.
const PAGE_STRUCT: u32 = 64;
/// `struct kmem_cache_cpu`: the same from 4.18 to 6.12, but for the name of the third, which is `slab` since 5.17.
const CPU: [FieldSpec; 4] = [
    ("freelist", 0, FieldKind::Pointer),
    ("tid", 8, FieldKind::Unsigned(8)),
    ("page", 16, FieldKind::Pointer),
    ("partial", 24, FieldKind::Pointer),
];

struct Caches<'m, 'k> {
    memory: &'m Memory<'k>,
    name: u64,
    /// Every cache with its name.
    all: Vec<(u64, String)>,
}

pub(super) fn probe(memory: &Memory<'_>) -> Result<Vec<StructSpec>, Missing> {
    let caches = Caches::find(memory)?;
    let size = caches.size().ok_or_else(|| not_found("size"))?;
    let offset = caches.offset(size).ok_or_else(|| not_found("offset"))?;
    let mut fields: Vec<FieldSpec> = vec![
        at("cpu_slab", 0, FieldKind::Pointer),
        at("flags", 8, FieldKind::Unsigned(4)),
        at("size", size, FieldKind::Unsigned(4)),
        at("object_size", size + 4, FieldKind::Unsigned(4)),
        at("offset", offset, FieldKind::Unsigned(4)),
        at("name", caches.name, FieldKind::Pointer),
        at("list", caches.name + 8, FieldKind::Struct("list_head")),
    ];
    let oo = caches.order_and_objects(size, offset);
    fields.extend(oo.map(|oo| at("oo", oo, FieldKind::Struct("kmem_cache_order_objects"))));
    fields.extend(
        caches
            .random()
            .map(|random| at("random", random, FieldKind::Unsigned(8))),
    );
    let mut structs = vec![
        StructSpec {
            name: "kmem_cache_order_objects",
            size: 4,
            fields: vec![("x", 0, FieldKind::Unsigned(4))],
        },
        StructSpec {
            name: "kmem_cache",
            size: CACHE_MAX as u32,
            fields,
        },
    ];
    let slabs = caches.cpu_slabs();
    if !slabs.is_empty() {
        structs.push(StructSpec {
            name: "kmem_cache_cpu",
            size: 32,
            fields: CPU.to_vec(),
        });
        structs.push(caches.page(&slabs, oo));
    }
    Ok(structs)
}

fn at(name: &'static str, offset: u64, kind: FieldKind) -> FieldSpec {
    (name, u32::try_from(offset).unwrap_or(u32::MAX), kind)
}

impl<'m, 'k> Caches<'m, 'k> {
    /// `kmem_cache` and `kmem_cache_node` point at the caches of these names; `name` lies before `list`.
    fn find(memory: &'m Memory<'k>) -> Result<Self, Missing> {
        let head = memory.symbol("slab_caches")?;
        let known = ["kmem_cache", "kmem_cache_node"];
        let mut caches = Vec::new();
        for name in known {
            let cache = memory.pointer(memory.symbol(name)?);
            caches.push((cache.ok_or_else(|| not_found(name))?, name));
        }
        let named = |cache: u64, offset: u64| {
            let text = memory.word(cache.wrapping_add(offset))?;
            memory.name(text, 128)
        };
        let is_name = |offset: &u64| {
            let mut known = caches.iter();
            known.all(|(cache, name)| named(*cache, *offset).as_deref() == Some(*name))
        };
        let name = (16..CACHE_MAX)
            .step_by(8)
            .find(is_name)
            .ok_or_else(|| not_found("name"))?;
        let all = memory
            .ring(head, name + 8, |cache| named(cache, name).is_some())
            .filter(|all| all.len() >= CACHES_MIN)
            .ok_or_else(|| not_found("ring of caches"))?;
        let all = all
            .into_iter()
            .filter_map(|cache| Some((cache, named(cache, name)?)))
            .collect();
        Ok(Self { memory, name, all })
    }

    fn half(&self, cache: u64, offset: u64) -> Option<u64> {
        self.memory.half(cache.wrapping_add(offset)).map(u64::from)
    }

    fn of_all(&self, fits: impl Fn(u64) -> bool) -> bool {
        self.all.iter().all(|(cache, _)| fits(*cache))
    }

    /// `size` lies before `object_size`, which is in the name of the caches of kmalloc.
    fn size(&self) -> Option<u64> {
        let by_name: Vec<(u64, u64)> = self
            .all
            .iter()
            .filter_map(|(cache, name)| Some((*cache, size_in_name(name)?)))
            .collect();
        (8..self.name).step_by(4).find(|offset| {
            let fits = |&(cache, size): &(u64, u64)| {
                let (whole, object) = (self.half(cache, *offset), self.half(cache, offset + 4));
                object == Some(size) && whole.is_some_and(|whole| whole >= size)
            };
            by_name.len() >= 3 && by_name.iter().all(fits)
        })
    }

    /// Behind the sizes; since 5.9 `reciprocal_size` lies between (commit 8b05a9a0d2ae), whose multiplier is 1 for
    /// powers of two.
    fn offset(&self, size: u64) -> Option<u64> {
        [size + 8, size + 16].into_iter().find(|offset| {
            self.of_all(|cache| {
                let whole = self.half(cache, size).unwrap_or(0);
                self.half(cache, *offset)
                    .is_some_and(|at| at % 8 == 0 && at <= whole)
            })
        })
    }

    /// The number of objects that a slab holds, with its order above: they have to fit, and leave no room for another.
    fn order_and_objects(&self, size: u64, offset: u64) -> Option<u64> {
        (offset + 4..self.name.min(offset + 32))
            .step_by(4)
            .find(|oo| {
                self.of_all(|cache| {
                    let (Some(size), Some(oo)) = (self.half(cache, size), self.half(cache, *oo))
                    else {
                        return false;
                    };
                    let (order, objects) = (oo >> 16, oo & 0xffff);
                    let room = 4096u64 << order.min(16);
                    order <= 10
                        && objects > 0
                        && objects * size <= room
                        && (objects + 1) * size > room
                })
            })
    }

    /// The secret of CONFIG_SLAB_FREELIST_HARDENED: a random word behind `list`, another in each cache.
    fn random(&self) -> Option<u64> {
        let from = self.name + 24;
        (from..from + 256).step_by(8).find(|offset| {
            let words = self
                .all
                .iter()
                .map(|(cache, _)| self.memory.word(cache + offset));
            let Some(mut words) = words.collect::<Option<Vec<u64>>>() else {
                return false;
            };
            // Neither pointers nor small numbers; three in a row of 16 random bits all equal do not happen.
            let random = |word: &u64| {
                let high = word >> 48;
                high != 0 && high != 0xffff && (word >> 32) as u32 != *word as u32
            };
            let count = words.len();
            let all = words.iter().filter(|word| random(word)).count();
            words.sort_unstable();
            words.dedup();
            words.len() == count && all * 16 >= count * 15
        })
    }

    /// `struct page` of the slab that a CPU allocates from, with the cache it belongs to.
    fn cpu_slabs(&self) -> Vec<(u64, u64)> {
        let kernel = self.memory.kernel;
        let count = kernel.cpu_count().unwrap_or(0);
        let slab = |cache: u64, cpu: u32| {
            let cpu_slab = self.memory.word(cache)?;
            let at = kernel.per_cpu(cpu, cpu_slab).ok()?;
            self.memory.pointer(at.0.wrapping_add(16))
        };
        let pairs = self
            .all
            .iter()
            .flat_map(|(cache, _)| (0..count).map(move |cpu| (*cache, cpu)));
        pairs
            .filter_map(|(cache, cpu)| Some((slab(cache, cpu)?, cache)))
            .collect()
    }

    /// Where a slab names its cache, and its counters: `inuse:16, objects:15, frozen:1`.
    fn page(&self, slabs: &[(u64, u64)], oo: Option<u64>) -> StructSpec {
        let mut fields: Vec<FieldSpec> = vec![("flags", 0, FieldKind::Unsigned(8))];
        let owner = (8..64).step_by(8).find(|offset| {
            slabs
                .iter()
                .all(|(page, cache)| self.memory.word(page + offset) == Some(*cache))
        });
        fields.extend(owner.map(|offset| at("slab_cache", offset, FieldKind::Pointer)));
        // A slab that a CPU allocates from is frozen, and has as many objects as its cache says, or fewer where memory
        // was short.
        let counters = (8..64).step_by(8).find(|offset| {
            slabs.iter().all(|(page, cache)| {
                let word = self.memory.half(page + offset).unwrap_or(0);
                let most = oo
                    .and_then(|oo| self.half(*cache, oo))
                    .map_or(0x7fff, |oo| oo & 0xffff);
                let objects = u64::from(word >> 16 & 0x7fff);
                word >> 31 == 1
                    && objects > 0
                    && objects <= most
                    && word & 0xffff <= word >> 16 & 0x7fff
            })
        });
        if let Some(offset) = counters.filter(|offset| *offset >= 16) {
            let first = u32::try_from(offset * 8).unwrap_or(0);
            fields.extend([
                at("freelist", offset - 8, FieldKind::Pointer),
                at("counters", offset, FieldKind::Unsigned(8)),
                ("inuse", 0, FieldKind::Bits(first, 16)),
                ("objects", 0, FieldKind::Bits(first + 16, 15)),
                ("frozen", 0, FieldKind::Bits(first + 31, 1)),
            ]);
        }
        StructSpec {
            name: "page",
            size: PAGE_STRUCT,
            fields,
        }
    }
}

/// 256 of `kmalloc-256`, 2048 of `kmalloc-2k`.
fn size_in_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("kmalloc-")?;
    match digits.strip_suffix('k') {
        Some(kilobytes) => kilobytes.parse::<u64>().ok()?.checked_mul(1024),
        None => digits.parse().ok(),
    }
}
