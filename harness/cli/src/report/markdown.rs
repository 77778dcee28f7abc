//! A document as Markdown, for pull requests and issues: a short table first, the rest folded, and never longer than
//! GitHub takes. Sees finished data only. Text from guests and files is escaped or stands in code.
use std::fmt::Write;

use super::document::crash::SideState;
use super::document::{Block, Case, CrashPart, Document, Kind, Met, Outcome, Section, Table};
use super::{Fact, Frame};
use crate::output::printable;

/// Longest text, in bytes. GitHub takes 1 MiB of a step's summary (and refuses all of it beyond), and a step may add to
/// what others wrote.
const MAX_BYTES: usize = 256 << 10;
/// Cases in the table; the others are counted.
const MAX_CASES: usize = 100;
/// Cases whose differences are shown.
const MAX_DETAILED: usize = 20;
/// Characters of one value.
const MAX_VALUE: usize = 300;
/// Lines of console or other output.
const MAX_LINES: usize = 80;

/// The whole document.
pub(crate) fn document(document: &Document) -> String {
    let mut pieces = Pieces::default();
    pieces.add(head(document));
    pieces.add(cases(document));
    if document.kind != Kind::Triage {
        for case in wrong(document).take(MAX_DETAILED) {
            pieces.add(differences(case, "###"));
        }
    }
    for section in document.sections.iter().filter(|section| !section.detail) {
        pieces.add(section_text(section));
    }
    if let Some(crash) = &document.crash {
        for piece in crash_pieces(document, crash) {
            pieces.add(piece);
        }
    }
    for section in document.sections.iter().filter(|section| section.detail) {
        pieces.add(folded(&section.heading, &blocks(&section.blocks)));
    }
    if !document.environment.is_empty() {
        pieces.add(folded("Environment", &facts(&document.environment)));
    }
    if !document.missing.is_empty() {
        pieces.add(folded("Not found", &list(&document.missing)));
    }
    pieces.end()
}

/// Pieces as long as they fit; what does not is counted.
#[derive(Default)]
struct Pieces {
    text: String,
    left_out: usize,
}

impl Pieces {
    fn add(&mut self, piece: String) {
        if piece.is_empty() {
            return;
        }
        if self.text.len() + piece.len() > MAX_BYTES {
            self.left_out += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&piece);
    }

    fn end(mut self) -> String {
        if self.left_out > 0 {
            let _ = write!(
                self.text,
                "\n{} more sections are in report.html: together they are longer than a summary may be.\n",
                self.left_out
            );
        }
        self.text
    }
}

fn head(document: &Document) -> String {
    let mark = match document.met() {
        Met::Yes => "✅",
        Met::No => "❌",
        Met::Open => "⚠️",
        Met::Told => "ℹ️",
    };
    let mut out = format!("## {mark} {}\n\n", plain(&document.headline));
    let mut rows = vec![(document.kind.name(), code(&document.name))];
    if let Some(verdict) = &document.verdict {
        let expected = document.expected.as_ref().map_or_else(String::new, |text| {
            format!(", expected {}: {}", code(text), document.met().words())
        });
        rows.push(("verdict", format!("**{}**{expected}", plain(verdict))));
    }
    if let Some(crash) = document
        .crash
        .as_ref()
        .filter(|crash| !crash.title.is_empty())
    {
        rows.push(("crash", code(&crash.title)));
        rows.extend(crash.bug.iter().map(|bug| ("bug", code(bug))));
    }
    if let [case] = document.cases.as_slice()
        && let Some(golden) = &case.golden
    {
        rows.push(("golden", code(&golden.name)));
    }
    if let Some(took) = document.took_ms {
        rows.push(("time", seconds(took)));
    }
    let _ = writeln!(out, "| | |\n|---|---|");
    for (name, value) in rows {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    out
}

fn wrong(document: &Document) -> impl Iterator<Item = &Case> {
    let wrong = |case: &&Case| matches!(case.outcome, Outcome::Failed | Outcome::Error);
    document.cases.iter().filter(wrong)
}

/// The table of the cases, those against the expectation first; nothing for a single one.
fn cases(document: &Document) -> String {
    if !document.has_table() {
        return String::new();
    }
    let mut sorted: Vec<&Case> = document.cases.iter().collect();
    sorted.sort_by_key(|case| match case.outcome {
        Outcome::Failed => 0,
        Outcome::Error => 1,
        Outcome::Passed => 2,
        Outcome::Skipped | Outcome::Unjudged => 3,
    });
    let mut out = format!(
        "{}\n\n| | case | expected | got | time | why |\n|---|---|---|---|---|---|\n",
        document.counts().words()
    );
    for case in sorted.iter().take(MAX_CASES) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            mark(case.outcome),
            plain(&cut(&case.full_name())),
            case.expected.as_deref().map_or_else(dash, plain),
            case.verdict.as_deref().map_or_else(
                || case.outcome.words().to_owned(),
                |verdict| format!("{} ({})", plain(verdict), case.outcome.words())
            ),
            case.took_ms.map_or_else(dash, seconds),
            plain(&cut(&case.why)),
        );
    }
    if sorted.len() > MAX_CASES {
        let _ = writeln!(out, "\n{} more cases", sorted.len() - MAX_CASES);
    }
    out
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✅",
        Outcome::Failed => "❌",
        Outcome::Error => "⚠️",
        Outcome::Skipped => "⏭️",
        Outcome::Unjudged => "ℹ️",
    }
}

