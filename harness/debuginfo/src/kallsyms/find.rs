//! Finds the kallsyms tables in bytes that do not name them: a kernel image in memory, or the `.rodata` of a
//! vmlinux without symbols.
//!
//! `scripts/kallsyms.c` writes the tables one behind the other, each aligned to 8 bytes. What lies between the
//! number of symbols and the token index has kept its order; the addresses have moved:
//!
//! | tables, in their order | kernels |
//! |---|---|
//! | addresses, number, names, markers, tokens, token index | up to 6.1 |
//! | addresses, number, names, markers, sequence, tokens, token index | 6.2 to 6.4 (commit 60443c88f3a8) |
//! | number, names, markers, tokens, token index, addresses, sequence | since 6.5 (commit 404bad70fcf7) |
//!
//! Markers and the number took 8 bytes before 4.20 (commit 80ffbaa5b1bd), and take 4 since. Nothing here asks for
//! the version: the token index has a shape that nothing else has, the markers say where every 256th name begins,
//! and the names themselves have to end where the markers begin.

use std::ops::Range;

use super::{KallsymsError, NAME_MAX, RawAddresses, RawKallsyms, decode, packed_len};
use crate::bytes::{cut, u16_at, u32_at, u64_at};
use crate::symbols::SymbolTable;

/// `ALGN` of `scripts/kallsyms.c` on 64-bit machines.
const ALIGN: usize = 8;
/// 256 offsets of 16 bits.
const TOKEN_INDEX: usize = 512;
/// More symbols than any kernel has.
const SYMBOLS_MAX: usize = 4_000_000;
/// How far names and markers can reach back from the tokens.
const NAMES_MAX: usize = 32 << 20;
/// Places that look like token tables and are followed up; a kernel has one.
const TOKEN_TABLES_MAX: usize = 4;
/// Names walked over in vain before the search is given up.
const FUEL: usize = 8_000_000;
/// Lowest address of the kernel's half of the address space.
const KERNEL_HALF: u64 = 0xff00_0000_0000_0000;
/// Of addresses in the right place nearly all are in order.
const UNSORTED_PER_SYMBOLS: usize = 100;

/// Where the tokens and their index begin, as offsets into the bytes searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTables {
    /// `kallsyms_token_table`.
    pub table: usize,
    /// `kallsyms_token_index`.
    pub index: usize,
}

/// Symbols, and where their tables were found.
#[derive(Clone, Debug)]
pub struct FoundKallsyms {
    /// The symbols.
    pub symbols: SymbolTable,
    /// Offset of `kallsyms_num_syms` in the bytes searched.
    pub num_syms_at: usize,
    /// Offset of the addresses.
    pub addresses_at: usize,
    /// Where the tokens are.
    pub tokens: TokenTables,
    /// Offsets from a base, or whole addresses.
    pub relative: bool,
}

/// Why no tables were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing has the shape of a token table with its index.
    #[error("no kallsyms token table in {searched} bytes")]
    NoTokens {
        /// Bytes searched.
        searched: usize,
    },
    /// There are tokens, but no names that lead up to them.
    #[error("a kallsyms token table at offset {tokens:#x}, but no names before it")]
    NoNames {
        /// Where the first tokens are.
        tokens: usize,
    },
    /// There are names, but no addresses beside them.
    #[error("{count} kallsyms names at offset {names:#x}, but no addresses of theirs")]
    NoAddresses {
        /// Where `kallsyms_num_syms` is.
        names: usize,
        /// Its value.
        count: usize,
    },
    /// The tables do not decode.
    #[error(transparent)]
    Tables(#[from] KallsymsError),
    /// The caller knows better: symbols known from elsewhere have other addresses.
    #[error("{count} kallsyms symbols at offset {names:#x}, whose addresses are not this kernel's")]
    Refused {
        /// Where `kallsyms_num_syms` is.
        names: usize,
        /// Its value.
        count: usize,
    },
}

/// Finds and decodes the tables in `bytes`, which begin at a multiple of 8 in memory. The first ones that `accept`
/// says yes to are taken: it knows some symbol's address from elsewhere.
///
/// # Errors
/// What came nearest to tables.
pub fn find(
    bytes: &[u8],
    mut accept: impl FnMut(&SymbolTable) -> bool,
) -> Result<FoundKallsyms, FindError> {
    let mut error = FindError::NoTokens {
        searched: bytes.len(),
    };
    let mut fuel = FUEL;
    for tokens in token_tables(bytes).take(TOKEN_TABLES_MAX) {
        if matches!(error, FindError::NoTokens { .. }) {
            error = FindError::NoNames {
                tokens: tokens.table,
            };
        }
        for names in names_before(bytes, tokens, &mut fuel) {
            match addresses_of(bytes, tokens, &names, &mut accept) {
                Ok(found) => return Ok(found),
                Err(reason) => error = reason,
            }
        }
    }
    Err(error)
}

