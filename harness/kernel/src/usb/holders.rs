//! Requests that have a given buffer, whether or not they are on a list: a driver keeps its `struct urb` after the end,
//! and the address of the buffer stays in it. Found by looking at every object of every slab that is large enough.
use super::tree;
use super::urb::{self, Urb, UrbPlace};
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::slub::{ObjectState, Slub};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// Requests told at most.
const MAX_URBS: usize = 256;
/// usb_alloc_urb() allocates a request with its isochronous packets; larger objects are no slab's own.
const MAX_OBJECT: u64 = 64 << 10;

/// A request with what its memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUrb {
    /// The request.
    pub urb: Urb,
    /// Whether its own memory is still allocated: a freed one says what was, unless somebody has it now.
    pub memory: ObjectState,
}

/// Every request of a device present whose buffer begins at one of `buffers`, and what could not be looked at. A
/// request on a list keeps its place there; the others are [`UrbPlace::Idle`].
///
/// # Errors
/// [`Missing`] when usbcore is not there, its types are not known, or slabs can't be found.
pub fn urbs_on(
    kernel: &Kernel<'_>,
    slub: &Slub<'_>,
    buffers: &[VirtAddr],
) -> Result<(Vec<HeldUrb>, Vec<Missing>), Missing> {
    let (on_lists, mut gaps) = urb::urbs(kernel)?;
    let (devices, more) = tree::objects(kernel)?;
    gaps.extend(more);
    let devices: HashSet<u64> = devices.iter().map(|device| device.at.0).collect();
    let buffer = kernel.field("urb", "transfer_buffer")?.offset;
    let device = kernel.field("urb", "dev")?.offset;
    let size = kernel.types().size_of("urb");
    let size = size.ok_or_else(|| Missing::Type("urb".into()))?;
    let slabs = slub.all_slabs()?;
    gaps.extend(slabs.missing);
    let mut found = Vec::new();
    for slab in &slabs.slabs {
        let Ok(cache) = slub.cache(slab.cache) else {
            continue;
        };
        if cache.object_size < size || cache.object_size > MAX_OBJECT {
            continue;
        }
        for at in slab.all_objects(&cache) {
            let word = |offset| kernel.memory().u64_at(at.wrapping_add(offset));
            let is_one = word(buffer).is_ok_and(|at| buffers.contains(&VirtAddr(at)))
                && word(device).is_ok_and(|at| devices.contains(&at));
            if !is_one {
                continue;
            }
            if found.len() >= MAX_URBS {
                let why = format!("more than {MAX_URBS} requests have these buffers");
                gaps.push(Missing::Implausible(why));
                return Ok((found, gaps));
            }
            let listed = on_lists.iter().find(|urb| urb.at == at).cloned();
            match listed.map_or_else(|| urb::read(kernel, at, UrbPlace::Idle), Ok) {
                Ok(urb) => found.push(HeldUrb {
                    urb,
                    memory: slub.state(&cache, slab, at),
                }),
                Err(missing) => gaps.push(missing),
            }
        }
    }
    Ok((found, gaps))
}
