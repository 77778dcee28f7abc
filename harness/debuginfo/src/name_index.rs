//! A name → number index of 12 to 16 bytes an entry, built by one sort.
//!
//! Holds hashes only: the caller compares the names of the candidates. A `HashMap<String, _>` over
//! 170 000 symbols would cost more than the symbols themselves.

/// Sorted (hash of the name, number) pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex(Vec<(u64, u32)>);

impl NameIndex {
    /// Indexes `names`; numbers are in the caller's own numbering.
    pub(crate) fn new<'a>(names: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut pairs: Vec<_> = names.map(|(name, n)| (hash(name), n)).collect();
        pairs.sort_unstable();
        Self(pairs)
    }

    /// Numbers whose name may be `name`, ascending.
    pub(crate) fn candidates(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let wanted = hash(name);
        let from = self.0.partition_point(|&(h, _)| h < wanted);
        let rest = self.0.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |&&(h, _)| h == wanted)
            .map(|&(_, n)| n)
    }
}

/// FNV-1a. Forged collisions only make a lookup linear.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}
