//! A stack's kind and bounds as plain data.
use recrash_vmcore::VirtAddr;

/// Which stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StackKind {
    /// A task's, for system calls, kernel threads and most exceptions.
    Task,
    /// A CPU's, for device interrupts and softirqs.
    Irq,
    /// A CPU's, for the first instructions after user mode.
    Entry,
    /// A CPU's, for double faults.
    DoubleFault,
    /// A CPU's, for NMIs.
    Nmi,
    /// A CPU's, for debug exceptions (`DB`, before 5.8 also `DB1` and `DB2` for nested ones).
    Debug,
    /// A CPU's, for machine checks.
    MachineCheck,
    /// A CPU's, for the VMM communication exception of AMD SEV-ES.
    Vc,
    /// A CPU's, to which a VMM communication exception falls back (`VC2`).
    VcFallback,
}

impl std::fmt::Display for StackKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Task => "task stack",
            Self::Irq => "IRQ stack",
            Self::Entry => "entry stack",
            Self::DoubleFault => "#DF stack",
            Self::Nmi => "NMI stack",
            Self::Debug => "#DB stack",
            Self::MachineCheck => "#MC stack",
            Self::Vc => "#VC stack",
            Self::VcFallback => "#VC fallback stack",
        })
    }
}

/// A stack's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Which stack it is.
    pub kind: StackKind,
    /// The CPU whose stack it is, or that was running the task whose stack it is.
    pub cpu: Option<u32>,
    /// Lowest address.
    pub low: VirtAddr,
    /// First address past it.
    pub high: VirtAddr,
}

impl Bounds {
    /// Whether an address lies on it.
    #[must_use]
    pub fn contains(&self, at: VirtAddr) -> bool {
        at.0.wrapping_sub(self.low.0) < self.size()
    }

    /// Whether `length` bytes from an address on do.
    #[must_use]
    pub fn holds(&self, at: VirtAddr, length: u64) -> bool {
        let offset = at.0.wrapping_sub(self.low.0);
        offset < self.size() && length <= self.size().wrapping_sub(offset)
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.high.0.saturating_sub(self.low.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(offset: u64, length: u64, contains: bool, holds: bool) {
        let stack = Bounds {
            kind: StackKind::Irq,
            cpu: Some(0),
            low: VirtAddr(0x4000),
            high: VirtAddr(0x8000),
        };
        let at = VirtAddr(offset);
        assert_eq!(
            (stack.contains(at), stack.holds(at, length)),
            (contains, holds)
        );
    }

    #[test]
    fn the_end_of_a_stack_is_not_on_it() {
        check(0x3fff, 1, false, false);
        check(0x4000, 0x4000, true, true);
        check(0x4000, 0x4001, true, false);
        check(0x7ff8, 8, true, true);
        check(0x7ff9, 8, true, false);
        check(0x8000, 0, false, false);
        check(u64::MAX, u64::MAX, false, false);
    }
}
