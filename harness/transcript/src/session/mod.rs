//! A crash-utility session, line by line, to evidence. Each form of line has its parser in a file of its own; here is
//! only which line is offered to which, what state carries over from line to line, and what is kept of the text.
mod backtrace;
mod disassembly;
mod memory;
mod numbers;
mod structure;
mod tables;

use crate::evidence::{Evidence, Lost};
use crate::text::{Line, lines};
use structure::Open;

/// Items that are kept of one text; a session of a whole machine's `bt -a -f` has some ten thousand.
const MAX_ITEMS: usize = 1 << 20;
/// Lines that could not be read and are told one by one.
const MAX_LOST: usize = 1000;
/// Columns at which texts are wrapped.
const WRAP: usize = 80;
/// Shortest line that a wrap at words leaves: the longest words, symbols in angle brackets, have some thirty letters.
const WRAPPED_FROM: usize = 48;

/// A line of the text that is evidence, as it should be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its number, 1 the first line of the text.
    pub(crate) line: usize,
    /// A prompt or what begins a new block.
    pub(crate) head: bool,
    /// Its text.
    pub(crate) text: String,
}

/// What one line is.
enum Item {
    Task(crate::evidence::Task),
    System(tables::Entry),
    Frame(crate::evidence::Frame),
    Exception(Option<(String, Option<u64>)>),
    Registers(Vec<(String, u64)>),
    Words(memory::Words),
    Instruction(crate::evidence::Instruction),
    Source(String),
    Function(disassembly::Function),
    Heading { translation: bool },
    Translation(crate::evidence::Translation),
    Cache(crate::evidence::Cache),
}

/// Reads a session: the evidence in it, and the lines that carry it.
pub(crate) fn read(text: &str) -> (Evidence, Vec<Kept>) {
    let mut reader = Reader::default();
    let mut ahead = lines(text).peekable();
    while let Some(line) = ahead.next() {
        if reader.full() {
            break;
        }
        if reader.line(&line, ahead.peek()) {
            ahead.next();
        }
    }
    reader.close_struct();
    (reader.evidence, reader.kept)
}

#[derive(Default)]
struct Reader {
    evidence: Evidence,
    kept: Vec<Kept>,
    /// The structure that is being read.
    open: Option<Open>,
    /// How many lines were kept before its own.
    opened: usize,
    /// The structure that the last command asked for.
    asked: Option<structure::Asked>,
    /// The source line that stands above instructions.
    source: Option<String>,
    /// The function that instructions lie in, where the lines above named it.
    function: Option<disassembly::Function>,
    /// Rows of `vtop` follow.
    translations: bool,
    /// The last command has words of memory printed in decimal.
    decimal: bool,
    /// A prompt was seen since the last frame: another one begins a backtrace.
    prompted: bool,
    /// A block ended since the last line that was kept.
    gap: bool,
    /// Whether register lines continue the last block.
    in_block: bool,
    items: usize,
}

impl Reader {
    /// Whether no more is kept; told once.
    fn full(&mut self) -> bool {
        if self.items <= MAX_ITEMS {
            return false;
        }
        self.evidence.lost.push(Lost {
            line: 0,
            why: format!("more than {MAX_ITEMS} items: the rest of the text was not read"),
        });
        true
    }

    /// Takes one line; true where the next one was its continuation.
    fn line(&mut self, line: &Line<'_>, next: Option<&Line<'_>>) -> bool {
        let text = line.text.as_ref();
        if line.fence || text.trim().is_empty() {
            self.block_ends();
            return false;
        }
        if line.long {
            self.lost(
                line.number,
                &format!(
                    "longer than {} bytes: its end was not read",
                    crate::text::MAX_LINE
                ),
            );
        }
        if let Some(command) = command(text) {
            self.block_ends();
            self.asked = structure::asked(command);
            self.decimal = decimal(command);
            self.prompted = true;
            self.keep(line.number, true, text.trim());
            return false;
        }
        if self.structure(line) {
            return false;
        }
        let (item, shown, joined) = match self.item(line, next) {
            Some(found) => found,
            None => {
                self.note_lost(line);
                self.block_ends();
                return false;
            }
        };
        self.close_struct();
        self.take(item, line.number);
        self.keep(line.number, false, &shown);
        joined
    }

