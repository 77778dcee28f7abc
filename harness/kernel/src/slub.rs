//! SLUB: caches, a CPU's freelist, the objects of a slab, and the freelist pointer as it lies in memory.
//! Layouts come from the types; the pointer's encoding from mm/slub.c (`freelist_ptr`).
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object, list_entries};
use recrash_vmcore::{VirtAddr, VirtMem};

/// More caches than any kernel creates.
const MAX_CACHES: usize = 65_536;
/// `oo` keeps the number of objects in 16 bits (mm/slub.c, OO_MASK).
const MAX_OBJECTS: u64 = 1 << 16;

/// A slab cache (`struct kmem_cache`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Address of the `struct kmem_cache`.
    pub at: VirtAddr,
    /// Name, for example `kmalloc-256`.
    pub name: String,
    /// Distance between objects in bytes.
    pub size: u64,
    /// Size without metadata in bytes.
    pub object_size: u64,
    /// Where the freelist pointer lies in a free object, in bytes.
    pub offset: u64,
    /// CONFIG_SLAB_FREELIST_HARDENED's secret; `None` where the kernel keeps the pointer as it is.
    pub random: Option<u64>,
    /// Per-CPU offset of its `struct kmem_cache_cpu`.
    cpu_slab: u64,
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

/// How a free object keeps the address of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointerCoding {
    /// As it is.
    Plain,
    /// XOR with the cache's secret and the pointer's own address.
    Hardened,
    /// The same with the address byte-swapped, since 5.7 (commit 1ad53d9fa3f6 "slub: improve bit diffusion for
    /// freelist ptr obfuscation").
    HardenedSwapped,
}

impl PointerCoding {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "stored as it is",
            Self::Hardened => "stored XOR the cache's secret XOR its address",
            Self::HardenedSwapped => "stored XOR the cache's secret XOR its byte-swapped address",
        }
    }

    /// The bytes in memory at `at` that a kernel with this coding reads as `pointer`; the coding is its own
    /// inverse.
    #[must_use]
    pub fn apply(self, pointer: u64, random: u64, at: VirtAddr) -> u64 {
        match self {
            Self::Plain => pointer,
            Self::Hardened => pointer ^ random ^ at.0,
            Self::HardenedSwapped => pointer ^ random ^ at.0.swap_bytes(),
        }
    }
}

impl Cache {
    /// The codings that this cache can have; the types do not tell the two hardened ones apart.
    #[must_use]
    pub fn codings(&self) -> &'static [PointerCoding] {
        match self.random {
            None => &[PointerCoding::Plain],
            Some(_) => &[PointerCoding::HardenedSwapped, PointerCoding::Hardened],
        }
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

    /// Addresses of all objects of a slab of this cache.
    ///
    /// # Errors
    /// [`Missing`] when the slab's descriptor or memory can't be found.
    pub fn objects(&self, kernel: &Kernel<'_>, slab: VirtAddr) -> Result<Vec<VirtAddr>, Missing> {
        let of = if kernel.types().size_of("slab").is_some() {
            "slab"
        } else {
            "page"
        };
        let count = Object::new(kernel, of, slab).u64("objects")?;
        if count > MAX_OBJECTS || self.size == 0 {
            return Err(Missing::Implausible(format!(
                "a slab of {count} objects of {} bytes",
                self.size
            )));
        }
        let start = page_address(kernel, slab)?;
        Ok((0..count)
            .map(|index| start.wrapping_add(index.wrapping_mul(self.size)))
            .collect())
    }
}

/// All slab caches.
///
/// # Errors
/// [`Missing`] when the list can't be found; a list that breaks off gives what came before, with the reason.
pub fn caches(kernel: &Kernel<'_>) -> Result<(Vec<Cache>, Option<Missing>), Missing> {
    let head = kernel.symbol("slab_caches")?;
    let (objects, mut cut) = list_entries(kernel, head, "kmem_cache", "list", MAX_CACHES);
    let mut caches = Vec::new();
    for object in objects {
        match read(object) {
            Ok(cache) => caches.push(cache),
            Err(missing) => cut = Some(missing),
        }
    }
    Ok((caches, cut))
}

fn read(object: Object<'_>) -> Result<Cache, Missing> {
    Ok(Cache {
        at: object.at,
        name: object.string("name", 128)?.unwrap_or_default(),
        size: object.u64("size")?,
        object_size: object.u64("object_size")?,
        offset: object.u64("offset")?,
        random: if object.has("random") {
            Some(object.u64("random")?)
        } else {
            None
        },
        cpu_slab: object.u64("cpu_slab")?,
    })
}

/// The direct-mapping address of the page that a `struct page` or `struct slab` describes
/// (arch/x86/include/asm/page_64.h; the bases move with CONFIG_RANDOMIZE_MEMORY).
fn page_address(kernel: &Kernel<'_>, page: VirtAddr) -> Result<VirtAddr, Missing> {
    let vmemmap = kernel.u64_at_symbol("vmemmap_base")?;
    let direct = kernel.u64_at_symbol("page_offset_base")?;
    let size = kernel
        .types()
        .size_of("page")
        .or_else(|| kernel.info().size("page"))
        .filter(|size| *size > 0)
        .ok_or_else(|| Missing::Type("page".into()))?;
    let distance = page.0.wrapping_sub(vmemmap);
    if distance % size != 0 || distance / size >= 1 << 40 {
        return Err(Missing::Implausible(format!("{page} is no struct page")));
    }
    Ok(VirtAddr(direct.wrapping_add((distance / size) << 12)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_coding_is_its_own_inverse() {
        let (random, at, pointer) = (
            0x1234_5678_9abc_def0,
            VirtAddr(0xffff_8880_0123_4080),
            0x0072_0069_0056_0338,
        );
        for coding in [
            PointerCoding::Plain,
            PointerCoding::Hardened,
            PointerCoding::HardenedSwapped,
        ] {
            assert_eq!(
                coding.apply(coding.apply(pointer, random, at), random, at),
                pointer
            );
        }
    }

    #[test]
    fn the_swapped_coding_mixes_the_low_address_bytes_into_the_high_ones() {
        let stored = PointerCoding::HardenedSwapped.apply(0, 0, VirtAddr(0x11));
        assert_eq!(stored, 0x11 << 56);
    }
}
