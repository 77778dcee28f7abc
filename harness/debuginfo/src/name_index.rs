//! A name → number index of 8 bytes an entry, built in linear time whatever the names are.
//!
//! Holds hashes only: the caller compares the names of the candidates. A `HashMap<String, _>` over
//! 170 000 symbols would cost more than the symbols themselves.

/// Numbers in buckets by the hash of their name: those of bucket `b` are `numbers[starts[b]..starts[b + 1]]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex {
    starts: Vec<u32>,
    numbers: Vec<u32>,
}

impl NameIndex {
    /// Indexes `names`; numbers are in the caller's own numbering. Names past the first 2^32 - 1 are left out.
    pub(crate) fn new<'a>(names: impl Iterator<Item = (&'a [u8], u32)>) -> Self {
        let limit = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        let pairs: Vec<(u32, u32)> = names.take(limit).map(|(name, n)| (hash(name), n)).collect();
        let buckets = pairs.len().next_power_of_two();
        let mut starts = vec![0u32; buckets.saturating_add(1)];
        for (hash, _) in &pairs {
            if let Some(count) = starts.get_mut(bucket(*hash, buckets).saturating_add(1)) {
                *count += 1;
            }
        }
        let mut sum = 0u32;
        for start in &mut starts {
            sum = sum.saturating_add(*start);
            *start = sum;
        }
        let mut numbers = vec![0; pairs.len()];
        let mut next = starts.clone();
        for (hash, n) in pairs {
            let Some(place) = next.get_mut(bucket(hash, buckets)) else {
                continue;
            };
            if let Some(slot) = numbers.get_mut(usize::try_from(*place).unwrap_or(usize::MAX)) {
                *slot = n;
            }
            *place = place.saturating_add(1);
        }
        Self { starts, numbers }
    }

    /// Numbers whose name may be `name`, in the order they were given.
    pub(crate) fn candidates(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let at = bucket(hash(name.as_bytes()), self.starts.len().saturating_sub(1));
        let bound = |n: usize| usize::try_from(*self.starts.get(n)?).ok();
        let found = bound(at)
            .zip(bound(at.saturating_add(1)))
            .and_then(|(from, to)| self.numbers.get(from..to));
        found.unwrap_or_default().iter().copied()
    }
}

/// `buckets` is a power of two, or 0 for an empty index.
fn bucket(hash: u32, buckets: usize) -> usize {
    usize::try_from(hash).unwrap_or(0) & buckets.saturating_sub(1)
}

/// Eight bytes a step. Forged collisions only make a lookup linear.
fn hash(name: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_chunks::<8>();
    let step = |state: u64, word: u64| (state.rotate_left(29) ^ word).wrapping_mul(MIX);
    let state = words
        .iter()
        .fold(0, |state, word| step(state, u64::from_le_bytes(*word)));
    let last = rest
        .iter()
        .fold(1, |word, &byte| word << 8 | u64::from(byte));
    let [.., a, b, c, d] = step(state, last).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
