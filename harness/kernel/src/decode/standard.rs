//! USB descriptors by their own form: type, length, and what their fields can hold. Whole or cut off, one or several
//! in a row, beginning at any of the bytes. USB 2.0 chapter 9.6, USB 3.2 chapter 9.6, HID 1.11, CDC 1.2.
use super::text::{characters, utf16_weight};
use super::{Found, Kind};

/// bDescriptorType of a string descriptor (USB 2.0, table 9-5).
pub(super) const STRING: u8 = 3;

/// A descriptor, as far as a few bytes show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Which of the bytes it begins at; what lies before belongs to something else.
    pub begins: usize,
    /// bDescriptorType.
    pub kind: u8,
    /// What it is called in prose.
    pub name: &'static str,
    /// bLength in bytes.
    pub length: u8,
    /// Of a string descriptor, the text that is visible.
    pub text: Option<String>,
    /// Of string descriptor zero, the languages that are visible.
    pub languages: Vec<u16>,
    /// Descriptors that follow it: type and name.
    pub followed_by: Vec<(u8, &'static str)>,
}

/// A field's rule: offset, bytes (1 or 2), what it can hold, and the weight of that in bits.
type Field = (usize, usize, fn(u16) -> bool, u32);

/// A descriptor's form.
struct Form {
    kind: u8,
    name: &'static str,
    lengths: &'static [u8],
    fields: &'static [Field],
}

/// bDeviceClass and bInterfaceClass (USB-IF, defined class codes).
fn class(value: u16) -> bool {
    matches!(value, 0..=0x14 | 0x3c | 0xdc | 0xe0 | 0xef | 0xfe | 0xff)
}

fn usb_version(value: u16) -> bool {
    matches!(
        value,
        0x0100 | 0x0110 | 0x0200 | 0x0201 | 0x0210 | 0x0250 | 0x0300 | 0x0310 | 0x0320
    )
}

fn packet_size(value: u16) -> bool {
    matches!(value, 8 | 9 | 16 | 32 | 64 | 255)
}

/// bEndpointAddress: a number, and the direction (USB 2.0, table 9-13).
fn endpoint(value: u16) -> bool {
    value & 0x70 == 0 && value & 0xf != 0
}

/// bmAttributes of an endpoint: bits above 5 are zero, and only isochronous and (USB 3) interrupt ones use 4 and 5.
fn endpoint_attributes(value: u16) -> bool {
    match value & 3 {
        1 => value < 0x40,
        3 => value & !0x30 == 3 && value < 0x40,
        _ => value < 4,
    }
}

fn configuration_attributes(value: u16) -> bool {
    value & 0x9f == 0x80
}

static CONFIGURATION: [Field; 5] = [
    (2, 2, |v| (9..=4096).contains(&v), 4),
    (4, 1, |v| (1..=32).contains(&v), 3),
    (5, 1, |v| (1..=32).contains(&v), 3),
    (7, 1, configuration_attributes, 6),
    (8, 1, |v| v <= 0xfa, 0),
];

