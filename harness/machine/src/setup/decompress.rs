//! xz, zstd and gzip streams as they occur in packages, modules and kernel images. Recognised by their
//! first bytes, never by a file's name.
use std::io::{self, BufRead, BufReader, Read};

/// An xz dictionary may ask for 1.5 GiB (`xz -9` needs 64 MiB, Debian's packages as much).
const XZ_MEMORY_KIB: u32 = 512 << 10;
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const GZIP: &[u8] = b"\x1f\x8b";

/// The decompressed stream of `input`; what is not compressed in a known way is passed through.
///
/// # Errors
/// When the first bytes cannot be read, or the zstd frame's header is broken.
pub fn reader<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(XZ) {
        Box::new(lzma_rust2::XzReader::new_mem_limit(
            input,
            false,
            XZ_MEMORY_KIB,
        ))
    } else if start.starts_with(ZSTD) {
        Box::new(ruzstd::decoding::StreamingDecoder::new(input).map_err(io::Error::other)?)
    } else if start.starts_with(GZIP) {
        Box::new(flate2::bufread::GzDecoder::new(input))
    } else {
        Box::new(input)
    })
}

/// All of the decompressed stream, refused when it is longer than `limit` bytes.
///
/// # Errors
/// When the stream is broken or too long.
pub fn all(input: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader(input)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)?;
    if out.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "longer than {limit} bytes when decompressed"
        )));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_format_gives_the_bytes_back() {
        for packed in [
            gzip(b"module"),
            xz(b"module"),
            zstd(b"module"),
            b"module".to_vec(),
        ] {
            assert_eq!(all(&packed, 6).unwrap(), b"module");
        }
    }

    #[test]
    fn a_stream_longer_than_the_limit_is_refused() {
        assert!(all(&xz(&[0; 100_000]), 99_999).is_err());
    }

    #[test]
    fn a_stream_cut_short_is_an_error() {
        let packed = xz(&(0..=255).cycle().take(9_000).collect::<Vec<u8>>());
        assert!(all(&packed[..packed.len() / 2], 1 << 20).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(kind in 0..4_usize, bytes: Vec<u8>) {
            let start: &[u8] = [XZ, ZSTD, GZIP, b""][kind];
            let _ = all(&[start, &bytes].concat(), 1 << 16);
        }
    }
}
