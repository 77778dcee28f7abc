//! What the value is, byte by byte: the best reading, what it says, and where the bytes lay.
use recrash_kernel::decode::{Confidence, Decoded, Kind, Reading};

use crate::explain::facts::{Facts, proofs};
use crate::explain::findings::{Finding, Proof, Word};
use crate::explain::message::Hex;
use crate::explain::story::{Block, BytePart, Draft, Part, Section, Topic};
use crate::output;

/// bDescriptorType of a string (USB 2.0, table 9-5).
pub(super) const STRING: u8 = 3;
/// Readings told beside the best one.
const MAX_OTHERS: usize = 3;

pub(super) fn section(facts: &Facts) -> Option<Section> {
    let account = &facts.account;
    let decoded = account.decoded.as_ref().ok()?;
    let mut draft = Draft::new(Topic::Value);
    if let Some(bytes) = facts.bytes {
        let undone = account
            .cache
            .as_ref()
            .is_ok_and(|cache| cache.value.hardened == Some(true))
            && facts.field.is_none();
        let text = output::bytes(&bytes);
        let finding = match facts.value().filter(|_| !undone) {
            Some(value) => Finding::BytesInMemory {
                bytes: text,
                value: Hex(value),
            },
            None => Finding::BytesUndone { bytes: text },
        };
        draft.say(finding, Vec::new());
    }
    readings(facts, &decoded.value, proofs(&decoded.basis), &mut draft);
    if let Some(bytes) = facts.bytes {
        let best = decoded.value.best();
        draft.add(Block::Bytes(parts(&bytes, best)));
    }
    carrier(facts, &mut draft);
    draft.finish()
}

fn readings(facts: &Facts, decoded: &Decoded, mut basis: Vec<Proof>, draft: &mut Draft) {
    let Some(best) = decoded.best() else {
        draft.say(Finding::NotRecognised {}, basis);
        return;
    };
    if matches!(best.kind, Kind::Descriptor(_) | Kind::Device(_)) {
        basis.push(Proof::UsbStrings {});
    }
    draft.say(reading(best), basis);
    if let Kind::Device(found) = &best.kind
        && let Some(text) = &found.visible
    {
        draft.say(Finding::DeviceText { text: text.clone() }, Vec::new());
    }
    let size = facts.account.cache.as_ref().ok();
    let size = size.and_then(|cache| cache.value.object_size);
    if let (Kind::Descriptor(found), Some(object_size)) = (&best.kind, size) {
        let finding = Finding::DescriptorInObject {
            length: found.length,
            object_size,
        };
        draft.say(finding, Vec::new());
    }
    for other in decoded.readings.iter().skip(1).take(MAX_OTHERS) {
        let what = label(other);
        draft.say(Finding::LessLikely { what }, Vec::new());
    }
}

/// The reading as a statement.
fn reading(best: &Reading) -> Finding {
    let sure = match best.confidence {
        Confidence::Proven => Word::Proven,
        Confidence::Structural => Word::ByForm,
        Confidence::Plausible => Word::Plausible,
    };
    match &best.kind {
        Kind::Descriptor(found) if found.kind == STRING && !found.languages.is_empty() => {
            let languages: Vec<String> = found
                .languages
                .iter()
                .map(|id| format!("{id:#06x}"))
                .collect();
            Finding::LanguagesHead {
                length: found.length,
                languages: languages.join(", "),
                sure,
            }
        }
        Kind::Descriptor(found) if found.kind == STRING => Finding::StringHead {
            length: found.length,
            characters: usize::from(found.length.saturating_sub(2)) / 2,
            text: found.text.clone().unwrap_or_default(),
            sure,
        },
        Kind::Descriptor(found) => Finding::DescriptorHead {
            name: found.name.into(),
            kind: found.kind,
            length: found.length,
            sure,
        },
        Kind::Device(found) => Finding::DeviceBytes {
            part: found.part.label(),
            vendor: format!("{:04x}", found.id.0),
            product: format!("{:04x}", found.id.1),
            device: found.device.clone(),
            at: found.at,
            length: found.length,
            sure,
        },
        Kind::Setup(setup) => Finding::SetupPacket {
            request: setup.name().unwrap_or("?").into(),
            sure,
        },
        Kind::Text { encoding, text } => Finding::TextBytes {
            encoding: format!("{encoding:?}").to_uppercase(),
            text: text.clone(),
            sure,
        },
        Kind::Poison { name, .. } => Finding::Poison {
            name: (*name).into(),
            sure,
        },
        Kind::BitFlip { bit, pointer } => Finding::OneBit {
            bit: *bit,
            pointer: Hex(*pointer),
            sure,
        },
        Kind::ErrorPointer { number, name } => Finding::ErrorNumber {
            number: u64::from(*number),
            name: name.unwrap_or("?").into(),
            sure,
        },
        Kind::Zeroes => Finding::Zeros {},
        Kind::Number(value) => Finding::SmallNumber { value: *value },
    }
}