fn dash() -> String {
    "–".into()
}

/// What a case's comparison found, under a heading of this level.
fn differences(case: &Case, level: &str) -> String {
    let mut out = format!("{level} {}\n\n", plain(&case.full_name()));
    let _ = writeln!(out, "{}\n", plain(&case.sentence()));
    if let Some(title) = &case.title {
        let _ = writeln!(out, "Crash: {}\n", code(title));
    }
    if !case.unexplained.is_empty() {
        let _ = writeln!(out, "| differs | golden | found | |\n|---|---|---|---|");
        for one in &case.unexplained {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                code(&one.field),
                code(&one.golden),
                code(&one.found),
                plain(&one.reason)
            );
        }
        out.push('\n');
    }
    let gaps: Vec<String> = case
        .unknown
        .iter()
        .map(|gap| format!("{} is not known here: {}", gap.field, gap.reason))
        .collect();
    if !gaps.is_empty() {
        out.push_str(&list(&gaps));
        out.push('\n');
    }
    if let Some(file) = case.golden.as_ref().and_then(|golden| golden.file.as_ref()) {
        let _ = writeln!(out, "Golden: {}", code(file));
    }
    out
}

fn crash_pieces(document: &Document, crash: &CrashPart) -> Vec<String> {
    let account = &crash.account;
    let mut pieces = Vec::new();
    let explained: Vec<Vec<String>> = document
        .cases
        .iter()
        .flat_map(|case| &case.explained)
        .map(|one| {
            let rule = one.rule.clone().unwrap_or_default();
            [&one.field, &one.golden, &one.found, &rule, &one.reason]
                .map(String::clone)
                .to_vec()
        })
        .collect();
    if !explained.is_empty() {
        let heading = format!("Differences that a rule explains: {}", explained.len());
        let columns = ["fact", "golden", "found", "rule", "reason"].map(str::to_owned);
        pieces.push(folded(&heading, &rows(&columns, &explained)));
    }
    for (heading, list) in [
        ("Crash", &account.context),
        ("Fault", &account.fault),
        ("Corruption", &account.corruption),
        ("Slab", &account.slab),
    ] {
        if !list.is_empty() {
            pieces.push(folded(heading, &facts(list)));
        }
    }
    if !account.frames.is_empty() {
        let frames = (0..)
            .zip(&account.frames)
            .flat_map(frame)
            .collect::<Vec<_>>();
        pieces.push(folded("Backtrace", &fenced(&frames)));
    }
    let differing: Vec<Vec<String>> = crash
        .sides
        .iter()
        .filter(|side| side.state != SideState::Same)
        .map(|side| {
            vec![
                side.field.clone(),
                side.golden.clone().unwrap_or_else(dash),
                side.found.clone().unwrap_or_else(dash),
                side.state.words().to_owned(),
            ]
        })
        .collect();
    if !differing.is_empty() {
        let columns = ["fact", "golden", "found", ""].map(str::to_owned);
        pieces.push(folded("Side by side", &rows(&columns, &differing)));
    }
    if let Some(console) = &crash.console {
        let lines: Vec<String> = console
            .lines
            .iter()
            .filter(|line| line.oops)
            .map(|line| line.text.clone())
            .collect();
        if !lines.is_empty() {
            pieces.push(folded("The kernel's message", &fenced(&lines)));
        }
    }
    if !account.missing.is_empty() {
        pieces.push(folded("Not found in the dump", &list(&account.missing)));
    }
    pieces
}

