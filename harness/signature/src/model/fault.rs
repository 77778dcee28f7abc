//! What the CPU raised: vector, class, place and the faulting instruction with registers by role.

use super::Fact;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The fault group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// Exception vector (Intel SDM volume 3A, table 6-1).
    pub vector: Fact<u8>,
    /// Its mnemonic: `#SS`, `#GP`, `#PF`, …
    pub trap: Fact<String>,
    /// What kind of fault it is, whatever the vector.
    pub class: Fact<FaultClass>,
    /// The function that holds the faulting instruction, suffixes stripped.
    pub function: Fact<String>,
    /// Bytes from that function's start. Belongs to one kernel build: compared only exactly.
    pub offset: Fact<u32>,
    /// The faulting instruction, Intel syntax, address registers by place: `mov rbx, [base+index]`.
    pub instruction: Fact<String>,
    /// The base register of the faulting address: `rbp`.
    pub base_register: Fact<String>,
    /// What the base register held.
    pub base_role: Fact<Role>,
    /// What the index register or displacement held.
    pub index_role: Fact<Role>,
    /// The vector that hardware raises for this address and base register (12 for a non-canonical
    /// address with base rbp or rsp, 13 with another base).
    pub hardware_vector: Fact<u8>,
    /// The kernel's own report of the crash by its title in syzkaller's style, whatever the other facts say. Since
    /// schema 2.
    pub report: Fact<String>,
}

/// What kind of fault it is.
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
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FaultClass {
    /// A data address whose upper bits are not a sign extension.
    NonCanonical,
    /// An address in the first page, or a small offset from it.
    Null,
    /// A canonical address without a mapping.
    Unmapped,
    /// A mapped address without the right needed.
    Protection,
    /// An instruction fetch from where there is no code.
    BadJump,
    /// `BUG()` or another `ud2`.
    Bug,
    /// `WARN()` with panic_on_warn.
    Warning,
    /// Division by zero or overflow.
    Divide,
    /// A report of KASAN, UBSAN and the like.
    Sanitizer,
    /// Lockup, hung task or RCU stall.
    Stall,
    /// `panic()` with no report before it. Since schema 2.
    Panic,
    /// Double fault, machine check and everything else.
    Other,
}

/// Fault classes that one cause can swap for another on another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultFamily {
    /// Dereference of a pointer that is not one, whatever the vector.
    WildPointer,
    /// Its own class, not exchangeable with another.
    Only(FaultClass),
}

impl FaultClass {
    /// The family, which is what identity asks for.
    pub fn family(self) -> FaultFamily {
        match self {
            Self::NonCanonical | Self::Unmapped | Self::Protection => FaultFamily::WildPointer,
            other => FaultFamily::Only(other),
        }
    }

    /// Whether the fault is about an address that an instruction used, so that trap and function name it; a report of
    /// the kernel's names the others.
    pub fn has_address(self) -> bool {
        match self {
            Self::NonCanonical
            | Self::Null
            | Self::Unmapped
            | Self::Protection
            | Self::BadJump
            | Self::Divide => true,
            Self::Bug
            | Self::Warning
            | Self::Sanitizer
            | Self::Stall
            | Self::Panic
            | Self::Other => false,
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonCanonical => "non-canonical",
            Self::Null => "null",
            Self::Unmapped => "unmapped",
            Self::Protection => "protection",
            Self::BadJump => "bad-jump",
            Self::Bug => "bug",
            Self::Warning => "warning",
            Self::Divide => "divide",
            Self::Sanitizer => "sanitizer",
            Self::Stall => "stall",
            Self::Panic => "panic",
            Self::Other => "other",
        })
    }
}

/// What a register of the faulting address held.
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
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `kmem_cache_cpu.freelist`: the free object about to be handed out.
    FreelistPointer,
    /// `kmem_cache.offset`.
    FreelistOffset,
    /// `struct kmem_cache *`.
    KmemCache,
    /// `struct kmem_cache_cpu *`.
    KmemCacheCpu,
    /// Nothing there (no index, no displacement).
    None,
    /// Something that was not recognised.
    Other,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FreelistPointer => "freelist-pointer",
            Self::FreelistOffset => "freelist-offset",
            Self::KmemCache => "kmem-cache",
            Self::KmemCacheCpu => "kmem-cache-cpu",
            Self::None => "none",
            Self::Other => "other",
        })
    }
}
