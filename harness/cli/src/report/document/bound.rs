//! Bounds what a document that was read may hold of what the page repeats: who wrote it is not known. What is left out is
//! said in the document. Bytes of a file are [`super::load`]'s to bound.
use super::crash::CrashPart;
use super::{Block, Case, Document};
use crate::report::memory::{Bytes, Memory};
use crate::report::timeline;

/// Items of any list; of what recrash writes itself, none comes near.
const MAX_ITEMS: usize = 2000;
/// Differences of one case, facts about it.
const MAX_OF_CASE: usize = 500;
/// Hexadecimal digits of memory: four times what is kept of an object.
const MAX_HEX: usize = 8 * crate::report::memory::MAX_BYTES;

/// Leaves out what is beyond any measure.
pub(super) fn clip(document: &mut Document) {
    let mut left = Left(Vec::new());
    left.clip(
        "what it was made with",
        &mut document.environment,
        MAX_ITEMS,
    );
    let of_cases = document.cases.iter_mut().map(of_case).sum::<usize>();
    left.note("differences and facts of its cases", of_cases);
    left.clip("sections", &mut document.sections, MAX_ITEMS);
    for section in &mut document.sections {
        left.clip("pieces of a section", &mut section.blocks, MAX_ITEMS);
        for block in &mut section.blocks {
            // The page bounds the others itself, and tells where they are whole.
            if let Block::Facts { facts } = block {
                left.clip("facts of a section", facts, MAX_ITEMS);
            }
        }
    }
    if let Some(crash) = &mut document.crash {
        left.crash(crash);
    }
    // Their number is bounded as well: what is missing is a list itself.
    document.missing.truncate(MAX_ITEMS);
    left.0.truncate(MAX_ITEMS);
    document.missing.append(&mut left.0);
}

/// How many items of a case were left out.
fn of_case(case: &mut Case) -> usize {
    cut(&mut case.unexplained, MAX_OF_CASE)
        + cut(&mut case.explained, MAX_OF_CASE)
        + cut(&mut case.context, MAX_OF_CASE)
        + cut(&mut case.unknown, MAX_OF_CASE)
        + cut(&mut case.uncovered, MAX_OF_CASE)
        + cut(&mut case.facts, MAX_OF_CASE)
}

/// Shortens a list; by how many.
fn cut<T>(list: &mut Vec<T>, most: usize) -> usize {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    more
}

/// What was left out, a line each.
struct Left(Vec<String>);

impl Left {
    fn note(&mut self, what: &str, count: usize) {
        if count > 0 {
            self.0.push(format!("{what}: {count} more are left out"));
        }
    }

    fn clip<T>(&mut self, what: &str, list: &mut Vec<T>, most: usize) {
        let count = cut(list, most);
        self.note(what, count);
    }

    fn crash(&mut self, crash: &mut CrashPart) {
        self.clip("lines of both signatures", &mut crash.sides, MAX_ITEMS);
        let account = &mut crash.account;
        for (what, facts) in [
            ("circumstances", &mut account.context),
            ("facts of the fault", &mut account.fault),
            ("origins of registers", &mut account.origins),
            ("facts of the corruption", &mut account.corruption),
            ("facts of the slab", &mut account.slab),
        ] {
            self.clip(what, facts, MAX_ITEMS);
        }
        self.clip("registers", &mut account.registers, MAX_ITEMS);
        self.clip("frames", &mut account.frames, MAX_ITEMS);
        let frames = account.frames.iter_mut();
        let lines = frames
            .map(|frame| cut(&mut frame.source, MAX_OF_CASE))
            .sum::<usize>();
        self.note("source lines of frames", lines);
        self.clip("what the dump lacks", &mut account.missing, MAX_ITEMS);
        self.memory(&mut account.memory);
        if let Some(line) = &mut crash.timeline {
            timeline::bound(line);
            self.clip("stages", &mut line.stages, MAX_ITEMS);
            self.clip("what the time line lacks", &mut line.missing, MAX_ITEMS);
        }
        if let Some(console) = &mut crash.console {
            let more = cut(&mut console.lines, MAX_ITEMS);
            // The console says itself how many lines it does not have.
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            console.left_out = console.left_out.saturating_add(more);
        }
    }

