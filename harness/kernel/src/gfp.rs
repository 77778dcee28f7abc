//! Names of allocation flags, by what the dump itself says of them: the print format of its kmalloc trace event,
//! else the enumeration in its types (6.10 and later), else a table for the layout that its kernel line had.
use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_debuginfo::types::Types;
use recrash_vmcore::{VirtAddr, VirtMem};

/// Longest print format that is read; the kernels' have about 4 KiB.
const MAX_FORMAT: usize = 32 << 10;
/// Names in one format.
const MAX_NAMES: usize = 256;
/// Parentheses within parentheses.
const MAX_DEPTH: usize = 64;

/// Where the names came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The print format of a trace event, in the dump's own data.
    TraceFormat,
    /// The enumeration `___GFP_*_BIT` in the dump's types.
    Types,
    /// A table of include/linux/gfp.h by kernel version.
    Table,
}

/// Flags with their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GfpNames {
    /// Mask and name, composites first, as the kernel prints them.
    pub names: Vec<(u64, String)>,
    /// Where from.
    pub source: Source,
}

impl GfpNames {
    /// The names that a kernel has for its allocation flags.
    ///
    /// # Errors
    /// [`Missing`] when nothing in the dump says which layout it has.
    pub fn of(kernel: &Kernel<'_>) -> Result<Self, Missing> {
        // The class was kmem_alloc until 6.0 (commit 11e9734bcb6a "mm/slab_common: unify NUMA and UMA version of
        // tracepoints", 6.1).
        for symbol in ["print_fmt_kmalloc", "print_fmt_kmem_alloc"] {
            let text = kernel
                .symbol(symbol)
                .ok()
                .and_then(|at| format_at(kernel, at));
            let names = text
                .map(|text| from_format(&text, kernel.types()))
                .unwrap_or_default();
            if names.iter().any(|(_, name)| name == "GFP_KERNEL") {
                return Ok(Self {
                    names,
                    source: Source::TraceFormat,
                });
            }
        }
        let enumerated = |name: &str| {
            let bit = kernel.types().enum_value(&format!("_{name}_BIT"))?;
            1u64.checked_shl(u32::try_from(bit).ok()?)
        };
        if enumerated("__GFP_IO").is_some() {
            let bits = ORDER
                .iter()
                .filter_map(|name| Some((*name, enumerated(name)?)));
            return Ok(Self {
                names: with_composites(bits.collect()),
                source: Source::Types,
            });
        }
        by_version(kernel.info().osrelease().unwrap_or_default())
            .map(|names| Self {
                names,
                source: Source::Table,
            })
            .ok_or_else(|| {
                Missing::Implausible("nothing in the dump names its allocation flags".into())
            })
    }

    /// The names that the kernel line of a release has, by table; `None` for lines whose headers were not read.
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        by_version(release).map(|names| Self {
            names,
            source: Source::Table,
        })
    }

    /// All bits that have a name.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.names.iter().fold(0, |mask, (bits, _)| mask | bits)
    }

    /// The bits of a name.
    #[must_use]
    pub fn bits(&self, name: &str) -> Option<u64> {
        self.names
            .iter()
            .find(|(_, known)| known == name)
            .map(|(bits, _)| *bits)
    }

    /// The flags by name, as `__print_flags()` writes them (kernel/trace/trace_output.c): each mask that is wholly
    /// set, in order, and what is left as a number.
    #[must_use]
    pub fn spell(&self, flags: u64) -> String {
        let mut left = flags;
        let mut parts: Vec<String> = Vec::new();
        for (mask, name) in &self.names {
            if *mask != 0 && left & mask == *mask {
                parts.push(name.clone());
                left &= !mask;
            }
        }
        if left != 0 || parts.is_empty() {
            parts.push(format!("{left:#x}"));
        }
        parts.join("|")
    }
}

fn format_at(kernel: &Kernel<'_>, at: VirtAddr) -> Option<String> {
    kernel.memory().cstr(at, MAX_FORMAT).ok()
}

