//! `struct module` (include/linux/module.h) before 6.4, by the region of memory that a module lies in itself.
use super::memory::{Memory, not_found};
use crate::object::Missing;
use recrash_debuginfo::btf::{FieldKind, FieldSpec, StructSpec};

/// Larger than `struct module` is.
const MODULE_MAX: u64 = 2048;
/// `list` behind `state`, `name` behind `list`: so since there are modules.
const LIST: u64 = 8;
const NAME: u64 = 24;
/// `MODULE_NAME_LEN`.
const NAME_LEN: usize = 56;
/// More bytes than a module takes.
const REGION_MAX: u64 = 256 << 20;
/// `struct module_layout`, before 6.4 (commit ac3b43283923).
const LAYOUT: [FieldSpec; 3] = [
    ("base", 0, FieldKind::Pointer),
    ("size", 8, FieldKind::Unsigned(4)),
    ("text_size", 12, FieldKind::Unsigned(4)),
];
/// `struct mod_kallsyms`; `typetab` came in 5.2 (commit 1c7651f43777).
const KALLSYMS: [FieldSpec; 4] = [
    ("symtab", 0, FieldKind::Pointer),
    ("num_symtab", 8, FieldKind::Unsigned(4)),
    ("strtab", 16, FieldKind::Pointer),
    ("typetab", 24, FieldKind::Pointer),
];
/// `struct mod_arch_specific` with CONFIG_UNWINDER_ORC (arch/x86/include/asm/module.h).
const ARCH: [FieldSpec; 3] = [
    ("num_orcs", 0, FieldKind::Unsigned(4)),
    ("orc_unwind_ip", 8, FieldKind::Pointer),
    ("orc_unwind", 16, FieldKind::Pointer),
];

struct Modules<'m, 'k> {
    memory: &'m Memory<'k>,
    all: Vec<u64>,
    /// Where `core_layout` lies.
    core: u64,
}

pub(super) fn probe(memory: &Memory<'_>) -> Result<Vec<StructSpec>, Missing> {
    let found = Modules::find(memory)?;
    let mut fields: Vec<FieldSpec> = vec![
        at("state", 0, FieldKind::Unsigned(4)),
        at("list", LIST, FieldKind::Struct("list_head")),
        at("name", NAME, FieldKind::Chars(NAME_LEN as u32)),
        at(
            "core_layout",
            found.core,
            FieldKind::Struct("module_layout"),
        ),
    ];
    let mut structs = vec![spec("module_layout", 80, &LAYOUT)];
    if let Some((kallsyms, known)) = found.kallsyms() {
        structs.push(spec(
            "mod_kallsyms",
            32,
            KALLSYMS.get(..known).unwrap_or(&KALLSYMS),
        ));
        fields.push(at("kallsyms", kallsyms, FieldKind::Pointer));
    }
    if let Some(arch) = found.arch() {
        structs.push(spec("mod_arch_specific", 24, &ARCH));
        fields.push(at("arch", arch, FieldKind::Struct("mod_arch_specific")));
    }
    structs.push(spec("module", MODULE_MAX as u32, &fields));
    Ok(structs)
}

fn at(name: &'static str, offset: u64, kind: FieldKind) -> FieldSpec {
    (name, u32::try_from(offset).unwrap_or(u32::MAX), kind)
}

fn spec(name: &'static str, size: u32, fields: &[FieldSpec]) -> StructSpec {
    StructSpec {
        name,
        size,
        fields: fields.to_vec(),
    }
}

impl<'m, 'k> Modules<'m, 'k> {
    fn find(memory: &'m Memory<'k>) -> Result<Self, Missing> {
        let head = memory.symbol("modules")?;
        let is_module = |module: u64| memory.name(module.wrapping_add(NAME), NAME_LEN).is_some();
        let all = memory
            .ring(head, LIST, is_module)
            .ok_or_else(|| not_found("ring of modules"))?;
        if all.is_empty() {
            return Err(Missing::Implausible(
                "no module is loaded to look at".into(),
            ));
        }
        let mut found = Self {
            memory,
            all,
            core: 0,
        };
        let core = (NAME + NAME_LEN as u64..MODULE_MAX)
            .step_by(8)
            .find(|offset| found.core_fits(*offset));
        found.core = core.ok_or_else(|| not_found("core_layout"))?;
        Ok(found)
    }

