//! A story for the terminal: the styles of the report, wrapped to the terminal's width, Chinese characters counted as
//! two columns.
use super::{Label, Language, Marks, shown};
use crate::explain::story::{Block, Explanation, Other, Standing, Story, Told};
use crate::output::{BAD, DIM, GOOD, HEAD, WARN};
use crate::report::text::heading;
use std::fmt::Write;

/// Width without a terminal, and the least that is used.
const WIDTH: usize = 100;
/// Narrower is not read any better.
const NARROWEST: usize = 40;

/// The terminal's marks: code needs none.
struct Plain;

impl Marks for Plain {
    fn literal(&self, text: &str, out: &mut String) {
        out.push_str(&text.replace('`', ""));
    }

    fn value(&self, text: &str, _code: bool, out: &mut String) {
        out.push_str(text);
    }
}

/// The whole account, for the terminal that it is printed to.
pub(crate) fn terminal(story: &Story, language: &Language) -> String {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into());
    wrapped(story, language, width.max(NARROWEST))
}

fn wrapped(story: &Story, language: &Language, width: usize) -> String {
    let mut page = Page {
        out: String::new(),
        width,
    };
    let label = language.label;
    let subject = &story.subject;
    let _ = writeln!(
        page.out,
        "{HEAD}{}{HEAD:#}  {DIM}{} ({}){DIM:#}",
        label(Label::Title),
        shown(&subject.name),
        (language.subject)(subject.kind)
    );
    if story.sections.is_empty() {
        page.line(2, label(Label::Nothing));
    }
    for section in &story.sections {
        heading(&mut page.out, (language.topic)(section.topic));
        for block in &section.blocks {
            page.block(block, language);
        }
    }
    page.out
}

struct Page {
    out: String,
    width: usize,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str) {
        let margin = " ".repeat(indent);
        let options = textwrap::Options::new(self.width)
            .initial_indent(&margin)
            .subsequent_indent(&margin);
        for line in textwrap::wrap(text, options) {
            let _ = writeln!(self.out, "{line}");
        }
    }

    /// The same in the style of what may be skipped, each line by itself.
    fn dim(&mut self, indent: usize, text: &str) {
        let margin = " ".repeat(indent);
        for line in textwrap::wrap(text, self.width.saturating_sub(indent).max(1)) {
            let _ = writeln!(self.out, "{margin}{DIM}{line}{DIM:#}");
        }
    }

    fn block(&mut self, block: &Block, language: &Language) {
        match block {
            Block::Finding(told) => self.told(2, told, language),
            Block::Slots(slots) => {
                for slot in slots {
                    let at = slot.at.map(|at| at.to_string()).unwrap_or_default();
                    let value = slot.value.map_or_else(
                        || (language.label)(Label::Unknown).into(),
                        |value| value.to_string(),
                    );
                    let line = slot
                        .line
                        .map(|line| format!("  {} {line}", (language.label)(Label::Line)));
                    let line = line.unwrap_or_default();
                    let _ = writeln!(
                        self.out,
                        "    {:<22}{DIM}{at:<20}{DIM:#}{value}{DIM}{line}{DIM:#}",
                        slot.name
                    );
                }
            }
            Block::Bytes(parts) => {
                for part in parts {
                    let what = (language.part)(part.part);
                    let _ = writeln!(
                        self.out,
                        "    +{:<3} {:<6} {what}: {}",
                        part.at,
                        part.bytes,
                        shown(&part.value)
                    );
                }
            }
            Block::Frames(frames) => {
                for (index, frame) in frames.iter().enumerate() {
                    let mut text = format!("#{index:<2} {}", shown(&frame.function));
                    if frame.inlined {
                        let _ = write!(text, " ({})", (language.label)(Label::Inlined));
                    }
                    self.line(4, &text);
                }
            }
            Block::Other(other) => self.other(other, language),
            Block::Explanation(explanation) => self.explanation(explanation, language),
            Block::Gap(gap) => {
                let text = format!("{}: {}", (language.missing)(gap.what), shown(&gap.why));
                self.line(2, &text);
            }
        }
    }

    fn told(&mut self, indent: usize, told: &Told, language: &Language) {
        self.line(indent, &language.say(&told.finding, &Plain));
        for proof in &told.evidence {
            self.dim(indent.saturating_add(2), &language.prove(proof, &Plain));
        }
        if told.more > 0 {
            let text = format!("+{} {}", told.more, (language.label)(Label::More));
            self.dim(indent.saturating_add(2), &text);
        }
    }

    fn other(&mut self, other: &Other, language: &Language) {
        self.line(
            2,
            &format!("{}: {}", shown(&other.name), shown(&other.verdict)),
        );
        for tie in &other.ties {
            self.told(4, tie, language);
        }
    }

    fn explanation(&mut self, explanation: &Explanation, language: &Language) {
        let style = match explanation.standing {
            Standing::Supported => GOOD,
            Standing::Refuted => BAD,
            Standing::Undecided => WARN,
        };
        self.line(2, (language.hypothesis)(explanation.what));
        let standing = (language.standing)(explanation.standing);
        let _ = writeln!(self.out, "    {style}{standing}{style:#}");
        for made in &explanation.predictions {
            let standing = (language.standing)(made.standing);
            let text = format!("[{standing}] {}", language.say(&made.finding, &Plain));
            self.dim(4, &text);
        }
    }
}
