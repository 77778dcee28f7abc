//! Finds a physical device in the host's sysfs and reads what the kernel knows of it. Texts of devices are untrusted:
//! they are cut to the length that a string descriptor can have, and lose control characters. Opens no device.
use super::{Port, Selector};
use crate::controller::{Controller, Misfit};
use crate::usbredir::device::Speed;
use recrash_agent::plan::DeviceId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest attribute that is read, in bytes: 126 UTF-16 code units in UTF-8.
const MAX_ATTRIBUTE: u64 = 512;

/// Why a device was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The kernel shows no USB at all.
    #[error(
        "{} cannot be read ({source}): this host has no USB, or sysfs is not mounted here (a container?)",
        folder.display()
    )]
    NoUsb {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No device fits.
    #[error("no USB device {wanted} on this host; there {}", there(present))]
    Absent {
        /// What was looked for.
        wanted: Selector,
        /// What is there, as `bus-port VID:PID product`.
        present: Vec<String>,
    },
    /// Several fit.
    #[error("{} USB devices are {wanted}: {}; name one by its port", found.len(), found.join(", "))]
    Several {
        /// What was looked for.
        wanted: Selector,
        /// Where they are plugged in.
        found: Vec<String>,
    },
    /// A hub cannot be passed through.
    #[error("{0} is a hub; QEMU's usb-host passes no hubs through: name the device behind it")]
    Hub(Selector),
}

fn there(present: &[String]) -> String {
    match present {
        [] => "are none".into(),
        present => format!("are {}", present.join(", ")),
    }
}

/// A device as sysfs shows it (Linux, Documentation/ABI/testing/sysfs-bus-usb and sysfs-devices-usb).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Physical {
    /// Where it is plugged in, for example `1-2.4`; its name in sysfs.
    pub port: String,
    /// Bus number.
    pub bus: u16,
    /// Device number on the bus, which its node in `/dev/bus/usb` has.
    pub device: u16,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice as sysfs has it; empty if it does not.
    pub version: String,
    /// bDeviceClass; 0: each interface says.
    pub class: u8,
    /// Megabits a second as sysfs has them: `1.5`, `12`, `480`, `5000`, …
    pub speed_mbit: String,
    /// Manufacturer string, if the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Product string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_string: Option<String>,
    /// Serial number string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Interfaces of its present configuration.
    pub interfaces: Vec<Interface>,
}

/// An interface of a physical device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name in sysfs, for example `1-2.4:1.0`.
    pub name: String,
    /// bInterfaceClass.
    pub class: u8,
    /// The host's driver that has it; `usbfs`: a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

