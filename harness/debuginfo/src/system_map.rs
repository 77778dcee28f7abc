//! `System.map`: what `nm -n vmlinux` printed at build time.
//!
//! The kallsyms tables are nameless in dumps of kernels before 6.0 (VMCOREINFO names them since);
//! `/boot/System.map-<release>` then gives symbols, as linked, without KASLR.

use crate::symbols::{Symbol, SymbolTable};

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
    let mut symbols = Vec::with_capacity(text.len() / 40);
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
    Ok(SymbolTable::from_symbols(symbols))
}

fn parse_line(line: &str) -> Option<Symbol> {
    let mut words = line.split_ascii_whitespace();
    let addr = u64::from_str_radix(words.next()?, 16).ok()?;
    let &[kind] = words.next()?.as_bytes() else {
        return None;
    };
    let name = words.next()?.into();
    kind.is_ascii_graphic().then_some(Symbol {
        name,
        addr,
        kind,
        size: None,
    })
}
