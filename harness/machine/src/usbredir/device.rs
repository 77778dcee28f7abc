//! The device as people describe it in `qemu/devices/*.toml`: ids, strings, interfaces, and rules for how it
//! answers. Checks that the values go together; builds no bytes ([`super::descriptor`]), serves nothing.
use crate::config::{self, ConfigError};
use recrash_agent::plan::{DeviceId, Setup};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A USB device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// One line for people.
    pub summary: String,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice.
    #[serde(default = "version_one")]
    pub version: u16,
    /// How fast it says it is.
    #[serde(default)]
    pub speed: Speed,
    /// bDeviceClass; 0: each interface says.
    #[serde(default)]
    pub class: u8,
    /// bDeviceSubClass.
    #[serde(default)]
    pub subclass: u8,
    /// bDeviceProtocol.
    #[serde(default)]
    pub protocol: u8,
    /// Milliamperes that the configuration draws from the bus.
    #[serde(default = "hundred")]
    pub max_power_ma: u16,
    /// Its string descriptors.
    #[serde(default)]
    pub strings: Strings,
    /// Its interfaces, numbered from 0 in this order.
    #[serde(rename = "interface")]
    pub interfaces: Vec<Interface>,
    /// Descriptors answered with these bytes instead of the ones built from the fields above.
    #[serde(default, rename = "descriptor")]
    pub raw_descriptors: Vec<RawDescriptor>,
    /// Exceptions to how it answers; the first that fits is used.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

fn version_one() -> u16 {
    0x0100
}

fn hundred() -> u16 {
    100
}

/// Bus speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speed {
    /// 12 Mbit/s.
    Full,
    /// 480 Mbit/s.
    #[default]
    High,
    /// 5 Gbit/s; xhci only.
    Super,
}

impl Speed {
    /// All of them, slowest first.
    pub const ALL: [Self; 3] = [Self::Full, Self::High, Self::Super];

    /// The word of device files and of the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::High => "high",
            Self::Super => "super",
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Speed {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|speed| speed.name() == name).ok_or_else(|| {
            format!("there is no USB speed {name:?}; expected one of full, high, super")
        })
    }
}

/// Index of iManufacturer.
pub const MANUFACTURER: u8 = 1;
/// Index of iProduct.
pub const PRODUCT: u8 = 2;
/// Index of iSerialNumber.
pub const SERIAL: u8 = 3;
/// LANGID of all strings: English (United States).
pub const LANGID: u16 = 0x0409;

/// String descriptors by their use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strings {
    /// Index [`MANUFACTURER`].
    pub manufacturer: Option<UsbString>,
    /// Index [`PRODUCT`].
    pub product: Option<UsbString>,
    /// Index [`SERIAL`].
    pub serial: Option<UsbString>,
}

/// At most 126 UTF-16 code units: bLength is one byte and even (USB 2.0, 9.6.7).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UsbString(String);

impl UsbString {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UsbString {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.encode_utf16().count() {
            0..=126 => Ok(Self(text)),
            units => Err(format!(
                "string of {units} UTF-16 code units, expected at most 126"
            )),
        }
    }
}

/// Bytes written as hex pairs, blanks between them as one likes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HexBytes(pub Vec<u8>);

impl TryFrom<String> for HexBytes {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| {
                c.to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or_else(|| format!("{c:?} is not a hex digit"))
            })
            .collect::<Result<_, _>>()?;
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() || pairs.len() > usize::from(u16::MAX) {
            return Err("expected up to 65535 bytes as pairs of hex digits".into());
        }
        Ok(Self(
            pairs.iter().map(|[high, low]| high << 4 | low).collect(),
        ))
    }
}

/// One interface with its only alternate setting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// bInterfaceClass.
    pub class: u8,
    /// bInterfaceSubClass.
    #[serde(default)]
    pub subclass: u8,
    /// bInterfaceProtocol.
    #[serde(default)]
    pub protocol: u8,
    /// Its endpoints apart from endpoint 0.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint. Bulk endpoints stall, interrupt IN endpoints never have anything to say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// bEndpointAddress; 0x80 added for IN.
    pub address: u8,
    /// What it transfers.
    pub kind: EndpointKind,
    /// wMaxPacketSize, in bytes.
    pub max_packet: u16,
    /// bInterval.
    #[serde(default)]
    pub interval: u8,
}