fn frame((number, frame): (usize, &Frame)) -> Vec<String> {
    let mut lines = vec![format!(
        "#{number:<2} {:016x} {}  ({})",
        frame.address, frame.symbol, frame.found_by
    )];
    lines.extend(frame.source.iter().map(|line| {
        let inlined = if line.inlined { " (inlined)" } else { "" };
        format!("        {}{inlined} {}", line.function, line.place())
    }));
    lines
}

fn section_text(section: &Section) -> String {
    format!(
        "### {}\n\n{}",
        plain(&section.heading),
        blocks(&section.blocks)
    )
}

fn blocks(all: &[Block]) -> String {
    let texts: Vec<String> = all
        .iter()
        .map(|block| match block {
            Block::Text { text } => format!("{}\n", plain(text)),
            Block::Facts { facts: list } => facts(list),
            Block::Table(Table {
                caption,
                columns,
                rows: cells,
            }) => {
                let caption = if caption.is_empty() {
                    String::new()
                } else {
                    format!("{}\n\n", plain(caption))
                };
                caption + &rows(columns, cells)
            }
            Block::List { items } => list(items),
            Block::Lines { lines } => fenced(lines),
        })
        .collect();
    texts.join("\n")
}

fn facts(facts: &[Fact]) -> String {
    let mut out = String::from("| | |\n|---|---|\n");
    for fact in facts {
        let proof = if fact.proof.is_empty() {
            String::new()
        } else {
            format!("<br>{}", plain(&cut(&fact.proof)))
        };
        let _ = writeln!(
            out,
            "| {} | {}{proof} |",
            plain(&fact.name),
            code(&fact.value)
        );
    }
    out
}

/// Columns have plain text, cells what may be anything.
fn rows(columns: &[String], cells: &[Vec<String>]) -> String {
    let headings: Vec<String> = columns.iter().map(|text| plain(text)).collect();
    let mut out = format!(
        "| {} |\n{}|\n",
        headings.join(" | "),
        "|---".repeat(columns.len().max(1))
    );
    for row in cells.iter().take(MAX_CASES) {
        let mut texts: Vec<String> = row.iter().map(|cell| plain(&cut(cell))).collect();
        texts.resize(columns.len(), String::new());
        let _ = writeln!(out, "| {} |", texts.join(" | "));
    }
    if cells.len() > MAX_CASES {
        let _ = writeln!(out, "\n{} more rows", cells.len() - MAX_CASES);
    }
    out
}

fn list(items: &[String]) -> String {
    let items = items
        .iter()
        .map(|item| format!("- {}\n", plain(&cut(item))));
    items.collect()
}

fn folded(heading: &str, text: &str) -> String {
    format!(
        "<details><summary>{}</summary>\n\n{}\n\n</details>\n",
        html(heading),
        text.trim_end()
    )
}

/// Lines as they are. The fence is longer than any run of its character inside (CommonMark 0.31, 4.5).
fn fenced(lines: &[String]) -> String {
    let shown: Vec<String> = lines
        .iter()
        .take(MAX_LINES)
        .map(|line| printable(line))
        .collect();
    let text = shown.join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    let more = lines.len().saturating_sub(MAX_LINES);
    let more = if more > 0 {
        format!("\n{more} more lines\n")
    } else {
        String::new()
    };
    format!("{fence}text\n{text}\n{fence}\n{more}")
}

/// A value as code, in a table or outside: between more backticks than it has in a row (CommonMark 0.31, 6.1), on one
/// line, and with the bars that would end a cell escaped (GitHub's tables want that in code as well).
pub(crate) fn code(text: &str) -> String {
    let text = cut(&printable(&text.replace(['\n', '\r'], " ")));
    if text.trim().is_empty() {
        return dash();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let text = text.replace('|', "\\|");
    if text.starts_with('`') || text.ends_with('`') {
        format!("{ticks} {text} {ticks}")
    } else {
        format!("{ticks}{text}{ticks}")
    }
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Text that Markdown leaves as it is (CommonMark 0.31, "Backslash escapes"), on one line. `@name` would call a person,
/// and `name://` would become a link: an invisible joiner keeps them from it.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in printable(&text.replace(['\n', '\r'], " ")).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '@' => out.push_str("@\u{2060}"),
            ':' => out.push(c),
            '/' if out.ends_with(":/") => out.push_str("\u{2060}/"),
            c => out.push(c),
        }
    }
    out
}

/// Text inside of an HTML element.
fn html(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
