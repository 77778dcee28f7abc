//! Finds virtio-serial ports and USB devices in sysfs. `root` is `/`, or a made-up tree in tests.
use recrash_agent::plan::DeviceId;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A USB device as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsbDevice {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// Bus number.
    pub(crate) bus: u32,
    /// Device number on the bus.
    pub(crate) device: u32,
}

impl UsbDevice {
    /// Name of its bus's root hub.
    pub(crate) fn root_hub_name(&self) -> String {
        format!("usb{}", self.bus)
    }

    /// Its node below `/dev`.
    pub(crate) fn node(&self, root: &Path) -> PathBuf {
        root.join(format!("dev/bus/usb/{:03}/{:03}", self.bus, self.device))
    }
}

fn attribute(folder: &Path, name: &str) -> Option<String> {
    Some(
        fs::read_to_string(folder.join(name))
            .ok()?
            .trim()
            .to_owned(),
    )
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(of)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    all.sort();
    all
}

/// The device node of the virtio-serial port with this name, once it is there.
///
/// The node has to be a character device: a plain file that someone made in devtmpfs would take a
/// whole vmcore without an error, and the host would see none of it.
pub(crate) fn port(root: &Path, name: &str) -> Option<PathBuf> {
    let port = folders(&root.join("sys/class/virtio-ports"))
        .into_iter()
        .find(|port| attribute(port, "name").as_deref() == Some(name))?;
    let node = root.join("dev").join(port.file_name()?);
    fs::metadata(&node)
        .is_ok_and(|meta| meta.file_type().is_char_device())
        .then_some(node)
}

/// The names of all ports, for error messages.
pub(crate) fn port_names(root: &Path) -> Vec<String> {
    folders(&root.join("sys/class/virtio-ports"))
        .iter()
        .filter_map(|port| attribute(port, "name"))
        .collect()
}

fn usb_device_at(path: PathBuf) -> Option<UsbDevice> {
    Some(UsbDevice {
        bus: attribute(&path, "busnum")?.parse().ok()?,
        device: attribute(&path, "devnum")?.parse().ok()?,
        path,
    })
}

/// The configured USB device with these ids. A device without a configuration is still being
/// enumerated: the kernel would ask it for strings while the scenario runs.
pub(crate) fn usb_device(root: &Path, id: DeviceId) -> Option<UsbDevice> {
    let is_it = |path: &PathBuf| {
        let hex = |name| u16::from_str_radix(&attribute(path, name)?, 16).ok();
        hex("idVendor") == Some(id.vendor)
            && hex("idProduct") == Some(id.product)
            && attribute(path, "bConfigurationValue").is_some_and(|value| !value.is_empty())
    };
    folders(&root.join("sys/bus/usb/devices"))
        .into_iter()
        .find(is_it)
        .and_then(usb_device_at)
}

/// The root hub of a device's bus.
pub(crate) fn root_hub(root: &Path, of: &UsbDevice) -> Option<UsbDevice> {
    usb_device_at(root.join("sys/bus/usb/devices").join(of.root_hub_name()))
}

/// What is on the USB, for error messages: `vid:pid` of each device.
pub(crate) fn usb_ids(root: &Path) -> Vec<String> {
    folders(&root.join("sys/bus/usb/devices"))
        .iter()
        .filter_map(|path| {
            Some(format!(
                "{}:{}",
                attribute(path, "idVendor")?,
                attribute(path, "idProduct")?
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DeviceId = DeviceId {
        vendor: 0x46f4,
        product: 0x0001,
    };

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const CONFIGURED: &[(&str, &str)] = &[
        ("sys/bus/usb/devices/1-2/idVendor", "46f4\n"),
        ("sys/bus/usb/devices/1-2/idProduct", "0001\n"),
        ("sys/bus/usb/devices/1-2/bConfigurationValue", "1\n"),
        ("sys/bus/usb/devices/1-2/busnum", "1\n"),
        ("sys/bus/usb/devices/1-2/devnum", "12\n"),
        ("sys/bus/usb/devices/1-2:1.0/bInterfaceNumber", "00\n"),
        ("sys/bus/usb/devices/usb1/idVendor", "1d6b\n"),
        ("sys/bus/usb/devices/usb1/idProduct", "0002\n"),
        ("sys/bus/usb/devices/usb1/bConfigurationValue", "1\n"),
        ("sys/bus/usb/devices/usb1/busnum", "1\n"),
        ("sys/bus/usb/devices/usb1/devnum", "1\n"),
    ];

    #[test]
    fn a_configured_device_and_its_root_hub_are_found() {
        let root = tree(CONFIGURED);
        let device = usb_device(root.path(), ID).unwrap();
        assert_eq!((device.bus, device.device), (1, 12));
        assert_eq!(
            device.node(Path::new("/")),
            Path::new("/dev/bus/usb/001/012")
        );
        let hub = root_hub(root.path(), &device).unwrap();
        assert_eq!(hub.node(Path::new("/")), Path::new("/dev/bus/usb/001/001"));
    }

    #[test]
    fn a_device_without_a_configuration_is_not_there_yet() {
        let root = tree(CONFIGURED);
        fs::write(
            root.path()
                .join("sys/bus/usb/devices/1-2/bConfigurationValue"),
            "\n",
        )
        .unwrap();
        assert_eq!(usb_device(root.path(), ID), None);
        assert_eq!(usb_ids(root.path()), ["46f4:0001", "1d6b:0002"]);
    }

    #[test]
    fn attributes_that_are_no_numbers_are_no_device() {
        let root = tree(CONFIGURED);
        fs::write(root.path().join("sys/bus/usb/devices/1-2/busnum"), "one\n").unwrap();
        assert_eq!(usb_device(root.path(), ID), None);
    }

    #[test]
    fn a_port_whose_node_is_a_plain_file_is_no_port() {
        let root = tree(&[
            (
                "sys/class/virtio-ports/vport0p1/name",
                "org.recrash.events\n",
            ),
            ("dev/vport0p1", ""),
        ]);
        assert_eq!(port(root.path(), "org.recrash.events"), None);
        assert_eq!(port_names(root.path()), ["org.recrash.events"]);
    }

    #[test]
    fn a_port_is_found_by_its_name() {
        let root = tree(&[
            ("sys/class/virtio-ports/vport0p1/name", "a\n"),
            ("sys/class/virtio-ports/vport0p2/name", "b\n"),
        ]);
        fs::create_dir_all(root.path().join("dev")).unwrap();
        std::os::unix::fs::symlink("/dev/null", root.path().join("dev/vport0p2")).unwrap();
        assert_eq!(
            port(root.path(), "b"),
            Some(root.path().join("dev/vport0p2"))
        );
        assert_eq!(port(root.path(), "a"), None);
    }
}