/// Transfer type, with the number it has in bmAttributes and in usb-redir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointKind {
    /// Bulk.
    Bulk = 2,
    /// Interrupt.
    Interrupt = 3,
}

/// A descriptor given as bytes; nothing is checked, so that a device can be hostile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDescriptor {
    /// Descriptor type as in wValue's high byte.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Descriptor index as in wValue's low byte.
    #[serde(default)]
    pub index: u8,
    /// The answer.
    pub bytes: HexBytes,
}

/// An exception: which control requests, and what is different for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// One line for people.
    #[serde(default)]
    pub summary: String,
    /// Which requests.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Only the nth such request since the device connected, from 1.
    pub nth: Option<u64>,
    /// Answers so many milliseconds later.
    #[serde(default)]
    pub delay_ms: u64,
    /// Answers at most so many bytes.
    pub short: Option<usize>,
    /// Refuses the request.
    #[serde(default)]
    pub stall: bool,
    /// Never answers: the transfer ends when the guest gives up.
    #[serde(default)]
    pub timeout: bool,
    /// Answers these bytes.
    pub bytes: Option<HexBytes>,
}

/// Fields of a setup packet (USB 2.0, 9.3); what is left out fits anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// bmRequestType.
    pub request_type: Option<u8>,
    /// bRequest.
    pub request: Option<u8>,
    /// wValue.
    pub value: Option<u16>,
    /// wIndex.
    pub index: Option<u16>,
    /// wLength.
    pub length: Option<u16>,
}

impl Match {
    /// Whether the setup packet is meant.
    pub fn fits(&self, setup: &Setup) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.request_type, setup.request_type)
            && is(self.request, setup.request)
            && is(self.value, setup.value)
            && is(self.index, setup.index)
            && is(self.length, setup.length)
    }
}

/// Longest delay of a rule: an hour, to catch a mistaken unit.
const LONGEST_DELAY_MS: u64 = 3_600_000;

impl Device {
    /// Reads and checks a device file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, and the line where there is one.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let device: Self = config::load(file)?;
        device.check().map_err(|message| ConfigError::Invalid {
            file: file.into(),
            message,
        })?;
        Ok(device)
    }

    /// idVendor and idProduct, as the init in the guest looks for them.
    pub fn id(&self) -> DeviceId {
        DeviceId {
            vendor: self.vendor,
            product: self.product,
        }
    }

    /// Checks that the values go together.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.interfaces.is_empty() || self.interfaces.len() > 32 {
            return Err(format!(
                "{} interfaces, expected 1 to 32",
                self.interfaces.len()
            ));
        }
        let most_ma = if self.speed == Speed::Super { 900 } else { 500 };
        if self.max_power_ma > most_ma {
            return Err(format!(
                "max_power_ma = {}, expected at most {most_ma}",
                self.max_power_ma
            ));
        }
        let mut used = Vec::new();
        for endpoint in self.interfaces.iter().flat_map(|i| &i.endpoints) {
            endpoint.check(self.speed)?;
            if used.contains(&endpoint.address) {
                return Err(format!("endpoint {:#04x} is there twice", endpoint.address));
            }
            used.push(endpoint.address);
        }
        for (number, rule) in self.rules.iter().enumerate() {
            rule.check()
                .map_err(|what| format!("rule {} ({:?}): {what}", number + 1, rule.summary))?;
        }
        Ok(())
    }
}

