//! The fields of USB descriptors by name, one after another as far as the bytes go: USB 2.0 chapter 9.6, USB 3.2 chapter
//! 9.6, HID 1.11 section 6.2.1, the interface association ECN. Only names what is there; what it may be, `decode` weighs.
use crate::report::memory::Field;

/// A field of a descriptor behind bLength and bDescriptorType: name and bytes.
type Part = (&'static str, u8);

/// A kind of descriptor: bDescriptorType, what it is called, and its fields.
struct Form {
    kind: u8,
    name: &'static str,
    parts: &'static [Part],
}

/// In order of bDescriptorType.
static FORMS: [Form; 11] = [
    Form {
        kind: 0x01,
        name: "device",
        parts: &[
            ("bcdUSB", 2),
            ("bDeviceClass", 1),
            ("bDeviceSubClass", 1),
            ("bDeviceProtocol", 1),
            ("bMaxPacketSize0", 1),
            ("idVendor", 2),
            ("idProduct", 2),
            ("bcdDevice", 2),
            ("iManufacturer", 1),
            ("iProduct", 1),
            ("iSerialNumber", 1),
            ("bNumConfigurations", 1),
        ],
    },
    Form {
        kind: 0x02,
        name: "configuration",
        parts: &[
            ("wTotalLength", 2),
            ("bNumInterfaces", 1),
            ("bConfigurationValue", 1),
            ("iConfiguration", 1),
            ("bmAttributes", 1),
            ("bMaxPower", 1),
        ],
    },
    Form {
        kind: STRING,
        name: "string",
        parts: &[],
    },
    Form {
        kind: 0x04,
        name: "interface",
        parts: &[
            ("bInterfaceNumber", 1),
            ("bAlternateSetting", 1),
            ("bNumEndpoints", 1),
            ("bInterfaceClass", 1),
            ("bInterfaceSubClass", 1),
            ("bInterfaceProtocol", 1),
            ("iInterface", 1),
        ],
    },
    Form {
        kind: 0x05,
        name: "endpoint",
        parts: &[
            ("bEndpointAddress", 1),
            ("bmAttributes", 1),
            ("wMaxPacketSize", 2),
            ("bInterval", 1),
        ],
    },
    Form {
        kind: 0x06,
        name: "device qualifier",
        parts: &[
            ("bcdUSB", 2),
            ("bDeviceClass", 1),
            ("bDeviceSubClass", 1),
            ("bDeviceProtocol", 1),
            ("bMaxPacketSize0", 1),
            ("bNumConfigurations", 1),
            ("bReserved", 1),
        ],
    },
    Form {
        kind: 0x0b,
        name: "interface association",
        parts: &[
            ("bFirstInterface", 1),
            ("bInterfaceCount", 1),
            ("bFunctionClass", 1),
            ("bFunctionSubClass", 1),
            ("bFunctionProtocol", 1),
            ("iFunction", 1),
        ],
    },
    Form {
        kind: 0x0f,
        name: "BOS",
        parts: &[("wTotalLength", 2), ("bNumDeviceCaps", 1)],
    },
    Form {
        kind: 0x10,
        name: "device capability",
        parts: &[("bDevCapabilityType", 1)],
    },
    Form {
        kind: 0x21,
        name: "HID",
        parts: &[
            ("bcdHID", 2),
            ("bCountryCode", 1),
            ("bNumDescriptors", 1),
            ("bDescriptorType", 1),
            ("wDescriptorLength", 2),
        ],
    },
    Form {
        kind: 0x30,
        name: "endpoint companion",
        parts: &[
            ("bMaxBurst", 1),
            ("bmAttributes", 1),
            ("wBytesPerInterval", 2),
        ],
    },
];

/// bDescriptorType of a string.
const STRING: u8 = 3;
/// Most descriptors of one row: a configuration has at most 64 KiB, each of them two bytes at least.
const MAX_DESCRIPTORS: usize = 512;

/// The fields of the descriptors that lie in these bytes one after another, from the first byte on. A descriptor that is
/// cut off has the fields that are there; where a length leads nowhere, they end.
pub(super) fn fields(bytes: &[u8]) -> Vec<Field> {
    let mut out = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_DESCRIPTORS {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= 2) else {
            break;
        };
        let length = rest.first().map_or(0, |length| usize::from(*length));
        if length < 2 {
            break;
        }
        let one = rest.get(..length).unwrap_or(rest);
        descriptor(one, at, &mut out);
        at += length;
    }
    out
}

