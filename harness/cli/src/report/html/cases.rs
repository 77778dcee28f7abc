//! The cases of a document: one table of all of them, each linked to its own page, and what differs in those that came
//! out otherwise.
use maud::{Markup, html};

use super::parts::{facts, lines, more, paragraph, scroll};
use super::seconds;
use crate::report::document::{Case, Difference, Document, Outcome};
use crate::report::emit::Links;

/// Rows of the table.
const MAX_CASES: usize = 2000;
/// Cases whose differences are shown.
const MAX_DETAILED: usize = 50;

/// Class and symbol of an outcome; the word stands beside it.
fn look(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("good", "✓"),
        Outcome::Failed => ("bad", "✗"),
        Outcome::Error => ("warn", "?"),
        Outcome::Skipped => ("plain", "–"),
        Outcome::Unjudged => ("plain", "i"),
    }
}

fn tag(outcome: Outcome) -> Markup {
    let (class, mark) = look(outcome);
    html! { span class={ "tag " (class) } { (mark) " " (outcome.words()) } }
}

/// The table of all cases.
pub(super) fn table(document: &Document, links: &Links<'_>) -> Markup {
    html! {
        p { (document.counts().words()) }
        (scroll("cases", &html! {
            table class="wide" {
                thead {
                    tr {
                        @for heading in ["outcome", "case", "expected", "got", "differences", "time", "why"] {
                            th scope="col" { (heading) }
                        }
                    }
                }
                tbody {
                    @for case in document.cases.iter().take(MAX_CASES) { (row(case, links)) }
                }
            }
        }))
        (more(document.cases.len(), MAX_CASES))
    }
}

fn row(case: &Case, links: &Links<'_>) -> Markup {
    let name = paragraph(&case.full_name());
    let page = case.folder.as_deref().and_then(|folder| links.page(folder));
    let differences = match (case.explained.len(), case.unexplained.len()) {
        (0, 0) => "–".to_owned(),
        (explained, 0) => format!("{explained} explained"),
        (explained, unexplained) => format!("{explained} explained, {unexplained} unexplained"),
    };
    html! {
        tr {
            td class="short" { (tag(case.outcome)) }
            th scope="row" {
                @if let Some(page) = page { a href=(page) { (name) } } @else { (name) }
            }
            td class="short" { (paragraph(case.expected.as_deref().unwrap_or("–"))) }
            td class="short" { (paragraph(case.verdict.as_deref().unwrap_or("–"))) }
            td { (differences) }
            td class="short" { (case.took_ms.map_or_else(|| "–".to_owned(), seconds)) }
            td { (paragraph(&case.why)) }
        }
    }
}

/// What differs in the cases that came out otherwise, and its heading; `None` where there are none.
pub(super) fn wrong(document: &Document) -> Option<(&'static str, Markup)> {
    let wrong: Vec<&Case> = document
        .cases
        .iter()
        .filter(|case| matches!(case.outcome, Outcome::Failed | Outcome::Error))
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let failed = wrong.iter().any(|case| case.outcome == Outcome::Failed);
    let heading = if failed {
        "Not as expected"
    } else {
        "Inconclusive"
    };
    let content = html! {
        @for case in wrong.iter().take(MAX_DETAILED) { (details(case)) }
        (more(wrong.len(), MAX_DETAILED))
    };
    Some((heading, content))
}

fn details(case: &Case) -> Markup {
    html! {
        h3 { (tag(case.outcome)) " " (paragraph(&case.full_name())) }
        p { (paragraph(&case.sentence())) }
        @if let Some(title) = &case.title { p { "Crash: " code { (paragraph(title)) } } }
        @if let Some(bug) = &case.bug { p { "Bug: " code { (paragraph(bug)) } } }
        @if let Some(golden) = &case.golden {
            p {
                "Golden: "
                code { (paragraph(golden.file.as_deref().unwrap_or(&golden.name))) }
            }
        }
        @if !case.unexplained.is_empty() {
            (differences("Differences that no rule explains", &case.unexplained))
        }
        @if !case.unknown.is_empty() {
            p { "Not known here, but in the golden:" }
            ul {
                @for gap in &case.unknown {
                    li { code { (paragraph(&gap.field)) } ": " (paragraph(&gap.reason)) }
                }
            }
        }
        @if !case.facts.is_empty() { (facts(&case.facts)) }
    }
}

/// Differences with both values, the rule and the reason.
pub(super) fn differences(caption: &str, all: &[Difference]) -> Markup {
    scroll(
        caption,
        &html! {
            table class="wide" {
                caption { (caption) ": " (all.len()) }
                thead {
                    tr {
                        @for heading in ["fact", "golden", "found", "what is said of it"] {
                            th scope="col" { (heading) }
                        }
                    }
                }
                tbody {
                    @for one in all {
                        tr {
                            th scope="row" class="mono" { (paragraph(&one.field)) }
                            td class="value" { (lines(&one.golden)) }
                            td class="value" { (lines(&one.found)) }
                            td {
                                @if let Some(rule) = &one.rule {
                                    "rule " code { (paragraph(rule)) }
                                    @if !one.reason.is_empty() { ": " }
                                }
                                (paragraph(&one.reason))
                            }
                        }
                    }
                }
            }
        },
    )
}
