//! What the init inside the guest reports while it works: one JSON object a line.
use serde::{Deserialize, Serialize};

/// One report. `at_ms` is milliseconds since the guest's boot (CLOCK_BOOTTIME).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReport {
    /// Milliseconds since the guest's boot.
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
    Init { boot: String, release: String },
    /// A module was loaded.
    ModuleLoaded { path: String },
    /// The capture kernel lies in its reserved memory.
    CaptureKernelLoaded,
    /// The device under test is there.
    DeviceFound {
        path: String,
        bus: u32,
        device: u32,
        root_hub: String,
    },
    /// The scenario starts; nothing more is reported until it has ended or the kernel has died.
    ScenarioStarted { comm: String, cpu: u32 },
    /// A URB came back (sent after the scenario, in order).
    UrbReaped {
        step: u32,
        status: i32,
        actual_length: u32,
    },
    /// The fault code returned (sent after the scenario).
    FaultReturned { step: u32 },
    /// The scenario ended and the kernel is alive.
    ScenarioSurvived,
    /// The capture boot starts to write the vmcore.
    DumpStarted { tool: String },
    /// The vmcore and its trailer are written.
    DumpWritten { bytes: u64 },
    /// Something failed; the init powers the guest off.
    Failed { doing: String, error: String },
}
