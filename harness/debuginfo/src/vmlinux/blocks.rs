//! The two compressed containers of kernel images that are rows of blocks: lz4's legacy frames and lzop's files.

use std::io::{Error, Result};

use crate::bytes::{array, cut, u16_at, u32_at};

/// Legacy frame format (`lz4 -l`).
pub(super) const LZ4_MAGIC: &[u8] = b"\x02\x21\x4c\x18";
/// Beginning of an lzop file.
pub(super) const LZOP_MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
/// A block of the legacy format holds at most 8 MiB.
const LZ4_BLOCK: usize = 8 << 20;
/// `MAX_BLOCK_SIZE` of lzop; the kernel's decompressor takes 256 KiB.
const LZOP_BLOCK: usize = 64 << 20;

/// `F_ADLER32_D` and `F_CRC32_D`: checksums of what comes out of a block.
const LZOP_OUT_SUMS: u32 = 0x101;
/// `F_ADLER32_C` and `F_CRC32_C`: checksums of a block as stored, where it is compressed.
const LZOP_IN_SUMS: u32 = 0x202;
/// `F_H_FILTER`.
const LZOP_FILTER: u32 = 0x800;

fn broken(what: &str) -> Error {
    Error::other(what.to_owned())
}

/// Legacy frames, as `lib/decompress_unlz4.c` reads them: blocks behind their length, until `size` bytes are there.
pub(super) fn lz4(payload: &[u8], size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(Error::other)?;
    let mut out = Vec::new();
    let mut at = LZ4_MAGIC.len();
    while out.len() < size {
        let word = u32_at(payload, at).ok_or_else(|| broken("it ends before a block"))?;
        at += 4;
        if word.to_le_bytes() == LZ4_MAGIC {
            continue; // another frame, as `cat` makes them
        }
        let len = usize::try_from(word).map_err(Error::other)?;
        let block = cut(payload, at, len).ok_or_else(|| broken("a block leaves the payload"))?;
        let done = out.len();
        out.resize(done.saturating_add(LZ4_BLOCK.min(size - done)), 0);
        let room = out.get_mut(done..).unwrap_or_default();
        let got = lz4_flex::block::decompress_into(block, room).map_err(Error::other)?;
        if got == 0 {
            return Err(broken("an empty block"));
        }
        out.truncate(done.saturating_add(got));
        at = at.saturating_add(len);
    }
    Ok(out)
}

/// An lzop file, as `lib/decompress_unlzo.c` reads it; checksums are passed over.
pub(super) fn lzop(payload: &[u8], size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(Error::other)?;
    let (flags, mut at) = lzop_header(payload).ok_or_else(|| broken("no lzop header"))?;
    let mut out = Vec::new();
    while out.len() < size {
        let short = || broken("it ends before a block");
        let out_len = word(payload, at).ok_or_else(short)?;
        if out_len == 0 {
            break;
        }
        let len = word(payload, at + 4).ok_or_else(short)?;
        let compressed = len < out_len;
        let mut sums = (flags & LZOP_OUT_SUMS).count_ones();
        if compressed {
            sums += (flags & LZOP_IN_SUMS).count_ones();
        }
        at = at.saturating_add(8 + 4 * usize::try_from(sums).map_err(Error::other)?);
        let block = cut(payload, at, len).ok_or_else(|| broken("a block leaves the payload"))?;
        if out_len > LZOP_BLOCK || out_len > size - out.len() {
            return Err(broken("more comes out than the image has"));
        }
        lzop_block(block, out_len, &mut out)?;
        at = at.saturating_add(len);
    }
    match out.len() == size {
        true => Ok(out),
        false => Err(broken("it ends before the image does")),
    }
}

fn lzop_block(block: &[u8], out_len: usize, out: &mut Vec<u8>) -> Result<()> {
    if block.len() == out_len {
        out.extend_from_slice(block);
        return Ok(());
    }
    let done = out.len();
    out.resize(done.saturating_add(out_len), 0);
    let room = out.get_mut(done..).unwrap_or_default();
    match recrash_lzo::decompress(block, room) {
        Ok(got) if got == out_len => Ok(()),
        _ => Err(broken("a block is no LZO1X")),
    }
}

/// Flags, and where the blocks begin.
fn lzop_header(payload: &[u8]) -> Option<(u32, usize)> {
    let mut at = LZOP_MAGIC.len();
    // Version, then the library's, the one needed to extract, and the method.
    let version = u16_at(payload, at)?.swap_bytes();
    at += 7;
    if version >= 0x0940 {
        at += 1; // level
    }
    let flags = u32::from_be_bytes(array(payload, at)?);
    at += 4;
    if flags & LZOP_FILTER != 0 {
        at += 4;
    }
    at += 8; // mode, time
    if version >= 0x0940 {
        at += 4; // high half of the time
    }
    let name = usize::from(*payload.get(at)?);
    // The name, then the header's checksum.
    Some((flags, at.checked_add(1 + name + 4)?))
}

fn word(payload: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(array(payload, at)?)).ok()
}
