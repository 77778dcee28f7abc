//! Sizes, fields and prototypes of one type found.
//!
//! Ids may be hostile: every walk counts its steps.

use super::lookup::Found;
use super::spell::spell;
use super::{FieldRef, FuncProto, ParamRef, Shape, StructLayout};
use crate::btf::{Btf, Kind, Member, Type};

/// Typedefs, qualifiers and array levels in a row. The kernel has under ten.
const CHAIN_MAX: usize = 32;
/// Anonymous structs within each other.
const NEST_MAX: u32 = 16;
/// Fields of one struct, anonymous members' included. The kernel's largest have a few hundred.
const FIELDS_MAX: usize = 16_384;
/// Records visited in one search through anonymous members, which may share types.
const VISITS_MAX: usize = 65_536;
const POINTER: u64 = 8;

/// The type behind typedefs and qualifiers.
pub(super) fn strip(btf: &Btf, mut id: u32) -> Option<Type<'_>> {
    for _ in 0..CHAIN_MAX {
        let ty = btf.get(id)?;
        id = match ty.kind {
            Kind::Typedef { target }
            | Kind::Volatile { target }
            | Kind::Const { target }
            | Kind::Restrict { target }
            | Kind::TypeTag { target } => target,
            _ => return Some(ty),
        };
    }
    None
}

/// Bytes of a value of this type. `None` for void, functions, forward declarations and overflow.
pub(super) fn size(btf: &Btf, id: u32) -> Option<u64> {
    let mut elements: u64 = 1;
    let mut id = id;
    for _ in 0..CHAIN_MAX {
        let one: u64 = match strip(btf, id)?.kind {
            Kind::Int { size, .. }
            | Kind::Float { size }
            | Kind::Enum { size, .. }
            | Kind::Struct { size, .. }
            | Kind::Union { size, .. } => size.into(),
            Kind::Ptr { .. } => POINTER,
            Kind::Array { element, count } => {
                elements = elements.checked_mul(count.into())?;
                id = element;
                continue;
            }
            _ => return None,
        };
        return elements.checked_mul(one);
    }
    None
}

fn shape(btf: &Btf, id: u32, depth: u32) -> Shape {
    let (Some(ty), Some(deeper)) = (strip(btf, id), depth.checked_sub(1)) else {
        return Shape::Other;
    };
    match ty.kind {
        Kind::Int { encoding, .. } if encoding.bool => Shape::Bool,
        Kind::Int { encoding, .. } => Shape::Int {
            signed: encoding.signed,
        },
        Kind::Ptr { .. } => Shape::Pointer,
        Kind::Enum { .. } => Shape::Enum,
        Kind::Struct { .. } | Kind::Union { .. } => Shape::Struct,
        Kind::Array { element, count } => Shape::Array {
            count: count.into(),
            element_size: size(btf, element).unwrap_or(0),
            element: Box::new(shape(btf, element, deeper)),
        },
        _ => Shape::Other,
    }
}

/// Tag of the struct that a type is, points to (through any number of `*`), or is an array of.
fn struct_name(btf: &Btf, mut id: u32) -> Option<String> {
    for _ in 0..CHAIN_MAX {
        let ty = strip(btf, id)?;
        match ty.kind {
            Kind::Struct { .. } | Kind::Union { .. } | Kind::Fwd { .. } => {
                return (!ty.name.is_empty()).then(|| ty.name.to_owned());
            }
            Kind::Ptr { target } => id = target,
            Kind::Array { element, .. } => id = element,
            _ => return None,
        }
    }
    None
}

/// A whole type at `offset`, as a field.
fn whole(btf: &Btf, id: u32, offset: u64) -> FieldRef {
    FieldRef {
        offset,
        size: size(btf, id).unwrap_or(0),
        bits: None,
        type_name: spell(btf, id),
        struct_name: struct_name(btf, id),
        shape: shape(btf, id, NEST_MAX),
    }
}

/// A member of a struct that begins `base` bits into the outermost one.
pub(super) fn member_ref(btf: &Btf, member: &Member<'_>, base: u64) -> Option<FieldRef> {
    let at = base.checked_add(member.bit_offset.into())?;
    let mut field = whole(btf, member.target, at / 8);
    let bit_size = match strip(btf, member.target)?.kind {
        _ if member.bit_size != 0 => member.bit_size,
        // Before kind_flag (v4.20) a bit field was an int with fewer bits than its size has.
        Kind::Int { size, encoding } if u32::from(encoding.bits) < size.saturating_mul(8) => {
            encoding.bits
        }
        _ => return Some(field),
    };
    // Storage is counted in units of the declared type, where such a unit holds the whole field.
    let unit = field.size.max(1).checked_mul(8)?;
    let within = at % unit;
    field.offset = (at - within) / 8;
    field.bits = Some((u8::try_from(within).ok()?, bit_size));
    Some(field)
}

