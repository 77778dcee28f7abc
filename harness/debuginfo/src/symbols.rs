//! Symbols by address and by name.
//!
//! Sources (kallsyms, `System.map`, ELF, a module's own symbol table) live in their own modules and
//! end here. Addresses are what the source says: whether KASLR is applied is the caller's business.

use crate::name_index::NameIndex;

/// Without a next symbol near by and without a size, a symbol reaches to the end of its page.
const PAGE: u64 = 4096;
/// A next symbol farther away than this is in another mapping (per-CPU offsets, image, modules).
const SAME_MAPPING: u64 = 16 << 20;

/// One symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As the source spells it, compiler suffixes included.
    pub name: Box<str>,
    /// Address, or the offset into the per-CPU area for per-CPU symbols.
    pub addr: u64,
    /// Kind as a letter of `nm`: `T`/`t` text, `D`/`d` data, `B`, `R`, `W` weak, `A` absolute.
    pub kind: u8,
    /// Bytes, where the source knows (ELF does, kallsyms does not).
    pub size: Option<u64>,
}

impl Symbol {
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
            is_section_mark(&self.name),
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

/// Symbols sorted by address, with an index by name.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    symbols: Vec<Symbol>,
    names: NameIndex,
}

impl SymbolTable {
    /// Sorts and indexes; the order of symbols with the same address is kept. At most 2^32 - 1
    /// symbols are indexed by name.
    #[must_use]
    pub fn from_symbols(mut symbols: Vec<Symbol>) -> Self {
        symbols.sort_by_key(|s| s.addr);
        let names = NameIndex::new((0u32..).zip(&symbols).map(|(n, s)| (&*s.name, n)));
        Self { symbols, names }
    }

    /// The symbol that `addr` lies in and the offset into it. Of aliases the one to show to people:
    /// strong text, global, first. `None` before the first symbol and past a mapping's last one.
    #[must_use]
    pub fn lookup(&self, addr: u64) -> Option<(&Symbol, u64)> {
        let after = self.symbols.partition_point(|s| s.addr <= addr);
        let start = self.symbols.get(after.checked_sub(1)?)?.addr;
        let first = self.symbols.partition_point(|s| s.addr < start);
        let best = self
            .symbols
            .get(first..after)?
            .iter()
            .min_by_key(|s| s.rank())?;
        let offset = addr - start;
        (offset < self.reach(start, after)).then_some((best, offset))
    }

    /// How far past `start` an address still belongs to the symbols there; `after` is the number of
    /// the first symbol behind them.
    fn reach(&self, start: u64, after: usize) -> u64 {
        if let Some(next) = self.symbols.get(after) {
            let gap = next.addr - start;
            if gap <= SAME_MAPPING {
                return gap;
            }
        }
        let first = self.symbols.partition_point(|s| s.addr < start);
        let sizes = self.symbols.get(first..after).unwrap_or_default();
        let size = sizes.iter().filter_map(|s| s.size).max().unwrap_or(0);
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
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Symbol> + 'a {
        let at = |n| self.symbols.get(usize::try_from(n).ok()?);
        self.names
            .candidates(name)
            .filter_map(at)
            .filter(move |s| &*s.name == name)
    }

    /// All symbols by address.
    pub fn iter(&self) -> std::slice::Iter<'_, Symbol> {
        self.symbols.iter()
    }

    /// Bytes from `symbol` to the next symbol at another address, or its own size where it has one.
    /// `None` for the last of a mapping. Includes the padding behind a function.
    #[must_use]
    pub fn size_of(&self, symbol: &Symbol) -> Option<u64> {
        if let Some(size) = symbol.size.filter(|&size| size != 0) {
            return Some(size);
        }
        let after = self.symbols.partition_point(|s| s.addr <= symbol.addr);
        let gap = self.symbols.get(after)?.addr.checked_sub(symbol.addr)?;
        (gap <= SAME_MAPPING).then_some(gap)
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// No symbols at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }
}

impl<'a> IntoIterator for &'a SymbolTable {
    type Item = &'a Symbol;
    type IntoIter = std::slice::Iter<'a, Symbol>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 0xffff_ffff_8100_0000;

    fn table(symbols: &[(u64, u8, &str)]) -> SymbolTable {
        let symbol = |&(addr, kind, name): &(u64, u8, &str)| Symbol {
            name: name.into(),
            addr,
            kind,
            size: None,
        };
        SymbolTable::from_symbols(symbols.iter().map(symbol).collect())
    }

    fn check(symbols: &[(u64, u8, &str)], addr: u64, expected: Option<(&str, u64)>) {
        let table = table(symbols);
        let found = table.lookup(addr).map(|(s, offset)| (&*s.name, offset));
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
            name: "big".into(),
            addr: TEXT,
            kind: b'B',
            size: Some(0x3000),
        };
        let table = SymbolTable::from_symbols(vec![big.clone()]);
        assert_eq!(table.lookup(TEXT + 0x2fff), Some((&big, 0x2fff)));
        assert_eq!(table.lookup(TEXT + 0x3000), None);
        assert_eq!(table.size_of(&big), Some(0x3000));
    }

    #[test]
    fn sizes_come_from_the_next_address() {
        let table = table(&[(TEXT, b'T', "a"), (TEXT, b'T', "b"), (TEXT + 16, b'T', "c")]);
        let sizes: Vec<_> = table.iter().map(|s| table.size_of(s)).collect();
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
