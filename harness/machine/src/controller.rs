//! USB host controllers that QEMU can put into a guest's machine: what each is called, which speeds a device has on
//! it, what goes on QEMU's command line, and which kernel modules drive it. Starts nothing and loads nothing.
use crate::target::Target;
use crate::usbredir::Device;
use crate::usbredir::device::Speed;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A USB host controller, by QEMU's name of its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Controller {
    /// USB 3: full, high and super speed.
    QemuXhci,
    /// USB 2 by itself: high speed only.
    UsbEhci,
    /// USB 2 with the three UHCI companions that Intel's ICH9 has for full speed.
    Ich9UsbEhci1,
    /// USB 1.1 of Intel's PIIX3.
    Piix3UsbUhci,
    /// USB 1.1 of Intel's PIIX4.
    Piix4UsbUhci,
    /// USB 1.1 of Intel's ICH9, without the EHCI that it usually accompanies.
    Ich9UsbUhci1,
}

/// What there is to know of a controller.
struct Row {
    controller: Controller,
    name: &'static str,
    /// Slowest first.
    speeds: &'static [Speed],
    /// Values of `-device`, the first of which owns the bus `usb.0`.
    devices: &'static [&'static str],
    /// In loading order: a UHCI driver that comes before EHCI's takes a high-speed device at full speed, and the
    /// kernel warns of it (`uhci_hcd_init()`, drivers/usb/host/uhci-hcd.c).
    modules: &'static [&'static str],
}

/// QEMU 7.2, hw/usb/hcd-{xhci,ehci,uhci}*.c. The ICH9's functions are placed as in its data sheet and in QEMU's
/// docs/config/ich9-ehci-uhci.cfg: companions are on the same slot, before the EHCI.
const TABLE: &[Row] = &[
    Row {
        controller: Controller::QemuXhci,
        name: "qemu-xhci",
        speeds: &[Speed::Full, Speed::High, Speed::Super],
        devices: &["qemu-xhci,id=usb"],
        modules: &["xhci-pci"],
    },
    Row {
        controller: Controller::UsbEhci,
        name: "usb-ehci",
        speeds: &[Speed::High],
        devices: &["usb-ehci,id=usb"],
        modules: &["ehci-pci"],
    },
    Row {
        controller: Controller::Ich9UsbEhci1,
        name: "ich9-usb-ehci1",
        speeds: &[Speed::Full, Speed::High],
        devices: &[
            "ich9-usb-ehci1,id=usb,addr=1d.7,multifunction=on",
            "ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=1d.0,multifunction=on",
            "ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=1d.1,multifunction=on",
            "ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=1d.2,multifunction=on",
        ],
        modules: &["ehci-pci", "uhci-hcd"],
    },
    Row {
        controller: Controller::Piix3UsbUhci,
        name: "piix3-usb-uhci",
        speeds: &[Speed::Full],
        devices: &["piix3-usb-uhci,id=usb"],
        modules: &["uhci-hcd"],
    },
    Row {
        controller: Controller::Piix4UsbUhci,
        name: "piix4-usb-uhci",
        speeds: &[Speed::Full],
        devices: &["piix4-usb-uhci,id=usb"],
        modules: &["uhci-hcd"],
    },
    Row {
        controller: Controller::Ich9UsbUhci1,
        name: "ich9-usb-uhci1",
        speeds: &[Speed::Full],
        devices: &["ich9-usb-uhci1,id=usb"],
        modules: &["uhci-hcd"],
    },
];

/// Drivers of host controllers: a target's list of modules has the one of its own controller, and another controller
/// takes its place.
const DRIVERS: &[&str] = &[
    "ehci-hcd", "ehci-pci", "ohci-hcd", "ohci-pci", "uhci-hcd", "xhci-hcd", "xhci-pci",
];

