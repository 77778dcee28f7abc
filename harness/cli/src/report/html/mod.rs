//! A document as a page that stands alone: no network, no framework, no script; to be read with the keyboard, in dark and
//! light, and on paper. Sees finished data only; maud escapes all text, in attributes and in pictures too.
mod cases;
mod crash;
mod memory;
mod parts;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Document, Kind, Met};
use super::emit::Links;
use parts::{facts, paragraph, section_of};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded and nothing runs, whatever text of a guest's may get into the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// A headed part of the page: its anchor, its heading, what stands there.
type Part = (String, String, Markup);

/// The page.
pub(crate) fn page(document: &Document, links: &Links<'_>) -> String {
    let parts = parts(document, links);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "recrash " (document.version) };
                title { "recrash: " (paragraph(&document.headline)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the result" }
                header {
                    (banner(document))
                    nav aria-label="Parts of this report" {
                        ul {
                            @for (anchor, heading, _) in &parts {
                                li { a href={ "#" (anchor) } { (heading) } }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" {
                    @for (anchor, heading, content) in &parts {
                        section aria-labelledby=(anchor) {
                            h2 id=(anchor) { (heading) }
                            (content)
                        }
                    }
                }
                footer {
                    "recrash " (document.version) ", report of version " (document.recrash_report)
                    @if let Some(when) = &document.when { ", of " (paragraph(when)) }
                    ". This page loads nothing and runs nothing."
                }
            }
        }
    };
    page.into_string()
}

/// The verdict, so that nobody has to scroll for it.
fn banner(document: &Document) -> Markup {
    let (class, mark) = match document.met() {
        Met::Yes => ("good", "✓"),
        Met::No => ("bad", "✗"),
        Met::Open => ("warn", "?"),
        Met::Told => ("plain", "i"),
    };
    html! {
        div class={ "banner " (class) } {
            p class="verdict" {
                span aria-hidden="true" { (mark) " " }
                (document.standing())
                @match (&document.verdict, &document.expected) {
                    (Some(verdict), Some(expected)) if verdict != expected => {
                        ": " (paragraph(verdict)) ", expected " (paragraph(expected))
                    },
                    (Some(verdict), _) => { ": " (paragraph(verdict)) },
                    (None, Some(expected)) => { " (expected: " (paragraph(expected)) ")" },
                    (None, None) => {},
                }
            }
            div class="what" {
                h1 { (paragraph(&document.headline)) }
                p {
                    (document.kind.name()) " " code { (paragraph(&document.name)) }
                    @if let Some(took) = document.took_ms { ", " (seconds(took)) }
                    ", exit code " (document.exit)
                }
            }
        }
    }
}

/// Everything below the banner, in the order of reading; what there is nothing of is left out.
fn parts(document: &Document, links: &Links<'_>) -> Vec<Part> {
    let mut out = Parts::default();
    if document.has_table() {
        out.add("Cases", cases::table(document, links));
    }
    if document.kind != Kind::Triage
        && let Some((heading, wrong)) = cases::wrong(document)
    {
        out.add(heading, wrong);
    }
    // Of a single run the crash is the matter; elsewhere the command's own words are.
    let run = document.kind == Kind::Run;
    let crash = |out: &mut Parts| {
        let parts = document
            .crash
            .iter()
            .flat_map(|crash| crash::parts(document, crash));
        parts.for_each(|(heading, content)| out.add(heading, content));
    };
    let sections = |out: &mut Parts, detail: bool| {
        let sections = document
            .sections
            .iter()
            .filter(|section| section.detail == detail);
        sections.for_each(|section| out.add(&section.heading, section_of(section)));
    };
    if run {
        crash(&mut out);
    }
    sections(&mut out, false);
    if !run {
        crash(&mut out);
    }
    sections(&mut out, true);
    if !document.environment.is_empty() {
        out.add("Environment", facts(&document.environment));
    }
    if !document.missing.is_empty() {
        let list = html! { ul { @for why in &document.missing { li { (paragraph(why)) } } } };
        out.add("Not found", list);
    }
    out.parts
}

/// Parts with anchors that no two of them share.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
}

impl Parts {
    fn add(&mut self, heading: &str, content: Markup) {
        let anchor = format!("part-{}", self.parts.len() + 1);
        self.parts.push((anchor, paragraph(heading), content));
    }
}

/// Seconds with a decimal.
fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests;
