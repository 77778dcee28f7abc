//! What each event of a run means on its time line: who, what, and the rest of it. Of events that say nothing to a
//! reader of the crash (a module was loaded) there is no mark.
use recrash_agent::event::{GuestEvent, GuestReport};
use recrash_agent::plan::Setup;
use recrash_kernel::usb::SetupPacket;
use recrash_machine::run::events::{Record, Said};
use recrash_machine::run::{HostEvent, Stage};
use serde_json::Value;

use super::clocks::{Clocks, ktime};
use super::mark;
use crate::output::{printable, size};
use crate::report::document::crash::{Lane, Mark};

/// The kernel dies.
pub(crate) const FAULT: &str = "fault: the kernel dies";
/// The module waits for its device.
pub(super) const ARMED: &str = "armed";
/// The process begins to submit URBs.
pub(super) const STARTS: &str = "scenario starts";
/// A URB that the module watches comes back.
pub(super) const COMPLETES: &str = "URB completes";

/// A request has come over the bus.
pub(super) const ASKED: &str = "URB reaches the device";

/// Characters of what a guest or a device says.
const MAX_TEXT: usize = 200;

/// The marks, in the order of the records.
pub(super) fn marks(records: &[Record], clocks: &Clocks) -> Vec<Mark> {
    let mut first_boot = true;
    let mut out = Vec::new();
    for record in records {
        match &record.said {
            Said::Host(event) => out.extend(host(event, record, clocks)),
            Said::Guest(report) => {
                if let GuestEvent::Init { boot, .. } = &report.event {
                    first_boot = boot == "first";
                }
                out.extend(guest(report, first_boot, record, clocks));
            }
            Said::Device(event) => out.extend(device(event, record, clocks)),
            Said::Module(report) => out.extend(module(report, record, clocks)),
            Said::Qmp { event, .. } if event.starts_with("GUEST_") => {
                let label = format!("QEMU: {}", short(event));
                out.push(mark(clocks.host(record), Lane::Harness, label, ""));
            }
            Said::Qmp { .. } | Said::Console(_) => {}
        }
    }
    out
}

fn host(event: &HostEvent, record: &Record, clocks: &Clocks) -> Option<Mark> {
    let at = clocks.host(record);
    let harness = |label: &str, detail: String| Some(mark(at, Lane::Harness, label, detail));
    match event {
        HostEvent::CrashSeen { line } => {
            let at = clocks.line(line, record);
            Some(mark(at, Lane::Kernel, FAULT, short(line)))
        }
        HostEvent::StageStarted { stage: Stage::Boot } => {
            Some(mark(at, Lane::Harness, "boot", "QEMU starts the kernel"))
        }
        HostEvent::GuestStopped => harness("guest stopped", "QEMU dumps its memory".into()),
        HostEvent::QemuDumpVerified { bytes, .. } => {
            harness("capture: QEMU's dump is whole", size(*bytes))
        }
        HostEvent::DumpVerified { bytes, .. } => {
            harness("capture: the vmcore is whole", size(*bytes))
        }
        HostEvent::QemuExited { how } => harness("QEMU has ended", short(how)),
        HostEvent::RecordsLeftOut { count } => harness(
            "events left out",
            format!("{count}: the guest said too much"),
        ),
        HostEvent::StageStarted { .. }
        | HostEvent::StageEnded { .. }
        | HostEvent::DumpProgress { .. }
        | HostEvent::UnreadableReport { .. } => None,
    }
}

fn guest(report: &GuestReport, first_boot: bool, record: &Record, clocks: &Clocks) -> Option<Mark> {
    // What is told at the end, in order, is told when it is told.
    let late = matches!(
        report.event,
        GuestEvent::UrbReaped { .. }
            | GuestEvent::FaultReturned { .. }
            | GuestEvent::ModuleActed { .. }
    );
    let at = if first_boot && !late {
        clocks.guest(super::ms(report.at_ms), record)
    } else {
        clocks.host(record)
    };
    let (lane, label) = match &report.event {
        GuestEvent::Init { boot, .. } if boot == "first" => (Lane::Kernel, "first process runs"),
        GuestEvent::Init { .. } => (Lane::Kernel, "capture kernel runs"),
        GuestEvent::CaptureKernelLoaded => (Lane::Kernel, "capture kernel loaded"),
        GuestEvent::DeviceFound { .. } => (Lane::Kernel, "USB device found"),
        GuestEvent::ScenarioStarted { .. } => (Lane::Program, STARTS),
        GuestEvent::UrbReaped { .. } => (Lane::Program, "URB reaped (told at the end)"),
        GuestEvent::ScenarioSurvived => (Lane::Program, "scenario ends, the kernel is alive"),
        GuestEvent::DumpStarted { .. } => (Lane::Harness, "capture begins"),
        GuestEvent::DumpWritten { .. } => (Lane::Harness, "capture written"),
        GuestEvent::Failed { .. } => (Lane::Program, "failed"),
        GuestEvent::ModuleLoaded { .. }
        | GuestEvent::CaptureLeftToHost
        | GuestEvent::Holding
        | GuestEvent::FaultReturned { .. }
        | GuestEvent::ModuleActed { .. }
        | GuestEvent::ModuleReport { .. } => return None,
    };
    Some(mark(at, lane, label, short(&report.event.to_string())))
}

