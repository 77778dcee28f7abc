//! A single crash on the page: what differs and what is explained, both signatures side by side, the account with its
//! backtrace, time line, memory, registers, console.
use maud::{Markup, html};

use super::cases::differences;
use super::parts::{facts, fold, lines, paragraph, scroll};
use super::{memory, timeline};
use crate::report::document::crash::{Console, Side, SideState};
use crate::report::document::{Case, CrashPart, Difference, Document};
use crate::report::{Frame, Register};

/// The parts that there is something to say in, in the order of reading.
pub(super) fn parts<'h>(document: &Document, crash: &CrashPart) -> Vec<(&'h str, Markup)> {
    let account = &crash.account;
    let mut out: Vec<(&str, Markup)> = Vec::new();
    if !crash.title.is_empty() {
        out.push(("The crash", summary(crash, document)));
    }
    for (heading, list) in [
        ("Corruption", &account.corruption),
        ("Fault", &account.fault),
    ] {
        if !list.is_empty() {
            out.push((heading, facts(list)));
        }
    }
    if !account.memory.is_empty() {
        out.push(("Memory", memory::memory(&account.memory)));
    }
    if !account.frames.is_empty() {
        out.push(("Backtrace", frames(&account.frames)));
    }
    if let Some(line) = &crash.timeline {
        out.push(("Time line", timeline::timeline(line)));
    }
    let explained = all(document, |case| &case.explained);
    if !explained.is_empty() {
        let caption = "Differences that a rule explains";
        let table = differences(caption, &explained);
        out.push((
            "Explained differences",
            fold(caption, explained.len() * 3, &table),
        ));
    }
    if !crash.sides.is_empty() {
        out.push(("Side by side", sides(&crash.sides)));
    }
    if !account.context.is_empty() {
        out.push(("Circumstances", facts(&account.context)));
    }
    if !account.registers.is_empty() {
        let registers = registers(&account.registers, &account.registers_of);
        out.push(("Registers", registers));
    }
    for (heading, list) in [
        ("Where the registers came from", &account.origins),
        ("Slab", &account.slab),
    ] {
        if !list.is_empty() {
            out.push((heading, facts(list)));
        }
    }
    if let Some(text) = &crash.console {
        out.push(("Console", console(text)));
    }
    if !account.missing.is_empty() {
        let list = html! { ul { @for why in &account.missing { li { (paragraph(why)) } } } };
        out.push(("Not found in the dump", list));
    }
    out
}

fn all(document: &Document, of: impl Fn(&Case) -> &Vec<Difference>) -> Vec<Difference> {
    let cases = document.cases.iter();
    cases.flat_map(|case| of(case).iter().cloned()).collect()
}

fn summary(crash: &CrashPart, document: &Document) -> Markup {
    let golden = document.cases.first().and_then(|case| case.golden.as_ref());
    html! {
        dl class="facts" {
            dt { "title" } dd class="mono" { (paragraph(&crash.title)) }
            @if let Some(bug) = &crash.bug { dt { "bug" } dd class="mono" { (paragraph(bug)) } }
            @if let Some(golden) = golden {
                dt { "golden" } dd class="mono" { (paragraph(&golden.name)) }
            }
            @for case in &document.cases {
                dt { "why" } dd { (paragraph(&case.why)) }
            }
        }
    }
}

/// Both signatures, fact by fact.
fn sides(sides: &[Side]) -> Markup {
    let row = |side: &Side| {
        let (class, mark) = match side.state {
            SideState::Same => ("", "="),
            SideState::Explained => ("explained", "≈"),
            SideState::Unexplained => ("differs", "≠"),
            SideState::Open | SideState::Circumstance => ("", "·"),
        };
        html! {
            tr class=(class) {
                th scope="row" class="mono" { (paragraph(&side.field)) }
                td class="value" { (lines(side.golden.as_deref().unwrap_or(""))) }
                td class="value" { (lines(side.found.as_deref().unwrap_or(""))) }
                td class="short" {
                    (mark) " " (side.state.words())
                    @if let Some(rule) = &side.rule { ": " code { (paragraph(rule)) } }
                }
            }
        }
    };
    let table = html! {
        table class="wide" {
            thead {
                tr {
                    @for heading in ["fact", "golden", "found", "comparison"] {
                        th scope="col" { (heading) }
                    }
                }
            }
            tbody { @for side in sides { (row(side)) } }
        }
    };
    fold("Every fact of both signatures", sides.len(), &table)
}

fn frames(frames: &[Frame]) -> Markup {
    html! {
        p class="dim" { "Innermost first; how each frame was found stands at its end." }
        ol class="frames" {
            @for (number, frame) in frames.iter().enumerate() {
                li {
                    span class="dim mono" { "#" (number) }
                    span class="mono address" { (format!("{:016x}", frame.address)) }
                    span class="mono symbol" { (paragraph(&frame.symbol)) }
                    span class="dim how" { (paragraph(&frame.found_by)) }
                    @if !frame.source.is_empty() {
                        ul class="mono" {
                            @for line in &frame.source {
                                li {
                                    (paragraph(&line.function))
                                    @if line.inlined { " (inlined)" }
                                    " " span class="dim" { (paragraph(&line.place())) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn registers(registers: &[Register], whose: &str) -> Markup {
    let table = html! {
        table {
            @if !whose.is_empty() { caption { (paragraph(whose)) } }
            thead {
                tr { th scope="col" { "register" } th scope="col" { "value" } th scope="col" { "what it is" } }
            }
            tbody {
                @for register in registers {
                    tr {
                        th scope="row" class="mono" { (paragraph(&register.name)) }
                        td class="value" { (format!("{:016x}", register.value)) }
                        td { (paragraph(&register.meaning)) }
                    }
                }
            }
        }
    };
    scroll("registers", &table)
}

/// The console around the kernel's message, whose lines have a mark of their own.
fn console(console: &Console) -> Markup {
    let text = html! {
        pre class="console" {
            @for line in &console.lines {
                @if line.oops {
                    span class="oops" { "▶ " (paragraph(&line.text)) "\n" }
                } @else {
                    span { "  " (paragraph(&line.text)) "\n" }
                }
            }
        }
    };
    html! {
        p class="dim" {
            "From line " (console.from) " on; ▶ marks the kernel's own report of the crash. "
            (console.left_out) " lines are not shown: console.log has them."
        }
        (fold("Console", console.lines.len(), &text))
    }
}
