//! What a few bytes can be, when all that is known is that they lie where something else should: USB descriptors,
//! copies of what the devices present sent, SETUP packets, text, the kernel's fill patterns, error pointers, flipped
//! bits.
//!
//! Every reading is weighed in bits: how much less often than once it would fit bytes that mean nothing. A bit is a
//! halving; zeros, which memory is full of, count little; the number of hypotheses tried is taken off. The weight and
//! the kind give the [`Confidence`]. `tests/decode_rates.rs` measures what is found in a million random words and in
//! a million words of a real kernel's memory, and holds the rates to their bounds.
//!
//! Pure functions: where the bytes come from is the caller's matter.
mod known;
mod poison;
mod standard;
mod text;

pub use known::{Known, KnownMatch, KnownPart};
pub use poison::errno;
pub use standard::{Descriptor, string_descriptor};
pub use text::{Encoding, ascii_text, utf16_text};

use crate::slub::Extent;
use crate::usb::SetupPacket;
use std::ops::Range;

/// How sure a reading is, least sure first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// The bytes could be this; nothing says that they are.
    Plausible,
    /// The bytes have this format: their parts agree with one another.
    Structural,
    /// The same bytes are in the dump, in something known to be this.
    Proven,
}

/// Bits from which a reading is worth telling.
const PLAUSIBLE: u32 = 8;
/// Bits from which a format is taken as met: one in 65,536.
const STRUCTURAL: u32 = 16;
/// Bits from which a copy of known bytes is no chance.
const PROVEN: u32 = 20;

/// What the bytes can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A copy of something that a device present sent, or that the kernel keeps of it.
    Device(KnownMatch),
    /// A USB descriptor by its own form.
    Descriptor(Descriptor),
    /// The SETUP packet of a control transfer.
    Setup(SetupPacket),
    /// Text and nothing more.
    Text {
        /// How it is encoded.
        encoding: Encoding,
        /// The characters.
        text: String,
    },
    /// A fill pattern of the kernel's (include/linux/poison.h).
    Poison {
        /// Its name there.
        name: &'static str,
        /// What was added to it since: a counter in freed memory still counts.
        drift: i32,
    },
    /// One bit of a pointer that belongs there is flipped.
    BitFlip {
        /// Which bit, 0 the lowest.
        bit: u8,
        /// The pointer.
        pointer: u64,
    },
    /// An error number as a pointer (ERR_PTR), or a small negative number.
    ErrorPointer {
        /// The number, positive.
        number: u16,
        /// Its name, `ENOMEM`.
        name: Option<&'static str>,
    },
    /// Zeros only.
    Zeroes,
    /// A small number: a counter, a size, flags.
    Number(u64),
}

/// One reading of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What they are by it.
    pub kind: Kind,
    /// How sure it is.
    pub confidence: Confidence,
    /// Its weight.
    pub bits: u32,
    /// Which of the bytes it explains.
    pub explained: Range<usize>,
}

/// What is asked of some bytes.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The bytes, in memory order; 64 are looked at.
    pub bytes: &'q [u8],
    /// Where they lie in the buffer that they may be a part of, if it began where its object does.
    pub offset: Option<u64>,
    /// How many readings of the same bytes are asked about: of a hardened pointer there is one for each object that
    /// may have carried it.
    pub alternatives: usize,
    /// Which bytes of a pointer that belongs there differ.
    pub extent: Option<&'q Extent>,
}

impl<'q> Question<'q> {
    /// Bytes of which nothing else is known.
    #[must_use]
    pub fn of(bytes: &'q [u8]) -> Self {
        Self {
            bytes,
            offset: None,
            alternatives: 1,
            extent: None,
        }
    }
}

/// All readings of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// The readings, best first.
    pub readings: Vec<Reading>,
    /// What was tried, one line each.
    pub tried: Vec<String>,
}

impl Decoded {
    /// The best reading.
    #[must_use]
    pub fn best(&self) -> Option<&Reading> {
        self.readings.first()
    }
}

/// Longest part of the bytes that is looked at.
const MAX_BYTES: usize = 64;

