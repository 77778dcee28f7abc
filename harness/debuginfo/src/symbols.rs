//! Symbols by address and by name.
//!
//! Sources (kallsyms, `System.map`, ELF, a module's own symbol table) live in their own modules and
//! end here. Addresses are what the source says: whether KASLR is applied is the caller's business.

use std::sync::OnceLock;

use crate::name_index::NameIndex;

/// Without a next symbol near by and without a size, a symbol reaches to the end of its page.
const PAGE: u64 = 4096;
/// A next symbol farther away than this is in another mapping (per-CPU offsets, image, modules).
const SAME_MAPPING: u64 = 16 << 20;
/// Lowest address of the kernel's half of the address space, with 5 levels of page tables too.
const KERNEL_HALF: u64 = 0xff00_0000_0000_0000;

/// One symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// As the source spells it, compiler suffixes included.
    pub name: &'a str,
    /// Address, or the offset into the per-CPU area for per-CPU symbols.
    pub addr: u64,
    /// Kind as a letter of `nm`: `T`/`t` text, `D`/`d` data, `B`, `R`, `W` weak, `A` absolute.
    pub kind: u8,
    /// Bytes, where the source knows (ELF does, kallsyms does not).
    pub size: Option<u64>,
}

impl Symbol<'_> {
    /// Code: `T`, `t`, and weak code `W`, `w`.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.kind, b'T' | b't' | b'W' | b'w')
    }

    /// Which alias of one address to show: the lowest. Strong text, global, and not one of the
    /// linker script's section marks, as `scripts/kallsyms.c` (`compare_symbols()`) orders them.
    fn rank(&self) -> (bool, bool, bool, bool) {
        let weak = matches!(self.kind, b'W' | b'w' | b'V' | b'v');
        (
            !self.is_text(),
            is_section_mark(self.name),
            weak,
            self.kind.is_ascii_lowercase(),
        )
    }
}

/// `__start_x`, `_stext` and their like: a place in the image rather than a thing at it.
fn is_section_mark(name: &str) -> bool {
    const WHOLE: [&str; 9] = [
        "_text",
        "_stext",
        "_etext",
        "_sdata",
        "_edata",
        "_sinittext",
        "_einittext",
        "__bss_start",
        "_end",
    ];
    WHOLE.contains(&name)
        || name.starts_with("__start_")
        || name.starts_with("__stop_")
        || (name.starts_with("__") && (name.ends_with("_start") || name.ends_with("_end")))
}

/// A symbol without its name: that lies in the table's text.
#[derive(Clone, Copy, Debug)]
struct Entry {
    addr: u64,
    name_at: u32,
    name_len: u16,
    kind: u8,
}

/// Symbols sorted by address, with an index by name that the first question by name builds.
///
/// All names lie in one text, so that the 170 000 symbols of a kernel cost two allocations and not as many.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    entries: Vec<Entry>,
    /// In the order of `entries`, 0 for unknown; empty where the source knows none.
    sizes: Vec<u64>,
    /// Names one after another; each is UTF-8.
    text: Vec<u8>,
    names: OnceLock<NameIndex>,
}

/// Takes symbols in any order and makes a table of them.
#[derive(Debug, Default)]
pub struct SymbolTableBuilder {
    entries: Vec<Entry>,
    sizes: Vec<u64>,
    text: Vec<u8>,
}

impl SymbolTableBuilder {
    /// Room for `symbols` symbols and `text` bytes of names; the caller has bounded both.
    #[must_use]
    pub fn with_capacity(symbols: usize, text: usize) -> Self {
        Self {
            entries: Vec::with_capacity(symbols),
            sizes: Vec::new(),
            text: Vec::with_capacity(text),
        }
    }

