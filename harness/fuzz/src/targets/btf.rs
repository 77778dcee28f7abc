//! BTF, and the questions that `Types` answers from it.

use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::types::Types;
use recrash_synth::btf::{BtfWriter, MemberSpec};

pub fn run(bytes: &[u8]) {
    let _ = Btf::len_from_header(bytes);
    let Ok(btf) = Btf::parse(bytes, None) else {
        return;
    };
    let btf = std::sync::Arc::new(btf);
    let ids = btf.own_ids();
    let names: Vec<String> = ids
        .take(64)
        .filter_map(|id| btf.get(id).map(|found| found.name.to_owned()))
        .collect();
    let mut types = Types::new(btf.clone());
    if let Ok(module) = Btf::parse(bytes, Some(btf)) {
        types.add_module("module", module);
    }
    for name in &names {
        let _ = types.size_of(name);
        let _ = types.func_proto(name);
        let _ = types.enum_value(name);
        let _ = types.enum_name(name, 1);
        let _ = types.find_struct_in("module", name);
        if let Some(layout) = types.find_struct(name) {
            for (field, _) in layout.fields.iter().take(16) {
                let _ = types.field(name, field);
                let _ = types.field(name, &format!("{}.next", field));
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut btf = BtfWriter::new();
    let long = btf.int("unsigned long", 8, false);
    let array = btf.array(long, 4);
    let list = btf.structure("list_head", 16, &[]);
    let pointer = btf.pointer(list);
    let inner = btf.union(
        "",
        16,
        &[
            MemberSpec::at(0, "next", pointer),
            MemberSpec::at(8, "v", array),
        ],
    );
    let fields = [
        MemberSpec::at(0, "list", list),
        MemberSpec::at(16, "", inner),
        MemberSpec::bits(256, 3, "bits", long),
    ];
    let object = btf.structure("object", 48, &fields);
    let typedef = btf.typedef("object_t", object);
    let constant = btf.constant(typedef);
    let prototype = btf.prototype(pointer, &[("object", constant)]);
    let function = btf.function("take", prototype);
    btf.decl_tag("tag", function);
    btf.type_tag("user", pointer);
    btf.enumeration("colour", &[("RED", 0), ("GREEN", 1)]);
    btf.enumeration64("wide", &[("FAR", i64::MIN)]);
    btf.forward("later");
    vec![btf.finish()]
}
