//! Where the kernel's own symbols come from: the first source that has them and fits the dump. Each one that did not
//! is remembered with its reason.
use super::image::Image;
use super::scan;
use super::sources::Sources;
use crate::kernel::{missing, read_table};
use crate::object::Missing;
use recrash_debuginfo::kallsyms::{self, RawAddresses, RawKallsyms};
use recrash_debuginfo::symbols::SymbolTable;
use recrash_debuginfo::system_map;
use recrash_vmcore::{AddressSpace, VirtAddr, VirtMem, Vmcoreinfo};

/// More symbols than any kernel has; a larger count is a corrupt dump.
const MAX_SYMBOLS: u64 = 4_000_000;
/// Symbols whose addresses VMCOREINFO gives as the symbol tables do. Not all it names are: of an array it gives the
/// address of the first element, which for `mem_section` is on the heap.
const ANCHORS: [&str; 6] = [
    "_stext",
    "init_uts_ns",
    "node_online_map",
    "init_top_pgt",
    "init_level4_pgt",
    "swapper_pg_dir",
];

/// Where the kernel's symbols come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolSource {
    /// kallsyms in the dump, by the addresses that VMCOREINFO gives (since 6.0).
    NamedKallsyms,
    /// kallsyms in the dump, found by the shape of the tables.
    FoundKallsyms,
    /// The symbol table of the vmlinux that came with the dump.
    ImageSymbols,
    /// kallsyms in the kernel image that came with the dump, found by the shape of the tables.
    ImageKallsyms,
    /// The `System.map` that came with the dump.
    SystemMap,
}

impl SymbolSource {
    /// In words, for reports.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::NamedKallsyms => "kallsyms in the dump, named by VMCOREINFO",
            Self::FoundKallsyms => "kallsyms in the dump, found by the shape of the tables",
            Self::ImageSymbols => "symbol table of the kernel image given",
            Self::ImageKallsyms => "kallsyms of the kernel image given",
            Self::SystemMap => "System.map given",
        }
    }
}

/// The symbols, at run-time addresses, and how they were come by.
pub(crate) struct FoundSymbols {
    pub(crate) table: SymbolTable,
    pub(crate) source: SymbolSource,
    /// What KASLR added to the addresses of the image, where it is known.
    pub(crate) kaslr: Option<u64>,
    pub(crate) notes: Vec<String>,
}

/// Tries the sources in order.
///
/// # Errors
/// [`Missing::WrongBuild`] for an image of another kernel; with no source that has symbols, all the reasons.
pub(crate) fn find(
    memory: &AddressSpace<'_>,
    info: &Vmcoreinfo,
    sources: &Sources<'_>,
    image: &Image<'_>,
) -> Result<FoundSymbols, Missing> {
    if image.is_elf() {
        image.check(memory, info, info.kernel_offset())?;
    }
    type Attempt<'a> = (
        SymbolSource,
        Box<dyn Fn() -> Result<SymbolTable, Missing> + 'a>,
    );
    let mut attempts: Vec<Attempt<'_>> = vec![
        (
            SymbolSource::NamedKallsyms,
            Box::new(|| named(memory, info)),
        ),
        (
            SymbolSource::FoundKallsyms,
            Box::new(|| scan::kallsyms(memory, info, |table| verify_strictly(table, info))),
        ),
    ];
    if image.is_given() {
        attempts.push((
            SymbolSource::ImageSymbols,
            Box::new(|| of_image(image, info)),
        ));
        attempts.push((
            SymbolSource::ImageKallsyms,
            Box::new(|| kallsyms_of_image(image, info)),
        ));
    }
    if let Some(text) = sources.system_map {
        attempts.push((
            SymbolSource::SystemMap,
            Box::new(move || of_system_map(text, info)),
        ));
    }
    let mut reasons = Vec::new();
    for (source, attempt) in &attempts {
        let checked = attempt().and_then(|table| match source {
            SymbolSource::NamedKallsyms => verify(&table, info).map(|_| table),
            _ => verify_strictly(&table, info).map(|()| table),
        });
        match checked {
            Ok(table) => return accept(table, *source, memory, info, image, &reasons),
            Err(reason @ Missing::WrongBuild { .. }) => return Err(reason),
            Err(reason) => reasons.push(format!("{}: {reason}", source.describe())),
        }
    }
    Err(Missing::Implausible(format!(
        "no symbols: {}",
        reasons.join("; ")
    )))
}

