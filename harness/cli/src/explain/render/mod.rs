//! From a story to text: a language gives the templates, a format the marks. Untrusted values are escaped here, where
//! they enter a sentence.
mod chinese;
mod english;
mod markdown;
mod terminal;

pub(crate) use chinese::CHINESE;
pub(crate) use english::ENGLISH;
pub(crate) use markdown::markdown;
pub(crate) use terminal::terminal;

use super::findings::{Finding, FindingId, Proof, ProofId, Word};
use super::message::Value;
use super::story::{Hypothesis, Missing, Part, Standing, SubjectKind, Topic};
use crate::output::printable;

/// Longest value inside a sentence, in characters: a longer one is cut, and marked.
const MAX_VALUE: usize = 300;

/// Words of tables and headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// The heading of all.
    Title,
    /// What was read.
    From,
    /// A slot of `pt_regs`.
    Slot,
    /// Where it lies.
    StackAddress,
    /// A value.
    Value,
    /// A line of the text.
    Line,
    /// Offset of bytes.
    Offset,
    /// Bytes.
    Bytes,
    /// What they are.
    What,
    /// A frame.
    Frame,
    /// Inlined.
    Inlined,
    /// Evidence that was left out.
    More,
    /// A value that the text does not show.
    Unknown,
    /// A story without sections.
    Nothing,
}

/// A language: its templates and words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Language {
    finding: fn(FindingId) -> &'static str,
    proof: fn(ProofId) -> &'static str,
    word: fn(Word) -> &'static str,
    topic: fn(Topic) -> &'static str,
    part: fn(Part) -> &'static str,
    hypothesis: fn(Hypothesis) -> &'static str,
    standing: fn(Standing) -> &'static str,
    missing: fn(Missing) -> &'static str,
    subject: fn(SubjectKind) -> &'static str,
    label: fn(Label) -> &'static str,
}

/// What a format does to text.
trait Marks {
    /// Text of a template, as it is written.
    fn literal(&self, text: &str, out: &mut String);
    /// A value, inside code or not. No control characters are left in it.
    fn value(&self, text: &str, code: bool, out: &mut String);
}

impl Language {
    fn say(&self, finding: &Finding, marks: &dyn Marks) -> String {
        self.fill(
            (self.finding)(finding.id()),
            &|name| finding.value(name),
            marks,
        )
    }

    fn prove(&self, proof: &Proof, marks: &dyn Marks) -> String {
        self.fill((self.proof)(proof.id()), &|name| proof.value(name), marks)
    }

    /// Puts the values into a template.
    fn fill<'v>(
        &self,
        template: &str,
        value: &dyn Fn(&str) -> Option<Value<'v>>,
        marks: &dyn Marks,
    ) -> String {
        let mut out = String::new();
        let mut code = false;
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            code ^= before.matches('`').count() % 2 == 1;
            marks.literal(before, &mut out);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match value(name) {
                Some(Value::Plain(text)) => marks.value(&shown(&text), code, &mut out),
                Some(Value::Word(word)) => marks.literal((self.word)(word), &mut out),
                // The tests hold templates to their values.
                None => marks.value("?", code, &mut out),
            }
            rest = after;
        }
        marks.literal(rest, &mut out);
        out
    }
}

/// A value on one line, without control characters, and not longer than people read.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_VALUE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    printable(&short.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of values in a template.
    fn names(template: &str) -> Vec<&str> {
        template
            .split('{')
            .skip(1)
            .map(|part| part.split_once('}').expect("a closing brace").0)
            .collect()
    }

    fn check(template: &str, fields: &[&str], what: &str) {
        assert!(!template.is_empty(), "{what}");
        assert_eq!(template.matches('`').count() % 2, 0, "{what}: {template}");
        for name in names(template) {
            assert!(
                fields.contains(&name),
                "{what} has no value {name}: {template}"
            );
        }
        for field in fields {
            assert!(
                names(template).contains(field),
                "{what} does not say {field}: {template}"
            );
        }
    }

    #[test]
    fn every_message_has_all_its_values_in_both_languages() {
        for (language, name) in [(ENGLISH, "en"), (CHINESE, "zh")] {
            for (id, fields) in FindingId::ALL {
                check((language.finding)(*id), fields, &format!("{name} {id:?}"));
            }
            for (id, fields) in ProofId::ALL {
                check((language.proof)(*id), fields, &format!("{name} {id:?}"));
            }
        }
    }

    #[test]
    fn every_word_and_heading_is_in_both_languages() {
        for language in [ENGLISH, CHINESE] {
            let mut all: Vec<&str> = Vec::new();
            all.extend(Word::ALL.map(language.word));
            all.extend(Topic::ALL.map(language.topic));
            all.extend(Part::ALL.map(language.part));
            all.extend(Hypothesis::ALL.map(language.hypothesis));
            all.extend(Standing::ALL.map(language.standing));
            all.extend(Missing::ALL.map(language.missing));
            assert!(
                all.iter()
                    .all(|text| !text.is_empty() && !text.contains('{'))
            );
        }
    }

    #[test]
    fn the_languages_differ_in_every_sentence() {
        for (id, _) in FindingId::ALL {
            assert_ne!((ENGLISH.finding)(*id), (CHINESE.finding)(*id), "{id:?}");
        }
    }
}
