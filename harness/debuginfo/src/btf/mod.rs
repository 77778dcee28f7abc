//! BTF, the kernel's compact type information (`include/uapi/linux/btf.h`).
//!
//! Parses a vmlinux's BTF and a module's split BTF, which continues the ids and the strings of its
//! base. Types are decoded when asked for; [`crate::types`] makes structs and fields of them.
//! `.BTF.ext` (lines, CO-RE) is not read.
//!
//! Structure is checked once, when parsing. Type ids are not: they may dangle or form cycles, so
//! whoever follows them bounds the number of steps.

mod build;
mod model;
#[cfg(test)]
mod tests;

pub use build::{FieldKind, FieldSpec, StructSpec, build};
pub use model::{Enumerator, IntEncoding, Kind, Member, Param, Type};

use std::sync::{Arc, OnceLock};

use crate::bytes::{cut, u16_at, u32_at};
use crate::name_index::NameIndex;

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// Split BTF of split BTF does not occur; this bounds what a caller can stack up.
const BASES_MAX: usize = 4;

/// Offset and length in the bytes.
type Section = (usize, usize);

/// Why bytes are not BTF. Offsets are from the start of the BTF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Other magic, version or byte order.
    #[error("no little-endian BTF of version 1: it begins with {magic:#06x}, version {version}")]
    NotBtf {
        /// First two bytes.
        magic: u16,
        /// Third byte.
        version: u8,
    },
    /// The header or a section leaves the bytes given.
    #[error(
        "BTF {section} (offset {offset:#x}, {len:#x} bytes) leaves the {have:#x} bytes there are"
    )]
    Truncated {
        /// Which part.
        section: &'static str,
        /// Where it should begin.
        offset: usize,
        /// How long it should be.
        len: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A type record that cannot be skipped.
    #[error("BTF type {id} at offset {offset:#x} of the type section: {what}")]
    Type {
        /// Type id.
        id: u32,
        /// Offset in the type section.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// More levels of split BTF than make sense.
    #[error("BTF stacked on more than {BASES_MAX} bases")]
    TooDeep,
}

/// The type information of vmlinux, or of one module on top of it.
#[derive(Clone, Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Type section and string section within `bytes`.
    types: Section,
    strings: Section,
    /// Offsets in `bytes` of this BTF's own types; the first has the id `first_id`.
    offsets: Vec<u32>,
    first_id: u32,
    first_string: u32,
    base: Option<Arc<Btf>>,
    names: OnceLock<NameIndex>,
}

impl Btf {
    /// Parses BTF. `base` is vmlinux's for a module's split BTF: ids and string offsets then go on
    /// where the base's end.
    ///
    /// # Errors
    /// [`BtfError`] where header, sections or the chain of type records do not fit the bytes.
    pub fn parse(bytes: impl Into<Vec<u8>>, base: Option<Arc<Btf>>) -> Result<Self, BtfError> {
        let bytes = bytes.into();
        let bases = std::iter::successors(base.as_deref(), |b| b.base.as_deref()).count();
        if bases > BASES_MAX {
            return Err(BtfError::TooDeep);
        }
        let (types, strings) = sections(&bytes)?;
        // Id 0 is void and has no record, so a base's first record is number 1.
        let first_id = base.as_ref().map_or(1, |b| b.end_id());
        let first_string = base.as_ref().map_or(0, |b| b.end_string());
        let offsets = walk(&bytes, types, first_id)?;
        Ok(Self {
            bytes,
            types,
            strings,
            offsets,
            first_id,
            first_string,
            base,
            names: OnceLock::new(),
        })
    }

    /// Index of the named types, built when the first is asked for. Reads names only, not the records.
    fn index(&self) -> &NameIndex {
        self.names.get_or_init(|| {
            let named = self.offsets.iter().zip(self.first_id..);
            NameIndex::new(named.filter_map(|(at, id)| {
                let name = u32_at(&self.bytes, usize::try_from(*at).ok()?)?;
                let text = self.text(name).filter(|text| !text.is_empty())?;
                Some((text, id))
            }))
        })
    }

    /// Bytes that a BTF takes according to its header; for cutting one out of memory.
    #[must_use]
    pub fn len_from_header(header: &[u8]) -> Option<usize> {
        let word = |at| usize::try_from(u32_at(header, at)?).ok();
        (u16_at(header, 0)? == MAGIC).then_some(())?;
        let types = word(8)?.checked_add(word(12)?)?;
        let strings = word(16)?.checked_add(word(20)?)?;
        word(4)?.checked_add(types.max(strings))
    }

