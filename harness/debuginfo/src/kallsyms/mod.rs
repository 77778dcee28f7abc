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
use crate::symbols::{SymbolTable, SymbolTableBuilder};

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
    for symbol in 0..raw.num_syms {
        let truncated = KallsymsError::Truncated {
            table: "names",
            symbol,
        };
        let (packed, next) = packed_name(raw.names, at).ok_or(truncated)?;
        let addr = addresses.get(symbol).ok_or(KallsymsError::Truncated {
            table: "addresses",
            symbol,
        })?;
        let wrong = |what| KallsymsError::Name {
            symbol,
            offset: at,
            what,
        };
        symbols.push_written(|text| Ok((addr, tokens.unpack(packed, text).map_err(wrong)?)))?;
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

/// Tokens up to this long are copied in one go.
const SHORT: usize = 16;

/// A token: its text, also with what is behind it for a copy of fixed length.
#[derive(Clone, Copy, Default)]
struct Token<'a> {
    text: &'a [u8],
    padded: [u8; SHORT],
    /// Printable ASCII; else the name is looked at as a whole.
    plain: bool,
}

/// The 256 tokens.
struct Tokens<'a>(Vec<Token<'a>>);

impl<'a> Tokens<'a> {
    fn new(table: &'a [u8], index: &[u8]) -> Result<Self, KallsymsError> {
        let token = |n: usize| {
            let start = usize::from(bytes::u16_at(index, n * 2)?);
            let rest = table.get(start..)?;
            let end = rest.iter().take(NAME_MAX).position(|&b| b == 0)?;
            let text = rest.get(..end)?;
            let mut padded = [0; SHORT];
            for (to, from) in padded.iter_mut().zip(text) {
                *to = *from;
            }
            Some(Token {
                text,
                padded,
                plain: text.iter().all(u8::is_ascii_graphic),
            })
        };
        let all = (0..256).map(|n| token(n).ok_or(KallsymsError::Token { token: n }));
        all.collect::<Result<_, _>>().map(Self)
    }

    /// Appends the name to `out` and gives the kind letter; else says what is wrong with them.
    fn unpack(&self, packed: &[u8], out: &mut Vec<u8>) -> Result<u8, &'static str> {
        let (&first, rest) = packed.split_first().ok_or("empty")?;
        let start = out.len();
        let first = self.get(first);
        let (mut kind, name) = match first.text.split_first() {
            Some((kind, name)) => (Some(*kind), name),
            None => (None, first.text),
        };
        out.extend_from_slice(name);
        let mut plain = first.plain;
        for &token in rest {
            let token = self.get(token);
            plain &= token.plain;
            // An empty first token leaves the letter to the next one.
            let text = match (kind, token.text.split_first()) {
                (None, Some((letter, name))) => {
                    kind = Some(*letter);
                    name
                }
                (None, None) => continue,
                (Some(_), _) if token.text.len() <= SHORT => {
                    let end = out.len().saturating_add(token.text.len());
                    out.extend_from_slice(&token.padded);
                    out.truncate(end);
                    continue;
                }
                (Some(_), _) => token.text,
            };
            out.extend_from_slice(text);
        }
        let kind = kind.filter(u8::is_ascii_graphic).ok_or("empty")?;
        let name = out.get(start..).unwrap_or_default();
        if name.is_empty() || name.len() > NAME_MAX {
            return Err("empty, or longer than any kernel symbol");
        }
        let is_name = |text: &str| !text.bytes().any(|b| b.is_ascii_control());
        if !plain && !str::from_utf8(name).is_ok_and(is_name) {
            return Err("no printable UTF-8");
        }
        Ok(kind)
    }

    fn get(&self, token: u8) -> Token<'a> {
        self.0.get(usize::from(token)).copied().unwrap_or_default()
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