/// What bytes can be.
#[must_use]
pub fn decode(question: &Question<'_>, known: &Known) -> Decoded {
    let bytes = question.bytes.get(..MAX_BYTES).unwrap_or(question.bytes);
    // Each further alternative is one more chance.
    let chances = usize::BITS - question.alternatives.max(1).leading_zeros() - 1;
    let mut readings: Vec<Reading> = known
        .find(bytes, question.offset)
        .into_iter()
        .chain(standard::readings(bytes))
        .chain(setup(bytes))
        .chain(text::readings(bytes))
        .chain(poison::readings(bytes))
        .chain(question.extent.and_then(flip))
        .chain(number(bytes))
        .filter_map(|found| found.judge(bytes.len(), chances))
        .collect();
    readings.sort_by_key(|reading| std::cmp::Reverse((reading.confidence, reading.bits)));
    Decoded {
        readings,
        tried: vec![
            format!(
                "{} bytes compared with {} of the devices present",
                bytes.len(),
                known.describe()
            ),
            "the standard descriptors' forms, SETUP packets, text, fill patterns, error pointers"
                .into(),
        ],
    }
}

/// A reading before it is judged.
#[derive(Debug, Clone)]
struct Found {
    kind: Kind,
    bits: u32,
    explained: Range<usize>,
}

impl Found {
    /// The confidence that kind, weight and the number of bytes explained allow; `None` below all.
    fn judge(self, length: usize, chances: u32) -> Option<Reading> {
        let bits = self.bits.saturating_sub(chances);
        // What explains less than half of the bytes leaves more open than it says.
        let mostly = self.explained.len() * 2 >= length;
        let ceiling = match self.kind {
            // Words of a device's name are written elsewhere too, `Controller` for one.
            Kind::Device(KnownMatch {
                part: KnownPart::Kept(..),
                ..
            }) => Confidence::Plausible,
            Kind::Device(_) => Confidence::Proven,
            Kind::Text { .. } | Kind::Number(_) | Kind::Zeroes => Confidence::Plausible,
            _ => Confidence::Structural,
        };
        let reached = match bits {
            PROVEN.. if ceiling == Confidence::Proven && mostly => Confidence::Proven,
            STRUCTURAL.. if mostly => Confidence::Structural,
            PLAUSIBLE.. => Confidence::Plausible,
            _ => return None,
        };
        Some(Reading {
            kind: self.kind,
            confidence: reached.min(ceiling),
            bits,
            explained: self.explained,
        })
    }
}

/// A standard request whose values fit: each byte that is not zero is a coincidence the less.
fn setup(bytes: &[u8]) -> Option<Found> {
    /// log2 of the number of requests known.
    const REQUESTS: u32 = 5;
    let packet: [u8; 8] = bytes.try_into().ok()?;
    let setup = SetupPacket::new(packet);
    setup.name()?;
    let telling = packet.iter().filter(|byte| **byte != 0).count();
    Some(Found {
        kind: Kind::Setup(setup),
        bits: (u32::try_from(telling).unwrap_or(0) * 5).saturating_sub(REQUESTS),
        explained: 0..8,
    })
}

/// All but one bit are those of one of at most 32,768 pointers.
fn flip(extent: &Extent) -> Option<Found> {
    Some(Found {
        kind: Kind::BitFlip {
            bit: extent.bit?,
            pointer: extent.nearest.0,
        },
        bits: 64 - 6 - 15,
        explained: 0..8,
    })
}

/// Zeros, and numbers of up to three bytes.
fn number(bytes: &[u8]) -> Option<Found> {
    let word: [u8; 8] = bytes.try_into().ok()?;
    let value = u64::from_le_bytes(word);
    let kind = match value {
        0 => Kind::Zeroes,
        1..0x100_0000 => Kind::Number(value),
        _ => return None,
    };
    Some(Found {
        kind,
        bits: PLAUSIBLE,
        explained: 0..8,
    })
}

/// How telling it is that bytes equal known ones: what is zero or all ones lies everywhere, and a byte that was there
/// before says little more.
fn weight_of_equality(bytes: &[u8]) -> u32 {
    let mut seen = std::collections::HashSet::new();
    bytes
        .iter()
        .map(|byte| match byte {
            0 | 0xff => 1,
            byte if seen.insert(*byte) => 7,
            _ => 3,
        })
        .sum()
}

#[cfg(test)]
mod tests;
