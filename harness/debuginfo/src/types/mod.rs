//! The source-independent view of types: structs, fields by path, enumerators, prototypes.
//!
//! Answers come from BTF today; DWARF is to join behind the same questions. Nothing here reads
//! memory: a [`FieldRef`] says where a field lies and what it is, the caller fetches it.
//!
//! "Not there" is `None`, not an error: kernels differ, and callers ask for alternatives.

mod layout;
mod lookup;
mod spell;
#[cfg(test)]
mod tests;
mod type_ref;

pub use type_ref::{Form, MemberRef, TypeRef};

use std::sync::Arc;

use crate::btf::Btf;

/// Where a field lies in its struct and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRef {
    /// Bytes from the start of the outermost struct asked for; for a bit field, of its storage unit.
    pub offset: u64,
    /// Bytes; 0 for flexible arrays. For a bit field the size of its storage unit.
    pub size: u64,
    /// For a bit field: bits from the low end of the storage unit, and how many.
    pub bits: Option<(u8, u8)>,
    /// In C's spelling: `struct page *`, `char[16]`, `void (*)(struct urb *)`.
    pub type_name: String,
    /// Tag of the struct or union embedded, pointed to, or held by the array; without keyword.
    /// `None` for anonymous ones and where there is none.
    pub struct_name: Option<String>,
    /// What the value is, typedefs and qualifiers aside.
    pub shape: Shape,
}

/// What a value is, typedefs and qualifiers aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer.
    Int {
        /// To be sign-extended.
        signed: bool,
    },
    /// `_Bool`.
    Bool,
    /// An address, of data or code.
    Pointer,
    /// An enumeration.
    Enum,
    /// A struct or union lying inside.
    Struct,
    /// An array; arrays of arrays have one inside.
    Array {
        /// Number of elements; 0 for flexible arrays.
        count: u64,
        /// Bytes of one element.
        element_size: u64,
        /// What one element is.
        element: Box<Shape>,
    },
    /// Anything else: floating point, functions, void.
    Other,
}

/// A struct or union with its fields. Members of anonymous structs and unions are listed as the
/// outer one's own, as C lets one name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// Tag, without keyword.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// A union.
    pub is_union: bool,
    /// Named fields in the order of declaration.
    pub fields: Vec<(String, FieldRef)>,
}

impl StructLayout {
    /// The field of this name, without descending.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldRef> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, f)| f)
    }
}

/// A function's prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncProto {
    /// Parameters in order; the first six that are integers or pointers go in rdi, rsi, rdx, rcx,
    /// r8, r9.
    pub params: Vec<ParamRef>,
    /// In C's spelling.
    pub return_type: String,
    /// Tag of the struct returned or pointed to.
    pub return_struct: Option<String>,
    /// Ends in `...`.
    pub variadic: bool,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamRef {
    /// Empty where the source names none.
    pub name: String,
    /// In C's spelling.
    pub type_name: String,
    /// Tag of the struct passed or pointed to.
    pub struct_name: Option<String>,
}

/// The types of a kernel: vmlinux's and those of its modules.
#[derive(Clone, Debug, Default)]
pub struct Types {
    vmlinux: Option<lookup::Source>,
    modules: Vec<(String, lookup::Source)>,
}

impl Types {
    /// The types of vmlinux.
    #[must_use]
    pub fn new(vmlinux: Arc<Btf>) -> Self {
        Self {
            vmlinux: Some(lookup::Source::new(vmlinux)),
            modules: Vec::new(),
        }
    }

    /// Adds the types of a module, parsed with [`Types::vmlinux`] as its base.
    pub fn add_module(&mut self, name: impl Into<String>, btf: impl Into<Arc<Btf>>) {
        self.modules
            .push((name.into(), lookup::Source::new(btf.into())));
    }