/// The `{mask, "name"}` pairs of a print format. A pair whose mask can't be worked out is left out.
fn from_format(text: &str, types: &Types) -> Vec<(u64, String)> {
    let Some((_, flags)) = text.split_once("__print_flags(") else {
        return Vec::new();
    };
    flags
        .split('{')
        .skip(1)
        .take(MAX_NAMES)
        .map_while(|pair| {
            let (pair, rest) = pair.split_once('}')?;
            Some((pair, rest))
        })
        .filter_map(|(pair, _)| {
            let (mask, name) = pair.rsplit_once(',')?;
            let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
            let value = Expression { rest: mask, types }.whole()?;
            // gfp_t is 32 bits wide.
            Some((value & u64::from(u32::MAX), name.to_string()))
        })
        .collect()
}

/// A constant expression in C: numbers, enumerators, casts, `~`, `&`, `|`, `<<`, `+`, parentheses.
struct Expression<'t> {
    rest: &'t str,
    types: &'t Types,
}

impl Expression<'_> {
    fn whole(mut self) -> Option<u64> {
        let value = self.binary(0, 0)?;
        self.skip();
        self.rest.is_empty().then_some(value)
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Operators from the loosest on: `|`, `&`, `<<`, `+`.
    fn binary(&mut self, level: usize, depth: usize) -> Option<u64> {
        const LEVELS: [&str; 4] = ["|", "&", "<<", "+"];
        let Some(operator) = LEVELS.get(level) else {
            return self.unary(depth);
        };
        let mut value = self.binary(level + 1, depth)?;
        while self.eat(operator) {
            let right = self.binary(level + 1, depth)?;
            value = match *operator {
                "|" => value | right,
                "&" => value & right,
                "<<" => value.checked_shl(u32::try_from(right).ok()?)?,
                _ => value.wrapping_add(right),
            };
        }
        Some(value)
    }

    fn unary(&mut self, depth: usize) -> Option<u64> {
        let deeper = depth + 1;
        if deeper > MAX_DEPTH {
            return None;
        }
        if self.eat("~") {
            return Some(!self.unary(deeper)?);
        }
        if self.cast() {
            return self.unary(deeper);
        }
        if self.eat("(") {
            let value = self.binary(0, deeper)?;
            return self.eat(")").then_some(value);
        }
        self.word()
    }

    /// `(gfp_t)`, `(unsigned long)`: a parenthesis with nothing but a type's name.
    fn cast(&mut self) -> bool {
        self.skip();
        let Some((inside, rest)) = self
            .rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
        else {
            return false;
        };
        let is_type = matches!(
            inside.trim(),
            "gfp_t" | "__force gfp_t" | "unsigned long" | "unsigned int" | "u32" | "int"
        );
        if is_type {
            self.rest = rest;
        }
        is_type
    }

    fn word(&mut self) -> Option<u64> {
        self.skip();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
        if let Some(digits) = digits.strip_prefix("0x") {
            return u64::from_str_radix(digits, 16).ok();
        }
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            return digits.parse().ok();
        }
        self.types.enum_value(word).map(i64::cast_unsigned)
    }
}

/// Names of single flags in the order in which the kernel prints them.
const ORDER: &[&str] = &[
    "__GFP_DMA",
    "__GFP_HIGHMEM",
    "__GFP_DMA32",
    "__GFP_HIGH",
    "__GFP_ATOMIC",
    "__GFP_IO",
    "__GFP_FS",
    "__GFP_NOWARN",
    "__GFP_RETRY_MAYFAIL",
    "__GFP_NOFAIL",
    "__GFP_NORETRY",
    "__GFP_COMP",
    "__GFP_ZERO",
    "__GFP_NOMEMALLOC",
    "__GFP_MEMALLOC",
    "__GFP_HARDWALL",
    "__GFP_THISNODE",
    "__GFP_RECLAIMABLE",
    "__GFP_MOVABLE",
    "__GFP_ACCOUNT",
    "__GFP_WRITE",
    "__GFP_DIRECT_RECLAIM",
    "__GFP_KSWAPD_RECLAIM",
];

