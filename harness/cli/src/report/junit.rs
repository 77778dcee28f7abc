//! A document as JUnit XML, which every CI system reads: a suite for each group of cases. Sees finished data only;
//! what XML cannot carry, quick-junit leaves out.
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;
use std::time::Duration;

use super::document::{Case, Document, Outcome};
use crate::output::printable;

/// The document.
///
/// # Errors
/// Never in practice: it is written to memory.
pub(crate) fn document(document: &Document) -> anyhow::Result<String> {
    let mut report = Report::new(format!("recrash {}", document.kind.name()));
    for (group, cases) in groups(document) {
        let mut suite = TestSuite::new(printable(group));
        for fact in &document.environment {
            suite.add_property((&*printable(&fact.name), &*printable(&fact.value)));
        }
        if let Some(when) = &document.when {
            suite.extra.insert("timestamp".into(), (&**when).into());
        }
        let took = cases.iter().filter_map(|case| case.took_ms);
        suite.set_time(Duration::from_millis(took.fold(0, u64::saturating_add)));
        let skipped = |case: &&&Case| matches!(case.outcome, Outcome::Skipped | Outcome::Unjudged);
        let skipped = cases.iter().filter(skipped).count();
        suite
            .extra
            .insert("skipped".into(), skipped.to_string().into());
        for case in cases {
            suite.add_test_case(test_case(group, case));
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

/// The cases by their groups, in the order in which the groups come first.
fn groups(document: &Document) -> Vec<(&str, Vec<&Case>)> {
    let mut out: Vec<(&str, Vec<&Case>)> = Vec::new();
    for case in &document.cases {
        let group = case.group.as_deref().unwrap_or(&document.name);
        match out.iter_mut().find(|(name, _)| *name == group) {
            Some((_, cases)) => cases.push(case),
            None => out.push((group, vec![case])),
        }
    }
    out
}

fn test_case(group: &str, case: &Case) -> TestCase {
    let status = match case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed => non_success(NonSuccessKind::Failure, case),
        Outcome::Error => non_success(NonSuccessKind::Error, case),
        Outcome::Skipped | Outcome::Unjudged => {
            let mut status = TestCaseStatus::skipped();
            // As text: the schemas give this element no attributes.
            status.set_description(printable(&case.sentence()));
            status
        }
    };
    let mut test = TestCase::new(printable(&case.name), status);
    test.set_classname(printable(&format!("recrash.{group}")));
    test.set_time(Duration::from_millis(case.took_ms.unwrap_or(0)));
    let file = case.golden.as_ref().and_then(|golden| golden.file.as_ref());
    if let Some(file) = file {
        test.extra.insert("file".into(), printable(file).into());
    }
    test
}

fn non_success(kind: NonSuccessKind, case: &Case) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(printable(&case.sentence()));
    let verdict = case.verdict.as_deref();
    status.set_type(printable(verdict.unwrap_or(case.outcome.words())));
    status.set_description(details(case));
    status
}

/// What differs, for whoever sees nothing but this file.
fn details(case: &Case) -> String {
    let mut out = printable(&case.sentence()) + "\n";
    for (name, text) in [("crash", &case.title), ("bug", &case.bug)] {
        if let Some(text) = text {
            let _ = writeln!(out, "{name}: {}", printable(text));
        }
    }
    if let Some(golden) = &case.golden {
        let file = golden.file.as_deref().unwrap_or(&golden.name);
        let _ = writeln!(out, "golden: {}", printable(file));
    }
    for one in &case.unexplained {
        let _ = writeln!(out, "{} differs", printable(&one.field));
        for (name, value) in [("golden", &one.golden), ("found", &one.found)] {
            let _ = writeln!(out, "  {name:<6} {}", printable(&value.replace('\n', " ")));
        }
        if !one.reason.is_empty() {
            let _ = writeln!(out, "  {}", printable(&one.reason));
        }
    }
    for gap in &case.unknown {
        let _ = writeln!(
            out,
            "{} is not known here: {}",
            printable(&gap.field),
            printable(&gap.reason)
        );
    }
    if let Some(folder) = &case.folder {
        let _ = writeln!(out, "kept in: {}", printable(folder));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::document::Kind;

    #[test]
    fn what_xml_cannot_carry_does_not_get_into_it() {
        let mut all = Document::new(Kind::Campaign, "c\u{1}", "h", Exit::Differs);
        let hostile = "]]></failure><x a='\"&\u{0}\x1b[31m";
        let mut failed = Case::new(hostile, Outcome::Failed, hostile);
        failed.verdict = Some(hostile.into());
        all.cases = vec![
            failed,
            Case::new("b", Outcome::Passed, ""),
            Case::new("c", Outcome::Skipped, hostile),
            Case::new("d", Outcome::Error, "no boot"),
        ];
        let text = document(&all).unwrap();
        assert!(text.contains("tests=\"4\""), "{text}");
        assert!(
            text.contains("failures=\"1\" ") || text.contains("failures=\"1\">"),
            "{text}"
        );
        assert!(text.contains("skipped=\"1\""), "{text}");
        assert!(
            !text.contains("<x") && !text.contains('\x1b') && !text.contains('\0'),
            "{text}"
        );
    }
}
