//! Whether QEMU will get a physical device: permission, the host's own drivers, and QEMU's build. QEMU itself says
//! nothing and waits for the device to come, so everything is looked at before. Changes nothing.
use super::Physical;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// Why QEMU would not get the device.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Its node is not there.
    #[error("{} is not there, though sysfs shows the device: /dev is not the host's (a container?)", .0.display())]
    NoNode(PathBuf),
    /// Its node cannot be opened.
    #[error("{} cannot be opened for reading and writing: {source}", node.display())]
    Permission {
        /// The node.
        node: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A driver of the host uses it: QEMU would take it away from there, perhaps with a mounted file system.
    #[error("{interface} is in use by the host's driver {driver}")]
    Driver {
        /// The interface, for example `1-2:1.0`.
        interface: String,
        /// The driver.
        driver: String,
    },
    /// A program uses it.
    #[error("{interface} is in use by a program (usbfs), for example another QEMU")]
    Program {
        /// The interface.
        interface: String,
    },
    /// QEMU has no usb-host.
    #[error("{program} was built without usb-host (it is not in -device help)")]
    NoUsbHost {
        /// The program.
        program: String,
    },
    /// QEMU could not be asked.
    #[error("asking {program} for its devices: {source}")]
    Qemu {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl ClaimError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self, device: &Physical) -> String {
        match self {
            Self::NoNode(_) => {
                "run recrash on the host itself, or give the container /dev/bus/usb".into()
            }
            Self::Permission { .. } => format!(
                "run as root, or let your group have it by a udev rule: SUBSYSTEM==\"usb\", \
                 ATTR{{idVendor}}==\"{:04x}\", ATTR{{idProduct}}==\"{:04x}\", MODE=\"0660\", GROUP=\"plugdev\"",
                device.vendor, device.product
            ),
            Self::Driver { interface, driver } => format!(
                "when nothing there uses it any more, as root: echo {interface} > /sys/bus/usb/drivers/{driver}/unbind"
            ),
            Self::Program { .. } => "end the program that uses the device".into(),
            Self::NoUsbHost { .. } => {
                "install a QEMU with libusb: on Debian the package qemu-system-x86 has it".into()
            }
            Self::Qemu { .. } => "see recrash doctor".into(),
        }
    }
}

/// Looks at everything that would keep `qemu` from the device; its node is below `root`.
///
/// # Errors
/// The first [`ClaimError`].
pub fn check(root: &Path, device: &Physical, qemu: &OsStr) -> Result<(), ClaimError> {
    let program = || qemu.to_string_lossy().into_owned();
    let help = duct::cmd(qemu, ["-device", "help"])
        .stderr_null()
        .unchecked()
        .read()
        .map_err(|source| ClaimError::Qemu {
            program: program(),
            source,
        })?;
    if !has_usb_host(&help) {
        return Err(ClaimError::NoUsbHost { program: program() });
    }
    for interface in &device.interfaces {
        let name = || interface.name.clone();
        match interface.driver.as_deref() {
            None => {}
            Some("usbfs") => return Err(ClaimError::Program { interface: name() }),
            Some(driver) => {
                return Err(ClaimError::Driver {
                    interface: name(),
                    driver: driver.into(),
                });
            }
        }
    }
    let node = device.node(root);
    match OpenOptions::new().read(true).write(true).open(&node) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ClaimError::NoNode(node)),
        Err(source) => Err(ClaimError::Permission { node, source }),
    }
}

/// QEMU lists each device as `name "usb-host", bus usb-bus`.
fn has_usb_host(help: &str) -> bool {
    help.lines()
        .any(|line| line.starts_with("name \"usb-host\","))
}

#[cfg(test)]
mod tests {
    use super::super::{find, sysfs::tests::tree};
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A program that prints this for `-device help`.
    fn qemu(root: &Path, says: &str) -> PathBuf {
        let file = root.join("qemu");
        fs::write(&file, format!("#!/bin/sh\nprintf '%s\\n' '{says}'\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    const GOOD: &str = "name \"usb-host\", bus usb-bus";

    /// The error for the virtual CD of the tree, after `change`, and its advice.
    fn claim(says: &str, change: impl Fn(&Path)) -> Result<(), (String, String)> {
        let root = tree();
        let qemu = qemu(root.path(), says);
        change(root.path());
        let device = find(root.path(), &"1-2".parse().unwrap()).unwrap();
        check(root.path(), &device, qemu.as_os_str()).map_err(|error| {
            let text = error
                .to_string()
                .replace(&root.path().display().to_string(), "");
            (text, error.advice(&device))
        })
    }

    fn unbind(root: &Path) {
        fs::remove_file(root.join("sys/bus/usb/devices/1-2:1.0/driver")).unwrap();
    }

    #[test]
    fn a_device_that_nobody_has_can_be_claimed() {
        assert_eq!(claim(GOOD, unbind), Ok(()));
    }

    #[test]
    fn a_driver_that_has_it_is_named_with_the_way_to_free_it() {
        let (error, advice) = claim(GOOD, |_| {}).unwrap_err();
        assert_eq!(error, "1-2:1.0 is in use by the host's driver usb-storage");
        assert!(
            advice.ends_with("echo 1-2:1.0 > /sys/bus/usb/drivers/usb-storage/unbind"),
            "{advice}"
        );
    }

    #[test]
    fn a_program_that_has_it_is_told() {
        let by_program = |root: &Path| {
            unbind(root);
            let link = root.join("sys/bus/usb/devices/1-2:1.0/driver");
            std::os::unix::fs::symlink("../../../bus/usb/drivers/usbfs", link).unwrap();
        };
        let (error, _) = claim(GOOD, by_program).unwrap_err();
        assert_eq!(
            error,
            "1-2:1.0 is in use by a program (usbfs), for example another QEMU"
        );
    }

    #[test]
    fn a_node_that_is_missing_or_closed_is_told() {
        let node = "dev/bus/usb/001/004";
        let (error, _) = claim(GOOD, |root| {
            unbind(root);
            fs::remove_file(root.join(node)).unwrap();
        })
        .unwrap_err();
        assert!(
            error.starts_with("/dev/bus/usb/001/004 is not there"),
            "{error}"
        );
        // A folder is what root, too, cannot open for writing.
        let (error, advice) = claim(GOOD, |root| {
            unbind(root);
            fs::remove_file(root.join(node)).unwrap();
            fs::create_dir(root.join(node)).unwrap();
        })
        .unwrap_err();
        assert!(
            error.starts_with("/dev/bus/usb/001/004 cannot be opened"),
            "{error}"
        );
        assert!(advice.contains("ATTR{idVendor}==\"046b\""), "{advice}");
    }

    #[test]
    fn a_qemu_without_usb_host_is_told() {
        let (error, _) = claim("name \"usb-redir\", bus usb-bus", unbind).unwrap_err();
        assert!(
            error.ends_with("was built without usb-host (it is not in -device help)"),
            "{error}"
        );
    }
}
