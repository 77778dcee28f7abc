//! QEMU's command line as a value. Starts nothing and touches no file.
use crate::controller::Controller;
use recrash_agent::{EVENTS_PORT, VMCORE_PORT};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// The host's processor, through `/dev/kvm`.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// A guest's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// `-machine`, for example `pc`.
    pub machine_type: String,
    /// `-accel`.
    pub accel: Accel,
    /// `-cpu` with its features, in QEMU's own syntax.
    pub cpu: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of CPUs.
    pub cpus: u32,
    /// bzImage.
    pub kernel: PathBuf,
    /// Its initramfs; a machine that does not boot reads none.
    pub initramfs: Option<PathBuf>,
    /// Its command line.
    pub cmdline: String,
    /// The USB host controller.
    pub usb_controller: Controller,
    /// A physical device of the host, as the value of `-device`, in place of the usb-redir device.
    pub usb_host: Option<String>,
    /// Where QEMU records the USB traffic.
    pub pcap: PathBuf,
    /// Whether QEMU confines itself with seccomp (not every build can).
    pub sandbox: bool,
    /// The file that is its memory, instead of anonymous memory.
    pub memory: Option<MemoryFile>,
    /// It waits to be told where its state comes from, instead of booting.
    pub incoming: bool,
    /// It has an IOMMU.
    pub iommu: bool,
    /// What it has for saving the guest's memory from outside.
    pub dump: DumpDevices,
}

/// A file that is a guest's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFile {
    /// The file, of the memory's size.
    pub path: PathBuf,
    /// Whether what the guest writes goes into the file; else only the guest sees it.
    pub shared: bool,
}

/// Devices for a dump that QEMU writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpDevices {
    /// The guest's kernel can say where its VMCOREINFO is, so that the dump has the note.
    pub vmcoreinfo: bool,
    /// The guest can say at this I/O port that it dies; then it is stopped, not reset.
    pub pvpanic: Option<u16>,
}

/// QEMU's ends of connected sockets, inherited by number: no names in the file system, so no two runs can
/// meet and no path can be too long for a socket's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sockets {
    /// First serial port.
    pub console: RawFd,
    /// QMP.
    pub qmp: RawFd,
    /// virtio-serial port of the agent's events.
    pub events: RawFd,
    /// virtio-serial port of the vmcore; `None` where no capture kernel writes one.
    pub vmcore: Option<RawFd>,
    /// The usb-redir device, if there is one.
    pub usb: Option<RawFd>,
}

impl Sockets {
    /// Numbers that stand for none, where the arguments are only compared or shown.
    pub(crate) fn for_show() -> Self {
        Self {
            console: 3,
            qmp: 4,
            events: 5,
            vmcore: Some(6),
            usb: Some(7),
        }
    }
}

impl Machine {
    /// All arguments, without the program's name.
    ///
    /// `-no-reboot` ends QEMU where a kernel would reset: the kexec into the capture kernel is no reset, so
    /// a reset means that the guest has lost its way, and it must not boot again.
    #[must_use]
    pub fn args(&self, sockets: &Sockets) -> Vec<OsString> {
        let mut args = Args(Vec::new());
        args.flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot");
        args.pair("-display", "none")
            .pair("-msg", "timestamp=off")
            .pair("-machine", self.machine_option())
            .pair("-accel", self.accel.to_string())
            .pair("-cpu", &self.cpu)
            .pair("-m", format!("{}M", self.memory_mib))
            .pair("-smp", self.cpus.to_string());
        if self.sandbox {
            args.pair("-sandbox", SANDBOX);
        }
        if let Some(memory) = &self.memory {
            args.memory(memory, self.memory_mib);
        }
        if self.incoming {
            args.pair("-incoming", "defer");
        }
        args.pair("-kernel", self.kernel.as_os_str());
        if let Some(initramfs) = &self.initramfs {
            args.pair("-initrd", initramfs.as_os_str());
        }
        args.pair("-append", &self.cmdline);
        if self.iommu {
            // QEMU wants it before the devices behind it.
            args.pair("-device", IOMMU);
        }
        args.socket("console", sockets.console)
            .pair("-serial", "chardev:console")
            .socket("qmp", sockets.qmp)
            .pair("-mon", "chardev=qmp,mode=control")
            .pair("-device", "virtio-serial-pci,id=ports")
            .port("events", EVENTS_PORT, sockets.events);
        if let Some(vmcore) = sockets.vmcore {
            args.port("vmcore", VMCORE_PORT, vmcore);
        }
        if self.dump.vmcoreinfo {
            args.pair("-device", "vmcoreinfo");
        }
        if let Some(port) = self.dump.pvpanic {
            args.pair("-device", format!("pvpanic,ioport={port},events=1"))
                .pair("-action", "panic=pause");
        }
        for device in self.usb_controller.devices() {
            args.pair("-device", device);
        }
        if let Some(usb) = sockets.usb {
            args.socket("usb", usb);
        }
        let device = self.usb_host.as_deref();
        let mut device = OsString::from(device.unwrap_or("usb-redir,bus=usb.0,chardev=usb"));
        device.push(",pcap=");
        device.push(escape(self.pcap.as_os_str()));
        args.pair("-device", device);
        args.0
    }

