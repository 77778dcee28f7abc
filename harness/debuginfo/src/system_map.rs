//! `System.map`: what `nm -n vmlinux` printed at build time.
//!
//! The kallsyms tables are nameless in dumps of kernels before 6.0 (VMCOREINFO names them since);
//! `/boot/System.map-<release>` then gives symbols, as linked, without KASLR. Debian installs one
//! line of prose in its place (the real one comes with the debug package); that is an error here.

use crate::symbols::{Symbol, SymbolTable, SymbolTableBuilder};

/// A line that is not `address kind name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected `<hex address> <kind letter> <name>`, found `{found}`")]
pub struct SystemMapError {
    /// Line number, from 1.
    pub line: usize,
    /// The line, cut to 80 characters.
    pub found: String,
}

/// Parses the text of a `System.map`. Empty lines are skipped; a module name in brackets after the
/// name, as `/proc/kallsyms` has it, is ignored.
///
/// # Errors
/// The first line of another form.
pub fn parse(text: &str) -> Result<SymbolTable, SystemMapError> {
    let mut symbols = SymbolTableBuilder::with_capacity(text.len() / 40, text.len() / 2);
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let symbol = parse_line(line);
        symbols.push(symbol.ok_or_else(|| SystemMapError {
            line: at + 1,
            found: line.chars().take(80).collect(),
        })?);
    }
    Ok(symbols.finish())
}

fn parse_line(line: &str) -> Option<Symbol<'_>> {
    let mut words = line.split_ascii_whitespace();
    let addr = u64::from_str_radix(words.next()?, 16).ok()?;
    let &[kind] = words.next()?.as_bytes() else {
        return None;
    };
    let name = words.next()?;
    let module = words.next().is_none_or(|w| w.starts_with('[')) && words.next().is_none();
    (kind.is_ascii_graphic() && module).then_some(Symbol {
        name,
        addr,
        kind,
        size: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, u64)], usize>) {
        let table = parse(text);
        let found = table.as_ref().map_err(|e| e.line).map(|t| {
            let pairs = t.iter().map(|s| (s.name, s.addr));
            pairs.collect::<Vec<_>>()
        });
        assert_eq!(found, expected.map(<[_]>::to_vec));
    }

    #[test]
    fn lines_are_address_kind_and_name() {
        let text = "0000000000000000 D fixed_percpu_data\nffffffff81000000 T _text\n\n";
        check(
            text,
            Ok(&[("fixed_percpu_data", 0), ("_text", 0xffff_ffff_8100_0000)]),
        );
        check(
            "ffffffffc0000000 t probe\t[usbcore]\n",
            Ok(&[("probe", 0xffff_ffff_c000_0000)]),
        );
    }

    #[test]
    fn debians_placeholder_is_an_error() {
        let text = "ffffffffffffffff B The real System.map is in the linux-image-dbg package\n";
        check(text, Err(1));
    }

    #[test]
    fn the_line_of_an_error_is_counted_from_one() {
        check("ffffffff81000000 T _text\nffffffff81000000 Tx a\n", Err(2));
        check("zz T a\n", Err(1));
    }
}
