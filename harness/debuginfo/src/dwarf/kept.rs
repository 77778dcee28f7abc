//! What was derived from debug information, as bytes that can be kept in a file and told from damaged, older or
//! foreign ones. Where they are kept is for the caller.

use crate::bytes::{cut, u32_at, u64_at};

/// `recrash debug information, kept`.
const MAGIC: u32 = 0x4b44_4352;
/// Of the whole: the wrapping, the converted types, the index. Changes whenever one of them does.
const VERSION: u32 = 1;
const HEADER: usize = 32;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kept {
    /// [`super::UnitIndex`].
    Index = 1,
    /// [`super::Conversion::btf`].
    Types = 2,
}

/// Wraps a payload: magic, version, kind, checksum, length, length of the build id, build id, payload.
#[must_use]
pub fn wrap(kind: Kept, build_id: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + build_id.len() + payload.len());
    for word in [MAGIC, VERSION, kind as u32, checksum(build_id, payload)] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for length in [payload.len(), build_id.len()] {
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
    out.extend_from_slice(build_id);
    out.extend_from_slice(payload);
    out
}

/// The payload, if `bytes` are a whole and undamaged wrapping of this kind, for this build, of this version.
#[must_use]
pub fn unwrap<'b>(kind: Kept, build_id: &[u8], bytes: &'b [u8]) -> Option<&'b [u8]> {
    let word = |at| u32_at(bytes, at);
    let ours = [word(0)?, word(4)?, word(8)?] == [MAGIC, VERSION, kind as u32];
    let (length, id_length) = (u64_at(bytes, 16)?, u64_at(bytes, 24)?);
    let (length, id_length) = (length.try_into().ok()?, id_length.try_into().ok()?);
    let start = HEADER.checked_add(id_length)?;
    let payload = cut(bytes, start, length)?;
    let whole = start.checked_add(length)? == bytes.len();
    let id = cut(bytes, HEADER, id_length)?;
    let good = ours && whole && id == build_id && word(12)? == checksum(id, payload);
    good.then_some(payload)
}

fn checksum(build_id: &[u8], payload: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(build_id);
    crc.update(payload);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &[u8] = &[7; 20];

    #[test]
    fn what_is_kept_comes_back() {
        let kept = wrap(Kept::Types, ID, b"payload");
        assert_eq!(unwrap(Kept::Types, ID, &kept), Some(&b"payload"[..]));
    }

    #[test]
    fn another_kind_or_build_is_not_taken() {
        let kept = wrap(Kept::Types, ID, b"payload");
        assert_eq!(unwrap(Kept::Index, ID, &kept), None);
        assert_eq!(unwrap(Kept::Types, &[8; 20], &kept), None);
        assert_eq!(unwrap(Kept::Types, &[], &kept), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_or_another_length_is_noticed(
            payload: Vec<u8>,
            at: prop::sample::Index,
            bit in 0u8..8,
            cut_to: prop::sample::Index,
        ) {
            let kept = wrap(Kept::Index, ID, &payload);
            let mut damaged = kept.clone();
            damaged[at.index(kept.len())] ^= 1 << bit;
            prop_assert_eq!(unwrap(Kept::Index, ID, &damaged), None);
            prop_assert_eq!(unwrap(Kept::Index, ID, &kept[..cut_to.index(kept.len())]), None);
            let mut longer = kept;
            longer.push(0);
            prop_assert_eq!(unwrap(Kept::Index, ID, &longer), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert_eq!(unwrap(Kept::Index, &[], &bytes), None);
        }
    }
}
