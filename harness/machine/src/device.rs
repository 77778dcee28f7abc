//! The device under test, whoever serves it: recrash itself over usb-redir, or a physical one of this host. Serves
//! and opens nothing.
use crate::controller::{Controller, Misfit};
use crate::usbhost::Physical;
use crate::usbredir::Device;
use crate::usbredir::device::Speed;
use recrash_agent::plan::DeviceId;

/// The device under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsbDevice {
    /// Emulated by recrash.
    Emulated(Device),
    /// Plugged into this host, passed through by QEMU.
    Physical(Physical),
}

impl UsbDevice {
    /// idVendor and idProduct, as repro-module and the init in the guest look for them.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Emulated(device) => device.id(),
            Self::Physical(device) => device.id(),
        }
    }

    /// The speed it has; `None` for a physical one whose speed no emulated one could have.
    #[must_use]
    pub fn speed(&self) -> Option<Speed> {
        match self {
            Self::Emulated(device) => Some(device.speed),
            Self::Physical(device) => device.speed(),
        }
    }

    /// The physical one, if it is.
    #[must_use]
    pub fn physical(&self) -> Option<&Physical> {
        match self {
            Self::Emulated(_) => None,
            Self::Physical(device) => Some(device),
        }
    }

    /// Plugs it into a controller, at the speed asked for or at its own ([`Controller::slow_down`]). A physical
    /// device's speed is what it is.
    ///
    /// # Errors
    /// [`Misfit`] says which controllers fit.
    pub fn plug_into(
        &mut self,
        controller: Controller,
        asked: Option<Speed>,
    ) -> Result<(), Misfit> {
        match self {
            Self::Emulated(device) => controller.slow_down(device, asked).map(|_| ()),
            Self::Physical(device) => device.fits(controller),
        }
    }
}
