//! Takes the vmcore from its port: streams it to a file, bounded in size, hashed on the way, its trailer cut
//! off and checked. Reads nothing inside the vmcore.
use recrash_agent::trailer::{TRAILER_LEN, Trailer};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};

/// A vmcore that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Why a vmcore is not whole.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Nothing came.
    #[error("no vmcore arrived")]
    Nothing,
    /// The stream ended before the trailer.
    #[error("the vmcore was cut short after {bytes} bytes")]
    CutShort {
        /// Bytes that were kept.
        bytes: u64,
    },
    /// The guest sent more than a dump of its memory can be.
    #[error("the guest sent more than {limit} bytes of vmcore")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The file could not be written, for example because the disk is full.
    #[error("vmcore at offset {bytes:#x}: {source}")]
    Write {
        /// Bytes written before.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// The port could not be read.
    #[error("vmcore port at offset {bytes:#x}: {source}")]
    Read {
        /// Bytes read before.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
}

/// Copies `port` to `file` until the trailer fits what came before, or the port ends. `progress` gets the
/// number of bytes so far, a few times a MiB.
///
/// The trailer is believed only if both length and hash fit, so bytes inside a vmcore that look like one do
/// no harm.
///
/// # Errors
/// [`CaptureError`]; what had arrived stays in the file.
pub fn receive(
    mut port: impl Read,
    file: &mut File,
    limit: u64,
    mut progress: impl FnMut(u64),
) -> Result<Whole, CaptureError> {
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    // Unwritten end of the stream: at most one trailer, which may still turn out to be vmcore.
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match port.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A QEMU that was killed resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(source) => return Err(CaptureError::Read { bytes, source }),
        };
        if count == 0 {
            // What is held is no trailer: it belongs to the vmcore.
            let rest = held.len() as u64;
            file.write_all(&held)
                .map_err(|source| CaptureError::Write { bytes, source })?;
            return Err(match bytes + rest {
                0 => CaptureError::Nothing,
                bytes => CaptureError::CutShort { bytes },
            });
        }
        held.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let sure = held.len().saturating_sub(TRAILER_LEN);
        let vmcore = held.get(..sure).unwrap_or_default();
        if bytes + sure as u64 > limit {
            return Err(CaptureError::TooLarge { limit });
        }
        file.write_all(vmcore)
            .map_err(|source| CaptureError::Write { bytes, source })?;
        hash.update(vmcore);
        bytes += sure as u64;
        held.drain(..sure);
        progress(bytes + held.len() as u64);
        if let Some(whole) = whole(&held, bytes, &hash) {
            return Ok(whole);
        }
    }
}

fn whole(held: &[u8], bytes: u64, hash: &Sha256) -> Option<Whole> {
    let trailer = Trailer::parse(held.try_into().ok()?)?;
    if trailer.length != bytes || bytes == 0 {
        return None;
    }
    let sha256 = hash.clone().finalize();
    (sha256.as_slice() == trailer.sha256).then(|| Whole {
        bytes,
        sha256: hex(&sha256),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Seek, SeekFrom};

    fn trailer(vmcore: &[u8]) -> [u8; TRAILER_LEN] {
        Trailer {
            length: vmcore.len() as u64,
            sha256: Sha256::digest(vmcore).into(),
        }
        .to_bytes()
    }

    /// Gives the stream in pieces of `piece` bytes; returns the result and what the file holds.
    fn check(stream: &[u8], piece: usize, limit: u64) -> (Result<Whole, CaptureError>, Vec<u8>) {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(self.0.len()).min(out.len());
                let (now, later) = self.0.split_at(count);
                out[..count].copy_from_slice(now);
                self.0 = later;
                Ok(count)
            }
        }
        let mut file = tempfile::tempfile().unwrap();
        let result = receive(Pieces(stream, piece), &mut file, limit, |_| {});
        let mut kept = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut kept).unwrap();
        (result, kept)
    }

    #[test]
    fn a_whole_vmcore_loses_its_trailer() {
        let vmcore = vec![7; 1000];
        let (result, kept) = check(
            &[vmcore.clone(), trailer(&vmcore).into()].concat(),
            33,
            9999,
        );
        assert_eq!(result.unwrap().bytes, 1000);
        assert_eq!(kept, vmcore);
    }

    #[test]
    fn a_cut_short_vmcore_is_kept() {
        let (result, kept) = check(&[7; 1000], 1000, 9999);
        assert!(matches!(
            result,
            Err(CaptureError::CutShort { bytes: 1000 })
        ));
        assert_eq!(kept.len(), 1000);
    }

    #[test]
    fn nothing_is_not_an_empty_vmcore() {
        assert!(matches!(check(&[], 1, 9).0, Err(CaptureError::Nothing)));
        let (result, _) = check(&trailer(&[]), 64, 9);
        assert!(result.is_err());
    }

    #[test]
    fn a_wrong_hash_is_no_trailer() {
        let vmcore = vec![7; 100];
        let (result, kept) = check(&[vec![8; 100], trailer(&vmcore).into()].concat(), 50, 9999);
        assert!(matches!(result, Err(CaptureError::CutShort { bytes: 164 })));
        assert_eq!(kept.len(), 164);
    }

    #[test]
    fn a_trailer_inside_a_vmcore_is_vmcore() {
        let inner = trailer(b"something else");
        let vmcore = [&[1; 64][..], &inner, &[2; 64]].concat();
        let stream = [&vmcore[..], &trailer(&vmcore)].concat();
        let (result, kept) = check(&stream, 64, 9999);
        assert_eq!(result.unwrap().bytes, 192);
        assert_eq!(kept, vmcore);
    }

    #[test]
    fn a_guest_that_never_ends_is_stopped() {
        let (result, kept) = check(&[0; 10_000], 512, 1000);
        assert!(matches!(
            result,
            Err(CaptureError::TooLarge { limit: 1000 })
        ));
        assert!(kept.len() <= 1000);
    }

    #[test]
    fn a_full_disk_is_named() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = receive(&[7_u8; 1000][..], &mut full, 9999, |_| {}).unwrap_err();
        let CaptureError::Write { source, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn any_vmcore_in_any_pieces_arrives(vmcore in proptest::collection::vec(any::<u8>(), 1..300), piece in 1_usize..400) {
            let stream = [&vmcore[..], &trailer(&vmcore)].concat();
            let (result, kept) = check(&stream, piece, 9999);
            prop_assert_eq!(result.unwrap().bytes, vmcore.len() as u64);
            prop_assert_eq!(kept, vmcore);
        }
    }
}
