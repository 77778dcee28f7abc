//! Kallsyms tables found in bytes that do not name them.

use recrash_debuginfo::kallsyms::{find, token_tables};

pub fn run(bytes: &[u8]) {
    for tables in token_tables(bytes).take(10) {
        assert!(tables.table < tables.index && tables.index < bytes.len());
    }
    if let Ok(found) = find(bytes, |symbols| !symbols.is_empty()) {
        assert!(found.symbols.iter().count() > 0);
    }
}

/// Tables in the order of 4.18 (addresses, base, number, names, markers, tokens) and of 6.4 (the
/// addresses last), each at a multiple of eight.
pub fn seeds() -> Vec<Vec<u8>> {
    use recrash_synth::kallsyms::{AddressFormat, tables};
    let base = 0xffff_ffff_8100_0000_u64;
    let names: Vec<String> = (0..3000).map(|n| format!("usb_function_{n}")).collect();
    let symbols: Vec<(u64, char, &str)> = names
        .iter()
        .zip((base..).step_by(16))
        .map(|(name, at)| (at, 'T', name.as_str()))
        .collect();
    let made = tables(&symbols, AddressFormat::Relative, base);
    let mut markers = Vec::new();
    let mut at = 0_usize;
    for number in 0..symbols.len() {
        if number % 256 == 0 {
            markers.extend((at as u32).to_le_bytes());
        }
        at += 1 + usize::from(made.names[at]);
    }
    let addresses = [made.addresses.clone(), base.to_le_bytes().to_vec()];
    let rest = [
        (made.num_syms as u32).to_le_bytes().to_vec(),
        made.names,
        markers,
        made.token_table,
        made.token_index,
    ];
    let join = |parts: Vec<Vec<u8>>| {
        let mut out = vec![0xcc; 64];
        for part in parts {
            out.extend(part);
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out.extend([0xcc; 64]);
        out
    };
    vec![
        join([addresses.to_vec(), rest.to_vec()].concat()),
        join([rest.to_vec(), addresses.to_vec()].concat()),
    ]
}
