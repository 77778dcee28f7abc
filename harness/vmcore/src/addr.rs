//! Physical and virtual addresses as types of their own.
//!
//! What is mapped where is not known here; see the paging module.

use std::fmt;

/// Address in the machine's physical memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

/// Address in a virtual address space, in bytes. Any value will do: pointers found in a crash may
/// be anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

/// Depth of the page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum PagingLevels {
    /// 48-bit virtual addresses (PML4).
    Four,
    /// 57-bit virtual addresses (LA57, PML5).
    Five,
}

impl PagingLevels {
    /// Number of bits in a virtual address: 48 or 57.
    #[must_use]
    pub const fn address_bits(self) -> u32 {
        match self {
            Self::Four => 48,
            Self::Five => 57,
        }
    }
}

impl PhysAddr {
    /// This address plus `bytes`, or `None` past the end of 64 bits.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl VirtAddr {
    /// This address plus `bytes`, wrapping as the processor does.
    #[must_use]
    pub const fn offset(self, bytes: i64) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }

    /// This address plus `bytes`, wrapping as the processor does.
    #[must_use]
    pub const fn wrapping_add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Bytes from `start` up to this address, or `None` if it lies before `start`.
    #[must_use]
    pub const fn checked_since(self, start: Self) -> Option<u64> {
        self.0.checked_sub(start.0)
    }

    /// Whether the bits above the address width all repeat the topmost address bit
    /// (Intel SDM volume 1, 3.3.7.1).
    #[must_use]
    pub const fn is_canonical(self, levels: PagingLevels) -> bool {
        let unused = 64 - levels.address_bits();
        ((self.0 << unused).cast_signed() >> unused).cast_unsigned() == self.0
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhysAddr({self})")
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtAddr({self})")
    }
}

impl fmt::LowerHex for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: u64, four: bool, five: bool) {
        let address = VirtAddr(address);
        assert_eq!(address.is_canonical(PagingLevels::Four), four, "{address}");
        assert_eq!(address.is_canonical(PagingLevels::Five), five, "{address}");
    }

    #[test]
    fn canonical_depends_on_the_number_of_levels() {
        check(0, true, true);
        check(0x0000_7fff_ffff_ffff, true, true);
        check(0x0000_8000_0000_0000, false, true);
        check(0x0072_0069_0056_0338, false, true);
        check(0x0100_0000_0000_0000, false, false);
        check(0xffff_8000_0000_0000, true, true);
        check(0xff00_0000_0000_0000, false, true);
        check(0xfe00_0000_0000_0000, false, false);
        check(u64::MAX, true, true);
    }

    #[test]
    fn virtual_addresses_wrap_and_show_all_digits() {
        assert_eq!(VirtAddr(1).offset(-2), VirtAddr(u64::MAX));
        assert_eq!(VirtAddr(u64::MAX).wrapping_add(1), VirtAddr(0));
        assert_eq!(VirtAddr(0x1f).to_string(), "0x000000000000001f");
        assert_eq!(PhysAddr(0x1f).to_string(), "0x1f");
    }
}