/// Forms with a length of their own. A weight counts once for each field that is wholly visible and not zero.
static FORMS: [Form; 27] = [
    Form {
        kind: 1,
        name: "device descriptor",
        lengths: &[18],
        fields: &[
            (2, 2, usb_version, 12),
            (4, 1, class, 3),
            (7, 1, packet_size, 5),
            (17, 1, |v| (1..=8).contains(&v), 5),
        ],
    },
    Form {
        kind: 2,
        name: "configuration descriptor",
        lengths: &[9],
        fields: &CONFIGURATION,
    },
    Form {
        kind: 4,
        name: "interface descriptor",
        lengths: &[9],
        fields: &[
            (2, 1, |v| v < 32, 3),
            (3, 1, |v| v < 32, 3),
            (4, 1, |v| v <= 30, 3),
            (5, 1, class, 3),
        ],
    },
    Form {
        kind: 5,
        name: "endpoint descriptor",
        lengths: &[7],
        fields: &[
            (2, 1, endpoint, 3),
            (3, 1, endpoint_attributes, 3),
            (4, 2, |v| v > 0 && v & 0xe000 == 0 && v & 0x7ff <= 1024, 4),
        ],
    },
    Form {
        kind: 5,
        name: "endpoint descriptor of an audio device",
        lengths: &[9],
        fields: &[
            (2, 1, endpoint, 3),
            (3, 1, endpoint_attributes, 3),
            (4, 2, |v| v > 0 && v & 0xe000 == 0 && v & 0x7ff <= 1024, 4),
            (8, 1, |v| v == 0 || endpoint(v), 2),
        ],
    },
    Form {
        kind: 6,
        name: "device qualifier descriptor",
        lengths: &[10],
        fields: &[
            (2, 2, usb_version, 12),
            (4, 1, class, 3),
            (7, 1, packet_size, 5),
            (8, 1, |v| (1..=8).contains(&v), 5),
        ],
    },
    Form {
        kind: 7,
        name: "other speed configuration descriptor",
        lengths: &[9],
        fields: &CONFIGURATION,
    },
    Form {
        kind: 8,
        name: "interface power descriptor",
        lengths: &[8],
        fields: &[(2, 1, |v| v < 0x20, 2)],
    },
    Form {
        kind: 9,
        name: "OTG descriptor",
        lengths: &[3],
        fields: &[(2, 1, |v| (1..=7).contains(&v), 5)],
    },
    Form {
        kind: 9,
        name: "OTG descriptor",
        lengths: &[5],
        fields: &[
            (2, 1, |v| (1..=15).contains(&v), 4),
            (3, 2, |v| matches!(v, 0x0130 | 0x0200), 14),
        ],
    },
    Form {
        kind: 10,
        name: "debug descriptor",
        lengths: &[4],
        fields: &[(2, 1, endpoint, 3), (3, 1, endpoint, 3)],
    },
    Form {
        kind: 11,
        name: "interface association descriptor",
        lengths: &[8],
        fields: &[
            (2, 1, |v| v < 32, 3),
            (3, 1, |v| (1..=32).contains(&v), 3),
            (4, 1, class, 3),
        ],
    },
    Form {
        kind: 15,
        name: "BOS descriptor",
        lengths: &[5],
        fields: &[
            (2, 2, |v| (5..=1024).contains(&v), 5),
            (4, 1, |v| (1..=16).contains(&v), 4),
        ],
    },
    Form {
        kind: 16,
        name: "device capability descriptor (USB 2.0 extension)",
        lengths: &[7],
        fields: &[
            (2, 1, |v| v == 2, 8),
            (3, 2, |v| v & 1 == 0, 1),
            (5, 2, |v| v == 0, 1),
        ],
    },
    Form {
        kind: 16,
        name: "device capability descriptor (SuperSpeed)",
        lengths: &[10],
        fields: &[
            (2, 1, |v| v == 3, 8),
            (3, 1, |v| v & !2 == 0, 5),
            (4, 2, |v| v < 16 && v > 0, 8),
            (6, 1, |v| v < 4, 5),
        ],
    },
    Form {
        kind: 16,
        name: "device capability descriptor (container id)",
        lengths: &[20],
        fields: &[(2, 1, |v| v == 4, 8), (3, 1, |v| v == 0, 1)],
    },
    Form {
        kind: 16,
        name: "device capability descriptor (platform)",
        lengths: &[20, 24, 28, 32],
        fields: &[(2, 1, |v| v == 5, 8), (3, 1, |v| v == 0, 1)],
    },
    Form {
        kind: 16,
        name: "device capability descriptor (SuperSpeedPlus)",
        lengths: &[16, 20, 28, 36, 44],
        fields: &[
            (2, 1, |v| v == 10, 8),
            (3, 1, |v| v == 0, 1),
            (10, 2, |v| v == 0, 1),
        ],
    },
    Form {
        kind: 16,
        name: "device capability descriptor",
        lengths: &[4, 8, 12],
        fields: &[(2, 1, |v| matches!(v, 1 | 6..=9 | 11..=16), 4)],
    },
    Form {
        kind: 0x21,
        name: "HID descriptor",
        lengths: &[9, 12],
        fields: &[
            (2, 2, |v| matches!(v, 0x0100 | 0x0101 | 0x0110 | 0x0111), 14),
            (4, 1, |v| v <= 35, 2),
            (5, 1, |v| (1..=2).contains(&v), 6),
            (6, 1, |v| v == 0x22, 8),
        ],
    },
    Form {
        kind: 0x24,
        name: "class-specific interface descriptor (CDC header)",
        lengths: &[5],
        fields: &[
            (2, 1, |v| v == 0, 1),
            (3, 2, |v| matches!(v, 0x0100 | 0x0110 | 0x0120), 14),
        ],
    },
    Form {
        kind: 0x24,
        name: "class-specific interface descriptor (audio or video header)",
        lengths: &[8, 9, 10, 11, 12, 13, 14, 15, 16],
        fields: &[
            (2, 1, |v| v == 1, 8),
            (3, 2, |v| matches!(v, 0x0100 | 0x0110 | 0x0150 | 0x0200), 14),
        ],
    },
    Form {
        kind: 0x25,
        name: "class-specific endpoint descriptor",
        lengths: &[5, 7, 8],
        fields: &[(2, 1, |v| (1..=4).contains(&v), 4)],
    },
    Form {
        kind: 0x29,
        name: "hub descriptor",
        lengths: &[9, 11, 13, 15],
        fields: &[
            (2, 1, |v| (1..=31).contains(&v), 3),
            (3, 2, |v| v < 0x100, 2),
            (5, 1, |v| v <= 150, 0),
            (6, 1, |v| v <= 250, 0),
        ],
    },
    Form {
        kind: 0x2a,
        name: "SuperSpeed hub descriptor",
        lengths: &[12],
        fields: &[
            (2, 1, |v| (1..=15).contains(&v), 4),
            (3, 2, |v| v < 0x20, 3),
        ],
    },
    Form {
        kind: 0x30,
        name: "SuperSpeed endpoint companion descriptor",
        lengths: &[6],
        fields: &[
            (2, 1, |v| v < 16, 4),
            (3, 1, |v| v < 0x20 || v == 0x80, 2),
            (4, 2, |v| v <= 0xc000, 1),
        ],
    },
    Form {
        kind: 0x31,
        name: "SuperSpeedPlus isochronous endpoint companion descriptor",
        lengths: &[8],
        fields: &[(2, 2, |v| v == 0, 1)],
    },
];