/// Sets of flags with a name of their own (include/linux/gfp.h), largest first.
const COMPOSITES: &[(&str, &[&str])] = &[
    (
        "GFP_HIGHUSER_MOVABLE",
        &[
            "__GFP_DIRECT_RECLAIM",
            "__GFP_KSWAPD_RECLAIM",
            "__GFP_IO",
            "__GFP_FS",
            "__GFP_HARDWALL",
            "__GFP_HIGHMEM",
            "__GFP_MOVABLE",
        ],
    ),
    (
        "GFP_HIGHUSER",
        &[
            "__GFP_DIRECT_RECLAIM",
            "__GFP_KSWAPD_RECLAIM",
            "__GFP_IO",
            "__GFP_FS",
            "__GFP_HARDWALL",
            "__GFP_HIGHMEM",
        ],
    ),
    (
        "GFP_USER",
        &[
            "__GFP_DIRECT_RECLAIM",
            "__GFP_KSWAPD_RECLAIM",
            "__GFP_IO",
            "__GFP_FS",
            "__GFP_HARDWALL",
        ],
    ),
    (
        "GFP_KERNEL_ACCOUNT",
        &[
            "__GFP_DIRECT_RECLAIM",
            "__GFP_KSWAPD_RECLAIM",
            "__GFP_IO",
            "__GFP_FS",
            "__GFP_ACCOUNT",
        ],
    ),
    (
        "GFP_KERNEL",
        &[
            "__GFP_DIRECT_RECLAIM",
            "__GFP_KSWAPD_RECLAIM",
            "__GFP_IO",
            "__GFP_FS",
        ],
    ),
    (
        "GFP_NOFS",
        &["__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM", "__GFP_IO"],
    ),
    (
        "GFP_NOIO",
        &["__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"],
    ),
];

fn with_composites(bits: Vec<(&str, u64)>) -> Vec<(u64, String)> {
    let mask_of = |names: &[&str]| -> Option<u64> {
        names.iter().try_fold(0, |mask, name| {
            let (_, bit) = bits.iter().find(|(known, _)| known == name)?;
            Some(mask | bit)
        })
    };
    let composites = COMPOSITES
        .iter()
        .filter_map(|(name, parts)| Some((mask_of(parts)?, (*name).to_string())));
    let singles = bits.iter().map(|(name, bit)| (*bit, (*name).to_string()));
    composites.chain(singles).collect()
}

/// include/linux/gfp.h of 4.18 to 4.20. 4.18 moved the reclaim bits down;
/// distributions' 4.18 has the same: the real dump's 0x6080c0 is GFP_KERNEL|__GFP_ZERO.
const LAYOUT_4_18: &[(&str, u64)] = &[
    ("__GFP_DMA", 0x1),
    ("__GFP_HIGHMEM", 0x2),
    ("__GFP_DMA32", 0x4),
    ("__GFP_HIGH", 0x20),
    ("__GFP_ATOMIC", 0x8_0000),
    ("__GFP_IO", 0x40),
    ("__GFP_FS", 0x80),
    ("__GFP_NOWARN", 0x200),
    ("__GFP_RETRY_MAYFAIL", 0x400),
    ("__GFP_NOFAIL", 0x800),
    ("__GFP_NORETRY", 0x1000),
    ("__GFP_COMP", 0x4000),
    ("__GFP_ZERO", 0x8000),
    ("__GFP_NOMEMALLOC", 0x1_0000),
    ("__GFP_MEMALLOC", 0x2000),
    ("__GFP_HARDWALL", 0x2_0000),
    ("__GFP_THISNODE", 0x4_0000),
    ("__GFP_RECLAIMABLE", 0x10),
    ("__GFP_MOVABLE", 0x8),
    ("__GFP_ACCOUNT", 0x10_0000),
    ("__GFP_WRITE", 0x100),
    ("__GFP_DIRECT_RECLAIM", 0x20_0000),
    ("__GFP_KSWAPD_RECLAIM", 0x40_0000),
];
/// include/linux/gfp.h of 5.0 to 6.9.
const LAYOUT_5_0: &[(&str, u64)] = &[
    ("__GFP_DMA", 0x1),
    ("__GFP_HIGHMEM", 0x2),
    ("__GFP_DMA32", 0x4),
    ("__GFP_HIGH", 0x20),
    ("__GFP_IO", 0x40),
    ("__GFP_FS", 0x80),
    ("__GFP_NOWARN", 0x2000),
    ("__GFP_RETRY_MAYFAIL", 0x4000),
    ("__GFP_NOFAIL", 0x8000),
    ("__GFP_NORETRY", 0x1_0000),
    ("__GFP_COMP", 0x4_0000),
    ("__GFP_ZERO", 0x100),
    ("__GFP_NOMEMALLOC", 0x8_0000),
    ("__GFP_MEMALLOC", 0x2_0000),
    ("__GFP_HARDWALL", 0x10_0000),
    ("__GFP_THISNODE", 0x20_0000),
    ("__GFP_RECLAIMABLE", 0x10),
    ("__GFP_MOVABLE", 0x8),
    ("__GFP_ACCOUNT", 0x40_0000),
    ("__GFP_WRITE", 0x1000),
    ("__GFP_DIRECT_RECLAIM", 0x400),
    ("__GFP_KSWAPD_RECLAIM", 0x800),
];