    /// What a line is, alone or with the next one; and the line as it should be kept.
    fn item(&self, line: &Line<'_>, next: Option<&Line<'_>>) -> Option<(Item, String, bool)> {
        let text = line.text.as_ref();
        let alone = self.parse(text, line.number);
        // A word that is longer than the width is not broken by what wraps at words.
        let word = line.width > WRAP && !text.trim().contains(' ');
        let wrapped = word || (WRAPPED_FROM..=WRAP).contains(&line.width);
        let next = next
            .filter(|next| wrapped && !next.fence && next.text.is_ascii())
            .map(|next| next.text.trim())
            .filter(|next| !next.is_empty() && command(next).is_none());
        // The end of a path that was wrapped is the end of one by itself too.
        let path = alone.is_none() && text.starts_with('/') && !text.contains(' ');
        let next = next.filter(|next| match self.parse(next, line.number) {
            None => true,
            Some(item) => path && matches!(item, Item::Source(_)),
        });
        if let Some(next) = next {
            let hard = format!("{text}{next}");
            let soft = format!("{text} {next}");
            let must = alone.is_none();
            let may = match &alone {
                Some(Item::Instruction(found)) => {
                    disassembly::goes_on(&found.text, next, line.width == WRAP)
                }
                Some(Item::System(entry)) => entry.goes_on(),
                _ => None,
            };
            let candidates = match (must, may) {
                (true, _) => vec![hard, soft],
                (false, Some(true)) => vec![hard],
                (false, Some(false)) => vec![soft],
                (false, None) => Vec::new(),
            };
            for candidate in candidates {
                if let Some(item) = self.parse(&candidate, line.number) {
                    return Some((item, tidy(&candidate), true));
                }
            }
        }
        alone.map(|item| (item, tidy(text), false))
    }

    fn parse(&self, text: &str, number: usize) -> Option<Item> {
        backtrace::task(text, number)
            .map(Item::Task)
            .or_else(|| backtrace::frame(text, number).map(Item::Frame))
            .or_else(|| backtrace::exception(text).map(Item::Exception))
            .or_else(|| backtrace::registers(text, self.in_block).map(Item::Registers))
            .or_else(|| self.instruction(text, number))
            .or_else(|| self.words(text))
            .or_else(|| disassembly::source(text).map(Item::Source))
            .or_else(|| tables::entry(text).map(Item::System))
            .or_else(|| disassembly::function(text).map(Item::Function))
            .or_else(|| tables::cache(text, number).map(Item::Cache))
            .or_else(|| self.translation(text, number))
            .or_else(|| {
                let translation = tables::heading(text);
                (translation || tables::caches_heading(text))
                    .then_some(Item::Heading { translation })
            })
    }

    fn instruction(&self, text: &str, number: usize) -> Option<Item> {
        disassembly::instruction(text, number, self.function.as_ref()).map(Item::Instruction)
    }

    fn words(&self, text: &str) -> Option<Item> {
        if self.decimal {
            return None;
        }
        let slot = backtrace::slot(text).map(|slot| memory::Words { words: vec![slot] });
        slot.or_else(|| memory::words(text)).map(Item::Words)
    }

    fn translation(&self, text: &str, number: usize) -> Option<Item> {
        let found = self
            .translations
            .then(|| tables::translation(text, number))?;
        found.map(Item::Translation)
    }

    fn take(&mut self, item: Item, number: usize) {
        self.items += 1;
        let registers = matches!(item, Item::Registers(_) | Item::Exception(_));
        if !matches!(item, Item::Instruction(_) | Item::Source(_)) {
            self.source = None;
            self.function = None;
            self.translations = false;
        }
        let begins = matches!(item, Item::Frame(_)) || registers;
        if self.prompted && begins {
            self.evidence.backtraces.push(Default::default());
        }
        self.prompted &= !begins && !matches!(item, Item::Task(_));
        match item {
            Item::Task(task) => {
                self.evidence.tasks.push(task);
                let task = Some(self.evidence.tasks.len() - 1);
                self.evidence.backtraces.push(crate::evidence::Backtrace {
                    task,
                    ..Default::default()
                });
            }
            Item::System(entry) => entry.into_system(&mut self.evidence.system, number),
            Item::Frame(frame) => backtrace::add_frame(&mut self.evidence.backtraces, frame),
            Item::Exception(place) => {
                backtrace::add_exception(&mut self.evidence.backtraces, place, number)
            }
            Item::Registers(found) => {
                backtrace::add_registers(
                    &mut self.evidence.backtraces,
                    found,
                    number,
                    self.in_block,
                );
            }
            Item::Words(found) => {
                self.items += found.words.len();
                self.evidence.words.extend(found.with_line(number));
            }
            Item::Instruction(found) => {
                let source = self.source.clone();
                self.evidence
                    .instructions
                    .push(crate::evidence::Instruction { source, ..found });
            }
            Item::Source(source) => self.take_source(source),
            Item::Function(function) => self.function = Some(function),
            Item::Heading { translation } => self.translations = translation,
            Item::Translation(found) => self.evidence.translations.push(found),
            Item::Cache(found) => self.evidence.caches.push(found),
        }
        self.in_block = registers;
    }