    /// As [`SymbolTableBuilder::push`], of a symbol whose name `write` appends to what it is given, or fails to. Without
    /// a size; a name that is not UTF-8 comes out empty.
    pub(crate) fn push_written<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(u64, u8), E>,
    ) -> Result<(), E> {
        let start = self.text.len();
        let (addr, kind) = write(&mut self.text)?;
        let len = self.text.len().saturating_sub(start);
        let (Ok(name_at), Ok(name_len)) = (u32::try_from(start), u16::try_from(len)) else {
            self.text.truncate(start);
            return Ok(());
        };
        self.entries.push(Entry {
            addr,
            name_at,
            name_len,
            kind,
        });
        Ok(())
    }

    /// Adds a symbol. A name longer than 65,535 bytes, or one beyond 4 GiB of names, is left out: no kernel has it.
    pub fn push(&mut self, symbol: Symbol<'_>) {
        let (Ok(name_at), Ok(name_len)) = (
            u32::try_from(self.text.len()),
            u16::try_from(symbol.name.len()),
        ) else {
            return;
        };
        if let Some(size) = symbol.size {
            self.sizes.resize(self.entries.len(), 0);
            self.sizes.push(size);
        }
        self.text.extend_from_slice(symbol.name.as_bytes());
        self.entries.push(Entry {
            addr: symbol.addr,
            name_at,
            name_len,
            kind: symbol.kind,
        });
    }

    /// Sorts by address; the order of symbols with the same address is kept.
    #[must_use]
    pub fn finish(mut self) -> SymbolTable {
        if !self.sizes.is_empty() {
            self.sizes.resize(self.entries.len(), 0);
        }
        if !self.entries.is_sorted_by_key(|entry| entry.addr) {
            self.sort();
        }
        SymbolTable {
            entries: self.entries,
            sizes: self.sizes,
            text: self.text,
            names: OnceLock::new(),
        }
    }

    fn sort(&mut self) {
        if self.sizes.is_empty() {
            return self.entries.sort_by_key(|entry| entry.addr);
        }
        let mut both: Vec<(Entry, u64)> = self
            .entries
            .drain(..)
            .zip(self.sizes.iter().copied())
            .collect();
        both.sort_by_key(|(entry, _)| entry.addr);
        (self.entries, self.sizes) = both.into_iter().unzip();
    }
}

impl<'a> FromIterator<Symbol<'a>> for SymbolTable {
    fn from_iter<I: IntoIterator<Item = Symbol<'a>>>(symbols: I) -> Self {
        let mut builder = SymbolTableBuilder::default();
        for symbol in symbols {
            builder.push(symbol);
        }
        builder.finish()
    }
}