/// log2 of the number of forms, that of strings included.
const HYPOTHESES: u32 = 5;
/// log2 of the number of bytes that a descriptor can begin at, of the eight that are asked about most.
const ALIGNMENTS: u32 = 3;

/// The descriptors that the bytes can be the beginning of, and those that can begin inside.
pub(super) fn readings(bytes: &[u8]) -> Vec<Found> {
    // Less than type and length is nothing to go by.
    (0..bytes.len().saturating_sub(1))
        .filter_map(|begins| row(bytes, begins))
        .collect()
}

/// The descriptors that follow one another from `begins` on.
fn row(bytes: &[u8], begins: usize) -> Option<Found> {
    let mut at = begins;
    let mut all: Vec<One> = Vec::new();
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= 2) {
        let Some(one) = one(rest) else {
            break;
        };
        at = at.saturating_add(usize::from(one.length));
        all.push(one);
    }
    let weight: u32 = all.iter().map(|one| one.bits).sum();
    let mut all = all.into_iter();
    let first = all.next()?;
    let penalty = HYPOTHESES + if begins > 0 { ALIGNMENTS } else { 0 };
    Some(Found {
        bits: weight.saturating_sub(penalty),
        explained: begins..at.min(bytes.len()),
        kind: Kind::Descriptor(Descriptor {
            begins,
            kind: first.kind,
            name: first.name,
            length: first.length,
            text: first.text,
            languages: first.languages,
            followed_by: all.map(|one| (one.kind, one.name)).collect(),
        }),
    })
}