/// Every place that has the shape of the tokens with their index behind them: 256 offsets that begin with 0 and
/// grow by the length of each NUL-terminated token. `bytes` begin at a multiple of 8 in memory.
pub fn token_tables(bytes: &[u8]) -> impl Iterator<Item = TokenTables> + '_ {
    let last = bytes.len().saturating_sub(TOKEN_INDEX);
    (0..=last)
        .step_by(ALIGN)
        .filter(|&at| may_be_index(bytes, at))
        .filter_map(|index| {
            let table = token_table(bytes, index)?;
            Some(TokenTables { table, index })
        })
}

/// A quick look at the first four and the last two offsets, which rules out nearly everything.
fn may_be_index(bytes: &[u8], at: usize) -> bool {
    let Some(first) = u64_at(bytes, at) else {
        return false;
    };
    let [a, b, c, d] = [0, 16, 32, 48].map(|shift| (first >> shift) & 0xffff);
    a == 0
        && b > 0
        && b < c
        && c < d
        && d < 4 * NAME_MAX as u64
        && matches!(
            (u16_at(bytes, at + TOKEN_INDEX - 4), u16_at(bytes, at + TOKEN_INDEX - 2)),
            (Some(y), Some(z)) if y < z && z >= 255
        )
}

/// Where the tokens lie that the index at `index` belongs to.
fn token_table(bytes: &[u8], index: usize) -> Option<usize> {
    let (offsets, _) = cut(bytes, index, TOKEN_INDEX)?.as_chunks::<2>();
    let offset = |n: usize| offsets.get(n).map(|o| usize::from(u16::from_le_bytes(*o)));
    if !offsets.is_sorted_by(|a, b| u16::from_le_bytes(*a) < u16::from_le_bytes(*b)) {
        return None;
    }
    let last = offset(255)?;
    // The last token's length is not recorded: its end is where the index begins, less the padding.
    let nearest = index.checked_sub(last.checked_add(1)?)? / ALIGN * ALIGN;
    let farthest = nearest.saturating_sub(NAME_MAX + 2 * ALIGN);
    (farthest..=nearest).rev().step_by(ALIGN).find(|&table| {
        let ends = |n: usize| {
            let before = offset(n).and_then(|o| table.checked_add(o)?.checked_sub(1));
            before.and_then(|at| bytes.get(at)) == Some(&0)
        };
        let whole = || {
            let text = cut(bytes, table, last)?;
            let rest = bytes.get(table.checked_add(last)?..index)?;
            let len = rest.iter().position(|&b| b == 0)?;
            let padding = rest.get(len..)?;
            let fits = text.iter().filter(|&&b| b == 0).count() == 255
                && padding.len() <= ALIGN
                && padding.iter().all(|&b| b == 0);
            fits.then_some(())
        };
        table % ALIGN == 0 && (1..256).all(ends) && whole().is_some()
    })
}

/// Number and names of symbols.
#[derive(Clone, Debug)]
struct Names {
    num_syms_at: usize,
    count: usize,
    names: Range<usize>,
}

/// What may lie between the names and the tokens: bytes of a marker, bytes of a sequence number. Sequence numbers
/// had 4 bytes for a part of 6.2's development.
const BETWEEN: [(usize, usize); 5] = [(4, 0), (4, 3), (8, 0), (4, 4), (8, 3)];

/// Every number and names that lead up to the tokens.
fn names_before<'a>(
    bytes: &'a [u8],
    tokens: TokenTables,
    fuel: &'a mut usize,
) -> impl Iterator<Item = Names> + 'a {
    let lowest = tokens.table.saturating_sub(NAMES_MAX);
    let places = (lowest / ALIGN..tokens.table / ALIGN).rev();
    places.filter_map(move |place| {
        let at = place * ALIGN;
        let count = usize::try_from(u64_at(bytes, at)?).ok()?;
        let room = tokens.table - at;
        let possible = (1..=SYMBOLS_MAX).contains(&count)
            && count.saturating_mul(2) <= room
            && count.saturating_mul(NAME_MAX) >= room.saturating_sub(4096);
        if !possible {
            return None;
        }
        BETWEEN.iter().find_map(|&(marker, sequence)| {
            let markers = markers_at(bytes, at, tokens.table, count, marker, sequence)?;
            let names = walk(bytes, at + ALIGN, count, markers, marker, fuel)?;
            Some(Names {
                num_syms_at: at,
                count,
                names,
            })
        })
    })
}

