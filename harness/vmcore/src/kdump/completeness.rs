//! Whether a file is whole, found by its last descriptors, and without counting the bitmap of a
//! large machine.

use super::page::Descriptor;
use super::{DESCRIPTOR_LEN, Kdump, PAGE};
use crate::source::Source;

/// Bitmaps up to this many page frames (32 GiB of memory) are counted: 1 MiB takes a tenth of a
/// millisecond.
const COUNTED: u64 = 8 << 20;
/// How many of the last descriptors are looked at: many may share one page of zeros near the
/// start of the data.
const LAST_DESCRIPTORS: u64 = 1024;

/// What the last descriptors say.
pub(crate) struct Completeness {
    /// Where the file would have to end to hold its bitmaps, its descriptors and the last pages'
    /// data.
    pub(crate) expected_end: u64,
    /// Its last descriptor was never written: the tool ran out of space, or is not done.
    pub(crate) unwritten: bool,
}

pub(super) fn check(kdump: &Kdump, source: &Source) -> Completeness {
    let Some(count) = descriptors(kdump, source) else {
        return Completeness {
            expected_end: kdump.layout.descriptors,
            unwritten: false,
        };
    };
    let data_end = |descriptor: &Descriptor| {
        descriptor.check().ok()?;
        (descriptor.offset).checked_add(u64::from(descriptor.size))
    };
    let mut end = kdump.descriptor_at(count);
    let mut unwritten = false;
    for index in count.saturating_sub(LAST_DESCRIPTORS)..count {
        if let Ok(descriptor) = kdump.descriptor(source, index) {
            end = end.max(data_end(&descriptor).unwrap_or_default());
            unwritten = descriptor.is_unwritten();
        }
    }
    Completeness {
        expected_end: end,
        unwritten,
    }
}

/// The number of descriptors in this file, or `None` where the bitmap is too long to count it for
/// a warning, or is cut off.
///
/// makedumpfile and QEMU begin the data where the descriptors end, with one page of zeros that is
/// not compressed; then come the pages in the order of the descriptors. So the first descriptor
/// points to that page or just behind it, and since its size is no multiple of a descriptor's, only
/// one of both can be.
fn descriptors(kdump: &Kdump, source: &Source) -> Option<u64> {
    if kdump.header.max_mapnr <= COUNTED {
        return kdump.index_of(source, kdump.frames.end).ok();
    }
    let first = kdump.descriptor(source, 0).ok()?;
    first.check().ok()?;
    [0, PAGE as u64].iter().find_map(|skip| {
        let len = (first.offset).checked_sub(kdump.layout.descriptors.checked_add(*skip)?)?;
        (len.is_multiple_of(DESCRIPTOR_LEN)).then_some(len / DESCRIPTOR_LEN)
    })
}
