//! Two signatures side by side, fact by fact. Sees finished data only; what a difference means is the comparison's.
use anstyle::Style;
use recrash_signature::Signature;
use recrash_signature::compare::Comparison;
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::collections::BTreeMap;
use std::fmt::Write;
use textwrap::core::display_width;

use super::document::crash::{Side, SideState};
use super::text::heading;
use crate::output::{DIM, WARN, printable};

/// Columns where the terminal does not say.
const WIDTH: usize = 120;
/// Narrowest column of a side in which a value can be told from another.
const NARROWEST: usize = 20;
/// What stands around the two columns: the indent, and the marks between them.
const FRAME: usize = 2 + 2 + 3;

/// Columns of the terminal.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into())
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    field: String,
    golden: Option<String>,
    found: Option<String>,
}

/// The table: only facts that differ, or all of them.
pub(crate) fn sides(golden: &Signature, found: &Signature, full: bool, width: usize) -> String {
    let mut out = String::new();
    let rows = rows(golden, found, full);
    if rows.is_empty() {
        return out;
    }
    let field = rows.iter().map(|row| row.field.len()).max().unwrap_or(0);
    let side = width.saturating_sub(field + FRAME) / 2;
    let side = side.max(NARROWEST);
    heading(&mut out, "Side by side");
    let _ = writeln!(
        out,
        "  {DIM}{:field$}  {}   found{DIM:#}",
        "",
        fitted("golden", side)
    );
    for row in rows {
        line(&mut out, &row, field, side);
    }
    out
}

fn line(out: &mut String, row: &Row, field: usize, side: usize) {
    let (mark, style) = match (&row.golden, &row.found) {
        (Some(a), Some(b)) if a == b => (' ', Style::new()),
        (Some(_), Some(_)) => ('≠', WARN),
        (Some(_), None) => ('<', WARN),
        (None, _) => ('>', WARN),
    };
    let text = |side: &Option<String>| printable(side.as_deref().unwrap_or_default());
    let _ = writeln!(
        out,
        "  {:field$}  {} {style}{mark}{style:#} {}",
        row.field,
        fitted(&text(&row.golden), side),
        fitted(&text(&row.found), side).trim_end(),
    );
}

/// Cut or filled to this many columns.
fn fitted(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let whole = display_width(text) <= columns;
    let room = if whole {
        columns
    } else {
        columns.saturating_sub(1)
    };
    for c in text.chars() {
        let wide = display_width(c.encode_utf8(&mut [0; 4]));
        if used + wide > room {
            break;
        }
        out.push(c);
        used += wide;
    }
    if !whole {
        out.push('…');
        used += 1;
    }
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// Every fact side by side, with what the comparison says of it; without a golden, only what was found.
pub(crate) fn rows_of(golden: Option<(&Signature, &Comparison)>, found: &Signature) -> Vec<Side> {
    let Some((golden, comparison)) = golden else {
        let facts = facts(found).into_iter();
        let lines = facts.flat_map(|(field, lines)| {
            (0..).zip(lines).map(move |(at, line)| Side {
                field: if at == 0 {
                    field.clone()
                } else {
                    String::new()
                },
                golden: None,
                found: Some(line),
                state: SideState::Open,
                rule: None,
            })
        });
        return lines.collect();
    };
    let mut field = String::new();
    let rows = rows(golden, found, true).into_iter().map(|row| {
        if !row.field.is_empty() {
            field.clone_from(&row.field);
        }
        let (state, rule) = if row.golden == row.found {
            (SideState::Same, None)
        } else {
            state(comparison, &field)
        };
        Side {
            field: row.field,
            golden: row.golden,
            found: row.found,
            state,
            rule,
        }
    });
    rows.collect()
}

/// What a comparison says of a fact that is not the same in both, and the rule by which it says so.
fn state(comparison: &Comparison, field: &str) -> (SideState, Option<String>) {
    let of_field = |differences: &[recrash_signature::compare::Difference]| {
        let found = differences.iter().find(|one| one.field == field);
        found.map(|one| one.rule.map(str::to_owned))
    };
    if let Some(rule) = of_field(&comparison.unexplained) {
        return (SideState::Unexplained, rule);
    }
    if let Some(rule) = of_field(&comparison.explained) {
        return (SideState::Explained, rule);
    }
    let gaps = comparison.unknown.iter().chain(&comparison.uncovered);
    if gaps.into_iter().any(|gap| gap.field == field) {
        return (SideState::Open, None);
    }
    (SideState::Circumstance, None)
}

fn rows(golden: &Signature, found: &Signature, full: bool) -> Vec<Row> {
    let (a, b) = (facts(golden), facts(found));
    let mut out = Vec::new();
    for field in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
        let none = Vec::new();
        let (x, y) = (a.get(field).unwrap_or(&none), b.get(field).unwrap_or(&none));
        if full || x != y {
            aligned(field, x, y, &mut out);
        }
    }
    out
}

