//! Takes the vmlinux out of a bzImage (`Documentation/arch/x86/boot.rst`, protocol 2.08 and later).
//!
//! The header names the place of the payload, so nothing is searched for. All compressions that the
//! kernel's build knows are read (`scripts/Makefile.lib`, `cmd_gzip` to `cmd_zstd22`).

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

/// Decompresses a payload to the number of bytes given, which has been bounded.
type Decompress = fn(&[u8], u64) -> std::io::Result<Vec<u8>>;

/// Compressions with the bytes they begin with.
const FORMATS: [(&str, &[u8], Decompress); 7] = [
    ("gzip", b"\x1f\x8b\x08", gzip),
    ("xz", b"\xfd7zXZ\0", xz),
    ("zstd", b"\x28\xb5\x2f\xfd", zstd),
    ("lzma", b"\x5d\0\0", lzma),
    ("bzip2", b"BZh", bzip2),
    ("lz4", super::blocks::LZ4_MAGIC, super::blocks::lz4),
    ("lzo", super::blocks::LZOP_MAGIC, super::blocks::lzop),
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
    let &(format, _, decompress) = known.ok_or(ImageError::Compression { offset })?;
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
    let vmlinux = decompress(payload, size).map_err(|e| wrong(e.to_string()))?;
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

fn gzip(payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    read(flate2::read::GzDecoder::new(payload), size)
}

fn bzip2(payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    read(bzip2::read::BzDecoder::new(payload), size)
}

fn xz(payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    let reader = lzma_rust2::XzReader::new_mem_limit(payload, false, DICTIONARY_KIB);
    read(reader, size)
}

fn lzma(payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    let reader = lzma_rust2::LzmaReader::new_mem_limit(payload, DICTIONARY_KIB, None)?;
    read(reader, size)
}

fn zstd(payload: &[u8], size: u64) -> std::io::Result<Vec<u8>> {
    // Ubuntu's kernels need a window of 128 MiB, more than the library's default.
    let window = u64::from(DICTIONARY_KIB) << 10;
    let reader = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(payload, window);
    read(reader.map_err(std::io::Error::other)?, size)
}

/// Exactly `size` bytes. What is behind the stream is not looked at.
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
#[path = "bzimage_tests.rs"]
mod tests;
