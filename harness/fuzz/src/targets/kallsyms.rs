//! The kernel's compressed symbol tables, cut as four lengths at the start say.

use recrash_debuginfo::kallsyms::{RawAddresses, RawKallsyms, decode};
use recrash_synth::kallsyms::{AddressFormat, tables};

pub fn run(bytes: &[u8]) {
    let Some((head, mut rest)) = bytes.split_first_chunk::<10>() else {
        return;
    };
    let half = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let mut cut = |len: usize| {
        let (now, later) = rest.split_at(len.min(rest.len()));
        rest = later;
        now
    };
    let (names, token_table, token_index) = (cut(half(2)), cut(half(4)), cut(half(6)));
    let addresses = rest;
    let addresses = match head[8] % 4 {
        0 => RawAddresses::Absolute(addresses),
        way => RawAddresses::Relative {
            offsets: addresses,
            relative_base: 0xffff_ffff_8100_0000,
            absolute_percpu: [None, Some(true), Some(false)][usize::from(way) - 1],
        },
    };
    let num_syms = half(0) | usize::from(head[9]) << 40;
    let raw = RawKallsyms {
        num_syms,
        names,
        token_table,
        token_index,
        addresses,
    };
    if let Ok(symbols) = decode(raw) {
        let _ = symbols.lookup(0xffff_ffff_8100_0010);
        let _ = symbols.address_of("usb_submit_urb");
        for symbol in symbols.iter() {
            let _ = symbols.size_of(&symbol);
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let base = 0xffff_ffff_8100_0000_u64;
    let symbols = [
        (base, 'T', "_stext"),
        (base + 0x10, 't', "usb_submit_urb"),
        (base + 0x40, 'D', "__kmalloc"),
    ];
    let ways = [
        (0, AddressFormat::Absolute),
        (1, AddressFormat::Relative),
        (2, AddressFormat::AbsolutePerCpu),
    ];
    ways.map(|(way, format)| {
        let made = tables(&symbols, format, base);
        let parts = [&made.names, &made.token_table, &made.token_index];
        let mut bytes = (made.num_syms as u16).to_le_bytes().to_vec();
        bytes.extend(
            parts
                .iter()
                .flat_map(|part| (part.len() as u16).to_le_bytes()),
        );
        bytes.extend([way, 0]);
        bytes.extend(parts.into_iter().flatten());
        bytes.extend(made.addresses);
        bytes
    })
    .to_vec()
}
