//! What a prober asks of memory: words, strings, rings of list heads. A read that fails is a "no", never an error.
use std::collections::HashSet;

use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_vmcore::{VirtAddr, VirtMem};

/// More entries than a ring that is looked at has.
const RING_MAX: usize = 200_000;
/// Lowest address of the kernel's half of the address space.
const KERNEL_HALF: u64 = 0xff00_0000_0000_0000;

/// Memory of a kernel without types.
pub(super) struct Memory<'k> {
    pub(super) kernel: &'k Kernel<'k>,
}

impl<'k> Memory<'k> {
    pub(super) fn new<'d: 'k>(kernel: &'k Kernel<'d>) -> Self {
        Self { kernel }
    }

    pub(super) fn symbol(&self, name: &str) -> Result<u64, Missing> {
        self.kernel.own_symbol(name).map(|at| at.0)
    }

    pub(super) fn word(&self, at: u64) -> Option<u64> {
        self.kernel.memory().u64_at(VirtAddr(at)).ok()
    }

    pub(super) fn half(&self, at: u64) -> Option<u32> {
        self.kernel.memory().u32_at(VirtAddr(at)).ok()
    }

    pub(super) fn bytes(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        self.kernel.memory().bytes(VirtAddr(at), len).ok()
    }

    /// A pointer into the kernel's half, aligned to 8 bytes.
    pub(super) fn pointer(&self, at: u64) -> Option<u64> {
        self.word(at).filter(|to| is_pointer(*to))
    }

    /// A string of printable ASCII, not empty, that ends within `max` bytes.
    pub(super) fn name(&self, at: u64, max: usize) -> Option<String> {
        let text = self.kernel.memory().cstr(VirtAddr(at), max).ok()?;
        let printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        (!text.is_empty() && text.len() < max && printable).then_some(text)
    }

    /// The structures on the ring of list heads that begins at `head`, each of which has its list head at `offset`
    /// and satisfies `is_one`. `None` if the ring is none: every step back has to be where the step came from.
    pub(super) fn ring(
        &self,
        head: u64,
        offset: u64,
        is_one: impl Fn(u64) -> bool,
    ) -> Option<Vec<u64>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut at = head;
        loop {
            let next = self.pointer(at)?;
            if self.word(next.wrapping_add(8))? != at {
                return None;
            }
            if next == head {
                return Some(found);
            }
            let entry = next.wrapping_sub(offset);
            if found.len() >= RING_MAX || !seen.insert(next) || !is_one(entry) {
                return None;
            }
            found.push(entry);
            at = next;
        }
    }
}

/// What a pointer of the kernel to a structure looks like.
pub(super) fn is_pointer(value: u64) -> bool {
    value >= KERNEL_HALF && value.is_multiple_of(8) && value < u64::MAX - 4096
}

/// A reason that names what was looked for.
pub(super) fn not_found(what: &str) -> Missing {
    Missing::Implausible(format!("no {what} that memory bears out"))
}
