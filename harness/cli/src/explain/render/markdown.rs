//! A story as Markdown: headings, lists with the evidence below each statement, tables.
use super::{ENGLISH, Label, Language, Marks, shown};
use crate::explain::story::{Block, BytePart, Explanation, FrameRow, Other, Slot, Story, Told};
use std::fmt::Write;

/// Markdown's marks.
struct Markdown;

impl Marks for Markdown {
    fn literal(&self, text: &str, out: &mut String) {
        out.push_str(text);
    }

    fn value(&self, text: &str, code: bool, out: &mut String) {
        if code {
            // A code span has no escapes; an empty one is none.
            out.push_str(&text.replace('`', "'"));
            if text.is_empty() {
                out.push(' ');
            }
        } else {
            out.push_str(&escaped(text));
        }
    }
}

/// Text that Markdown and HTML leave as it is. A `#` or `_` inside of a word is no mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied().unwrap_or(' ');
        let mark = match c {
            '#' => after == '#' || after.is_whitespace(),
            '_' => !(before.is_alphanumeric() && after.is_alphanumeric()),
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '!' | '&' => true,
            _ => false,
        };
        if mark {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Code in a table: a bar would end the cell, in code too.
fn code(text: &str) -> String {
    format!("`{}`", shown(text).replace('`', "'").replace('|', "\\|"))
}

/// The whole account.
pub(crate) fn markdown(story: &Story, language: &Language) -> String {
    let label = language.label;
    let mut out = format!("# {}\n\n", label(Label::Title));
    let name = code(&story.subject.name);
    let kind = (language.subject)(story.subject.kind);
    let colon = colon(language);
    let _ = writeln!(out, "{}{colon}{name} ({kind})", label(Label::From));
    if story.sections.is_empty() {
        let _ = writeln!(out, "\n{}", label(Label::Nothing));
    }
    for section in &story.sections {
        let _ = writeln!(out, "\n## {}\n", (language.topic)(section.topic));
        let mut table = false;
        for block in &section.blocks {
            let is_table = matches!(block, Block::Slots(_) | Block::Bytes(_) | Block::Frames(_));
            // A table ends a list, and a list ends a table.
            if (is_table || table) && !out.ends_with("\n\n") {
                out.push('\n');
            }
            table = is_table;
            write_block(&mut out, block, language);
        }
    }
    out
}

/// What stands between a name and its value.
fn colon(language: &Language) -> &'static str {
    if (language.label)(Label::Line) == (ENGLISH.label)(Label::Line) {
        ": "
    } else {
        "："
    }
}

fn write_block(out: &mut String, block: &Block, language: &Language) {
    match block {
        Block::Finding(told) => statement(out, told, "", language),
        Block::Slots(slots) => write_slots(out, slots, language),
        Block::Bytes(parts) => write_bytes(out, parts, language),
        Block::Frames(frames) => write_frames(out, frames, language),
        Block::Other(other) => write_other(out, other, language),
        Block::Explanation(explanation) => write_explanation(out, explanation, language),
        Block::Gap(gap) => {
            let what = (language.missing)(gap.what);
            let why = escaped(&shown(&gap.why));
            let _ = writeln!(out, "- {what}{}{why}", colon(language));
        }
    }
}

fn statement(out: &mut String, told: &Told, indent: &str, language: &Language) {
    let _ = writeln!(out, "{indent}- {}", language.say(&told.finding, &Markdown));
    for proof in &told.evidence {
        let _ = writeln!(out, "{indent}  - {}", language.prove(proof, &Markdown));
    }
    if told.more > 0 {
        let _ = writeln!(
            out,
            "{indent}  - +{} {}",
            told.more,
            (language.label)(Label::More)
        );
    }
}

fn row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn head(out: &mut String, labels: &[Label], language: &Language) {
    let names: Vec<String> = labels
        .iter()
        .map(|label| (language.label)(*label).into())
        .collect();
    row(out, &names);
    row(out, &vec!["---".to_owned(); labels.len()]);
}

/// The columns that have something in them.
fn write_slots(out: &mut String, slots: &[Slot], language: &Language) {
    let on_stack = slots.iter().any(|slot| slot.at.is_some());
    let in_text = slots.iter().any(|slot| slot.line.is_some());
    let mut labels = vec![Label::Slot];
    labels.extend(on_stack.then_some(Label::StackAddress));
    labels.push(Label::Value);
    labels.extend(in_text.then_some(Label::Line));
    head(out, &labels, language);
    for slot in slots {
        let mut cells = vec![escaped(&slot.name)];
        if on_stack {
            cells.push(slot.at.map_or_else(String::new, |at| code(&at.to_string())));
        }
        cells.push(slot.value.map_or_else(
            || (language.label)(Label::Unknown).into(),
            |value| code(&value.to_string()),
        ));
        if in_text {
            cells.push(slot.line.map_or_else(String::new, |line| line.to_string()));
        }
        row(out, &cells);
    }
}

fn write_bytes(out: &mut String, parts: &[BytePart], language: &Language) {
    head(
        out,
        &[Label::Offset, Label::Bytes, Label::What, Label::Value],
        language,
    );
    for part in parts {
        row(
            out,
            &[
                part.at.to_string(),
                code(&part.bytes),
                (language.part)(part.part).into(),
                code(&part.value),
            ],
        );
    }
}

fn write_frames(out: &mut String, frames: &[FrameRow], language: &Language) {
    let in_text = frames.iter().any(|frame| frame.line.is_some());
    let mut labels = vec![Label::Frame];
    labels.extend(in_text.then_some(Label::Line));
    head(out, &labels, language);
    for frame in frames {
        let mut name = code(&frame.function);
        if frame.inlined {
            let _ = write!(name, " ({})", (language.label)(Label::Inlined));
        }
        let mut cells = vec![name];
        if in_text {
            cells.push(frame.line.map_or_else(String::new, |line| line.to_string()));
        }
        row(out, &cells);
    }
}

fn write_other(out: &mut String, other: &Other, language: &Language) {
    let _ = writeln!(
        out,
        "- {}: **{}**",
        code(&other.name),
        escaped(&shown(&other.verdict))
    );
    for tie in &other.ties {
        statement(out, tie, "  ", language);
    }
}

fn write_explanation(out: &mut String, explanation: &Explanation, language: &Language) {
    let what = (language.hypothesis)(explanation.what);
    let standing = (language.standing)(explanation.standing);
    let _ = writeln!(out, "- **{what}**{}{standing}", colon(language));
    for made in &explanation.predictions {
        let _ = writeln!(
            out,
            "  - [{}] {}",
            (language.standing)(made.standing),
            language.say(&made.finding, &Markdown)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::findings::{Finding, Proof};

    #[test]
    fn hostile_values_stay_inside_their_marks() {
        let title = Finding::Reported {
            title: "a`b\n# c|\x1b[31m".into(),
        };
        assert_eq!(
            ENGLISH.say(&title, &Markdown),
            "The kernel's report: `a'b # c|\u{fffd}[31m`."
        );
        let why = Finding::NoException {
            why: "<script>*x*".into(),
        };
        assert!(ENGLISH.say(&why, &Markdown).contains("\\<script\\>\\*x\\*"));
        let proof = Proof::Line {
            line: 3,
            text: String::new(),
        };
        assert_eq!(ENGLISH.prove(&proof, &Markdown), "line 3: ` `");
    }
}