    fn machine_option(&self) -> String {
        match self.memory {
            Some(_) => format!("{},memory-backend={MEMORY_ID}", self.machine_type),
            None => self.machine_type.clone(),
        }
    }
}

/// VT-d. QEMU, docs/system/i386 and hw/i386/intel_iommu.c: only a q35 has it.
const IOMMU: &str = "intel-iommu";

/// QEMU's name of the memory.
const MEMORY_ID: &str = "memory";

/// QEMU's seccomp filter: no new processes, no new privileges.
pub(crate) const SANDBOX: &str =
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// A value inside a comma-separated option: QEMU takes a doubled comma as a comma.
#[must_use]
pub fn escape(value: &OsStr) -> OsString {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        out.push(byte);
        if byte == b',' {
            out.push(byte);
        }
    }
    OsString::from_vec(out)
}

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }
    fn pair(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.flag(name).0.push(value.as_ref().into());
        self
    }
    fn memory(&mut self, memory: &MemoryFile, mib: u32) -> &mut Self {
        let shared = if memory.shared { "on" } else { "off" };
        let mut option = OsString::from(format!(
            "memory-backend-file,id={MEMORY_ID},size={mib}M,share={shared},mem-path="
        ));
        option.push(escape(memory.path.as_os_str()));
        self.pair("-object", option)
    }
    fn socket(&mut self, id: &str, fd: RawFd) -> &mut Self {
        self.pair("-chardev", format!("socket,id={id},fd={fd}"))
    }
    fn port(&mut self, id: &str, name: &str, fd: RawFd) -> &mut Self {
        self.socket(id, fd).pair(
            "-device",
            format!("virtserialport,chardev={id},name={name}"),
        )
    }
}

