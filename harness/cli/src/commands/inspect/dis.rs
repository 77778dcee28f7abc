//! `dis`: machine code, as crash prints it.
use anyhow::anyhow;
use recrash_kernel::Kernel;
use recrash_kernel::disassembly::{self, Line};
use recrash_vmcore::{VirtAddr, VirtMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use super::source::{self, SourceLine};
use crate::failure::Failure;

/// More instructions than any function has.
const MAX_INSTRUCTIONS: u64 = 1 << 20;
/// What the compiler leaves at a function's start for ftrace, once patched out.
const FTRACE_NOP: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];

/// Disassembles.
///
/// A symbol without COUNT gives the whole function, an address in one gives one instruction.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// With file and line
    #[arg(short)]
    lines: bool,
    /// From the function's start up to the address
    #[arg(short, conflicts_with_all = ["forward", "count"])]
    reverse: bool,
    /// From the address to the function's end
    #[arg(short, conflicts_with = "count")]
    forward: bool,
    /// Offsets in hexadecimal
    #[arg(short = 'x')]
    hexadecimal: bool,
    /// Where to begin
    address: String,
    /// How many instructions
    #[arg(value_parser = address::count)]
    count: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Code {
    instructions: Vec<Shown>,
    #[serde(skip)]
    hexadecimal: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    address: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<Symbol>,
    bytes: String,
    text: String,
    /// Where a branch goes, or what an operand relative to rip names.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_symbol: Option<Symbol>,
    #[serde(skip)]
    is_branch: bool,
    #[serde(skip)]
    is_ftrace_nop: bool,
    /// With `-l`: file and line, innermost inlined function first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source: Vec<SourceLine>,
}

#[derive(Debug, Serialize)]
struct Symbol {
    name: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let at = VirtAddr(address::address(session, &self.address)?);
        self.refuse_data(kernel, at)?;
        let (from, until, count) = self.range(kernel, at)?;
        let (mut lines, missing) = disassembly::lines(kernel, from, until, count);
        if self.count.is_none() && !self.reverse {
            while lines.len() > 1 && lines.last().is_some_and(is_padding) {
                lines.pop();
            }
        }
        if lines.is_empty() {
            return Err(session.nothing(missing.map_or_else(
                || format!("no instruction at {at}"),
                |missing| missing.to_string(),
            )));
        }
        let mut code = Code {
            instructions: lines.iter().map(|line| shown(kernel, line)).collect(),
            hexadecimal: self.hexadecimal,
        };
        let mut missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        if self.lines {
            for shown in &mut code.instructions {
                match source::lines(kernel, VirtAddr(shown.address.0)) {
                    Ok(lines) => shown.source = lines,
                    Err(why) if missing.len() < 8 => missing.push(format!("source lines: {why}")),
                    Err(_) => {}
                }
            }
            missing.dedup();
        }
        session.show(&code, &missing)
    }

    /// A variable's name is a slip; an address or a count says that its bytes are meant.
    fn refuse_data(&self, kernel: &Kernel<'_>, at: VirtAddr) -> Result<(), Failure> {
        let named = kernel.symbol(&self.address).is_ok();
        if !named || self.count.is_some() || kernel.is_text(at) {
            return Ok(());
        }
        let name = &self.address;
        Err(Failure::usage(anyhow!("{name} is data, not code")).hint(format!(
            "rd {name} shows it; with a count, or by its address, it is disassembled all the same"
        )))
    }

    fn range(
        &self,
        kernel: &Kernel<'_>,
        at: VirtAddr,
    ) -> Result<(VirtAddr, VirtAddr, usize), Failure> {
        let all = usize::try_from(MAX_INSTRUCTIONS).unwrap_or(usize::MAX);
        if let Some(count) = self.count {
            if !(1..=MAX_INSTRUCTIONS).contains(&count) {
                return Err(Failure::usage(anyhow!(
                    "{count} instructions asked for, expected 1 to {MAX_INSTRUCTIONS}"
                )));
            }
            return Ok((
                at,
                VirtAddr(u64::MAX),
                usize::try_from(count).unwrap_or(all),
            ));
        }
        let range = kernel.function_range(at);
        let starts_function = range.is_some_and(|(start, _)| start == at);
        let whole = self.reverse || self.forward || starts_function;
        match range {
            Some((start, size)) if whole => {
                let from = if self.reverse { start } else { at };
                // Up to the address and including it.
                let until = if self.reverse {
                    at.wrapping_add(1)
                } else {
                    start.wrapping_add(size)
                };
                Ok((from, until, all))
            }
            None if self.reverse || self.forward => Err(Failure::usage(anyhow!(
                "{at} lies in no function that is known"
            ))),
            _ => Ok((at, VirtAddr(u64::MAX), 1)),
        }
    }
}