impl SymbolTable {
    fn symbol(&self, n: usize, entry: &Entry) -> Symbol<'_> {
        Symbol {
            name: str::from_utf8(self.name(entry)).unwrap_or_default(),
            addr: entry.addr,
            kind: entry.kind,
            size: self.sizes.get(n).copied().filter(|&size| size != 0),
        }
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        let from = usize::try_from(entry.name_at).unwrap_or(usize::MAX);
        let to = from.saturating_add(entry.name_len.into());
        self.text.get(from..to).unwrap_or_default()
    }

    fn get(&self, n: usize) -> Option<Symbol<'_>> {
        self.entries.get(n).map(|entry| self.symbol(n, entry))
    }

    /// Numbers of the symbols that begin at `addr`.
    fn at(&self, addr: u64) -> std::ops::Range<usize> {
        let first = self.entries.partition_point(|e| e.addr < addr);
        let rest = self.entries.get(first..).unwrap_or_default();
        first..first.saturating_add(rest.partition_point(|e| e.addr <= addr))
    }

    /// The symbol that `addr` lies in and the offset into it. Of aliases the one to show to people:
    /// strong text, global, first. `None` before the first symbol and past a mapping's last one.
    #[must_use]
    pub fn lookup(&self, addr: u64) -> Option<(Symbol<'_>, u64)> {
        let after = self.entries.partition_point(|e| e.addr <= addr);
        let start = self.entries.get(after.checked_sub(1)?)?.addr;
        let aliases = self.at(start);
        let best = aliases
            .filter_map(|n| self.get(n))
            .min_by_key(Symbol::rank)?;
        let offset = addr - start;
        (offset < self.reach(start, after)).then_some((best, offset))
    }

    /// How far past `start` an address still belongs to the symbols there; `after` is the number of
    /// the first symbol behind them.
    fn reach(&self, start: u64, after: usize) -> u64 {
        if let Some(next) = self.entries.get(after) {
            let gap = next.addr - start;
            if gap <= SAME_MAPPING {
                return gap;
            }
        }
        let sizes = self.sizes.get(self.at(start)).unwrap_or_default();
        let size = sizes.iter().copied().max().unwrap_or(0);
        let to_page_end = PAGE - start % PAGE;
        size.max(to_page_end)
    }

    /// Address of the first symbol called `name` (a global one before local ones).
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.all(name)
            .min_by_key(|s| s.kind.is_ascii_lowercase())
            .map(|s| s.addr)
    }

    /// Every symbol called `name`, by address: local functions of one name are common.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Symbol<'a>> + 'a {
        let at = |n| self.get(usize::try_from(n).ok()?);
        self.index()
            .candidates(name)
            .filter_map(at)
            .filter(move |s| s.name == name)
    }

    fn index(&self) -> &NameIndex {
        self.names.get_or_init(|| {
            let names = self.entries.iter().map(|entry| self.name(entry));
            NameIndex::new(names.zip(0u32..))
        })
    }

    /// All symbols by address.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            table: self,
            numbers: 0..self.entries.len(),
        }
    }

    /// Bytes from `symbol` to the next symbol at another address, or its own size where it has one.
    /// `None` for the last of a mapping. Includes the padding behind a function.
    #[must_use]
    pub fn size_of(&self, symbol: &Symbol<'_>) -> Option<u64> {
        if let Some(size) = symbol.size.filter(|&size| size != 0) {
            return Some(size);
        }
        let after = self.entries.partition_point(|e| e.addr <= symbol.addr);
        let gap = self.entries.get(after)?.addr.checked_sub(symbol.addr)?;
        (gap <= SAME_MAPPING).then_some(gap)
    }

    /// Adds `offset` to every address that lies in the kernel's half, wrapping: KASLR on symbols as linked. Per-CPU
    /// offsets stay what they are.
    pub fn relocate(&mut self, offset: u64) {
        for entry in &mut self.entries {
            if entry.addr >= KERNEL_HALF {
                entry.addr = entry.addr.wrapping_add(offset);
            }
        }
        self.entries.sort_by_key(|entry| entry.addr);
        self.names = OnceLock::new();
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No symbols at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Symbols by address.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    table: &'a SymbolTable,
    numbers: std::ops::Range<usize>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Symbol<'a>;
    fn next(&mut self) -> Option<Symbol<'a>> {
        self.table.get(self.numbers.next()?)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl<'a> IntoIterator for &'a SymbolTable {
    type Item = Symbol<'a>;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 0xffff_ffff_8100_0000;

    fn table(symbols: &[(u64, u8, &str)]) -> SymbolTable {
        let symbol = |&(addr, kind, name)| Symbol {
            name,
            addr,
            kind,
            size: None,
        };
        symbols.iter().map(symbol).collect()
    }

    fn check(symbols: &[(u64, u8, &str)], addr: u64, expected: Option<(&str, u64)>) {
        let table = table(symbols);
        let found = table.lookup(addr).map(|(s, offset)| (s.name, offset));
        assert_eq!(found, expected, "{addr:#x}");
    }

    #[test]
    fn an_address_belongs_to_the_symbol_before_it() {
        let symbols = [(TEXT + 0x40, b't', "b"), (TEXT, b'T', "a")];
        check(&symbols, TEXT + 0x3f, Some(("a", 0x3f)));
        check(&symbols, TEXT + 0x40, Some(("b", 0)));
        check(&symbols, TEXT - 1, None);
    }

    #[test]
    fn of_aliases_the_function_is_shown_and_not_the_section() {
        let symbols = [
            (TEXT, b'T', "_stext"),
            (TEXT, b'W', "weak"),
            (TEXT, b't', "local"),
            (TEXT, b'T', "startup_64"),
            (TEXT, b'D', "data"),
        ];
        check(&symbols, TEXT, Some(("startup_64", 0)));
        check(&symbols[..3], TEXT + 1, Some(("local", 1)));
    }

    #[test]
    fn the_last_symbol_ends_with_its_page() {
        let symbols = [(TEXT + 0xff0, b'T', "last")];
        check(&symbols, TEXT + 0xfff, Some(("last", 0xf)));
        check(&symbols, TEXT + 0x1000, None);
    }

    #[test]
    fn a_per_cpu_offset_does_not_reach_up_to_the_kernel() {
        let symbols = [(0x1000, b'A', "current_task"), (TEXT, b'T', "_text")];
        check(&symbols, 0x1008, Some(("current_task", 8)));
        check(&symbols, 0x10_0000, None);
        check(&symbols, u64::MAX, None);
    }

    #[test]
    fn a_size_of_its_own_reaches_past_the_page() {
        let big = Symbol {
            name: "big",
            addr: TEXT,
            kind: b'B',
            size: Some(0x3000),
        };
        let table = SymbolTable::from_iter([big]);
        assert_eq!(table.lookup(TEXT + 0x2fff), Some((big, 0x2fff)));
        assert_eq!(table.lookup(TEXT + 0x3000), None);
        assert_eq!(table.size_of(&big), Some(0x3000));
    }

    #[test]
    fn sizes_come_from_the_next_address() {
        let table = table(&[(TEXT, b'T', "a"), (TEXT, b'T', "b"), (TEXT + 16, b'T', "c")]);
        let sizes: Vec<_> = table.iter().map(|s| table.size_of(&s)).collect();
        assert_eq!(sizes, [Some(16), Some(16), None]);
    }

    #[test]
    fn names_find_all_their_symbols() {
        let table = table(&[
            (TEXT, b't', "probe"),
            (TEXT + 8, b'T', "probe"),
            (TEXT + 9, b't', "x"),
        ]);
        assert_eq!(table.all("probe").count(), 2);
        assert_eq!(table.address_of("probe"), Some(TEXT + 8));
        assert_eq!(table.address_of("prob"), None);
    }
}
