//! Modules' types: BTF in the dump, else in the module's file; DWARF where the kernel's own are from DWARF.
use std::sync::Arc;

use super::Module;
use crate::kernel::Kernel;
use crate::object::{Missing, Object, list_entries};
use crate::open::{TypeSource, hexadecimal};
use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::types::Types;
use recrash_debuginfo::vmlinux::Vmlinux;
use recrash_vmcore::VirtAddr;

/// Address and size in bytes, or why they are not known.
pub type Region = Result<(VirtAddr, u64), Missing>;

/// Each module that has BTF, by its address, with where that lies or why it is not known; and why the list ended
/// early if it did.
///
/// `module.btf_data` does not survive the loading: the section is not allocated, so `do_init_module()` clears the
/// pointer. The BPF verifier keeps a copy of its own on `btf_modules` (kernel/bpf/btf.c, since 5.11).
pub(super) fn loaded(kernel: &Kernel<'_>) -> (Vec<(VirtAddr, Region)>, Option<Missing>) {
    let Ok(head) = kernel.own_symbol("btf_modules") else {
        return (Vec::new(), None);
    };
    let (entries, mut cut) = list_entries(kernel, head, "btf_module", "list", super::MAX_MODULES);
    let mut found = Vec::new();
    for entry in entries {
        match entry.ptr("module") {
            Ok(module) => found.push((module, copy(entry))),
            Err(missing) => cut = Some(missing),
        }
    }
    (found, cut)
}

fn copy(entry: Object<'_>) -> Region {
    let btf = entry
        .follow("btf", "btf")?
        .ok_or_else(|| Missing::Implausible("its BTF is a null pointer".into()))?;
    Ok((btf.ptr("data")?, btf.u64("data_size")?))
}

/// The kernel's types with those of all modules; what is missing becomes a note.
pub(crate) fn all(kernel: &Kernel<'_>, mut types: Types) -> Types {
    let Some(base) = types.vmlinux().cloned() else {
        return types;
    };
    for module in kernel.modules() {
        match of_module(kernel, module, &base) {
            Ok(Some(btf)) => types.add_module(&module.name, btf),
            Ok(None) => {}
            Err(missing) => kernel.note(format!("no types of module {}: {missing}", module.name)),
        }
    }
    types
}

/// A module built without BTF, as out-of-tree modules are, has no types to add.
fn of_module(
    kernel: &Kernel<'_>,
    module: &Module,
    base: &Arc<Btf>,
) -> Result<Option<Btf>, Missing> {
    // A module's BTF counts on from the kernel's own, and from nothing that was put in its place.
    match kernel.type_source() {
        Some(TypeSource::Dwarf) => return of_debug_info(kernel, module),
        Some(TypeSource::LayoutTable) | None => return Ok(None),
        Some(TypeSource::Btf | TypeSource::ImageBtf) => {}
    }
    let Some(region) = &module.btf else {
        return Ok(None);
    };
    let in_memory = || {
        let (at, size) = region.clone()?;
        let bytes = kernel.table(at, size, "module BTF")?;
        Btf::parse(bytes, Some(Arc::clone(base)))
            .map_err(|error| Missing::Implausible(format!("BTF at {at}: {error}")))
    };
    in_memory().map(Some).or_else(|reason| {
        match kernel
            .sources()
            .modules
            .iter()
            .find(|file| file.name == module.name)
        {
            None => Err(reason),
            Some(file) => of_file(kernel, module, file.bytes, base)
                .map(Some)
                .map_err(|error| {
                    Missing::Implausible(format!("{reason}; in the module's file: {error}"))
                }),
        }
    })
}

/// Out of the module's DWARF, if there is any at hand.
fn of_debug_info(kernel: &Kernel<'_>, module: &Module) -> Result<Option<Btf>, Missing> {
    let Some(debug) = kernel.sources().debug else {
        return Ok(None);
    };
    let build_id = module.build_id(kernel)?;
    let types = debug
        .module_types(&module.name, &build_id)
        .map_err(Missing::DebugInfo)?;
    let parse = |bytes| Btf::parse(bytes, None);
    types
        .map(parse)
        .transpose()
        .map_err(|error| Missing::Implausible(error.to_string()))
}

/// The `.BTF` section of the module's file, if the file is of the same build.
fn of_file(
    kernel: &Kernel<'_>,
    module: &Module,
    bytes: &[u8],
    base: &Arc<Btf>,
) -> Result<Btf, Missing> {
    let unusable = |why: String| Missing::Implausible(why);
    let file = Vmlinux::parse(bytes).map_err(|error| unusable(error.to_string()))?;
    let found = file
        .build_id()
        .map(hexadecimal)
        .ok_or_else(|| unusable("it has no build id to compare".into()))?;
    let dump = hexadecimal(&module.build_id(kernel)?);
    if found != dump {
        let file = format!("the file of module {}", module.name);
        return Err(Missing::WrongBuild { file, found, dump });
    }
    // Linux commit 58e185a0dc35 ("libbpf: Add btf__distill_base()", v6.11): such BTF counts on from a base of its own,
    // and the kernel renumbers it when it loads the module.
    if file.section(".BTF.base").is_some() {
        return Err(unusable(
            "its BTF is not counted on from the kernel's".into(),
        ));
    }
    let (_, btf) = file
        .section(".BTF")
        .ok_or_else(|| unusable("it has no .BTF section".into()))?;
    Btf::parse(btf.to_vec(), Some(Arc::clone(base))).map_err(|error| unusable(error.to_string()))
}
