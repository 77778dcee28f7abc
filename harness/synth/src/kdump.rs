//! makedumpfile's kdump-compressed format, and its flattened streams.

use std::collections::BTreeMap;

/// Bytes of a page and of a block.
const PAGE: usize = 0x1000;

/// How pages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Raw,
    /// zlib.
    Zlib,
    /// LZO1X.
    Lzo,
    /// snappy, without framing.
    Snappy,
    /// One Zstandard frame a page.
    Zstd,
}

/// A page of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// In the dump.
    Data(Vec<u8>),
    /// Left out by the filter.
    Excluded,
}

/// A dump to be written.
#[derive(Debug, Clone)]
pub struct Dump {
    /// Version of the header, 1 to 6.
    pub version: u32,
    /// How pages are packed; a page that does not shrink stays raw.
    pub packing: Packing,
    /// Pages by page frame number; others do not exist.
    pub pages: BTreeMap<u64, Page>,
    /// Text of VMCOREINFO (from version 3 on).
    pub vmcoreinfo: String,
    /// ELF notes (from version 4 on).
    pub notes: Vec<u8>,
    /// `uname -r`.
    pub release: String,
    /// First page frame, and one past the last, of this file of a split dump.
    pub split: Option<(u64, u64)>,
    /// Whether to mark it as incomplete.
    pub incomplete: bool,
}

impl Dump {
    /// A version 6 dump without pages.
    #[must_use]
    pub fn new(packing: Packing) -> Self {
        Self {
            version: 6,
            packing,
            pages: BTreeMap::new(),
            vmcoreinfo: String::new(),
            notes: Vec::new(),
            release: "6.1.0-test".to_owned(),
            split: None,
            incomplete: false,
        }
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let frames = self.pages.keys().next_back().map_or(1, |last| last + 1);
        let map_len = (frames.div_ceil(8) as usize).next_multiple_of(PAGE);
        let sub_blocks = 1 + (self.vmcoreinfo.len() + self.notes.len()).div_ceil(PAGE);
        let mut out = self.main_header(frames, sub_blocks, 2 * map_len / PAGE);
        out.resize(PAGE, 0);
        out.extend(self.sub_header(frames));
        out.resize(PAGE * (1 + sub_blocks), 0);
        let mut exist = vec![0_u8; map_len];
        let mut dumped = vec![0_u8; map_len];
        for (&pfn, page) in &self.pages {
            exist[(pfn / 8) as usize] |= 1 << (pfn % 8);
            if matches!(page, Page::Data(_)) {
                dumped[(pfn / 8) as usize] |= 1 << (pfn % 8);
            }
        }
        out.extend(exist);
        out.extend(dumped);
        let (first, end) = self.split.unwrap_or((0, frames));
        let packed: Vec<(u32, Vec<u8>)> = (self.pages.range(first..end))
            .filter_map(|(_, page)| match page {
                Page::Data(data) => Some(pack(self.packing, data)),
                Page::Excluded => None,
            })
            .collect();
        let mut data_at = out.len() + 24 * packed.len();
        for (flags, data) in &packed {
            out.extend((data_at as u64).to_le_bytes());
            out.extend((data.len() as u32).to_le_bytes());
            out.extend(flags.to_le_bytes());
            out.extend([0; 8]);
            data_at += data.len();
        }
        out.extend(packed.into_iter().flat_map(|(_, data)| data));
        out
    }

    fn main_header(&self, frames: u64, sub_blocks: usize, map_blocks: usize) -> Vec<u8> {
        let mut out = b"KDUMP   ".to_vec();
        out.extend(self.version.to_le_bytes());
        for field in ["Linux", "host", &self.release, "#1 SMP", "x86_64", "(none)"] {
            let end = out.len() + 65;
            out.extend(field.bytes());
            out.resize(end, 0);
        }
        out.resize(408, 0);
        out.extend(1_654_387_200_u64.to_le_bytes());
        out.extend([0; 8]);
        let status = flag(self.packing) | if self.incomplete { 8 } else { 0 };
        let old_frames = if self.version == 6 { 0 } else { frames as u32 };
        for word in [
            status,
            4096,
            sub_blocks as u32,
            map_blocks as u32,
            old_frames,
            0,
            0,
            0,
            1,
            2,
        ] {
            out.extend(word.to_le_bytes());
        }
        out
    }

