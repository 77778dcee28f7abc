//! What the kernel's sources say and a text does not: types that functions return, offsets of members. Tables with
//! their sources.

/// C types of what allocator functions return (mm/slab_common.c, mm/slab.h, mm/slub.c of 4.18 to 6.12).
const RETURNS: &[(&str, &str)] = &[
    ("kmalloc_slab", "struct kmem_cache *"),
    ("slab_pre_alloc_hook", "struct kmem_cache *"),
    ("memcg_kmem_get_cache", "struct kmem_cache *"),
    ("virt_to_cache", "struct kmem_cache *"),
    ("__kmalloc", "void *"),
    ("kmem_cache_alloc", "void *"),
    ("___slab_alloc", "void *"),
    ("__slab_alloc", "void *"),
];
/// Offsets of members. `kmem_cache_cpu`: include/linux/slub_def.h, 4.18 to 6.6 (freelist first; since 6.4 with tid in
/// a union that begins there too); mm/slub.c since. `kmem_cache.offset`: 0x20 in 4.18, 0x28 since 5.10 (after
/// `reciprocal_size`, 5.9), with the compiler's padding on x86-64.
const MEMBERS: &[(&str, i64, &str)] = &[
    ("kmem_cache_cpu", 0, "freelist"),
    ("kmem_cache_cpu", 8, "tid"),
    ("kmem_cache", 0, "cpu_slab"),
    ("kmem_cache", 0x20, "offset"),
    ("kmem_cache", 0x28, "offset"),
];

/// The type that a function returns.
pub(crate) fn return_type(function: &str) -> Option<&'static str> {
    RETURNS
        .iter()
        .find(|(name, _)| *name == function)
        .map(|(_, returned)| *returned)
}

/// The member of a struct at an offset; where kernels differ, both answer.
pub(crate) fn member_offset(of: &str, offset: i64) -> Option<&'static str> {
    MEMBERS
        .iter()
        .find(|(name, at, _)| *name == of && *at == offset)
        .map(|(.., member)| *member)
}
