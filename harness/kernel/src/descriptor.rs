//! USB descriptors as bytes: what a device with a given string answers, and what eight bytes can be.
//! Pure functions; USB 2.0, chapter 9.6.

/// bDescriptorType of a string descriptor (USB 2.0, table 9-5).
pub const STRING: u8 = 3;

/// Standard descriptor types with their fixed bLength, where they have one (USB 2.0, table 9-5; USB 3.2, 9.6).
const TYPES: &[(u8, Option<u8>)] = &[
    (1, Some(18)), // DEVICE
    (2, Some(9)),  // CONFIGURATION
    (3, None),     // STRING
    (4, Some(9)),  // INTERFACE
    (5, Some(7)),  // ENDPOINT
    (6, Some(10)), // DEVICE_QUALIFIER
    (7, Some(9)),  // OTHER_SPEED_CONFIGURATION
    (11, Some(8)), // INTERFACE_ASSOCIATION
    (15, Some(5)), // BOS
];

/// The string descriptor of a text: bLength, bDescriptorType, UTF-16LE (USB 2.0, table 9-16). `None` when the
/// text needs more than 126 code units.
#[must_use]
pub fn string_descriptor(text: &str) -> Option<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = u8::try_from(units.len() * 2 + 2).ok()?;
    let mut bytes = vec![length, STRING];
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    Some(bytes)
}

/// The head of a descriptor, as far as a few bytes show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// bLength in bytes.
    pub length: u8,
    /// bDescriptorType.
    pub kind: u8,
    /// For a string descriptor, the text that is visible.
    pub text: Option<String>,
}

/// What the first bytes of a descriptor say, if they can be one: the length must fit the type, a string's must
/// be even, and its text printable.
#[must_use]
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (&length, rest) = bytes.split_first()?;
    let (&kind, body) = rest.split_first()?;
    let (_, fixed) = TYPES.iter().find(|(known, ..)| *known == kind)?;
    if kind != STRING {
        return (*fixed == Some(length)).then_some(Head {
            length,
            kind,
            text: None,
        });
    }
    if length < 4 || length % 2 != 0 {
        return None;
    }
    let visible = body.get(..usize::from(length - 2).min(body.len()))?;
    let text = utf16_text(visible)?;
    Some(Head {
        length,
        kind,
        text: Some(text),
    })
}

/// The text in UTF-16LE bytes, if every unit is a printable character and there are at least two.
///
/// Printable here is what stands in device names: no control, private-use, unassigned or surrogate code.
#[must_use]
pub fn utf16_text(bytes: &[u8]) -> Option<String> {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)))
        .collect();
    let text = String::from_utf16(&units).ok()?;
    let printable =
        |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{f900}'..='\u{fffd}');
    (units.len() >= 2 && text.chars().all(printable)).then_some(text)
}

/// The text in eight or fewer bytes of printable ASCII.
#[must_use]
pub fn ascii_text(bytes: &[u8]) -> Option<String> {
    let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    (printable && !bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_dumps_freelist_is_the_head_of_a_string_descriptor() {
        let found = head(&0x0072_0069_0056_0338u64.to_le_bytes()).unwrap();
        assert_eq!(
            found,
            Head {
                length: 56,
                kind: STRING,
                text: Some("Vir".into())
            }
        );
    }

    #[test]
    fn a_text_of_27_characters_makes_those_bytes() {
        let bytes = string_descriptor("Virtual Mass Storage Device").unwrap();
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..8], 0x0072_0069_0056_0338u64.to_le_bytes());
    }

    #[test]
    fn a_text_that_no_descriptor_can_carry_has_none() {
        assert_eq!(string_descriptor(&"x".repeat(127)), None);
        assert_eq!(
            string_descriptor(&"x".repeat(126)).map(|bytes| bytes.len()),
            Some(254)
        );
    }

    #[test]
    fn a_length_that_does_not_fit_the_type_is_no_descriptor() {
        assert_eq!(head(&[0x39, 3, b'V', 0, b'i', 0, b'r', 0]), None, "odd");
        assert_eq!(
            head(&[0x38, 4, b'V', 0, b'i', 0, b'r', 0]),
            None,
            "an interface has 9 bytes"
        );
        assert_eq!(head(&[18, 1, 0, 2, 0, 0, 0, 64]).map(|h| h.kind), Some(1));
    }

    #[test]
    fn a_kernel_pointer_is_no_descriptor() {
        assert_eq!(head(&0xffff_8880_0123_4080u64.to_le_bytes()), None);
        assert_eq!(utf16_text(&0xffff_8880_0123_4080u64.to_le_bytes()), None);
    }
}
