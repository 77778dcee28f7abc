//! The signature: every fact of a crash that is worth comparing, in groups.
//!
//! It holds no addresses and no times. How it is written as TOML is in `text`; what the facts mean
//! to a verdict is in `crate::compare`.

mod corruption;
mod fact;
mod fault;
mod frame;
mod text;

use serde::{Deserialize, Serialize};

pub use corruption::{
    Bytes, Confidence, Corruption, Decoded, DescriptorType, Encoding, Site, Span,
};
pub use fact::{Fact, Source};
pub use fault::{Fault, FaultClass, FaultFamily, Role};
pub use frame::{Frame, Frames};
pub use text::TextError;

/// Version of the model; a snapshot of another version is refused.
pub const SCHEMA: u32 = 2;

/// What identifies one crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signature {
    /// Version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// One line in syzkaller's style; see [`crate::title::title`]. Derived, so never compared.
    pub title: String,
    /// Other titles that the kernel's report is given: by another compiler, configuration or sanitizer. Since schema 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternative_titles: Vec<String>,
    /// One line for the corruption; see [`crate::title::bug`]. Derived, so never compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// What the CPU raised, and where.
    pub fault: Fault,
    /// The normalised call chain and the system call.
    pub frames: Frames,
    /// The slab cache that was hit.
    pub slab: Slab,
    /// What was overwritten, and with what.
    pub corruption: Corruption,
    /// Circumstances: shown, never counted against a verdict.
    pub context: Context,
}

impl Signature {
    /// Assembles a signature of the current schema, with its title and bug derived from the facts.
    pub fn new(
        fault: Fault,
        frames: Frames,
        slab: Slab,
        corruption: Corruption,
        context: Context,
    ) -> Self {
        let mut signature = Self {
            schema: SCHEMA,
            title: String::new(),
            alternative_titles: Vec::new(),
            bug: None,
            fault,
            frames,
            slab,
            corruption,
            context,
        };
        signature.title = crate::title::title(&signature.fault, &signature.frames);
        signature.bug = crate::title::bug(&signature.corruption);
        signature
    }

    /// The same crash with other titles that its report is given; the title itself is none of them.
    #[must_use]
    pub fn with_alternatives(mut self, titles: impl IntoIterator<Item = String>) -> Self {
        for title in titles {
            if title != self.title && !self.alternative_titles.contains(&title) {
                self.alternative_titles.push(title);
            }
        }
        self
    }
}

/// The slab cache whose allocation crashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Slab {
    /// `kmem_cache.name`.
    pub cache: Fact<String>,
    /// `kmem_cache.object_size`, bytes.
    pub object_size: Fact<u32>,
    /// `kmem_cache.offset`: where in a free object the next-free pointer lies, bytes.
    pub freelist_offset: Fact<u32>,
    /// Whether that pointer is stored obfuscated (`CONFIG_SLAB_FREELIST_HARDENED`).
    pub hardened: Fact<bool>,
}

/// Circumstances of the crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Context {
    /// What ran the CPU: `tcg`, `kvm`, `hardware`.
    pub accelerator: Fact<String>,
    /// `task_struct.comm`.
    pub comm: Fact<String>,
    /// CPU number.
    pub cpu: Fact<u32>,
    /// Allocation flags by name, e.g. `GFP_KERNEL|__GFP_ZERO`.
    pub gfp_flags: Fact<String>,
    /// Whether pages and objects are zeroed when allocated (`init_on_alloc`, since 5.3).
    pub init_on_alloc: Fact<bool>,
    /// Whether the kernel was relocated at boot.
    pub kaslr: Fact<bool>,
    /// Whether 5-level paging (`LA57`) was on, which moves the canonical boundary.
    pub la57: Fact<bool>,
    /// `init_uts_ns.name.release`.
    pub release: Fact<String>,
    /// The system call's decoded request, e.g. `USBDEVFS_SUBMITURB`.
    pub request: Fact<String>,
    /// Size asked of the allocator, bytes.
    pub requested_size: Fact<u32>,
}

#[cfg(test)]
mod tests;
