//! The kernel's compressed symbol table: `scripts/kallsyms.c` writes it, `kernel/kallsyms.c` reads it.
//!
//! The caller cuts the tables out of the dump or the image; this decodes them. Addresses are as
//! stored: in a dump `kallsyms_relative_base` is relocated, so KASLR is in; per-CPU symbols stay
//! offsets into the per-CPU area.

mod find;
#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod tests;

pub use find::{FindError, FoundKallsyms, TokenTables, find, token_tables};

use crate::bytes;
use crate::symbols::{Symbol, SymbolTable, SymbolTableBuilder};

/// `KSYM_NAME_LEN`: 128 before 6.1, 512 since. Longer names mean a wrong table.
const NAME_MAX: usize = 512;

/// The tables as cut out. Slices may be longer than the tables are: only what `num_syms` asks for
/// is read.
#[derive(Clone, Copy, Debug)]
pub struct RawKallsyms<'a> {
    /// `kallsyms_num_syms`.
    pub num_syms: usize,
    /// `kallsyms_names`: per symbol a length and as many token numbers.
    pub names: &'a [u8],
    /// `kallsyms_token_table`: 256 NUL-terminated strings.
    pub token_table: &'a [u8],
    /// `kallsyms_token_index`: 256 16-bit offsets into the token table.
    pub token_index: &'a [u8],
    /// Where the addresses are.
    pub addresses: RawAddresses<'a>,
}

/// The two ways of storing addresses.
#[derive(Clone, Copy, Debug)]
pub enum RawAddresses<'a> {
    /// `CONFIG_KALLSYMS_BASE_RELATIVE` (x86-64 since 4.6; the only way since 6.11).
    Relative {
        /// `kallsyms_offsets`: 32-bit numbers.
        offsets: &'a [u8],
        /// `kallsyms_relative_base`.
        relative_base: u64,
        /// `CONFIG_KALLSYMS_ABSOLUTE_PERCPU`: non-negative offsets are absolute, the rest count
        /// down from `relative_base - 1`. `None`: decided from the offsets, see [`decode`].
        absolute_percpu: Option<bool>,
    },
    /// `kallsyms_addresses`: 64-bit addresses.
    Absolute(&'a [u8]),
}

/// Why the tables cannot be decoded. Symbols are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KallsymsError {
    /// A table ends too early.
    #[error("kallsyms {table} ends before symbol {symbol}")]
    Truncated {
        /// Which table.
        table: &'static str,
        /// The symbol that needed more.
        symbol: usize,
    },
    /// The token table and its index do not fit together.
    #[error(
        "kallsyms token {token}: no NUL-terminated string at the offset in kallsyms_token_index"
    )]
    Token {
        /// Token number.
        token: usize,
    },
    /// No kernel symbol looks like this.
    #[error("kallsyms symbol {symbol} at offset {offset:#x} of kallsyms_names: {what}")]
    Name {
        /// Which symbol.
        symbol: usize,
        /// Where its length byte lies in `kallsyms_names`.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Decodes the tables.
///
/// With `absolute_percpu: None` the way of counting is taken from the offsets: in the absolute
/// per-CPU encoding all but the per-CPU symbols are negative; otherwise an offset with the top bit
/// set would lie 2 GiB past the base, which no kernel image reaches.
///
/// # Errors
/// The first table or symbol that does not fit; a wrong table is a wrong symbol everywhere, so no
/// partial table is given.
pub fn decode(raw: RawKallsyms<'_>) -> Result<SymbolTable, KallsymsError> {
    let tokens = Tokens::new(raw.token_table, raw.token_index)?;
    let addresses = Addresses::new(raw.addresses, raw.num_syms);
    // Each symbol takes two bytes of names at least; that bounds the allocation.
    let most = raw.num_syms.min(raw.names.len() / 2);
    let mut symbols = SymbolTableBuilder::with_capacity(most, raw.names.len().saturating_mul(2));
    let mut at = 0;
    let mut text = Vec::with_capacity(NAME_MAX);
    for symbol in 0..raw.num_syms {
        let truncated = KallsymsError::Truncated {
            table: "names",
            symbol,
        };
        let (packed, next) = packed_name(raw.names, at).ok_or(truncated)?;
        let wrong = |what| KallsymsError::Name {
            symbol,
            offset: at,
            what,
        };
        tokens.unpack(packed, &mut text).map_err(wrong)?;
        let (&kind, name) = text.split_first().ok_or(wrong("empty"))?;
        let name = str::from_utf8(name).map_err(|_| wrong("not UTF-8"))?;
        if name.is_empty() || !kind.is_ascii_graphic() {
            return Err(wrong("not a kind letter and a name"));
        }
        let addr = addresses.get(symbol).ok_or(KallsymsError::Truncated {
            table: "addresses",
            symbol,
        })?;
        symbols.push(Symbol {
            name,
            addr,
            kind,
            size: None,
        });
        at = next;
    }
    Ok(symbols.finish())
}

/// The token numbers of the name at `at`, and where the next name begins.
///
/// Linux commit 73bbb94466fd ("kallsyms: support "big" kernel symbols", v6.1): a length byte with
/// the top bit set is followed by the high bits. Before, names had at most 127 tokens.
fn packed_name(names: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (len, from) = packed_len(names, at)?;
    let to = from.checked_add(len)?;
    Some((names.get(from..to)?, to))
}

/// How many tokens the name at `at` has, and where they begin.
fn packed_len(names: &[u8], at: usize) -> Option<(usize, usize)> {
    let low = *names.get(at)?;
    let mut from = at.checked_add(1)?;
    let mut len = usize::from(low & 0x7f);
    if low & 0x80 != 0 {
        len |= usize::from(*names.get(from)?) << 7;
        from = from.checked_add(1)?;
    }
    Some((len, from))
}

/// The 256 tokens: text, and whether a control character makes it none.
struct Tokens<'a>(Vec<(&'a [u8], bool)>);