/// Where the markers begin, if there is anything like them where they have to be.
fn markers_at(
    bytes: &[u8],
    num_syms_at: usize,
    tokens: usize,
    count: usize,
    marker: usize,
    sequence: usize,
) -> Option<usize> {
    let groups = count.div_ceil(256);
    let markers = tokens
        .checked_sub(aligned(count.checked_mul(sequence)?)?)?
        .checked_sub(aligned(groups.checked_mul(marker)?)?)?;
    let names = markers.checked_sub(num_syms_at.checked_add(ALIGN)?)?;
    let value = |n: usize| marker_value(bytes, markers, n, marker);
    let last = value(groups - 1)?;
    let ordered = groups < 2 || (value(1)? >= 512 && value(1)? <= last);
    (value(0)? == 0 && ordered && last < names).then_some(markers)
}

fn marker_value(bytes: &[u8], markers: usize, n: usize, width: usize) -> Option<usize> {
    let at = markers.checked_add(n.checked_mul(width)?)?;
    match width {
        4 => usize::try_from(u32_at(bytes, at)?).ok(),
        _ => usize::try_from(u64_at(bytes, at)?).ok(),
    }
}

/// Walks over the names from `start`: every 256th has to begin where its marker says, and the last has to end at
/// the markers.
fn walk(
    bytes: &[u8],
    start: usize,
    count: usize,
    markers: usize,
    width: usize,
    fuel: &mut usize,
) -> Option<Range<usize>> {
    let mut at = start;
    for n in 0..count {
        *fuel = fuel.checked_sub(1)?;
        if n % 256 == 0 && marker_value(bytes, markers, n / 256, width)? != at - start {
            return None;
        }
        let (len, from) = packed_len(bytes, at)?;
        if len == 0 {
            return None;
        }
        at = from.checked_add(len).filter(|&end| end <= markers)?;
    }
    (aligned(at)? == markers).then_some(start..at)
}

fn aligned(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(ALIGN)
}

/// Decodes the names with the addresses that lie behind the token index, or else before the number.
fn addresses_of(
    bytes: &[u8],
    tokens: TokenTables,
    names: &Names,
    accept: &mut impl FnMut(&SymbolTable) -> bool,
) -> Result<FoundKallsyms, FindError> {
    let mut error = FindError::NoAddresses {
        names: names.num_syms_at,
        count: names.count,
    };
    for (at, addresses) in candidates(bytes, tokens, names) {
        let symbols = decode(RawKallsyms {
            num_syms: names.count,
            names: bytes.get(names.names.clone()).unwrap_or_default(),
            token_table: bytes.get(tokens.table..tokens.index).unwrap_or_default(),
            token_index: cut(bytes, tokens.index, TOKEN_INDEX).unwrap_or_default(),
            addresses,
        })?;
        if accept(&symbols) {
            return Ok(FoundKallsyms {
                symbols,
                num_syms_at: names.num_syms_at,
                addresses_at: at,
                tokens,
                relative: matches!(addresses, RawAddresses::Relative { .. }),
            });
        }
        error = FindError::Refused {
            names: names.num_syms_at,
            count: names.count,
        };
    }
    Err(error)
}

/// The places where addresses can be, of those that hold what addresses look like.
fn candidates<'a>(
    bytes: &'a [u8],
    tokens: TokenTables,
    names: &Names,
) -> impl Iterator<Item = (usize, RawAddresses<'a>)> {
    let count = names.count;
    let offsets_len = count.checked_mul(4).and_then(aligned);
    let addresses_len = count.checked_mul(8);
    let relative = move |offsets: usize, base: usize| {
        let table = cut(bytes, offsets, count.checked_mul(4)?)?;
        let relative_base = u64_at(bytes, base).filter(|&base| base >= KERNEL_HALF)?;
        let addresses = RawAddresses::Relative {
            offsets: table,
            relative_base,
            absolute_percpu: None,
        };
        Some((offsets, addresses))
    };
    let absolute = move |at: usize| {
        let table = cut(bytes, at, addresses_len?)?;
        Some((at, RawAddresses::Absolute(table)))
    };
    let behind = tokens.index.saturating_add(TOKEN_INDEX);
    let before = names.num_syms_at;
    let places = [
        offsets_len.and_then(|len| relative(behind, behind.checked_add(len)?)),
        offsets_len.and_then(|len| {
            let base = before.checked_sub(8)?;
            relative(base.checked_sub(len)?, base)
        }),
        absolute(behind),
        addresses_len.and_then(|len| absolute(before.checked_sub(len)?)),
    ];
    places
        .into_iter()
        .flatten()
        .filter(move |(_, addresses)| are_sorted(*addresses, count))
}

/// Whether the addresses go up as the symbols do, but for a few.
fn are_sorted(raw: RawAddresses<'_>, count: usize) -> bool {
    let addresses = super::Addresses::new(raw, count);
    let (mut unsorted, mut last, mut highest) = (0usize, 0u64, 0u64);
    for n in 0..count {
        let Some(addr) = addresses.get(n) else {
            return false;
        };
        unsorted += usize::from(addr < last);
        last = addr;
        highest = highest.max(addr);
    }
    highest >= KERNEL_HALF && unsorted.saturating_mul(UNSORTED_PER_SYMBOLS) <= count
}
