//! Bytes that overwrote memory: what they can be. The first byte is an offset, the second the
//! number of alternatives.

use recrash_kernel::decode::{Known, Question, ascii_text, decode, string_descriptor, utf16_text};

pub fn run(bytes: &[u8]) {
    let _ = utf16_text(bytes);
    let _ = ascii_text(bytes);
    let _ = string_descriptor(&String::from_utf8_lossy(bytes));
    let Some((&[offset, alternatives], rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let question = Question {
        offset: Some(u64::from(offset)),
        alternatives: usize::from(alternatives),
        ..Question::of(rest)
    };
    let decoded = decode(&question, &Known::default());
    for reading in &decoded.readings {
        let explained = reading.explained.clone();
        assert!(explained.start <= explained.end && explained.end <= rest.len());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 1, 0x38, 3, b'V', 0, b'i', 0, b'r', 0],
        vec![
            8, 3, 18, 1, 0, 2, 0, 0, 0, 64, 0x6b, 0x1d, 2, 0, 1, 6, 3, 2, 1, 1,
        ],
        vec![0, 1, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0xa5],
        b"\0\x01plain text".to_vec(),
    ]
}
