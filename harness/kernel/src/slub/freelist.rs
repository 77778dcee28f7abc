//! Walks a freelist object by object and says how it ends: at NULL, or at the link that no kernel wrote, with the
//! object that carried it. Which lists there are is not known here.
use super::cache::Cache;
use super::coding::PointerCoding;
use super::slab::Slab;
use crate::kernel::Kernel;
use recrash_vmcore::{PagingLevels, ReadError, VirtAddr, VirtMem};
use std::collections::HashSet;

/// A link of a freelist: who says it, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The free object that carries it; `None` for the head of the list, which lies in the CPU's or the slab's own
    /// data and is not coded.
    pub carrier: Option<VirtAddr>,
    /// The word as it lies in memory.
    pub stored: u64,
    /// The pointer that the kernel reads it as.
    pub pointer: VirtAddr,
}

/// How a list ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkEnd {
    /// At NULL, as it should.
    Null,
    /// At an object that was on the list before.
    Cycle(Link),
    /// At a pointer that leads nowhere near: not an address of kernel memory that slabs lie in.
    Wild(Link),
    /// At an address of the direct mapping, outside the slab.
    OutsideSlab(Link),
    /// Inside the slab, but at no object's start.
    Misaligned(Link),
    /// The next link can't be read.
    Unreadable {
        /// The object whose link it is.
        carrier: VirtAddr,
        /// Why.
        error: ReadError,
    },
}

impl WalkEnd {
    /// The link that no kernel wrote, where the list ends at one.
    #[must_use]
    pub fn bad_link(&self) -> Option<Link> {
        match self {
            Self::Cycle(link)
            | Self::Wild(link)
            | Self::OutsideSlab(link)
            | Self::Misaligned(link) => Some(*link),
            Self::Null | Self::Unreadable { .. } => None,
        }
    }
}

impl std::fmt::Display for WalkEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, link) = match self {
            Self::Null => return f.write_str("ends at NULL"),
            Self::Unreadable { carrier, error } => {
                return write!(
                    f,
                    "the link in the object at {carrier} can't be read: {error}"
                );
            }
            Self::Cycle(link) => ("was on the list before", link),
            Self::Wild(link) => ("is no address of an object", link),
            Self::OutsideSlab(link) => ("lies outside the slab", link),
            Self::Misaligned(link) => ("is no object's start", link),
        };
        match link.carrier {
            Some(carrier) => write!(
                f,
                "the object at {carrier} leads to {}, which {what} (word {:#018x})",
                link.pointer, link.stored
            ),
            None => write!(f, "the list begins at {}, which {what}", link.pointer),
        }
    }
}

/// A freelist as far as it could be walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreelistWalk {
    /// The free objects in order, all inside the slab.
    pub objects: Vec<VirtAddr>,
    /// How its links were read.
    pub coding: PointerCoding,
    /// Why there are no more.
    pub end: WalkEnd,
}

/// Walks the list that begins at `first`, in a slab of a cache.
///
/// At most as many steps as the slab has objects: a longer list has met one of them twice.
#[must_use]
pub fn walk_freelist(
    kernel: &Kernel<'_>,
    cache: &Cache,
    slab: &Slab,
    first: VirtAddr,
    coding: PointerCoding,
) -> FreelistWalk {
    let mut objects = Vec::new();
    let mut seen = HashSet::new();
    let mut link = Link {
        carrier: None,
        stored: first.0,
        pointer: first,
    };
    let end = loop {
        if link.pointer.0 == 0 {
            break WalkEnd::Null;
        }
        if let Some(end) = judge(kernel, cache, slab, link) {
            break end;
        }
        if !seen.insert(link.pointer) {
            break WalkEnd::Cycle(link);
        }
        objects.push(link.pointer);
        link = match next(kernel, cache, link.pointer, coding) {
            Ok(link) => link,
            Err(error) => {
                break WalkEnd::Unreadable {
                    carrier: link.pointer,
                    error,
                };
            }
        };
    };
    FreelistWalk {
        objects,
        coding,
        end,
    }
}

/// The link that a free object carries.
///
/// # Errors
/// Why it can't be read.
pub(super) fn next(
    kernel: &Kernel<'_>,
    cache: &Cache,
    object: VirtAddr,
    coding: PointerCoding,
) -> Result<Link, ReadError> {
    let stored = kernel.memory().u64_at(object.wrapping_add(cache.offset))?;
    Ok(Link {
        carrier: Some(object),
        stored,
        pointer: VirtAddr(cache.code(coding, stored, object)),
    })
}

/// What is wrong with a pointer of the list; `None` for an object of the slab.
fn judge(kernel: &Kernel<'_>, cache: &Cache, slab: &Slab, link: Link) -> Option<WalkEnd> {
    if slab.index_of(cache, link.pointer).is_some() {
        return None;
    }
    if slab.contains(cache, link.pointer) {
        return Some(WalkEnd::Misaligned(link));
    }
    // All slabs lie in the direct mapping, which one entry of the top table covers (64 TiB, or 32 PiB).
    let shift = match kernel.memory().levels() {
        PagingLevels::Four => 46,
        PagingLevels::Five => 55,
    };
    let distance = link.pointer.0.abs_diff(slab.start.0);
    let near = distance < 1 << shift && kernel.memory().translate(link.pointer).is_ok();
    Some(if near {
        WalkEnd::OutsideSlab(link)
    } else {
        WalkEnd::Wild(link)
    })
}
