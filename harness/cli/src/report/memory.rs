//! Memory that an account shows: the object that was overwritten, byte by byte, and the slab that it lies in. Filled by
//! `extract`, bounded; renders nothing. Addresses are hexadecimal text, because not every reader of JSON keeps 64 bits.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes of an object that are kept.
pub(crate) const MAX_BYTES: usize = 1024;
/// Most objects of a slab that are kept; the smallest ones have 512.
pub(crate) const MAX_OBJECTS: u64 = 1024;

/// Memory around a corruption.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Memory {
    /// The object that was overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<ObjectBytes>,
    /// The slab that it lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slab: Option<SlabObjects>,
    /// What is not here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
}

impl Memory {
    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ObjectBytes {
    /// Where it lies.
    pub(crate) address: String,
    /// Its cache.
    pub(crate) cache: String,
    /// Bytes that it has.
    pub(crate) size: u64,
    /// How it is known that it is this object.
    pub(crate) known_by: String,
    /// What the dump has there, from its first byte on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_dump: Option<Bytes>,
    /// What was written over it, as the device sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<Bytes>,
    /// What the CPU took from it: the bytes that it read as a pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<Span>,
    /// What the overwriting bytes are, in the words of the USB specification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
}

/// Bytes, and what is to be said of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Bytes {
    /// Which byte of the object the first one is.
    #[serde(default)]
    pub(crate) from: u64,
    /// Two digits a byte, without spaces.
    pub(crate) hex: String,
    /// What they are.
    pub(crate) what: String,
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Span {
    /// First byte.
    pub(crate) from: u64,
    /// The byte behind its last one.
    pub(crate) to: u64,
    /// What it is.
    pub(crate) what: String,
}

/// A field of what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Field {
    /// First byte.
    pub(crate) from: u64,
    /// The byte behind its last one.
    pub(crate) to: u64,
    /// Its name in the specification: `bLength`.
    pub(crate) name: String,
    /// Its value, in words.
    pub(crate) value: String,
    /// The descriptor that it is a part of.
    pub(crate) of: String,
}

/// The objects of a slab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SlabObjects {
    /// Where the first one lies.
    pub(crate) address: String,
    /// The cache.
    pub(crate) cache: String,
    /// Distance between objects in bytes.
    pub(crate) distance: u64,
    /// Objects that the slab has; more than are listed where it has very many.
    pub(crate) objects: u64,
    /// Each one.
    pub(crate) list: Vec<SlabObject>,
    /// The lists of free ones, and how each ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) freelists: Vec<String>,
}

/// An object of a slab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SlabObject {
    /// Its state.
    pub(crate) state: ObjectState,
    /// Its place on its list of free ones, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<u64>,
    /// It is the one that was overwritten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) corrupted: bool,
    /// What else is known of it: a request's buffer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

/// Whether an object is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ObjectState {
    /// On no list of free ones.
    Allocated,
    /// On the list that a CPU allocates from.
    FreeOnCpu,
    /// On the slab's own list.
    FreeOnSlab,
    /// A list that it could be on cannot be walked to its end.
    Unknown,
}

impl ObjectState {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::FreeOnCpu => "free, on a CPU's list",
            Self::FreeOnSlab => "free, on the slab's list",
            Self::Unknown => "allocated or free: not known",
        }
    }
}
