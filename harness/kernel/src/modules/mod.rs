//! Loaded modules: names and where they lie. Their symbols, sections, types and unwind tables are read when the first
//! question needs them.
mod sections;
mod symbols;
mod types;

use std::sync::OnceLock;

use crate::kernel::Kernel;
use crate::object::{Missing, Object, list_entries};
use crate::open;
use recrash_debuginfo::orc::{OrcLayout, OrcTable};
use recrash_debuginfo::symbols::SymbolTable;
use recrash_debuginfo::types::Shape;
use recrash_vmcore::VirtAddr;

pub use sections::ModuleSection;
pub use types::Region;
pub(crate) use types::all as types;

/// More modules than a kernel can load in practice; a longer list is a corrupt one.
const MAX_MODULES: usize = 4096;
/// More kinds of memory than a module has.
const MAX_REGIONS: u64 = 32;

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    /// `struct module`.
    pub at: VirtAddr,
    /// Name as in `lsmod`.
    pub name: String,
    /// Start of each region that holds its text or data, and its size in bytes.
    pub regions: Vec<(VirtAddr, u64)>,
    /// Those that hold text, and how many bytes of it.
    pub text: Vec<(VirtAddr, u64)>,
    /// Its ORC tables.
    pub orc: Option<ModuleOrc>,
    /// Where its BTF lies; `None` if it was built without.
    pub btf: Option<Region>,
    symbols: OnceLock<SymbolTable>,
    sections: OnceLock<Result<Vec<ModuleSection>, Missing>>,
    orc_table: OnceLock<Option<OrcTable>>,
}

/// Where a module's ORC tables lie.
#[derive(Debug, Clone, Copy)]
pub struct ModuleOrc {
    /// Table of addresses, 4 bytes a row.
    pub ip: VirtAddr,
    /// Table of rules, 6 bytes a row.
    pub entries: VirtAddr,
    /// Number of rows.
    pub count: u64,
}

impl Module {
    /// Whether an address lies in this module.
    #[must_use]
    pub fn contains(&self, at: VirtAddr) -> bool {
        within(&self.regions, at)
    }

    /// Whether an address lies in this module's text.
    #[must_use]
    pub fn is_text(&self, at: VirtAddr) -> bool {
        within(&self.text, at)
    }

    /// Its symbols, at run-time addresses. Where they can't be read there are none, and a note of the kernel says why.
    #[must_use]
    pub fn symbols(&self, kernel: &Kernel<'_>) -> &SymbolTable {
        self.symbols.get_or_init(|| {
            symbols::read(kernel, self.at).unwrap_or_else(|missing| {
                kernel.note(format!("no symbols of module {}: {missing}", self.name));
                SymbolTable::default()
            })
        })
    }

    /// Its sections and where they were loaded.
    ///
    /// # Errors
    /// [`Missing`] on kernels that keep none (no CONFIG_KALLSYMS or no sysfs), and where they can't be read.
    pub fn sections(&self, kernel: &Kernel<'_>) -> Result<&[ModuleSection], Missing> {
        let sections = self.sections.get_or_init(|| sections::read(kernel, self));
        sections.as_deref().map_err(Clone::clone)
    }

    /// GNU build id.
    ///
    /// # Errors
    /// As [`Module::sections`]; and where it was linked without.
    pub fn build_id(&self, kernel: &Kernel<'_>) -> Result<Vec<u8>, Missing> {
        sections::build_id(kernel, self)
    }

    /// Its unwind table, read in the kernel's layout.
    pub(crate) fn orc_table(&self, kernel: &Kernel<'_>, layout: OrcLayout) -> Option<&OrcTable> {
        let table = self.orc_table.get_or_init(|| {
            open::orc_of_module(kernel, self, layout).unwrap_or_else(|missing| {
                kernel.note(format!("no ORC tables of module {}: {missing}", self.name));
                None
            })
        });
        table.as_ref()
    }
}

fn within(regions: &[(VirtAddr, u64)], at: VirtAddr) -> bool {
    let mut regions = regions.iter();
    regions.any(|(start, size)| at.0.wrapping_sub(start.0) < *size)
}

/// The modules on the kernel's list, and why the list ended early if it did.
pub(crate) fn list(kernel: &Kernel<'_>) -> (Vec<Module>, Option<Missing>) {
    let head = match kernel.own_symbol("modules") {
        Ok(head) => head,
        Err(missing) => return (Vec::new(), Some(missing)),
    };
    let (objects, mut cut) = list_entries(kernel, head, "module", "list", MAX_MODULES);
    let (btf, btf_cut) = types::loaded(kernel);
    cut = cut.or(btf_cut);
    let mut modules = Vec::new();
    for object in objects {
        match read(object, &btf) {
            Ok(module) => modules.push(module),
            Err(missing) => cut = Some(missing),
        }
    }
    (modules, cut)
}

fn read(object: Object<'_>, loaded_btf: &[(VirtAddr, Region)]) -> Result<Module, Missing> {
    let orc = || -> Result<ModuleOrc, Missing> {
        Ok(ModuleOrc {
            ip: object.ptr("arch.orc_unwind_ip")?,
            entries: object.ptr("arch.orc_unwind")?,
            count: object.u64("arch.num_orcs")?,
        })
    };
    let (regions, text) = regions(object)?;
    Ok(Module {
        at: object.at,
        name: object.char_array("name")?,
        regions,
        text,
        orc: orc().ok().filter(|orc| orc.count > 0 && orc.ip.0 != 0),
        btf: loaded_btf
            .iter()
            .find(|(module, _)| *module == object.at)
            .map(|(_, region)| region.clone()),
        symbols: OnceLock::new(),
        sections: OnceLock::new(),
        orc_table: OnceLock::new(),
    })
}

type Regions = Vec<(VirtAddr, u64)>;

/// All regions, and those of text. Since 6.4 a module has an array of regions (commit ac3b43283923 "module: replace
/// module_layout with module_memory"), the first of them text (`MOD_TEXT`) and another text that goes after loading
/// (`MOD_INIT_TEXT`); before, one that holds text, rodata and data in this order, with the text's size beside it.
fn regions(object: Object<'_>) -> Result<(Regions, Regions), Missing> {
    if object.has("core_layout.base") {
        let base = object.ptr("core_layout.base")?;
        let size = object.u64("core_layout.size")?;
        let text = object.u64("core_layout.text_size")?;
        return Ok((vec![(base, size)], vec![(base, text.min(size))]));
    }
    const INIT_TEXT: u64 = 4;
    // How many kinds of memory there are differs between kernels; behind the array lies another field.
    let count = match object.shape("mem") {
        Ok(Shape::Array { count, .. }) => count.clamp(1, MAX_REGIONS),
        _ => 1,
    };
    let (mut all, mut text) = (Vec::new(), Vec::new());
    for index in 0..count {
        let (base, size) = (format!("mem[{index}].base"), format!("mem[{index}].size"));
        match (object.ptr(&base), object.u64(&size)) {
            // Initialisation memory that was given back keeps its size.
            (Ok(base), Ok(size)) if size > 0 && base.0 != 0 => {
                all.push((base, size));
                if index == 0 || index == INIT_TEXT {
                    text.push((base, size));
                }
            }
            (Ok(_), Ok(_)) => {}
            (Err(missing), _) | (_, Err(missing)) if index == 0 => return Err(missing),
            _ => break,
        }
    }
    Ok((all, text))
}