fn members<'a>(ty: &'a Type<'a>) -> Option<(u64, bool, &'a [Member<'a>])> {
    match &ty.kind {
        Kind::Struct { size, members } => Some(((*size).into(), false, members)),
        Kind::Union { size, members } => Some(((*size).into(), true, members)),
        _ => None,
    }
}

/// The layout of a struct or union.
pub(super) fn of_struct(found: &Found<'_>) -> Option<StructLayout> {
    let ty = strip(found.btf, found.id)?;
    let (size, is_union, _) = members(&ty)?;
    let mut fields = Vec::new();
    collect(found.btf, &ty, 0, NEST_MAX, &mut fields, &mut {
        VISITS_MAX
    });
    // A struct known by its typedef only has no tag.
    let own = found.btf.get(found.id).map_or("", |t| t.name);
    let name = if ty.name.is_empty() { own } else { ty.name };
    Some(StructLayout {
        name: name.to_owned(),
        size,
        is_union,
        fields,
    })
}

/// Appends the named members of `ty`, which begins `base` bits in; anonymous ones' in their place.
fn collect(
    btf: &Btf,
    ty: &Type<'_>,
    base: u64,
    depth: u32,
    fields: &mut Vec<(String, FieldRef)>,
    visits: &mut usize,
) -> Option<()> {
    let (_, _, list) = members(ty)?;
    let deeper = depth.checked_sub(1)?;
    for member in list {
        *visits = visits.checked_sub(1)?;
        if fields.len() >= FIELDS_MAX {
            return None;
        }
        if member.name.is_empty() {
            let at = base.checked_add(member.bit_offset.into())?;
            collect(btf, &strip(btf, member.target)?, at, deeper, fields, visits);
        } else if let Some(field) = member_ref(btf, member, base) {
            fields.push((member.name.to_owned(), field));
        }
    }
    Some(())
}

/// The field at `path`; see [`super::Types::field`].
pub(super) fn field(found: &Found<'_>, path: &str) -> Option<FieldRef> {
    let btf = found.btf;
    let (mut id, mut base, mut last) = (found.id, 0u64, None);
    for step in path.split('.') {
        let (name, indexes) = step.split_at(step.find('[').unwrap_or(step.len()));
        let ty = strip(btf, id)?;
        let (target, field) = named(btf, &ty, name, base, NEST_MAX, &mut { VISITS_MAX })?;
        (id, base) = (target, field.offset.checked_mul(8)?);
        last = Some(field);
        for index in indexes.split_terminator(']') {
            let index: u64 = index.strip_prefix('[')?.parse().ok()?;
            let Kind::Array { element, .. } = strip(btf, id)?.kind else {
                return None;
            };
            let bytes = index.checked_mul(size(btf, element)?)?;
            (id, base) = (element, base.checked_add(bytes.checked_mul(8)?)?);
            last = Some(whole(btf, id, base / 8));
        }
    }
    last
}

/// The member called `name`, through anonymous members, with its type's id.
fn named(
    btf: &Btf,
    ty: &Type<'_>,
    name: &str,
    base: u64,
    depth: u32,
    visits: &mut usize,
) -> Option<(u32, FieldRef)> {
    let (_, _, list) = members(ty)?;
    let deeper = depth.checked_sub(1)?;
    if name.is_empty() {
        return None;
    }
    for member in list {
        *visits = visits.checked_sub(1)?;
        if member.name == name {
            return Some((member.target, member_ref(btf, member, base)?));
        }
        if member.name.is_empty() {
            let at = base.checked_add(member.bit_offset.into())?;
            let inner = strip(btf, member.target);
            let found = inner.and_then(|inner| named(btf, &inner, name, at, deeper, visits));
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The first enumerator with this value.
pub(super) fn enumerator(found: &Found<'_>, value: i64) -> Option<String> {
    let Kind::Enum { values, .. } = strip(found.btf, found.id)?.kind else {
        return None;
    };
    values
        .iter()
        .find(|v| v.value == value)
        .map(|v| v.name.to_owned())
}

/// The prototype with this id.
pub(super) fn prototype(found: &Found<'_>) -> Option<FuncProto> {
    let btf = found.btf;
    let Kind::FuncProto { returns, params } = btf.get(found.id)?.kind else {
        return None;
    };
    let variadic = params
        .last()
        .is_some_and(|p| p.target == 0 && p.name.is_empty());
    let named = params.len() - usize::from(variadic);
    let param = |p: &crate::btf::Param<'_>| ParamRef {
        name: p.name.to_owned(),
        type_name: spell(btf, p.target),
        struct_name: struct_name(btf, p.target),
    };
    Some(FuncProto {
        params: params.iter().take(named).map(param).collect(),
        return_type: spell(btf, returns),
        return_struct: struct_name(btf, returns),
        variadic,
    })
}
