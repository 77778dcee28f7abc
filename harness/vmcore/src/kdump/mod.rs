//! makedumpfile's kdump-compressed format as physical memory: page frames are found by rank in a
//! bitmap, their data by a descriptor.
//!
//! QEMU's `dump-guest-memory -z/-l/-s` writes the same format.

mod bitmap;
mod cache;
mod header;
mod page;

use std::ops::Range;

use bitmap::Bitmap;
use cache::PageCache;
pub(crate) use header::{BLOCK, Layout, MAGIC};
pub use header::{KdumpHeader, Utsname};
pub use page::Compression;
use page::{DESCRIPTOR_LEN, Descriptor, PAGE};

use crate::source::{Fault, Missing, Source};
use crate::{PhysAddr, ReadError};

/// How many of the last descriptors are looked at to see whether the file is whole: many may
/// share one page of zeros near its start.
const LAST_DESCRIPTORS: u64 = 1024;

/// One file in the kdump-compressed format.
#[derive(Debug)]
pub(crate) struct Kdump {
    pub(crate) header: KdumpHeader,
    pub(crate) layout: Layout,
    dumped: Bitmap,
    /// Page frames whose descriptors this file has.
    frames: Range<u64>,
    /// Rank of the first of them.
    first_rank: u64,
    cache: PageCache,
}

impl Kdump {
    pub(crate) fn parse(source: &Source) -> Result<Self, Fault> {
        let (header, layout) = KdumpHeader::parse(source)?;
        let dumped = Bitmap::parse(source, layout.bitmap2, header.max_mapnr)?;
        let frames = match header.split {
            Some((first, end)) => first..end.min(header.max_mapnr),
            None => 0..header.max_mapnr,
        };
        let first_rank = dumped.rank(source, frames.start);
        Ok(Self {
            header,
            layout,
            dumped,
            frames,
            first_rank,
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

    /// Where the file would have to end to hold its descriptors and the last pages' data.
    pub(crate) fn expected_end(&self, source: &Source) -> u64 {
        let count = self
            .dumped
            .rank(source, self.frames.end)
            .saturating_sub(self.first_rank);
        let descriptor = |index: u64| {
            let at = self
                .layout
                .descriptors
                .saturating_add(index * DESCRIPTOR_LEN);
            let mut bytes = [0; DESCRIPTOR_LEN as usize];
            source.read(at, &mut bytes).ok()?;
            let found = Descriptor::parse(&bytes).filter(|d| d.check().is_ok())?;
            found.offset.checked_add(u64::from(found.size))
        };
        let last = (count.saturating_sub(LAST_DESCRIPTORS)..count)
            .filter_map(descriptor)
            .max();
        let descriptors_end = self
            .layout
            .descriptors
            .saturating_add(count * DESCRIPTOR_LEN);
        descriptors_end.max(last.unwrap_or_default())
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
        if !self.dumped.get(source, pfn) {
            let exists = |bitmap| bitmap::get(source, bitmap, self.header.max_mapnr, pfn);
            return Err(match self.layout.bitmap1.is_some_and(exists) {
                true => ReadError::Excluded(at),
                false => ReadError::NotInDump(at),
            });
        }
        if !self.frames.contains(&pfn) {
            return Err(ReadError::InOtherFile(at));
        }
        let index = self
            .dumped
            .rank(source, pfn)
            .saturating_sub(self.first_rank);
        let desc_at = self
            .layout
            .descriptors
            .saturating_add(index * DESCRIPTOR_LEN);
        let truncated = |Missing { offset }| ReadError::Truncated { at, offset };
        let mut bytes = [0; DESCRIPTOR_LEN as usize];
        source.read(desc_at, &mut bytes).map_err(truncated)?;
        let corrupt = |offset, what| ReadError::Corrupt { at, offset, what };
        let descriptor = Descriptor::parse(&bytes)
            .ok_or_else(|| corrupt(desc_at, "no page descriptor".to_owned()))?;
        if descriptor.size == 0 && self.is_incomplete() {
            return Err(ReadError::Truncated {
                at,
                offset: desc_at,
            });
        }
        descriptor.check().map_err(|what| corrupt(desc_at, what))?;
        let data = source
            .slice(descriptor.offset, u64::from(descriptor.size))
            .map_err(truncated)?;
        page::restore(descriptor.compression, &data, page)
            .map_err(|what| corrupt(descriptor.offset, what))
    }

    /// Whether makedumpfile itself says that it could not write everything.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.header.status & header::STATUS_INCOMPLETE != 0
    }
}
