//! Page descriptors: which one describes an address, the address that one describes, compound pages, and whether a
//! page is a slab. Arithmetic of arch/x86/include/asm/page_64.h and pgtable_64_types.h.
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_vmcore::{PagingLevels, VirtAddr};

/// Page frames that x86-64 can have: 52 bits of physical address.
const MAX_PFN: u64 = 1 << 40;
/// Largest order that a compound page of any kernel has (1 GiB huge pages).
const MAX_ORDER: u64 = 18;

/// Where the kernel keeps its page descriptors and its mapping of all memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMap {
    vmemmap: u64,
    direct: u64,
    page_size: u64,
    slab_test: Option<SlabTest>,
}

/// How a page says that it is a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlabTest {
    /// A bit of `page.flags`, until 6.9.
    Flag(u32),
    /// A bit that is clear in `page.page_type`, whose upper bits are set: 6.10 and 6.11 (commit 46df8e73a4a3
    /// "mm: free up PG_slab").
    TypeBit(u64),
    /// The top byte of `page.page_type`, since 6.12 (commit 4ffca5a96678 "mm: support only one page_type per page").
    TypeByte(u64),
}

/// PAGE_TYPE_BASE of 6.10 and 6.11 (include/linux/page-flags.h): a page without a type has all of it set, too.
const PAGE_TYPE_BASE: u64 = 0x8000_0000;

/// A page that may be one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageState {
    /// The `struct page` of the first page.
    pub head: VirtAddr,
    /// Whether it is a slab.
    pub slab: bool,
}

impl PageMap {
    /// Where this kernel has them. The bases are variables with CONFIG_RANDOMIZE_MEMORY or 5-level paging, and
    /// fixed without.
    ///
    /// # Errors
    /// [`Missing`] when the types don't tell what a page descriptor looks like, or a base can't be read.
    pub fn read(kernel: &Kernel<'_>) -> Result<Self, Missing> {
        let (vmemmap, direct) = match kernel.memory().levels() {
            PagingLevels::Four => (0xffff_ea00_0000_0000, 0xffff_8880_0000_0000),
            PagingLevels::Five => (0xffd4_0000_0000_0000, 0xff11_0000_0000_0000),
        };
        let base = |name, fixed| match kernel.u64_at_symbol(name) {
            Err(Missing::Symbol(_)) => Ok(fixed),
            other => other,
        };
        let page_size = (kernel.types().size_of("page"))
            .or_else(|| kernel.info().size("page"))
            .filter(|size| *size > 0)
            .ok_or_else(|| Missing::Type("page".into()))?;
        Ok(Self {
            vmemmap: base("vmemmap_base", vmemmap)?,
            direct: base("page_offset_base", direct)?,
            page_size,
            slab_test: slab_test(kernel),
        })
    }

    /// The `struct page` of the page that holds a directly mapped address; nothing is read.
    ///
    /// # Errors
    /// [`Missing::Implausible`] for an address outside the direct mapping.
    pub fn page_of(&self, at: VirtAddr) -> Result<VirtAddr, Missing> {
        let below_pages = at.0 < self.vmemmap || self.vmemmap < self.direct;
        let pfn = at.0.checked_sub(self.direct).map(|distance| distance >> 12);
        match pfn.filter(|pfn| *pfn < MAX_PFN && below_pages) {
            Some(pfn) => Ok(self.page_of_pfn(pfn)),
            None => Err(Missing::Implausible(format!(
                "{at} is outside the direct mapping, where slabs lie"
            ))),
        }
    }

    /// The `struct page` of a page frame; nothing is read.
    #[must_use]
    pub fn page_of_pfn(&self, pfn: u64) -> VirtAddr {
        VirtAddr(self.vmemmap.wrapping_add(pfn.wrapping_mul(self.page_size)))
    }

