//! Finds every USB device: `usb_bus_idr` and the hubs (drivers/usb/core). What a device is: its neighbour.
use super::device::{self, UsbDevice};
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// USB_MAXBUS (drivers/usb/core/hcd.c).
const MAX_BUSES: usize = 64;
/// 127 addresses a bus (USB 2.0, 4.8).
const MAX_DEVICES: usize = MAX_BUSES * 128;
/// USB_MAXCHILDREN (include/linux/usb.h).
const MAX_PORTS: u64 = 31;
/// Deepest chain of devices: root hub, five hubs, device (USB 2.0, 4.1.1), with room to spare.
const MAX_DEPTH: u32 = 8;

/// All devices on all buses, each hub before what is plugged into it, and why the walk ended early where it did.
///
/// # Errors
/// [`Missing`] when usbcore is not there or its types are not known.
pub fn devices(kernel: &Kernel<'_>) -> Result<(Vec<UsbDevice>, Vec<Missing>), Missing> {
    let (found, mut gaps) = objects(kernel)?;
    let mut devices = Vec::new();
    for object in found {
        match device::read(kernel, object) {
            Ok(device) => devices.push(device),
            Err(missing) => gaps.push(missing),
        }
    }
    Ok((devices, gaps))
}

/// The `struct usb_device` of each.
pub(super) fn objects<'k>(
    kernel: &'k Kernel<'k>,
) -> Result<(Vec<Object<'k>>, Vec<Missing>), Missing> {
    let mut walk = Walk {
        kernel,
        found: Vec::new(),
        seen: HashSet::new(),
        gaps: Vec::new(),
    };
    for bus in buses(kernel)? {
        match Object::new(kernel, "usb_bus", bus).follow("root_hub", "usb_device") {
            Ok(Some(hub)) => walk.visit(hub, 0),
            Ok(None) => {}
            Err(missing) => walk.gaps.push(missing),
        }
    }
    Ok((walk.found, walk.gaps))
}

/// The `struct usb_bus` of each bus.
pub(super) fn buses(kernel: &Kernel<'_>) -> Result<Vec<VirtAddr>, Missing> {
    let idr = Object::new(kernel, "idr", kernel.symbol("usb_bus_idr")?);
    idr_entries(kernel, idr, MAX_BUSES)
}

struct Walk<'k> {
    kernel: &'k Kernel<'k>,
    found: Vec<Object<'k>>,
    seen: HashSet<VirtAddr>,
    gaps: Vec<Missing>,
}

impl<'k> Walk<'k> {
    fn visit(&mut self, device: Object<'k>, depth: u32) {
        if !self.seen.insert(device.at) || depth > MAX_DEPTH || self.found.len() >= MAX_DEVICES {
            self.gaps.push(Missing::Implausible(format!(
                "the device tree does not end at {}",
                device.at
            )));
            return;
        }
        self.found.push(device);
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
        if self.kernel.types().size_of("usb_hub").is_none() {
            return self.children_by_driver_core(device);
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

/// Devices and interfaces that one hub can have as children in the driver core.
const MAX_CHILDREN: usize = 256;

impl<'k> Walk<'k> {
    /// Without the hub driver's types (modules have none before 5.11): every USB device is a child of its hub in the
    /// driver core too (`usb_alloc_dev()`), among the hub's interfaces.
    fn children_by_driver_core(&self, device: Object<'k>) -> Result<Vec<Object<'k>>, Missing> {
        let kernel = self.kernel;
        let device_type = kernel.symbol("usb_device_type")?;
        let of_device = kernel.field("usb_device", "dev")?.offset;
        let link = kernel
            .field("device_private", "knode_parent.n_node")?
            .offset;
        let core = Object::new(kernel, "device", device.addr_of("dev")?);
        let Some(private) = core.follow("p", "device_private")? else {
            return Ok(Vec::new());
        };
        let head = private.addr_of("klist_children.k_list")?;
        let mut children = Vec::new();
        let mut at = head;
        for _ in 0..MAX_CHILDREN {
            let next = kernel.memory().u64_at(at);
            at = VirtAddr(next.map_err(missing("klist_children"))?);
            if at == head {
                return Ok(children);
            }
            let child = VirtAddr(at.0.wrapping_sub(link));
            let child = Object::new(kernel, "device_private", child).follow("device", "device")?;
            let Some(child) = child else { continue };
            if child.ptr("type")? == device_type {
                let at = VirtAddr(child.at.0.wrapping_sub(of_device));
                children.push(Object::new(kernel, "usb_device", at));
            }
        }
        Err(Missing::Implausible(format!(
            "the children of the device at {} do not end",
            device.at
        )))
    }
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
