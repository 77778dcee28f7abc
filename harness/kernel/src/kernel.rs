//! One crashed kernel: its memory, symbols, types and unwind tables, put together once and asked often.
//! Opening it reads kallsyms, BTF and ORC out of the dump; nothing else is needed.
use crate::modules::{self, Module};
use crate::object::Missing;
use crate::open::Sources;
use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::kallsyms::{self, RawAddresses, RawKallsyms};
use recrash_debuginfo::orc::{OrcRule, OrcTable};
use recrash_debuginfo::symbols::{Symbol, SymbolTable};
use recrash_debuginfo::types::{FieldRef, Types};
use recrash_vmcore::{AddressSpace, PhysMem, Prstatus, VirtAddr, VirtMem, Vmcoreinfo};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// More symbols than any kernel has; a larger count is a corrupt dump.
const MAX_SYMBOLS: u64 = 4_000_000;
/// More bytes than any single table in a kernel image has.
const MAX_TABLE: u64 = 256 << 20;
/// CONFIG_NR_CPUS is at most 8192 on x86-64.
const MAX_CPUS: u32 = 8192;

/// A crashed kernel.
pub struct Kernel<'d> {
    memory: AddressSpace<'d>,
    info: &'d Vmcoreinfo,
    prstatus: &'d [Prstatus],
    sources: Sources<'d>,
    symbols: SymbolTable,
    modules: Vec<Module>,
    types: Types,
    orc: Vec<OrcTable>,
    fields: Mutex<HashMap<String, Option<FieldRef>>>,
    notes: Vec<String>,
}

/// Where a code or data address lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Symbol name.
    pub symbol: String,
    /// Bytes from the symbol's start.
    pub offset: u64,
    /// Size of the symbol in bytes, where known.
    pub size: Option<u64>,
    /// Module name; `None` for the kernel image.
    pub module: Option<String>,
}

/// A symbol at its run-time address.
#[derive(Debug, Clone, Copy)]
pub struct NamedAddress<'k> {
    /// As the source spells it, compiler suffixes included.
    pub name: &'k str,
    /// Run-time address; for a per-CPU symbol of the kernel its offset in the per-CPU area.
    pub at: VirtAddr,
    /// Letter of `nm`: `T`/`t` text, `D`/`d` data, `B`, `R`, `W` weak, `A` absolute, `?` not known.
    pub kind: u8,
    /// The module that has it; `None` for the kernel image.
    pub module: Option<&'k Module>,
}

impl<'k> NamedAddress<'k> {
    fn new(symbol: Symbol<'k>, module: Option<&'k Module>) -> Self {
        Self {
            name: symbol.name,
            at: VirtAddr(symbol.addr),
            kind: symbol.kind,
            module,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:#x}", self.symbol, self.offset)?;
        match &self.module {
            Some(module) => write!(f, " [{module}]"),
            None => Ok(()),
        }
    }
}

impl<'d> Kernel<'d> {
    /// Puts a kernel together from a dump's memory and notes. `prstatus` is in the order of the online CPUs.
    ///
    /// # Errors
    /// [`Missing`] when not even the symbols can be found; everything else that is missing is a note.
    pub fn open(
        memory: &'d dyn PhysMem,
        info: &'d Vmcoreinfo,
        prstatus: &'d [Prstatus],
    ) -> Result<Self, Missing> {
        Self::open_with(memory, info, prstatus, &Sources::default())
    }

    /// As [`Kernel::open`], with files that help where the dump lacks something.
    ///
    /// # Errors
    /// As [`Kernel::open`].
    pub fn open_with(
        memory: &'d dyn PhysMem,
        info: &'d Vmcoreinfo,
        prstatus: &'d [Prstatus],
        sources: &Sources<'d>,
    ) -> Result<Self, Missing> {
        let memory = AddressSpace::kernel(memory, info)
            .map_err(|error| Missing::Implausible(error.to_string()))?;
        let symbols = read_kallsyms(&memory, info)?;
        let mut kernel = Self {
            memory,
            info,
            prstatus,
            sources: *sources,
            symbols,
            modules: Vec::new(),
            types: Types::default(),
            orc: Vec::new(),
            fields: Mutex::default(),
            notes: Vec::new(),
        };
        kernel.load_types();
        kernel.load_modules();
        kernel.load_orc();
        Ok(kernel)
    }

    fn load_types(&mut self) {
        let found = self
            .section("__start_BTF", "__stop_BTF")
            .and_then(|(bytes, _)| parse_types(bytes))
            .or_else(|missing| self.types_of_debug_info(missing));
        match found {
            Ok(btf) => self.types = Types::new(Arc::new(btf)),
            Err(missing) => self.notes.push(format!("no type information: {missing}")),
        }
    }

