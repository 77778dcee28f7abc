//! The names of merged caches. The allocator keeps the first one's only; sysfs has a link for each of the others.
//! Walks the directory `slab` of sysfs in memory (kernfs, fs/kernfs/dir.c).
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_vmcore::VirtAddr;
use std::collections::{BTreeMap, HashSet};

/// More entries than the directory of any kernel has.
const MAX_ENTRIES: usize = 65_536;
/// NAME_MAX.
const MAX_NAME: usize = 256;
/// KERNFS_LINK (include/linux/kernfs.h), where the types don't have it.
const KERNFS_LINK: i64 = 4;

/// Names by the address of the cache that they share.
pub type Aliases = BTreeMap<VirtAddr, Vec<String>>;

/// Names by the address of the `struct kmem_cache` that they share, sorted; the cache's own name is among them
/// where sysfs has a link for it.
///
/// # Errors
/// [`Missing`] without CONFIG_SYSFS, or when the directory can't be found. A directory that can't be read to its
/// end gives what was found, with the reason.
pub fn aliases(kernel: &Kernel<'_>) -> Result<(Aliases, Option<Missing>), Missing> {
    let kset = VirtAddr(kernel.u64_at_symbol("slab_kset")?);
    let directory = Object::new(kernel, "kset", kset)
        .follow("kobj.sd", "kernfs_node")?
        .ok_or_else(|| Missing::Implausible("sysfs has no directory of caches".into()))?;
    let root = directory.ptr("dir.children.rb_node")?;
    let link = kernel.types().enum_value("KERNFS_LINK");
    let link = link.unwrap_or(KERNFS_LINK).cast_unsigned();
    let mut found = Aliases::new();
    let mut cut = None;
    for node in tree(kernel, root, &mut cut)? {
        match alias(node, link) {
            Ok(Some((cache, name))) => found.entry(cache).or_default().push(name),
            Ok(None) => {}
            Err(missing) => cut = Some(missing),
        }
    }
    found.values_mut().for_each(|names| names.sort());
    Ok((found, cut))
}

/// The entries of a directory: a red-black tree whose nodes lie in the entries.
fn tree<'k>(
    kernel: &'k Kernel<'k>,
    root: VirtAddr,
    cut: &mut Option<Missing>,
) -> Result<Vec<Object<'k>>, Missing> {
    let inside = kernel.field("kernfs_node", "rb")?.offset;
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![root];
    while let Some(at) = open.pop() {
        if at.0 == 0 {
            continue;
        }
        if !seen.insert(at) || found.len() >= MAX_ENTRIES {
            *cut = Some(Missing::Implausible(format!(
                "sysfs' directory of caches is no tree at {at}"
            )));
            break;
        }
        let node = Object::new(kernel, "rb_node", at);
        for side in ["rb_left", "rb_right"] {
            match node.ptr(side) {
                Ok(child) => open.push(child),
                Err(missing) => *cut = Some(missing),
            }
        }
        let entry = VirtAddr(at.0.wrapping_sub(inside));
        found.push(Object::new(kernel, "kernfs_node", entry));
    }
    Ok(found)
}

/// A link's name and the cache it leads to; `None` for an entry that is no link.
fn alias(entry: Object<'_>, link: u64) -> Result<Option<(VirtAddr, String)>, Missing> {
    if entry.u64("flags")? & link == 0 {
        return Ok(None);
    }
    let Some(target) = entry.follow("symlink.target_kn", "kernfs_node")? else {
        return Ok(None);
    };
    let kobject = target.ptr("priv")?;
    let name = entry.string("name", MAX_NAME)?.unwrap_or_default();
    // The kobject lies in the cache.
    let inside = entry.kernel().field("kmem_cache", "kobj")?.offset;
    Ok(Some((VirtAddr(kobject.0.wrapping_sub(inside)), name)))
}
