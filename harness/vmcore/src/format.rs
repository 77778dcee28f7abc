//! What kind of file a dump is, in words.

use std::fmt;

use crate::Compression;

/// File format of a dump. `Display` gives it in words: `kdump-compressed v6, flattened, lzo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// ELF or kdump-compressed.
    pub kind: FormatKind,
    /// Whether the file is a flattened stream (makedumpfile -F).
    pub flattened: bool,
}

/// What a dump is inside the flattened stream, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatKind {
    /// ELF64 core.
    Elf,
    /// makedumpfile's kdump-compressed format.
    Kdump {
        /// Version of its header, 1 to 6.
        version: u32,
        /// How its pages are compressed; single ones may not be.
        compression: Compression,
        /// Whether it is one file of a split dump.
        split: bool,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flattened = if self.flattened { ", flattened" } else { "" };
        match self.kind {
            FormatKind::Elf => write!(f, "ELF{flattened}"),
            FormatKind::Kdump {
                version,
                compression,
                split,
            } => {
                let split = if split { ", split" } else { "" };
                write!(
                    f,
                    "kdump-compressed v{version}{flattened}{split}, {}",
                    compression.name()
                )
            }
        }
    }
}