    /// The types out of DWARF, for kernels built without BTF. `missing` says why BTF is.
    fn types_of_debug_info(&self, missing: Missing) -> Result<Btf, Missing> {
        let Some(debug) = self.sources.debug else {
            return Err(missing);
        };
        let build_id = self.build_id();
        let bytes = debug
            .types(build_id.as_deref())
            .map_err(|why| Missing::DebugInfo(format!("{missing}; {why}")))?;
        parse_types(bytes)
    }

    fn load_modules(&mut self) {
        let (found, missing) = modules::list(self);
        if let Some(missing) = missing {
            self.notes.push(format!("module list cut short: {missing}"));
        }
        for module in &found {
            if let Err(missing) = self.add_module_types(module) {
                self.notes
                    .push(format!("no types of module {}: {missing}", module.name));
            }
        }
        self.modules = found;
        // The answers before this moment did not know the modules' types.
        self.fields
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// A module built without BTF, as out-of-tree modules are, has no types to add.
    fn add_module_types(&mut self, module: &Module) -> Result<(), Missing> {
        let (Some(region), Some(base)) = (&module.btf, self.types.vmlinux().cloned()) else {
            return Ok(());
        };
        let (at, size) = region.clone()?;
        let bytes = self.table(at, size, "module BTF")?;
        let btf = Btf::parse(bytes, Some(base))
            .map_err(|e| Missing::Implausible(format!("BTF at {at}: {e}")))?;
        self.types.add_module(&module.name, btf);
        Ok(())
    }

    fn load_orc(&mut self) {
        let vmlinux = match self.vmlinux_orc() {
            Ok(table) => table,
            Err(missing) => return self.notes.push(format!("no ORC tables: {missing}")),
        };
        let layout = vmlinux.layout();
        self.orc.push(vmlinux);
        for module in &self.modules {
            let Some(orc) = &module.orc else { continue };
            let table = self
                .table(orc.ip, orc.count.saturating_mul(4), "module ORC")
                .and_then(|ip| {
                    let entries =
                        self.table(orc.entries, orc.count.saturating_mul(6), "module ORC")?;
                    OrcTable::with_layout(&ip, &entries, orc.ip.0, layout)
                        .map_err(|error| Missing::Implausible(error.to_string()))
                });
            match table {
                Ok(table) => self.orc.push(table),
                Err(missing) => {
                    self.notes.push(format!(
                        "no ORC tables of module {}: {missing}",
                        module.name
                    ));
                }
            }
        }
    }

    fn vmlinux_orc(&self) -> Result<OrcTable, Missing> {
        let (ip, at) = self.section("__start_orc_unwind_ip", "__stop_orc_unwind_ip")?;
        let (entries, _) = self.section("__start_orc_unwind", "__stop_orc_unwind")?;
        OrcTable::new(&ip, &entries, at.0).map_err(|error| Missing::Implausible(error.to_string()))
    }

    /// Virtual memory.
    #[must_use]
    pub fn memory(&self) -> &AddressSpace<'d> {
        &self.memory
    }

    /// VMCOREINFO.
    #[must_use]
    pub fn info(&self) -> &Vmcoreinfo {
        self.info
    }

    /// The registers that each online CPU saved when the kernel died.
    #[must_use]
    pub fn prstatus(&self) -> &'d [Prstatus] {
        self.prstatus
    }

