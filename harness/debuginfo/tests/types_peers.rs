//! Types converted from DWARF against the BTF that pahole put into the same vmlinux: every struct, union and enum
//! of it, with its size, the offsets and sizes of its members, and their types.
//!
//! Runs where `RECRASH_VMLINUX` names a vmlinux with DWARF and BTF; elsewhere it says why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use recrash_debuginfo::btf::{Btf, Kind};
use recrash_debuginfo::dwarf::Dwarf;
use recrash_debuginfo::types::Types;
use recrash_debuginfo::vmlinux::Vmlinux;

fn map(path: &Path) -> memmap2::Mmap {
    let file = std::fs::File::open(path).unwrap();
    #[expect(unsafe_code, reason = "the file is not written to while the test runs")]
    // SAFETY: as the reason says.
    unsafe {
        memmap2::Mmap::map(&file).unwrap()
    }
}

/// What must be equal of a type: size, and name, place and bits of each member.
type Layout = (char, u32, Vec<(String, i64, u8)>);

/// Layouts by name; one name may have several.
fn layouts(btf: &Btf) -> BTreeMap<String, Vec<Layout>> {
    let mut all: BTreeMap<String, Vec<Layout>> = BTreeMap::new();
    for id in btf.own_ids() {
        let ty = btf.get(id).unwrap();
        let members = |members: &[recrash_debuginfo::btf::Member<'_>]| {
            let row = |m: &recrash_debuginfo::btf::Member<'_>| {
                (m.name.to_owned(), m.bit_offset.into(), m.bit_size)
            };
            members.iter().map(row).collect()
        };
        let layout = match &ty.kind {
            Kind::Struct { size, members: m } => ('s', *size, members(m)),
            Kind::Union { size, members: m } => ('u', *size, members(m)),
            Kind::Enum { size, values } if !values.is_empty() => {
                let rows = values.iter().map(|v| (v.name.to_owned(), v.value, 0));
                ('e', *size, rows.collect())
            }
            _ => continue,
        };
        if !ty.name.is_empty() {
            all.entry(ty.name.to_owned()).or_default().push(layout);
        }
    }
    all
}

/// Equal, but for values of 64 bits that BTF could not say before 6.0.
fn same(ours: &Layout, theirs: &Layout) -> bool {
    let cut = |layout: &Layout| {
        let mut layout = layout.clone();
        if layout.0 == 'e' && layout.1 == 8 {
            layout.2.iter_mut().for_each(|row| row.1 &= 0xffff_ffff);
        }
        layout
    };
    ours == theirs || cut(ours) == cut(theirs)
}

/// A type without the dimensions of arrays, which pahole up to 1.24 made one of.
fn flat(spelling: &str) -> String {
    let mut parts = spelling.split(['[', ']']).filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default();
    let product: u64 = parts.map(|n| n.parse::<u64>().unwrap_or(0)).product();
    format!("{name}[{product}]")
}

/// The spelt types of a struct's fields, where the name has one definition.
fn spelt(types: &Types, name: &str) -> Option<Vec<(String, String)>> {
    let layout = types.find_struct(name)?;
    let fields = layout.fields.into_iter();
    Some(
        fields
            .map(|(name, field)| (name, field.type_name))
            .collect(),
    )
}

#[test]
fn converted_types_are_those_of_pahole() {
    let Some(path) = std::env::var_os("RECRASH_VMLINUX").map(PathBuf::from) else {
        eprintln!("skipped: RECRASH_VMLINUX is not set");
        return;
    };
    let bytes = map(&path);
    let vmlinux = Vmlinux::parse(&bytes).unwrap();
    let Some((_, peer)) = vmlinux.section(".BTF") else {
        eprintln!("skipped: the vmlinux has no BTF");
        return;
    };
    let theirs = Arc::new(Btf::parse(peer, None).unwrap());
    let begin = std::time::Instant::now();
    let conversion = Dwarf::parse(map(&path))
        .unwrap()
        .to_btf(&|_, _| {})
        .unwrap();
    eprintln!(
        "{} units in {:?}, {} bytes of BTF (pahole's has {}), skipped {:?}, omitted {}",
        conversion.units,
        begin.elapsed(),
        conversion.btf.len(),
        peer.len(),
        conversion.skipped,
        conversion.omitted
    );
    let ours = Arc::new(Btf::parse(conversion.btf, None).unwrap());
    let (our, their) = (layouts(&ours), layouts(&theirs));
    let mut missing = Vec::new();
    let mut different = Vec::new();
    let mut equal = 0;
    for (name, layouts) in &their {
        let Some(found) = our.get(name) else {
            missing.push(name);
            continue;
        };
        for layout in layouts {
            if found.iter().any(|found| same(found, layout)) {
                equal += 1;
            } else {
                different.push((name, layout, found));
            }
        }
    }
    eprintln!(
        "{equal} layouts are equal, {} differ, {} are missing, {} are ours alone",
        different.len(),
        missing.len(),
        our.keys().filter(|name| !their.contains_key(*name)).count()
    );
    for row in different.iter().take(10) {
        eprintln!("{row:?}");
    }
    eprintln!("missing: {missing:?}");
    let (our_types, their_types) = (Types::new(ours.clone()), Types::new(theirs));
    let mut fields = 0;
    let mut other_types = Vec::new();
    for name in their.keys().filter(|name| their[*name].len() == 1) {
        let (Some(a), Some(b)) = (spelt(&our_types, name), spelt(&their_types, name)) else {
            continue;
        };
        fields += b.len();
        let same =
            |a: &(String, String), b: &(String, String)| a.0 == b.0 && flat(&a.1) == flat(&b.1);
        other_types.extend(
            a.into_iter()
                .zip(b)
                .filter(|(a, b)| !same(a, b))
                .map(|d| (name, d)),
        );
    }
    eprintln!("{fields} fields, the types of {} differ", other_types.len());
    for row in other_types.iter().take(20) {
        eprintln!("{row:?}");
    }
    // pahole takes one of several functions of a name; so only what both have can be compared, and there the
    // header's inline version of a string function is what it may have taken.
    let (mut equal, mut ours_alone, mut theirs_alone) = (0, 0, 0);
    let mut other_functions = Vec::new();
    for id in their_types.vmlinux().unwrap().own_ids() {
        let ty = their_types.vmlinux().unwrap().get(id).unwrap();
        if !matches!(ty.kind, Kind::Func { .. }) {
            continue;
        }
        let spell = |types: &Types| {
            let proto = types.func_proto(ty.name)?;
            let params: Vec<String> = proto.params.into_iter().map(|p| p.type_name).collect();
            Some((params, proto.return_type, proto.variadic))
        };
        match (spell(&our_types), spell(&their_types)) {
            (Some(a), Some(b)) if a == b => equal += 1,
            (Some(a), Some(b)) => other_functions.push((ty.name.to_owned(), a, b)),
            _ => theirs_alone += 1,
        }
    }
    for id in ours.own_ids() {
        let ty = ours.get(id).unwrap();
        let function = matches!(ty.kind, Kind::Func { .. });
        ours_alone += usize::from(function && their_types.func_proto(ty.name).is_none());
    }
    eprintln!(
        "{equal} prototypes are equal, {} differ, {ours_alone} are ours alone, {theirs_alone} pahole's alone",
        other_functions.len()
    );
    for row in other_functions.iter().take(30) {
        eprintln!("{row:?}");
    }
    assert!(other_functions.len() * 200 <= equal);
    assert!(different.is_empty() && missing.is_empty());
    assert!(other_types.len() * 1000 <= fields);
}
