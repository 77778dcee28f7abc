//! The guest's USB hardware as options of `recrash run`: controller, speed, a physical device. Finds what does not go
//! together before anything boots. Boots nothing.
use recrash_machine::controller::{Controller, Misfit};
use recrash_machine::device::UsbDevice;
use recrash_machine::kmod::{KmodError, ModuleIndex};
use recrash_machine::setup::Provisioned;
use recrash_machine::target::Target;
use recrash_machine::usbhost::{self, HostDevice, Selector};
use recrash_machine::usbredir::Device;
use recrash_machine::usbredir::device::Speed;
use std::path::Path;

use super::super::config_file;
use crate::failure::Failure;

/// Root of the file system whose sysfs and `/dev` show the host's devices.
const HOST: &str = "/";

/// The guest's USB hardware.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::commands) struct HardwareArgs {
    /// The USB host controller: qemu-xhci, usb-ehci, ich9-usb-ehci1 (with its companions), piix3-usb-uhci,
    /// piix4-usb-uhci, ich9-usb-uhci1; a list or all [default: the target's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) controller: Option<String>,
    /// The emulated device's speed: full, high, super; or a list [default: the device's, or the fastest that the
    /// controller has]
    #[arg(long, value_name = "SPEED", conflicts_with = "usb_host")]
    pub(in crate::commands) speed: Option<String>,
    /// A physical device of this host instead of an emulated one: VID:PID, or BUS-PORT as in /sys/bus/usb/devices
    #[arg(long, value_name = "DEVICE", conflicts_with = "device")]
    pub(in crate::commands) usb_host: Option<Selector>,
}

/// A device and where it was described, for the manifest.
pub(in crate::commands) struct Named {
    pub(in crate::commands) name: String,
    pub(in crate::commands) device: UsbDevice,
}

impl HardwareArgs {
    /// The device that `--usb-host` names, or else the file `name` in qemu/devices.
    pub(in crate::commands) fn device(&self, name: &str) -> Result<Named, Failure> {
        if let Some(selector) = &self.usb_host {
            return physical(selector);
        }
        let file = config_file("devices", name)?;
        if let Some(device) = HostDevice::load(&file).map_err(Failure::usage)? {
            if self.speed.is_some() {
                return Err(Failure::usage(anyhow::anyhow!(
                    "--speed: {} is a physical device, whose speed is what it is",
                    file.display()
                )));
            }
            let found = physical(&device.selector)?;
            return Ok(Named {
                name: name.into(),
                ..found
            });
        }
        Ok(Named {
            name: name.into(),
            device: UsbDevice::Emulated(Device::load(&file).map_err(Failure::usage)?),
        })
    }

    /// Puts the controller into the target's machine and the device on it; the inner error is that they do not go
    /// together. Each option must be one value here.
    pub(in crate::commands) fn assemble(
        &self,
        target: &mut Target,
        device: &mut UsbDevice,
    ) -> Result<Result<(), Misfit>, Failure> {
        if let Some(name) = &self.controller {
            one::<Controller>("--controller", name)?.put_into(target);
        }
        let speed = self.speed.as_deref();
        let speed = speed
            .map(|name| one::<Speed>("--speed", name))
            .transpose()?;
        Ok(device.plug_into(target.machine.usb_controller, speed))
    }
}

/// One value of an option, from its text.
pub(in crate::commands) fn one<T: std::str::FromStr<Err = String>>(
    option: &str,
    text: &str,
) -> Result<T, Failure> {
    text.parse()
        .map_err(|why| Failure::usage(anyhow::anyhow!("{option}: {why}")))
}

/// A physical device that this host has.
fn physical(selector: &Selector) -> Result<Named, Failure> {
    let device = usbhost::find(Path::new(HOST), selector)
        .map_err(|error| Failure::usage(error).hint("lsusb -t shows this host's devices"))?;
    Ok(Named {
        name: format!("usb-host {selector}"),
        device: UsbDevice::Physical(device),
    })
}

/// Checks what only a target that is set up can tell: that its kernel has the controller's driver, and that QEMU gets a
/// physical device.
pub(in crate::commands) fn check(
    target: &Target,
    provisioned: &Provisioned,
    device: &UsbDevice,
) -> Result<(), Failure> {
    if let Some(why) = missing_driver(target, provisioned)? {
        return Err(Failure::usage(anyhow::anyhow!(why))
            .hint("another --controller, or the modules in the target's file"));
    }
    let Some(device) = device.physical() else {
        return Ok(());
    };
    usbhost::check(Path::new(HOST), device, provisioned.qemu.as_os_str()).map_err(|error| {
        let advice = error.advice(device);
        Failure::usage(error).hint(advice)
    })
}

/// Why this target's kernel cannot drive its controller; `None` if it can.
pub(in crate::commands) fn missing_driver(
    target: &Target,
    provisioned: &Provisioned,
) -> Result<Option<String>, Failure> {
    let controller = target.machine.usb_controller;
    let drives = |name: &str| {
        controller
            .modules()
            .contains(&name.replace('_', "-").as_str())
    };
    let index = ModuleIndex::load(&provisioned.modules_dir).map_err(Failure::inconclusive)?;
    match index.in_order(&target.boot.modules) {
        Ok(_) => Ok(None),
        Err(KmodError::Missing { name, .. }) if drives(&name) => Ok(Some(format!(
            "the kernel of target {} ({}) has no driver {name}, which {controller} needs",
            target.name, provisioned.kernel_release
        ))),
        Err(error) => Err(Failure::inconclusive(error)),
    }
}
