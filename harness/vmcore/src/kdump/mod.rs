//! makedumpfile's kdump-compressed format as physical memory: page frames are found by rank in a
//! bitmap, their data by a descriptor.
//!
//! QEMU's `dump-guest-memory -z/-l/-s` writes the same format.

mod bitmap;
mod cache;
mod completeness;
mod head;
mod header;
mod page;

use std::ops::Range;

use bitmap::Bitmap;
use cache::PageCache;
use head::Heads;
pub(crate) use header::{BLOCK, Layout, MAGIC};
pub use header::{KdumpHeader, Utsname};
pub use page::Compression;
use page::{DESCRIPTOR_LEN, Descriptor, PAGE};

use crate::source::{Fault, Missing, Source};
use crate::{PhysAddr, ReadError};

/// One file in the kdump-compressed format.
#[derive(Debug)]
pub(crate) struct Kdump {
    pub(crate) header: KdumpHeader,
    pub(crate) layout: Layout,
    dumped: Bitmap,
    /// Pages that the machine had, if there are two bitmaps.
    exists: Option<Bitmap>,
    /// Page frames whose descriptors this file has.
    frames: Range<u64>,
    cache: PageCache,
}

impl Kdump {
    /// Reads the headers; of the bitmaps, nothing is looked at.
    pub(crate) fn parse(source: &Source) -> Result<Self, Fault> {
        let (header, layout) = KdumpHeader::parse(source)?;
        let frames = match header.split {
            Some((first, end)) => first..end.min(header.max_mapnr),
            None => 0..header.max_mapnr,
        };
        Ok(Self {
            dumped: Bitmap::new(layout.bitmap2, header.max_mapnr),
            exists: (layout.bitmap1).map(|offset| Bitmap::new(offset, header.max_mapnr)),
            header,
            layout,
            frames,
            cache: PageCache::new(),
        })
    }

    /// How most of its pages are compressed.
    pub(crate) fn compression(&self) -> Compression {
        Compression::from_flags(self.header.status)
    }

    /// Page frames whose data this file holds.
    pub(crate) fn frames(&self) -> Range<u64> {
        self.frames.clone()
    }

    /// File offset of a descriptor.
    fn descriptor_at(&self, index: u64) -> u64 {
        (self.layout.descriptors).saturating_add(index.saturating_mul(DESCRIPTOR_LEN))
    }

    fn descriptor(&self, source: &Source, index: u64) -> Result<Descriptor, Missing> {
        let mut bytes = [0; DESCRIPTOR_LEN as usize];
        source.read(self.descriptor_at(index), &mut bytes)?;
        Ok(Descriptor::parse(&bytes))
    }

    /// Number of descriptors in this file before that of a page frame.
    fn index_of(&self, source: &Source, pfn: u64) -> Result<u64, Missing> {
        let first = self.dumped.rank(source, self.frames.start)?;
        Ok(self.dumped.rank(source, pfn)?.saturating_sub(first))
    }

    /// The first stretch of memory at or after `at` whose pages are in this file.
    pub(crate) fn next_present(&self, source: &Source, at: PhysAddr) -> Option<Range<u64>> {
        let from = (at.0 / BLOCK).max(self.frames.start);
        let run = self.dumped.next_run(source, from, self.frames.end)?;
        // Page frame numbers are below 2^40.
        let start = (run.start * BLOCK).max(at.0);
        Some(start..run.end * BLOCK)
    }

