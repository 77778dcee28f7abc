//! What a packed page may begin with, found with as little unpacking as can be.

use flate2::{Decompress, FlushDecompress};

use super::page::{self, Compression, PAGE};
use crate::search;

/// Bytes of a page that are looked at: a note's header and the needle.
const HEAD: usize = 64;

/// Looks at the beginnings of pages.
pub(super) struct Heads {
    zlib: Decompress,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            zlib: Decompress::new(true),
        }
    }

    /// Whether the page may begin with these bytes, or have them behind a note's header.
    ///
    /// LZO and snappy write what has not occurred yet as it is: a needle without a repetition
    /// stands in the packed data, a few bytes from its start. zlib is unpacked up to the needle,
    /// zstd whole.
    pub(super) fn may_begin_with(
        &mut self,
        compression: Compression,
        data: &[u8],
        needle: &[u8],
    ) -> bool {
        let is_head = |page: &[u8]| {
            let behind_note = page.get(search::NOTE_HEADER..).unwrap_or_default();
            page.starts_with(needle) || behind_note.starts_with(needle)
        };
        match compression {
            Compression::None => is_head(data),
            Compression::Lzo | Compression::Snappy => {
                let start = data.get(..HEAD).unwrap_or(data);
                start.windows(needle.len()).any(|part| part == needle)
            }
            Compression::Zlib => {
                let mut head = [0; HEAD];
                self.zlib.reset(true);
                let result = self.zlib.decompress(data, &mut head, FlushDecompress::None);
                result.is_ok() && is_head(&head)
            }
            Compression::Zstd => {
                let mut whole = [0; PAGE];
                page::restore(compression, data, &mut whole).is_ok() && is_head(&whole)
            }
        }
    }
}
