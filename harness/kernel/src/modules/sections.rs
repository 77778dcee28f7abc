//! A module's sections and build id, as sysfs shows them (kernel/module/sysfs.c, `/sys/module/*/sections`).
use super::Module;
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_debuginfo::vmlinux::gnu_build_id;
use recrash_vmcore::VirtAddr;

/// More sections than any module has (with -ffunction-sections some have thousands).
const MAX_SECTIONS: u64 = 65_536;
/// Bytes read of the note section with the build id: header, name and 20 bytes of id take 36.
const NOTE: u64 = 64;

/// A section of a loaded module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSection {
    /// Such as `.text` or `.data`.
    pub name: String,
    /// Where it was loaded.
    pub at: VirtAddr,
}

/// The sections that stayed in memory, in the module's order.
pub(super) fn read(kernel: &Kernel<'_>, module: &Module) -> Result<Vec<ModuleSection>, Missing> {
    let object = Object::new(kernel, "module", module.at);
    let attributes = object
        .follow("sect_attrs", "module_sect_attrs")?
        .ok_or_else(|| Missing::Implausible(format!("module {} keeps no sections", module.name)))?;
    // Linux commit 34f5ec0f8252 ("module: sysfs: Drop member 'module_sect_attrs::nsections'", v6.14).
    let count = match attributes.has("nsections") {
        true => attributes.u64("nsections")?.min(MAX_SECTIONS),
        false => MAX_SECTIONS,
    };
    let end = end_of_attributes(&attributes)?;
    let mut sections = Vec::new();
    for index in 0..count {
        let name_path = name_path(&attributes, index);
        if end.is_some_and(|count| index >= count) {
            break;
        }
        let Some(name) = attributes.string(&name_path, 256)? else {
            break;
        };
        let at = attributes.ptr(&address_path(&attributes, index))?;
        sections.push(ModuleSection { name, at });
    }
    Ok(sections)
}

/// Number of attributes where it is not recorded: the group's array of pointers to them ends with a null.
fn end_of_attributes(attributes: &Object<'_>) -> Result<Option<u64>, Missing> {
    if attributes.has("nsections") {
        return Ok(None);
    }
    let field = ["grp.bin_attrs", "grp.bin_attrs_new"]
        .into_iter()
        .find(|field| attributes.has(field) && attributes.ptr(field).is_ok_and(|at| at.0 != 0))
        .ok_or_else(|| Missing::Implausible("no array of section attributes".into()))?;
    let array = attributes.ptr(field)?;
    let mut count = 0;
    while count < MAX_SECTIONS && attributes.word_at(array.wrapping_add(count * 8))? != 0 {
        count += 1;
    }
    Ok(Some(count))
}

/// Since 5.8 an attribute is a `bin_attribute` (commit ed66f991bb19); since 6.14 there is nothing else in it (commit
/// 4723b3f5f2fa "module: sysfs: Drop 'struct module_sect_attr'").
fn name_path(attributes: &Object<'_>, index: u64) -> String {
    let paths = ["battr.attr.name", "attr.name", "name"];
    let path = paths
        .into_iter()
        .find(|path| attributes.has(&format!("attrs[0].{path}")));
    format!("attrs[{index}].{}", path.unwrap_or("name"))
}

fn address_path(attributes: &Object<'_>, index: u64) -> String {
    let paths = ["address", "private"];
    let path = paths
        .into_iter()
        .find(|path| attributes.has(&format!("attrs[0].{path}")));
    format!("attrs[{index}].{}", path.unwrap_or("address"))
}

/// From the section that the linker put it into.
pub(super) fn build_id(kernel: &Kernel<'_>, module: &Module) -> Result<Vec<u8>, Missing> {
    let unknown = || Missing::Implausible(format!("module {} has no build id", module.name));
    let sections = module.sections(kernel)?;
    let note = sections
        .iter()
        .find(|section| section.name == ".note.gnu.build-id")
        .ok_or_else(unknown)?;
    // The note may be the last thing on its page.
    let room = (4096 - note.at.0 % 4096).min(NOTE);
    let bytes = kernel.table(note.at, room, "build id of a module")?;
    gnu_build_id(&bytes).map(<[u8]>::to_vec).ok_or_else(unknown)
}