fn device(event: &Value, record: &Record, clocks: &Clocks) -> Option<Mark> {
    let at = clocks.host(record);
    let asked = || {
        let setup = serde_json::from_value::<Setup>(event.get("setup")?.clone()).ok()?;
        Some(request(&setup))
    };
    let (label, detail) = match event.get("event")?.as_str()? {
        "connected" => ("plugged in".to_owned(), String::new()),
        "request" => (ASKED.into(), asked()?),
        "answer" => {
            let length = event.get("length").and_then(Value::as_u64).unwrap_or(0);
            let status = event.get("status").and_then(Value::as_str);
            let how = match status {
                Some("success") | None => String::new(),
                Some(other) => format!(", {}", short(other)),
            };
            let delayed = match event.get("delayed_ms").and_then(Value::as_u64) {
                Some(0) | None => String::new(),
                Some(ms) => format!(", {ms} ms later"),
            };
            (
                format!("URB served: {length} bytes"),
                format!("{}{how}{delayed}", asked()?),
            )
        }
        "cancelled" => ("URB taken back".into(), asked()?),
        "configured" => ("configured".into(), String::new()),
        "reset" => ("reset".into(), String::new()),
        "resumed" => ("goes on with the snapshot".into(), String::new()),
        "rejected" => ("not taken by QEMU".into(), String::new()),
        "disconnected" => ("unplugged".into(), text(event, "why")),
        "protocol-error" => ("protocol error".into(), text(event, "what")),
        _ => return None,
    };
    Some(mark(at, Lane::Device, label, detail))
}

fn request(setup: &Setup) -> String {
    let [v0, v1] = setup.value.to_le_bytes();
    let [i0, i1] = setup.index.to_le_bytes();
    let [l0, l1] = setup.length.to_le_bytes();
    let bytes = [setup.request_type, setup.request, v0, v1, i0, i1, l0, l1];
    SetupPacket::new(bytes).to_string()
}

/// repro-module's reports (`repro-module/*.c`): each is an object with `event` and `ktime_ns`.
fn module(report: &Value, record: &Record, clocks: &Clocks) -> Option<Mark> {
    let at = match ktime(report) {
        Some(ms) => clocks.guest(ms, record),
        None => clocks.host(record),
    };
    let event = report.get("event")?.as_str()?;
    let number = |name: &str| report.get(name).and_then(Value::as_i64);
    let bytes = |name: &str| number(name).map_or_else(String::new, |n| format!("{n} bytes"));
    let buffer = |name: &str| {
        let text = text(report, name);
        if text.is_empty() {
            text
        } else {
            format!("0x{text}")
        }
    };
    let in_flight = report.get("in_flight").and_then(Value::as_bool) == Some(true);
    let (lane, label, detail) = match event {
        "armed" => (Lane::Fault, ARMED.to_owned(), text(report, "fault")),
        "note" => (
            Lane::Kernel,
            format!("{COMPLETES}: {}", bytes("actual_length")),
            format!("status {}, buffer {}", number("status")?, buffer("buffer")),
        ),
        "submitted" => (
            Lane::Fault,
            "URB submitted".into(),
            format!("buffer {}, {}", buffer("buffer"), bytes("length")),
        ),
        "fire" => (Lane::Fault, "fault begins".into(), text(report, "fault")),
        "write" => (
            Lane::Fault,
            "late write".into(),
            format!("{} to {}", bytes("length"), buffer("at_dma")),
        ),
        "written" => (Lane::Fault, "late write done".into(), buffer("at_dma")),
        "fired" => (
            Lane::Fault,
            "fault done".into(),
            format!("{}, error {}", text(report, "fault"), number("error")?),
        ),
        "freed" => (
            Lane::Fault,
            if in_flight {
                "buffer freed in flight"
            } else {
                "buffer freed"
            }
            .into(),
            buffer("buffer"),
        ),
        "completed" => (
            Lane::Kernel,
            format!("{COMPLETES}: {}", bytes("actual_length")),
            format!("status {}", number("status")?),
        ),
        "cancel" => (Lane::Fault, "URB is cancelled".into(), String::new()),
        "cancelled" => (
            Lane::Fault,
            "URB cancelled".into(),
            format!("status {}", number("status")?),
        ),
        "allocated" => (
            Lane::Fault,
            "allocation by somebody else".into(),
            format!("{} of {} bytes", number("objects")?, number("size")?),
        ),
        "victim" => (
            Lane::Fault,
            "a structure takes the freed buffer".into(),
            buffer("object"),
        ),
        "follow" => (
            Lane::Fault,
            "its pointer is followed".into(),
            buffer("object"),
        ),
        "stop" => (
            Lane::Fault,
            "QEMU is told to stop".into(),
            text(report, "why"),
        ),
        "act" => (Lane::Fault, "act".into(), text(report, "act")),
        "blocked" => (Lane::Fault, "fault blocked".into(), text(report, "why")),
        "acted" | "nothing-done" => return None,
        other => (Lane::Fault, short(other), String::new()),
    };
    Some(mark(at, lane, label, detail))
}

fn text(object: &Value, name: &str) -> String {
    let text = object.get(name).and_then(Value::as_str);
    text.map(short).unwrap_or_default()
}

/// What a guest says, without control characters and not longer than a line.
fn short(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
