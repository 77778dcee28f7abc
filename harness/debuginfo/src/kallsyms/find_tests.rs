//! The tables in every order a kernel has written them, amid bytes of other kinds, whole and damaged.

use proptest::prelude::*;
use recrash_synth::kallsyms::{AddressFormat, Order, laid_out, tables};

use super::{FindError, find};

const BASE: u64 = 0xffff_ffff_9b00_0000;
const ORDERS: [Order; 5] = [
    order(false, 8, 0), // 4.18
    order(false, 4, 0), // 4.20 to 6.1
    order(false, 4, 3), // 6.2 to 6.4
    order(false, 4, 4), // 6.2-rc1
    order(true, 4, 3),  // since 6.5
];
const FORMATS: [AddressFormat; 3] = [
    AddressFormat::AbsolutePerCpu,
    AddressFormat::Relative,
    AddressFormat::Absolute,
];

const fn order(addresses_last: bool, word: usize, sequence: usize) -> Order {
    Order {
        addresses_last,
        word,
        sequence,
    }
}

fn names(count: u64) -> Vec<(u64, String)> {
    let name = |n| (BASE + n * 16, format!("usb_function_{n}"));
    (0..count).map(name).collect()
}

/// An image with the tables of `count` symbols at 0x1000, and other things around them.
fn image(count: u64, format: AddressFormat, order: Order) -> Vec<u8> {
    let names = names(count);
    let symbols: Vec<_> = names.iter().map(|(at, n)| (*at, 'T', n.as_str())).collect();
    let base = if format == AddressFormat::Absolute {
        0
    } else {
        BASE
    };
    let mut out: Vec<u8> = (0..0x1000u32).map(|n| ((n * n) >> 3) as u8).collect();
    out.extend(laid_out(
        &tables(&symbols, format, base),
        format,
        BASE,
        order,
    ));
    out.extend((0..0x1000u32).map(|n| (n * 7) as u8));
    out
}

fn check(count: u64, format: AddressFormat, order: Order) {
    let found = find(&image(count, format, order), |_| true)
        .unwrap_or_else(|error| panic!("{count} {format:?} {order:?}: {error}"));
    let expected = names(count);
    assert_eq!(found.symbols.len() as u64, count);
    for (symbol, (at, name)) in found.symbols.iter().zip(&expected) {
        assert_eq!(
            (symbol.addr, symbol.name),
            (*at, name.as_str()),
            "{format:?} {order:?}"
        );
    }
}

#[test]
fn the_tables_are_found_in_every_order_and_format() {
    for order in ORDERS {
        for format in FORMATS {
            for count in [3, 256, 257, 1111] {
                check(count, format, order);
            }
        }
    }
}

#[test]
fn tables_that_the_caller_refuses_are_not_given() {
    let image = image(300, AddressFormat::Relative, ORDERS[1]);
    let error = find(&image, |symbols| {
        symbols.address_of("usb_function_7") == Some(1)
    })
    .unwrap_err();
    assert!(
        matches!(error, FindError::Refused { count: 300, .. }),
        "{error}"
    );
}

#[test]
fn what_is_missing_is_said() {
    let whole = image(300, AddressFormat::Relative, ORDERS[1]);
    assert!(matches!(
        find(&whole[..0x1400], |_| true),
        Err(FindError::NoTokens { .. })
    ));
    let found = find(&whole, |_| true).unwrap();
    // Without the page that the first names are on, the tokens alone are there.
    let start = (found.num_syms_at + 16).next_multiple_of(8);
    assert!(matches!(
        find(&whole[start..], |_| true),
        Err(FindError::NoNames { .. })
    ));
    // Without addresses.
    assert!(matches!(
        find(&whole[found.num_syms_at..], |_| true),
        Err(FindError::NoAddresses { count: 300, .. })
    ));
}

proptest! {
    #[test]
    fn damaged_images_never_panic(at in 0usize..0x4000, to: u8, which in 0usize..5) {
        let mut image = image(300, AddressFormat::AbsolutePerCpu, ORDERS[which]);
        if let Some(byte) = image.get_mut(at) {
            *byte = to;
        }
        if let Ok(found) = find(&image, |_| true) {
            prop_assert_eq!(found.symbols.len(), 300);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cut in 0usize..0x4000) {
        let _ = find(&bytes, |_| true);
        let image = image(300, AddressFormat::Relative, ORDERS[4]);
        let _ = find(&image[..cut.min(image.len())], |_| true);
    }
}