/// The command line as one could type it; for people and `qemu.args`.
#[must_use]
pub fn shell_line(program: &str, args: &[OsString]) -> String {
    let mut line = program.to_owned();
    for arg in args {
        let text = arg.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
        line.push_str(if text.starts_with('-') {
            " \\\n  "
        } else {
            " "
        });
        if !text.is_empty() && text.chars().all(plain) {
            line.push_str(&text);
        } else {
            line.push_str(&format!("'{}'", text.replace('\'', r"'\''")));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: Sockets = Sockets {
        console: 10,
        qmp: 11,
        events: 12,
        vmcore: Some(13),
        usb: Some(14),
    };

    fn machine() -> Machine {
        Machine {
            machine_type: "pc".into(),
            accel: Accel::Tcg,
            cpu: "max,la57=off".into(),
            memory_mib: 512,
            cpus: 2,
            kernel: "/k/vmlinuz".into(),
            initramfs: Some("/k/initramfs".into()),
            cmdline: "console=ttyS0 panic=-1".into(),
            usb_controller: Controller::QemuXhci,
            usb_host: None,
            pcap: "usb.pcap".into(),
            sandbox: true,
            memory: None,
            incoming: false,
            iommu: false,
            dump: DumpDevices::default(),
        }
    }

    /// The values of one option, in order.
    fn check(machine: &Machine, option: &str, expected: &[&str]) {
        let args = machine.args(&SOCKETS);
        let values: Vec<_> = args
            .windows(2)
            .filter(|pair| pair[0] == option)
            .map(|pair| pair[1].to_string_lossy().into_owned())
            .collect();
        assert_eq!(values, expected, "{option}");
    }

    #[test]
    fn the_guest_gets_nothing_it_was_not_given() {
        let args = machine().args(&SOCKETS);
        assert_eq!(args[0], "-nodefaults");
        assert_eq!(args[1], "-no-user-config");
        assert!(!args.iter().any(|arg| arg.to_string_lossy().contains("net")));
    }

    #[test]
    fn kernel_and_command_line_are_passed_as_they_are() {
        let machine = Machine {
            kernel: "/with,comma/vmlinuz".into(),
            ..machine()
        };
        check(&machine, "-kernel", &["/with,comma/vmlinuz"]);
        check(&machine, "-append", &["console=ttyS0 panic=-1"]);
        check(&machine, "-accel", &["tcg"]);
        check(&machine, "-m", &["512M"]);
    }

    #[test]
    fn a_comma_in_a_path_is_doubled_inside_an_option() {
        let machine = Machine {
            pcap: "a,b/usb.pcap".into(),
            ..machine()
        };
        check(
            &machine,
            "-device",
            &[
                "virtio-serial-pci,id=ports",
                "virtserialport,chardev=events,name=org.recrash.events",
                "virtserialport,chardev=vmcore,name=org.recrash.vmcore",
                "qemu-xhci,id=usb",
                "usb-redir,bus=usb.0,chardev=usb,pcap=a,,b/usb.pcap",
            ],
        );
    }

    /// What stands for the USB: the last values of `-device`.
    fn check_usb(machine: &Machine, sockets: &Sockets, expected: &[&str]) {
        let args = machine.args(sockets);
        let values: Vec<_> = args
            .windows(2)
            .filter(|pair| pair[0] == "-device")
            .skip(3)
            .map(|pair| pair[1].to_string_lossy().into_owned())
            .collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn the_bus_of_each_controller_is_the_first_ones() {
        let machine = |usb_controller| Machine {
            usb_controller,
            ..machine()
        };
        let redir = "usb-redir,bus=usb.0,chardev=usb,pcap=usb.pcap";
        check_usb(
            &machine(Controller::Piix3UsbUhci),
            &SOCKETS,
            &["piix3-usb-uhci,id=usb", redir],
        );
        check_usb(
            &machine(Controller::Ich9UsbEhci1),
            &SOCKETS,
            &[
                "ich9-usb-ehci1,id=usb,addr=1d.7,multifunction=on",
                "ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=1d.0,multifunction=on",
                "ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=1d.1,multifunction=on",
                "ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=1d.2,multifunction=on",
                redir,
            ],
        );
    }

    #[test]
    fn a_physical_device_takes_the_place_of_ours_and_has_no_socket() {
        let machine = Machine {
            usb_host: Some("usb-host,bus=usb.0,hostbus=1,hostport=2.4".into()),
            ..machine()
        };
        let sockets = Sockets {
            usb: None,
            ..SOCKETS
        };
        check_usb(
            &machine,
            &sockets,
            &[
                "qemu-xhci,id=usb",
                "usb-host,bus=usb.0,hostbus=1,hostport=2.4,pcap=usb.pcap",
            ],
        );
        let args = machine.args(&sockets);
        assert!(
            !args
                .iter()
                .any(|arg| arg.to_string_lossy().contains("id=usb,fd"))
        );
    }

    #[test]
    fn every_channel_is_an_inherited_socket() {
        check(
            &machine(),
            "-chardev",
            &[
                "socket,id=console,fd=10",
                "socket,id=qmp,fd=11",
                "socket,id=events,fd=12",
                "socket,id=vmcore,fd=13",
                "socket,id=usb,fd=14",
            ],
        );
    }

    #[test]
    fn a_guest_that_qemu_dumps_can_say_that_it_dies_and_is_not_reset() {
        let machine = Machine {
            dump: DumpDevices {
                vmcoreinfo: true,
                pvpanic: Some(0x505),
            },
            ..machine()
        };
        let args = machine.args(&Sockets {
            vmcore: None,
            ..SOCKETS
        });
        let line = shell_line("qemu", &args);
        assert!(line.contains("-device vmcoreinfo"), "{line}");
        assert!(
            line.contains("-device pvpanic,ioport=1285,events=1"),
            "{line}"
        );
        assert!(line.contains("-action panic=pause"), "{line}");
        assert!(!line.contains(VMCORE_PORT), "{line}");
    }

    #[test]
    fn a_restored_machine_has_a_private_copy_of_the_memory_and_no_initramfs() {
        let machine = Machine {
            initramfs: None,
            memory: Some(MemoryFile {
                path: "/s,1/memory".into(),
                shared: false,
            }),
            incoming: true,
            ..machine()
        };
        check(&machine, "-machine", &["pc,memory-backend=memory"]);
        check(
            &machine,
            "-object",
            &["memory-backend-file,id=memory,size=512M,share=off,mem-path=/s,,1/memory"],
        );
        check(&machine, "-incoming", &["defer"]);
        check(&machine, "-initrd", &[]);
    }

    #[test]
    fn an_iommu_comes_before_the_devices_behind_it() {
        let machine = Machine {
            iommu: true,
            ..machine()
        };
        let args = machine.args(&SOCKETS);
        let devices: Vec<_> = args
            .windows(2)
            .filter(|pair| pair[0] == "-device")
            .collect();
        assert_eq!(devices[0][1], "intel-iommu");
        let without = Machine {
            iommu: false,
            ..machine
        };
        assert!(!shell_line("qemu", &without.args(&SOCKETS)).contains("iommu"));
    }

    #[test]
    fn a_build_without_seccomp_is_not_asked_for_it() {
        let machine = Machine {
            sandbox: false,
            ..machine()
        };
        check(&machine, "-sandbox", &[]);
    }

    #[test]
    fn the_command_line_can_be_pasted_into_a_shell() {
        let args = ["-append".into(), "a b'c".into(), "-x".into()];
        assert_eq!(
            shell_line("qemu", &args),
            "qemu \\\n  -append 'a b'\\''c' \\\n  -x\n"
        );
    }
}
