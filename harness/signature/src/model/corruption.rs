//! What was overwritten, which bytes of it, what they decode to, and how sure that is.

use super::Fact;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The corruption group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Corruption {
    /// What was overwritten.
    pub site: Fact<Site>,
    /// Which bytes of it: a pointer can be overwritten in its low bytes only.
    pub bytes: Fact<Span>,
    /// What those bytes were found to be, in memory order; a hardened pointer already undone.
    pub observed: Fact<Bytes>,
    /// What they decode to.
    pub decoded: Fact<Decoded>,
    /// How sure the decoding is.
    pub confidence: Fact<Confidence>,
    /// What proves it, and what else was tried; one line each.
    pub proof: Fact<Vec<String>>,
}

/// What was overwritten.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum Site {
    /// The next-free pointer of a free object.
    FreelistPointer {
        /// `kmem_cache.name`.
        cache: String,
    },
    /// A field of a kernel structure.
    Field {
        /// C name of the structure, without `struct`.
        structure: String,
        /// The field.
        field: String,
    },
    /// Known only as the contents of a register.
    Register {
        /// `rbp`.
        name: String,
    },
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FreelistPointer { cache } => write!(f, "freelist of {cache}"),
            Self::Field { structure, field } => write!(f, "{structure}.{field}"),
            Self::Register { name } => write!(f, "register {name}"),
        }
    }
}

/// What the bytes decode to.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum Decoded {
    /// Part of a USB descriptor (USB 2.0, section 9.6).
    UsbDescriptor {
        /// `bDescriptorType`.
        descriptor: DescriptorType,
        /// Where in the descriptor the bytes lie; 0 is its head.
        offset: u16,
        /// `bLength`, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u8>,
        /// The characters that the observed bytes carry, of a string descriptor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The whole string, where another copy of it was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whole: Option<String>,
        /// The language ids that the observed bytes carry, of string descriptor zero.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        langids: Option<Vec<u16>>,
    },
    /// Text and nothing more.
    Text {
        /// How it is encoded.
        encoding: Encoding,
        /// The characters.
        text: String,
    },
    /// A fill pattern of the kernel's (include/linux/poison.h).
    Poison {
        /// `POISON_FREE`, `LIST_POISON1`, …
        name: String,
    },
    /// A plausible value with one bit flipped.
    BitFlip {
        /// Which bit, 0 the lowest.
        bit: u8,
    },
    /// The SETUP packet of a USB control transfer (USB 2.0, section 9.3).
    SetupPacket {
        /// `GET_DESCRIPTOR`.
        request: String,
    },
    /// An error number as a pointer.
    ErrorPointer {
        /// `ENOMEM`.
        error: String,
    },
    /// A small number, zero included: nothing says of what.
    Number {},
    /// None of what was tried.
    Unknown {},
}

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsbDescriptor {
                descriptor,
                offset,
                length,
                text,
                ..
            } => {
                let part = if *offset == 0 { "head" } else { "middle" };
                write!(f, "{part} of a USB {descriptor} descriptor")?;
                if let Some(length) = length {
                    write!(f, " of {length} bytes")?;
                }
                match text {
                    Some(text) => write!(f, ", text {text:?}"),
                    None => Ok(()),
                }
            }
            Self::Text { encoding, text } => write!(f, "{encoding} text {text:?}"),
            Self::Poison { name } => write!(f, "poison {name}"),
            Self::BitFlip { bit } => write!(f, "bit {bit} flipped"),
            Self::SetupPacket { request } => write!(f, "USB SETUP packet {request}"),
            Self::ErrorPointer { error } => write!(f, "error pointer {error}"),
            Self::Number {} => f.write_str("a small number"),
            Self::Unknown {} => f.write_str("unknown"),
        }
    }
}

/// How text is encoded.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// One byte a character.
    Ascii,
    /// Little-endian UTF-16.
    Utf16,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ascii => "ASCII",
            Self::Utf16 => "UTF-16",
        })
    }
}

