//! One USB device: place on the bus, ids, speed, state, strings, and its descriptors as they came over the wire.
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

/// MAX_USB_STRING_SIZE: 126 UTF-16 units as UTF-8, with its NUL (drivers/usb/core/message.c).
const MAX_STRING: usize = 127 * 3 + 1;
/// USB_MAXCONFIG (drivers/usb/core/config.c).
const MAX_CONFIGS: u64 = 8;
/// USB_MAXINTERFACES.
const MAX_INTERFACES: u64 = 32;
/// bLength of a device descriptor.
const DEVICE_DESCRIPTOR: u64 = 18;

/// A USB device of the crashed machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Address of its `struct usb_device`.
    pub at: VirtAddr,
    /// Name as in sysfs: `usb1` for a root hub, `1-4.2` for a device.
    pub name: String,
    /// Number of its bus.
    pub bus: u64,
    /// Its address on the bus; 0 before it has one.
    pub number: Option<u64>,
    /// The hub that it is plugged into; `None` for a root hub.
    pub parent: Option<VirtAddr>,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product_id: u16,
    /// The name of its speed in C (`USB_SPEED_HIGH`).
    pub speed: Option<String>,
    /// The name of its state in C (`USB_STATE_CONFIGURED`).
    pub state: Option<String>,
    /// Strings that the kernel keeps, with what each one is.
    pub strings: Vec<(StringKind, String)>,
    /// The language in which it was asked for them.
    pub language: Option<u16>,
    /// The device descriptor, 18 bytes as on the wire.
    pub device_descriptor: Vec<u8>,
    /// Each configuration with all its descriptors, as on the wire.
    pub configurations: Vec<Vec<u8>>,
    /// bConfigurationValue of the active one.
    pub active_configuration: Option<u8>,
    /// The BOS descriptor with its capabilities, as on the wire.
    pub bos: Option<Vec<u8>>,
    /// What of it could not be read.
    pub missing: Vec<Missing>,
}

/// Which string of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StringKind {
    /// iProduct.
    Product,
    /// iManufacturer.
    Manufacturer,
    /// iSerialNumber.
    Serial,
    /// iConfiguration of the active configuration.
    Configuration,
    /// iInterface of an interface's current setting.
    Interface,
}

impl StringKind {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Product => "product string",
            Self::Manufacturer => "manufacturer string",
            Self::Serial => "serial number string",
            Self::Configuration => "configuration string",
            Self::Interface => "interface string",
        }
    }
}

/// The name that sysfs gives a device.
pub(super) fn name(device: &Object<'_>) -> Result<(u64, String), Missing> {
    let bus = device
        .follow("bus", "usb_bus")?
        .ok_or_else(|| Missing::Implausible(format!("usb_device at {} has no bus", device.at)))?
        .u64("busnum")?;
    let path = device.char_array("devpath")?;
    let name = if path == "0" {
        format!("usb{bus}")
    } else {
        format!("{bus}-{path}")
    };
    Ok((bus, name))
}

pub(super) fn read(kernel: &Kernel<'_>, device: Object<'_>) -> Result<UsbDevice, Missing> {
    let (bus, name) = name(&device)?;
    let number = |field: &str| {
        device
            .u64(field)
            .map(|value| u16::try_from(value).unwrap_or(0))
    };
    let mut found = UsbDevice {
        at: device.at,
        name,
        bus,
        number: None,
        parent: None,
        vendor: number("descriptor.idVendor")?,
        product_id: number("descriptor.idProduct")?,
        speed: None,
        state: None,
        strings: Vec::new(),
        language: None,
        device_descriptor: kernel.table(
            device.addr_of("descriptor")?,
            DEVICE_DESCRIPTOR,
            "device descriptor",
        )?,
        configurations: Vec::new(),
        active_configuration: None,
        bos: None,
        missing: Vec::new(),
    };
    let parts = [numbers, strings, active, configurations, bos];
    for part in parts {
        if let Err(missing) = part(kernel, &device, &mut found) {
            found.missing.push(missing);
        }
    }
    Ok(found)
}

