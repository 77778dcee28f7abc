//! makedumpfile's flattened format (`-F`): a stream of blocks, each with the offset at which it
//! belongs. Indexed once; the file is never rewritten.
//!
//! Layout: `struct makedumpfile_header` and `struct makedumpfile_data_header` in makedumpfile.h;
//! all numbers are big-endian.

use std::collections::BTreeMap;

use crate::bytes::i64_be;
use crate::source::{Fault, Missing};

/// A string in a field of 16 bytes. makedumpfile 1.6.8 copies the string and leaves whatever was on its stack in the
/// three bytes behind; its own readers compare strings.
const MAGIC: &[u8; 13] = b"makedumpfile\0";
/// The stream's header is padded to this many bytes.
const HEADER_LEN: usize = 4096;
const BLOCK_HEADER_LEN: usize = 16;
const TYPE_FLATTENED: i64 = 1;
const VERSION: i64 = 1;
/// Offset and size of the block header that ends the stream.
const END: i64 = -1;

/// Where the bytes of the dump lie in the stream.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By start, not overlapping.
    blocks: Vec<Block>,
    /// End of the last block, in the dump.
    len: u64,
    /// Whether the stream has its end mark.
    complete: bool,
    /// Where the stream breaks off in the file, if it does.
    broken_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// Offset in the dump.
    start: u64,
    end: u64,
    /// Offset of `start` in the stream.
    at: u64,
}

/// Whether these are the first bytes of a flattened stream.
pub(crate) fn is_flattened(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

impl Index {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, Fault> {
        let number = |at| {
            i64_be(file, at).ok_or_else(|| {
                (
                    file.len() as u64,
                    "the file ends within its flattened header".to_owned(),
                )
            })
        };
        let kind = number(16)?;
        if kind != TYPE_FLATTENED {
            return Err((
                16,
                format!("flattened type {kind}, expected {TYPE_FLATTENED}"),
            ));
        }
        let version = number(24)?;
        if version != VERSION {
            return Err((
                24,
                format!("flattened version {version}, expected {VERSION}"),
            ));
        }
        let mut index = Self::default();
        let mut blocks = Blocks::default();
        let mut at = HEADER_LEN;
        loop {
            let header = i64_be(file, at).zip(i64_be(file, at.saturating_add(8)));
            let Some((start, size)) = header else {
                index.broken_at = Some(at.min(file.len()) as u64);
                break;
            };
            if (start, size) == (END, END) {
                index.complete = true;
                break;
            }
            let range = u64::try_from(start).ok().zip(u64::try_from(size).ok());
            let Some((start, end)) = range.and_then(|(s, n)| Some((s, s.checked_add(n)?))) else {
                let what = format!("block of {size} bytes for offset {start}, neither can be");
                return Err((at as u64, what));
            };
            let data_at = at.saturating_add(BLOCK_HEADER_LEN);
            let there = file.len().saturating_sub(data_at) as u64;
            let kept = (end - start).min(there);
            blocks.write(start, start.saturating_add(kept), data_at as u64);
            index.len = index.len.max(end);
            if kept < end - start {
                index.broken_at = Some(file.len() as u64);
                break;
            }
            at = data_at.saturating_add(kept as usize);
        }
        index.blocks = blocks.finish();
        Ok(index)
    }

    /// Length of the dump, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where the stream breaks off, for a warning.
    pub(crate) fn broken_at(&self) -> Option<u64> {
        self.broken_at
    }

    /// The whole range, if one block has it.
    pub(crate) fn slice<'f>(&self, file: &'f [u8], offset: u64, len: u64) -> Option<&'f [u8]> {
        let block = self.blocks.get(self.block_before(offset)?)?;
        let end = offset.checked_add(len).filter(|&end| end <= block.end)?;
        let from = block.at.checked_add(offset - block.start)?;
        let to = from.checked_add(end - offset)?;
        file.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// Fills all of `buf`. What a complete stream never wrote reads as zero, as it does in the
    /// file that `makedumpfile -R` would make of it.
    pub(crate) fn read(
        &self,
        file: &[u8],
        mut offset: u64,
        mut buf: &mut [u8],
    ) -> Result<(), Missing> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
            && self.complete
        {
            return Err(Missing {
                offset: offset.max(self.len),
            });
        }
        while !buf.is_empty() {
            let next = self.blocks.partition_point(|b| b.start <= offset);
            let block = next.checked_sub(1).and_then(|i| self.blocks.get(i));
            let room = match block.filter(|b| offset < b.end) {
                Some(block) => block.end - offset,
                None if !self.complete => return Err(Missing { offset }),
                None => self.blocks.get(next).map_or(u64::MAX, |b| b.start) - offset,
            };
            let (now, rest) = buf.split_at_mut(room.min(buf.len() as u64) as usize);
            match self.slice(file, offset, now.len() as u64) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            offset = offset.saturating_add(now.len() as u64);
            buf = rest;
        }
        Ok(())
    }

    fn block_before(&self, offset: u64) -> Option<usize> {
        self.blocks
            .partition_point(|b| b.start <= offset)
            .checked_sub(1)
    }
}

