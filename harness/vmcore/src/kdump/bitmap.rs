//! A bitmap of page frames in the file: single bits, the next run of set bits, and the number of
//! set bits before any one.
//!
//! Nothing is counted when a dump is opened. The number of bits before a page frame is counted by
//! popcount up to the furthest one asked for, once, and remembered every [`CHUNK`] bytes; so a
//! read costs what lies before it in the bitmap at most, and only the first time.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use crate::source::{Missing, Source};

/// Bytes between two remembered counts: small enough to count fast, large enough that the counts
/// take a 64th of the bitmap.
const CHUNK: u64 = 512;
const CHUNK_BITS: u64 = CHUNK * 8;
/// Bytes of the bitmap that one search for a run looks at before it answers with what it has.
const MAX_RUN: u64 = 32 << 10;

/// A bitmap, one bit a page frame, least significant bit first.
#[derive(Debug)]
pub(crate) struct Bitmap {
    offset: u64,
    bits: u64,
    /// Bits set before each chunk, as far as they were counted; the first entry is 0.
    before: RwLock<Vec<u64>>,
}

impl Bitmap {
    /// The bitmap at this file offset. No more of it is believed than the file can hold: what is
    /// beyond is as missing as what was cut off.
    pub(crate) fn new(offset: u64, bits: u64) -> Self {
        Self {
            offset,
            bits,
            before: RwLock::new(vec![0]),
        }
    }

    /// Whether this bit is set; bits past the last are not.
    pub(crate) fn get(&self, source: &Source, bit: u64) -> Result<bool, Missing> {
        if bit >= self.bits {
            return Ok(false);
        }
        let mut byte = [0_u8];
        source.read(self.at(source, bit / 8)?, &mut byte)?;
        Ok(u8::from_le_bytes(byte) >> (bit % 8) & 1 == 1)
    }

    /// Number of set bits before this one, which may be one past the last.
    pub(crate) fn rank(&self, source: &Source, bit: u64) -> Result<u64, Missing> {
        let bit = bit.min(self.bits);
        let before = self.before_chunk(source, (bit / CHUNK_BITS) as usize)?;
        let inside = bit % CHUNK_BITS;
        if inside == 0 {
            return Ok(before);
        }
        let offset = self.at(source, bit / CHUNK_BITS * CHUNK)?;
        let bytes = source.slice(offset, inside.div_ceil(8))?;
        Ok(before + count(&bytes, inside))
    }

    /// The first run of set bits at or after `from` and below `end`, by 64 bits at a time. A run
    /// longer than a quarter of a million bits is given in pieces, and so is one that the file
    /// ends in.
    pub(crate) fn next_run(&self, source: &Source, from: u64, end: u64) -> Option<Range<u64>> {
        let end = end.min(self.bits);
        let start = self.next(source, from, end, true, u64::MAX)?;
        let limit = end.min(start.saturating_add(MAX_RUN * 8));
        let stop = self.next(source, start, limit, false, MAX_RUN);
        Some(start..stop.unwrap_or(limit))
    }

    /// The first bit at or after `from` and below `end` that is `wanted`, or where the file ends
    /// if a clear one is wanted.
    fn next(
        &self,
        source: &Source,
        from: u64,
        end: u64,
        wanted: bool,
        max_bytes: u64,
    ) -> Option<u64> {
        let flip = if wanted { 0 } else { u64::MAX };
        let last_chunk = from.saturating_add(max_bytes.saturating_mul(8));
        let mut bit = from;
        while bit < end && bit <= last_chunk {
            let chunk = bit / CHUNK_BITS;
            let len = CHUNK.min(self.bits.div_ceil(8) - chunk * CHUNK);
            let bytes = self.at(source, chunk * CHUNK).and_then(|offset| {
                // The file may end within this chunk.
                let there = source.len().saturating_sub(offset);
                source.slice(offset, len.min(there))
            });
            let Some(bytes) = bytes.ok().filter(|bytes| !bytes.is_empty()) else {
                return (!wanted).then_some(bit);
            };
            let found = words(&bytes)
                .map(|(at, word)| (chunk * CHUNK_BITS + at, word ^ flip))
                .filter(|&(at, _)| at + 64 > bit)
                .map(|(at, word)| match bit.checked_sub(at) {
                    Some(skip) => (at, word & (u64::MAX << skip)),
                    None => (at, word),
                })
                .find(|&(_, word)| word != 0)
                .map(|(at, word)| at + u64::from(word.trailing_zeros()));
            if let Some(found) = found {
                return (found < end).then_some(found);
            }
            bit = (chunk + 1) * CHUNK_BITS;
        }
        None
    }

    /// Set bits before a chunk; counts what was not counted yet.
    fn before_chunk(&self, source: &Source, chunk: usize) -> Result<u64, Missing> {
        let known = self.before.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&before) = known.get(chunk) {
            return Ok(before);
        }
        drop(known);
        let mut known = self.before.write().unwrap_or_else(PoisonError::into_inner);
        let mut total = known.last().copied().unwrap_or_default();
        while known.len() <= chunk {
            let done = known.len() as u64 - 1;
            let bytes = source.slice(self.at(source, done * CHUNK)?, CHUNK)?;
            total += count(&bytes, CHUNK_BITS);
            known.push(total);
        }
        Ok(total)
    }

    /// File offset of a byte of the bitmap. A complete flattened stream reads as zero wherever
    /// nothing was written, so its length alone would let a bitmap be of any size.
    fn at(&self, source: &Source, byte: u64) -> Result<u64, Missing> {
        let offset = self.offset.saturating_add(byte);
        if byte < source.file_len() {
            Ok(offset)
        } else {
            Err(Missing { offset })
        }
    }
}

