//! Names like one that does not exist: for the hint that goes with the error.
use recrash_debuginfo::btf::Kind;
use recrash_debuginfo::types::{Form, TypeRef};
use recrash_kernel::Kernel;

/// Names in one hint.
const SHOWN: usize = 4;
/// A beginning of fewer characters says too little.
const PREFIX_MIN: usize = 4;
/// No C name that someone typed is longer.
const NAME_MAX: usize = 128;

/// The names nearest to `wanted`: those that begin with it, and those a few letters apart; the nearest first.
pub(super) fn names<'n>(wanted: &str, known: impl Iterator<Item = &'n str>) -> Vec<String> {
    if wanted.is_empty() || wanted.len() > NAME_MAX {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|name| Some((distance(wanted, name)?, name)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(SHOWN)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Letters to change; `None` for names that have nothing to do with each other.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let apart = wanted.len().abs_diff(name.len());
    let allowed = (wanted.len() / 4).clamp(1, 3);
    if wanted.len() >= PREFIX_MIN && name.starts_with(wanted) {
        return Some(apart.min(allowed));
    }
    if name.is_empty() || apart > allowed {
        return None;
    }
    Some(strsim::osa_distance(wanted, name)).filter(|distance| *distance <= allowed)
}

/// `did you mean a, b?`, or nothing.
pub(super) fn hint(names: &[String]) -> Option<String> {
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

/// Types of the kernel image with a name like this one.
pub(super) fn types(kernel: &Kernel<'_>, wanted: &str) -> Vec<String> {
    let tag = wanted.rsplit(' ').next().unwrap_or(wanted);
    let Some(btf) = kernel.types().vmlinux() else {
        return Vec::new();
    };
    let known = btf.own_ids().filter_map(|id| {
        let found = btf.get(id)?;
        let shown = matches!(
            found.kind,
            Kind::Struct { .. } | Kind::Union { .. } | Kind::Enum { .. } | Kind::Typedef { .. }
        );
        shown.then_some(found.name)
    });
    names(tag, known)
}

/// Members of a struct or union, those of anonymous ones included, with a name like this one.
pub(super) fn members(of: TypeRef<'_>, wanted: &str) -> Vec<String> {
    let mut known = Vec::new();
    collect(of, 8, &mut known);
    let wanted = wanted.split(['.', '[']).next().unwrap_or(wanted);
    names(wanted, known.iter().copied())
}

fn collect<'a>(of: TypeRef<'a>, depth: u32, known: &mut Vec<&'a str>) {
    let (Form::Aggregate { members, .. }, Some(deeper)) = (of.form(), depth.checked_sub(1)) else {
        return;
    };
    for member in members {
        match member.name {
            "" => collect(member.of, deeper, known),
            name => known.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, known: &[&str], expected: &[&str]) {
        assert_eq!(names(wanted, known.iter().copied()), expected, "{wanted}");
    }

    #[test]
    fn near_names_come_first_and_far_ones_not_at_all() {
        check(
            "task_strct",
            &["task_struct", "page", "task_group"],
            &["task_struct"],
        );
        check(
            "kmem_cach",
            &["kmem_cache_cpu", "kmem_cache"],
            &["kmem_cache", "kmem_cache_cpu"],
        );
        check("nosuchthing", &["page", "list_head"], &[]);
        check("", &["", "a"], &[]);
    }

    #[test]
    fn a_hint_is_a_question() {
        assert_eq!(hint(&[]), None);
        assert_eq!(
            hint(&["a".into(), "b".into()]).as_deref(),
            Some("did you mean a or b?")
        );
    }
}
