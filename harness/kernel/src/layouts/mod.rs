//! Types of a kernel that brings none: no BTF (before 5.2, or built without) and no DWARF at hand.
//!
//! The few structures that a first look at a crash needs are looked up in a small table of what has been their layout
//! since 4.18 (include/linux/sched.h, slub_def.h, mm_types.h, module.h), and every entry is held against memory before
//! it is believed: `comm` is where `init_task` says "swapper", `tasks` is the ring that leads through every process,
//! `pid` is 1 in the first of them and 2 in the second. Distributions move fields about within a version; what does
//! not check out is not there.
//!
//! What comes out are types like any other, so nobody else needs to know.
mod memory;
mod module;
mod slab;
mod task;

use std::sync::Arc;

use crate::kernel::Kernel;
use crate::object::Missing;
use memory::Memory;
use recrash_debuginfo::btf::{Btf, FieldKind, StructSpec, build};
use recrash_debuginfo::types::Types;

/// The structures that could be made out, or why one could not.
type Probed = Result<Vec<StructSpec>, Missing>;
type Prober = fn(&Memory<'_>) -> Probed;

const PROBERS: [(&str, Prober); 3] = [
    ("task_struct", task::probe),
    ("kmem_cache", slab::probe),
    ("module", module::probe),
];

/// Types from the table; what could not be made out becomes a note.
///
/// # Errors
/// [`Missing`] if nothing could be made out.
pub(crate) fn types(kernel: &Kernel<'_>) -> Result<Types, Missing> {
    let memory = Memory::new(kernel);
    let mut structs = vec![list_head()];
    let mut reasons = Vec::new();
    for (name, probe) in PROBERS {
        match probe(&memory) {
            Ok(found) => structs.extend(found),
            Err(reason) => reasons.push(format!("struct {name}: {reason}")),
        }
    }
    if reasons.len() == PROBERS.len() {
        return Err(Missing::Implausible(reasons.join("; ")));
    }
    for reason in reasons {
        kernel.note(format!("not in the table of layouts: {reason}"));
    }
    let btf = Btf::parse(build(&structs), None)
        .map_err(|error| Missing::Implausible(error.to_string()))?;
    Ok(Types::new(Arc::new(btf)))
}

fn list_head() -> StructSpec {
    StructSpec {
        name: "list_head",
        size: 16,
        fields: vec![
            ("next", 0, FieldKind::Pointer),
            ("prev", 8, FieldKind::Pointer),
        ],
    }
}
