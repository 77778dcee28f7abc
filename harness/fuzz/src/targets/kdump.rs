//! Kdump-compressed dumps in every compression.

use super::dumps::{PACKINGS, open_and_read, small};

/// Behind the file's magic and with its block size, which nothing can be read without.
pub fn run(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    for (at, fixed) in [(0, b"KDUMP   ".as_slice()), (428, &4096_u32.to_le_bytes())] {
        if let Some(place) = file.get_mut(at..at + fixed.len()) {
            place.copy_from_slice(fixed);
        }
    }
    open_and_read(&file);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = PACKINGS.map(|packing| small(packing).build()).to_vec();
    for version in 1..6 {
        let mut dump = small(recrash_synth::kdump::Packing::Lzo);
        dump.version = version;
        files.push(dump.build());
    }
    files
}
