//! A module's own symbols, as the kernel keeps them for kallsyms (struct mod_kallsyms, include/linux/module.h).
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_debuginfo::symbols::{Symbol, SymbolTable, SymbolTableBuilder};
use recrash_vmcore::VirtAddr;

/// Size of `Elf64_Sym` (ELF-64 object file format, "Symbol table").
const ELF64_SYM: usize = 24;
/// More symbols than any module has.
const MAX_MODULE_SYMBOLS: u64 = 1 << 20;
/// Longest name read.
const NAME_MAX: usize = 512;

/// At run-time addresses.
pub(super) fn read(kernel: &Kernel<'_>, module: VirtAddr) -> Result<SymbolTable, Missing> {
    let object = Object::new(kernel, "module", module);
    let Some(table) = object.follow("kallsyms", "mod_kallsyms")? else {
        return Ok(SymbolTable::default());
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
        .and_then(|at| kernel.table(at, count, "module symbol types"))
        .unwrap_or_default();
    let mut symbols = SymbolTableBuilder::default();
    for (index, entry) in symtab.chunks_exact(ELF64_SYM).enumerate() {
        let Some(entry) = ElfSym::read(entry).filter(|e| e.section != 0 && e.value != 0) else {
            continue;
        };
        let at = strtab.wrapping_add(entry.name);
        let Ok(name) = kernel.cstr(at, NAME_MAX, String::new) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        // Before 5.2 (commit 1c7651f43777) the letter lay in st_info.
        let kind = typetab.get(index).copied().unwrap_or(entry.info);
        symbols.push(Symbol {
            name: &name,
            addr: entry.value,
            kind: if kind.is_ascii_graphic() { kind } else { b'?' },
            size: (entry.size > 0).then_some(entry.size),
        });
    }
    Ok(symbols.finish())
}

/// What is used of an `Elf64_Sym`.
struct ElfSym {
    name: u64,
    info: u8,
    section: u16,
    value: u64,
    size: u64,
}

impl ElfSym {
    fn read(entry: &[u8]) -> Option<Self> {
        let (words, _) = entry.as_chunks::<8>();
        let &[first, value, size] = words else {
            return None;
        };
        let [n0, n1, n2, n3, info, _, s0, s1] = first;
        Some(Self {
            name: u32::from_le_bytes([n0, n1, n2, n3]).into(),
            info,
            section: u16::from_le_bytes([s0, s1]),
            value: u64::from_le_bytes(value),
            size: u64::from_le_bytes(size),
        })
    }
}
