//! Tests on BTF written by recrash-synth.

use super::*;
use proptest::prelude::*;
use recrash_synth::btf::{BtfWriter, MemberSpec};

/// Structs as the kernel has them: nested, anonymous, arrays, bit fields, function pointers.
fn kernel() -> BtfWriter {
    let mut w = BtfWriter::new();
    let int = w.int("int", 4, true);
    let unsigned = w.int("unsigned int", 4, false);
    let char = w.int("char", 1, true);
    let void_pointer = w.pointer(0);
    let comm = w.array(char, 16);
    let text = w.constant(char);
    let text = w.pointer(text);
    let fwd = w.forward("urb");
    let urb_pointer = w.pointer(fwd);
    let callback = w.prototype(0, &[("", urb_pointer)]);
    let callback = w.pointer(callback);
    let callback = w.typedef("usb_complete_t", callback);
    let plain = w.prototype(int, &[("", text), ("", 0)]);
    let plain = w.pointer(plain);
    let counters = w.structure(
        "",
        4,
        &[
            MemberSpec::bits(0, 16, "inuse", unsigned),
            MemberSpec::bits(16, 15, "objects", unsigned),
            MemberSpec::bits(31, 1, "frozen", unsigned),
        ],
    );
    let state = w.union(
        "",
        8,
        &[
            MemberSpec::at(0, "counters", void_pointer),
            MemberSpec::at(0, "", counters),
        ],
    );
    let slab = w.structure(
        "slab",
        24,
        &[
            MemberSpec::at(0, "freelist", void_pointer),
            MemberSpec::at(8, "", state),
            MemberSpec::at(16, "complete", callback),
        ],
    );
    let slab_pointer = w.pointer(slab);
    let slabs = w.array(slab, 2);
    let constant = w.constant(slab_pointer);
    w.structure(
        "task",
        96,
        &[
            MemberSpec::at(0, "comm", comm),
            MemberSpec::at(16, "slabs", slabs),
            MemberSpec::at(64, "slab", slab_pointer),
            MemberSpec::at(72, "name", text),
            MemberSpec::at(80, "print", plain),
            MemberSpec::at(88, "fixed", constant),
        ],
    );
    w.enumeration("pageflags", &[("PG_locked", 0), ("PG_bad", -1)]);
    w.enumeration64("wide", &[("WIDE", 1 << 40)]);
    w.typedef("task_t", slab);
    let proto = w.prototype(
        slab_pointer,
        &[("urb", urb_pointer), ("fmt", text), ("", 0)],
    );
    w.function("submit", proto);
    w
}

fn types() -> Types {
    Types::new(Arc::new(Btf::parse(kernel().finish(), None).unwrap()))
}

fn check(path: &str, offset: u64, size: u64, type_name: &str, struct_name: Option<&str>) {
    let (name, path) = path.split_once('.').unwrap();
    let field = types().field(name, path).unwrap();
    let found = (
        field.offset,
        field.size,
        &*field.type_name,
        field.struct_name.as_deref(),
    );
    assert_eq!(
        found,
        (offset, size, type_name, struct_name),
        "{name}.{path}"
    );
}

#[test]
fn paths_go_through_structs_arrays_and_anonymous_members() {
    check("slab.freelist", 0, 8, "void *", None);
    check("slab.counters", 8, 8, "void *", None);
    check("task.slabs[1].complete", 56, 8, "usb_complete_t", None);
    check("task.comm[4]", 4, 1, "char", None);
    check("task.slabs", 16, 48, "struct slab[2]", Some("slab"));
    check("task.slabs[1]", 40, 24, "struct slab", Some("slab"));
}

#[test]
fn types_are_spelled_as_in_c() {
    check("task.comm", 0, 16, "char[16]", None);
    check("task.slab", 64, 8, "struct slab *", Some("slab"));
    check("task.name", 72, 8, "const char *", None);
    check("task.print", 80, 8, "int (*)(const char *, ...)", None);
    check("task.fixed", 88, 8, "struct slab * const", Some("slab"));
}

#[test]
fn bit_fields_lie_in_their_storage_unit() {
    for (name, bits) in [
        ("inuse", (0, 16)),
        ("objects", (16, 15)),
        ("frozen", (31, 1)),
    ] {
        let field = types().field("slab", name).unwrap();
        assert_eq!((field.offset, field.size, field.bits), (8, 4, Some(bits)));
        assert_eq!(types().offset_of("slab", name), None);
    }
}

