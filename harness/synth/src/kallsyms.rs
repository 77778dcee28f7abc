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
