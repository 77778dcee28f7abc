//! Loaded modules: names, where their text lies, their symbols, where their ORC and BTF lie.
use crate::kernel::Kernel;
use crate::object::{Missing, Object, list_entries};
use recrash_debuginfo::symbols::{Symbol, SymbolTable};
use recrash_debuginfo::types::Shape;
use recrash_vmcore::VirtAddr;

/// More modules than a kernel can load in practice; a longer list is a corrupt one.
const MAX_MODULES: usize = 4096;
/// More kinds of memory than a module has.
const MAX_REGIONS: u64 = 32;
/// Size of `Elf64_Sym` (ELF-64 object file format, "Symbol table").
const ELF64_SYM: usize = 24;
/// More symbols than any module has.
const MAX_MODULE_SYMBOLS: u64 = 1 << 20;

/// Address and size in bytes, or why they are not known.
pub type Region = Result<(VirtAddr, u64), Missing>;

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    /// Name as in `lsmod`.
    pub name: String,
    /// Start of each region that holds its text or data, and its size in bytes.
    pub regions: Vec<(VirtAddr, u64)>,
    /// Its symbols (mod_kallsyms), at run-time addresses.
    pub symbols: SymbolTable,
    /// Its ORC tables.
    pub orc: Option<ModuleOrc>,
    /// Where its BTF lies; `None` if it was built without.
    pub btf: Option<Region>,
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
        self.regions
            .iter()
            .any(|(start, size)| at.0.wrapping_sub(start.0) < *size)
    }
}

/// The modules on the kernel's list, and why the list ended early if it did.
pub(crate) fn list(kernel: &Kernel<'_>) -> (Vec<Module>, Option<Missing>) {
    let head = match kernel.symbol("modules") {
        Ok(head) => head,
        Err(missing) => return (Vec::new(), Some(missing)),
    };
    let (objects, mut cut) = list_entries(kernel, head, "module", "list", MAX_MODULES);
    let (btf, btf_cut) = loaded_btf(kernel);
    cut = cut.or(btf_cut);
    let mut modules = Vec::new();
    for object in objects {
        match read(kernel, object, &btf) {
            Ok(module) => modules.push(module),
            Err(missing) => cut = Some(missing),
        }
    }
    (modules, cut)
}

/// Each module that has BTF, by its address, with where that lies or why it is not known; and why the list ended
/// early if it did.
///
/// `module.btf_data` does not survive the loading: the section is not allocated, so `do_init_module()` clears the
/// pointer. The BPF verifier keeps a copy of its own on `btf_modules` (kernel/bpf/btf.c, since 5.11).
fn loaded_btf(kernel: &Kernel<'_>) -> (Vec<(VirtAddr, Region)>, Option<Missing>) {
    let Ok(head) = kernel.symbol("btf_modules") else {
        return (Vec::new(), None);
    };
    let (entries, mut cut) = list_entries(kernel, head, "btf_module", "list", MAX_MODULES);
    let mut found = Vec::new();
    for entry in entries {
        match entry.ptr("module") {
            Ok(module) => found.push((module, btf_copy(entry))),
            Err(missing) => cut = Some(missing),
        }
    }
    (found, cut)
}

fn btf_copy(entry: Object<'_>) -> Region {
    let btf = entry
        .follow("btf", "btf")?
        .ok_or_else(|| Missing::Implausible("its BTF is a null pointer".into()))?;
    Ok((btf.ptr("data")?, btf.u64("data_size")?))
}

fn read(
    kernel: &Kernel<'_>,
    object: Object<'_>,
    loaded_btf: &[(VirtAddr, Region)],
) -> Result<Module, Missing> {
    let orc = || -> Result<ModuleOrc, Missing> {
        Ok(ModuleOrc {
            ip: object.ptr("arch.orc_unwind_ip")?,
            entries: object.ptr("arch.orc_unwind")?,
            count: object.u64("arch.num_orcs")?,
        })
    };
    Ok(Module {
        name: object.char_array("name")?,
        regions: regions(object)?,
        symbols: symbols(kernel, object)?,
        orc: orc().ok().filter(|orc| orc.count > 0 && orc.ip.0 != 0),
        btf: loaded_btf
            .iter()
            .find(|(module, _)| *module == object.at)
            .map(|(_, region)| region.clone()),
    })
}

/// Since 6.4 a module has an array of regions (commit ac3b43283923 "module: replace module_layout with
/// module_memory"); before, one that holds text, rodata and data.
fn regions(object: Object<'_>) -> Result<Vec<(VirtAddr, u64)>, Missing> {
    if object.has("core_layout.base") {
        return Ok(vec![(
            object.ptr("core_layout.base")?,
            object.u64("core_layout.size")?,
        )]);
    }
    // How many kinds of memory there are differs between kernels; behind the array lies another field.
    let count = match object.shape("mem") {
        Ok(Shape::Array { count, .. }) => count.min(MAX_REGIONS),
        _ => 0,
    };
    let mut regions = Vec::new();
    for index in 0..count.max(1) {
        let (base, size) = (format!("mem[{index}].base"), format!("mem[{index}].size"));
        match (object.ptr(&base), object.u64(&size)) {
            // Initialisation memory that was given back keeps its size.
            (Ok(base), Ok(size)) if size > 0 && base.0 != 0 => regions.push((base, size)),
            (Ok(_), Ok(_)) => {}
            (Err(missing), _) | (_, Err(missing)) if index == 0 => return Err(missing),
            _ => break,
        }
    }
    Ok(regions)
}

/// Reads `module.kallsyms` (struct mod_kallsyms, include/linux/module.h).
fn symbols(kernel: &Kernel<'_>, object: Object<'_>) -> Result<SymbolTable, Missing> {
    let Some(table) = object.follow("kallsyms", "mod_kallsyms")? else {
        return Ok(SymbolTable::from_symbols(Vec::new()));
    };
    let count = table.u64("num_symtab")?;
    if count > MAX_MODULE_SYMBOLS {
        return Err(Missing::Implausible(format!(
            "a module with {count} symbols"
        )));
    }
    let symtab = kernel.table(
        table.ptr("symtab")?,
        count * ELF64_SYM as u64,
        "module symbols",
    )?;
    let strtab = table.ptr("strtab")?;
    let typetab = table
        .ptr("typetab")
        .and_then(|at| kernel.table(at, count, "module symbol types"));
    let mut symbols = Vec::new();
    for (index, entry) in symtab.chunks_exact(ELF64_SYM).enumerate() {
        let Some((name_at, section, value, size)) = elf_sym(entry) else {
            continue;
        };
        if section == 0 || value == 0 {
            continue;
        }
        let Ok(name) = kernel.cstr(strtab.wrapping_add(name_at), 512, String::new) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        let kind = typetab
            .as_ref()
            .ok()
            .and_then(|types| types.get(index))
            .copied()
            .unwrap_or(b'?');
        symbols.push(Symbol {
            name: name.into(),
            addr: value,
            kind,
            size: (size > 0).then_some(size),
        });
    }
    Ok(SymbolTable::from_symbols(symbols))
}

/// st_name, st_shndx, st_value, st_size.
fn elf_sym(entry: &[u8]) -> Option<(u64, u16, u64, u64)> {
    let name = u32::from_le_bytes(entry.get(0..4)?.try_into().ok()?);
    let section = u16::from_le_bytes(entry.get(6..8)?.try_into().ok()?);
    let value = u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?);
    let size = u64::from_le_bytes(entry.get(16..24)?.try_into().ok()?);
    Some((name.into(), section, value, size))
}
