//! What is found in made-up sysfs trees, and what is said where nothing is.
use super::*;
use std::fs;

/// A tree with a hub (1-1), a virtual CD (1-2, `046b:ff20`) that `usb-storage` has, and a keyboard behind the hub.
pub(in crate::usbhost) fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let devices = [
        ("usb1", "1d6b", "0002", "1", "09", "480"),
        ("1-1", "05e3", "0608", "2", "09", "480"),
        ("1-1.3", "046d", "c31c", "3", "00", "1.5"),
        ("1-2", "046b", "ff20", "4", "00", "480"),
    ];
    let write = |path: String, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (name, vendor, product, number, class, speed) in devices {
        for (attribute, text) in [
            ("idVendor", vendor),
            ("idProduct", product),
            ("busnum", "1"),
            ("devnum", number),
            ("bDeviceClass", class),
            ("speed", speed),
        ] {
            write(
                format!("sys/bus/usb/devices/{name}/{attribute}"),
                &format!("{text}\n"),
            );
        }
    }
    let own = "sys/bus/usb/devices/1-2";
    write(format!("{own}/manufacturer"), "American Megatrends Inc.\n");
    write(format!("{own}/product"), "Virtual \u{1b}[31mCDROM Device\n");
    write(format!("{own}:1.0/bInterfaceClass"), "08\n");
    let driver = root.path().join(format!("{own}:1.0/driver"));
    std::os::unix::fs::symlink("../../../bus/usb/drivers/usb-storage", driver).unwrap();
    write("dev/bus/usb/001/004".into(), "");
    root
}

fn check(wanted: &str, expected: &str) {
    let root = tree();
    let found = match find(root.path(), &wanted.parse().unwrap()) {
        Ok(device) => device.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

const CD: &str = "1-2 046b:ff20 American Megatrends Inc. Virtual [31mCDROM Device, 480 Mbit/s";

#[test]
fn a_device_is_found_by_id_and_by_port_without_its_control_characters() {
    check("046b:ff20", CD);
    check("1-2", CD);
    check("1-1.3", "1-1.3 046d:c31c, 1.5 Mbit/s");
}

#[test]
fn a_device_that_is_not_there_is_told_with_those_that_are() {
    check(
        "1-4",
        &format!("no USB device 1-4 on this host; there are 1-1.3 046d:c31c, 1.5 Mbit/s, {CD}"),
    );
}

#[test]
fn a_hub_is_refused() {
    check(
        "1-1",
        "1-1 is a hub; QEMU's usb-host passes no hubs through: name the device behind it",
    );
}

#[test]
fn two_devices_with_one_id_must_be_told_apart() {
    let root = tree();
    let devices = root.path().join("sys/bus/usb/devices");
    fs::write(devices.join("1-1.3/idVendor"), "046b").unwrap();
    fs::write(devices.join("1-1.3/idProduct"), "ff20").unwrap();
    let error = find(root.path(), &"046b:ff20".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 USB devices are 046b:ff20: 1-1.3, 1-2; name one by its port"
    );
}

#[test]
fn a_host_without_usb_says_so() {
    let root = tempfile::tempdir().unwrap();
    let error = find(root.path(), &"1-2".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("sys/bus/usb/devices cannot be read"),
        "{error}"
    );
    assert!(error.contains("this host has no USB"), "{error}");
}

#[test]
fn qemu_is_told_ids_and_port_so_that_it_takes_no_other() {
    let root = tree();
    let device = find(root.path(), &"1-1.3".parse().unwrap()).unwrap();
    assert_eq!(
        device.qemu_device(),
        "usb-host,bus=usb.0,vendorid=0x046d,productid=0xc31c,hostbus=1,hostport=1.3"
    );
}

#[test]
fn a_devices_speed_must_be_one_of_the_controllers() {
    let root = tree();
    let fits = |name: &str, controller: Controller| {
        let device = find(root.path(), &name.parse().unwrap()).unwrap();
        device.fits(controller).map_err(|error| error.to_string())
    };
    assert_eq!(fits("1-2", Controller::UsbEhci), Ok(()));
    assert_eq!(fits("1-2", Controller::Piix3UsbUhci), Ok(()));
    assert_eq!(fits("1-1.3", Controller::Piix3UsbUhci), Ok(()));
    let error = fits("1-1.3", Controller::UsbEhci).unwrap_err();
    assert!(error.starts_with("usb-ehci has no full speed"), "{error}");
}
