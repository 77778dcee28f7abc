//! What every part of the page is made of: facts, tables, lists, lines, and boxes that show a part of something long.
use maud::{Markup, html};

use crate::output::printable;
use crate::report::Fact;
use crate::report::document::{Block, Section, Table};

/// Rows of one table.
const MAX_ROWS: usize = 2000;
/// Lines of one block.
const MAX_LINES: usize = 2000;

/// Text on one line, without control characters; escaping is maud's.
pub(super) fn paragraph(text: &str) -> String {
    printable(&text.replace(['\n', '\r'], " "))
}

/// Text that may have several lines.
pub(super) fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// Named statements.
pub(super) fn facts(facts: &[Fact]) -> Markup {
    html! {
        dl class="facts" {
            @for fact in facts {
                dt { (paragraph(&fact.name)) }
                dd {
                    span class="mono" { (lines(&fact.value)) }
                    @if !fact.proof.is_empty() {
                        div class="proof" { (lines(&fact.proof)) }
                    }
                }
            }
        }
    }
}

/// A section of a command's own.
pub(super) fn section_of(section: &Section) -> Markup {
    html! { @for block in &section.blocks { (block_of(block, &section.heading)) } }
}

fn block_of(block: &Block, heading: &str) -> Markup {
    match block {
        Block::Text { text } => html! { p { (paragraph(text)) } },
        Block::Facts { facts: list } => facts(list),
        Block::Table(table) => table_of(table),
        Block::List { items } => html! {
            ul { @for item in items.iter().take(MAX_LINES) { li { (paragraph(item)) } } }
            (more(items.len(), MAX_LINES))
        },
        Block::Lines { lines } => fold(
            heading,
            lines.len(),
            &html! {
                pre { @for line in lines.iter().take(MAX_LINES) { (printable(line)) "\n" } }
                (more(lines.len(), MAX_LINES))
            },
        ),
    }
}

/// A table; rows that are too short are filled.
pub(super) fn table_of(table: &Table) -> Markup {
    let Table {
        caption,
        columns,
        rows,
    } = table;
    scroll(
        caption,
        &html! {
            table class="wide" {
                @if !caption.is_empty() { caption { (paragraph(caption)) } }
                thead { tr { @for column in columns { th scope="col" { (paragraph(column)) } } } }
                tbody {
                    @for row in rows.iter().take(MAX_ROWS) {
                        tr {
                            @for (at, _) in columns.iter().enumerate() {
                                td { (lines(row.get(at).map_or("", |cell| cell))) }
                            }
                        }
                    }
                }
            }
            (more(rows.len(), MAX_ROWS))
        },
    )
}

/// That there is more than is shown.
pub(super) fn more(all: usize, shown: usize) -> Markup {
    html! {
        @if all > shown {
            p class="dim" { (all - shown) " more are in report.json" }
        }
    }
}

/// Something that may be wider than the page: it scrolls by itself, also by keyboard.
pub(super) fn scroll(label: &str, content: &Markup) -> Markup {
    let label = if label.is_empty() { "table" } else { label };
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(paragraph(label)) { (content) }
    }
}

/// Lines from which something is long.
const LONG: usize = 24;

/// Something long: a box that scrolls, and a switch that shows all of it. On paper it is always whole.
pub(super) fn fold(label: &str, count: usize, content: &Markup) -> Markup {
    if count <= LONG {
        return content.clone();
    }
    let label = paragraph(label);
    html! {
        div class="fold" {
            label { input type="checkbox"; "Show all " (count) " lines: " (label) }
            div class="folded" tabindex="0" role="region" aria-label=(label) { (content) }
        }
    }
}
