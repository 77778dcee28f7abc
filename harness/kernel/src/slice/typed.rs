//! Types as C spells them, and which field of a structure an access goes to.
//! Spellings are enough to follow pointers: they come from BTF or DWARF alike.
use recrash_debuginfo::types::{FieldRef, Shape, StructLayout, Types};
use std::collections::HashMap;
use std::rc::Rc;

/// Structures within structures.
const MAX_NESTING: usize = 12;

/// A field found by offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldAt {
    /// `struct.field`, down through embedded structures: `kmem_cache_cpu.freelist`.
    pub(super) path: String,
    /// Its type.
    pub(super) type_name: String,
    /// Bytes from the field's start.
    pub(super) rest: u64,
    /// The field's size in bytes.
    pub(super) size: u64,
}

/// Layouts asked for before.
#[derive(Default)]
pub(super) struct Layouts(HashMap<String, Option<Rc<StructLayout>>>);

impl Layouts {
    fn get(&mut self, types: &Types, tag: &str) -> Option<Rc<StructLayout>> {
        if let Some(known) = self.0.get(tag) {
            return known.clone();
        }
        let found = types.find_struct(tag).map(Rc::new);
        self.0.insert(tag.to_string(), found.clone());
        found
    }

    /// The field of structure `tag` at `offset` that an access of `size` bytes reaches (0: any size).
    pub(super) fn field(
        &mut self,
        types: &Types,
        tag: &str,
        offset: u64,
        size: u32,
    ) -> Option<FieldAt> {
        let mut found = FieldAt {
            path: tag.to_string(),
            type_name: String::new(),
            rest: offset,
            size: 0,
        };
        let mut tag = tag.to_string();
        for depth in 0..MAX_NESTING {
            let Some(layout) = self.get(types, &tag) else {
                return (depth > 0).then_some(found);
            };
            let Some((name, field)) = best(&layout, found.rest, size.into()) else {
                return (depth > 0).then_some(found);
            };
            found.path.push('.');
            found.path.push_str(name);
            found.rest = found.rest.checked_sub(field.offset)?;
            found.size = field.size;
            found.type_name.clone_from(&field.type_name);
            let inner = into_array(&mut found, field);
            match (inner, &field.struct_name) {
                (Shape::Struct, Some(next)) if size != 0 || found.rest != 0 => {
                    tag.clone_from(next);
                }
                _ => return Some(found),
            }
        }
        Some(found)
    }
}

/// Goes on to the element of an array that the offset lies in.
fn into_array(found: &mut FieldAt, field: &FieldRef) -> Shape {
    let mut shape = field.shape.clone();
    while let Shape::Array {
        element_size,
        element,
        ..
    } = shape
    {
        let Some(index) = found.rest.checked_div(element_size) else {
            return Shape::Other;
        };
        found.path.push_str(&format!("[{index}]"));
        found.rest = found.rest.checked_rem(element_size).unwrap_or(0);
        found.size = element_size;
        if let Some((before, after)) = found.type_name.split_once('[') {
            let after = after.split_once(']').map_or("", |(_, after)| after);
            found.type_name = format!("{before}{after}").trim_end().to_string();
        }
        shape = *element;
    }
    shape
}

/// The field at an offset: one of exactly this size before one that holds it, the first of a union's.
fn best(layout: &StructLayout, offset: u64, size: u64) -> Option<(&str, &FieldRef)> {
    let holds = |field: &FieldRef| {
        let flexible = field.size == 0 && field.offset <= offset && is_array(field);
        flexible
            || offset
                .checked_sub(field.offset)
                .is_some_and(|rest| rest < field.size)
    };
    let rank = |field: &FieldRef| {
        let exact = field.offset == offset && (size == 0 || field.size == size);
        let inside =
            size == 0 || field.offset.saturating_add(field.size) >= offset.saturating_add(size);
        (!exact, field.bits.is_some(), !inside, field.size == 0)
    };
    layout
        .fields
        .iter()
        .filter(|(_, field)| holds(field))
        .min_by_key(|(_, field)| rank(field))
        .map(|(name, field)| (name.as_str(), field))
}

fn is_array(field: &FieldRef) -> bool {
    matches!(field.shape, Shape::Array { .. })
}

/// Without qualifiers.
pub(super) fn plain(type_name: &str) -> String {
    let words: Vec<&str> = type_name
        .split_whitespace()
        .filter(|word| !matches!(*word, "const" | "volatile" | "restrict"))
        .collect();
    words.join(" ")
}

/// What a pointer type points at; `None` for what is no pointer to data.
pub(super) fn pointee(type_name: &str) -> Option<String> {
    let plain = plain(type_name);
    if plain.contains('(') {
        return None;
    }
    plain.strip_suffix('*').map(|to| to.trim_end().to_string())
}

/// The structure that a pointer type points at, without keyword.
pub(super) fn pointed_struct(type_name: &str) -> Option<String> {
    let to = pointee(type_name)?;
    if to.ends_with('*') {
        return None;
    }
    let tag = to
        .strip_prefix("struct ")
        .or_else(|| to.strip_prefix("union "))
        .unwrap_or(&to);
    Some(tag.to_string())
}

/// The type of a pointer to this one.
pub(super) fn pointer_to(type_name: &str) -> String {
    if type_name.ends_with('*') {
        format!("{type_name}*")
    } else {
        format!("{type_name} *")
    }
}

/// A function's name without what the compiler appended, and whether its parameters are still those of the
/// source: `.isra` changes them, `.constprop` and `.part` may drop or add some.
pub(super) fn source_name(symbol: &str) -> (&str, bool) {
    let Some((name, suffix)) = symbol.split_once('.') else {
        return (symbol, true);
    };
    let changed = ["isra", "constprop", "part"]
        .iter()
        .any(|word| suffix.contains(word));
    (name, !changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_followed_by_their_spelling() {
        assert_eq!(
            pointed_struct("const struct kmem_cache *").as_deref(),
            Some("kmem_cache")
        );
        assert_eq!(pointed_struct("struct page **"), None);
        assert_eq!(pointee("void **").as_deref(), Some("void *"));
        assert_eq!(pointee("void (*)(struct urb *)"), None);
        assert_eq!(pointee("unsigned int"), None);
        assert_eq!(pointer_to("void *"), "void **");
    }

    #[test]
    fn a_clones_parameters_are_not_those_of_the_source() {
        assert_eq!(source_name("kmalloc_slab"), ("kmalloc_slab", true));
        assert_eq!(source_name("a.isra.0"), ("a", false));
        assert_eq!(source_name("a.constprop.3"), ("a", false));
        assert_eq!(source_name("a.cold"), ("a", true));
        assert_eq!(source_name("a.part.1.cold"), ("a", false));
    }
}
