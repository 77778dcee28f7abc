//! A comparison as text: verdict, differences with and without a rule, what was not compared.
//! Sees finished data only.
use anstyle::Style;
use recrash_signature::compare::{Comparison, Difference, Gap, Verdict};
use std::fmt::Write;

use super::text::heading;
use crate::output::{BAD, DIM, GOOD, WARN, printable};

/// Longest value shown in a list; the signature has the whole of it.
const MAX_VALUE: usize = 160;

/// The whole comparison with the golden of this name.
pub(crate) fn comparison(comparison: &Comparison, golden: &str) -> String {
    let mut out = String::new();
    heading(&mut out, "Verdict");
    let verdict = comparison.verdict;
    let style = style(verdict);
    let _ = writeln!(
        out,
        "  {style}{verdict}{style:#}  {}",
        printable(&comparison.why)
    );
    let _ = writeln!(out, "  {DIM}golden: {golden}{DIM:#}");
    differences(&mut out, "Unexplained differences", &comparison.unexplained);
    differences(&mut out, "Explained differences", &comparison.explained);
    gaps(
        &mut out,
        "Not known here, but in the golden",
        &comparison.unknown,
    );
    gaps(&mut out, "Not covered by the golden", &comparison.uncovered);
    differences(&mut out, "Circumstances that differ", &comparison.context);
    out
}

/// The colour of a verdict. Only the caller knows what was expected, so it is about sameness.
fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::SameCrash => GOOD,
        Verdict::SameBug | Verdict::NoCrash => WARN,
        Verdict::Different | Verdict::Inconclusive => BAD,
    }
}

fn differences(out: &mut String, name: &str, differences: &[Difference]) {
    if differences.is_empty() {
        return;
    }
    heading(out, name);
    for difference in differences {
        let _ = match difference.rule {
            Some(rule) => writeln!(out, "  {} ({rule})", difference.field),
            None => writeln!(out, "  {}", difference.field),
        };
        let _ = writeln!(out, "    golden  {}", value(&difference.golden));
        let _ = writeln!(out, "    found   {}", value(&difference.found));
        if !difference.reason.is_empty() {
            let _ = writeln!(out, "    {DIM}{}{DIM:#}", printable(&difference.reason));
        }
    }
}

fn gaps(out: &mut String, name: &str, gaps: &[Gap]) {
    if gaps.is_empty() {
        return;
    }
    heading(out, name);
    let width = gaps.iter().map(|gap| gap.field.len()).max().unwrap_or(0);
    for gap in gaps {
        let _ = writeln!(
            out,
            "  {:<width$}  {DIM}{}{DIM:#}",
            gap.field,
            printable(&gap.reason)
        );
    }
}

/// One line of a value, cut where it would fill the screen.
fn value(text: &str) -> String {
    let line = printable(&text.replace('\n', " "));
    match line.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_signature::compare::Part;

    fn plain(found: &Comparison) -> String {
        anstream::adapter::strip_str(&comparison(found, "case/name")).to_string()
    }

    #[test]
    fn a_verdict_alone_has_no_empty_sections() {
        assert_eq!(
            plain(&Comparison::no_crash("the scenario ended")),
            "Verdict\n  no-crash  the scenario ended\n  golden: case/name\n"
        );
    }

    #[test]
    fn a_difference_shows_both_values_its_rule_and_the_reason() {
        let mut found = Comparison::no_crash("");
        found.explained.push(Difference {
            field: "fault.vector".into(),
            part: Part::Detail,
            golden: "12".into(),
            found: "13".into(),
            rule: Some("tcg-no-ss"),
            reason: "TCG raises #GP".into(),
        });
        let expected = "\
Explained differences
  fault.vector (tcg-no-ss)
    golden  12
    found   13
    TCG raises #GP
";
        assert!(plain(&found).ends_with(expected), "{}", plain(&found));
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let text = "ä".repeat(MAX_VALUE + 1);
        assert_eq!(value(&text).chars().count(), MAX_VALUE + 1);
        assert!(value(&text).ends_with('…'));
        assert_eq!(value("short\nlines"), "short lines");
    }
}
