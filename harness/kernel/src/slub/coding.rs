//! How a free object keeps the address of the next one, and which way this kernel has it, by evidence in the dump.
//! Knows no lists: who walks them gives it links to judge.
use recrash_vmcore::VirtAddr;

/// How a free object keeps the address of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointerCoding {
    /// As it is.
    Plain,
    /// XOR with the cache's secret and the pointer's own address.
    Hardened,
    /// The same with the address byte-swapped, since 5.7 (commit 1ad53d9fa3f6 "slub: improve bit diffusion for
    /// freelist ptr obfuscation") and in the stable kernels that took it.
    HardenedSwapped,
}

impl PointerCoding {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "stored as it is",
            Self::Hardened => "stored XOR the cache's secret XOR its address",
            Self::HardenedSwapped => "stored XOR the cache's secret XOR its byte-swapped address",
        }
    }

    /// The bytes in memory at `at` that a kernel with this coding reads as `pointer`; the coding is its own
    /// inverse.
    #[must_use]
    pub fn apply(self, pointer: u64, random: u64, at: VirtAddr) -> u64 {
        match self {
            Self::Plain => pointer,
            Self::Hardened => pointer ^ random ^ at.0,
            Self::HardenedSwapped => pointer ^ random ^ at.0.swap_bytes(),
        }
    }
}

/// Links seen in memory, counted by the hardened coding that makes sense of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Votes {
    swapped: u32,
    unswapped: u32,
}

impl Votes {
    /// Links that one coding must be ahead by.
    const ENOUGH: u32 = 4;

    /// One link: whether each coding gives a pointer that the slab's list can hold.
    pub(super) fn add(&mut self, swapped: bool, unswapped: bool) {
        // A link that both explain says nothing.
        self.swapped += u32::from(swapped && !unswapped);
        self.unswapped += u32::from(unswapped && !swapped);
    }

    /// Whether more links need not be looked at.
    pub(super) fn decided(self) -> bool {
        self.swapped.abs_diff(self.unswapped) >= Self::ENOUGH
    }

    /// The coding with more links; `None` without a difference.
    pub(super) fn winner(self) -> Option<PointerCoding> {
        match self.swapped.cmp(&self.unswapped) {
            std::cmp::Ordering::Greater => Some(PointerCoding::HardenedSwapped),
            std::cmp::Ordering::Less => Some(PointerCoding::Hardened),
            std::cmp::Ordering::Equal => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_coding_is_its_own_inverse() {
        let (random, at, pointer) = (
            0x1234_5678_9abc_def0,
            VirtAddr(0xffff_8880_0123_4080),
            0x0072_0069_0056_0338,
        );
        for coding in [
            PointerCoding::Plain,
            PointerCoding::Hardened,
            PointerCoding::HardenedSwapped,
        ] {
            assert_eq!(
                coding.apply(coding.apply(pointer, random, at), random, at),
                pointer
            );
        }
    }

    #[test]
    fn the_swapped_coding_mixes_the_low_address_bytes_into_the_high_ones() {
        let stored = PointerCoding::HardenedSwapped.apply(0, 0, VirtAddr(0x11));
        assert_eq!(stored, 0x11 << 56);
    }

    #[test]
    fn a_link_that_both_codings_explain_does_not_vote() {
        let mut votes = Votes::default();
        votes.add(true, true);
        assert_eq!(votes.winner(), None);
        votes.add(true, false);
        assert_eq!(votes.winner(), Some(PointerCoding::HardenedSwapped));
        assert!(!votes.decided());
    }
}
