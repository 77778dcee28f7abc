//! Takes the vmlinux out of a bzImage (`Documentation/arch/x86/boot.rst`, protocol 2.08 and later).
//!
//! The header names the place of the payload, so nothing is searched for. gzip, xz, lzma and zstd
//! are read; lz4, lzo and bzip2 are named in the error.

use std::io::Read;

use super::{IMAGE_MAX, ImageError};
use crate::bytes::{array, cut, u16_at, u32_at};

/// `setup_sects`: sectors of real-mode code, 0 meaning 4.
const SETUP_SECTS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// Dictionary of the decompressors, in KiB; the kernel's own are 128 MiB at most (zstd -22).
const DICTIONARY_KIB: u32 = 192 << 10;

/// Compressions with the bytes they begin with; `false` for those not read.
const FORMATS: [(&str, &[u8], bool); 7] = [
    ("gzip", b"\x1f\x8b\x08", true),
    ("xz", b"\xfd7zXZ\0", true),
    ("zstd", b"\x28\xb5\x2f\xfd", true),
    ("lzma", b"\x5d\0\0", true),
    ("bzip2", b"BZh", false),
    ("lz4", b"\x02\x21\x4c\x18", false),
    ("lzo", b"\x89LZO", false),
];

/// The vmlinux in `image`; an `image` that is ELF already is copied.
///
/// # Errors
/// [`ImageError`] where the header or the payload does not fit, or for a compression not read.
pub fn extract(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    if image.starts_with(b"\x7fELF") {
        return Ok(image.to_vec());
    }
    let (offset, payload) = payload(image)?;
    let known = FORMATS
        .iter()
        .find(|(_, magic, _)| payload.starts_with(magic));
    let (format, supported) = known.map_or(("of no known format", false), |&(name, _, read)| {
        (name, read)
    });
    if !supported {
        return Err(ImageError::Compression { format, offset });
    }
    // The last four bytes are the size: gzip's own trailer, or appended by the kernel's build.
    let size = payload
        .len()
        .checked_sub(4)
        .and_then(|at| u32_at(payload, at))
        .map_or(0, u64::from);
    if size > IMAGE_MAX {
        return Err(ImageError::TooLarge { size });
    }
    let wrong = |why: String| ImageError::Decompress {
        format,
        offset,
        why,
    };
    let vmlinux = decompress(format, payload, size).map_err(|e| wrong(e.to_string()))?;
    if !vmlinux.starts_with(b"\x7fELF") {
        return Err(wrong("what comes out is not ELF".into()));
    }
    Ok(vmlinux)
}

/// Offset and bytes of the compressed kernel.
fn payload(image: &[u8]) -> Result<(usize, &[u8]), ImageError> {
    if array(image, MAGIC) != Some(*b"HdrS") {
        return Err(ImageError::NotKernel);
    }
    let version = u16_at(image, VERSION).unwrap_or(0);
    if version < 0x208 {
        return Err(ImageError::Header {
            what: "expected boot protocol 2.08 or later",
            offset: VERSION,
        });
    }
    let word = |at| u32_at(image, at).and_then(|w| usize::try_from(w).ok());
    let sectors = match image.get(SETUP_SECTS) {
        None | Some(0) => 4,
        Some(&n) => usize::from(n),
    };
    let start = word(PAYLOAD_OFFSET).and_then(|o| o.checked_add((sectors + 1) * 512));
    let found = start.and_then(|start| Some((start, cut(image, start, word(PAYLOAD_LENGTH)?)?)));
    found.ok_or(ImageError::Header {
        what: "expected a payload inside the file",
        offset: PAYLOAD_OFFSET,
    })
}

/// Exactly `size` bytes, which the caller has bounded. What is behind the stream is not looked at.
fn decompress(format: &str, payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    match format {
        "gzip" => read(flate2::read::GzDecoder::new(payload), size),
        "xz" => read(
            lzma_rust2::XzReader::new_mem_limit(payload, false, DICTIONARY_KIB),
            size,
        ),
        "lzma" => {
            let reader = lzma_rust2::LzmaReader::new_mem_limit(payload, DICTIONARY_KIB, None)?;
            read(reader, size)
        }
        _ => {
            // Ubuntu's kernels need a window of 128 MiB, more than the library's default.
            let reader = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(
                payload,
                u64::from(DICTIONARY_KIB) << 10,
            );
            read(reader.map_err(std::io::Error::other)?, size)
        }
    }
}

fn read(reader: impl Read, size: u64) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let got = reader.take(size).read_to_end(&mut out)?;
    if u64::try_from(got).ok() != Some(size) {
        return Err(std::io::Error::other(format!(
            "it ends after {got} of {size} bytes"
        )));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A bzImage of two setup sectors around `payload`.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 3 * 512 + 16];
        out[0x1f1] = 2;
        out[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        out[0x248] = 16;
        out[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(payload);
        out
    }

    fn gzipped(contents: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(contents).unwrap();
        writer.finish().unwrap()
    }

    fn check(image: &[u8], expected: &str) {
        assert_eq!(extract(image).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_gzip_payload_is_taken_out() {
        let elf = b"\x7fELF and so on";
        assert_eq!(extract(&image(&gzipped(elf))).unwrap(), elf);
        assert_eq!(extract(elf).unwrap(), elf);
    }

    #[test]
    fn an_unsupported_compression_is_named() {
        let lz4 = image(b"\x02\x21\x4c\x18....");
        check(
            &lz4,
            "bzImage: the payload at offset 0x610 is lz4, which is not supported",
        );
    }

    #[test]
    fn a_payload_cut_short_is_an_error() {
        let whole = image(&gzipped(b"\x7fELF"));
        let text = "bzImage: expected a payload inside the file at offset 0x248";
        check(&whole[..whole.len() - 1], text);
        check(
            b"MZ",
            "neither an ELF file nor a bzImage (no `HdrS` at offset 0x202)",
        );
    }

    #[test]
    fn the_size_at_the_end_bounds_the_output() {
        let mut payload = gzipped(b"\x7fELF");
        let end = payload.len();
        payload[end - 4..].copy_from_slice(&[0xff; 4]);
        check(
            &image(&payload),
            "the image would take 4294967295 bytes, more than 1073741824",
        );
    }

    #[test]
    fn what_is_not_elf_is_an_error() {
        let error = extract(&image(&gzipped(b"text"))).unwrap_err().to_string();
        assert!(error.ends_with("what comes out is not ELF"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_never_panic(which in 0usize..7, rest: Vec<u8>) {
            let mut payload = FORMATS[which].1.to_vec();
            payload.extend_from_slice(&rest);
            payload.extend_from_slice(&[0, 1, 0, 0]);
            let _ = extract(&image(&payload));
        }
    }
}
