//! Tables written by the synthesiser, and such tables damaged.
use super::*;
use proptest::prelude::*;
use recrash_synth::kallsyms::{AddressFormat, KallsymsTables, tables};

const BASE: u64 = 0xffff_ffff_8100_0000;
const SYMBOLS: [(u64, char, &str); 4] = [
    (0x1_fb80, 'A', "current_task"),
    (BASE, 'T', "_text"),
    (BASE + 0x10, 't', "usb_submit_urb"),
    (BASE + 0x20, 'T', "__kmalloc"),
];

fn relative(t: &KallsymsTables, absolute_percpu: Option<bool>) -> RawAddresses<'_> {
    RawAddresses::Relative {
        offsets: &t.addresses,
        relative_base: BASE,
        absolute_percpu,
    }
}

fn raw<'a>(t: &'a KallsymsTables, addresses: RawAddresses<'a>) -> RawKallsyms<'a> {
    RawKallsyms {
        num_syms: t.num_syms,
        names: &t.names,
        token_table: &t.token_table,
        token_index: &t.token_index,
        addresses,
    }
}

fn check(table: Result<SymbolTable, KallsymsError>, expected: &[(u64, char, &str)]) {
    let table = table.unwrap();
    let found: Vec<_> = table
        .iter()
        .map(|s| (s.addr, char::from(s.kind), s.name))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn per_cpu_offsets_are_recognised() {
    let t = tables(&SYMBOLS, AddressFormat::AbsolutePerCpu, BASE);
    check(decode(raw(&t, relative(&t, None))), &SYMBOLS);
    check(decode(raw(&t, relative(&t, Some(true)))), &SYMBOLS);
}

#[test]
fn unsigned_offsets_are_recognised() {
    let t = tables(&SYMBOLS[1..], AddressFormat::Relative, BASE);
    check(decode(raw(&t, relative(&t, None))), &SYMBOLS[1..]);
}

#[test]
fn absolute_addresses_are_taken_as_they_are() {
    let t = tables(&SYMBOLS, AddressFormat::Absolute, 0);
    check(
        decode(raw(&t, RawAddresses::Absolute(&t.addresses))),
        &SYMBOLS,
    );
}

#[test]
fn names_of_more_than_127_tokens_have_two_length_bytes() {
    let long = "r".repeat(300);
    let symbols = [(BASE, 't', &*long), (BASE + 1, 't', "after")];
    let t = tables(&symbols, AddressFormat::Relative, BASE);
    check(decode(raw(&t, relative(&t, None))), &symbols);
}

#[test]
fn a_table_cut_short_names_the_symbol() {
    let t = tables(&SYMBOLS, AddressFormat::AbsolutePerCpu, BASE);
    let mut cut = raw(&t, relative(&t, None));
    cut.names = &t.names[..t.names.len() - 1];
    let error = KallsymsError::Truncated {
        table: "names",
        symbol: 3,
    };
    assert_eq!(decode(cut).unwrap_err(), error);
    let mut many = raw(&t, relative(&t, None));
    many.num_syms = usize::MAX;
    let error = KallsymsError::Truncated {
        table: "names",
        symbol: 4,
    };
    assert_eq!(decode(many).unwrap_err(), error);
    let mut blind = raw(&t, RawAddresses::Absolute(&[]));
    blind.num_syms = 1;
    let error = KallsymsError::Truncated {
        table: "addresses",
        symbol: 0,
    };
    assert_eq!(decode(blind).unwrap_err(), error);
}

#[test]
fn a_token_without_text_is_an_error() {
    let mut t = tables(&SYMBOLS, AddressFormat::Relative, 0);
    t.token_index[20..22].copy_from_slice(&[0xff, 0xff]);
    let error = decode(raw(&t, relative(&t, None))).unwrap_err();
    assert_eq!(error, KallsymsError::Token { token: 10 });
}

proptest! {
    #[test]
    fn mutated_tables_never_panic(
        at in 0usize..2000, to: u8, num_syms in prop_oneof![0usize..10, Just(usize::MAX)],
    ) {
        let mut t = tables(&SYMBOLS, AddressFormat::AbsolutePerCpu, BASE);
        t.num_syms = num_syms;
        let mut left = at;
        for part in [&mut t.names, &mut t.token_table, &mut t.token_index, &mut t.addresses] {
            if let Some(byte) = part.get_mut(left) {
                *byte = to;
                break;
            }
            left -= part.len();
        }
        if let Ok(table) = decode(raw(&t, relative(&t, None))) {
            prop_assert_eq!(table.len(), num_syms);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        names: Vec<u8>, token_table: Vec<u8>, token_index in prop::collection::vec(0u8..8, 512),
        offsets: Vec<u8>, num_syms: usize, relative_base: u64,
    ) {
        let addresses = RawAddresses::Relative { offsets: &offsets, relative_base, absolute_percpu: None };
        let _ = decode(RawKallsyms {
            num_syms, names: &names, token_table: &token_table, token_index: &token_index, addresses,
        });
    }
}
