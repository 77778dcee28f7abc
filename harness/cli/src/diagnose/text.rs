//! Sections as text for the terminal and for the folder's report. Sees finished data only.
use std::fmt::Write;

use crate::output::{DIM, printable};
use crate::report::document::{Block, Section, Table};
use crate::report::text;

/// Columns beyond which a last cell is not padded; the terminal breaks it.
const GAP: &str = "  ";

/// The sections, one below the other.
pub(crate) fn sections(sections: &[Section]) -> String {
    let mut out = String::new();
    for section in sections {
        text::heading(&mut out, &section.heading);
        for block in &section.blocks {
            match block {
                Block::Text { text } => {
                    let _ = writeln!(out, "  {}", printable(text));
                }
                Block::Facts { facts } => out.push_str(&body(facts)),
                Block::Table(shown) => table(&mut out, shown),
                Block::List { items } | Block::Lines { lines: items } => {
                    for item in items {
                        let _ = writeln!(out, "  {}", printable(item));
                    }
                }
            }
        }
    }
    out
}

/// Facts below a heading that stands already.
fn body(facts: &[crate::report::Fact]) -> String {
    let mut with_heading = String::new();
    text::facts(&mut with_heading, "", facts);
    match with_heading.split_once('\n') {
        Some((_, rest)) => rest.to_owned(),
        None => String::new(),
    }
}

fn table(out: &mut String, table: &Table) {
    let width = |column: usize| {
        let cells = table.rows.iter().filter_map(|row| row.get(column));
        let heading = table.columns.get(column);
        let widths = cells
            .chain(heading)
            .map(|cell| printable(cell).chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:<width$}", printable(cell)))
            .collect();
        padded.join(GAP).trim_end().to_owned()
    };
    let _ = writeln!(out, "  {DIM}{}{DIM:#}", line(&table.columns));
    for row in &table.rows {
        let _ = writeln!(out, "  {}", line(row));
    }
}
