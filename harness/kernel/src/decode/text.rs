//! Text in a few bytes: ASCII and UTF-16LE, at both alignments, of one script.
use super::{Found, Kind};

/// How text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One byte a character.
    Ascii,
    /// Little-endian UTF-16.
    Utf16,
}

/// Scripts in which devices have names: first and last code unit, and the weight of one unit in bits. The larger a
/// script is, the less a unit of it says; ASCII is held to what real memory has, not to what is random.
const SCRIPTS: [(u16, u16, u32); 12] = [
    (0x00c0, 0x017f, 4), // Latin with marks
    (0x0370, 0x03ff, 4), // Greek
    (0x0400, 0x04ff, 4), // Cyrillic
    (0x0590, 0x05ff, 4), // Hebrew
    (0x0600, 0x06ff, 4), // Arabic
    (0x0900, 0x097f, 4), // Devanagari
    (0x0e00, 0x0e7f, 4), // Thai
    (0x2010, 0x2044, 4), // punctuation
    (0x3040, 0x30ff, 4), // kana
    (0x4e00, 0x9fff, 1), // Chinese characters
    (0xac00, 0xd7a3, 1), // Hangul
    (0xff01, 0xff9f, 4), // full-width forms
];
/// Weight of an ASCII unit of UTF-16.
const ASCII_UNIT: u32 = 4;
/// Signs that stand in names beside ASCII: registered, trade mark, micro, degree and the like.
const SIGNS: [u16; 8] = [0xa0, 0xa9, 0xae, 0xb0, 0xb5, 0xb7, 0x2122, 0x3000];

/// The script that a unit belongs to (`None` for ASCII and signs, which go with every script) and its weight.
fn unit(code: u16) -> Option<(Option<usize>, u32)> {
    if (0x20..0x7f).contains(&code) {
        return Some((None, ASCII_UNIT));
    }
    if SIGNS.contains(&code) {
        return Some((None, 3));
    }
    let script = SCRIPTS
        .iter()
        .position(|(first, last, _)| (*first..=*last).contains(&code))?;
    Some((Some(script), SCRIPTS.get(script)?.2))
}

/// Weight of UTF-16LE text in bits; `None` if a unit is no character of a name, or scripts are mixed. Kana and
/// Chinese characters go together.
pub(super) fn utf16_weight(bytes: &[u8]) -> Option<u32> {
    let mut of: Option<usize> = None;
    let mut weight = 0;
    for pair in bytes.chunks_exact(2) {
        let code = u16::from_le_bytes(pair.try_into().ok()?);
        let (script, bits) = unit(code)?;
        weight += bits;
        let japanese = |script| matches!(script, 8 | 9);
        match (of, script) {
            (Some(a), Some(b)) if a != b && !(japanese(a) && japanese(b)) => return None,
            (None, Some(script)) => of = Some(script),
            _ => {}
        }
    }
    Some(weight)
}

/// The text in UTF-16LE bytes, if every unit is a character that stands in a name, all of one script beside ASCII, and
/// there are at least two. A byte left over is not looked at.
#[must_use]
pub fn utf16_text(bytes: &[u8]) -> Option<String> {
    utf16_weight(bytes)?;
    (bytes.len() >= 4).then(|| characters(bytes))
}

/// UTF-16LE bytes as text, whatever they are.
pub(super) fn characters(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .filter_map(|unit| Some(u16::from_le_bytes(unit.try_into().ok()?)));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The text in bytes of printable ASCII, which NULs may end.
#[must_use]
pub fn ascii_text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let printable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    let ended = rest.iter().all(|byte| *byte == 0);
    (printable && ended && !text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

/// What text the bytes can be.
pub(super) fn readings(bytes: &[u8]) -> Vec<Found> {
    let mut found: Vec<Found> = ascii(bytes).into_iter().collect();
    found.extend(utf16(bytes, 0));
    // The first byte is the upper half of a unit before: of ASCII, zero.
    if bytes.first() == Some(&0) {
        found.extend(utf16(bytes, 1));
    }
    found
}

fn ascii(bytes: &[u8]) -> Option<Found> {
    let text = ascii_text(bytes)?;
    // Letters, digits and what joins them are half of the printable bytes and nearly all of real text.
    let wordlike = |byte: &u8| byte.is_ascii_alphanumeric() || b" _-./:,".contains(byte);
    let words = text.bytes().filter(|byte| wordlike(byte)).count();
    let halves = words * 3 + (text.len() - words);
    Some(Found {
        bits: u32::try_from(halves / 2).unwrap_or(u32::MAX),
        explained: 0..bytes.len(),
        kind: Kind::Text {
            encoding: Encoding::Ascii,
            text,
        },
    })
}

/// UTF-16LE from `from` on, up to a NUL that ends it.
fn utf16(bytes: &[u8], from: usize) -> Option<Found> {
    let rest = bytes.get(from..)?;
    let rest = rest.get(..rest.len() & !1)?;
    let end = rest.chunks_exact(2).position(|unit| unit == [0, 0]);
    let (text, after) = rest.split_at(end.map_or(rest.len(), |units| units * 2));
    let ended = after.iter().all(|byte| *byte == 0);
    let weight = utf16_weight(text).filter(|_| ended)?;
    Some(Found {
        kind: Kind::Text {
            encoding: Encoding::Utf16,
            text: utf16_text(text)?,
        },
        bits: weight.saturating_sub(u32::from(from > 0)),
        explained: 0..from + rest.len(),
    })
}
