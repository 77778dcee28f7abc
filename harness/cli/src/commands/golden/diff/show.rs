//! A golden diff as text, as Markdown for a pull request, and as GitHub's annotations. Sees finished data only.
use recrash_signature::change::{Change, FactChange, Kind};
use recrash_signature::compare::{Part, Verdict};
use std::fmt::Write;

use super::{Entry, Fate, Like, Told};
use crate::github;
use crate::output::{BAD, DIM, GOOD, HEAD, printable};

/// Lines of a text's diff in Markdown.
const MOST_LINES: usize = 400;
/// Characters of a value.
const MOST_CHARS: usize = 600;

const WHAT_TO_DO: &str = "A golden says which crash counts as the same one, and every run is held against it. If the change is meant, say in \
the pull request why the evidence is read otherwise now, and let the owner of the case review it. If it is not meant, bring \
the file back";

/// For a terminal.
pub(super) fn text(told: &Told) -> String {
    let mut out = String::new();
    for entry in &told.entries {
        let style = if entry.counts { BAD } else { HEAD };
        let _ = writeln!(out, "{style}{}{style:#}", printable(&entry.file));
        let _ = writeln!(out, "  {}", sentence(entry));
        if let Fate::Changed(change) = &entry.fate {
            for fact in &change.facts {
                let _ = writeln!(out, "  {}{}", printable(&fact.field), meaning(fact));
                let _ = writeln!(out, "    was  {}", value(&fact.was));
                let _ = writeln!(out, "    is   {}", value(&fact.is));
            }
        }
        out.push('\n');
        for line in entry.diff.lines() {
            let style = match line.as_bytes().first() {
                Some(b'+') => GOOD,
                Some(b'-') => BAD,
                _ => DIM,
            };
            let _ = writeln!(out, "  {style}{}{style:#}", printable(line));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}", summary(told));
    if told.entries.iter().any(|entry| entry.counts) {
        let _ = writeln!(out, "{DIM}next:{DIM:#} {}", what_to_do(told));
    }
    out
}

/// For a pull request or a job's summary.
pub(super) fn markdown(told: &Told) -> String {
    let mut out = String::from("## Goldens\n\n");
    let _ = writeln!(out, "{}", summary(told));
    for entry in &told.entries {
        let mark = if entry.counts { "⚠️ " } else { "" };
        let _ = writeln!(
            out,
            "\n### {mark}{}\n\n{}",
            code(&entry.file),
            escape(&sentence(entry))
        );
        if let Fate::Changed(change) = &entry.fate
            && !change.facts.is_empty()
        {
            out.push_str("\n| fact | was | is | means |\n|---|---|---|---|\n");
            for fact in &change.facts {
                let cells =
                    [&fact.field, &value(&fact.was), &value(&fact.is)].map(|text| code(text));
                let _ = writeln!(
                    out,
                    "| {} | {} |",
                    cells.join(" | "),
                    meaning(fact).trim_start_matches([',', ' '])
                );
            }
        }
        out.push_str("\n<details><summary>The text's diff</summary>\n\n");
        out.push_str(&fenced(&entry.diff));
        out.push_str("\n</details>\n");
    }
    if told.entries.iter().any(|entry| entry.counts) {
        let _ = writeln!(out, "\n{}.", escape(&what_to_do(told)));
    }
    out
}

/// A warning at each golden that counts otherwise, as GitHub shows it beside the file.
pub(super) fn annotations(told: &Told) -> String {
    let counting = told.entries.iter().filter(|entry| entry.counts);
    counting
        .map(|entry| {
            let level = match entry.fate {
                Fate::Unreadable { .. } => "error",
                _ => "warning",
            };
            let mut message = sentence(entry);
            if let Fate::Changed(change) = &entry.fate {
                for fact in change.facts.iter().filter(|fact| fact.part.is_some()) {
                    let _ = write!(
                        message,
                        "\n{}: was {}, is {}",
                        fact.field,
                        value(&fact.was),
                        value(&fact.is)
                    );
                }
            }
            let title = "This golden counts otherwise";
            github::annotation(level, &entry.file, title, &printable_lines(&message))
        })
        .collect()
}

fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// One line: what all of it comes to.
fn summary(told: &Told) -> String {
    let between = format!("{} → {}", printable(&told.base), printable(&told.head));
    let counts = told.entries.iter().filter(|entry| entry.counts).count();
    match (told.entries.len(), counts) {
        (0, _) => format!("{between}: no golden changed."),
        (all, 0) => format!(
            "{between}: {} changed, and what counts as the same crash did not.",
            goldens(all)
        ),
        (all, counts) => format!(
            "{between}: this change alters what counts as the same crash: {} of {} that changed.",
            counts,
            goldens(all)
        ),
    }
}

fn goldens(count: usize) -> String {
    match count {
        1 => "1 golden".into(),
        count => format!("{count} goldens"),
    }
}

fn what_to_do(told: &Told) -> String {
    let files: Vec<&str> = told
        .entries
        .iter()
        .filter(|entry| entry.counts && !matches!(entry.fate, Fate::New { .. }))
        .map(|entry| entry.file.as_str())
        .collect();
    let base = told.base.split(' ').next().unwrap_or_default();
    match files.as_slice() {
        [] => "A new golden is accepted evidence from now on: look at what it rests on, the text beside it".into(),
        _ if !told.base_is_revision => WHAT_TO_DO.into(),
        files => {
            let words = ["git", "checkout", base, "--"].into_iter().chain(files.iter().copied());
            let line: Vec<String> = words.map(crate::shell::quote).collect();
            format!("{WHAT_TO_DO}: {}", printable(&line.join(" ")))
        }
    }
}

/// What became of the golden, and what follows.
fn sentence(entry: &Entry) -> String {
    match &entry.fate {
        Fate::New { like } => format!("new: {}", likeness(like, "no other golden is of this bug")),
        Fate::Deleted { like } => format!(
            "deleted: a crash that only it described {}",
            match like.first() {
                None => "is known to no golden any more".to_owned(),
                Some(_) => format!("is still known: {}", likeness(like, "")),
            }
        ),
        Fate::Moved { from } => format!("moved from {from}; it says the same"),
        Fate::Unreadable { why } => format!("what this changes cannot be told: {why}"),
        Fate::Changed(change) => changed(change),
    }
}

fn changed(change: &Change) -> String {
    let judged = match change.verdict {
        Verdict::SameCrash => "a crash as the old one tells it is still the same crash".to_owned(),
        Verdict::SameBug => format!(
            "a crash as the old one tells it is now only the same bug: {}",
            change.why
        ),
        Verdict::Different => format!(
            "a crash as the old one tells it is now a different one: {}",
            change.why
        ),
        Verdict::Inconclusive | Verdict::NoCrash => {
            format!(
                "a crash as the old one tells it can no longer be judged: {}",
                change.why
            )
        }
    };
    match change.heaviest() {
        None => format!("nothing that is compared changed; {judged}"),
        Some(Part::Context) => {
            format!("only circumstances changed, which are shown and never counted; {judged}")
        }
        Some(part) => {
            let fields: Vec<&str> = change
                .facts
                .iter()
                .filter(|fact| fact.part == Some(part))
                .map(|fact| fact.field.as_str())
                .collect();
            format!(
                "this alters what counts as {}: {}; {judged}",
                counts_as(part),
                fields.join(", ")
            )
        }
    }
}

/// What a part decides.
fn counts_as(part: Part) -> &'static str {
    match part {
        Part::Identity => "the same bug",
        Part::Place => "the same crash (where it struck)",
        Part::Detail => "the same crash (its details)",
        Part::Context => "nothing",
    }
}

