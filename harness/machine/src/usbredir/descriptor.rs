//! The device's descriptors as bytes (USB 2.0, 9.6; USB 3.2, 9.6.2), and its answers to standard requests.
//! Knows nothing of usb-redir, rules or time.
use super::device::{
    Device, Endpoint, EndpointKind, LANGID, MANUFACTURER, PRODUCT, SERIAL, Speed, UsbString,
};
use recrash_agent::plan::Setup;

/// What a control request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done; the bytes of an IN request, not yet cut to wLength.
    Done(Vec<u8>),
    /// The device does not know the request.
    Stall,
}

/// bConfigurationValue of the only configuration.
pub const CONFIGURATION: u8 = 1;

const DEVICE: u8 = 1;
const CONFIG: u8 = 2;
const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const QUALIFIER: u8 = 6;
const BOS: u8 = 15;
const CAPABILITY: u8 = 16;
const COMPANION: u8 = 48;

/// Answers a control request that reaches the device: SET_ADDRESS, SET_CONFIGURATION and SET_INTERFACE never do,
/// since usb-redir has packets of their own for them (and the address is QEMU's).
pub fn answer(device: &Device, configuration: u8, setup: &Setup) -> Reply {
    let [index, kind] = setup.value.to_le_bytes();
    match (setup.request_type, setup.request) {
        // GET_STATUS: bus-powered, no remote wake-up, nothing halted.
        (0x80..=0x82, 0) => Reply::Done(vec![0, 0]),
        // CLEAR_FEATURE, SET_FEATURE: a halt to clear, U1/U2 and the like; none has an effect.
        (0x00..=0x02, 1 | 3) => Reply::Done(Vec::new()),
        (0x80, 6) => descriptor(device, kind, index).map_or(Reply::Stall, Reply::Done),
        (0x80, 8) => Reply::Done(vec![configuration]),
        // SET_SEL and SET_ISOCH_DELAY (USB 3.2, 9.4.12 and 9.4.11).
        (0x00, 48 | 49) if device.speed == Speed::Super => Reply::Done(Vec::new()),
        _ => Reply::Stall,
    }
}

/// One descriptor: the bytes given in the device file, else built from its fields.
pub fn descriptor(device: &Device, kind: u8, index: u8) -> Option<Vec<u8>> {
    let raw = device
        .raw_descriptors
        .iter()
        .find(|raw| (raw.kind, raw.index) == (kind, index));
    if let Some(raw) = raw {
        return Some(raw.bytes.0.clone());
    }
    match (kind, index) {
        (DEVICE, 0) => Some(device_descriptor(device)),
        (CONFIG, 0) => Some(configuration_descriptor(device)),
        (STRING, 0) => {
            let [low, high] = LANGID.to_le_bytes();
            Some(vec![4, STRING, low, high])
        }
        (STRING, _) => string(device, index).map(string_descriptor),
        (QUALIFIER, 0) if device.speed == Speed::High => Some(qualifier(device)),
        (BOS, 0) if device.speed == Speed::Super => Some(bos()),
        _ => None,
    }
}

fn string(device: &Device, index: u8) -> Option<&UsbString> {
    match index {
        MANUFACTURER => device.strings.manufacturer.as_ref(),
        PRODUCT => device.strings.product.as_ref(),
        SERIAL => device.strings.serial.as_ref(),
        _ => None,
    }
}

fn string_descriptor(string: &UsbString) -> Vec<u8> {
    let units = string.text().encode_utf16().flat_map(u16::to_le_bytes);
    with_length(STRING, units)
}

/// bLength and bDescriptorType before `body`, which is short by construction.
fn with_length(kind: u8, body: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(body);
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    if let Some(first) = bytes.first_mut() {
        *first = length;
    }
    bytes
}

fn device_descriptor(device: &Device) -> Vec<u8> {
    // bMaxPacketSize0 is a power of two's exponent at super speed.
    let (usb, ep0) = match device.speed {
        Speed::Super => (0x0300_u16, 9),
        Speed::Full | Speed::High => (0x0200, 64),
    };
    let used = |index| string(device, index).map_or(0, |_| index);
    let mut body = usb.to_le_bytes().to_vec();
    body.extend([device.class, device.subclass, device.protocol, ep0]);
    for word in [device.vendor, device.product, device.version] {
        body.extend(word.to_le_bytes());
    }
    body.extend([used(MANUFACTURER), used(PRODUCT), used(SERIAL), 1]);
    with_length(DEVICE, body)
}

/// bNumConfigurations 0: it works at no other speed.
fn qualifier(device: &Device) -> Vec<u8> {
    let mut body = 0x0200_u16.to_le_bytes().to_vec();
    body.extend([device.class, device.subclass, device.protocol, 64, 0, 0]);
    with_length(QUALIFIER, body)
}

