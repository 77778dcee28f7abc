//! What the init inside the guest is told to do. Written by the host into the initramfs as JSON.
use serde::{Deserialize, Serialize};

/// The whole plan of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Kernel modules to load, in order, as absolute paths inside the initramfs.
    pub modules: Vec<ModuleToLoad>,
    /// What this boot is for.
    pub boot: Boot,
}

/// A kernel module and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleToLoad {
    /// Absolute path inside the initramfs.
    pub path: String,
    /// Parameter string as given to `finit_module(2)`, for example `fault=none vid=0x46f4`.
    #[serde(default)]
    pub params: String,
}

/// The two boots that an init serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Boot {
    /// Loads the capture kernel, then plays the scenario.
    First {
        /// The capture kernel to load with `kexec_file_load(2)`; `None` where the host saves the memory.
        capture: Option<CaptureKernel>,
        /// What user space does.
        scenario: Box<Scenario>,
        /// Which USB device the scenario is about.
        device: DeviceId,
        /// Whether to hold right before the scenario until the host says [`crate::GO_LINE`]: there a snapshot is taken.
        #[serde(default)]
        hold: bool,
        /// Whether the kernel is made to die once the scenario has ended, so that there is a dump of one that survived.
        #[serde(default)]
        dump_at_end: bool,
    },
    /// Writes `/proc/vmcore` to the vmcore port.
    Capture {
        /// How makedumpfile is run, where the target brings it.
        makedumpfile: Option<Makedumpfile>,
    },
}

/// How makedumpfile is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Makedumpfile {
    /// Its path inside the initramfs.
    pub path: String,
    /// How it compresses pages.
    pub compression: Compression,
    /// `-d`: which pages it leaves out, 0 to 31.
    pub level: u8,
    /// Where it fails the boot fails, instead of copying the vmcore as it is.
    pub strict: bool,
}

/// How the pages of a dump are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// zlib.
    Zlib,
    /// LZO1X.
    Lzo,
    /// snappy.
    Snappy,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Zlib, Self::Lzo, Self::Snappy, Self::Zstd];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Lzo => "lzo",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }
}

/// Files inside the first initramfs that make up the capture kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureKernel {
    /// bzImage.
    pub kernel: String,
    /// Its initramfs.
    pub initramfs: String,
    /// Its command line.
    pub cmdline: String,
}

/// idVendor and idProduct of the device under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceId {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
}

/// What user space does: `qemu/scenarios/*.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for people.
    pub summary: String,
    /// Process name (`task_struct.comm`), at most 15 bytes.
    pub comm: String,
    /// CPU that the process is bound to.
    pub cpu: u32,
    /// The fault used unless the command line names another.
    pub fault: String,
    /// The device that it is written for, a file in `qemu/devices` without `.toml`; without it the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The golden that its crash is compared with; without it the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<String>,
    /// What the target's kernel must be like for the fault to do harm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Property>,
    /// What happens, in order.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// `USBDEVFS_SUBMITURB` of a control URB, then `USBDEVFS_REAPURB`.
    Urb {
        /// Where it goes.
        to: UrbTarget,
        /// The setup packet.
        setup: Setup,
    },
    /// repro-module's fault fires.
    Fault,
    /// repro-module does something else, the same with and without a fault.
    Module {
        /// What.
        act: Act,
    },
}

/// What repro-module can do besides its fault (`acts[]` in repro-module/core.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// A structure with a pointer as its first member takes the place of the buffer that was freed last.
    TakeVictim,
    /// The kernel follows that pointer.
    FollowVictim,
    /// The freed buffer's slab goes to a partial list.
    ParkSlab,
    /// It becomes the CPU's slab again.
    UnparkSlab,
    /// A kernel worker on the scenario's CPU allocates objects of the buffer's cache.
    WorkerAllocates,
}

impl Act {
    /// The word that the module knows it by, which is also how a scenario writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TakeVictim => "take-victim",
            Self::FollowVictim => "follow-victim",
            Self::ParkSlab => "park-slab",
            Self::UnparkSlab => "unpark-slab",
            Self::WorkerAllocates => "worker-allocates",
        }
    }
}

/// What a target's kernel can be like, as far as a scenario's harm depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// The next-free pointer lies at the start of a free object, as before Linux 5.7: what is shorter than half the
    /// object reaches it only there.
    #[serde(rename = "freelist-offset-0")]
    FreelistAtStart,
}

impl std::fmt::Display for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FreelistAtStart => "freelist-offset-0",
        })
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UrbTarget {
    /// The device under test.
    Device,
    /// The root hub of the bus that the device is on.
    RootHub,
}

/// Setup packet of a control transfer (USB 2.0, 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// bmRequestType.
    pub request_type: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength, in bytes.
    pub length: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plan: &Plan) {
        let json = serde_json::to_string(plan).unwrap();
        assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn a_first_boot_survives_the_way_to_the_guest() {
        check(&Plan {
            modules: vec![ModuleToLoad {
                path: "/m/repro.ko".into(),
                params: "fault=none".into(),
            }],
            boot: Boot::First {
                capture: Some(CaptureKernel {
                    kernel: "/k".into(),
                    initramfs: "/i".into(),
                    cmdline: "irqpoll".into(),
                }),
                scenario: Box::new(Scenario {
                    summary: "s".into(),
                    comm: "c".into(),
                    cpu: 1,
                    fault: "none".into(),
                    device: Some("d".into()),
                    golden: None,
                    needs: vec![Property::FreelistAtStart],
                    steps: vec![
                        Step::Urb {
                            to: UrbTarget::RootHub,
                            setup: Setup {
                                request_type: 0x80,
                                request: 6,
                                value: 0x0302,
                                index: 0x0409,
                                length: 254,
                            },
                        },
                        Step::Fault,
                        Step::Module {
                            act: Act::FollowVictim,
                        },
                    ],
                }),
                device: DeviceId {
                    vendor: 0x46f4,
                    product: 1,
                },
                hold: true,
                dump_at_end: true,
            },
        });
    }

    #[test]
    fn a_capture_boot_survives_the_way_to_the_guest() {
        check(&Plan {
            modules: Vec::new(),
            boot: Boot::Capture {
                makedumpfile: Some(Makedumpfile {
                    path: "/bin/makedumpfile".into(),
                    compression: Compression::Snappy,
                    level: 31,
                    strict: true,
                }),
            },
        });
    }

    #[test]
    fn the_modules_words_are_the_scenarios() {
        for act in [
            Act::TakeVictim,
            Act::FollowVictim,
            Act::ParkSlab,
            Act::UnparkSlab,
            Act::WorkerAllocates,
        ] {
            assert_eq!(serde_json::to_value(act).unwrap(), act.word());
        }
        let needs = Property::FreelistAtStart;
        assert_eq!(serde_json::to_value(needs).unwrap(), needs.to_string());
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let json = r#"{"modules":[],"boot":{"kind":"capture","makedumpfil":null}}"#;
        assert!(serde_json::from_str::<Plan>(json).is_err());
    }
}