/// Why a device cannot be on a controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The controller has no such speed.
    #[error("{controller} has no {wanted} speed, only {}; {} {}", speeds(*controller), which(*wanted), verb(*wanted))]
    Speed {
        /// The controller.
        controller: Controller,
        /// The device's, or the one asked for.
        wanted: Speed,
    },
    /// The device's endpoints do not go with the speed.
    #[error("the device cannot have {speed} speed: {why}")]
    Device {
        /// The speed it would have.
        speed: Speed,
        /// What does not fit.
        why: String,
    },
}

impl Controller {
    /// All of them, as the matrix goes through them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.controller)
    }

    /// QEMU's name of its device.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The speeds that a device can have on it, slowest first.
    #[must_use]
    pub fn speeds(self) -> &'static [Speed] {
        self.row().speeds
    }

    /// Values of QEMU's `-device`, in order. The bus for the device under test is `usb.0`.
    #[must_use]
    pub fn devices(self) -> &'static [&'static str] {
        self.row().devices
    }

    /// The kernel modules that drive it, in loading order.
    #[must_use]
    pub fn modules(self) -> &'static [&'static str] {
        self.row().modules
    }

    /// Gives a device the speed that it will have on this controller: the one asked for, or its own. One that is too
    /// fast for the controller is slowed down, as a real one would be; QEMU does the same with a high-speed device on
    /// UHCI if no endpoint needs more (`compatible_speedmask` in hw/usb/redirect.c), and lets a full-speed one
    /// alone where a controller has no full speed.
    ///
    /// # Errors
    /// [`Misfit`] says which controllers fit.
    pub fn slow_down(self, device: &mut Device, asked: Option<Speed>) -> Result<Speed, Misfit> {
        let wanted = asked.unwrap_or(device.speed);
        let fits = self.speeds().contains(&wanted);
        let slower = || {
            let slower = self.speeds().iter().rev().find(|speed| **speed < wanted);
            slower.copied().filter(|_| asked.is_none())
        };
        let speed = if fits { Some(wanted) } else { slower() };
        let speed = speed.ok_or(Misfit::Speed {
            controller: self,
            wanted,
        })?;
        device.speed = speed;
        device
            .check()
            .map_err(|why| Misfit::Device { speed, why })?;
        Ok(speed)
    }

    /// Puts this controller into a target's machine, and its driver in place of the other one's into the boot's
    /// modules. The target's own controller is left as the target's file has it.
    pub fn put_into(self, target: &mut Target) {
        if target.machine.usb_controller == self {
            return;
        }
        target.machine.usb_controller = self;
        let modules = &mut target.boot.modules;
        modules.retain(|name| !DRIVERS.contains(&name.replace('_', "-").as_str()));
        modules.extend(self.modules().iter().map(|&name| name.to_owned()));
    }

    fn row(self) -> &'static Row {
        // Every variant has its row; a test says so.
        TABLE
            .iter()
            .find(|row| row.controller == self)
            .unwrap_or(&TABLE[0])
    }
}

fn speeds(controller: Controller) -> String {
    let names = controller.speeds().iter().map(|speed| speed.name());
    names.collect::<Vec<_>>().join(" and ")
}

/// The controllers that have a speed.
fn having(speed: Speed) -> Vec<&'static str> {
    let fitting = TABLE.iter().filter(|row| row.speeds.contains(&speed));
    fitting.map(|row| row.name).collect()
}

fn which(speed: Speed) -> String {
    having(speed).join(", ")
}

fn verb(speed: Speed) -> &'static str {
    match having(speed).len() {
        1 => "has",
        _ => "have",
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Controller {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let row = TABLE.iter().find(|row| row.name == name);
        row.map(|row| row.controller).ok_or_else(|| {
            let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
            format!(
                "there is no USB controller {name:?}; expected one of {}",
                names.join(", ")
            )
        })
    }
}

