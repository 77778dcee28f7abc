//! One BTF type record, decoded. Formats: `include/uapi/linux/btf.h`, up to Linux 6.12.

use super::Btf;
use crate::bytes::{cut, u32_at};

/// Common part of every record: name offset, info, size or type.
const COMMON: usize = 12;
/// Kinds by number, with the bytes that follow the common part: fixed, and per `vlen`.
const KINDS: [(usize, usize); 20] = [
    (0, 0),  // 0 does not occur as a record
    (4, 0),  // INT
    (0, 0),  // PTR
    (12, 0), // ARRAY
    (0, 12), // STRUCT
    (0, 12), // UNION
    (0, 8),  // ENUM
    (0, 0),  // FWD
    (0, 0),  // TYPEDEF
    (0, 0),  // VOLATILE
    (0, 0),  // CONST
    (0, 0),  // RESTRICT
    (0, 0),  // FUNC
    (0, 8),  // FUNC_PROTO
    (4, 0),  // VAR
    (0, 12), // DATASEC
    (0, 0),  // FLOAT, v5.13
    (4, 0),  // DECL_TAG, v5.16
    (0, 0),  // TYPE_TAG, v5.17
    (0, 12), // ENUM64, v6.0
];

/// A decoded type.
#[derive(Clone, Debug)]
pub struct Type<'a> {
    /// Its id in the BTF it was asked of.
    pub id: u32,
    /// Empty for anonymous types.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a type is. Numbers called `target`, `element` and the like are type ids, sizes are bytes.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are btf.h's own, named there")]
pub enum Kind<'a> {
    Void,
    Int {
        size: u32,
        encoding: IntEncoding,
    },
    Ptr {
        target: u32,
    },
    Array {
        element: u32,
        count: u32,
    },
    Struct {
        size: u32,
        members: Vec<Member<'a>>,
    },
    Union {
        size: u32,
        members: Vec<Member<'a>>,
    },
    Enum {
        size: u32,
        values: Vec<Enumerator<'a>>,
    },
    /// Declared only; `is_union` else a struct.
    Fwd {
        is_union: bool,
    },
    Typedef {
        target: u32,
    },
    Volatile {
        target: u32,
    },
    Const {
        target: u32,
    },
    Restrict {
        target: u32,
    },
    Func {
        proto: u32,
    },
    FuncProto {
        returns: u32,
        params: Vec<Param<'a>>,
    },
    Var {
        target: u32,
    },
    Datasec {
        size: u32,
    },
    Float {
        size: u32,
    },
    DeclTag {
        target: u32,
    },
    TypeTag {
        target: u32,
    },
}

/// How an integer is to be read. `bits` may be smaller than the size for old-style bit fields,
/// which pahole wrote before BTF had `kind_flag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are btf.h's own, named there")]
pub struct IntEncoding {
    pub signed: bool,
    pub char: bool,
    pub bool: bool,
    pub bits: u8,
    pub bit_offset: u8,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Empty for an anonymous struct or union.
    pub name: &'a str,
    /// Type id.
    pub target: u32,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Bits of a bit field; 0 for an ordinary member.
    pub bit_size: u8,
}

/// A name and value of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; 64-bit unsigned ones wrap.
    pub value: i64,
}

/// A parameter. The last one of a variadic function has neither name nor type (id 0).
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    /// Empty in function pointers.
    pub name: &'a str,
    /// Type id.
    pub target: u32,
}

/// The info word: kind, count of what follows, flag.
fn info(record: &[u8]) -> Option<(usize, usize, bool)> {
    let info = u32_at(record, 4)?;
    let kind = usize::try_from((info >> 24) & 0x1f).ok()?;
    let vlen = usize::try_from(info & 0xffff).ok()?;
    Some((kind, vlen, info >> 31 != 0))
}