    /// The files that came with the dump.
    #[must_use]
    pub fn sources(&self) -> &Sources<'d> {
        &self.sources
    }

    /// Modules loaded at the time.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Types of the kernel and its modules.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// What could not be found while opening, one line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Address of a symbol, the kernel image's before the modules'.
    ///
    /// # Errors
    /// [`Missing::Symbol`].
    pub fn symbol(&self, name: &str) -> Result<VirtAddr, Missing> {
        self.symbols
            .address_of(name)
            .or_else(|| {
                self.modules
                    .iter()
                    .find_map(|module| module.symbols.address_of(name))
            })
            .map(VirtAddr)
            .ok_or_else(|| Missing::Symbol(name.into()))
    }

    /// The symbol that an address lies in.
    #[must_use]
    pub fn place(&self, at: VirtAddr) -> Option<Place> {
        let name = |(symbol, offset): (Symbol<'_>, u64), module: Option<&Module>| Place {
            symbol: symbol.name.to_string(),
            offset,
            size: symbol.size,
            module: module.map(|m| m.name.clone()),
        };
        match self.modules.iter().find(|module| module.contains(at)) {
            Some(module) => module
                .symbols
                .lookup(at.0)
                .map(|hit| name(hit, Some(module))),
            None => self.symbols.lookup(at.0).map(|hit| name(hit, None)),
        }
    }

    /// The function (or object) that an address lies in: its start, and its bytes up to the next symbol, padding
    /// included. `None` where no symbol is known, or where the last symbol of a mapping ends is not.
    #[must_use]
    pub fn function_range(&self, at: VirtAddr) -> Option<(VirtAddr, u64)> {
        let table = self.table_of(at);
        let (symbol, offset) = table.lookup(at.0)?;
        let size = table.size_of(&symbol)?;
        (offset < size).then_some((VirtAddr(symbol.addr), size))
    }

    /// Every symbol of the kernel by address, then of each module by address. Per-CPU symbols of the kernel have
    /// their offset as address.
    pub fn symbols(&self) -> impl Iterator<Item = NamedAddress<'_>> {
        let of_modules = self.modules.iter().flat_map(move |module| {
            module
                .symbols
                .iter()
                .map(move |symbol| NamedAddress::new(symbol, Some(module)))
        });
        self.symbols
            .iter()
            .map(|symbol| NamedAddress::new(symbol, None))
            .chain(of_modules)
    }

    fn table_of(&self, at: VirtAddr) -> &SymbolTable {
        let module = self.modules.iter().find(|module| module.contains(at));
        module.map_or(&self.symbols, |module| &module.symbols)
    }

    /// Whether an address lies in the text of the kernel or a module.
    #[must_use]
    pub fn is_text(&self, at: VirtAddr) -> bool {
        let within = |from: &str, to: &str| match (self.symbol(from), self.symbol(to)) {
            (Ok(from), Ok(to)) => (from..to).contains(&at),
            _ => false,
        };
        within("_stext", "_etext") || self.modules.iter().any(|module| module.contains(at))
    }

    /// A field of a structure, by path (`a.b.c`).
    ///
    /// # Errors
    /// [`Missing::Type`] or [`Missing::Field`].
    pub fn field(&self, of: &str, field: &str) -> Result<FieldRef, Missing> {
        let key = format!("{of}.{field}");
        let mut known = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(key)
            .or_insert_with(|| self.types.field(of, field))
            .clone()
            .ok_or_else(|| match self.types.size_of(of) {
                Some(_) => Missing::Field {
                    of: of.into(),
                    field: field.into(),
                },
                None => Missing::Type(of.into()),
            })
    }

    /// The ORC rule for a program counter.
    #[must_use]
    pub fn orc(&self, pc: u64) -> Option<OrcRule> {
        if !self.is_text(VirtAddr(pc)) {
            return None;
        }
        // Each table covers its own text only, but answers with its last row for anything above it: the
        // right one is that whose first address is the highest below `pc`.
        let first = |table: &OrcTable| table.row(0).map(|(at, _)| at);
        let below = self
            .orc
            .iter()
            .filter(|table| first(table).is_some_and(|first| first <= pc));
        below
            .max_by_key(|table| first(table))
            .and_then(|table| table.lookup(pc))
    }

    /// Number of CPUs for which a per-CPU area exists, from `nr_cpu_ids`.
    ///
    /// # Errors
    /// [`Missing`] when the symbol or its memory is.
    pub fn cpu_count(&self) -> Result<u32, Missing> {
        let at = self.symbol("nr_cpu_ids")?;
        let count = self.memory.u32_at(at).map_err(missing("nr_cpu_ids"))?;
        if count == 0 || count > MAX_CPUS {
            return Err(Missing::Implausible(format!("nr_cpu_ids is {count}")));
        }
        Ok(count)
    }

    /// Where CPU `cpu`'s copy of a per-CPU variable lies, given the variable's offset in the per-CPU area.
    ///
    /// # Errors
    /// [`Missing`] when `__per_cpu_offset` is not known or has no such CPU.
    pub fn per_cpu(&self, cpu: u32, offset: u64) -> Result<VirtAddr, Missing> {
        if cpu >= MAX_CPUS {
            return Err(Missing::Implausible(format!("CPU number {cpu}")));
        }
        let at = self
            .symbol("__per_cpu_offset")?
            .wrapping_add(u64::from(cpu) * 8);
        let base = self
            .memory
            .u64_at(at)
            .map_err(missing("__per_cpu_offset"))?;
        Ok(VirtAddr(base.wrapping_add(offset)))
    }

    /// Where CPU `cpu`'s copy of a named per-CPU variable lies.
    ///
    /// # Errors
    /// As [`Kernel::per_cpu`].
    pub fn per_cpu_symbol(&self, cpu: u32, name: &str) -> Result<VirtAddr, Missing> {
        self.per_cpu(cpu, self.symbol(name)?.0)
    }

    /// The 64-bit value of a variable, by symbol.
    ///
    /// # Errors
    /// [`Missing`] when the symbol or its memory is.
    pub fn u64_at_symbol(&self, name: &str) -> Result<u64, Missing> {
        self.memory
            .u64_at(self.symbol(name)?)
            .map_err(missing(name))
    }

    pub(crate) fn read_into(
        &self,
        at: VirtAddr,
        buf: &mut [u8],
        what: impl FnOnce() -> String,
    ) -> Result<(), Missing> {
        self.memory.read(at, buf).map_err(|error| Missing::Memory {
            what: what(),
            error,
        })
    }

    pub(crate) fn cstr(
        &self,
        at: VirtAddr,
        max: usize,
        what: impl FnOnce() -> String,
    ) -> Result<String, Missing> {
        self.memory.cstr(at, max).map_err(|error| Missing::Memory {
            what: what(),
            error,
        })
    }

    /// `size` bytes of a table at `at`.
    pub(crate) fn table(&self, at: VirtAddr, size: u64, what: &str) -> Result<Vec<u8>, Missing> {
        read_table(&self.memory, at, size, what)
    }

    /// The bytes between two symbols, and where they lie.
    fn section(&self, start: &str, stop: &str) -> Result<(Vec<u8>, VirtAddr), Missing> {
        let (from, to) = (self.symbol(start)?, self.symbol(stop)?);
        let size = to.0.checked_sub(from.0).ok_or_else(|| {
            Missing::Implausible(format!("{stop} at {to} lies before {start} at {from}"))
        })?;
        Ok((self.table(from, size, start)?, from))
    }
}

