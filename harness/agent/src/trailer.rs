//! The 64 bytes behind a vmcore on its port, by which the host knows that it is whole.

/// Size of the trailer in bytes.
pub const TRAILER_LEN: usize = 64;
/// First bytes of the trailer.
pub const TRAILER_MAGIC: &[u8; 16] = b"recrash-trailer\x01";

/// Length and SHA-256 of what came before.
///
/// Layout: magic (16 bytes), length (u64, little endian), SHA-256 (32 bytes), zero (8 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Number of vmcore bytes.
    pub length: u64,
    /// SHA-256 of the vmcore bytes.
    pub sha256: [u8; 32],
}

impl Trailer {
    /// The bytes to send.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TRAILER_LEN] {
        let mut out = [0; TRAILER_LEN];
        out[..16].copy_from_slice(TRAILER_MAGIC);
        out[16..24].copy_from_slice(&self.length.to_le_bytes());
        out[24..56].copy_from_slice(&self.sha256);
        out
    }

    /// The trailer in these bytes, or `None` if they are not one.
    #[must_use]
    pub fn parse(bytes: &[u8; TRAILER_LEN]) -> Option<Self> {
        let (magic, rest) = bytes.split_at(16);
        let (length, rest) = rest.split_at(8);
        let (sha256, zero) = rest.split_at(32);
        if magic != TRAILER_MAGIC || zero.iter().any(|&b| b != 0) {
            return None;
        }
        Some(Self {
            length: u64::from_le_bytes(length.try_into().ok()?),
            sha256: sha256.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_changed_magic_is_not_a_trailer() {
        let mut bytes = Trailer {
            length: 1,
            sha256: [2; 32],
        }
        .to_bytes();
        bytes[0] ^= 1;
        assert_eq!(Trailer::parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn a_trailer_reads_as_it_was_written(length: u64, sha256: [u8; 32]) {
            let trailer = Trailer { length, sha256 };
            prop_assert_eq!(Trailer::parse(&trailer.to_bytes()), Some(trailer));
        }

        #[test]
        fn what_parses_is_written_the_same(tail in proptest::collection::vec(any::<u8>(), 48)) {
            let mut bytes = [0; TRAILER_LEN];
            bytes[..16].copy_from_slice(TRAILER_MAGIC);
            bytes[16..].copy_from_slice(&tail);
            if let Some(trailer) = Trailer::parse(&bytes) {
                prop_assert_eq!(trailer.to_bytes(), bytes);
            }
        }
    }
}
