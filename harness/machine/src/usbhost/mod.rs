//! A physical USB device of this host, passed through to the guest by QEMU's usb-host: how it is named, what sysfs
//! says of it, and whether QEMU will get it. Serves no device and opens none; what it did, QEMU's record of the traffic
//! tells ([`crate::usbpcap`]).
mod claim;
mod sysfs;

pub use claim::{ClaimError, check};
pub use sysfs::{FindError, Interface, Physical, find};

use crate::config::{self, ConfigError};
use serde::Deserialize;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Which device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Selector {
    /// idVendor and idProduct.
    Id {
        /// idVendor.
        vendor: u16,
        /// idProduct.
        product: u16,
    },
    /// The port that it is plugged into.
    Port(Port),
}

/// A port of the host: a bus, and the ports from its root hub to the device (USB 3 has at most seven tiers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Bus number, from 1.
    pub bus: u16,
    /// Port numbers, from 1.
    pub ports: Vec<u8>,
}

/// Hubs between a device and its root hub, and the root hub's own port (USB 2.0, 4.1.1).
const MAX_TIERS: usize = 6;

impl Port {
    /// The ports as QEMU's `hostport` and sysfs's `devpath` have them, for example `2.4`.
    #[must_use]
    pub fn path(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(u8::to_string).collect();
        ports.join(".")
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.bus, self.path())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { vendor, product } => write!(f, "{vendor:04x}:{product:04x}"),
            Self::Port(port) => port.fmt(f),
        }
    }
}

impl FromStr for Selector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = match text.split_once(':') {
            Some((vendor, product)) => id(vendor)
                .zip(id(product))
                .map(|(vendor, product)| Self::Id { vendor, product }),
            None => port(text).map(Self::Port),
        };
        found.ok_or_else(|| {
            format!(
                "{text:?} names no USB device; expected VID:PID as lsusb prints it (046b:ff20), or BUS-PORT as in \
                 /sys/bus/usb/devices (1-2.4)"
            )
        })
    }
}

impl TryFrom<String> for Selector {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Four hexadecimal digits.
fn id(text: &str) -> Option<u16> {
    let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// `1-2.4`.
fn port(text: &str) -> Option<Port> {
    let (bus, ports) = text.split_once('-')?;
    let ports: Option<Vec<u8>> = ports.split('.').map(number).collect();
    Some(Port {
        bus: number(bus)?,
        ports: ports.filter(|ports| ports.len() <= MAX_TIERS)?,
    })
}

/// A decimal number from 1, without a sign.
fn number<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.filter(|number| *number > T::from(0))
}

/// A device file that names a physical device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// One line for people.
    pub summary: String,
    /// Which device.
    pub selector: Selector,
}

/// As `qemu/devices/*.toml` has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFile {
    summary: String,
    device: HostTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable {
    #[serde(rename = "backend")]
    _backend: Backend,
    id: Option<Selector>,
    port: Option<Selector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Backend {
    UsbHost,
}

impl HostDevice {
    /// Reads a device file whose `[device]` says `backend = "usb-host"`; `None` for a file without `[device]`,
    /// which describes an emulated device.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, and line and column where there are some.
    pub fn load(file: &Path) -> Result<Option<Self>, ConfigError> {
        let table: toml::Table = config::load(file)?;
        if !table.contains_key("device") {
            return Ok(None);
        }
        let HostFile { summary, device } = config::load(file)?;
        let invalid = |message: &str| ConfigError::Invalid {
            file: file.into(),
            message: message.into(),
        };
        let selector = match (device.id, device.port) {
            (Some(selector @ Selector::Id { .. }), None)
            | (None, Some(selector @ Selector::Port(_))) => selector,
            (Some(_), None) => {
                return Err(invalid(
                    "device.id: expected VID:PID, for example \"046b:ff20\"",
                ));
            }
            (None, Some(_)) => {
                return Err(invalid(
                    "device.port: expected BUS-PORT, for example \"1-2.4\"",
                ));
            }
            _ => {
                return Err(invalid(
                    "device: expected either id = \"VID:PID\" or port = \"BUS-PORT\"",
                ));
            }
        };
        Ok(Some(Self { summary, selector }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let found: Option<Selector> = text.parse().ok();
        assert_eq!(
            found.map(|selector| selector.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn ids_and_ports_are_read() {
        check("046B:ff20", Some("046b:ff20"));
        check("1-2", Some("1-2"));
        check("12-1.4.3", Some("12-1.4.3"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":",
            "-",
            "46b:ff20",
            "046b:ff20:1",
            "+46b:ff20",
            "0-1",
            "1-0",
            "1-1.",
            "1-",
            "+1-2",
            "1-+2",
            "usb1",
            "1-1.1.1.1.1.1.1",
            "1-256",
            "1-2:1.0",
            "../1-2",
            "1-2,id=x",
        ] {
            check(text, None);
        }
    }

    /// What a device file comes to, or the error's text without the file's name.
    fn read(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        match HostDevice::load(file.path()) {
            Ok(None) => "emulated".into(),
            Ok(Some(device)) => device.selector.to_string(),
            Err(error) => error
                .to_string()
                .replace(&file.path().display().to_string(), "f"),
        }
    }

    #[test]
    fn a_device_file_names_id_or_port() {
        assert_eq!(read("vendor = 1"), "emulated");
        let head = "summary = 's'\n[device]\nbackend = 'usb-host'\n";
        assert_eq!(read(&format!("{head}id = '046b:ff20'")), "046b:ff20");
        assert_eq!(read(&format!("{head}port = '1-2'")), "1-2");
        let either = "f: device: expected either id = \"VID:PID\" or port = \"BUS-PORT\"";
        assert_eq!(read(head), either);
        assert_eq!(
            read(&format!("{head}id = '046b:ff20'\nport = '1-2'")),
            either
        );
        assert!(read(&format!("{head}id = '1-2'")).starts_with("f: device.id: expected VID:PID"));
        assert!(read(&format!("{head}id = 'x'")).starts_with("f:4:6: \"x\" names no USB device"));
    }

    #[test]
    fn another_backend_and_another_key_are_errors() {
        let error = read("summary = 's'\n[device]\nbackend = 'vhci'\nid = '046b:ff20'");
        assert!(error.contains("unknown variant `vhci`"), "{error}");
        let error =
            read("summary = 's'\nvendor = 1\n[device]\nbackend = 'usb-host'\nid = '046b:ff20'");
        assert!(error.contains("unknown field `vendor`"), "{error}");
    }
}
