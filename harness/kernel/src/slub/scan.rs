//! Every slab there is, by looking at every page descriptor: full slabs are on no list without debugging. Costs one
//! look at each 4 KiB of the machine's memory, so nothing does it unasked.
use super::Slub;
use super::slab::Slab;
use crate::object::Missing;
use recrash_vmcore::{ReadError, VirtAddr, VirtMem};

/// Page frames looked at most: 16 TiB of memory.
const MAX_PFN: u64 = 1 << 32;
/// Descriptors on one page of the map of pages; an entry of the table above covers a section, 32,768 of them.
const STEP: u64 = 64;
const SECTION: u64 = 32_768;

/// The slabs of all caches, by page frame.
#[derive(Debug, Clone, Default)]
pub struct AllSlabs {
    /// The slabs.
    pub slabs: Vec<Slab>,
    /// Page frames looked at.
    pub looked_at: u64,
    /// Why some slabs could not be read.
    pub missing: Vec<Missing>,
}

impl Slub<'_> {
    /// Looks at every page descriptor up to `max_pfn`.
    ///
    /// # Errors
    /// [`Missing`] when `max_pfn` is not known.
    pub fn all_slabs(&self) -> Result<AllSlabs, Missing> {
        let end = self.kernel.u64_at_symbol("max_pfn")?.min(MAX_PFN);
        let mut found = AllSlabs::default();
        let mut pfn = 0;
        while pfn < end {
            let mut byte = [0];
            let page = self.map.page_of_pfn(pfn);
            if self.kernel.memory().read(page, &mut byte).is_err() {
                // A hole: the next descriptor that can be there begins the next step or the next section.
                pfn = self.after_hole(pfn);
                continue;
            }
            for pfn in pfn..(pfn + STEP).min(end) {
                self.look(self.map.page_of_pfn(pfn), &mut found);
            }
            pfn += STEP;
        }
        Ok(found)
    }

    fn after_hole(&self, pfn: u64) -> u64 {
        match self.kernel.memory().translate(self.map.page_of_pfn(pfn)) {
            // Only the last table's entry is missing, or the page was left out of the dump.
            Ok(_) | Err(ReadError::NotPresent { level: "PT", .. }) => pfn + STEP,
            Err(_) => (pfn / SECTION + 1) * SECTION,
        }
    }

    fn look(&self, page: VirtAddr, found: &mut AllSlabs) {
        found.looked_at += 1;
        let Ok(state) = self.map.state(self.kernel, page) else {
            return;
        };
        if !state.slab || state.head != page {
            return;
        }
        match self.slab(page) {
            Ok(slab) => found.slabs.push(slab),
            Err(missing) if found.missing.len() < 16 => found.missing.push(missing),
            Err(_) => {}
        }
    }
}
