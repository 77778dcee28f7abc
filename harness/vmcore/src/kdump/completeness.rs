//! How many page descriptors a file has, found without counting the bitmap of a large machine.

use super::{DESCRIPTOR_LEN, Kdump, PAGE};
use crate::source::Source;

/// Bitmaps up to this many page frames (256 GiB of memory) are counted: 8 MiB take a millisecond.
const COUNTED: u64 = 64 << 20;

/// The number of descriptors in this file, or `None` where the bitmap is too long to count it for
/// a warning, or is cut off.
///
/// makedumpfile and QEMU begin the data where the descriptors end, with one page of zeros that is
/// not compressed; then come the pages in the order of the descriptors. So the first descriptor
/// points to that page or just behind it, and since its size is no multiple of a descriptor's, only
/// one of both can be.
pub(super) fn descriptors(kdump: &Kdump, source: &Source) -> Option<u64> {
    if kdump.header.max_mapnr <= COUNTED {
        return kdump.index_of(source, kdump.frames.end).ok();
    }
    let first = kdump.descriptor(source, 0).ok()?;
    first.check().ok()?;
    [0, PAGE as u64]
        .iter()
        .filter_map(|skip| {
            let len = (first.offset).checked_sub(kdump.layout.descriptors.checked_add(*skip)?)?;
            (len.is_multiple_of(DESCRIPTOR_LEN)).then_some(len / DESCRIPTOR_LEN)
        })
        .next()
}