/// One descriptor, as far as it is visible.
struct One {
    kind: u8,
    name: &'static str,
    length: u8,
    bits: u32,
    text: Option<String>,
    languages: Vec<u16>,
}

fn one(bytes: &[u8]) -> Option<One> {
    let (&length, rest) = bytes.split_first()?;
    let (&kind, body) = rest.split_first()?;
    if kind == STRING {
        return languages(length, body).or_else(|| string(length, body));
    }
    FORMS
        .iter()
        .filter(|form| form.kind == kind && form.lengths.contains(&length))
        .filter_map(|form| fits(form, length, bytes))
        .max_by_key(|one| one.bits)
}

/// Type and length that go together, and every field that is wholly visible.
fn fits(form: &Form, length: u8, bytes: &[u8]) -> Option<One> {
    // Sixteen bits, and one chance for each length allowed.
    let lengths = u32::try_from(form.lengths.len()).unwrap_or(u32::MAX);
    let mut bits = 16 - lengths.next_power_of_two().trailing_zeros();
    for &(at, size, holds, weight) in form.fields {
        let value = match (size, bytes.get(at..at + size)) {
            (1, Some(&[low])) => u16::from(low),
            (2, Some(&[low, high])) => u16::from_le_bytes([low, high]),
            _ => continue,
        };
        if !holds(value) {
            return None;
        }
        bits += if value == 0 { weight.min(1) } else { weight };
    }
    Some(One {
        kind: form.kind,
        name: form.name,
        length,
        bits,
        text: None,
        languages: Vec::new(),
    })
}

/// A string: an even length, and text. Its type is eight bits, its length one.
fn string(length: u8, body: &[u8]) -> Option<One> {
    if length < 4 || !length.is_multiple_of(2) {
        return None;
    }
    let visible = body.get(..usize::from(length - 2).min(body.len()))?;
    let weight = utf16_weight(visible)?;
    // Half a unit is no text: one byte visible says nothing.
    Some(One {
        kind: STRING,
        name: "string descriptor",
        length,
        bits: 9 + weight,
        text: (visible.len() >= 2).then(|| characters(visible)),
        languages: Vec::new(),
    })
}

/// String descriptor zero: language ids of which at least one is visible.
fn languages(length: u8, body: &[u8]) -> Option<One> {
    if length < 4 || !length.is_multiple_of(2) || length > 64 {
        return None;
    }
    let visible = body.get(..usize::from(length - 2).min(body.len()))?;
    let mut languages = Vec::new();
    for pair in visible.chunks_exact(2) {
        let id = u16::from_le_bytes(pair.try_into().ok()?);
        // Primary language 1 to 0x7f, sublanguage 1 to 0x14 (USB-IF, language identifiers).
        let real = (1..=0x7f).contains(&(id & 0x3ff)) && (1..=0x14).contains(&(id >> 10));
        if !real {
            return None;
        }
        languages.push(id);
    }
    // English of the United States is what nearly every device has.
    let weight = |id: &u16| if *id == 0x0409 { 10 } else { 4 };
    let bits = 9 + languages.iter().map(weight).sum::<u32>() + if length == 4 { 4 } else { 0 };
    (!languages.is_empty()).then_some(One {
        kind: STRING,
        name: "string descriptor zero",
        length,
        bits,
        text: None,
        languages,
    })
}

/// The string descriptor of a text: bLength, bDescriptorType, UTF-16LE (USB 2.0, table 9-16). `None` when the
/// text needs more than 126 code units.
#[must_use]
pub fn string_descriptor(text: &str) -> Option<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().take(127).collect();
    let length = u8::try_from(units.len() * 2 + 2)
        .ok()
        .filter(|_| units.len() <= 126)?;
    let mut bytes = vec![length, STRING];
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    Some(bytes)
}
