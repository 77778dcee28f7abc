//! The shape of what an account can state: messages with named values, no prose. Each language has one template for
//! each message; the match over `Id`s makes a missing one a compile error. Owns no message and no template.
use serde::Serialize;
use std::borrow::Cow;

/// A number that people read as an address or a word: `0x20`, and 16 digits from 32 bits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) u64);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 > u64::from(u32::MAX) {
            write!(f, "{:#018x}", self.0)
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// A value in a message.
pub(crate) enum Value<'v> {
    /// Printed as it is, in every language. Untrusted where it comes from a dump.
    Plain(Cow<'v, str>),
    /// A word that every language has.
    Word(super::findings::Word),
}

/// What can stand in a message.
pub(crate) trait Param {
    /// As a value of a template.
    fn value(&self) -> Value<'_>;
}

impl Param for String {
    fn value(&self) -> Value<'_> {
        Value::Plain(self.into())
    }
}

impl Param for Hex {
    fn value(&self) -> Value<'_> {
        Value::Plain(self.to_string().into())
    }
}

impl Param for super::findings::Word {
    fn value(&self) -> Value<'_> {
        Value::Word(*self)
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Param for $type {
            fn value(&self) -> Value<'_> {
                Value::Plain(self.to_string().into())
            }
        }
    )*};
}
number!(u8, u32, u64, i64, usize);

/// An enum of messages: the enum itself, its ids, the names of each one's values, and the values.
macro_rules! messages {
    (
        $(#[$about:meta])*
        $name:ident / $ids:ident:
        $( $(#[$doc:meta])* $variant:ident { $( $field:ident : $type:ty ),* } )*
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(tag = "message", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
        pub(crate) enum $name {
            $( $(#[$doc])* $variant { $( $field: $type ),* }, )*
        }

        /// Which message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $ids { $( $(#[$doc])* $variant, )* }

        impl $ids {
            /// Every message, with the names of its values.
            #[cfg(test)]
            pub(crate) const ALL: &'static [(Self, &'static [&'static str])] = &[
                $( (Self::$variant, &[ $( stringify!($field) ),* ]), )*
            ];
        }

        impl $name {
            /// Which message it is.
            pub(crate) fn id(&self) -> $ids {
                match self { $( Self::$variant { .. } => $ids::$variant, )* }
            }

            /// The value of this name.
            pub(crate) fn value(&self, name: &str) -> Option<$crate::explain::message::Value<'_>> {
                match self {
                    $( Self::$variant { $( $field ),* } => {
                        $( if name == stringify!($field) {
                            return Some($crate::explain::message::Param::value($field));
                        } )*
                        let _ = name;
                        None
                    } )*
                }
            }
        }
    };
}
pub(crate) use messages;