    /// `bt -l` puts the source line below a frame, `dis -l` above instructions.
    fn take_source(&mut self, source: String) {
        let last = self.evidence.backtraces.last_mut();
        let frame = last.and_then(|backtrace| backtrace.frames.last_mut());
        let after_frame = self
            .kept
            .last()
            .is_some_and(|kept| kept.text.trim_start().starts_with('#'));
        match frame.filter(|frame| after_frame && frame.source.is_none()) {
            Some(frame) => frame.source = Some(source),
            None => self.source = Some(source),
        }
    }

    /// Offers a line to the structure that is open or was asked for; true if it took it.
    fn structure(&mut self, line: &Line<'_>) -> bool {
        let text = line.text.as_ref();
        if let Some(address) = structure::cpu_address(text) {
            self.close_struct();
            let name = String::new();
            self.asked = Some(structure::Asked {
                name,
                address: Some(address),
            });
            self.keep(line.number, false, text.trim_end());
            return true;
        }
        if let Some(name) = structure::header(text, self.asked.as_ref()) {
            self.close_struct();
            let address = self
                .asked
                .take()
                .filter(|asked| asked.fits(&name))
                .and_then(|asked| asked.address);
            self.opened = self.kept.len();
            self.open = Some(Open::new(name, address, line.number));
            self.keep(line.number, false, text.trim_end());
            return true;
        }
        if self.open.is_none()
            && let Some(asked) = self.asked.take_if(|_| structure::is_member(text))
        {
            self.opened = self.kept.len();
            self.open = Some(Open::new(asked.name, asked.address, line.number));
        }
        let Some(open) = &mut self.open else {
            return false;
        };
        let taken = open.line(text, line.number);
        // Paths are long where structures lie in structures.
        self.items += usize::from(taken) * (1 + line.text.len() / 256);
        if taken {
            let shown = text.split("//").next().unwrap_or_default();
            self.keep(line.number, false, shown.trim_end());
        }
        let ended = self.open.as_ref().is_none_or(Open::is_whole);
        if !taken || ended {
            self.close_struct();
        }
        taken
    }

    fn close_struct(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        if open.is_empty() {
            self.kept.truncate(self.opened);
        } else {
            self.evidence.structs.push(open.close());
        }
        self.gap = true;
    }

    /// A blank line, a fence, a prompt or prose.
    fn block_ends(&mut self) {
        self.close_struct();
        self.in_block = false;
        self.source = None;
        self.function = None;
        self.translations = false;
        self.gap = true;
    }

    fn keep(&mut self, line: usize, head: bool, text: &str) {
        self.kept.push(Kept {
            line,
            head: head || self.gap,
            text: text.to_owned(),
        });
        self.gap = false;
    }

    /// Tells of a line that looks like evidence; prose is passed over.
    fn note_lost(&mut self, line: &Line<'_>) {
        let why = [
            (
                backtrace::looks_like_frame(&line.text),
                "expected `#N [stack address] function at address`",
            ),
            (
                memory::looks_like_words(&line.text),
                "expected an address and words of memory",
            ),
            (
                structure::is_member(&line.text),
                "a member of a structure whose head is not there",
            ),
            (
                disassembly::looks_like_instruction(&line.text),
                "expected `address <function+offset>: instruction`",
            ),
        ];
        let Some((_, why)) = why.into_iter().find(|(looks, _)| *looks) else {
            return;
        };
        self.lost(line.number, why);
    }

    /// Tells of a line, up to [`MAX_LOST`] of them.
    fn lost(&mut self, line: usize, why: &str) {
        let why = match self.evidence.lost.len() {
            0..MAX_LOST => why.to_owned(),
            MAX_LOST => "and further lines that are not told one by one".to_owned(),
            _ => return,
        };
        self.evidence.lost.push(Lost { line, why });
    }
}

/// What stands behind a prompt: `crash> bt -f`, `crash-8.0.2> bt`, `(gdb) x/2i $pc`.
fn command(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix("(gdb)") {
        return Some(rest.trim());
    }
    if structure::is_command(text) {
        return Some(text);
    }
    let (prompt, rest) = text.split_once('>')?;
    let word = prompt.strip_prefix("crash")?;
    let plain = word.len() <= 32
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain.then(|| rest.trim())
}

/// `rd -d` prints words in decimal, which may have sixteen digits.
fn decimal(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace();
    words.next() == Some("rd")
        && words.any(|word| word.starts_with('-') && word.contains(['d', 'D']))
}

/// A line without what people wrote into it.
fn tidy(text: &str) -> String {
    let text = disassembly::without_remark(text);
    memory::without_notes(text).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
