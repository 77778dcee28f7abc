//! x86-64 page tables, and memory written by virtual address.

use std::collections::BTreeMap;

use crate::elf_core::Segment;

/// A machine's memory with one address space in it.
#[derive(Debug, Clone)]
pub struct Machine {
    pages: BTreeMap<u64, [u8; 0x1000]>,
    root: u64,
    five: bool,
    next: u64,
    /// Or-ed into every entry: an encryption bit, or nothing.
    pub entry_bits: u64,
}

/// Size of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    /// 4 KiB, by the last table.
    Small,
    /// 2 MiB, by the last but one.
    Large,
    /// 1 GiB, by the last but two.
    Huge,
}

impl Machine {
    /// Nothing mapped; tables and pages are taken from physical address `first` on, which must
    /// be a multiple of 4096. The top table is at `first`.
    #[must_use]
    pub fn new(first: u64, five_levels: bool) -> Self {
        let pages = BTreeMap::from([(first, [0; 0x1000])]);
        Self {
            pages,
            root: first,
            five: five_levels,
            next: first + 0x1000,
            entry_bits: 0,
        }
    }

    /// Physical address of the top table.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps a page.
    pub fn map(&mut self, virt: u64, phys: u64, size: PageSize) {
        let (last, bits) = match size {
            PageSize::Small => (12, 0x63),
            PageSize::Large => (21, 0xe3),
            PageSize::Huge => (30, 0xe3),
        };
        self.set_entry(virt, last, phys | bits | self.entry_bits);
    }

    /// Puts any value into the entry for `virt` of the table whose entries translate from address
    /// bit `last` on (12, 21, 30, 39 or 48), with the tables above it.
    pub fn set_entry(&mut self, virt: u64, last: u32, value: u64) {
        let mut table = self.root;
        let mut shift = if self.five { 48 } else { 39 };
        while shift > last {
            let slot = (table, (virt >> shift) & 0x1ff);
            let mut entry = self.entry(slot);
            if entry & 1 == 0 {
                entry = self.new_page() | 0x67 | self.entry_bits;
                self.put(slot, entry);
            }
            table = entry & 0x000f_ffff_ffff_f000 & !self.entry_bits;
            shift -= 9;
        }
        self.put((table, (virt >> last) & 0x1ff), value);
    }

    /// Writes bytes at a virtual address, on 4 KiB pages that it maps as needed.
    pub fn write(&mut self, virt: u64, bytes: &[u8]) {
        let mut virt = virt;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = (virt & 0xfff) as usize;
            let len = rest.len().min(0x1000 - start);
            let phys = self.page_of(virt);
            let page = self.pages.entry(phys).or_insert([0; 0x1000]);
            page[start..start + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            virt = virt.wrapping_add(len as u64);
        }
    }

    /// Writes bytes at a physical address.
    pub fn write_phys(&mut self, phys: u64, bytes: &[u8]) {
        for (address, &byte) in (phys..).zip(bytes) {
            let page = self.pages.entry(address & !0xfff).or_insert([0; 0x1000]);
            page[(address & 0xfff) as usize] = byte;
        }
    }

    /// Every page by its physical address.
    #[must_use]
    pub fn pages(&self) -> &BTreeMap<u64, [u8; 0x1000]> {
        &self.pages
    }

    /// The memory as segments of an ELF core.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let mut out: Vec<Segment> = Vec::new();
        for (&paddr, page) in &self.pages {
            match out.last_mut() {
                Some(last) if last.paddr + last.data.len() as u64 == paddr => {
                    last.data.extend(page)
                }
                _ => out.push(Segment {
                    paddr,
                    data: page.to_vec(),
                    ..Segment::default()
                }),
            }
        }
        out
    }

    /// The physical page that `virt` is mapped to by a small page, mapping one if none is.
    fn page_of(&mut self, virt: u64) -> u64 {
        let mut table = self.root;
        let mut shift = if self.five { 48 } else { 39 };
        loop {
            let entry = self.entry((table, (virt >> shift) & 0x1ff));
            if entry & 1 == 0 {
                let page = self.new_page();
                self.map(virt, page, PageSize::Small);
                return page;
            }
            let target = entry & 0x000f_ffff_ffff_f000 & !self.entry_bits;
            if shift == 12 {
                return target;
            }
            if entry & 0x80 != 0 && shift <= 30 {
                let inside = virt & ((1 << shift) - 1) & !0xfff;
                return (target & !((1 << shift) - 1)) | inside;
            }
            table = target;
            shift -= 9;
        }
    }

    fn new_page(&mut self) -> u64 {
        let page = self.next;
        self.pages.insert(page, [0; 0x1000]);
        self.next += 0x1000;
        page
    }

    fn entry(&self, (table, index): (u64, u64)) -> u64 {
        let at = index as usize * 8;
        let bytes = self.pages.get(&table).map(|page| &page[at..at + 8]);
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }

    fn put(&mut self, (table, index): (u64, u64), value: u64) {
        let at = index as usize * 8;
        let page = self.pages.entry(table).or_insert([0; 0x1000]);
        page[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}