#[test]
fn what_is_not_there_is_none() {
    let types = types();
    for path in [
        "",
        "x",
        "slab.freelist",
        "comm[",
        "comm[x]",
        "comm[99999999999999999999]",
        "comm.",
        "slabs[0].",
    ] {
        assert_eq!(types.field("task", path), None, "{path}");
    }
    assert_eq!(types.field("task", "slabs[9999999999999999999]"), None);
    assert_eq!(types.find_struct("urb"), None, "only declared");
    assert_eq!(types.size_of("urb"), None);
    assert_eq!(types.func_proto("task"), None);
}

#[test]
fn a_layout_lists_anonymous_members_as_its_own() {
    let layout = types().find_struct("struct slab").unwrap();
    let fields: Vec<_> = layout
        .fields
        .iter()
        .map(|(n, f)| (&**n, f.offset))
        .collect();
    let expected = [
        ("freelist", 0),
        ("counters", 8),
        ("inuse", 8),
        ("objects", 8),
        ("frozen", 8),
        ("complete", 16),
    ];
    assert_eq!(fields, expected);
    assert_eq!((layout.size, layout.is_union), (24, false));
    assert_eq!(
        types().find_struct("task_t").map(|l| l.name),
        Some("slab".into())
    );
    assert_eq!(types().find_struct("union slab"), None);
}

#[test]
fn enumerators_are_found_in_both_widths() {
    let types = types();
    assert_eq!(types.enum_value("PG_bad"), Some(-1));
    assert_eq!(types.enum_value("WIDE"), Some(1 << 40));
    assert_eq!(types.enum_value("wide"), None);
    assert_eq!(
        types.enum_name("enum pageflags", 0),
        Some("PG_locked".into())
    );
}

#[test]
fn prototypes_name_parameters_and_their_structs() {
    let proto = types().func_proto("submit").unwrap();
    let params: Vec<_> = proto
        .params
        .iter()
        .map(|p| (&*p.name, &*p.type_name, p.struct_name.as_deref()))
        .collect();
    assert_eq!(
        params,
        [
            ("urb", "struct urb *", Some("urb")),
            ("fmt", "const char *", None)
        ]
    );
    assert_eq!(proto.return_struct.as_deref(), Some("slab"));
    assert!(proto.variadic);
}

#[test]
fn vmlinux_wins_over_a_module_and_a_module_over_a_declaration() {
    let base = kernel();
    let mut module = BtfWriter::on_top_of(&base);
    module.structure("slab", 999, &[]);
    module.structure("urb", 184, &[MemberSpec::at(8, "status", 1)]);
    let mut types = types();
    let vmlinux = types.vmlinux().unwrap().clone();
    types.add_module(
        "usbcore",
        Btf::parse(module.finish(), Some(vmlinux)).unwrap(),
    );
    assert_eq!(types.size_of("slab"), Some(24));
    assert_eq!(types.size_of("urb"), Some(184));
    assert_eq!(types.field("urb", "status").unwrap().type_name, "int");
    assert_eq!(types.find_struct_in("usbcore", "slab").unwrap().size, 999);
    assert_eq!(types.find_struct_in("usbcore", "task"), None);
}

/// Asks everything there is to ask; each question must end.
fn ask_everything(btf: Btf) {
    let btf = Arc::new(btf);
    let names: Vec<String> = btf
        .own_ids()
        .filter_map(|id| btf.get(id))
        .map(|t| t.name.to_owned())
        .collect();
    let types = Types::new(btf);
    for name in &names {
        let layout = types.find_struct(name);
        for (field, _) in layout.iter().flat_map(|l| &l.fields).take(8) {
            let _ = types.field(name, field);
            let _ = types.field(name, &format!("{field}[1].{field}"));
        }
        let _ = (
            types.size_of(name),
            types.enum_value(name),
            types.func_proto(name),
        );
    }
}

#[test]
fn cycles_come_to_an_end() {
    let mut w = BtfWriter::new();
    w.typedef("t", 1);
    w.array(2, 0xffff_ffff);
    w.structure(
        "s",
        8,
        &[
            MemberSpec::at(0, "", 3),
            MemberSpec::at(0, "", 3),
            MemberSpec::at(0, "a", 2),
        ],
    );
    w.pointer(4);
    w.structure(
        "p",
        8,
        &[MemberSpec::at(0, "a", 4), MemberSpec::at(0, "b", 1)],
    );
    w.prototype(6, &[("x", 7), ("y", 7)]);
    w.pointer(6);
    w.function("f", 6);
    ask_everything(Btf::parse(w.finish(), None).unwrap());
}

proptest! {
    #[test]
    fn mutated_btf_never_panics_or_hangs(hits in prop::collection::vec((24usize..1200, any::<u8>()), 1..12)) {
        let mut bytes = kernel().finish();
        for (at, to) in hits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
        }
        if let Ok(btf) = Btf::parse(bytes, None) {
            ask_everything(btf);
        }
    }
}