    /// The sub header with what lies behind it. Fields that this version lacks hold rubbish, as
    /// the rest of the block may.
    fn sub_header(&self, frames: u64) -> Vec<u8> {
        let info_at = (PAGE + 104) as u64;
        let info_len = self.vmcoreinfo.len() as u64;
        let (first, end) = self.split.unwrap_or((0, 0));
        let mut out = 0x0100_0000_u64.to_le_bytes().to_vec();
        out.extend(31_u32.to_le_bytes());
        out.extend(u32::from(self.split.is_some()).to_le_bytes());
        let by_version: [(u32, &[u64]); 5] = [
            (2, &[first, end]),
            (3, &[info_at, info_len]),
            (4, &[info_at + info_len, self.notes.len() as u64]),
            (5, &[0, 0]),
            (6, &[first, end, frames]),
        ];
        for (since, fields) in by_version {
            for &field in fields {
                let field = if self.version >= since {
                    field
                } else {
                    0x5a5a_5a5a_5a5a
                };
                out.extend(field.to_le_bytes());
            }
        }
        out.extend(self.vmcoreinfo.bytes());
        out.extend(&self.notes);
        out
    }
}

fn flag(packing: Packing) -> u32 {
    match packing {
        Packing::Raw => 0,
        Packing::Zlib => 0x01,
        Packing::Lzo => 0x02,
        Packing::Snappy => 0x04,
        Packing::Zstd => 0x20,
    }
}

/// Flags and data of a page. What a compressor cannot do comes out empty, and so unreadable.
fn pack(packing: Packing, data: &[u8]) -> (u32, Vec<u8>) {
    let packed = match packing {
        Packing::Raw => data.to_vec(),
        Packing::Zlib => {
            let mut packed = Vec::with_capacity(2 * PAGE);
            let mut stream = flate2::Compress::new(flate2::Compression::fast(), true);
            let done = stream.compress_vec(data, &mut packed, flate2::FlushCompress::Finish);
            done.map(|_| packed).unwrap_or_default()
        }
        Packing::Lzo => lzokay_native::compress(data).unwrap_or_default(),
        Packing::Snappy => snap::raw::Encoder::new()
            .compress_vec(data)
            .unwrap_or_default(),
        Packing::Zstd => {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        }
    };
    if packed.len() < data.len() {
        (flag(packing), packed)
    } else {
        (0, data.to_vec())
    }
}

/// The first 4096 bytes of a flattened stream.
#[must_use]
pub fn flattened_header() -> Vec<u8> {
    let mut out = b"makedumpfile".to_vec();
    out.resize(16, 0);
    out.extend(1_i64.to_be_bytes());
    out.extend(1_i64.to_be_bytes());
    out.resize(4096, 0);
    out
}

/// One block of a flattened stream.
#[must_use]
pub fn flattened_block(offset: i64, data: &[u8]) -> Vec<u8> {
    let mut out = offset.to_be_bytes().to_vec();
    out.extend((data.len() as i64).to_be_bytes());
    out.extend(data);
    out
}

/// What ends a flattened stream.
#[must_use]
pub fn flattened_end() -> Vec<u8> {
    [(-1_i64).to_be_bytes(), (-1_i64).to_be_bytes()].concat()
}

/// A file as a flattened stream, in blocks of `block` bytes from the last to the first, with the
/// first written twice: wrong, then right.
#[must_use]
pub fn flatten(file: &[u8], block: usize) -> Vec<u8> {
    let mut out = flattened_header();
    let first = block.min(file.len());
    out.extend(flattened_block(0, &vec![0xff; first]));
    for (index, data) in file.chunks(block).enumerate().rev() {
        out.extend(flattened_block((index * block) as i64, data));
    }
    out.extend(flattened_end());
    out
}
