//! Finds types by name in one BTF.
//!
//! C's name spaces are kept apart: `struct x`, `union x`, `enum x` and the typedef `x` may differ.

use std::sync::{Arc, OnceLock};

use crate::btf::{Btf, Kind};
use crate::name_index::NameIndex;

/// A BTF with an index of its enumerators, built when first asked for.
#[derive(Clone, Debug)]
pub(super) struct Source {
    btf: Arc<Btf>,
    enumerators: OnceLock<NameIndex>,
}

/// A type found: id and the BTF to look ids up in.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) btf: &'a Btf,
    pub(super) id: u32,
}

impl Source {
    pub(super) fn new(btf: Arc<Btf>) -> Self {
        Self {
            btf,
            enumerators: OnceLock::new(),
        }
    }

    pub(super) fn btf(&self) -> &Arc<Btf> {
        &self.btf
    }

    /// Definitions of a type, structs and unions first, then enums, then typedefs and base types.
    pub(super) fn definitions(&self, name: &str) -> Vec<Found<'_>> {
        let (keyword, tag) = match name.split_once(' ') {
            Some((word @ ("struct" | "union" | "enum"), tag)) => (Some(word), tag.trim()),
            _ => (None, name),
        };
        let mut found: Vec<(u8, u32)> = Vec::new();
        for ty in self.btf.own_named(tag) {
            let (space, word) = match ty.kind {
                Kind::Struct { .. } => (0, Some("struct")),
                Kind::Union { .. } => (0, Some("union")),
                Kind::Enum { .. } => (1, Some("enum")),
                Kind::Typedef { .. } | Kind::Int { .. } | Kind::Float { .. } => (2, None),
                _ => continue,
            };
            if keyword.is_none() || keyword == word {
                found.push((space, ty.id));
            }
        }
        found.sort_unstable();
        found
            .into_iter()
            .map(|(_, id)| Found { btf: &self.btf, id })
            .collect()
    }

    /// Functions of this name, as their prototypes' ids.
    pub(super) fn functions(&self, name: &str) -> Vec<Found<'_>> {
        let proto = |kind: &Kind<'_>| {
            if let Kind::Func { proto } = *kind {
                Some(proto)
            } else {
                None
            }
        };
        let protos = self.btf.own_named(name).filter_map(|t| proto(&t.kind));
        protos.map(|id| Found { btf: &self.btf, id }).collect()
    }

    /// Variables of this name, as their types' ids.
    pub(super) fn variables(&self, name: &str) -> Vec<Found<'_>> {
        let target = |kind: &Kind<'_>| match *kind {
            Kind::Var { target } => Some(target),
            _ => None,
        };
        let types = self.btf.own_named(name).filter_map(|t| target(&t.kind));
        types.map(|id| Found { btf: &self.btf, id }).collect()
    }

    pub(super) fn enum_value(&self, name: &str) -> Option<i64> {
        let index = self
            .enumerators
            .get_or_init(|| index_enumerators(&self.btf));
        index
            .candidates(name)
            .find_map(|id| match self.btf.get(id)?.kind {
                Kind::Enum { values, .. } => {
                    values.iter().find(|v| v.name == name).map(|v| v.value)
                }
                _ => None,
            })
    }
}

fn index_enumerators(btf: &Btf) -> NameIndex {
    let names = btf
        .own_ids()
        .flat_map(|id| match btf.get(id).map(|t| t.kind) {
            Some(Kind::Enum { values, .. }) => {
                values.iter().map(|v| (v.name.as_bytes(), id)).collect()
            }
            _ => Vec::new(),
        });
    NameIndex::new(names)
}
