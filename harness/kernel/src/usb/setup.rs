//! The eight bytes that begin a control transfer (USB 2.0, 9.3), as names and as a judgement whether bytes are one.
use std::fmt;

/// A SETUP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetupPacket {
    /// bmRequestType: direction (bit 7), type (bits 5 and 6), recipient.
    pub request_type: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength.
    pub length: u16,
}

/// A standard or hub request: bmRequestType, bRequest, name, and what wValue, wIndex and wLength can be.
struct Known {
    request_type: u8,
    request: u8,
    name: &'static str,
    fits: fn(&SetupPacket) -> bool,
}

const fn known(
    request_type: u8,
    request: u8,
    name: &'static str,
    fits: fn(&SetupPacket) -> bool,
) -> Known {
    Known {
        request_type,
        request,
        name,
        fits,
    }
}

/// USB 2.0, table 9-3 and table 11-15; USB 3.2, table 9-4.
static KNOWN: [Known; 21] = [
    known(0x80, 0, "GET_STATUS", |s| s.value == 0 && s.length == 2),
    known(0x81, 0, "GET_STATUS", |s| s.value == 0 && s.length == 2),
    known(0x82, 0, "GET_STATUS", |s| s.value == 0 && s.length == 2),
    known(0x00, 1, "CLEAR_FEATURE", |s| {
        s.value <= 64 && s.length == 0 && s.value > 0
    }),
    known(0x02, 1, "CLEAR_FEATURE", |s| {
        s.value == 0 && s.length == 0 && s.index & 0xff70 == 0 && s.index > 0
    }),
    known(0x00, 3, "SET_FEATURE", |s| {
        s.value <= 64 && s.length == 0 && s.value > 0
    }),
    known(0x00, 5, "SET_ADDRESS", |s| {
        s.value < 128 && s.value > 0 && s.index == 0 && s.length == 0
    }),
    known(0x80, 6, "GET_DESCRIPTOR", get_descriptor),
    known(0x81, 6, "GET_DESCRIPTOR", |s| {
        matches!(s.value >> 8, 0x21..=0x23) && s.index < 32 && s.length > 0
    }),
    known(0x80, 8, "GET_CONFIGURATION", |s| {
        s.value == 0 && s.index == 0 && s.length == 1
    }),
    known(0x00, 9, "SET_CONFIGURATION", |s| {
        s.value < 256 && s.index == 0 && s.length == 0
    }),
    known(0x81, 10, "GET_INTERFACE", |s| {
        s.value == 0 && s.index < 32 && s.length == 1
    }),
    known(0x01, 11, "SET_INTERFACE", |s| {
        s.value < 256 && s.index < 32 && s.length == 0
    }),
    known(0x00, 48, "SET_SEL", |s| {
        s.value == 0 && s.index == 0 && s.length == 6
    }),
    known(0x00, 49, "SET_ISOCH_DELAY", |s| {
        s.index == 0 && s.length == 0
    }),
    known(0xa0, 0, "GET_HUB_STATUS", |s| {
        s.value == 0 && s.index == 0 && s.length == 4
    }),
    known(0xa3, 0, "GET_PORT_STATUS", |s| {
        s.value == 0 && s.length == 4 && s.index < 32
    }),
    known(0xa0, 6, "GET_HUB_DESCRIPTOR", |s| {
        matches!(s.value, 0 | 0x2900 | 0x2a00) && s.index == 0
    }),
    known(0x23, 1, "CLEAR_PORT_FEATURE", |s| {
        s.value < 64 && s.length == 0 && s.index & 0xff < 32
    }),
    known(0x23, 3, "SET_PORT_FEATURE", |s| {
        s.value < 64 && s.length == 0 && s.index & 0xff < 32
    }),
    known(0x20, 1, "CLEAR_HUB_FEATURE", |s| {
        s.value < 2 && s.index == 0 && s.length == 0
    }),
];

/// Standard types only, and a language for strings only.
fn get_descriptor(setup: &SetupPacket) -> bool {
    let (kind, index) = (setup.value >> 8, setup.value & 0xff);
    let language = setup.index == 0 || (kind == 3 && setup.index >= 0x0401);
    matches!(kind, 1..=11 | 15) && (kind == 3 || index < 8) && language && setup.length > 0
}

impl SetupPacket {
    /// The packet in eight bytes, little endian as on the wire; any eight bytes are one.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Self {
        let [request_type, request, v0, v1, i0, i1, l0, l1] = bytes;
        Self {
            request_type,
            request,
            value: u16::from_le_bytes([v0, v1]),
            index: u16::from_le_bytes([i0, i1]),
            length: u16::from_le_bytes([l0, l1]),
        }
    }

    /// Name of a standard or hub request whose values are ones that such a request can have.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        KNOWN
            .iter()
            .find(|known| {
                known.request_type == self.request_type
                    && known.request == self.request
                    && (known.fits)(self)
            })
            .map(|known| known.name)
    }
}

impl fmt::Display for SetupPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = ["standard", "class", "vendor", "reserved"];
        let kind = kind
            .get(usize::from(self.request_type >> 5 & 3))
            .unwrap_or(&"?");
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{kind} request {:#04x}", self.request)?,
        }
        let direction = if self.request_type & 0x80 == 0 {
            "out"
        } else {
            "in"
        };
        write!(
            f,
            " {direction} (type {:#04x}, wValue {:#06x}, wIndex {:#06x}, wLength {})",
            self.request_type, self.value, self.index, self.length
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: [u8; 8], expected: Option<&str>) {
        assert_eq!(SetupPacket::new(bytes).name(), expected, "{bytes:02x?}");
    }

    #[test]
    fn requests_are_named_where_their_values_fit() {
        check([0x80, 6, 2, 3, 9, 4, 0xfe, 0], Some("GET_DESCRIPTOR"));
        check([0x80, 6, 0, 1, 9, 4, 18, 0], None);
        check([0xa3, 0, 0, 0, 1, 0, 4, 0], Some("GET_PORT_STATUS"));
        check([0, 0, 0, 0, 0, 0, 0, 0], None);
    }

    #[test]
    fn a_packet_reads_as_a_sentence() {
        let setup = SetupPacket::new([0x80, 6, 2, 3, 9, 4, 0xfe, 0]);
        assert_eq!(
            setup.to_string(),
            "GET_DESCRIPTOR in (type 0x80, wValue 0x0302, wIndex 0x0409, wLength 254)"
        );
    }
}