/// The usual source is worth no note; any other is, with what was wrong with those before it.
fn accept(
    table: SymbolTable,
    source: SymbolSource,
    memory: &AddressSpace<'_>,
    info: &Vmcoreinfo,
    image: &Image<'_>,
    reasons: &[String],
) -> Result<FoundSymbols, Missing> {
    let mut notes = Vec::new();
    let kaslr = info.kernel_offset();
    if matches!(
        source,
        SymbolSource::ImageSymbols | SymbolSource::ImageKallsyms
    ) {
        let offset = kaslr.or_else(|| image_offset(image, &table));
        if !image.check(memory, info, offset)? {
            notes.push(
                "the kernel image was not compared with the dump: one has no build id".into(),
            );
        }
    }
    if !reasons.is_empty() {
        notes.push(format!(
            "symbols from {}; not from {}",
            source.describe(),
            reasons.join("; ")
        ));
    }
    Ok(FoundSymbols {
        table,
        source,
        kaslr,
        notes,
    })
}

/// How far a table that was relocated lies from the image it came from.
fn image_offset(image: &Image<'_>, table: &SymbolTable) -> Option<u64> {
    let linked = image.vmlinux().ok()?.symbols().address_of("_stext")?;
    Some(table.address_of("_stext")?.wrapping_sub(linked))
}

/// Whether there are symbols that VMCOREINFO names too; all of them have to have the addresses it gives.
fn verify(table: &SymbolTable, info: &Vmcoreinfo) -> Result<bool, Missing> {
    let mut agreed = false;
    for (name, expected) in anchors(info) {
        let mut all = table.all(name).peekable();
        let Some(first) = all.peek().copied() else {
            continue;
        };
        if !all.any(|symbol| symbol.addr == expected) {
            return Err(Missing::Implausible(format!(
                "{name} is at {:#x}, in VMCOREINFO at {expected:#x}",
                first.addr
            )));
        }
        agreed = true;
    }
    Ok(agreed)
}

/// As [`verify`], for symbols that nothing else ties to this dump.
fn verify_strictly(table: &SymbolTable, info: &Vmcoreinfo) -> Result<(), Missing> {
    if verify(table, info)? || anchors(info).next().is_none() {
        return Ok(());
    }
    Err(Missing::Implausible(
        "none of the symbols that VMCOREINFO names is among them".into(),
    ))
}

fn anchors(info: &Vmcoreinfo) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    ANCHORS
        .iter()
        .filter_map(|name| info.symbol(name).map(|at| (*name, at)))
}

/// Symbols as linked, moved to where KASLR put the kernel: by `KERNELOFFSET`, else by a symbol that VMCOREINFO has
/// too.
fn relocated(mut table: SymbolTable, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
    let by_anchor =
        || anchors(info).find_map(|(name, at)| Some(at.wrapping_sub(table.address_of(name)?)));
    let offset = info.kernel_offset().or_else(by_anchor).ok_or_else(|| {
        Missing::Implausible("VMCOREINFO has neither KERNELOFFSET nor a symbol of theirs".into())
    })?;
    if offset != 0 {
        table.relocate(offset);
    }
    Ok(table)
}

fn of_image(image: &Image<'_>, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
    let table = image.vmlinux()?.symbols();
    if table.is_empty() {
        return Err(Missing::Implausible("it has none".into()));
    }
    relocated(table, info)
}

fn kallsyms_of_image(image: &Image<'_>, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
    let vmlinux = image.vmlinux()?;
    let bytes = vmlinux
        .section(".rodata")
        .map_or_else(|| vmlinux.bytes(), |(_, bytes)| bytes);
    let found = kallsyms::find(bytes, |table| table.address_of("_stext").is_some());
    let found = found.map_err(|error| Missing::Implausible(error.to_string()))?;
    relocated(found.symbols, info)
}

fn of_system_map(text: &str, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
    let table = system_map::parse(text).map_err(|error| Missing::Implausible(error.to_string()))?;
    relocated(table, info)
}

/// The tables whose addresses VMCOREINFO gives since 6.0 (kernel/vmcore_info.c, commit 5fd8fea935a1 "vmcoreinfo:
/// include kallsyms symbols").
fn named(memory: &AddressSpace<'_>, info: &Vmcoreinfo) -> Result<SymbolTable, Missing> {
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
    let base_at = at("kallsyms_relative_base")?;
    let count_at = at("kallsyms_num_syms")?;
    let relative_base = memory
        .u64_at(base_at)
        .map_err(missing("kallsyms_relative_base"))?;
    let count = memory
        .u32_at(count_at)
        .map_err(missing("kallsyms_num_syms"))?;
    let count = u64::from(count);
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
    let part = |from, len, what| read_table(memory, from, len, what);
    let names = part(names, until_next(names, count * 64), "kallsyms_names")?;
    let token_table = part(
        token_table,
        until_next(token_table, 64 << 10),
        "kallsyms_token_table",
    )?;
    let token_index = part(token_index, 512, "kallsyms_token_index")?;
    let offsets = part(offsets, count * 4, "kallsyms_offsets")?;
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