/// Bytes of the record at the start of `rest`.
pub(super) fn record_len(rest: &[u8]) -> Result<usize, &'static str> {
    let (kind, vlen, _) = info(rest).ok_or("the record leaves the type section")?;
    match KINDS.get(kind) {
        Some(&(fixed, each)) if kind != 0 => Ok(COMMON + fixed + each * vlen),
        _ => Err("unknown kind, so its length is unknown too"),
    }
}

/// Decodes the record at the start of `record`. Names that do not exist come out empty.
pub(super) fn decode<'a>(btf: &'a Btf, id: u32, record: &'a [u8]) -> Option<Type<'a>> {
    let (kind, vlen, flag) = info(record)?;
    let name = |offset| btf.string(offset).unwrap_or_default();
    let word = u32_at(record, 8)?;
    let (fixed, each) = *KINDS.get(kind)?;
    let tail = cut(record, COMMON, fixed.checked_add(each.checked_mul(vlen)?)?)?;
    let rows = || tail.chunks_exact(each.max(1));
    let members = || {
        let member = |row: &[u8]| {
            let (offset, bit_size) = member_offset(u32_at(row, 8)?, flag);
            Some(Member {
                name: name(u32_at(row, 0)?),
                target: u32_at(row, 4)?,
                bit_offset: offset,
                bit_size,
            })
        };
        rows().filter_map(member).collect()
    };
    let kind = match kind {
        1 => Kind::Int {
            size: word,
            encoding: encoding(u32_at(tail, 0)?),
        },
        2 => Kind::Ptr { target: word },
        3 => Kind::Array {
            element: u32_at(tail, 0)?,
            count: u32_at(tail, 8)?,
        },
        4 => Kind::Struct {
            size: word,
            members: members(),
        },
        5 => Kind::Union {
            size: word,
            members: members(),
        },
        6 => {
            // kind_flag says signed since v6.0; before it was clear, yet negative values occur.
            let value = |row| {
                let raw = u32_at(row, 4)?;
                Some(Enumerator {
                    name: name(u32_at(row, 0)?),
                    value: raw.cast_signed().into(),
                })
            };
            Kind::Enum {
                size: word,
                values: rows().filter_map(value).collect(),
            }
        }
        7 => Kind::Fwd { is_union: flag },
        8 => Kind::Typedef { target: word },
        9 => Kind::Volatile { target: word },
        10 => Kind::Const { target: word },
        11 => Kind::Restrict { target: word },
        12 => Kind::Func { proto: word },
        13 => {
            let param = |row| {
                Some(Param {
                    name: name(u32_at(row, 0)?),
                    target: u32_at(row, 4)?,
                })
            };
            Kind::FuncProto {
                returns: word,
                params: rows().filter_map(param).collect(),
            }
        }
        14 => Kind::Var { target: word },
        15 => Kind::Datasec { size: word },
        16 => Kind::Float { size: word },
        17 => Kind::DeclTag { target: word },
        18 => Kind::TypeTag { target: word },
        19 => {
            let value = |row| {
                let (low, high) = (u32_at(row, 4)?, u32_at(row, 8)?);
                let value = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                Some(Enumerator {
                    name: name(u32_at(row, 0)?),
                    value,
                })
            };
            Kind::Enum {
                size: word,
                values: rows().filter_map(value).collect(),
            }
        }
        _ => return None,
    };
    Some(Type {
        id,
        name: name(u32_at(record, 0)?),
        kind,
    })
}

/// Bit offset and bit-field size; with `kind_flag` the word holds both.
fn member_offset(word: u32, kind_flag: bool) -> (u32, u8) {
    if !kind_flag {
        return (word, 0);
    }
    let [a, b, c, size] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, 0]), size)
}

fn encoding(word: u32) -> IntEncoding {
    let [bits, _, bit_offset, flags] = word.to_le_bytes();
    IntEncoding {
        signed: flags & 1 != 0,
        char: flags & 2 != 0,
        bool: flags & 4 != 0,
        bits,
        bit_offset,
    }
}
