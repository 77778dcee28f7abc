//! The USB devices that the kernel knew when it died: place on the bus, ids, strings, descriptors.
//! Walks `usb_bus_idr` and the hubs (drivers/usb/core); says nothing about what they mean for a crash.
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};

/// USB_MAXBUS (drivers/usb/core/hcd.c).
const MAX_BUSES: usize = 64;
/// 127 addresses a bus (USB 2.0, 4.8).
const MAX_DEVICES: usize = MAX_BUSES * 128;
/// USB_MAXCHILDREN (include/linux/usb.h).
const MAX_PORTS: u64 = 31;
/// Deepest chain of devices: root hub, five hubs, device (USB 2.0, 4.1.1), with room to spare.
const MAX_DEPTH: u32 = 8;
/// MAX_USB_STRING_SIZE: 126 UTF-16 units as UTF-8, with its NUL (drivers/usb/core/message.c).
const MAX_STRING: usize = 127 * 3 + 1;

/// A USB device of the crashed machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Address of its `struct usb_device`.
    pub at: VirtAddr,
    /// Name as in sysfs: `usb1` for a root hub, `1-4.2` for a device.
    pub name: String,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product_id: u16,
    /// Strings that the kernel keeps, with what each one is.
    pub strings: Vec<(StringKind, String)>,
    /// The device descriptor, 18 bytes as on the wire.
    pub device_descriptor: Vec<u8>,
}

/// Which string of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringKind {
    /// iProduct.
    Product,
    /// iManufacturer.
    Manufacturer,
    /// iSerialNumber.
    Serial,
}

impl StringKind {
    /// What it is called in prose.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Product => "product string",
            Self::Manufacturer => "manufacturer string",
            Self::Serial => "serial number string",
        }
    }
}

/// All devices on all buses, and why the walk ended early where it did.
///
/// # Errors
/// [`Missing`] when usbcore is not there or its types are not known.
pub fn devices(kernel: &Kernel<'_>) -> Result<(Vec<UsbDevice>, Vec<Missing>), Missing> {
    let idr = Object::new(kernel, "idr", kernel.symbol("usb_bus_idr")?);
    let mut walk = Walk {
        kernel,
        found: Vec::new(),
        gaps: Vec::new(),
    };
    for bus in idr_entries(kernel, idr, MAX_BUSES)? {
        match Object::new(kernel, "usb_bus", bus).follow("root_hub", "usb_device") {
            Ok(Some(hub)) => walk.visit(hub, 0),
            Ok(None) => {}
            Err(missing) => walk.gaps.push(missing),
        }
    }
    Ok((walk.found, walk.gaps))
}

struct Walk<'k> {
    kernel: &'k Kernel<'k>,
    found: Vec<UsbDevice>,
    gaps: Vec<Missing>,
}

impl<'k> Walk<'k> {
    fn visit(&mut self, device: Object<'k>, depth: u32) {
        let seen = self.found.iter().any(|known| known.at == device.at);
        if seen || depth > MAX_DEPTH || self.found.len() >= MAX_DEVICES {
            self.gaps.push(Missing::Implausible(format!(
                "the device tree does not end at {}",
                device.at
            )));
            return;
        }
        match read(self.kernel, device) {
            Ok(found) => self.found.push(found),
            Err(missing) => return self.gaps.push(missing),
        }
        match self.children(device) {
            Ok(children) => children
                .into_iter()
                .for_each(|child| self.visit(child, depth + 1)),
            Err(missing) => self.gaps.push(missing),
        }
    }

    /// `usb_hub_to_struct_hub()`: the hub driver's data hang on the first interface of the active configuration.
    fn children(&self, device: Object<'k>) -> Result<Vec<Object<'k>>, Missing> {
        let ports = device.u64("maxchild")?.min(MAX_PORTS);
        if ports == 0 {
            return Ok(Vec::new());
        }
        let Some(config) = device.follow("actconfig", "usb_host_config")? else {
            return Ok(Vec::new());
        };
        let Some(interface) = config.follow("interface[0]", "usb_interface")? else {
            return Ok(Vec::new());
        };
        let Some(hub) = interface.follow("dev.driver_data", "usb_hub")? else {
            return Ok(Vec::new());
        };
        let table = hub.ptr("ports")?;
        let mut children = Vec::new();
        for port in 0..ports {
            let at = table.wrapping_add(port * 8);
            let port = VirtAddr(
                self.kernel
                    .memory()
                    .u64_at(at)
                    .map_err(missing("usb_hub.ports"))?,
            );
            if port.0 == 0 {
                continue;
            }
            children
                .extend(Object::new(self.kernel, "usb_port", port).follow("child", "usb_device")?);
        }
        Ok(children)
    }
}

fn read(kernel: &Kernel<'_>, device: Object<'_>) -> Result<UsbDevice, Missing> {
    let bus = device
        .follow("bus", "usb_bus")?
        .ok_or_else(|| Missing::Implausible(format!("usb_device at {} has no bus", device.at)))?
        .u64("busnum")?;
    let path = device.char_array("devpath")?;
    let mut strings = Vec::new();
    for (kind, field) in [
        (StringKind::Product, "product"),
        (StringKind::Manufacturer, "manufacturer"),
        (StringKind::Serial, "serial"),
    ] {
        if let Ok(Some(text)) = device.string(field, MAX_STRING) {
            strings.push((kind, text));
        }
    }
    let number = |field: &str| {
        device
            .u64(field)
            .map(|value| u16::try_from(value).unwrap_or(0))
    };
    Ok(UsbDevice {
        at: device.at,
        name: if path == "0" {
            format!("usb{bus}")
        } else {
            format!("{bus}-{path}")
        },
        vendor: number("descriptor.idVendor")?,
        product_id: number("descriptor.idProduct")?,
        strings,
        device_descriptor: kernel.table(device.addr_of("descriptor")?, 18, "device descriptor")?,
    })
}

/// The pointers in an IDR: an XArray since 4.20 (`xa_head`, nodes tagged 2), a radix tree before (`rnode`,
/// nodes tagged 1).
fn idr_entries(
    kernel: &Kernel<'_>,
    idr: Object<'_>,
    limit: usize,
) -> Result<Vec<VirtAddr>, Missing> {
    let (root, node, tag) = match idr.u64("idr_rt.xa_head") {
        Ok(root) => (root, "xa_node", 2),
        Err(_) => (idr.u64("idr_rt.rnode")?, "radix_tree_node", 1),
    };
    let mut found = Vec::new();
    // A tree over 64 buses is one node deep; four levels of 64 slots are more than an IDR ever needs here.
    descend(kernel, root, node, tag, 4, limit, &mut found)?;
    Ok(found)
}

fn descend(
    kernel: &Kernel<'_>,
    entry: u64,
    node: &str,
    tag: u64,
    levels: u32,
    limit: usize,
    found: &mut Vec<VirtAddr>,
) -> Result<(), Missing> {
    if entry == 0 || found.len() >= limit {
        return Ok(());
    }
    if entry & 3 != tag {
        found.push(VirtAddr(entry & !3));
        return Ok(());
    }
    if levels == 0 {
        return Err(Missing::Implausible(
            "an IDR of more than four levels".into(),
        ));
    }
    let slots = kernel.field(node, "slots")?;
    for index in 0..(slots.size / 8).min(64) {
        let at = VirtAddr(entry & !3)
            .wrapping_add(slots.offset)
            .wrapping_add(index * 8);
        let slot = kernel.memory().u64_at(at).map_err(missing("IDR node"))?;
        descend(kernel, slot, node, tag, levels - 1, limit, found)?;
    }
    Ok(())
}