/// How sure a decoding is, least sure first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The bytes could be this; nothing says that they are.
    Plausible,
    /// The bytes have this format: their length, type and contents agree with one another.
    Structural,
    /// The same bytes were found elsewhere, in something known to be this.
    Proven,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plausible => "plausible",
            Self::Structural => "structural",
            Self::Proven => "proven",
        })
    }
}

/// `bDescriptorType`; its name as text, `type-0x2a` where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DescriptorType(pub u8);

impl DescriptorType {
    /// A string descriptor.
    pub const STRING: Self = Self(3);
}

/// USB 2.0 table 9-5, and what USB 3.2 table 9-6 and the HID and hub classes add.
const DESCRIPTOR_TYPES: [(u8, &str); 21] = [
    (0x01, "device"),
    (0x02, "configuration"),
    (0x03, "string"),
    (0x04, "interface"),
    (0x05, "endpoint"),
    (0x06, "device-qualifier"),
    (0x07, "other-speed-configuration"),
    (0x08, "interface-power"),
    (0x09, "otg"),
    (0x0a, "debug"),
    (0x0b, "interface-association"),
    (0x0f, "bos"),
    (0x10, "device-capability"),
    (0x21, "hid"),
    (0x22, "hid-report"),
    (0x24, "class-specific-interface"),
    (0x25, "class-specific-endpoint"),
    (0x29, "hub"),
    (0x2a, "superspeed-hub"),
    (0x30, "superspeed-endpoint-companion"),
    (0x31, "superspeedplus-isochronous-endpoint-companion"),
];

impl fmt::Display for DescriptorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DESCRIPTOR_TYPES
            .iter()
            .find(|(number, _)| *number == self.0)
        {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "type-{:#04x}", self.0),
        }
    }
}

/// Text that is not the written form of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct BadText {
    text: String,
    expected: &'static str,
}

impl FromStr for DescriptorType {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        DESCRIPTOR_TYPES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(number, _)| Self(*number))
            .or_else(|| {
                let digits = text.strip_prefix("type-0x")?;
                hex_byte(digits).map(Self)
            })
            .ok_or_else(|| BadText {
                text: text.to_owned(),
                expected: "a USB descriptor type (`string`, `device`, `type-0x2b`)",
            })
    }
}

/// Bytes `start..end` of a value, as text `0..8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// First byte, 0 the lowest address.
    pub start: u8,
    /// One past the last byte.
    pub end: u8,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl FromStr for Span {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        text.split_once("..")
            .and_then(|(start, end)| {
                Some(Self {
                    start: decimal_byte(start)?,
                    end: decimal_byte(end)?,
                })
            })
            .filter(|span| span.start <= span.end)
            .ok_or_else(|| BadText {
                text: text.to_owned(),
                expected: "a range of bytes (`0..8`)",
            })
    }
}

/// Raw bytes in memory order, as text `38 03 56 00`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Bytes {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        text.split_ascii_whitespace()
            .map(hex_byte)
            .collect::<Option<Vec<u8>>>()
            .map(Self)
            .ok_or_else(|| BadText {
                text: text.to_owned(),
                expected: "bytes in hexadecimal (`38 03 56 00`)",
            })
    }
}

/// Two hexadecimal digits; `from_str_radix` alone would take a sign for one.
fn hex_byte(digits: &str) -> Option<u8> {
    let digits_only = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    digits_only.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Digits without a sign.
fn decimal_byte(digits: &str) -> Option<u8> {
    let digits_only = digits.bytes().all(|b| b.is_ascii_digit());
    digits_only.then(|| digits.parse().ok())?
}

/// serde's `try_from`/`into` by way of `FromStr` and `Display`.
macro_rules! as_string {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = BadText;

            fn try_from(text: String) -> Result<Self, BadText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}
as_string!(DescriptorType, Span, Bytes);