    fn of_all(&self, fits: impl Fn(u64) -> bool) -> bool {
        self.all.iter().all(|module| fits(*module))
    }

    /// A module's data, and so the structure itself, lie in its core region.
    fn core_fits(&self, offset: u64) -> bool {
        self.of_all(|module| {
            let region = region(self.memory, module, offset);
            region.is_some_and(|(base, size, text)| {
                module.wrapping_sub(base) < size && text > 0 && text < size
            })
        })
    }

    fn within(&self, module: u64, at: u64, len: u64) -> bool {
        region(self.memory, module, self.core).is_some_and(|(base, size, _)| {
            let from = at.wrapping_sub(base);
            from < size && len <= size - from
        })
    }

    /// Where the pointer to `mod_kallsyms` lies, and how many of its fields there are. Its first symbol is empty, as in
    /// every ELF file.
    fn kallsyms(&self) -> Option<(u64, usize)> {
        let table = |module: u64, offset: u64| {
            let at = self.memory.pointer(module + offset)?;
            let (symtab, strtab) = (self.memory.pointer(at)?, self.memory.word(at + 16)?);
            let count = u64::from(self.memory.half(at + 8)?);
            let fits = self.within(module, at, 24)
                && count > 1
                && self.within(module, symtab, count.checked_mul(24)?)
                && self.within(module, strtab, 1)
                && self.memory.bytes(symtab, 24)?.iter().all(|b| *b == 0);
            fits.then_some((at, count))
        };
        let offset = (self.core..MODULE_MAX)
            .step_by(8)
            .find(|offset| self.of_all(|module| table(module, *offset).is_some()))?;
        let letters = |module: u64| {
            let (at, count) = table(module, offset)?;
            let types = self.memory.word(at + 24)?;
            let types = self.within(module, types, count).then_some(types)?;
            let bytes = self
                .memory
                .bytes(types + 1, usize::try_from(count - 1).ok()?)?;
            bytes.iter().all(u8::is_ascii_graphic).then_some(())
        };
        let known = if self.of_all(|module| letters(module).is_some()) {
            4
        } else {
            3
        };
        Some((offset, known))
    }

    /// A number of rows and two tables of that many; an address of it has to lie in the module's text. Modules
    /// without code have neither.
    fn arch(&self) -> Option<u64> {
        let tables = |module: u64, offset: u64| {
            let count = u64::from(self.memory.half(module + offset)?);
            let ip = self.memory.word(module + offset + 8)?;
            let rules = self.memory.word(module + offset + 16)?;
            if (count, ip, rules) == (0, 0, 0) {
                return Some(false);
            }
            // Of a row in the middle: the first ones may be of the text that went after loading.
            let row = ip.wrapping_add(count / 2 * 4);
            let target = row.wrapping_add_signed(self.memory.half(row)?.cast_signed().into());
            let (base, _, text) = region(self.memory, module, self.core)?;
            let fits = count > 0
                && self.within(module, ip, count.checked_mul(4)?)
                && self.within(module, rules, count.checked_mul(6)?)
                && target.wrapping_sub(base) < text;
            fits.then_some(true)
        };
        (self.core..MODULE_MAX).step_by(8).find(|offset| {
            self.of_all(|module| tables(module, *offset).is_some())
                && self
                    .all
                    .iter()
                    .any(|module| tables(*module, *offset) == Some(true))
        })
    }
}

/// Base, size and size of the text of the region described at `offset` in a module.
fn region(memory: &Memory<'_>, module: u64, offset: u64) -> Option<(u64, u64, u64)> {
    let base = memory.pointer(module + offset)?;
    let size = u64::from(memory.half(module + offset + 8)?);
    let text = u64::from(memory.half(module + offset + 12)?);
    (base.is_multiple_of(4096) && size <= REGION_MAX).then_some((base, size, text))
}