    /// As [`crate::part::Part::pages_that_may_begin_with`]; decompresses as little as it can.
    pub(crate) fn pages_that_may_begin_with(
        &self,
        source: &Source,
        needle: &[u8],
        visit: &mut dyn FnMut(PhysAddr) -> bool,
    ) -> bool {
        let mut heads = Heads::new();
        // Each page has a descriptor of its own, however long a bitmap claims to be.
        let mut budget = source.file_len() / DESCRIPTOR_LEN + 1;
        // The writers put pages in order, but for the one page of zeros that many share: what
        // lies before the last one's end was seen.
        let mut seen = 0;
        let mut at = self.frames.start;
        let mut index = 0;
        while let Some(run) = self.dumped.next_run(source, at, self.frames.end) {
            at = run.end;
            for pfn in run {
                let Some(left) = budget.checked_sub(1) else {
                    return true;
                };
                budget = left;
                let descriptor = self.descriptor(source, index);
                index += 1;
                let Ok(descriptor) = descriptor else { continue };
                if descriptor.check().is_err() || descriptor.offset < seen {
                    continue;
                }
                let size = u64::from(descriptor.size);
                seen = descriptor.offset.saturating_add(size);
                let Ok(data) = source.slice(descriptor.offset, size) else {
                    continue;
                };
                let may = heads.may_begin_with(descriptor.compression, &data, needle);
                if may && !visit(PhysAddr(pfn * BLOCK)) {
                    return false;
                }
            }
        }
        true
    }

    /// Fills `buf`, page by page.
    pub(crate) fn read(
        &self,
        source: &Source,
        mut at: PhysAddr,
        mut buf: &mut [u8],
    ) -> Result<(), ReadError> {
        while !buf.is_empty() {
            let start = (at.0 % BLOCK) as usize;
            let room = (PAGE - start).min(buf.len());
            let (now, rest) = buf.split_at_mut(room);
            self.read_in_page(source, at, start, now)?;
            let next = at.checked_add(room as u64);
            at = match next {
                Some(next) => next,
                None if rest.is_empty() => return Ok(()),
                None => return Err(ReadError::NotInDump(PhysAddr(u64::MAX))),
            };
            buf = rest;
        }
        Ok(())
    }

    fn read_in_page(
        &self,
        source: &Source,
        at: PhysAddr,
        start: usize,
        out: &mut [u8],
    ) -> Result<(), ReadError> {
        let pfn = at.0 / BLOCK;
        let load = |page: &mut [u8; PAGE]| self.load(source, at, pfn, page);
        self.cache.with_page(pfn, load, |page| {
            if let Some(bytes) = page.get(start..start.saturating_add(out.len())) {
                out.copy_from_slice(bytes);
            }
        })
    }

    fn load(
        &self,
        source: &Source,
        at: PhysAddr,
        pfn: u64,
        page: &mut [u8; PAGE],
    ) -> Result<(), ReadError> {
        let truncated = |Missing { offset }| ReadError::Truncated { at, offset };
        if !self.dumped.get(source, pfn).map_err(truncated)? {
            // Without the first bitmap, what does not exist and what was left out look the same.
            let exists = self.exists.as_ref().map(|map| map.get(source, pfn));
            return Err(match exists.transpose().map_err(truncated)? {
                Some(true) => ReadError::Excluded(at),
                Some(false) | None => ReadError::NotInDump(at),
            });
        }
        if !self.frames.contains(&pfn) {
            return Err(ReadError::InOtherFile(at));
        }
        let index = self.index_of(source, pfn).map_err(truncated)?;
        let desc_at = self.descriptor_at(index);
        let corrupt = |offset, what| ReadError::Corrupt { at, offset, what };
        let descriptor = self.descriptor(source, index).map_err(truncated)?;
        if descriptor.is_unwritten() {
            return Err(truncated(Missing { offset: desc_at }));
        }
        descriptor.check().map_err(|what| corrupt(desc_at, what))?;
        let data = source
            .slice(descriptor.offset, u64::from(descriptor.size))
            .map_err(truncated)?;
        page::restore(descriptor.compression, &data, page)
            .map_err(|what| corrupt(descriptor.offset, what))
    }

    /// What is not whole.
    pub(crate) fn completeness(&self, source: &Source) -> completeness::Completeness {
        completeness::check(self, source)
    }

    /// Whether makedumpfile itself says that it could not write everything.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.header.status & header::STATUS_INCOMPLETE != 0
    }
}