fn configuration_descriptor(device: &Device) -> Vec<u8> {
    let mut parts = Vec::new();
    for (number, interface) in (0_u8..).zip(&device.interfaces) {
        let endpoints = u8::try_from(interface.endpoints.len()).unwrap_or(u8::MAX);
        parts.extend(with_length(
            INTERFACE,
            [
                number,
                0,
                endpoints,
                interface.class,
                interface.subclass,
                interface.protocol,
                0,
            ],
        ));
        for endpoint in &interface.endpoints {
            parts.extend(endpoint_descriptor(endpoint));
            if device.speed == Speed::Super {
                let per_interval = match endpoint.kind {
                    EndpointKind::Interrupt => endpoint.max_packet,
                    EndpointKind::Bulk => 0,
                };
                let [low, high] = per_interval.to_le_bytes();
                parts.extend(with_length(COMPANION, [0, 0, low, high]));
            }
        }
    }
    let [low, high] = u16::try_from(9 + parts.len())
        .unwrap_or(u16::MAX)
        .to_le_bytes();
    let unit_ma = if device.speed == Speed::Super { 8 } else { 2 };
    let power = u8::try_from(device.max_power_ma / unit_ma).unwrap_or(u8::MAX);
    let interfaces = u8::try_from(device.interfaces.len()).unwrap_or(u8::MAX);
    let mut all = with_length(
        CONFIG,
        [low, high, interfaces, CONFIGURATION, 0, 0x80, power],
    );
    all.extend(parts);
    all
}

fn endpoint_descriptor(endpoint: &Endpoint) -> Vec<u8> {
    let [low, high] = endpoint.max_packet.to_le_bytes();
    with_length(
        ENDPOINT,
        [
            endpoint.address,
            endpoint.kind as u8,
            low,
            high,
            endpoint.interval,
        ],
    )
}

/// The two capabilities that each super-speed device has: USB 2.0 extension, and super speed at 5 Gbit/s only.
fn bos() -> Vec<u8> {
    let extension = with_length(CAPABILITY, [2, 0, 0, 0, 0]);
    let super_speed = with_length(CAPABILITY, [3, 0, 8, 0, 3, 0, 0, 0]);
    let total = 5 + extension.len() + super_speed.len();
    let [low, high] = u16::try_from(total).unwrap_or(u16::MAX).to_le_bytes();
    [with_length(BOS, [low, high, 2]), extension, super_speed].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptor of a device with this much more in its file.
    fn check(more: &str, kind: u8, index: u8, expected: Option<&[u8]>) {
        let text = format!(
            "summary = 'test'\nvendor = 0x1209\nproduct = 0x0001\n{more}\n[[interface]]\nclass = 0xff\n"
        );
        let device: Device = toml::from_str(&text).unwrap();
        device.check().unwrap();
        assert_eq!(descriptor(&device, kind, index).as_deref(), expected);
    }

    #[test]
    fn strings_are_utf16_with_surrogate_pairs() {
        let face = [8, 3, b'a', 0, 0x3d, 0xd8, 0x00, 0xde];
        check("strings = { product = 'a😀' }", 3, 2, Some(&face));
        check("", 3, 0, Some(&[4, 3, 9, 4]));
        check("", 3, 2, None);
    }

    #[test]
    fn the_device_descriptor_names_only_the_strings_there_are() {
        let expected = [18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 1, 0, 0, 1, 0, 2, 0, 1];
        check("strings = { product = 'a' }", 1, 0, Some(&expected));
    }

    #[test]
    fn a_configuration_holds_its_interfaces() {
        let expected = [9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, 0xff, 0, 0, 0];
        check("", 2, 0, Some(&expected));
    }

    #[test]
    fn bos_and_qualifier_depend_on_the_speed() {
        let bos = [
            5, 15, 22, 0, 2, 7, 16, 2, 0, 0, 0, 0, 10, 16, 3, 0, 8, 0, 3, 0, 0, 0,
        ];
        check("speed = 'super'", 15, 0, Some(&bos));
        check("speed = 'high'", 15, 0, None);
        check("speed = 'full'", 6, 0, None);
        let qualifier = [10, 6, 0, 2, 0, 0, 0, 64, 0, 0];
        check("speed = 'high'", 6, 0, Some(&qualifier));
    }

    #[test]
    fn raw_bytes_stand_in_for_any_descriptor() {
        let more = "strings = { product = 'a' }\n[[descriptor]]\ntype = 3\nindex = 2\nbytes = '38 04 5600'";
        check(more, 3, 2, Some(&[0x38, 4, 0x56, 0]));
    }
}
