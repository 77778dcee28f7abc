//! How a command answers: text as crash has it, or one JSON object. Addresses in JSON are strings.
use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::output;

/// What a command found.
pub(super) trait Reply: Serialize {
    /// The command's name, `type` in JSON.
    const KIND: &'static str;
    /// As text, with line ends. Text from the dump goes through [`clean`].
    fn text(&self) -> String;
}

#[derive(Serialize)]
struct Envelope<'a, R> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    reply: &'a R,
    missing: &'a [String],
    /// Where something was found instead of its usual place.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// The JSON object.
pub(super) fn envelope<'a, R: Reply>(
    reply: &'a R,
    missing: &'a [String],
    notes: &'a [String],
) -> impl Serialize + 'a {
    Envelope {
        kind: R::KIND,
        reply,
        missing,
        notes,
    }
}

/// Each line once, in the order of their first; one that was there more often says how often.
pub(super) fn collapsed(lines: &[String]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut order = Vec::new();
    for line in lines {
        let count = counts.entry(line).or_insert(0);
        if *count == 0 {
            order.push(line.as_str());
        }
        *count += 1;
    }
    let one = |line: &str| match counts.get(line) {
        Some(count) if *count > 1 => format!("{line} ({count} times)"),
        _ => line.to_owned(),
    };
    order.into_iter().map(one).collect()
}

/// Text from the dump, without anything that drives a terminal.
pub(super) fn clean(text: &str) -> String {
    output::printable(text)
}

/// An address or machine word: `"0x…"` in JSON, hexadecimal without prefix in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hex(pub(super) u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl From<recrash_vmcore::VirtAddr> for Hex {
    fn from(at: recrash_vmcore::VirtAddr) -> Self {
        Self(at.0)
    }
}

impl From<recrash_vmcore::PhysAddr> for Hex {
    fn from(at: recrash_vmcore::PhysAddr) -> Self {
        Self(at.0)
    }
}

/// Bytes as crash's ASCII columns show them: what is no printable ASCII is a dot.
pub(super) fn ascii(bytes: impl IntoIterator<Item = u8>) -> String {
    let shown = |byte: u8| match byte {
        0x20..=0x7e => char::from(byte),
        _ => '.',
    };
    bytes.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_often_is_shown_once_with_a_count() {
        let lines = ["b", "a", "b", "b"].map(str::to_owned);
        assert_eq!(collapsed(&lines), ["b (3 times)", "a"]);
    }

    #[test]
    fn addresses_are_strings_in_json_and_bare_in_text() {
        let at = Hex(0xffff_8880_0000_0000);
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            "\"0xffff888000000000\""
        );
        assert_eq!(at.to_string(), "ffff888000000000");
    }
}
