//! What the init inside the guest reports while it works: one JSON object a line.
use serde::{Deserialize, Serialize};
use std::fmt;

/// One report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReport {
    /// Milliseconds since this boot's kernel started (`CLOCK_BOOTTIME`).
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: GuestEvent,
}

/// What can happen inside the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum GuestEvent {
    /// The init runs; first event of either boot.
    Init {
        /// `first` or `capture`.
        boot: String,
        /// `uname -r`.
        release: String,
    },
    /// A module was loaded.
    ModuleLoaded {
        /// Its path inside the initramfs.
        path: String,
    },
    /// The capture kernel lies in its reserved memory.
    CaptureKernelLoaded,
    /// There is no capture kernel: the host saves the memory.
    CaptureLeftToHost,
    /// The device under test is there.
    DeviceFound {
        /// Its folder in sysfs.
        path: String,
        /// Bus number.
        bus: u32,
        /// Device number on the bus.
        device: u32,
        /// The bus's root hub, for example `usb1`.
        root_hub: String,
    },
    /// Everything is ready, and the scenario waits for [`crate::GO_LINE`].
    Holding,
    /// The scenario starts; nothing more is reported until it has ended or the kernel has died.
    ScenarioStarted {
        /// Process name.
        comm: String,
        /// CPU that the process is bound to.
        cpu: u32,
    },
    /// A URB came back (sent after the scenario, in order).
    UrbReaped {
        /// Index of the step, from 0.
        step: u32,
        /// `usbdevfs_urb.status`: 0 or a negative errno.
        status: i32,
        /// Bytes that the device sent.
        actual_length: u32,
    },
    /// The fault code returned without an error (sent after the scenario).
    FaultReturned {
        /// Index of the step, from 0.
        step: u32,
    },
    /// The module did what a step asked of it (sent after the scenario).
    ModuleActed {
        /// Index of the step, from 0.
        step: u32,
    },
    /// The scenario ended and the kernel is alive.
    ScenarioSurvived,
    /// A report of repro-module, read from the kernel log after [`GuestEvent::ScenarioSurvived`].
    /// Where the kernel died, the same reports are on the console, behind [`crate::MODULE_LINE`].
    ModuleReport {
        /// The JSON object as the module wrote it.
        report: serde_json::Value,
    },
    /// The kernel, which survived, is now made to die, because a dump of it was asked for. What follows is no crash.
    DyingAsAsked,
    /// The capture boot starts to write the vmcore. Comes a second time, with another tool, if the
    /// first tool failed before it wrote a byte.
    DumpStarted {
        /// `makedumpfile` or `elf-copy`.
        tool: String,
    },
    /// The vmcore and its trailer are written.
    DumpWritten {
        /// Length of the vmcore without its trailer.
        bytes: u64,
    },
    /// Something failed; the init powers the guest off.
    Failed {
        /// What the init was doing.
        doing: String,
        /// Why that failed.
        error: String,
    },
}

impl fmt::Display for GuestEvent {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init { boot, release } => write!(f, "init of the {boot} boot, kernel {release}"),
            Self::ModuleLoaded { path } => write!(f, "loaded {path}"),
            Self::CaptureKernelLoaded => f.write_str("capture kernel loaded"),
            Self::CaptureLeftToHost => f.write_str("the host saves the memory"),
            Self::DeviceFound {
                path,
                bus,
                device,
                root_hub,
            } => write!(
                f,
                "device {path} is bus {bus} device {device}, root hub {root_hub}"
            ),
            Self::Holding => f.write_str("ready; waiting for the host to let the scenario go"),
            Self::ScenarioStarted { comm, cpu } => {
                write!(f, "scenario starts: {comm} on CPU {cpu}")
            }
            Self::UrbReaped {
                step,
                status,
                actual_length,
            } => write!(f, "step {step}: URB status {status}, {actual_length} bytes"),
            Self::FaultReturned { step } => write!(f, "step {step}: the fault code returned"),
            Self::ModuleActed { step } => write!(f, "step {step}: the module did it"),
            Self::ScenarioSurvived => f.write_str("the kernel survived the scenario"),
            Self::ModuleReport { report } => write!(f, "module: {report}"),
            Self::DyingAsAsked => f.write_str("making the kernel die, as asked, for its dump"),
            Self::DumpStarted { tool } => write!(f, "writing the vmcore with {tool}"),
            Self::DumpWritten { bytes } => write!(f, "vmcore written: {bytes} bytes"),
            Self::Failed { doing, error } => write!(f, "failed: {doing}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(event: GuestEvent, json: &str) {
        let report = GuestReport { at_ms: 7, event };
        assert_eq!(serde_json::to_string(&report).unwrap(), json);
        assert_eq!(serde_json::from_str::<GuestReport>(json).unwrap(), report);
    }

    #[test]
    fn an_event_without_fields_is_its_name() {
        check(
            GuestEvent::ScenarioSurvived,
            r#"{"at_ms":7,"event":"scenario-survived"}"#,
        );
    }

    #[test]
    fn fields_lie_beside_the_name() {
        check(
            GuestEvent::UrbReaped {
                step: 2,
                status: -32,
                actual_length: 0,
            },
            r#"{"at_ms":7,"event":"urb-reaped","step":2,"status":-32,"actual_length":0}"#,
        );
    }

    #[test]
    fn a_module_report_keeps_its_own_object() {
        check(
            GuestEvent::ModuleReport {
                report: serde_json::json!({"event": "write", "length": 160}),
            },
            r#"{"at_ms":7,"event":"module-report","report":{"event":"write","length":160}}"#,
        );
    }

    #[test]
    fn an_unknown_event_is_an_error() {
        assert!(serde_json::from_str::<GuestReport>(r#"{"at_ms":7,"event":"danced"}"#).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_from_a_guest_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = serde_json::from_slice::<GuestReport>(&bytes);
        }

        #[test]
        fn any_failure_survives_the_way_to_the_host(doing: String, error: String) {
            let report = GuestReport { at_ms: 0, event: GuestEvent::Failed { doing, error } };
            let line = serde_json::to_string(&report).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<GuestReport>(&line).unwrap(), report);
        }
    }
}