/// The table for a release; none for lines whose headers were not read.
fn by_version(release: &str) -> Option<Vec<(u64, String)>> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().ok());
    let version = (numbers.next()??, numbers.next()??);
    let layout = match version {
        (4, 18..=20) => LAYOUT_4_18,
        (5, _) | (6, 0..=9) => LAYOUT_5_0,
        _ => return None,
    };
    Some(with_composites(layout.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(names: Vec<(u64, String)>, flags: u64) -> String {
        GfpNames {
            names,
            source: Source::Table,
        }
        .spell(flags)
    }

    #[test]
    fn the_real_dumps_flags_have_the_names_of_their_kernel_line() {
        let names = || by_version("4.18.0-147.5.1.el8_1.5es.14.x86_64").unwrap();
        assert_eq!(spelled(names(), 0x6080c0), "GFP_KERNEL|__GFP_ZERO");
        assert_eq!(
            spelled(names(), 0x60_0640),
            "GFP_NOFS|__GFP_NOWARN|__GFP_RETRY_MAYFAIL"
        );
        assert_eq!(
            spelled(by_version("6.1.0").unwrap(), 0xdc0),
            "GFP_KERNEL|__GFP_ZERO"
        );
        assert_eq!(by_version("3.10.0"), None);
    }

    #[test]
    fn a_print_format_names_its_kernels_own_flags() {
        let text = "\"%s\", (REC->gfp_flags) ? __print_flags(REC->gfp_flags, \"|\", {( unsigned long)((( \
                    gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))) | (( gfp_t)((((1UL))) << (6)))), \"GFP_NOFS\"}, \
                    {( unsigned long)(( gfp_t)0x100u), \"__GFP_ZERO\"}, {( unsigned long)(( gfp_t)NO_SUCH), \"x\"}, \
                    {( unsigned long)((0xffu) & ~(0xf0u)), \"low\"} ) : \"none\", REC->node";
        let names = from_format(text, &Types::default());
        assert_eq!(
            names,
            [
                (0xc40, "GFP_NOFS".to_string()),
                (0x100, "__GFP_ZERO".into()),
                (0xf, "low".into())
            ]
        );
        assert_eq!(spelled(names, 0xd41), "GFP_NOFS|__GFP_ZERO|0x1");
    }

    #[test]
    fn flags_without_a_name_stay_numbers() {
        assert_eq!(spelled(Vec::new(), 0), "0x0");
        assert_eq!(
            spelled(by_version("6.1.0").unwrap(), 0x8000_0000),
            "0x80000000"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", tail in "[(){}~|&<\", 0-9a-fx]{0,200}") {
            from_format(&format!("__print_flags({text}{{{tail}"), &Types::default());
        }
    }
}