    /// The BTF this one continues.
    #[must_use]
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// Ids of this BTF's own types, without the base's and without void (0).
    #[must_use]
    pub fn own_ids(&self) -> std::ops::Range<u32> {
        self.first_id..self.end_id()
    }

    /// One past the last id; a split BTF begins there.
    fn end_id(&self) -> u32 {
        let count = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
        self.first_id.saturating_add(count)
    }

    fn end_string(&self) -> u32 {
        let len = u32::try_from(self.strings.1).unwrap_or(u32::MAX);
        self.first_string.saturating_add(len)
    }

    /// The type with this id, looked up in the base where it belongs there. Void is [`Kind::Void`].
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Type<'_>> {
        if id == 0 {
            return Some(Type {
                id,
                name: "",
                kind: Kind::Void,
            });
        }
        if id < self.first_id {
            return self.base.as_ref()?.get(id);
        }
        let n = usize::try_from(id - self.first_id).ok()?;
        let at = usize::try_from(*self.offsets.get(n)?).ok()?;
        model::decode(self, id, self.types_end_slice(at)?)
    }

    /// The bytes from `at` to the end of the type section.
    fn types_end_slice(&self, at: usize) -> Option<&[u8]> {
        self.bytes.get(at..self.types.0.checked_add(self.types.1)?)
    }

    /// The string at `offset`, the base's for an offset below this BTF's own. Not UTF-8: `None`.
    #[must_use]
    pub fn string(&self, offset: u32) -> Option<&str> {
        str::from_utf8(self.text(offset)?).ok()
    }

    fn text(&self, offset: u32) -> Option<&[u8]> {
        if offset < self.first_string {
            return self.base.as_ref()?.text(offset);
        }
        let own = cut(&self.bytes, self.strings.0, self.strings.1)?;
        let text = own.get(usize::try_from(offset - self.first_string).ok()?..)?;
        text.get(..nul(text)?)
    }

    /// This BTF's own types called `name`, ascending by id; the base is not searched.
    pub fn own_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Type<'a>> + 'a {
        let types = self.index().candidates(name).filter_map(|id| self.get(id));
        types.filter(move |t| t.name == name)
    }
}

/// Where the first NUL is. Eight bytes a step: the names of all types are looked through.
fn nul(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let zeros = word.wrapping_sub(ONES) & !word & TOPS;
        if zeros != 0 {
            return Some(n * 8 + usize::try_from(zeros.trailing_zeros() / 8).ok()?);
        }
    }
    let within = rest.iter().position(|&b| b == 0)?;
    Some(words.len() * 8 + within)
}

/// Type and string sections as (offset, length) in `bytes`.
fn sections(bytes: &[u8]) -> Result<(Section, Section), BtfError> {
    let truncated = |section, offset, len| BtfError::Truncated {
        section,
        offset,
        len,
        have: bytes.len(),
    };
    let header = cut(bytes, 0, HEADER).ok_or(truncated("header", 0, HEADER))?;
    let magic = u16_at(header, 0).unwrap_or(0);
    let version = header.get(2).copied().unwrap_or(0);
    if magic != MAGIC || version != 1 {
        return Err(BtfError::NotBtf { magic, version });
    }
    let word = |at| {
        u32_at(header, at)
            .and_then(|w| usize::try_from(w).ok())
            .unwrap_or(0)
    };
    let section = |name, at| {
        let offset = word(4).saturating_add(word(at));
        let len = word(at + 4);
        cut(bytes, offset, len)
            .map(|_| (offset, len))
            .ok_or(truncated(name, offset, len))
    };
    Ok((section("types", 8)?, section("strings", 16)?))
}

/// Offsets in `bytes` of all type records.
fn walk(bytes: &[u8], (start, len): Section, first_id: u32) -> Result<Vec<u32>, BtfError> {
    let section = cut(bytes, start, len).unwrap_or_default();
    let mut offsets = Vec::with_capacity(len / 32);
    let mut at = 0;
    let mut id = first_id;
    while at < section.len() {
        let error = move |what| BtfError::Type {
            id,
            offset: at,
            what,
        };
        let rest = section.get(at..).unwrap_or_default();
        let size = model::record_len(rest).map_err(error)?;
        cut(rest, 0, size).ok_or(error("the record leaves the type section"))?;
        let absolute = start.checked_add(at).and_then(|o| u32::try_from(o).ok());
        offsets.push(absolute.ok_or(error("beyond 4 GiB"))?);
        at += size;
        id = id.checked_add(1).ok_or(error("more than 2^32 types"))?;
    }
    Ok(offsets)
}
