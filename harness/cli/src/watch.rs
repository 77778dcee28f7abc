//! Shows a run's records as progress: stages, the console, how much of the vmcore has come. Keeps nothing.
use recrash_machine::run::{HostEvent, Record, Said, Stage};

use crate::output;
use crate::progress::Progress;

/// Shows one record.
pub(crate) fn show(progress: &Progress, record: &Record) {
    match &record.said {
        Said::Host(event) => host(progress, event),
        Said::Console(line) => progress.console(line),
        // They are kept in the run's events; on a terminal they would only flicker by.
        Said::Guest(_) | Said::Device(_) | Said::Module(_) | Said::Qmp { .. } => {}
    }
}

fn host(progress: &Progress, event: &HostEvent) {
    match event {
        HostEvent::StageStarted { stage } => {
            progress.named_stage(&stage.to_string(), title(*stage))
        }
        HostEvent::StageEnded { .. } => progress.end(),
        HostEvent::CrashSeen { line } => progress.detail(line),
        HostEvent::DumpProgress { bytes } => progress.bytes(*bytes),
        HostEvent::DumpVerified { bytes, .. } | HostEvent::QemuDumpVerified { bytes, .. } => {
            progress.detail(&format!("{}, whole", output::size(*bytes)));
        }
        HostEvent::GuestStopped
        | HostEvent::QemuExited { .. }
        | HostEvent::UnreadableReport { .. }
        | HostEvent::RecordsLeftOut { .. } => {}
    }
}

/// The stage in words.
fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "prepare",
        Stage::StartQemu => "start QEMU",
        Stage::Boot => "boot the kernel",
        Stage::Modules => "load modules",
        Stage::Device => "wait for the USB device",
        Stage::Snapshot => "save the guest",
        Stage::Restore => "restore the guest",
        Stage::Scenario => "play the scenario",
        Stage::Stop => "stop the guest",
        Stage::QemuDump => "have QEMU write its dump",
        Stage::CaptureBoot => "boot the capture kernel",
        Stage::Dump => "write the vmcore",
        Stage::Shutdown => "shut down",
    }
}