/// The bytes as 64-bit words with the number of each one's first bit; zeros fill the last one.
fn words(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    bytes.chunks(8).enumerate().map(|(index, chunk)| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        (index as u64 * 64, u64::from_le_bytes(word))
    })
}

/// Set bits among the first `bits`.
fn count(bytes: &[u8], bits: u64) -> u64 {
    let whole = (bits / 8) as usize;
    let (words, rest) = bytes.get(..whole).unwrap_or(bytes).as_chunks::<8>();
    let words: u64 = words
        .iter()
        .map(|&w| u64::from(u64::from_le_bytes(w).count_ones()))
        .sum();
    let rest: u64 = rest.iter().map(|b| u64::from(b.count_ones())).sum();
    let mask = (1_u8 << (bits % 8)) - 1;
    let last = bytes
        .get(whole)
        .map_or(0, |b| u64::from((b & mask).count_ones()));
    words + rest + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Bytes;

    fn check(bytes: Vec<u8>, bits: u64) {
        let naive: Vec<bool> = (0..bits)
            .map(|i| bytes[i as usize / 8] >> (i % 8) & 1 == 1)
            .collect();
        let source = Source::new(Bytes::Owned(bytes)).unwrap();
        let bitmap = Bitmap::new(0, bits);
        // From the end, so that the first answer counts everything before it.
        let total = naive.iter().filter(|&&set| set).count() as u64;
        assert_eq!(bitmap.rank(&source, bits), Ok(total));
        let mut rank = 0;
        for (bit, &set) in naive.iter().enumerate() {
            assert_eq!(bitmap.get(&source, bit as u64), Ok(set), "bit {bit}");
            assert_eq!(bitmap.rank(&source, bit as u64), Ok(rank), "bit {bit}");
            rank += u64::from(set);
        }
        assert_eq!(bitmap.get(&source, bits), Ok(false));
        let mut seen = vec![false; naive.len()];
        let mut at = 0;
        while let Some(run) = bitmap.next_run(&source, at, u64::MAX) {
            assert!(run.start >= at && run.start < run.end && run.end <= bits);
            seen[run.start as usize..run.end as usize].fill(true);
            at = run.end;
        }
        assert_eq!(seen, naive);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        #[test]
        fn ranks_and_runs_are_those_of_single_bits(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![proptest::strategy::Just(0), proptest::strategy::Just(255), proptest::num::u8::ANY], 1..2000),
            cut in 0..8_u64,
        ) {
            let bits = bytes.len() as u64 * 8 - cut;
            check(bytes, bits);
        }
    }

    #[test]
    fn bits_past_the_last_page_frame_do_not_count() {
        check(vec![0xff; 1025], 8193);
    }

    #[test]
    fn a_run_may_begin_and_end_anywhere() {
        let source = Source::new(Bytes::Owned(vec![0xff; 2000])).unwrap();
        let bitmap = Bitmap::new(0, 16_000);
        assert_eq!(bitmap.next_run(&source, 70, 9000), Some(70..9000));
        assert_eq!(bitmap.next_run(&source, 9000, 9000), None);
        assert_eq!(
            bitmap.next_run(&source, 15_999, u64::MAX),
            Some(15_999..16_000)
        );
    }

    #[test]
    fn a_long_run_comes_in_pieces() {
        let source = Source::new(Bytes::Owned(vec![0xff; 100_000])).unwrap();
        let bitmap = Bitmap::new(0, 800_000);
        let first = bitmap.next_run(&source, 5, u64::MAX).unwrap();
        assert_eq!(first, 5..5 + MAX_RUN * 8);
    }

    #[test]
    fn a_bitmap_that_the_file_does_not_hold_is_missing_beyond_its_end() {
        let source = Source::new(Bytes::Owned(vec![0xff; 1000])).unwrap();
        let bitmap = Bitmap::new(0, 1 << 40);
        assert_eq!(bitmap.rank(&source, 4096), Ok(4096));
        assert_eq!(bitmap.get(&source, 7999), Ok(true));
        assert_eq!(bitmap.get(&source, 8000), Err(Missing { offset: 1000 }));
        assert!(bitmap.rank(&source, 1 << 39).is_err());
        assert_eq!(bitmap.next_run(&source, 1 << 39, u64::MAX), None);
    }

    #[test]
    fn opening_counts_nothing() {
        let source = Source::new(Bytes::Owned(vec![0xff; 1 << 20])).unwrap();
        let bitmap = Bitmap::new(0, 8 << 20);
        assert_eq!(bitmap.before.read().unwrap().len(), 1);
        bitmap.rank(&source, 10 * CHUNK_BITS + 1).unwrap();
        assert_eq!(bitmap.before.read().unwrap().len(), 11);
    }
}
