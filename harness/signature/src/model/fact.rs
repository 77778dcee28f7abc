//! A fact that is known with its source, or absent with a reason.
//!
//! As TOML, a known fact is `{ value = …, source = "…" }`, an absent one `{ absent = "…" }`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Where a fact was read.
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
pub enum Source {
    /// Registers or raw memory of the vmcore, or its notes.
    #[serde(rename = "vmcore")]
    Vmcore,
    /// The vmcore, read with the symbols of its own kallsyms.
    #[serde(rename = "vmcore+kallsyms")]
    VmcoreKallsyms,
    /// The vmcore, read with the symbols of a kernel image given beside it.
    #[serde(rename = "vmcore+image")]
    VmcoreImage,
    /// The vmcore, read with the symbols of a System.map given beside it.
    #[serde(rename = "vmcore+system-map")]
    VmcoreSystemMap,
    /// The vmcore, read with BTF types.
    #[serde(rename = "vmcore+btf")]
    VmcoreBtf,
    /// The vmcore, read with DWARF types or lines.
    #[serde(rename = "vmcore+dwarf")]
    VmcoreDwarf,
    /// The vmcore, read with a built-in table of structure layouts.
    #[serde(rename = "vmcore+layout-table")]
    VmcoreLayout,
    /// A crash-utility session.
    #[serde(rename = "transcript")]
    Transcript,
    /// An oops on the console or in dmesg.
    #[serde(rename = "console")]
    Console,
    /// The record of the run that produced the dump.
    #[serde(rename = "run")]
    Run,
    /// Follows from other facts of the same signature.
    #[serde(rename = "derived")]
    Derived,
    /// A person copied it from a transcript.
    #[serde(rename = "transcribed-by-hand")]
    TranscribedByHand,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vmcore => "vmcore",
            Self::VmcoreKallsyms => "vmcore+kallsyms",
            Self::VmcoreImage => "vmcore+image",
            Self::VmcoreSystemMap => "vmcore+system-map",
            Self::VmcoreBtf => "vmcore+btf",
            Self::VmcoreDwarf => "vmcore+dwarf",
            Self::VmcoreLayout => "vmcore+layout-table",
            Self::Transcript => "transcript",
            Self::Console => "console",
            Self::Run => "run",
            Self::Derived => "derived",
            Self::TranscribedByHand => "transcribed-by-hand",
        })
    }
}

/// One fact of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is known.
    Known {
        /// What it is.
        value: T,
        /// Where it was read.
        source: Source,
    },
    /// It is not known.
    Absent {
        /// Why not, for the reader of a report.
        reason: String,
    },
}

/// Hexadecimal digits that no size, offset or flag has, but every address of a kernel.
const ADDRESS_DIGITS: usize = 9;

/// `text` with `0x…` in the place of each address.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str("0x");
        match part.split_at_checked(digits) {
            Some((_, rest)) if digits >= ADDRESS_DIGITS => {
                out.push('…');
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

impl<T> Fact<T> {
    /// A known fact.
    pub fn known(value: T, source: Source) -> Self {
        Self::Known { value, source }
    }

    /// An absent fact and why it is absent. Addresses in the reason are taken out: they differ from boot to boot.
    pub fn absent(reason: impl AsRef<str>) -> Self {
        Self::Absent {
            reason: without_addresses(reason.as_ref()),
        }
    }

    /// `value` if there is one, else absent for `reason`.
    pub fn from_option(value: Option<T>, source: Source, reason: impl AsRef<str>) -> Self {
        match value {
            Some(value) => Self::known(value, source),
            None => Self::absent(reason),
        }
    }

    /// `Ok` as known, `Err` as absent with the error's text.
    pub fn from_result<E: fmt::Display>(value: Result<T, E>, source: Source) -> Self {
        match value {
            Ok(value) => Self::known(value, source),
            Err(error) => Self::absent(error.to_string()),
        }
    }

    /// The value, where known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Absent { .. } => None,
        }
    }

    /// The source, where known.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Known { source, .. } => Some(*source),
            Self::Absent { .. } => None,
        }
    }

    /// Why it is absent, where it is.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Known { .. } => None,
            Self::Absent { reason } => Some(reason),
        }
    }

    /// The same fact about another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known { value, source } => Fact::Known {
                value: f(value),
                source,
            },
            Self::Absent { reason } => Fact::Absent { reason },
        }
    }
}

/// The three keys a fact may have in TOML.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    value: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent: Option<String>,
}

/// `Option::default` without asking for `T: Default`.
fn none<T>() -> Option<T> {
    None
}

impl<T: Serialize> Serialize for Fact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known { value, source } => Written {
                value: Some(value),
                source: Some(*source),
                absent: None,
            },
            Self::Absent { reason } => Written {
                value: None,
                source: None,
                absent: Some(reason.clone()),
            },
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        match (written.value, written.source, written.absent) {
            (Some(value), Some(source), None) => Ok(Self::Known { value, source }),
            (None, None, Some(reason)) => Ok(Self::Absent { reason }),
            _ => Err(D::Error::custom(
                "a fact has either `value` and `source`, or `absent` alone",
            )),
        }
    }
}
