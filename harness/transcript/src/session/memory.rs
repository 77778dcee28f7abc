//! Words of memory: the stack words of `bt -f` and `bt -F`, `rd` in every width, gdb's `x/…x`.
use super::numbers::{address, hex, place, prefixed};
use crate::evidence::Word;
use std::borrow::Cow;

/// Bytes that one line shows at most.
const LINE_BYTES: u64 = 16;

/// The words of one line that could be read.
pub(super) struct Words {
    pub(super) words: Vec<(u64, u64)>,
}

impl Words {
    pub(super) fn with_line(self, line: usize) -> impl Iterator<Item = Word> {
        self.words
            .into_iter()
            .map(move |(at, value)| Word { at, value, line })
    }
}

/// `    ffffabfa4b0ebb88: ffff8ef487c0e9c0 ffff8ef487c0e9c0`, with hand-written notes and an ASCII column or without.
pub(super) fn words(text: &str) -> Option<Words> {
    let (start, rest) = start(text)?;
    let rest = without_notes(rest);
    let mut at = start;
    let end = start.checked_add(LINE_BYTES)?;
    let mut bytes = Vec::new();
    let mut found = Vec::new();
    let mut width = None;
    let mut seen = false;
    for word in rest.split_ascii_whitespace() {
        let piece = Piece::of(word)?;
        let size = piece.size();
        if at >= end || *width.get_or_insert(size) != size {
            break;
        }
        seen = true;
        match piece {
            Piece::Value(value, 8) => found.push((at, value)),
            Piece::Value(value, size) => {
                bytes.extend(
                    value
                        .to_le_bytes()
                        .into_iter()
                        .take(usize::try_from(size).ok()?),
                );
            }
            Piece::Symbol => {}
            Piece::End => break,
        }
        at = at.checked_add(size)?;
    }
    let whole = bytes.chunks_exact(8).enumerate();
    for (index, chunk) in whole {
        let value = chunk.try_into().map(u64::from_le_bytes).ok()?;
        found.push((start.checked_add(8 * index as u64)?, value));
    }
    (seen && (!found.is_empty() || width == Some(8))).then_some(Words { words: found })
}

/// One word of a line.
enum Piece {
    /// A value and its size in bytes.
    Value(u64, u64),
    /// A symbol in the place of eight bytes.
    Symbol,
    /// The ASCII column.
    End,
}

impl Piece {
    /// `None` where the line is none of memory's: a word that is neither, in the first place.
    #[expect(clippy::unnecessary_wraps, reason = "the caller's chain is of options")]
    fn of(word: &str) -> Option<Self> {
        if let Some(value) = prefixed(word) {
            // gdb pads to the width that was asked for; `x/a` does not, and always shows eight bytes.
            return Some(match word.len() {
                4 => Self::Value(value, 1),
                6 => Self::Value(value, 2),
                10 => Self::Value(value, 4),
                18 => Self::Value(value, 8),
                _ => Self::End,
            });
        }
        if let (2 | 4 | 8 | 16, Some(value)) = (word.len(), hex(word)) {
            return Some(Self::Value(value, word.len() as u64 / 2));
        }
        // `bt -F`: `[ffff8ef487c0e9c0:kmem_cache]`, `usb_hcd_submit_urb+434`.
        let slab = word.strip_prefix('[').and_then(|rest| rest.split_once(':'));
        if let Some(value) = slab.and_then(|(value, _)| address(value)) {
            return Some(Self::Value(value, 8));
        }
        // Without its value: `[kmem_cache]`, `crash_kexec+36`, `.data`. The ASCII column that follows a single word may
        // look like one, and nothing is read from either.
        let cache = word.starts_with('[') && word.ends_with(']');
        let symbol = cache || place(word).is_some();
        Some(if symbol { Self::Symbol } else { Self::End })
    }

    fn size(&self) -> u64 {
        match self {
            Self::Value(_, size) => *size,
            Self::Symbol | Self::End => 8,
        }
    }
}

/// The address that a line of memory begins with, and what follows the colon.
fn start(text: &str) -> Option<(u64, &str)> {
    let (before, rest) = text.trim_start().split_once(':')?;
    let mut words = before.split_ascii_whitespace();
    let first = words.next()?;
    let at = address(first).or_else(|| prefixed(first).filter(|_| first.len() > 10))?;
    // gdb: `0xffffffff84287f8b <__kmalloc+171>:`.
    let symbol = words
        .next()
        .is_none_or(|word| word.starts_with('<') && word.ends_with('>'));
    (symbol && words.next().is_none()).then_some((at, rest))
}

/// Whether a line begins as one of memory does.
pub(super) fn looks_like_words(text: &str) -> bool {
    start(text).is_some_and(|(_, rest)| {
        rest.trim_start()
            .bytes()
            .next()
            .is_none_or(|b| b.is_ascii_hexdigit())
    })
}

/// Takes `[r15]` away that a person wrote behind a word.
pub(super) fn without_notes(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, note)) = noted(rest) {
        out.push_str(before);
        rest = note.split_once(']').map_or("", |(_, after)| after);
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A text up to a note behind sixteen hexadecimal digits, and from the note's bracket on.
fn noted(text: &str) -> Option<(&str, &str)> {
    text.match_indices('[').find_map(|(at, _)| {
        let (before, note) = text.split_at_checked(at)?;
        let word = before.split_ascii_whitespace().next_back()?;
        (before.ends_with(word) && address(word).is_some()).then_some((before, note))
    })
}
