//! Writes types as C does.

use crate::btf::{Btf, Kind, Param};

/// Real kernel types need about ten; this ends cycles.
const DEPTH_MAX: u32 = 24;
/// Longest spelling; function pointers taking function pointers could grow without end.
const LEN_MAX: usize = 1024;
/// What stands where a type cannot be told.
const UNKNOWN: &str = "?";

/// The C spelling of a type, without a variable's name.
pub(super) fn spell(btf: &Btf, id: u32) -> String {
    let mut budget = LEN_MAX;
    declare(btf, id, String::new(), DEPTH_MAX, &mut budget)
}

/// The C declaration of `name` as of this type: `struct page *pages[4]`.
pub(super) fn declaration(btf: &Btf, id: u32, name: &str) -> String {
    let mut budget = LEN_MAX;
    declare(btf, id, name.to_owned(), DEPTH_MAX, &mut budget)
}

/// Spells `id` around `declarator`, outermost type last as in C. `budget` is the number of types
/// still to be spelled, so that branching prototypes cannot blow up.
fn declare(btf: &Btf, id: u32, declarator: String, depth: u32, budget: &mut usize) -> String {
    let (Some(deeper), Some(left)) = (depth.checked_sub(1), budget.checked_sub(1)) else {
        return join(UNKNOWN, &declarator);
    };
    *budget = left;
    if declarator.len() > LEN_MAX {
        return UNKNOWN.into();
    }
    let Some(ty) = btf.get(id) else {
        return join(UNKNOWN, &declarator);
    };
    let mut go = |target, declarator| declare(btf, target, declarator, deeper, budget);
    match ty.kind {
        Kind::Void => join("void", &declarator),
        Kind::Int { .. } | Kind::Float { .. } | Kind::Typedef { .. } => join(ty.name, &declarator),
        Kind::Struct { .. } => join(&tagged("struct", ty.name), &declarator),
        Kind::Union { .. } => join(&tagged("union", ty.name), &declarator),
        Kind::Enum { .. } => join(&tagged("enum", ty.name), &declarator),
        Kind::Fwd { is_union: true } => join(&tagged("union", ty.name), &declarator),
        Kind::Fwd { is_union: false } => join(&tagged("struct", ty.name), &declarator),
        Kind::Const { target } => qualified(btf, target, "const", declarator, &mut go),
        Kind::Volatile { target } => qualified(btf, target, "volatile", declarator, &mut go),
        Kind::Restrict { target } => qualified(btf, target, "restrict", declarator, &mut go),
        Kind::TypeTag { target } => go(target, declarator),
        Kind::Ptr { target } if wants_parentheses(btf, target) => {
            go(target, format!("(*{declarator})"))
        }
        Kind::Ptr { target } => go(target, format!("*{declarator}")),
        Kind::Array { element, count } => go(element, format!("{declarator}[{count}]")),
        Kind::FuncProto { returns, params } => {
            let list = parameters(btf, &params, deeper, budget);
            declare(
                btf,
                returns,
                format!("{declarator}({list})"),
                deeper,
                budget,
            )
        }
        Kind::Func { .. } | Kind::Var { .. } | Kind::Datasec { .. } | Kind::DeclTag { .. } => {
            join(UNKNOWN, &declarator)
        }
    }
}

fn parameters(btf: &Btf, params: &[Param<'_>], depth: u32, budget: &mut usize) -> String {
    if params.is_empty() {
        return "void".into();
    }
    let mut list = String::new();
    for param in params {
        if !list.is_empty() {
            list.push_str(", ");
        }
        let variadic = param.target == 0 && param.name.is_empty();
        let spelled = if variadic {
            "...".into()
        } else {
            declare(btf, param.target, String::new(), depth, budget)
        };
        list.push_str(&spelled);
        if list.len() > LEN_MAX {
            return UNKNOWN.into();
        }
    }
    list
}

/// A qualifier goes before a base type but after the `*` of a pointer.
fn qualified(
    btf: &Btf,
    target: u32,
    word: &str,
    declarator: String,
    go: &mut impl FnMut(u32, String) -> String,
) -> String {
    match btf.get(target).map(|t| t.kind) {
        Some(Kind::Ptr { .. }) => {
            let gap = if declarator.is_empty() { "" } else { " " };
            go(target, format!(" {word}{gap}{declarator}"))
        }
        _ => format!("{word} {}", go(target, declarator)),
    }
}

fn wants_parentheses(btf: &Btf, target: u32) -> bool {
    matches!(
        btf.get(target).map(|t| t.kind),
        Some(Kind::Array { .. } | Kind::FuncProto { .. })
    )
}

fn tagged(keyword: &str, tag: &str) -> String {
    if tag.is_empty() {
        format!("{keyword} {{...}}")
    } else {
        format!("{keyword} {tag}")
    }
}

fn join(base: &str, declarator: &str) -> String {
    match declarator.chars().next() {
        Some(c) if matches!(c, '*' | '(' | '_') || c.is_alphanumeric() => {
            format!("{base} {declarator}")
        }
        _ => format!("{base}{declarator}"),
    }
}
