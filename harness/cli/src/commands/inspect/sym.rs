//! `sym`: a symbol's address, or the symbol at an address.
use anyhow::anyhow;
use recrash_kernel::Kernel;
use recrash_kernel::kernel::NamedAddress;
use recrash_vmcore::VirtAddr;
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use super::similar;
use crate::failure::Failure;

/// Shows the address of a symbol, or the symbol at an address.
///
/// The letter is that of nm: T/t code, D/d data, B/b zeroed data, R/r constants, A/a per-CPU or absolute. Of a
/// per-CPU variable the address is its offset in each CPU's area.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Offsets in hexadecimal
    #[arg(short = 'x')]
    hexadecimal: bool,
    /// Every symbol with this in its name
    #[arg(short, long, conflicts_with = "what")]
    query: Option<String>,
    /// Symbols or addresses
    #[arg(required_unless_present = "query", value_name = "NAME|ADDRESS")]
    what: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Symbols {
    symbols: Vec<Row>,
    #[serde(skip)]
    hexadecimal: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    /// The one asked for, or the symbol's own.
    address: Hex,
    /// Letter of `nm`.
    kind: String,
    name: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let mut symbols = Vec::new();
        let mut missing = Vec::new();
        let mut failure = None;
        if let Some(part) = &self.query {
            let named = kernel.symbols().filter(|known| known.name.contains(part));
            symbols.extend(named.map(|known| row(&known, known.at)));
            if symbols.is_empty() {
                failure = Some(Failure::usage(anyhow!(
                    "no symbol has {part:?} in its name"
                )));
            }
        }
        for text in &self.what {
            match find(session, kernel, text) {
                Ok(found) => symbols.extend(found),
                Err(error) => {
                    missing.push(error.chain());
                    failure = failure.or(Some(error));
                }
            }
        }
        match failure {
            Some(failure) if symbols.is_empty() => Err(failure),
            _ => session.show(
                &Symbols {
                    symbols,
                    hexadecimal: self.hexadecimal,
                },
                &missing,
            ),
        }
    }
}

/// All symbols of this name, else the one that the address lies in.
fn find(session: &Session<'_>, kernel: &Kernel<'_>, text: &str) -> Result<Vec<Row>, Failure> {
    let named: Vec<Row> = kernel
        .symbols()
        .filter(|known| known.name == text)
        .map(|known| row(&known, known.at))
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let at = address::address(session, text).map_err(|error| {
        let near = similar::names(text, kernel.symbols().map(|known| known.name));
        match similar::hint(&near) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    let at = VirtAddr(at);
    let unnamed = || Failure::usage(anyhow!("no symbol of the kernel or a module is at {at}"));
    // Small numbers are offsets of per-CPU variables: no address is one.
    let place = kernel
        .place(at)
        .filter(|_| at.0 >> 63 == 1)
        .ok_or_else(unnamed)?;
    let start = VirtAddr(at.0.wrapping_sub(place.offset));
    let known = kernel
        .symbols()
        .find(|known| known.at == start && known.name == place.symbol);
    let kind = known.map_or(b'?', |known| known.kind);
    Ok(vec![Row {
        address: at.into(),
        kind: letter(kind),
        name: place.symbol,
        offset: place.offset,
        module: place.module,
    }])
}

fn row(known: &NamedAddress<'_>, at: VirtAddr) -> Row {
    Row {
        address: at.into(),
        kind: letter(known.kind),
        name: known.name.to_owned(),
        offset: 0,
        module: known.module.map(|module| module.name.clone()),
    }
}

fn letter(kind: u8) -> String {
    super::reply::ascii([kind])
}

impl Reply for Symbols {
    const KIND: &'static str = "sym";

    fn text(&self) -> String {
        self.symbols
            .iter()
            .map(|row| line(row, self.hexadecimal))
            .collect()
    }
}

/// As crash has it: `ffffffff81234570 (T) __kmalloc+16`.
fn line(row: &Row, hexadecimal: bool) -> String {
    let offset = match (row.offset, hexadecimal) {
        (0, _) => String::new(),
        (offset, true) => format!("+{offset:#x}"),
        (offset, false) => format!("+{offset}"),
    };
    let module = match &row.module {
        Some(module) => format!(" [{}]", clean(module)),
        None => String::new(),
    };
    let name = clean(&row.name);
    format!(
        "{:x} ({}) {name}{offset}{module}\n",
        row.address.0, row.kind
    )
}