    fn memory(&mut self, memory: &mut Memory) {
        if let Some(object) = &mut memory.object {
            for bytes in [&mut object.in_dump, &mut object.written]
                .into_iter()
                .flatten()
            {
                self.bytes(bytes);
            }
            self.clip("fields of what was written", &mut object.fields, MAX_ITEMS);
        }
        if let Some(slab) = &mut memory.slab {
            // The page says how many objects the slab has.
            cut(&mut slab.list, MAX_ITEMS);
            self.clip("lists of free objects", &mut slab.freelists, MAX_ITEMS);
        }
        self.clip("what the memory lacks", &mut memory.missing, MAX_ITEMS);
    }

    fn bytes(&mut self, bytes: &mut Bytes) {
        let digits = bytes.hex.len();
        if digits <= MAX_HEX {
            return;
        }
        // Digits are one byte each; what is none may be cut through only between two characters.
        let end = (0..=MAX_HEX)
            .rev()
            .find(|end| bytes.hex.is_char_boundary(*end));
        bytes.hex.truncate(end.unwrap_or(0));
        self.note("digits of memory", digits - bytes.hex.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::document::Kind;
    use crate::report::document::crash::{Clock, Console, ConsoleLine, Lane, Mark, Timeline};
    use crate::report::memory::ObjectBytes;
    use crate::report::{CrashReport, Fact, Frame};

    const MANY: usize = 5000;

    fn crash() -> CrashPart {
        let frame = Frame {
            address: 1,
            symbol: "f".into(),
            found_by: "ORC".into(),
            source: Vec::new(),
        };
        let mark = Mark {
            at_ms: 1.0,
            clock: Clock::Host,
            lane: Lane::Device,
            label: "reset".into(),
            detail: String::new(),
        };
        let line = ConsoleLine {
            text: "a".into(),
            oops: false,
        };
        let object = ObjectBytes {
            address: "1".into(),
            cache: "kmalloc-32".into(),
            size: 32,
            known_by: "a test".into(),
            in_dump: Some(Bytes {
                from: 0,
                // A character of three bytes is not cut through.
                hex: "€".repeat(MANY),
                what: "bytes".into(),
            }),
            written: None,
            pointer: None,
            fields: Vec::new(),
        };
        CrashPart {
            account: CrashReport {
                frames: vec![frame; MANY],
                memory: Memory {
                    object: Some(object),
                    ..Memory::default()
                },
                ..CrashReport::default()
            },
            timeline: Some(Timeline {
                marks: vec![mark; MANY],
                ..Timeline::default()
            }),
            console: Some(Console {
                from: 1,
                lines: vec![line; MANY],
                left_out: 1,
            }),
            ..CrashPart::default()
        }
    }

    #[test]
    fn what_is_beyond_measure_is_left_out_and_said() {
        let mut document = Document::new(Kind::Run, "run", "", Exit::Met);
        document.crash = Some(Box::new(crash()));
        document.environment = vec![Fact::new("a", "b"); MANY];
        clip(&mut document);
        let crash = *document.crash.unwrap();
        assert_eq!(document.environment.len(), MAX_ITEMS);
        assert_eq!(crash.account.frames.len(), MAX_ITEMS);
        assert!(crash.timeline.unwrap().marks.len() < MAX_ITEMS);
        let console = crash.console.unwrap();
        assert_eq!((console.lines.len(), console.left_out), (MAX_ITEMS, 3001));
        let hex = crash.account.memory.object.unwrap().in_dump.unwrap().hex;
        assert!(
            hex.len() <= MAX_HEX && hex.len() > MAX_HEX - 3,
            "{}",
            hex.len()
        );
        for said in [
            "what it was made with: 3000",
            "frames: 3000",
            "digits of memory",
        ] {
            let told = document.missing.iter().any(|line| line.starts_with(said));
            assert!(told, "{said}: {:?}", document.missing);
        }
    }

    #[test]
    fn a_document_of_usual_size_stays_as_it_is() {
        let mut document = Document::new(Kind::Run, "run", "", Exit::Met);
        document.environment = vec![Fact::new("a", "b"); 20];
        let before = document.clone();
        clip(&mut document);
        assert_eq!(document, before);
    }
}