/// Blocks by start; a later one replaces what it covers of earlier ones (makedumpfile writes its
/// headers again at the end).
#[derive(Default)]
struct Blocks(BTreeMap<u64, (u64, u64)>);

impl Blocks {
    fn write(&mut self, start: u64, end: u64, at: u64) {
        if start >= end {
            return;
        }
        let before = self.0.range(..start).next_back().map(|(&s, &v)| (s, v));
        if let Some((old_start, (old_end, old_at))) = before.filter(|&(_, (e, _))| e > start) {
            self.0.insert(old_start, (start, old_at));
            self.insert_tail(end, old_start, old_end, old_at);
        }
        while let Some((&old_start, &(old_end, old_at))) = self.0.range(start..end).next() {
            self.0.remove(&old_start);
            self.insert_tail(end, old_start, old_end, old_at);
        }
        self.0.insert(start, (end, at));
    }

    /// Keeps what an old block has beyond `from`.
    fn insert_tail(&mut self, from: u64, old_start: u64, old_end: u64, old_at: u64) {
        if old_end > from {
            self.0
                .insert(from, (old_end, old_at.saturating_add(from - old_start)));
        }
    }

    fn finish(self) -> Vec<Block> {
        self.0
            .into_iter()
            .map(|(start, (end, at))| Block { start, end, at })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(blocks: &[(i64, &[u8])], end: bool) -> Vec<u8> {
        let mut out = recrash_synth::kdump::flattened_header();
        for (offset, data) in blocks {
            out.extend(recrash_synth::kdump::flattened_block(*offset, data));
        }
        if end {
            out.extend(recrash_synth::kdump::flattened_end());
        }
        out
    }

    fn check(blocks: &[(i64, &[u8])], end: bool, expected: Result<&[u8], u64>) {
        let file = stream(blocks, end);
        let index = Index::parse(&file).unwrap();
        let mut buf = vec![0xee; index.len() as usize];
        let result = index.read(&file, 0, &mut buf).map_err(|m| m.offset);
        assert_eq!(result.map(|()| buf.as_slice()), expected);
    }

    #[test]
    fn blocks_are_put_in_order_and_holes_are_zero() {
        check(&[(6, b"cd"), (0, b"ab")], true, Ok(b"ab\0\0\0\0cd"));
    }

    #[test]
    fn a_later_block_replaces_what_it_covers() {
        check(&[(0, b"aaaaaa"), (2, b"bb")], true, Ok(b"aabbaa"));
        check(
            &[(2, b"bb"), (6, b"cc"), (0, b"aaaaaaa")],
            true,
            Ok(b"aaaaaaac"),
        );
        check(&[(0, b"aaaa"), (0, b"bb"), (1, b"c")], true, Ok(b"bcaa"));
        check(&[(0, b"aaaa"), (2, b"bbbb")], true, Ok(b"aabbbb"));
    }

    #[test]
    fn a_hole_in_a_stream_without_its_end_is_missing_not_zero() {
        check(&[(0, b"ab"), (6, b"cd")], false, Err(2));
    }

    #[test]
    fn a_block_that_is_cut_short_keeps_what_is_there() {
        let mut file = stream(&[(0, b"abcd")], false);
        file.truncate(file.len() - 2);
        let index = Index::parse(&file).unwrap();
        let mut buf = [0; 2];
        index.read(&file, 0, &mut buf).unwrap();
        assert_eq!(&buf, b"ab");
        assert_eq!(index.read(&file, 1, &mut buf), Err(Missing { offset: 2 }));
        assert_eq!(index.broken_at(), Some(file.len() as u64));
    }

    #[test]
    fn reading_past_the_end_is_missing() {
        let file = stream(&[(0, b"abcd")], true);
        let index = Index::parse(&file).unwrap();
        assert_eq!(
            index.read(&file, 3, &mut [0; 2]),
            Err(Missing { offset: 4 })
        );
        assert_eq!(
            index.read(&file, u64::MAX, &mut [0; 2]),
            Err(Missing { offset: u64::MAX })
        );
    }

    #[test]
    fn negative_offsets_are_refused() {
        let error = Index::parse(&stream(&[(-2, b"ab")], true)).unwrap_err();
        assert_eq!(error.0, 4096);
    }
}
