//! A set of split files: the first byte says in how many files the rest is cut.

use recrash_synth::kdump::Packing;
use recrash_vmcore::Vmcore;

use super::dumps::{read_all_over, small};

pub fn run(bytes: &[u8]) {
    let Some((&count, rest)) = bytes.split_first() else {
        return;
    };
    let size = rest.len().div_ceil(usize::from(count % 4) + 1).max(1);
    let files = rest.chunks(size).enumerate();
    let files = files.map(|(number, file)| (format!("file {number}"), file.to_vec()));
    if let Ok(vmcore) = Vmcore::from_bytes_set(files.collect()) {
        read_all_over(&vmcore);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Zeros behind the shorter ones make files of one size, so that the cut falls between them.
    let file = |from, to| {
        let mut dump = small(Packing::Lzo);
        dump.split = Some((from, to));
        dump.build()
    };
    let two = [file(0, 6), file(6, 12)];
    let size = two.iter().map(Vec::len).max().unwrap_or(0);
    let mut bytes = vec![1];
    for mut file in two {
        file.resize(size, 0);
        bytes.extend(file);
    }
    vec![bytes]
}