fn parse_types(bytes: Vec<u8>) -> Result<Btf, Missing> {
    Btf::parse(bytes, None).map_err(|e| Missing::Implausible(format!("the kernel's BTF: {e}")))
}

pub(crate) fn missing(what: &str) -> impl FnOnce(recrash_vmcore::ReadError) -> Missing + '_ {
    move |error| Missing::Memory {
        what: what.into(),
        error,
    }
}

fn read_table(
    memory: &AddressSpace<'_>,
    at: VirtAddr,
    size: u64,
    what: &str,
) -> Result<Vec<u8>, Missing> {
    let length = usize::try_from(size)
        .ok()
        .filter(|_| size <= MAX_TABLE)
        .ok_or_else(|| {
            Missing::Implausible(format!("{what} at {at} would be {size} bytes long"))
        })?;
    memory.bytes(at, length).map_err(missing(what))
}

/// Decodes the kernel's own symbol table, whose parts VMCOREINFO names since 6.0 (kernel/vmcore_info.c,
/// commit 5fd8fea935a1 "vmcoreinfo: include kallsyms symbols").
fn read_kallsyms(memory: &AddressSpace<'_>, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
    let at = |name: &str| {
        info.symbol(name).map(VirtAddr).ok_or_else(|| {
            Missing::Symbol(format!(
                "{name} in VMCOREINFO, which names the symbol tables since Linux 6.0"
            ))
        })
    };
    let names = at("kallsyms_names")?;
    let token_table = at("kallsyms_token_table")?;
    let token_index = at("kallsyms_token_index")?;
    let offsets = at("kallsyms_offsets")?;
    let relative_base = memory
        .u64_at(at("kallsyms_relative_base")?)
        .map_err(missing("kallsyms_relative_base"))?;
    let count = u64::from(
        memory
            .u32_at(at("kallsyms_num_syms")?)
            .map_err(missing("kallsyms_num_syms"))?,
    );
    if count == 0 || count > MAX_SYMBOLS {
        return Err(Missing::Implausible(format!(
            "kallsyms_num_syms is {count}"
        )));
    }
    // Neither table's length is recorded; each ends where the next known one begins. Which one is next differs
    // between kernels (scripts/kallsyms.c wrote them in another order from 6.5 on).
    let starts = [names, token_table, token_index, offsets];
    let until_next = |from: VirtAddr, cap: u64| {
        let next = starts.iter().filter(|at| **at > from).min();
        next.map_or(cap, |next| (next.0 - from.0).min(cap))
    };
    let names = read_table(
        memory,
        names,
        until_next(names, count * 64),
        "kallsyms_names",
    )?;
    let token_table = read_table(
        memory,
        token_table,
        until_next(token_table, 64 << 10),
        "kallsyms_token_table",
    )?;
    let token_index = read_table(memory, token_index, 512, "kallsyms_token_index")?;
    let offsets = read_table(memory, offsets, count * 4, "kallsyms_offsets")?;
    kallsyms::decode(RawKallsyms {
        num_syms: usize::try_from(count).unwrap_or(0),
        names: &names,
        token_table: &token_table,
        token_index: &token_index,
        addresses: RawAddresses::Relative {
            offsets: &offsets,
            relative_base,
            absolute_percpu: None,
        },
    })
    .map_err(|error| Missing::Implausible(format!("kallsyms: {error}")))
}
