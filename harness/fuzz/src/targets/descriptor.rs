//! Bytes that overwrote memory: what they can be.

use recrash_kernel::descriptor;

pub fn run(bytes: &[u8]) {
    let _ = descriptor::head(bytes);
    let _ = descriptor::utf16_text(bytes);
    let _ = descriptor::ascii_text(bytes);
    let _ = descriptor::string_descriptor(&String::from_utf8_lossy(bytes));
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x38, 3, b'V', 0, b'i', 0, b'r', 0],
        vec![18, 1, 0, 2, 0, 0, 0, 64, 0x6b, 0x1d, 2, 0, 1, 6, 3, 2, 1, 1],
        b"plain text".to_vec(),
    ]
}