impl Physical {
    /// idVendor and idProduct, as repro-module and the init in the guest look for them.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId {
            vendor: self.vendor,
            product: self.product,
        }
    }

    /// Its speed, if an emulated device could have it.
    #[must_use]
    pub fn speed(&self) -> Option<Speed> {
        match self.speed_mbit.as_str() {
            "12" => Some(Speed::Full),
            "480" => Some(Speed::High),
            "5000" | "10000" | "20000" => Some(Speed::Super),
            _ => None,
        }
    }

    /// Its node, below `root`.
    #[must_use]
    pub fn node(&self, root: &Path) -> PathBuf {
        root.join(format!("dev/bus/usb/{:03}/{:03}", self.bus, self.device))
    }

    /// QEMU's device with the properties that only this one has. QEMU takes a device where all of them fit, also
    /// one that is plugged in later (`usb_host_auto_check()`, hw/usb/host-libusb.c).
    #[must_use]
    pub fn qemu_device(&self) -> String {
        let path = self.port.split_once('-').map_or("", |(_, path)| path);
        format!(
            "usb-host,bus=usb.0,vendorid={:#06x},productid={:#06x},hostbus={},hostport={path}",
            self.vendor, self.product, self.bus
        )
    }

    /// Checks that QEMU can put it on this controller. A high-speed device goes to UHCI if its endpoints let it
    /// (`usb_host_full_speed_compat()`), which only QEMU sees: so that is let pass.
    ///
    /// # Errors
    /// [`Misfit`] says which controllers fit.
    pub fn fits(&self, controller: Controller) -> Result<(), Misfit> {
        let has = |speed| controller.speeds().contains(&speed);
        match self.speed() {
            Some(wanted) if !(has(wanted) || wanted == Speed::High && has(Speed::Full)) => {
                Err(Misfit::Speed { controller, wanted })
            }
            // Low speed goes wherever full speed does.
            None if !has(Speed::Full) => Err(Misfit::Speed {
                controller,
                wanted: Speed::Full,
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Physical {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:04x}:{:04x}", self.port, self.vendor, self.product)?;
        for text in [&self.manufacturer, &self.product_string]
            .into_iter()
            .flatten()
        {
            write!(f, " {text}")?;
        }
        write!(f, ", {} Mbit/s", self.speed_mbit)
    }
}

/// The one device that fits, in the sysfs below `root` (`/`, or a made-up tree in tests).
///
/// # Errors
/// [`FindError`] says what is there instead.
pub fn find(root: &Path, wanted: &Selector) -> Result<Physical, FindError> {
    let folder = root.join("sys/bus/usb/devices");
    let entries = std::fs::read_dir(&folder).map_err(|source| FindError::NoUsb {
        folder: folder.clone(),
        source,
    })?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let devices: Vec<Physical> = names
        .iter()
        .filter_map(|name| read(&folder, name, &names))
        .collect();
    let fits = |device: &&Physical| match wanted {
        Selector::Id { vendor, product } => (device.vendor, device.product) == (*vendor, *product),
        Selector::Port(port) => device.port == port.to_string(),
    };
    let found: Vec<&Physical> = devices.iter().filter(fits).collect();
    match found.as_slice() {
        [] => Err(FindError::Absent {
            wanted: wanted.clone(),
            present: devices
                .iter()
                .filter(|device| !device.is_hub())
                .map(Physical::to_string)
                .collect(),
        }),
        [device] if device.is_hub() => Err(FindError::Hub(wanted.clone())),
        [device] => Ok((*device).clone()),
        several => Err(FindError::Several {
            wanted: wanted.clone(),
            found: several.iter().map(|device| device.port.clone()).collect(),
        }),
    }
}

/// bDeviceClass of hubs (USB 2.0, 11.23.1).
const HUB: u8 = 9;

impl Physical {
    fn is_hub(&self) -> bool {
        self.class == HUB
    }
}

/// The device in this folder; `None` for root hubs, interfaces, and what vanishes while it is read.
fn read(folder: &Path, name: &str, names: &[String]) -> Option<Physical> {
    let port: Port = super::port(name)?;
    let own = folder.join(name);
    let text = |attribute: &str| attribute_of(&own, attribute);
    let hex = |attribute: &str| u16::from_str_radix(&text(attribute)?, 16).ok();
    let interfaces = names.iter().filter_map(|interface| {
        interface.strip_prefix(name)?.strip_prefix(':')?;
        let own = folder.join(interface);
        let driver = std::fs::read_link(own.join("driver")).ok();
        Some(Interface {
            name: interface.clone(),
            class: u8::from_str_radix(&attribute_of(&own, "bInterfaceClass")?, 16).ok()?,
            driver: driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())),
        })
    });
    Some(Physical {
        port: port.to_string(),
        bus: text("busnum")?.parse().ok()?,
        device: text("devnum")?.parse().ok()?,
        vendor: hex("idVendor")?,
        product: hex("idProduct")?,
        version: text("bcdDevice").unwrap_or_default(),
        class: u8::from_str_radix(&text("bDeviceClass")?, 16).ok()?,
        speed_mbit: text("speed").unwrap_or_default(),
        manufacturer: text("manufacturer"),
        product_string: text("product"),
        serial: text("serial"),
        interfaces: interfaces.collect(),
    })
}

/// An attribute without control characters; `None` if there is none.
fn attribute_of(folder: &Path, name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(folder.join(name)).ok()?;
    file.take(MAX_ATTRIBUTE).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let plain: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
#[path = "sysfs_tests.rs"]
pub(super) mod tests;