impl TryFrom<String> for Controller {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Controller> for String {
    fn from(controller: Controller) -> Self {
        controller.name().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What speed a device of `own` speed gets, with a bulk endpoint of `max_packet` bytes if that is not 0; or the
    /// error's text.
    fn check(controller: &str, own: &str, asked: Option<Speed>, max_packet: u16) -> String {
        let mut text = format!(
            "summary = 's'\nvendor = 1\nproduct = 1\nspeed = '{own}'\n[[interface]]\nclass = 255\n"
        );
        if max_packet > 0 {
            text += &format!(
                "[[interface.endpoint]]\naddress = 0x81\nkind = 'bulk'\nmax_packet = {max_packet}\n"
            );
        }
        let mut device: Device = toml::from_str(&text).unwrap();
        let controller: Controller = controller.parse().unwrap();
        match controller.slow_down(&mut device, asked) {
            Ok(speed) => {
                assert_eq!(device.speed, speed);
                speed.to_string()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_controller_has_a_row_of_its_own() {
        for (controller, row) in Controller::all().zip(TABLE) {
            assert_eq!(controller.row().name, row.name);
            assert_eq!(row.name.parse(), Ok(controller));
            assert!(row.speeds.is_sorted());
            assert!(row.devices[0].starts_with(&format!("{},id=usb", row.name)));
        }
        let last = Controller::Ich9UsbUhci1;
        assert_eq!(Controller::all().count(), last as usize + 1);
    }

    #[test]
    fn a_device_keeps_its_speed_where_the_controller_has_it() {
        assert_eq!(check("qemu-xhci", "high", None, 0), "high");
        assert_eq!(check("qemu-xhci", "full", None, 0), "full");
        assert_eq!(check("usb-ehci", "high", None, 0), "high");
        assert_eq!(check("ich9-usb-ehci1", "full", None, 0), "full");
    }

    #[test]
    fn a_device_that_is_too_fast_is_slowed_down_unless_its_speed_was_asked_for() {
        assert_eq!(check("piix3-usb-uhci", "high", None, 0), "full");
        assert_eq!(check("usb-ehci", "super", None, 0), "high");
        assert_eq!(
            check("piix3-usb-uhci", "high", Some(Speed::High), 0),
            "piix3-usb-uhci has no high speed, only full; qemu-xhci, usb-ehci, ich9-usb-ehci1 have"
        );
        assert_eq!(
            check("usb-ehci", "high", Some(Speed::Super), 0),
            "usb-ehci has no super speed, only high; qemu-xhci has"
        );
    }

    #[test]
    fn ehci_without_companions_has_no_full_speed() {
        let expected = "usb-ehci has no full speed, only high; qemu-xhci, ich9-usb-ehci1, piix3-usb-uhci, \
                        piix4-usb-uhci, ich9-usb-uhci1 have";
        assert_eq!(check("usb-ehci", "full", None, 0), expected);
        assert_eq!(check("usb-ehci", "high", Some(Speed::Full), 0), expected);
    }

    #[test]
    fn endpoints_that_need_high_speed_are_not_slowed_down() {
        assert_eq!(
            check("piix4-usb-uhci", "high", None, 512),
            "the device cannot have full speed: endpoint 0x81: max_packet = 512 does not fit Bulk at Full speed"
        );
    }

    #[test]
    fn an_unknown_controller_names_the_known_ones() {
        let error = "pci-ohci".parse::<Controller>().unwrap_err();
        assert!(error.starts_with(
            "there is no USB controller \"pci-ohci\"; expected one of qemu-xhci, usb-ehci, "
        ));
    }

    #[test]
    fn another_controller_brings_its_own_driver() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../qemu/targets/debian.toml");
        let mut target = Target::load(&file).unwrap();
        let own = target.boot.modules.clone();
        target.machine.usb_controller.put_into(&mut target);
        assert_eq!(target.boot.modules, own);
        Controller::Ich9UsbEhci1.put_into(&mut target);
        assert_eq!(
            target.boot.modules,
            ["virtio_pci", "virtio_console", "ehci-pci", "uhci-hcd"]
        );
        assert_eq!(target.machine.usb_controller, Controller::Ich9UsbEhci1);
    }
}
