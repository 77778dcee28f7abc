//! The report as text, for the terminal and for `report.txt`. Sees finished data only.
use std::fmt::Write;

use super::{CrashReport, Fact, Frame, Register, SourceLine};
use crate::output::{DIM, HEAD, printable};

/// Width of the column that names things.
const NAME: usize = 14;
/// Registers a line, when none of them has a meaning.
const REGISTERS_PER_LINE: usize = 4;

/// The account of the crash, section by section; empty ones are left out.
pub(crate) fn crash(report: &CrashReport) -> String {
    let mut out = String::new();
    facts(&mut out, "Crash", &report.context);
    facts(&mut out, "Fault", &report.fault);
    frames(&mut out, &report.frames);
    registers(&mut out, &report.registers, &report.registers_of);
    facts(&mut out, "Origins", &report.origins);
    facts(&mut out, "Corruption", &report.corruption);
    facts(&mut out, "Slab", &report.slab);
    if !report.missing.is_empty() {
        heading(&mut out, "Not found");
        for text in &report.missing {
            let _ = writeln!(out, "  {}", printable(text));
        }
    }
    out
}

/// A section heading, with an empty line before it unless it is the first.
pub(crate) fn heading(out: &mut String, name: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{HEAD}{name}{HEAD:#}");
}

/// A section of named statements; left out if there are none.
pub(crate) fn facts(out: &mut String, name: &str, facts: &[Fact]) {
    if facts.is_empty() {
        return;
    }
    heading(out, name);
    for fact in facts {
        // Strings from a dump may hold anything, so nothing in them may drive a terminal.
        let mut lines = fact.value.lines().map(printable);
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(out, "  {:<NAME$} {first}", fact.name);
        for more in lines {
            let _ = writeln!(out, "  {:<NAME$} {more}", "");
        }
        for proof in fact.proof.lines().map(printable) {
            let _ = writeln!(out, "  {:<NAME$} {DIM}{proof}{DIM:#}", "");
        }
    }
}

fn frames(out: &mut String, frames: &[Frame]) {
    if frames.is_empty() {
        return;
    }
    heading(out, "Backtrace");
    let width = frames.iter().map(|f| f.symbol.len()).max().unwrap_or(0);
    for (index, frame) in frames.iter().enumerate() {
        let _ = writeln!(
            out,
            "  #{index:<2} {:016x} {:<width$}  {DIM}{}{DIM:#}",
            frame.address,
            printable(&frame.symbol),
            frame.found_by
        );
        for line in &frame.source {
            let _ = writeln!(out, "{:23}{}", "", source(line));
        }
    }
}

/// `rh_call_control (inlined), drivers/usb/core/hcd.c:491`; a function with a frame of its own stands above.
fn source(line: &SourceLine) -> String {
    let place = line.place();
    let text = if line.inlined {
        format!("{} (inlined), {place}", line.function)
    } else {
        place
    };
    printable(&text)
}

fn registers(out: &mut String, registers: &[Register], whose: &str) {
    if registers.is_empty() {
        return;
    }
    heading(out, "Registers");
    if !whose.is_empty() {
        let _ = writeln!(out, "  {DIM}{}{DIM:#}", printable(whose));
    }
    if registers.iter().all(|r| r.meaning.is_empty()) {
        for row in registers.chunks(REGISTERS_PER_LINE) {
            let cells: Vec<String> = row
                .iter()
                .map(|r| format!("{:<9}{:016x}", r.name, r.value))
                .collect();
            let _ = writeln!(out, "  {}", cells.join("  "));
        }
        return;
    }
    for register in registers {
        let meaning = printable(&register.meaning);
        let text = format!("  {:<9}{:016x}  {meaning}", register.name, register.value);
        let _ = writeln!(out, "{}", text.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(report: &CrashReport) -> String {
        anstream::adapter::strip_str(&crash(report)).to_string()
    }

    fn line(function: &str, file: &str, line: u32, inlined: bool) -> SourceLine {
        SourceLine {
            function: function.into(),
            file: file.into(),
            line,
            inlined,
        }
    }

    #[test]
    fn a_report_of_nothing_is_empty() {
        assert_eq!(plain(&CrashReport::default()), "");
    }

    #[test]
    fn every_section_has_its_heading_and_its_facts() {
        let report = CrashReport {
            context: vec![Fact::new("process", "esdm-agent, pid 112, CPU 0")],
            fault: vec![
                Fact::new("instruction", "mov rbx, [rbp+rax]").proven_by("bytes 48 8b 5c 05 00"),
            ],
            registers: vec![
                Register {
                    name: "rbp".into(),
                    value: 0x0072_0069_0056_0338,
                    meaning: "not canonical".into(),
                },
                Register {
                    name: "rax".into(),
                    value: 0,
                    meaning: String::new(),
                },
            ],
            frames: vec![Frame {
                address: 0xffff_ffff_8129_fa4b,
                symbol: "__kmalloc+0xab".into(),
                found_by: "registers".into(),
                source: vec![
                    line("slab_alloc_node", "mm/slub.c", 2807, true),
                    line("slab_alloc", "", 0, true),
                    line("__kmalloc", "mm/slub.c", 0, false),
                ],
            }],
            corruption: vec![Fact::new("bytes", "38 03 56 00\n69 00 72 00")],
            slab: vec![Fact::new("cache", "kmalloc-256")],
            registers_of: String::new(),
            origins: Vec::new(),
            memory: Default::default(),
            missing: vec!["source lines: no vmlinux was given".into()],
        };
        let expected = "\
Crash
  process        esdm-agent, pid 112, CPU 0

Fault
  instruction    mov rbx, [rbp+rax]
                 bytes 48 8b 5c 05 00

Backtrace
  #0  ffffffff8129fa4b __kmalloc+0xab  registers
                       slab_alloc_node (inlined), mm/slub.c:2807
                       slab_alloc (inlined), no line known
                       mm/slub.c, no line known

Registers
  rbp      0072006900560338  not canonical
  rax      0000000000000000

Corruption
  bytes          38 03 56 00
                 69 00 72 00

Slab
  cache          kmalloc-256

Not found
  source lines: no vmlinux was given
";
        assert_eq!(plain(&report), expected);
    }

    #[test]
    fn registers_without_meaning_share_lines() {
        let registers = (0..5)
            .map(|i| Register {
                name: format!("r{i}"),
                value: i,
                meaning: String::new(),
            })
            .collect();
        let report = CrashReport {
            registers,
            ..CrashReport::default()
        };
        assert_eq!(plain(&report).lines().count(), 3);
    }

    #[test]
    fn a_process_name_with_escape_sequences_is_defused() {
        let report = CrashReport {
            context: vec![Fact::new("process", "\x1b[31mred")],
            ..CrashReport::default()
        };
        assert!(!crash(&report).contains("\x1b[31m"));
    }
}