fn descriptor(bytes: &[u8], at: usize, out: &mut Vec<Field>) {
    let [length, kind, ..] = *bytes else { return };
    let form = FORMS.iter().find(|form| form.kind == kind);
    let name = form.map_or_else(|| format!("type {kind:#04x}"), |form| form.name.to_owned());
    let name = format!("{name} descriptor");
    let mut push = |from: usize, to: usize, field: &str, value: String| {
        out.push(Field {
            from: (at + from) as u64,
            to: (at + to) as u64,
            name: field.to_owned(),
            value,
            of: name.clone(),
        });
    };
    push(0, 1, "bLength", length.to_string());
    push(1, 2, "bDescriptorType", format!("{kind:#04x} ({name})"));
    if kind == STRING {
        return string(bytes, &mut push);
    }
    let mut from = 2;
    for (field, size) in form.map_or(&[][..], |form| form.parts) {
        let to = from + usize::from(*size);
        let Some(value) = bytes.get(from..to) else {
            break;
        };
        push(from, to, field, number(value));
        from = to;
    }
    if from < bytes.len() {
        let count = bytes.len() - from;
        push(from, bytes.len(), "data", format!("{count} bytes"));
    }
}

/// String descriptor zero has four bytes and a language; a string of one character looks the same, and is told as the
/// text that it would be, too.
fn string(bytes: &[u8], push: &mut impl FnMut(usize, usize, &str, String)) {
    let units: Vec<u16> = bytes
        .get(2..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| {
            u16::from_le_bytes([
                pair.first().copied().unwrap_or(0),
                pair.last().copied().unwrap_or(0),
            ])
        })
        .collect();
    match units.as_slice() {
        [] => {}
        [language] if *language >= 0x0400 => {
            push(2, 4, "wLANGID[0]", format!("{language:#06x}"));
        }
        units => {
            let text = String::from_utf16_lossy(units);
            push(2, 2 + units.len() * 2, "bString", format!("{text:?}"));
        }
    }
}

/// A value of one byte or two, little-endian.
fn number(bytes: &[u8]) -> String {
    match *bytes {
        [one] => format!("{one:#04x} ({one})"),
        [low, high] => {
            let value = u16::from_le_bytes([low, high]);
            format!("{value:#06x} ({value})")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: &[&str]) {
        let fields = fields(bytes);
        let lines: Vec<String> = fields
            .iter()
            .map(|field| {
                format!(
                    "{}..{} {} {}",
                    field.from, field.to, field.name, field.value
                )
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_string_is_its_text_and_the_languages_are_numbers() {
        check(
            &[8, 3, b'a', 0, b'"', 0, b'b', 0],
            &[
                "0..1 bLength 8",
                "1..2 bDescriptorType 0x03 (string descriptor)",
                "2..8 bString \"a\\\"b\"",
            ],
        );
        check(
            &[4, 3, 9, 4],
            &[
                "0..1 bLength 4",
                "1..2 bDescriptorType 0x03 (string descriptor)",
                "2..4 wLANGID[0] 0x0409",
            ],
        );
    }

    #[test]
    fn a_configuration_is_a_row_of_descriptors_and_ends_where_it_is_cut() {
        let bytes = [
            9, 2, 25, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 1, 8, 6, 0x50, 0, 7, 5, 0x81, 2,
        ];
        let names: Vec<String> = fields(&bytes).into_iter().map(|field| field.name).collect();
        assert_eq!(names.iter().filter(|name| *name == "bLength").count(), 3);
        assert_eq!(names.last().unwrap(), "bmAttributes");
    }

    #[test]
    fn an_unknown_descriptor_is_data() {
        check(
            &[3, 0x77, 1],
            &[
                "0..1 bLength 3",
                "1..2 bDescriptorType 0x77 (type 0x77 descriptor)",
                "2..3 data 1 bytes",
            ],
        );
        check(&[1, 3], &[]);
        check(&[], &[]);
    }

    #[test]
    fn the_forms_are_in_order() {
        assert!(FORMS.is_sorted_by(|a, b| a.kind < b.kind));
    }

    proptest! {
        #[test]
        fn fields_lie_in_the_bytes_and_do_not_overlap(bytes: Vec<u8>) {
            let mut end = 0;
            for field in fields(&bytes) {
                prop_assert!(field.from >= end && field.from < field.to);
                prop_assert!(field.to <= bytes.len() as u64);
                end = field.to;
            }
        }
    }
}
