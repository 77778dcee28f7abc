//! bzImages around payloads of every compression, whole and damaged.
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

/// What the kernel's build does: compress, then append the size.
fn sized(mut payload: Vec<u8>, contents: &[u8]) -> Vec<u8> {
    payload.extend_from_slice(&(contents.len() as u32).to_le_bytes());
    payload
}

/// A megabyte that begins as ELF does, of words that repeat and words that do not.
fn vmlinux() -> Vec<u8> {
    let mut out = b"\x7fELF".to_vec();
    for n in 0u32..150_000 {
        let word = if n % 3 == 0 {
            n.wrapping_mul(2_654_435_761)
        } else {
            n >> 9
        };
        out.extend_from_slice(&word.to_le_bytes()[..if n % 2 == 0 { 4 } else { 3 }]);
    }
    out
}

/// A payload as `program` compresses it, with the options of the kernel's build.
fn by_program(program: &str, options: &[&str], contents: &[u8]) -> Option<Vec<u8>> {
    use std::process::{Command, Stdio};
    let child = Command::new(program)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = contents.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} failed");
    Some(output.stdout)
}

/// Every compression, as the kernel's build calls it (`scripts/Makefile.lib`); a program that is not installed is
/// left out.
#[test]
fn what_the_compressors_of_a_kernel_build_write_is_taken_out() {
    const PROGRAMS: [(&str, &[&str]); 7] = [
        ("gzip", &["-n", "-9"]),
        ("bzip2", &["-9"]),
        ("lzma", &["-9"]),
        ("lzop", &["-9"]),
        ("lz4", &["-l", "-9", "-", "-"]),
        ("xz", &["--check=crc32", "--x86", "--lzma2=,dict=32MiB"]),
        ("zstd", &["-22", "--ultra"]),
    ];
    let elf = vmlinux();
    for (program, options) in PROGRAMS {
        let Some(payload) = by_program(program, options, &elf) else {
            continue;
        };
        let payload = if program == "gzip" {
            payload
        } else {
            sized(payload, &elf)
        };
        let found = extract(&image(&payload)).unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(found == elf, "{program}: other bytes come out");
    }
}

/// The legacy frames of lz4, by hand: blocks of at most 8 MiB, each behind its length.
#[test]
fn lz4_and_lzop_blocks_are_put_together() {
    let elf = vmlinux();
    let mut lz4 = b"\x02\x21\x4c\x18".to_vec();
    for part in elf.chunks(100_000) {
        let block = lz4_flex::block::compress(part);
        lz4.extend_from_slice(&(block.len() as u32).to_le_bytes());
        lz4.extend_from_slice(&block);
    }
    assert!(extract(&image(&sized(lz4, &elf))).unwrap() == elf);
    // A header as lzop writes it, then one block stored as it is.
    let mut lzop = b"\x89LZO\0\r\n\x1a\n".to_vec();
    lzop.extend_from_slice(&[0x10, 0x30, 0x20, 0xa0, 0x09, 0x40, 3, 9, 0, 0, 0, 1]);
    lzop.extend_from_slice(&[0; 12]);
    lzop.extend_from_slice(&[0, 1, 2, 3, 4]);
    let short = &elf[..1000];
    lzop.extend_from_slice(&1000u32.to_be_bytes());
    lzop.extend_from_slice(&1000u32.to_be_bytes());
    lzop.extend_from_slice(&[1, 2, 3, 4]);
    lzop.extend_from_slice(short);
    lzop.extend_from_slice(&[0; 4]);
    assert!(extract(&image(&sized(lzop, short))).unwrap() == short);
}

#[test]
fn an_unknown_compression_is_an_error() {
    let text = "bzImage: the payload at offset 0x610 is of no known compression";
    check(&image(b"?\x21\x4c\x18...."), text);
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
