//! A bitmap of page frames in the file, with an index by which the number of set bits before any
//! one is found by counting in one chunk only.

use crate::source::{Fault, Source};

/// Bytes between two entries of the index: small enough to count fast, large enough that the
/// index is a 64th of the bitmap.
const CHUNK: u64 = 512;

/// The bitmap of dumped pages.
#[derive(Debug)]
pub(crate) struct Bitmap {
    offset: u64,
    bits: u64,
    /// Bits set before each chunk, and after the last one.
    before: Vec<u64>,
}

impl Bitmap {
    /// Counts the bits once.
    pub(crate) fn parse(source: &Source, offset: u64, bits: u64) -> Result<Self, Fault> {
        let len = bits.div_ceil(8);
        // Of what the file itself cannot hold, nothing is allocated.
        if len > source.file_len() {
            return Err((
                offset,
                format!("a bitmap of {len} bytes is longer than the file"),
            ));
        }
        let mut before = vec![0];
        let mut total = 0_u64;
        for start in (0..len).step_by(CHUNK as usize) {
            let size = CHUNK.min(len - start);
            let chunk = source
                .slice(offset.saturating_add(start), size)
                .map_err(|m| (m.offset, "the file ends within the page bitmap".to_owned()))?;
            total += count(&chunk, (bits - start * 8).min(size * 8));
            before.push(total);
        }
        Ok(Self {
            offset,
            bits,
            before,
        })
    }

    /// Whether this bit is set.
    pub(crate) fn get(&self, source: &Source, bit: u64) -> bool {
        get(source, self.offset, self.bits, bit)
    }

    /// Number of set bits before this one, which may be one past the last.
    pub(crate) fn rank(&self, source: &Source, bit: u64) -> u64 {
        let bit = bit.min(self.bits);
        let chunk = bit / (CHUNK * 8);
        let before = self.before.get(chunk as usize).copied().unwrap_or_default();
        let inside = bit % (CHUNK * 8);
        if inside == 0 {
            return before;
        }
        let offset = self.offset.saturating_add(chunk * CHUNK);
        // It was there when it was counted.
        let bytes = source.slice(offset, inside.div_ceil(8)).unwrap_or_default();
        before + count(&bytes, inside)
    }
}

/// A bit of a bitmap that needs no counting.
pub(crate) fn get(source: &Source, offset: u64, bits: u64, bit: u64) -> bool {
    let mut byte = [0_u8];
    bit < bits
        && source
            .read(offset.saturating_add(bit / 8), &mut byte)
            .is_ok()
        && u8::from_le_bytes(byte) >> (bit % 8) & 1 == 1
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
        let bitmap = Bitmap::parse(&source, 0, bits).unwrap();
        let mut rank = 0;
        for (bit, &set) in naive.iter().enumerate() {
            assert_eq!(bitmap.get(&source, bit as u64), set, "bit {bit}");
            assert_eq!(bitmap.rank(&source, bit as u64), rank, "bit {bit}");
            rank += u64::from(set);
        }
        assert_eq!(bitmap.rank(&source, bits), rank);
        assert!(!bitmap.get(&source, bits));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        #[test]
        fn rank_is_the_number_of_bits_set_before(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..2000), cut in 0..8_u64,
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
    fn a_bitmap_longer_than_the_file_is_refused() {
        let source = Source::new(Bytes::Owned(vec![0; 100])).unwrap();
        assert!(Bitmap::parse(&source, 0, 1 << 40).is_err());
        assert!(Bitmap::parse(&source, 50, 800).is_err());
    }
}
