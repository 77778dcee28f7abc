//! One crashed kernel: its memory, symbols, types and unwind tables, put together once and asked often.
//! Where they come from is for [`crate::open`]; what they mean is for the modules beside this one.
use crate::modules::{self, Module};
use crate::object::Missing;
use crate::open::{self, FoundSymbols, Image, Sources, SymbolSource, TypeSource};
use crate::stacks::StackCache;
use recrash_debuginfo::orc::{OrcRule, OrcTable};
use recrash_debuginfo::symbols::Symbol;
use recrash_debuginfo::types::{FieldRef, Types};
use recrash_debuginfo::vmlinux::Vmlinux;
use recrash_vmcore::{AddressSpace, PhysMem, Prstatus, VirtAddr, VirtMem, Vmcoreinfo};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// More bytes than any single table in a kernel image has.
const MAX_TABLE: u64 = 256 << 20;
/// CONFIG_NR_CPUS is at most 8192 on x86-64.
const MAX_CPUS: u32 = 8192;

/// Fields asked for, by structure and by path; `None` for those that do not exist.
type Fields = HashMap<String, HashMap<String, Option<Arc<FieldRef>>>>;

/// A crashed kernel.
pub struct Kernel<'d> {
    memory: AddressSpace<'d>,
    info: &'d Vmcoreinfo,
    prstatus: &'d [Prstatus],
    sources: Sources<'d>,
    image: Image<'d>,
    image_checked: OnceLock<Result<(), Missing>>,
    symbols: FoundSymbols,
    modules: Vec<Module>,
    /// The kernel's own.
    types: Types,
    type_source: Option<TypeSource>,
    /// With those of the modules.
    all_types: OnceLock<Types>,
    orc: OnceLock<Option<OrcTable>>,
    build_id: OnceLock<Result<Vec<u8>, Missing>>,
    fields: Mutex<Fields>,
    notes: Mutex<Vec<String>>,
    stack_cache: StackCache,
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
        let image = Image::new(sources.image);
        let mut symbols = open::find_symbols(&memory, info, sources, &image)?;
        let notes = std::mem::take(&mut symbols.notes);
        let mut kernel = Self {
            memory,
            info,
            prstatus,
            sources: *sources,
            image,
            image_checked: OnceLock::new(),
            symbols,
            modules: Vec::new(),
            types: Types::default(),
            type_source: None,
            all_types: OnceLock::new(),
            orc: OnceLock::new(),
            build_id: OnceLock::new(),
            fields: Mutex::default(),
            notes: Mutex::new(notes),
            stack_cache: StackCache::default(),
        };
        kernel.load_types();
        kernel.load_modules();
        Ok(kernel)
    }

    fn load_types(&mut self) {
        let (found, note) = open::types_of_kernel(self);
        if let Some((types, source)) = found {
            self.types = types;
            self.type_source = Some(source);
        }
        note.into_iter().for_each(|note| self.note(note));
        self.forget_fields();
    }

    fn load_modules(&mut self) {
        let (found, missing) = modules::list(self);
        if let Some(missing) = missing {
            self.note(format!("module list cut short: {missing}"));
        }
        self.modules = found;
        // The answers before this moment did not know the modules' types.
        self.forget_fields();
    }

    fn forget_fields(&self) {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        fields.clear();
    }

    /// Adds what could not be found to [`Kernel::notes`].
    pub(crate) fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
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

    /// Types of the kernel and its modules; the first question reads the modules'.
    #[must_use]
    pub fn types(&self) -> &Types {
        if self.modules.is_empty() {
            return &self.types;
        }
        self.all_types
            .get_or_init(|| modules::types(self, self.types.clone()))
    }

    /// Types of the kernel alone: a question for what it may not have reads no module.
    pub(crate) fn own_types(&self) -> &Types {
        &self.types
    }

    /// As [`Kernel::per_cpu_symbol`], of the kernel alone.
    pub(crate) fn own_per_cpu(&self, cpu: u32, name: &str) -> Result<VirtAddr, Missing> {
        self.per_cpu(cpu, self.own_symbol(name)?.0)
    }

    pub(crate) fn stack_cache(&self) -> &StackCache {
        &self.stack_cache
    }

    /// Where the types of the kernel come from; `None` where there are none.
    #[must_use]
    pub fn type_source(&self) -> Option<TypeSource> {
        self.type_source
    }

    /// Where the symbols of the kernel come from.
    #[must_use]
    pub fn symbol_source(&self) -> SymbolSource {
        self.symbols.source
    }

    /// What could not be found so far, and what was found elsewhere than usual, one line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// GNU build id of the kernel: from VMCOREINFO, which has it since 5.9, else from the kernel's notes in memory.
    ///
    /// # Errors
    /// [`Missing`] where neither has it.
    pub fn find_build_id(&self) -> Result<&[u8], Missing> {
        let found = self.build_id.get_or_init(|| open::build_id_of_kernel(self));
        found.as_deref().map_err(Clone::clone)
    }

    /// As [`Kernel::find_build_id`], where it does not matter why there is none.
    #[must_use]
    pub fn build_id(&self) -> Option<Vec<u8>> {
        self.find_build_id().ok().map(<[u8]>::to_vec)
    }

    /// What KASLR added to the addresses of the kernel image: from VMCOREINFO, else by the image that came with the
    /// dump.
    ///
    /// # Errors
    /// [`Missing`] where neither tells.
    pub fn kaslr(&self) -> Result<u64, Missing> {
        if let Some(offset) = self.symbols.kaslr {
            return Ok(offset);
        }
        let vmlinux = self.image.vmlinux()?;
        let (linked, _) = vmlinux
            .section(".text")
            .ok_or_else(|| Missing::Implausible("the kernel image has no .text section".into()))?;
        Ok(self.symbol("_text")?.0.wrapping_sub(linked))
    }

    /// Whether the image that came with the dump is a kernel, and of the same build.
    ///
    /// # Errors
    /// [`Missing::WrongBuild`], or another [`Missing`] if there is none or it can't be read.
    pub fn check_image(&self) -> Result<(), Missing> {
        self.checked_image().map(|_| ())
    }

    /// The image that came with the dump, if it is of the same build.
    pub(crate) fn checked_image(&self) -> Result<Vmlinux<'_>, Missing> {
        let checked = self.image_checked.get_or_init(|| {
            let kaslr = self.kaslr().ok();
            self.image.check(&self.memory, self.info, kaslr).map(|_| ())
        });
        checked.clone()?;
        self.image.vmlinux()
    }

    /// Address of a symbol, the kernel image's before the modules'.
    ///
    /// # Errors
    /// [`Missing::Symbol`].
    pub fn symbol(&self, name: &str) -> Result<VirtAddr, Missing> {
        let of_modules = || {
            let mut modules = self.modules.iter();
            modules.find_map(|module| module.symbols(self).address_of(name))
        };
        self.symbols
            .table
            .address_of(name)
            .or_else(of_modules)
            .map(VirtAddr)
            .ok_or_else(|| Missing::Symbol(name.into()))
    }

    /// Address of a symbol of the kernel image itself.
    ///
    /// # Errors
    /// [`Missing::Symbol`].
    pub(crate) fn own_symbol(&self, name: &str) -> Result<VirtAddr, Missing> {
        let at = self.symbols.table.address_of(name).map(VirtAddr);
        at.ok_or_else(|| Missing::Symbol(name.into()))
    }

    /// The module that an address lies in.
    #[must_use]
    pub fn module_at(&self, at: VirtAddr) -> Option<&Module> {
        self.modules.iter().find(|module| module.contains(at))
    }

    /// The symbol that an address lies in.
    #[must_use]
    pub fn place(&self, at: VirtAddr) -> Option<Place> {
        let module = self.module_at(at);
        let table = module.map_or(&self.symbols.table, |module| module.symbols(self));
        let (symbol, offset) = table.lookup(at.0)?;
        Some(Place {
            symbol: symbol.name.to_owned(),
            offset,
            size: symbol.size,
            module: module.map(|module| module.name.clone()),
        })
    }

    /// The function (or object) that an address lies in: its start, and its bytes up to the next symbol, padding
    /// included. `None` where no symbol is known, or where the last symbol of a mapping ends is not.
    #[must_use]
    pub fn function_range(&self, at: VirtAddr) -> Option<(VirtAddr, u64)> {
        let module = self.module_at(at);
        let table = module.map_or(&self.symbols.table, |module| module.symbols(self));
        let (symbol, offset) = table.lookup(at.0)?;
        let size = table.size_of(&symbol)?;
        (offset < size).then_some((VirtAddr(symbol.addr), size))
    }

    /// Every symbol of the kernel by address, then of each module by address. Per-CPU symbols of the kernel have
    /// their offset as address.
    pub fn symbols(&self) -> impl Iterator<Item = NamedAddress<'_>> {
        let of_modules = self.modules.iter().flat_map(|module| {
            let symbols = module.symbols(self).iter();
            symbols.map(move |symbol| NamedAddress::new(symbol, Some(module)))
        });
        let own = self.symbols.table.iter();
        own.map(|symbol| NamedAddress::new(symbol, None))
            .chain(of_modules)
    }

    /// Whether an address lies in the text of the kernel or a module.
    #[must_use]
    pub fn is_text(&self, at: VirtAddr) -> bool {
        let within = |from: &str, to: &str| match (self.own_symbol(from), self.own_symbol(to)) {
            (Ok(from), Ok(to)) => (from..to).contains(&at),
            _ => false,
        };
        // Boot code is freed, but the first tasks' stacks still return into it.
        within("_stext", "_etext")
            || within("_sinittext", "_einittext")
            || self.modules.iter().any(|module| module.is_text(at))
    }

    /// A field of a structure, by path (`a.b.c`).
    ///
    /// # Errors
    /// [`Missing::Type`] or [`Missing::Field`].
    pub fn field(&self, of: &str, field: &str) -> Result<FieldRef, Missing> {
        self.shared_field(of, field)
            .map(|found| found.as_ref().clone())
    }

    /// As [`Kernel::field`], without a copy.
    pub(crate) fn shared_field(&self, of: &str, field: &str) -> Result<Arc<FieldRef>, Missing> {
        let known = {
            let fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            fields.get(of).and_then(|paths| paths.get(field)).cloned()
        };
        let found = known.unwrap_or_else(|| {
            let found = self.find_field(of, field).map(Arc::new);
            let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
            let paths = fields.entry(of.to_owned()).or_default();
            paths.insert(field.to_owned(), found.clone());
            found
        });
        found.ok_or_else(|| match self.types().size_of(of) {
            Some(_) => Missing::Field {
                of: of.into(),
                field: field.into(),
            },
            None => Missing::Type(of.into()),
        })
    }

    /// The kernel's own definition, else a module's: reading those can wait until one is asked for.
    fn find_field(&self, of: &str, field: &str) -> Option<FieldRef> {
        let own = self.types.field(of, field);
        own.or_else(|| self.types().field(of, field))
    }

    /// The ORC rule for a program counter.
    #[must_use]
    pub fn orc(&self, pc: u64) -> Option<OrcRule> {
        let at = VirtAddr(pc);
        if !self.is_text(at) {
            return None;
        }
        let kernel = self.orc.get_or_init(|| match open::orc_of_kernel(self) {
            Ok(table) => Some(table),
            Err(missing) => {
                self.note(format!("no ORC tables: {missing}"));
                None
            }
        });
        match self.module_at(at) {
            Some(module) => module
                .orc_table(self, kernel.as_ref()?.layout())?
                .lookup(pc),
            None => kernel.as_ref()?.lookup(pc),
        }
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
    pub(crate) fn section(&self, start: &str, stop: &str) -> Result<(Vec<u8>, VirtAddr), Missing> {
        let (from, to) = (self.own_symbol(start)?, self.own_symbol(stop)?);
        let size = to.0.checked_sub(from.0).ok_or_else(|| {
            Missing::Implausible(format!("{stop} at {to} lies before {start} at {from}"))
        })?;
        Ok((self.table(from, size, start)?, from))
    }
}

pub(crate) fn missing(what: &str) -> impl FnOnce(recrash_vmcore::ReadError) -> Missing + '_ {
    move |error| Missing::Memory {
        what: what.into(),
        error,
    }
}

pub(crate) fn read_table(
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