fn numbers(kernel: &Kernel<'_>, device: &Object<'_>, found: &mut UsbDevice) -> Result<(), Missing> {
    found.number = Some(device.u64("devnum")?);
    found.parent = Some(device.ptr("parent")?).filter(|parent| parent.0 != 0);
    let named = |of: &str, field: &str| -> Result<Option<String>, Missing> {
        Ok(kernel.types().enum_name(of, device.i32(field)?.into()))
    };
    found.speed = named("usb_device_speed", "speed")?;
    found.state = named("usb_device_state", "state")?;
    Ok(())
}

fn strings(_: &Kernel<'_>, device: &Object<'_>, found: &mut UsbDevice) -> Result<(), Missing> {
    for (kind, field) in [
        (StringKind::Product, "product"),
        (StringKind::Manufacturer, "manufacturer"),
        (StringKind::Serial, "serial"),
    ] {
        match device.string(field, MAX_STRING) {
            Ok(Some(text)) => found.strings.push((kind, text)),
            Ok(None) => {}
            Err(missing) => found.missing.push(missing),
        }
    }
    if device.u64("have_langid")? & 1 == 1 {
        found.language = u16::try_from(device.u64("string_langid")?).ok();
    }
    Ok(())
}

/// The active configuration's value, and the strings of it and of its interfaces' settings.
fn active(kernel: &Kernel<'_>, device: &Object<'_>, found: &mut UsbDevice) -> Result<(), Missing> {
    let Some(config) = device.follow("actconfig", "usb_host_config")? else {
        return Ok(());
    };
    found.active_configuration = u8::try_from(config.u64("desc.bConfigurationValue")?).ok();
    if let Some(text) = config.string("string", MAX_STRING)? {
        found.strings.push((StringKind::Configuration, text));
    }
    let count = config.u64("desc.bNumInterfaces")?.min(MAX_INTERFACES);
    let table = config.addr_of("interface")?;
    for index in 0..count {
        let at = kernel.memory().u64_at(table.wrapping_add(index * 8));
        let at = at.map_err(missing("usb_host_config.interface"))?;
        if at == 0 {
            continue;
        }
        let interface = Object::new(kernel, "usb_interface", VirtAddr(at));
        let setting = interface.follow("cur_altsetting", "usb_host_interface")?;
        let text = setting.map(|setting| setting.string("string", MAX_STRING));
        if let Some(text) = text.transpose()?.flatten() {
            found.strings.push((StringKind::Interface, text));
        }
    }
    Ok(())
}

/// `rawdescriptors[i]` is wTotalLength bytes long, as `usb_get_configuration()` read them.
fn configurations(
    kernel: &Kernel<'_>,
    device: &Object<'_>,
    found: &mut UsbDevice,
) -> Result<(), Missing> {
    let count = device
        .u64("descriptor.bNumConfigurations")?
        .min(MAX_CONFIGS);
    let table = device.ptr("rawdescriptors")?;
    let configs = device.ptr("config")?;
    let size = kernel.types().size_of("usb_host_config");
    let size = size.ok_or_else(|| Missing::Type("usb_host_config".into()))?;
    if table.0 == 0 || configs.0 == 0 {
        return Ok(());
    }
    for index in 0..count {
        let config = Object::new(
            kernel,
            "usb_host_config",
            configs.wrapping_add(index * size),
        );
        let length = config.u64("desc.wTotalLength")? & 0xffff;
        let at = kernel.memory().u64_at(table.wrapping_add(index * 8));
        let at = at.map_err(missing("usb_device.rawdescriptors"))?;
        if at != 0 {
            let bytes = kernel.table(VirtAddr(at), length, "raw configuration descriptor")?;
            found.configurations.push(bytes);
        }
    }
    Ok(())
}

fn bos(kernel: &Kernel<'_>, device: &Object<'_>, found: &mut UsbDevice) -> Result<(), Missing> {
    let Some(bos) = device.follow("bos", "usb_host_bos")? else {
        return Ok(());
    };
    let Some(head) = bos.follow("desc", "usb_bos_descriptor")? else {
        return Ok(());
    };
    let length = head.u64("wTotalLength")? & 0xffff;
    found.bos = Some(kernel.table(head.at, length, "BOS descriptor")?);
    Ok(())
}
