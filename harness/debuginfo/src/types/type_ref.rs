//! One type and what it is made of, for whoever shows types and values. Unlike [`super::StructLayout`] it keeps
//! anonymous structs where the source has them. Reads no memory.
//!
//! Types may form cycles (hostile ids): whoever descends bounds the depth.

use super::layout::{member_ref, size, strip};
use super::lookup::Found;
use super::spell::{declaration, spell};
use crate::btf::{Btf, Kind};

/// Members of one struct; the kernel's largest have a few hundred.
const MEMBERS_MAX: usize = 16_384;

/// A type.
#[derive(Clone, Copy, Debug)]
pub struct TypeRef<'a> {
    btf: &'a Btf,
    id: u32,
}

/// What a type is, typedefs and qualifiers aside.
#[derive(Clone, Debug)]
pub enum Form<'a> {
    /// No value.
    Void,
    /// An integer of `size` bytes.
    Int {
        /// Bytes.
        size: u32,
        /// To be sign-extended.
        signed: bool,
        /// A character: `char`, `signed char`, `unsigned char`, and what is declared as one (`u8`).
        char: bool,
    },
    /// `_Bool`, of `size` bytes.
    Bool {
        /// Bytes.
        size: u32,
    },
    /// A floating-point number of `size` bytes.
    Float {
        /// Bytes.
        size: u32,
    },
    /// An address of this type.
    Pointer(TypeRef<'a>),
    /// An enumeration.
    Enum {
        /// Bytes.
        size: u32,
        /// Names with their values, in the order of declaration.
        values: Vec<(&'a str, i64)>,
    },
    /// A struct or union.
    Aggregate {
        /// A union.
        is_union: bool,
        /// Bytes.
        size: u32,
        /// Members in the order of declaration; anonymous ones have an empty name.
        members: Vec<MemberRef<'a>>,
    },
    /// An array.
    Array {
        /// Of these.
        element: TypeRef<'a>,
        /// How many; 0 for flexible arrays.
        count: u32,
    },
    /// Code.
    Function,
    /// Declared and not defined, or beyond what BTF can say.
    Unknown,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub struct MemberRef<'a> {
    /// Empty for an anonymous struct or union.
    pub name: &'a str,
    /// Its type.
    pub of: TypeRef<'a>,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// For a bit field: bits.
    pub bits: Option<u8>,
}

impl<'a> From<Found<'a>> for TypeRef<'a> {
    fn from(found: Found<'a>) -> Self {
        Self {
            btf: found.btf,
            id: found.id,
        }
    }
}

impl<'a> TypeRef<'a> {
    fn other(self, id: u32) -> Self {
        Self { id, ..self }
    }

    /// Its own name: a tag, a typedef's or base type's name; empty for anonymous ones, pointers and arrays.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.btf.get(self.id).map_or("", |own| own.name)
    }

    /// The tag behind typedefs and qualifiers; empty if there is none.
    #[must_use]
    pub fn tag(self) -> &'a str {
        strip(self.btf, self.id).map_or("", |own| own.name)
    }

    /// For a typedef, what it names.
    #[must_use]
    pub fn typedef(self) -> Option<Self> {
        match self.btf.get(self.id)?.kind {
            Kind::Typedef { target } => Some(self.other(target)),
            _ => None,
        }
    }

    /// Bytes; `None` for void, functions and what is only declared.
    #[must_use]
    pub fn size(self) -> Option<u64> {
        size(self.btf, self.id)
    }

    /// In C's spelling: `struct page *`.
    #[must_use]
    pub fn spelled(self) -> String {
        spell(self.btf, self.id)
    }

    /// The declaration of `name` as of this type: `struct page *pages[4]`.
    #[must_use]
    pub fn declare(self, name: &str) -> String {
        declaration(self.btf, self.id, name)
    }

    /// Whether it is spelled without a name of its own: an anonymous struct, union or enum, written out in place.
    #[must_use]
    pub fn is_anonymous(self) -> bool {
        self.btf.get(self.id).is_some_and(|own| {
            own.name.is_empty()
                && matches!(
                    own.kind,
                    Kind::Struct { .. } | Kind::Union { .. } | Kind::Enum { .. }
                )
        })
    }

    /// What it is, typedefs and qualifiers aside.
    #[must_use]
    pub fn form(self) -> Form<'a> {
        let Some(own) = strip(self.btf, self.id) else {
            return Form::Unknown;
        };
        match own.kind {
            Kind::Void => Form::Void,
            Kind::Int { size, encoding } if encoding.bool => Form::Bool { size },
            Kind::Int { size, encoding } => Form::Int {
                size,
                signed: encoding.signed,
                // pahole sets the flag for no type that gcc emits; one byte is a character in C.
                char: encoding.char || size == 1,
            },
            Kind::Float { size } => Form::Float { size },
            Kind::Ptr { target } => Form::Pointer(self.other(target)),
            Kind::Enum { size, values } => Form::Enum {
                size,
                values: values.iter().map(|v| (v.name, v.value)).collect(),
            },
            Kind::Struct { size, members } => self.aggregate(false, size, &members),
            Kind::Union { size, members } => self.aggregate(true, size, &members),
            Kind::Array { element, count } => Form::Array {
                element: self.other(element),
                count,
            },
            Kind::FuncProto { .. } | Kind::Func { .. } => Form::Function,
            _ => Form::Unknown,
        }
    }

    fn aggregate(self, is_union: bool, size: u32, members: &[crate::btf::Member<'a>]) -> Form<'a> {
        let member = |member: &crate::btf::Member<'a>| MemberRef {
            name: member.name,
            of: self.other(member.target),
            bit_offset: member.bit_offset,
            bits: member_ref(self.btf, member, 0).and_then(|field| Some(field.bits?.1)),
        };
        Form::Aggregate {
            is_union,
            size,
            members: members.iter().take(MEMBERS_MAX).map(member).collect(),
        }
    }
}

impl TypeRef<'_> {
    /// Whether both are the same type of the same type information.
    #[must_use]
    pub fn is_same(self, other: TypeRef<'_>) -> bool {
        std::ptr::eq(self.btf, other.btf) && self.id == other.id
    }
}