/// A name for a reading that is not the best: an identifier, the same in all languages.
fn label(reading: &Reading) -> String {
    match &reading.kind {
        Kind::Device(found) => format!("USB device {:04x}:{:04x}", found.id.0, found.id.1),
        Kind::Descriptor(found) => format!("USB descriptor, type {}", found.kind),
        Kind::Setup(setup) => format!("SETUP {}", setup.name().unwrap_or("?")),
        Kind::Text { text, .. } => format!("{text:?}"),
        Kind::Poison { name, .. } => (*name).into(),
        Kind::BitFlip { bit, .. } => format!("bit {bit}"),
        Kind::ErrorPointer { number, .. } => format!("-{number}"),
        Kind::Zeroes => "0".into(),
        Kind::Number(value) => value.to_string(),
    }
}

/// The bytes, each with what it is.
fn parts(bytes: &[u8; 8], best: Option<&Reading>) -> Vec<BytePart> {
    let form = Form::of(best);
    let mut rows = Vec::new();
    let mut at = 0;
    let explained = best.map_or(0, |best| best.explained.end);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (size, part) = if at < explained {
            form.part(at)
        } else {
            (1, Part::Opaque)
        };
        let these = rest.get(..size).unwrap_or(rest);
        rows.push(BytePart {
            at,
            bytes: output::bytes(these),
            part,
            value: spelled(part, these),
        });
        at = at.saturating_add(size.max(1));
    }
    rows
}

fn spelled(part: Part, bytes: &[u8]) -> String {
    let first = bytes.first().copied().unwrap_or_default();
    let unit = match bytes {
        [low, high] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    };
    match (part, unit) {
        (Part::Length | Part::Type, _) => first.to_string(),
        (Part::Character, Some(unit)) => {
            let read = char::decode_utf16([unit]).next().and_then(Result::ok);
            read.filter(|c| !c.is_control())
                .map_or_else(|| format!("U+{unit:04X}"), |c| format!("U+{unit:04X} {c}"))
        }
        (Part::Language, Some(unit)) => format!("{unit:#06x}"),
        (Part::Ascii, _) => char::from(first).to_string(),
        _ => first.to_string(),
    }
}

/// How the bytes are laid out by their best reading.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Where the descriptor begins, negative for one that began before the bytes.
    begins: Option<i64>,
    /// What follows its first two bytes.
    body: Part,
}

impl Form {
    fn of(best: Option<&Reading>) -> Self {
        let opaque = Self {
            begins: None,
            body: Part::Opaque,
        };
        match best.map(|best| &best.kind) {
            Some(Kind::Descriptor(found)) => Self {
                begins: i64::try_from(found.begins).ok(),
                body: match found.kind {
                    STRING if found.languages.is_empty() => Part::Character,
                    STRING => Part::Language,
                    _ => Part::Opaque,
                },
            },
            Some(Kind::Device(found)) if found.kind == Some(STRING) => Self {
                begins: i64::try_from(found.kind_at).ok().map(i64::wrapping_neg),
                body: if found.languages.is_empty() {
                    Part::Character
                } else {
                    Part::Language
                },
            },
            Some(Kind::Text { encoding, .. }) => Self {
                // As if two bytes of a head had been before.
                begins: Some(-2),
                body: match encoding {
                    recrash_kernel::decode::Encoding::Ascii => Part::Ascii,
                    recrash_kernel::decode::Encoding::Utf16 => Part::Character,
                },
            },
            _ => opaque,
        }
    }

    /// Size and kind of the part at an offset.
    fn part(self, at: usize) -> (usize, Part) {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        match self.begins.map(|begins| at.saturating_sub(begins)) {
            Some(0) => (1, Part::Length),
            Some(1) => (1, Part::Type),
            Some(2..) if self.body == Part::Ascii => (1, Part::Ascii),
            Some(inside @ 2..) if self.body != Part::Opaque && inside % 2 == 0 => (2, self.body),
            _ => (1, Part::Opaque),
        }
    }
}

fn carrier(facts: &Facts, draft: &mut Draft) {
    if let Some(object) = facts.carrier {
        let object = Hex(object);
        draft.say(Finding::Carrier { object }, Vec::new());
    }
    match facts.still_there {
        Some(true) => draft.say(Finding::StillThere {}, Vec::new()),
        Some(false) => draft.say(Finding::NoLongerThere {}, Vec::new()),
        None => {}
    }
}