impl Endpoint {
    fn check(&self, speed: Speed) -> Result<(), String> {
        let Self {
            address,
            kind,
            max_packet,
            ..
        } = *self;
        if address & 0x70 != 0 || address & 0x0f == 0 {
            return Err(format!(
                "endpoint {address:#04x}, expected 0x01 to 0x0f, or 0x81 to 0x8f"
            ));
        }
        // USB 2.0, 5.7.3 and 5.8.3; USB 3.2, 9.6.6.
        let fits = match (kind, speed) {
            (EndpointKind::Bulk, Speed::Full) => [8, 16, 32, 64].contains(&max_packet),
            (EndpointKind::Bulk, Speed::High) => max_packet == 512,
            (EndpointKind::Bulk, Speed::Super) => max_packet == 1024,
            (EndpointKind::Interrupt, Speed::Full) => (1..=64).contains(&max_packet),
            (EndpointKind::Interrupt, _) => (1..=1024).contains(&max_packet),
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "endpoint {address:#04x}: max_packet = {max_packet} does not fit {kind:?} at {speed:?} speed"
            ))
        }
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        let Self {
            delay_ms,
            short,
            stall,
            timeout,
            ref bytes,
            nth,
            ..
        } = *self;
        if nth == Some(0) {
            return Err("nth counts from 1".into());
        }
        if delay_ms > LONGEST_DELAY_MS {
            return Err(format!(
                "delay_ms = {delay_ms}, expected at most {LONGEST_DELAY_MS}"
            ));
        }
        let answers = short.is_some() || bytes.is_some();
        if timeout && (stall || answers || delay_ms > 0) {
            return Err("timeout never answers, so nothing else goes with it".into());
        }
        if stall && answers {
            return Err("stall answers no bytes, so short and bytes don't go with it".into());
        }
        if !timeout && !stall && !answers && delay_ms == 0 {
            return Err(
                "changes nothing: expected delay_ms, short, stall, timeout or bytes".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a device whose file ends in `more`; empty: nothing.
    fn check(more: &str, expected: &str) {
        let text = format!(
            "summary = 'test'\nvendor = 1\nproduct = 1\n[[interface]]\nclass = 255\n{more}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let found = Device::load(file.path()).err().map(|e| e.to_string());
        let found = found.unwrap_or_default();
        let file = file.path().display().to_string();
        assert_eq!(
            found.lines().next().unwrap_or_default().replace(&file, "f"),
            expected
        );
    }

    #[test]
    fn errors_name_file_and_line() {
        check("", "");
        let long = "x".repeat(127);
        check(
            &format!("[strings]\nproduct = '{long}'"),
            "f:7:11: string of 127 UTF-16 code units, expected at most 126",
        );
        check(
            "[[descriptor]]\ntype = 3\nbytes = '3x'",
            "f:8:9: 'x' is not a hex digit",
        );
    }

    #[test]
    fn rules_must_make_sense() {
        check(
            "[[rule]]\nmatch = {}",
            "f: rule 1 (\"\"): changes nothing: expected delay_ms, short, stall, timeout or bytes",
        );
        check(
            "[[rule]]\nmatch = {}\nstall = true\nshort = 3",
            "f: rule 1 (\"\"): stall answers no bytes, so short and bytes don't go with it",
        );
        check(
            "[[rule]]\nmatch = {}\nstall = true\nnth = 0",
            "f: rule 1 (\"\"): nth counts from 1",
        );
    }

    #[test]
    fn endpoints_must_fit_the_speed() {
        check(
            "[[interface.endpoint]]\naddress = 0x81\nkind = 'bulk'\nmax_packet = 64",
            "f: endpoint 0x81: max_packet = 64 does not fit Bulk at High speed",
        );
    }

    fn shipped(name: &str) -> Device {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../qemu/devices");
        Device::load(&Path::new(folder).join(name)).unwrap()
    }

    #[test]
    fn virtual_media_has_the_descriptor_of_the_real_dumps() {
        let bytes =
            super::super::descriptor::descriptor(&shipped("virtual-media.toml"), 3, PRODUCT);
        let bytes = bytes.unwrap();
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..8], [0x38, 0x03, 0x56, 0, 0x69, 0, 0x72, 0]);
    }

    #[test]
    fn each_eight_bytes_of_the_long_string_occur_once() {
        let bytes = super::super::descriptor::descriptor(&shipped("long-string.toml"), 3, PRODUCT);
        let bytes = bytes.unwrap();
        assert_eq!(bytes.len(), 254);
        let windows: std::collections::HashSet<&[u8]> = bytes.windows(8).collect();
        assert_eq!(windows.len(), 254 - 7);
    }
}
