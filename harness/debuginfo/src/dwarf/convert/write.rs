//! Merged definitions as BTF (`include/uapi/linux/btf.h`). Decides nothing about which types there are.

use std::collections::HashMap;

use super::expr::{Expr, Part};
use super::merge::{Definition, Leaf, Means};
use super::shape::Key;
use super::unit::Tag;

const MAGIC: u16 = 0xeb9f;
const HEADER: u32 = 24;
/// `BTF_MAX_VLEN`.
const VLEN_MAX: usize = 0xffff;

// BTF_KIND_*
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const FLOAT: u32 = 16;
const ENUM64: u32 = 19;

/// BTF, and what it could not say.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) btf: Vec<u8>,
    /// Members and enumerators beyond what a record can hold.
    pub(super) omitted: u32,
}

/// What a name means where no unit that mentions it says so.
#[derive(Clone, Copy)]
struct ByName {
    complete: Means,
    any: Key,
}

/// Writes the definitions in the order given.
pub(super) fn write(definitions: &[(Key, Definition<'_>)]) -> Written {
    let mut writer = Writer::new(definitions);
    // Definitions have the first ids, so that they can mention each other; what they are made of comes after.
    let mut records = Vec::new();
    for (_, definition) in definitions {
        if writer.is_numbered(definition) {
            let record = writer.definition(definition);
            records.push(record);
        }
    }
    for (_, definition) in definitions {
        if !writer.is_numbered(definition) {
            writer.expr(&definition.body, &definition.leaves);
        }
    }
    writer.end(&records)
}

struct Writer<'d> {
    ids: HashMap<Key, u32>,
    names: HashMap<(Tag, &'d [u8]), ByName>,
    strings: Vec<u8>,
    string_offsets: HashMap<Vec<u8>, u32>,
    /// Records that are no definitions, each once, with their ids.
    others: HashMap<Vec<u8>, u32>,
    others_bytes: Vec<u8>,
    next: u32,
    omitted: u32,
}

impl<'d> Writer<'d> {
    fn new(definitions: &'d [(Key, Definition<'d>)]) -> Self {
        let mut writer = Self {
            ids: HashMap::new(),
            names: HashMap::new(),
            strings: vec![0],
            string_offsets: HashMap::new(),
            others: HashMap::new(),
            others_bytes: Vec::new(),
            next: 1,
            omitted: 0,
        };
        for (key, definition) in definitions {
            if !writer.is_numbered(definition) {
                continue;
            }
            writer.ids.insert(*key, writer.next);
            writer.next += 1;
            let name = (definition.tag, definition.name);
            let known = writer.names.entry(name).or_insert(ByName {
                complete: Means::Unsaid,
                any: *key,
            });
            if definition.complete {
                known.complete = match known.complete {
                    Means::Unsaid => Means::One(*key),
                    _ => Means::Several,
                };
            }
        }
        writer
    }

    /// Has an id of its own from the start; anonymous enums are written like parts.
    fn is_numbered(&self, definition: &Definition<'_>) -> bool {
        !definition.name.is_empty()
    }

    fn definition(&mut self, definition: &Definition<'_>) -> Vec<u8> {
        let name = self.string(definition.name);
        let leaves = &definition.leaves;
        match (definition.tag, &definition.body) {
            (Tag::Typedef, Expr::Of(_, target)) => {
                let target = self.expr(target, leaves);
                record(name, TYPEDEF, 0, false, target)
            }
            (Tag::Function, body) => {
                let proto = self.expr(body, leaves);
                // BTF_FUNC_STATIC, BTF_FUNC_GLOBAL.
                record(name, FUNC, u32::from(definition.external), false, proto)
            }
            (_, body) => self.record(name, body, leaves),
        }
    }

    /// Id of a type; its record is written if need be.
    fn expr(&mut self, expr: &Expr<'_>, leaves: &[Leaf<'_>]) -> u32 {
        match expr {
            Expr::Void => 0,
            Expr::Leaf(number) => {
                let leaf = usize::try_from(*number).ok().and_then(|n| leaves.get(n));
                leaf.map_or(0, |leaf| self.leaf(leaf))
            }
            Expr::Array(element, counts) => {
                let mut element = self.expr(element, leaves);
                let index = self.int(b"__ARRAY_SIZE_TYPE__", 4, 0);
                for count in counts.iter().rev() {
                    let mut array = record(0, ARRAY, 0, false, 0);
                    let count = u32::try_from(*count).unwrap_or(0);
                    push(&mut array, &[element, index, count]);
                    element = self.other(array);
                }
                element
            }
            other => {
                let name = match other {
                    Expr::Base { name, .. } => self.string(name),
                    _ => 0,
                };
                let record = self.record(name, other, leaves);
                self.other(record)
            }
        }
    }

    fn record(&mut self, name: u32, expr: &Expr<'_>, leaves: &[Leaf<'_>]) -> Vec<u8> {
        match expr {
            Expr::Base { size, encoding, .. } => base(name, *size, *encoding),
            Expr::Of(tag, target) => {
                let kind = match tag {
                    Tag::Const => CONST,
                    Tag::Volatile => VOLATILE,
                    Tag::Restrict => RESTRICT,
                    _ => PTR,
                };
                let target = self.expr(target, leaves);
                record(0, kind, 0, false, target)
            }
            Expr::Struct { tag, size, members } => {
                let kind = if *tag == Tag::Union { UNION } else { STRUCT };
                self.structure(name, kind, *size, members, leaves)
            }
            Expr::Enum { size, values } => self.enumeration(name, *size, values),
            Expr::Proto {
                returns,
                params,
                variadic,
            } => {
                let returns = self.expr(returns, leaves);
                let mut words = Vec::new();
                for param in params {
                    let name = self.string(param.name);
                    words.extend([name, self.expr(&param.is, leaves)]);
                }
                if *variadic {
                    words.extend([0, 0]);
                }
                self.cut(&mut words, 2);
                let mut out = record(0, FUNC_PROTO, words.len() / 2, false, returns);
                push(&mut out, &words);
                out
            }
            // These have no record of their own: `expr` resolves them.
            Expr::Void | Expr::Leaf(_) | Expr::Array(..) => record(name, FWD, 0, false, 0),
        }
    }

    fn structure(
        &mut self,
        name: u32,
        kind: u32,
        size: u64,
        members: &[Part<'_>],
        leaves: &[Leaf<'_>],
    ) -> Vec<u8> {
        let bit_fields = members.iter().any(|member| member.bit_size != 0);
        let mut words = Vec::new();
        for member in members {
            let ty = self.expr(&member.is, leaves);
            let offset = u32::try_from(member.bit_offset).ok();
            let offset = match offset {
                Some(offset) if bit_fields && offset < 1 << 24 => {
                    Some(offset | u32::from(member.bit_size) << 24)
                }
                Some(offset) if !bit_fields => Some(offset),
                _ => None,
            };
            let Some(offset) = offset else {
                self.omitted = self.omitted.saturating_add(1);
                continue;
            };
            words.extend([self.string(member.name), ty, offset]);
        }
        self.cut(&mut words, 3);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mut out = record(name, kind, words.len() / 3, bit_fields, size);
        push(&mut out, &words);
        out
    }

    fn enumeration(&mut self, name: u32, size: u64, values: &[(&[u8], i64)]) -> Vec<u8> {
        let wide = size > 4;
        let signed = values.iter().any(|(_, value)| *value < 0);
        let mut words = Vec::new();
        for (name, value) in values {
            let name = self.string(name);
            let bits = value.cast_unsigned();
            words.extend([name, bits as u32]);
            if wide {
                words.push((bits >> 32) as u32);
            }
        }
        let (kind, each) = if wide { (ENUM64, 3) } else { (ENUM, 2) };
        self.cut(&mut words, each);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mut out = record(name, kind, words.len() / each, signed, size);
        push(&mut out, &words);
        out
    }

    /// No more rows than a record can count.
    fn cut(&mut self, words: &mut Vec<u32>, each: usize) {
        let beyond = (words.len() / each).saturating_sub(VLEN_MAX);
        self.omitted = self
            .omitted
            .saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX));
        words.truncate(VLEN_MAX * each);
    }

    /// The id of the definition that a name means, or of a declaration.
    fn leaf(&mut self, leaf: &Leaf<'_>) -> u32 {
        let by_name = self.names.get(&(leaf.tag, leaf.name)).copied();
        let means = match (leaf.means, by_name) {
            (Means::Unsaid, Some(by_name)) => by_name.complete,
            (means, _) => means,
        };
        let found = match (means, by_name) {
            (Means::One(key), _) => self.ids.get(&key),
            (Means::Unsaid, Some(by_name)) => self.ids.get(&by_name.any),
            _ => None,
        };
        if let Some(id) = found {
            return *id;
        }
        let name = self.string(leaf.name);
        match leaf.tag {
            Tag::Struct => self.other(record(name, FWD, 0, false, 0)),
            Tag::Union => self.other(record(name, FWD, 0, true, 0)),
            // BTF declares no enum; pahole, too, writes one of int's size without values.
            Tag::Enum => self.other(record(name, ENUM, 0, false, 4)),
            _ => 0,
        }
    }

    fn int(&mut self, name: &[u8], size: u64, encoding: u8) -> u32 {
        let name = self.string(name);
        self.other(base(name, size, encoding))
    }

    /// Id of a record that is no definition.
    fn other(&mut self, record: Vec<u8>) -> u32 {
        if let Some(id) = self.others.get(&record) {
            return *id;
        }
        let id = self.next;
        self.next += 1;
        self.others_bytes.extend_from_slice(&record);
        self.others.insert(record, id);
        id
    }

    fn string(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(offset) = self.string_offsets.get(text) {
            return *offset;
        }
        let offset = u32::try_from(self.strings.len()).unwrap_or(0);
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.string_offsets.insert(text.to_vec(), offset);
        offset
    }

    fn end(self, definitions: &[Vec<u8>]) -> Written {
        let mut types = definitions.concat();
        types.extend_from_slice(&self.others_bytes);
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut btf = Vec::new();
        btf.extend_from_slice(&MAGIC.to_le_bytes());
        btf.extend_from_slice(&[1, 0]);
        let strings_at = len(&types);
        push(
            &mut btf,
            &[HEADER, 0, strings_at, strings_at, len(&self.strings)],
        );
        btf.extend_from_slice(&types);
        btf.extend_from_slice(&self.strings);
        Written {
            btf,
            omitted: self.omitted,
        }
    }
}

/// The common part of a record. `vlen` is the linkage of functions.
fn record(name: u32, kind: u32, vlen: impl TryInto<u32>, flag: bool, word: u32) -> Vec<u8> {
    let vlen = vlen.try_into().unwrap_or(0) & 0xffff;
    let mut out = Vec::with_capacity(12);
    push(
        &mut out,
        &[name, vlen | kind << 24 | u32::from(flag) << 31, word],
    );
    out
}

fn base(name: u32, size: u64, encoding: u8) -> Vec<u8> {
    const SIGNED: u32 = 1;
    const BOOL: u32 = 4;
    let size = u32::try_from(size).unwrap_or(0);
    // DW_ATE_*: (complex) float, boolean, signed, signed char (DWARF 5, 7.8).
    let flags = match encoding {
        3 | 4 => return record(name, FLOAT, 0, false, size),
        2 => BOOL,
        5 | 6 => SIGNED,
        _ => 0,
    };
    let bits = size.saturating_mul(8).min(0xff);
    let mut out = record(name, INT, 0, false, size);
    push(&mut out, &[flags << 24 | bits]);
    out
}

fn push(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}
