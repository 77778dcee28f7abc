//! Writes the kernel's compressed symbol tables.

/// How addresses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFormat {
    /// Unsigned 32-bit distances from the base.
    Relative,
    /// Negative numbers count down from the base less one; others are the value itself.
    AbsolutePerCpu,
    /// 64 bits each.
    Absolute,
}

/// The tables, each as its own bytes.
#[derive(Clone, Debug, Default)]
pub struct KallsymsTables {
    /// Number of symbols.
    pub num_syms: usize,
    /// `kallsyms_names`.
    pub names: Vec<u8>,
    /// `kallsyms_token_table`.
    pub token_table: Vec<u8>,
    /// `kallsyms_token_index`.
    pub token_index: Vec<u8>,
    /// `kallsyms_offsets` or `kallsyms_addresses`.
    pub addresses: Vec<u8>,
}

/// Pairs of letters that get a token of their own, from number 128 on.
const PAIRS: [&str; 4] = ["__", "us", "b_", "km"];

/// Tables for (address, kind letter, ASCII name). Names of more than 127 tokens get two length
/// bytes.
#[must_use]
pub fn tables(symbols: &[(u64, char, &str)], format: AddressFormat, base: u64) -> KallsymsTables {
    let mut out = KallsymsTables {
        num_syms: symbols.len(),
        ..KallsymsTables::default()
    };
    for token in 0..=255u8 {
        let at = out.token_table.len() as u16;
        out.token_index.extend_from_slice(&at.to_le_bytes());
        match token.checked_sub(128).map(usize::from) {
            Some(pair) => out
                .token_table
                .extend_from_slice(PAIRS.get(pair).unwrap_or(&"").as_bytes()),
            None if token != 0 => out.token_table.push(token),
            None => {}
        }
        out.token_table.push(0);
    }
    for &(addr, kind, name) in symbols {
        let tokens = compress(&format!("{kind}{name}"));
        if tokens.len() > 127 {
            out.names.push((tokens.len() % 128 + 128) as u8);
            out.names.push((tokens.len() / 128) as u8);
        } else {
            out.names.push(tokens.len() as u8);
        }
        out.names.extend_from_slice(&tokens);
        match format {
            AddressFormat::Absolute => out.addresses.extend_from_slice(&addr.to_le_bytes()),
            AddressFormat::AbsolutePerCpu if addr >= base => {
                let down = -1 - (addr - base) as i64;
                out.addresses
                    .extend_from_slice(&(down as i32).to_le_bytes());
            }
            AddressFormat::AbsolutePerCpu => out
                .addresses
                .extend_from_slice(&(addr as u32).to_le_bytes()),
            AddressFormat::Relative => out
                .addresses
                .extend_from_slice(&((addr - base) as u32).to_le_bytes()),
        }
    }
    out
}

fn compress(mut text: &str) -> Vec<u8> {
    let mut tokens = Vec::new();
    while let Some(first) = text.bytes().next() {
        let pair = PAIRS.iter().position(|p| text.starts_with(p));
        let (token, len) = pair.map_or((first, 1), |n| (n as u8 + 128, 2));
        tokens.push(token);
        text = text.get(len..).unwrap_or_default();
    }
    tokens
}

/// How the tables follow one another in `.rodata`.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Addresses (and their base) come last, as since 6.5, else first.
    pub addresses_last: bool,
    /// Bytes of the number of symbols and of each marker: 8 before 4.20, 4 since.
    pub word: usize,
    /// Bytes of a sequence number; 0 for none (before 6.2).
    pub sequence: usize,
}

/// Writes the tables one behind the other, 8-aligned, as `scripts/kallsyms.c` does. `base` is
/// written where the format has one.
#[must_use]
pub fn laid_out(
    tables: &KallsymsTables,
    format: AddressFormat,
    base: u64,
    order: Order,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |part: &[u8]| {
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(8), 0);
    };
    let word = |value: usize| value.to_le_bytes()[..order.word].to_vec();
    let sequence: Vec<u8> = (0..tables.num_syms)
        .flat_map(|n| n.to_le_bytes()[..order.sequence].to_vec())
        .collect();
    let base = base.to_le_bytes();
    let addresses = |put: &mut dyn FnMut(&[u8])| {
        put(&tables.addresses);
        if format != AddressFormat::Absolute {
            put(&base);
        }
    };
    if !order.addresses_last {
        addresses(&mut put);
    }
    put(&word(tables.num_syms));
    put(&tables.names);
    put(&markers(&tables.names, tables.num_syms)
        .into_iter()
        .flat_map(word)
        .collect::<Vec<_>>());
    if !order.addresses_last {
        put(&sequence);
    }
    put(&tables.token_table);
    put(&tables.token_index);
    if order.addresses_last {
        addresses(&mut put);
        put(&sequence);
    }
    out
}

/// Where every 256th name begins.
fn markers(names: &[u8], count: usize) -> Vec<usize> {
    let (mut at, mut out) = (0, Vec::new());
    for n in 0..count {
        if n % 256 == 0 {
            out.push(at);
        }
        let first = usize::from(names[at]);
        at += if first < 128 {
            1 + first
        } else {
            2 + first - 128 + 128 * usize::from(names[at + 1])
        };
    }
    out
}