    /// The directly mapped address of the page that a `struct page` or `struct slab` describes.
    ///
    /// # Errors
    /// [`Missing::Implausible`] for an address at which no page descriptor can lie.
    pub fn address_of(&self, page: VirtAddr) -> Result<VirtAddr, Missing> {
        let distance = page.0.wrapping_sub(self.vmemmap);
        // The divisor is checked where it is read.
        let pfn = distance.checked_div(self.page_size).unwrap_or(u64::MAX);
        if pfn.wrapping_mul(self.page_size) != distance || pfn >= MAX_PFN {
            return Err(Missing::Implausible(format!("{page} is no struct page")));
        }
        Ok(VirtAddr(self.direct.wrapping_add(pfn << 12)))
    }

    /// The first page of the group that a page belongs to, and whether that is a slab.
    ///
    /// # Errors
    /// [`Missing`] when the descriptor can't be read: memory that the machine did not have, or that was left out.
    pub fn state(&self, kernel: &Kernel<'_>, page: VirtAddr) -> Result<PageState, Missing> {
        let head = head_of(kernel, page)?;
        let object = Object::new(kernel, "page", head);
        let test = self.slab_test.ok_or_else(|| {
            Missing::Implausible(
                "neither the types nor VMCOREINFO say how a page is marked as a slab".into(),
            )
        })?;
        let slab = match test {
            SlabTest::Flag(bit) => object.u64("flags")?.checked_shr(bit).unwrap_or(0) & 1 == 1,
            SlabTest::TypeBit(bit) => {
                object.u64("page_type")? & (PAGE_TYPE_BASE | bit) == PAGE_TYPE_BASE
            }
            SlabTest::TypeByte(byte) => (object.u64("page_type")? >> 24) & 0xff == byte,
        };
        Ok(PageState { head, slab })
    }

    /// Number of pages of a group as a power of two, given its first one; `None` where it can't be read.
    ///
    /// Of a compound page it is on its second page until 6.5 (`compound_order`, `_folio_order`), since then in
    /// the low byte of the folio's `_flags_1` (commit ebc1baf5c9b4 "mm: free up a word in the first tail page").
    #[must_use]
    pub fn order(&self, kernel: &Kernel<'_>, head: VirtAddr) -> Option<u32> {
        let bit = u32::try_from(kernel.types().enum_value("PG_head")?).ok()?;
        let page = Object::new(kernel, "page", head);
        let is_head = page.u64("flags").ok()?.checked_shr(bit)? & 1 == 1;
        if !is_head {
            return Some(0);
        }
        let folio = Object::new(kernel, "folio", head);
        let second = Object::new(kernel, "page", head.wrapping_add(self.page_size));
        let order = if second.has("compound_order") {
            second.u64("compound_order")
        } else if folio.has("_folio_order") {
            folio.u64("_folio_order")
        } else {
            folio.u64("_flags_1").map(|flags| flags & 0xff)
        };
        order
            .ok()
            .filter(|order| *order <= MAX_ORDER)
            .and_then(|order| u32::try_from(order).ok())
    }
}

/// A tail page points at its head, with bit 0 set (`compound_head`, include/linux/page-flags.h).
fn head_of(kernel: &Kernel<'_>, page: VirtAddr) -> Result<VirtAddr, Missing> {
    let object = Object::new(kernel, "page", page);
    if !object.has("compound_head") {
        return Ok(page);
    }
    let word = object.u64("compound_head")?;
    Ok(if word & 1 == 1 {
        VirtAddr(word - 1)
    } else {
        page
    })
}

fn slab_test(kernel: &Kernel<'_>) -> Option<SlabTest> {
    let positive = |value: i64| u64::try_from(value).ok();
    if let Some(byte) = kernel.types().enum_value("PGTY_slab").and_then(positive) {
        return Some(SlabTest::TypeByte(byte));
    }
    let by_type = kernel.types().enum_value("PG_slab");
    let value = by_type.or_else(|| kernel.info().number("PG_slab"))?;
    // Enumerators of 32 bits come sign-extended.
    let value = value.cast_unsigned() & 0xffff_ffff;
    Some(match u32::try_from(value) {
        Ok(bit) if bit < 64 => SlabTest::Flag(bit),
        _ => SlabTest::TypeBit(value),
    })
}