fn likeness(like: &[Like], none: &str) -> String {
    let told: Vec<String> = like
        .iter()
        .map(|one| format!("{} as {}", one.verdict, one.golden))
        .collect();
    match told.as_slice() {
        [] => none.to_owned(),
        told => told.join(", "),
    }
}

/// `, identity; compared from now on`
fn meaning(fact: &FactChange) -> String {
    let part = match fact.part {
        Some(Part::Identity) => "identity: which bug it is",
        Some(Part::Place) => "place: where it struck",
        Some(Part::Detail) => "detail",
        Some(Part::Context) => "circumstance: not counted",
        None => "not compared",
    };
    let kind = match (fact.part, fact.kind) {
        (None, _) | (_, Kind::Changed | Kind::Told) => "",
        (_, Kind::NowKnown) => "; compared from now on",
        (_, Kind::NoLongerKnown) => "; not compared any more",
    };
    let rule = match fact.rule {
        Some(rule) => format!("; the rule {rule} explains such a difference"),
        None => String::new(),
    };
    format!(", {part}{kind}{rule}")
}

fn value(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Text in a code span: nothing in it is markup, whatever it is.
fn code(text: &str) -> String {
    let text = printable(text).replace('|', "\\|");
    // A span is closed by as many backticks as opened it.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    match longest {
        0 => format!("{fence}{text}{fence}"),
        _ => format!("{fence} {text} {fence}"),
    }
}

/// A block of code that its contents cannot close.
fn fenced(diff: &str) -> String {
    let longest = diff
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or(0)
        .max(2);
    let fence = "`".repeat(longest + 1);
    let mut out = format!("{fence}diff\n");
    for line in diff.lines().take(MOST_LINES) {
        let _ = writeln!(out, "{}", printable(line));
    }
    if diff.lines().count() > MOST_LINES {
        out.push_str("…\n");
    }
    out + &fence + "\n"
}

/// Prose in Markdown: nothing in it is markup or HTML.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