    /// vmlinux's BTF, the base of modules' BTF.
    #[must_use]
    pub fn vmlinux(&self) -> Option<&Arc<Btf>> {
        self.vmlinux.as_ref().map(|s| s.btf())
    }

    /// Names of the modules added.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|(name, _)| &**name)
    }

    /// A type by name: `page`, `struct page`, `enum pid_type`, `gfp_t`. As [`Types::find_struct`], but of any kind,
    /// and with anonymous members where the source has them.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TypeRef<'_>> {
        self.sources()
            .find_map(|source| source.definitions(name).into_iter().next())
            .map(TypeRef::from)
    }

    /// Layout of a struct or union: by tag, with or without keyword, or by typedef. vmlinux's
    /// definition is taken before a module's; forward declarations are none.
    #[must_use]
    pub fn find_struct(&self, name: &str) -> Option<StructLayout> {
        self.definitions(name)
            .find_map(|found| layout::of_struct(&found))
    }

    /// As [`Types::find_struct`], but the definition that `module` has of its own, if it has one.
    #[must_use]
    pub fn find_struct_in(&self, module: &str, name: &str) -> Option<StructLayout> {
        let (_, source) = self.modules.iter().find(|(n, _)| n == module)?;
        source
            .definitions(name)
            .into_iter()
            .find_map(|found| layout::of_struct(&found))
    }

    /// A field by path, as C writes it: `a.b`, `a.b[3].c`. Descends through embedded structs,
    /// arrays, and anonymous members; not through pointers. Indexes are not checked against the
    /// number of elements (flexible arrays have none), only against overflow.
    #[must_use]
    pub fn field(&self, struct_name: &str, path: &str) -> Option<FieldRef> {
        self.definitions(struct_name)
            .find_map(|found| layout::field(&found, path))
    }

    /// Offset in bytes of a field that is no bit field; for `container_of`.
    #[must_use]
    pub fn offset_of(&self, struct_name: &str, path: &str) -> Option<u64> {
        self.field(struct_name, path)
            .filter(|f| f.bits.is_none())
            .map(|f| f.offset)
    }

    /// Bytes of a struct, union, enum, typedef or base type.
    #[must_use]
    pub fn size_of(&self, name: &str) -> Option<u64> {
        self.definitions(name)
            .find_map(|found| layout::size(found.btf, found.id))
    }

    /// Value of an enumerator of any enum. 32-bit values are sign-extended: before 6.0 BTF did not
    /// say whether they are signed.
    #[must_use]
    pub fn enum_value(&self, name: &str) -> Option<i64> {
        self.sources().find_map(|s| s.enum_value(name))
    }

    /// Name of the enumerator with this value in the enum of this tag (or typedef); the first one.
    #[must_use]
    pub fn enum_name(&self, enum_name: &str, value: i64) -> Option<String> {
        self.definitions(enum_name)
            .find_map(|found| layout::enumerator(&found, value))
    }

    /// Prototype of a function that vmlinux or a module defines. Static functions are there too,
    /// unless they were inlined everywhere.
    #[must_use]
    pub fn func_proto(&self, name: &str) -> Option<FuncProto> {
        self.sources().find_map(|s| {
            s.functions(name)
                .into_iter()
                .find_map(|f| layout::prototype(&f))
        })
    }

    /// Type of a per-CPU variable, in C's spelling, as the array or struct that it is. BTF has no other variables
    /// (pahole 1.19 and later write these; kernels since 5.11).
    #[must_use]
    pub fn variable_type(&self, name: &str) -> Option<String> {
        self.sources().find_map(|s| {
            s.variables(name)
                .first()
                .map(|found| spell::spell(found.btf, found.id))
        })
    }

    fn sources(&self) -> impl Iterator<Item = &lookup::Source> {
        self.vmlinux
            .iter()
            .chain(self.modules.iter().map(|(_, s)| s))
    }

    fn definitions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = lookup::Found<'a>> {
        self.sources().flat_map(|s| s.definitions(name))
    }
}
