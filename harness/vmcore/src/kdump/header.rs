//! Main header and sub header of makedumpfile's kdump-compressed format, versions 1 to 6.
//!
//! Layout: `struct disk_dump_header` in diskdump_mod.h and `struct kdump_sub_header` in
//! makedumpfile.h, as a 64-bit x86 build lays them out.

use crate::bytes::{u32_le, u64_le};
use crate::source::{Fault, Source};

pub(crate) const MAGIC: &[u8; 8] = b"KDUMP   ";
/// Block and page size on x86-64, in bytes.
pub(crate) const BLOCK: u64 = 4096;
const MAIN_LEN: u64 = 464;
const SUB_LEN: u64 = 104;
/// Length of each field of `struct new_utsname`.
const UTS_FIELD: usize = 65;
/// Page numbers that 52 bits of physical address allow.
const MAX_PFN: u64 = 1 << 40;

/// `uname` of the crashed machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Utsname {
    /// Name of the system: Linux.
    pub sysname: String,
    /// Host name.
    pub nodename: String,
    /// Kernel release.
    pub release: String,
    /// Kernel version: build number and date.
    pub version: String,
    /// Machine: x86_64.
    pub machine: String,
    /// NIS domain.
    pub domainname: String,
}

/// What the headers of a kdump-compressed dump say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KdumpHeader {
    /// Version of the format, 1 to 6.
    pub version: u32,
    /// `uname` of the crashed machine; QEMU leaves it all but empty.
    pub utsname: Utsname,
    /// When the dump was made, in seconds since 1970, if stated.
    pub timestamp: Option<u64>,
    /// Compression and completeness (`DUMP_DH_*`).
    pub status: u32,
    /// Number of page frames that the bitmaps cover.
    pub max_mapnr: u64,
    /// Number of CPUs.
    pub nr_cpus: u32,
    /// CPU that crashed, as far as the tool knew.
    pub current_cpu: u32,
    /// makedumpfile's `-d` (bits: 1 zero, 2 cache, 4 private cache, 8 user, 16 free).
    pub dump_level: Option<u32>,
    /// Physical address of the kernel image's start of mapping, as an offset.
    pub phys_base: u64,
    /// Page frames that this file of a split dump holds: first, and one past the last.
    pub split: Option<(u64, u64)>,
}

/// Where the parts of the file are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bitmap of the pages that exist, if there are two bitmaps.
    pub(crate) bitmap1: Option<u64>,
    /// Bitmap of the pages that were dumped.
    pub(crate) bitmap2: u64,
    /// First page descriptor.
    pub(crate) descriptors: u64,
    /// VMCOREINFO: offset, length.
    pub(crate) vmcoreinfo: Option<(u64, u64)>,
    /// ELF notes: offset, length.
    pub(crate) notes: Option<(u64, u64)>,
}

/// `DUMP_DH_COMPRESSED_INCOMPLETE`: makedumpfile ran out of space.
pub(crate) const STATUS_INCOMPLETE: u32 = 8;

impl KdumpHeader {
    pub(crate) fn parse(source: &Source) -> Result<(Self, Layout), Fault> {
        let main = source
            .slice(0, MAIN_LEN)
            .map_err(|m| (m.offset, "the file ends within its kdump header".to_owned()))?;
        let field = |at| u32_le(&main, at).unwrap_or_default();
        let version = field(8);
        if !(1..=6).contains(&version) {
            return Err((
                8,
                format!("kdump header version {version}, expected 1 to 6"),
            ));
        }
        if u64::from(field(428)) != BLOCK {
            return Err((
                428,
                format!("blocks of {} bytes, expected {BLOCK}", field(428)),
            ));
        }
        let sub = source.slice(BLOCK, SUB_LEN).map_err(|m| {
            (
                m.offset,
                "the file ends within its kdump sub header".to_owned(),
            )
        })?;
        // A field that this version of the format does not have yet.
        let since = |first: u32, at| (version >= first).then(|| u64_le(&sub, at)).flatten();
        let range = |first, at| {
            let offset = since(first, at).filter(|&n| n != 0)?;
            Some((offset, since(first, at + 8).filter(|&n| n != 0)?))
        };
        let max_mapnr = since(6, 96).unwrap_or_else(|| u64::from(field(440)));
        if max_mapnr == 0 || max_mapnr > MAX_PFN {
            return Err((
                440,
                format!("{max_mapnr} page frames, expected 1 to {MAX_PFN}"),
            ));
        }
        let is_split = version >= 2 && u32_le(&sub, 12).is_some_and(|n| n != 0);
        let first = since(6, 80).or_else(|| since(2, 16)).unwrap_or_default();
        let end = since(6, 88).or_else(|| since(2, 24)).unwrap_or_default();
        let header = Self {
            version,
            utsname: utsname(&main),
            timestamp: u64_le(&main, 408).filter(|&n| n != 0),
            status: field(424),
            max_mapnr,
            nr_cpus: field(460),
            current_cpu: field(456),
            dump_level: u32_le(&sub, 8),
            phys_base: u64_le(&sub, 0).unwrap_or_default(),
            split: is_split.then_some((first, end)),
        };
        let layout = Layout {
            vmcoreinfo: range(3, 32),
            notes: range(4, 48),
            ..bitmaps(max_mapnr, u64::from(field(432)), u64::from(field(436)))?
        };
        Ok((header, layout))
    }
}

/// `sub_blocks` and `bitmap_blocks` were 32 bits wide, so that nothing here can overflow.
fn bitmaps(max_mapnr: u64, sub_blocks: u64, bitmap_blocks: u64) -> Result<Layout, Fault> {
    let start = (1 + sub_blocks) * BLOCK;
    let one = max_mapnr.div_ceil(8).div_ceil(BLOCK);
    if bitmap_blocks < one {
        let what = format!("a bitmap of {bitmap_blocks} blocks for {max_mapnr} page frames");
        return Err((436, format!("{what}, expected {one}")));
    }
    let has_two = bitmap_blocks >= 2 * one;
    let second = start
        + if has_two {
            bitmap_blocks / 2 * BLOCK
        } else {
            0
        };
    Ok(Layout {
        bitmap1: has_two.then_some(start),
        bitmap2: second,
        descriptors: start + bitmap_blocks * BLOCK,
        ..Layout::default()
    })
}

fn utsname(main: &[u8]) -> Utsname {
    let mut fields = main
        .get(12..)
        .unwrap_or_default()
        .chunks(UTS_FIELD)
        .map(|field| {
            let text = field.split(|&b| b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        });
    let mut next = || fields.next().unwrap_or_default();
    Utsname {
        sysname: next(),
        nodename: next(),
        release: next(),
        version: next(),
        machine: next(),
        domainname: next(),
    }
}
