//! Writes BTF for a handful of structures whose layout is known from elsewhere, so that the same questions can be
//! asked of them. No deduplication and no forward references: a structure comes after those inside it.

const MAGIC: u16 = 0xeb9f;
const HEADER: u32 = 24;
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
/// `kind_flag`: member offsets hold the width of bit fields.
const KIND_FLAG: u32 = 1 << 31;

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Unsigned integer of 1, 2, 4 or 8 bytes.
    Unsigned(u32),
    /// Signed integer of 1, 2, 4 or 8 bytes.
    Signed(u32),
    /// `void *`.
    Pointer,
    /// `char[n]`.
    Chars(u32),
    /// A structure given before.
    Struct(&'static str),
    /// A bit field of an `unsigned int`: its first bit from the start of the structure, and its width.
    Bits(u32, u8),
}

/// A field: name, bytes from the start of the structure, what it is.
pub type FieldSpec = (&'static str, u32, FieldKind);

/// A structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructSpec {
    /// Tag, without keyword.
    pub name: &'static str,
    /// Bytes.
    pub size: u32,
    /// Its fields. Bit fields ignore the offset in bytes.
    pub fields: Vec<FieldSpec>,
}

/// BTF that has these structures. A field whose structure was not given before is left out.
#[must_use]
pub fn build(structs: &[StructSpec]) -> Vec<u8> {
    let mut out = Builder::default();
    out.string("");
    for spec in structs {
        let members: Vec<_> = spec
            .fields
            .iter()
            .filter_map(|(name, offset, kind)| Some((*name, out.place(*offset, *kind)?)))
            .collect();
        let vlen = u32::try_from(members.len()).unwrap_or(0) & 0xffff;
        let name = out.string(spec.name);
        let mut words = Vec::new();
        for (name, (id, place)) in members {
            words.extend([out.string(name), id, place]);
        }
        let id = out.record(name, STRUCT << 24 | KIND_FLAG | vlen, spec.size, &words);
        out.structs.push((spec.name, id));
    }
    out.finish()
}

#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    next: u32,
    structs: Vec<(&'static str, u32)>,
    others: Vec<(FieldKind, u32)>,
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        let at = u32::try_from(self.strings.len()).unwrap_or(0);
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn record(&mut self, name: u32, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        for word in [name, info, size_or_type].iter().chain(rest) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.next += 1;
        self.next
    }

    /// Type id, and the word that says where the field lies.
    fn place(&mut self, offset: u32, kind: FieldKind) -> Option<(u32, u32)> {
        if let FieldKind::Bits(first, width) = kind {
            let id = self.id(FieldKind::Unsigned(4))?;
            return Some((id, (first & 0x00ff_ffff) | u32::from(width) << 24));
        }
        Some((self.id(kind)?, offset.checked_mul(8)? & 0x00ff_ffff))
    }

    fn id(&mut self, kind: FieldKind) -> Option<u32> {
        if let FieldKind::Struct(wanted) = kind {
            let found = self.structs.iter().find(|(name, _)| *name == wanted);
            return found.map(|(_, id)| *id);
        }
        if let Some((_, id)) = self.others.iter().find(|(known, _)| *known == kind) {
            return Some(*id);
        }
        let id = match kind {
            FieldKind::Unsigned(size) => self.integer(size, false),
            FieldKind::Signed(size) => self.integer(size, true),
            FieldKind::Pointer => self.record(0, PTR << 24, 0, &[]),
            FieldKind::Chars(count) => {
                let element = self.id(FieldKind::Unsigned(1))?;
                self.record(0, ARRAY << 24, 0, &[element, element, count])
            }
            FieldKind::Struct(_) | FieldKind::Bits(..) => return None,
        };
        self.others.push((kind, id));
        Some(id)
    }

    fn integer(&mut self, size: u32, signed: bool) -> u32 {
        let spelled = match (size, signed) {
            (1, false) => "unsigned char",
            (1, true) => "signed char",
            (2, false) => "unsigned short",
            (2, true) => "short",
            (4, false) => "unsigned int",
            (4, true) => "int",
            (_, false) => "unsigned long",
            (_, true) => "long",
        };
        let name = self.string(spelled);
        self.record(
            name,
            INT << 24,
            size,
            &[(u32::from(signed) << 24) | (size * 8)],
        )
    }

    fn finish(self) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(0);
        let (types, strings) = (len(&self.types), len(&self.strings));
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend_from_slice(&[1, 0]);
        for word in [HEADER, 0, types, types, strings] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Btf;
    use crate::types::Types;
    use std::sync::Arc;

    fn check(types: &Types, of: &str, path: &str, expected: (u64, u64, Option<(u8, u8)>)) {
        let field = types.field(of, path).unwrap();
        assert_eq!(
            (field.offset, field.size, field.bits),
            expected,
            "{of}.{path}"
        );
    }

    #[test]
    fn what_was_given_is_what_can_be_asked() {
        let specs = [
            StructSpec {
                name: "thread",
                size: 16,
                fields: vec![("sp", 8, FieldKind::Unsigned(8))],
            },
            StructSpec {
                name: "task",
                size: 64,
                fields: vec![
                    ("pid", 4, FieldKind::Signed(4)),
                    ("comm", 8, FieldKind::Chars(16)),
                    ("stack", 24, FieldKind::Pointer),
                    ("thread", 32, FieldKind::Struct("thread")),
                    ("objects", 0, FieldKind::Bits(48 * 8 + 16, 15)),
                    ("unknown", 56, FieldKind::Struct("nowhere")),
                ],
            },
        ];
        let types = Types::new(Arc::new(Btf::parse(build(&specs), None).unwrap()));
        check(&types, "task", "pid", (4, 4, None));
        check(&types, "task", "comm", (8, 16, None));
        check(&types, "task", "stack", (24, 8, None));
        check(&types, "task", "thread.sp", (40, 8, None));
        check(&types, "task", "objects", (48, 4, Some((16, 15))));
        assert_eq!(types.field("task", "unknown"), None);
        assert_eq!(types.size_of("task"), Some(64));
    }
}
