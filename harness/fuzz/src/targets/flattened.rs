//! Flattened streams: the input is the stream behind its 4096 bytes of header.

use recrash_synth::kdump::{Packing, flatten, flattened_header};

use super::dumps::{open_and_read, small};

pub fn run(bytes: &[u8]) {
    let mut file = flattened_header();
    file.extend(bytes);
    open_and_read(&file);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let without_header = |stream: Vec<u8>| stream.get(4096..).unwrap_or_default().to_vec();
    vec![
        without_header(flatten(&small(Packing::Lzo).build(), 4096)),
        without_header(flatten(&super::elf::seeds().concat(), 1000)),
    ]
}
