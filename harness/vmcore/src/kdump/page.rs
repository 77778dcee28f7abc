//! The data of one page: its descriptor, and how it is restored.

use flate2::{Decompress, FlushDecompress, Status};
use recrash_lzo as lzo;
use ruzstd::decoding::FrameDecoder;

use crate::bytes::{u32_le, u64_le};

/// Length of a page descriptor (`struct page_desc` in diskdump_mod.h), in bytes.
pub(crate) const DESCRIPTOR_LEN: u64 = 24;
/// Page size on x86-64, in bytes.
pub(crate) const PAGE: usize = 4096;
/// Compressed data is kept only where it is smaller than the page; some tools are less strict.
const MAX_DATA: u32 = 2 * PAGE as u32;
/// makedumpfile compresses single pages, which need no window of their own.
const MAX_WINDOW: u64 = 1 << 20;

/// How a page is compressed (`DUMP_DH_COMPRESSED_*` in diskdump_mod.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zlib (makedumpfile -c).
    Zlib,
    /// LZO1X (makedumpfile -l).
    Lzo,
    /// snappy (makedumpfile -p).
    Snappy,
    /// Zstandard (makedumpfile -z).
    Zstd,
}

const FLAGS: [(u32, Compression); 4] = [
    (0x1, Compression::Zlib),
    (0x2, Compression::Lzo),
    (0x4, Compression::Snappy),
    (0x20, Compression::Zstd),
];

impl Compression {
    /// The one that these flags name; other bits are none of ours.
    pub(crate) fn from_flags(flags: u32) -> Self {
        FLAGS
            .iter()
            .find(|(bit, _)| flags & bit != 0)
            .map_or(Self::None, |&(_, kind)| kind)
    }

    /// In lower case, as makedumpfile's options call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Zlib => "zlib",
            Self::Lzo => "lzo",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }
}

/// Where a page's data is, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) compression: Compression,
}

impl Descriptor {
    pub(crate) fn parse(bytes: &[u8; DESCRIPTOR_LEN as usize]) -> Self {
        Self {
            offset: u64_le(bytes, 0).unwrap_or_default(),
            size: u32_le(bytes, 8).unwrap_or_default(),
            compression: Compression::from_flags(u32_le(bytes, 12).unwrap_or_default()),
        }
    }

    /// Whether nothing was written here: makedumpfile ran out of space, or has not come to it yet.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.offset == 0 && self.size == 0
    }

    /// Whether this can be the descriptor of a page, else what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let size = self.size;
        match self.compression {
            Compression::None if size != PAGE as u32 => Err(format!(
                "uncompressed page of {size} bytes, expected {PAGE}"
            )),
            _ if size == 0 || size > MAX_DATA => Err(format!(
                "page data of {size} bytes, expected 1 to {MAX_DATA}"
            )),
            _ => Ok(()),
        }
    }
}

/// Restores a page, or says what is wrong with its data.
pub(crate) fn restore(
    compression: Compression,
    data: &[u8],
    page: &mut [u8; PAGE],
) -> Result<(), String> {
    let name = compression.name();
    let bad = || format!("{name} data is damaged");
    let len = match compression {
        Compression::None => {
            let whole: &[u8; PAGE] = data.try_into().map_err(|_| bad())?;
            *page = *whole;
            PAGE
        }
        Compression::Zlib => zlib(data, page).ok_or_else(bad)?,
        Compression::Lzo => lzo::decompress(data, page).map_err(|_| bad())?,
        Compression::Snappy => snap::raw::Decoder::new()
            .decompress(data, page)
            .map_err(|_| bad())?,
        Compression::Zstd => zstd(data, page).ok_or_else(bad)?,
    };
    if len == PAGE {
        Ok(())
    } else {
        Err(format!("{name} data gives {len} bytes, expected {PAGE}"))
    }
}

fn zlib(data: &[u8], page: &mut [u8; PAGE]) -> Option<usize> {
    let mut stream = Decompress::new(true);
    let status = stream
        .decompress(data, page, FlushDecompress::Finish)
        .ok()?;
    (status == Status::StreamEnd).then(|| usize::try_from(stream.total_out()).ok())?
}

fn zstd(data: &[u8], page: &mut [u8; PAGE]) -> Option<usize> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    let len = decoder.decode_all(data, page).ok()?;
    // The decoder reads the checksum that a frame may have, but leaves the comparison to us.
    let stated = decoder.get_checksum_from_data();
    (stated.is_none() || stated == decoder.get_calculated_checksum()).then_some(len)
}
