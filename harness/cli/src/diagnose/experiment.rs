//! The experiments: what each changes, and what it asks. Whether a kernel has it is [`super::offer`]'s; runs none.
use recrash_machine::run::Extras;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A repetition of the run with one thing changed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Experiment {
    /// Nothing is changed.
    Control,
    /// The fault is left out.
    NoFault,
    /// SLUB debugging for the caches concerned.
    SlubDebug,
    /// Objects are zeroed when they are freed.
    InitOnFree,
    /// Free pages are poisoned.
    PagePoison,
    /// The address sanitizer.
    Kasan,
    /// Its sampling kin.
    Kfence,
    /// All DMA goes through bounce buffers.
    Swiotlb,
    /// An IOMMU, which drops a mapping when its transfer ends.
    Iommu,
}

impl Experiment {
    /// All, in the order in which they are made.
    pub(crate) const ALL: [Self; 9] = [
        Self::Control,
        Self::NoFault,
        Self::SlubDebug,
        Self::Swiotlb,
        Self::Iommu,
        Self::InitOnFree,
        Self::PagePoison,
        Self::Kfence,
        Self::Kasan,
    ];

    /// The word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::NoFault => "no-fault",
            Self::SlubDebug => "slub-debug",
            Self::InitOnFree => "init-on-free",
            Self::PagePoison => "page-poison",
            Self::Kasan => "kasan",
            Self::Kfence => "kfence",
            Self::Swiotlb => "swiotlb",
            Self::Iommu => "iommu",
        }
    }

    /// What it asks.
    pub(crate) fn question(self) -> &'static str {
        match self {
            Self::Control => "does it crash as it is?",
            Self::NoFault => "does it crash without the fault?",
            Self::SlubDebug => {
                "who allocated and freed the object, and what was written into it while it was free?"
            }
            Self::InitOnFree => "do the bytes come after the free, which zeroes the object?",
            Self::PagePoison => "is a whole free page written to?",
            Self::Kasan => "does code on the CPU touch freed memory?",
            Self::Kfence => {
                "does code on the CPU touch freed memory, as far as one allocation in many shows it?"
            }
            Self::Swiotlb => {
                "does a finished transfer's buffer still reach the object by DMA? With bounce buffers it does not"
            }
            Self::Iommu => {
                "does a finished transfer's mapping still reach the object? With an IOMMU it does not"
            }
        }
    }

    /// What is added to the kernel's command line. `caches`: those that the object may be of.
    ///
    /// `panic_on_taint` (Linux 5.8) makes the kernel die where SLUB finds an overwritten object, before it puts the
    /// poison back: 0x20 is TAINT_BAD_PAGE (mm/slub.c, slab_bug(); include/linux/panic.h).
    pub(crate) fn append(self, caches: &[String]) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Control | Self::NoFault => &[],
            Self::SlubDebug => {
                let caches: String = caches.iter().map(|name| format!(",{name}")).collect();
                return vec![
                    format!("slub_debug=FZPU{caches}"),
                    "panic_on_taint=0x20".into(),
                ];
            }
            Self::InitOnFree => &["init_on_free=1"],
            Self::PagePoison => &["page_poison=1"],
            Self::Kasan => &["kasan.fault=panic", "kasan_multi_shot"],
            Self::Kfence => &["kfence.sample_interval=1", "panic_on_warn=1"],
            Self::Swiotlb => &["swiotlb=force"],
            Self::Iommu => &[
                "intel_iommu=on,strict",
                "iommu.strict=1",
                "iommu.passthrough=0",
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What is added to the machine and to its end.
    pub(crate) fn extras(self) -> Extras {
        Extras {
            dump_at_end: self == Self::SlubDebug,
            iommu: self == Self::Iommu,
        }
    }

    /// Whether its result is what lies in memory, not whether the kernel died.
    pub(crate) fn reads_memory(self) -> bool {
        self == Self::SlubDebug
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The caches of kmalloc() that serve a request of this size, as any kernel may call them: plain, and since Linux 6.6 one
/// of sixteen by the caller (CONFIG_RANDOM_KMALLOC_CACHES, mm/slab_common.c).
pub(crate) fn caches_of(bytes: u64, random: bool) -> Vec<String> {
    /// The sizes that are no power of two.
    const BETWEEN: [u64; 2] = [96, 192];
    let power = bytes.max(8).checked_next_power_of_two().unwrap_or(bytes);
    let between = BETWEEN
        .into_iter()
        .find(|size| (power / 2 < bytes && bytes <= *size) && *size < power);
    let size = between.unwrap_or(power);
    // kmalloc_size_info: `256`, `1k`.
    let spelt = match size {
        1024.. if size.is_multiple_of(1024) => format!("{}k", size / 1024),
        _ => size.to_string(),
    };
    of_size(&spelt, random)
}

/// The same for a size as a cache's name has it, `256` or `1k`.
pub(crate) fn of_size(size: &str, random: bool) -> Vec<String> {
    let mut names = vec![format!("kmalloc-{size}")];
    if random {
        names.extend((1..=15).map(|number| format!("kmalloc-rnd-{number:02}-{size}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn check(bytes: u64, expected: &str) {
        assert_eq!(caches_of(bytes, false), [expected], "{bytes}");
    }

    #[test]
    fn a_size_has_its_cache() {
        for (bytes, cache) in [
            (1, "kmalloc-8"),
            (64, "kmalloc-64"),
            (65, "kmalloc-96"),
            (96, "kmalloc-96"),
            (97, "kmalloc-128"),
            (129, "kmalloc-192"),
            (193, "kmalloc-256"),
            (254, "kmalloc-256"),
            (512, "kmalloc-512"),
            (1000, "kmalloc-1k"),
        ] {
            check(bytes, cache);
        }
    }

    #[test]
    fn random_caches_have_a_plain_one_and_fifteen_more() {
        let names = caches_of(254, true);
        assert_eq!(names.len(), 16);
        assert_eq!(names[1], "kmalloc-rnd-01-256");
        assert_eq!(names[15], "kmalloc-rnd-15-256");
    }

    #[test]
    fn all_are_made_and_named_as_on_the_command_line() {
        assert_eq!(Experiment::ALL.len(), Experiment::value_variants().len());
        for one in Experiment::value_variants() {
            assert_eq!(Experiment::from_str(one.name(), false).as_ref(), Ok(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.name());
        }
    }

    #[test]
    fn slub_debugging_is_for_the_caches_concerned_and_ends_in_a_dump() {
        let words = Experiment::SlubDebug.append(&["kmalloc-256".into(), "x".into()]);
        assert_eq!(
            words,
            ["slub_debug=FZPU,kmalloc-256,x", "panic_on_taint=0x20"]
        );
        assert!(Experiment::SlubDebug.extras().dump_at_end);
        assert!(Experiment::Control.extras().is_none());
    }
}