/// The lines of one fact, the same ones beside one another; only the first has the field's name.
fn aligned(field: &str, golden: &[String], found: &[String], out: &mut Vec<Row>) {
    let mut name = field.to_owned();
    let mut push = |a: Option<&String>, b: Option<&String>| {
        out.push(Row {
            field: std::mem::take(&mut name),
            golden: a.cloned(),
            found: b.cloned(),
        });
    };
    for op in capture_diff_slices(Algorithm::Patience, golden, found) {
        let (a, b) = (op.old_range(), op.new_range());
        let (a, b) = (
            golden.get(a).unwrap_or_default(),
            found.get(b).unwrap_or_default(),
        );
        match op {
            DiffOp::Equal { .. } | DiffOp::Replace { .. } => {
                for at in 0..a.len().max(b.len()) {
                    push(a.get(at), b.get(at));
                }
            }
            DiffOp::Delete { .. } => a.iter().for_each(|line| push(Some(line), None)),
            DiffOp::Insert { .. } => b.iter().for_each(|line| push(None, Some(line))),
        }
    }
}

/// Every fact as lines, by `group.key`. Sources are left out: where a fact was read is no part of it.
fn facts(signature: &Signature) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    let Ok(Value::Object(groups)) = serde_json::to_value(signature) else {
        return out;
    };
    for (group, facts) in groups {
        match facts {
            Value::Object(facts) => {
                for (key, fact) in facts {
                    out.insert(format!("{group}.{key}"), lines(&fact));
                }
            }
            other => {
                out.insert(group, value_lines(&other));
            }
        }
    }
    out
}

fn lines(fact: &Value) -> Vec<String> {
    match (fact.get("value"), fact.get("absent")) {
        (Some(value), _) => value_lines(value),
        (None, Some(Value::String(reason))) => vec![format!("– {reason}")],
        _ => vec![fact.to_string()],
    }
}

fn value_lines(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(value_lines).collect(),
        Value::Object(parts) => parts
            .iter()
            .map(|(key, part)| format!("{key}: {}", value_lines(part).join(", ")))
            .collect(),
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_signature::model::{Fact, Source};

    fn golden() -> Signature {
        let snap = include_str!(
            "../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
        );
        Signature::from_toml(snap.splitn(3, "---\n").nth(2).unwrap()).unwrap()
    }

    fn plain(found: &Signature, full: bool, width: usize) -> String {
        anstream::adapter::strip_str(&sides(&golden(), found, full, width)).to_string()
    }

    #[test]
    fn only_facts_that_differ_are_shown_and_the_same_frames_stand_side_by_side() {
        assert_eq!(plain(&golden(), false, 100), "");
        let mut found = golden();
        found.fault.vector = Fact::known(13, Source::Vmcore);
        if let Fact::Known { value, .. } = &mut found.frames.chain {
            value.remove(3);
        }
        let text = plain(&found, false, 90);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(
            lines
                .iter()
                .any(|l| l.starts_with("  fault.vector  12 ") && l.ends_with("≠ 13")),
            "{text}"
        );
        assert!(
            lines
                .iter()
                .any(|l| l.contains("usbdev_do_ioctl") && l.ends_with('<')),
            "{text}"
        );
        let both = |l: &&&str| l.matches("usb_hcd_submit_urb").count() == 2;
        assert_eq!(lines.iter().filter(both).count(), 1, "{text}");
        assert!(!text.contains("slab.cache"), "{text}");
    }

    #[test]
    fn every_fact_is_shown_on_demand_within_the_terminal_s_width() {
        let text = plain(&golden(), true, 100);
        assert!(text.contains("slab.cache"));
        assert!(
            text.lines().all(|line| display_width(line) <= 100),
            "{text}"
        );
    }

    #[test]
    fn a_value_is_cut_at_the_column_s_end_also_where_characters_are_wide() {
        assert_eq!(fitted("abc", 5), "abc  ");
        assert_eq!(fitted("abcdef", 4), "abc…");
        assert_eq!(fitted("漢字漢字", 5), "漢字…");
    }
}