fn symbol(kernel: &Kernel<'_>, at: VirtAddr) -> Option<Symbol> {
    let place = kernel.place(at)?;
    Some(Symbol {
        name: place.symbol,
        offset: place.offset,
        module: place.module,
    })
}

fn shown(kernel: &Kernel<'_>, line: &Line) -> Shown {
    let target = line.branch.or(line.data);
    Shown {
        address: line.at.into(),
        symbol: symbol(kernel, line.at),
        bytes: line
            .bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        text: line.text.clone(),
        target: target.map(Hex::from),
        target_symbol: target.and_then(|at| symbol(kernel, at)),
        is_branch: line.branch.is_some(),
        is_ftrace_nop: line.bytes == FTRACE_NOP && starts_function(kernel, line.at),
        source: Vec::new(),
    }
}

/// The first instruction, or the one behind an endbr64 of 4 bytes: elsewhere the same nop is a static branch.
fn starts_function(kernel: &Kernel<'_>, at: VirtAddr) -> bool {
    let Some(place) = kernel.place(at) else {
        return false;
    };
    let endbr = || {
        let before = kernel.memory().u32_at(at.offset(-4));
        before.is_ok_and(|bytes| bytes == 0xfa1e_0ff3)
    };
    place.offset == 0 || (place.offset == 4 && endbr())
}

/// What fills the space up to the next function. A symbol's size is not known to the byte.
fn is_padding(line: &Line) -> bool {
    let nop = ["nop", "data16 ", "cs nop", "xchg   %ax,%ax"];
    nop.iter().any(|start| line.text.starts_with(start))
}

impl Reply for Code {
    const KIND: &'static str = "dis";

    fn text(&self) -> String {
        let mut text = String::new();
        let mut last: Option<&SourceLine> = None;
        for shown in &self.instructions {
            let same = |source: &&SourceLine| {
                last.is_some_and(|last| (&last.file, last.line) == (&source.file, source.line))
            };
            if let Some(source) = shown.source.first().filter(|source| !same(source)) {
                text.push_str(&format!("{}: {}\n", clean(&source.file), source.line));
                last = Some(source);
            }
            self.line(shown, &mut text);
        }
        text
    }
}

impl Code {
    fn line(&self, shown: &Shown, text: &mut String) {
        let name = |symbol: &Option<Symbol>| {
            symbol
                .as_ref()
                .map_or_else(String::new, |symbol| format!(" <{}>", self.spelled(symbol)))
        };
        text.push_str(&format!(
            "0x{}{}:\t{}",
            shown.address,
            name(&shown.symbol),
            shown.text
        ));
        if let Some(target) = shown.target {
            if !shown.is_branch {
                text.push_str(&format!("        # 0x{target}"));
            }
            text.push_str(&name(&shown.target_symbol));
        }
        if shown.is_ftrace_nop {
            text.push_str(" [FTRACE NOP]");
        }
        text.push('\n');
    }

    fn spelled(&self, symbol: &Symbol) -> String {
        let name = clean(&symbol.name);
        match symbol.offset {
            0 => name,
            offset if self.hexadecimal => format!("{name}+{offset:#x}"),
            offset => format!("{name}+{offset}"),
        }
    }
}