impl<'a> Tokens<'a> {
    fn new(table: &'a [u8], index: &[u8]) -> Result<Self, KallsymsError> {
        let token = |n: usize| {
            let start = usize::from(bytes::u16_at(index, n * 2)?);
            let rest = table.get(start..)?;
            let end = rest.iter().take(NAME_MAX).position(|&b| b == 0)?;
            let text = rest.get(..end)?;
            Some((text, text.iter().any(u8::is_ascii_control)))
        };
        let all = (0..256).map(|n| token(n).ok_or(KallsymsError::Token { token: n }));
        all.collect::<Result<_, _>>().map(Self)
    }

    /// Kind letter and name, into `text`; else what is wrong with them.
    fn unpack(&self, packed: &[u8], text: &mut Vec<u8>) -> Result<(), &'static str> {
        text.clear();
        for &token in packed {
            let (part, control) = self.0.get(usize::from(token)).copied().unwrap_or_default();
            if control {
                return Err("not a kind letter and a name");
            }
            text.extend_from_slice(part);
            if text.len() > NAME_MAX {
                return Err("longer than any kernel symbol");
            }
        }
        Ok(())
    }
}

/// [`RawAddresses`] with the way of counting decided.
enum Addresses<'a> {
    Signed { offsets: &'a [u8], base: u64 },
    Unsigned { offsets: &'a [u8], base: u64 },
    Absolute(&'a [u8]),
}

impl<'a> Addresses<'a> {
    fn new(raw: RawAddresses<'a>, num_syms: usize) -> Self {
        match raw {
            RawAddresses::Absolute(table) => Self::Absolute(table),
            RawAddresses::Relative {
                offsets,
                relative_base: base,
                absolute_percpu,
            } => {
                if absolute_percpu.unwrap_or_else(|| mostly_negative(offsets, num_syms)) {
                    Self::Signed { offsets, base }
                } else {
                    Self::Unsigned { offsets, base }
                }
            }
        }
    }

    fn get(&self, symbol: usize) -> Option<u64> {
        match *self {
            Self::Absolute(table) => bytes::u64_at(table, symbol.checked_mul(8)?),
            Self::Unsigned { offsets, base } => {
                Some(base.wrapping_add(bytes::u32_at(offsets, symbol.checked_mul(4)?)?.into()))
            }
            Self::Signed { offsets, base } => {
                let offset =
                    i64::from(bytes::u32_at(offsets, symbol.checked_mul(4)?)?.cast_signed());
                Some(if offset >= 0 {
                    offset.cast_unsigned()
                } else {
                    base.wrapping_sub(1).wrapping_sub(offset.cast_unsigned())
                })
            }
        }
    }
}

fn mostly_negative(offsets: &[u8], num_syms: usize) -> bool {
    let (words, _) = offsets.as_chunks::<4>();
    let words = words.get(..num_syms).unwrap_or(words);
    let negative = words.iter().filter(|w| i32::from_le_bytes(**w) < 0).count();
    negative * 2 > words.len()
}
