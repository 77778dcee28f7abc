//! `usb`: the devices that were present, as a tree; the requests (URBs) in flight; those of programs (usbfs).
use std::collections::BTreeMap;

use recrash_kernel::usb::{self, Async, AsyncState, Urb, UrbPlace, UsbDevice};
use recrash_vmcore::VirtAddr;
use serde::Serialize;

use super::super::Outcome;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use crate::failure::Failure;
use crate::output;

/// Shows the USB devices that were present, or the requests in flight.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// devices (default), urbs, or asyncs (requests of programs through usbfs)
    #[arg(value_name = "WHAT", default_value = "devices")]
    what: String,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        match self.what.to_ascii_lowercase().as_str() {
            "devices" => {
                let (devices, gaps) = usb::devices(kernel).map_err(|why| session.nothing(why))?;
                let mut missing: Vec<String> = gaps.iter().map(ToString::to_string).collect();
                for device in &devices {
                    let of = |why| format!("{}: {why}", device.name);
                    missing.extend(device.missing.iter().map(of));
                }
                session.show(&devices_of(&devices), &missing)
            }
            "urbs" => {
                let (urbs, gaps) = usb::urbs(kernel).map_err(|why| session.nothing(why))?;
                let mut missing: Vec<String> = gaps.iter().map(ToString::to_string).collect();
                for urb in &urbs {
                    let of = |why| format!("URB at {}: {why}", urb.at);
                    missing.extend(urb.missing.iter().map(of));
                }
                let urbs = urbs.iter().map(request).collect();
                session.show(&Urbs { urbs }, &missing)
            }
            "asyncs" => {
                let (asyncs, gaps) = usb::asyncs(kernel).map_err(|why| session.nothing(why))?;
                let mut missing: Vec<String> = gaps.iter().map(ToString::to_string).collect();
                for found in &asyncs {
                    let of = |why| format!("async at {}: {why}", found.at);
                    missing.extend(found.missing.iter().map(of));
                }
                let asyncs = asyncs.iter().map(of_program).collect();
                session.show(&Asyncs { asyncs }, &missing)
            }
            other => Err(
                Failure::usage(anyhow::anyhow!("{other:?} is nothing to show"))
                    .hint("expected devices, urbs, or asyncs"),
            ),
        }
    }
}

#[derive(Debug, Serialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
struct Device {
    /// As in sysfs: `usb1`, `1-4.2`.
    name: String,
    /// Address of its `struct usb_device`.
    usb_device: Hex,
    parent: Option<Hex>,
    bus: u64,
    number: Option<u64>,
    vendor: u16,
    product: u16,
    speed: Option<String>,
    state: Option<String>,
    strings: BTreeMap<&'static str, String>,
    /// As on the wire.
    device_descriptor: String,
    configurations: Vec<String>,
    active_configuration: Option<u8>,
    bos: Option<String>,
    /// Hubs between it and the root hub, plus one.
    #[serde(skip)]
    depth: usize,
}

fn devices_of(devices: &[UsbDevice]) -> Devices {
    let mut rows: Vec<Device> = Vec::new();
    for device in devices {
        // Hubs come before what is plugged into them.
        let parent = device.parent.map(Hex::from);
        let hub = rows.iter().find(|row| Some(row.usb_device) == parent);
        let depth = hub.map_or(0, |hub| hub.depth.saturating_add(1));
        rows.push(row(device, depth));
    }
    Devices { devices: rows }
}

fn row(device: &UsbDevice, depth: usize) -> Device {
    Device {
        name: device.name.clone(),
        usb_device: device.at.into(),
        parent: device.parent.map(Hex::from),
        bus: device.bus,
        number: device.number,
        vendor: device.vendor,
        product: device.product_id,
        speed: device.speed.as_deref().map(without("USB_SPEED_")),
        state: device.state.as_deref().map(without("USB_STATE_")),
        strings: device
            .strings
            .iter()
            .map(|(kind, text)| (string_key(kind.label()), text.clone()))
            .collect(),
        device_descriptor: output::bytes(&device.device_descriptor),
        configurations: device.configurations.iter().map(output::bytes).collect(),
        active_configuration: device.active_configuration,
        bos: device.bos.as_deref().map(output::bytes),
        depth,
    }
}

/// `serial number string`, as the library says it, in one word.
fn string_key(label: &'static str) -> &'static str {
    label.split(' ').next().unwrap_or(label)
}

/// A status as C names it, where it is one that the USB stack gives (Documentation/driver-api/usb/error-codes.rst).
fn status(number: i32) -> String {
    let name = match number {
        0 => "0",
        -2 => "ENOENT",
        -18 => "EXDEV",
        -19 => "ENODEV",
        -32 => "EPIPE",
        -62 => "ETIME",
        -63 => "ENOSR",
        -70 => "ECOMM",
        -71 => "EPROTO",
        -75 => "EOVERFLOW",
        -84 => "EILSEQ",
        -104 => "ECONNRESET",
        -108 => "ESHUTDOWN",
        -110 => "ETIMEDOUT",
        -115 => "EINPROGRESS",
        -121 => "EREMOTEIO",
        _ => "",
    };
    match name {
        "" | "0" => number.to_string(),
        name => format!("{number} (-{name})"),
    }
}

fn without(prefix: &'static str) -> impl Fn(&str) -> String {
    move |name| {
        name.strip_prefix(prefix)
            .unwrap_or(name)
            .to_ascii_lowercase()
    }
}

impl Reply for Devices {
    const KIND: &'static str = "usb";

    fn text(&self) -> String {
        let mut text =
            String::from("USB_DEVICE        BUS DEV  ID         SPEED  STATE        NAME\n");
        for device in &self.devices {
            text.push_str(&device_line(device));
        }
        text
    }
}

fn device_line(device: &Device) -> String {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
    let number = device
        .number
        .map_or_else(|| "?".into(), |number| number.to_string());
    let indent = "  ".repeat(device.depth);
    let mut line = format!(
        "{:16x}  {:>3} {number:>3}  {:04x}:{:04x}  {:<6} {:<12} {indent}{}\n",
        device.usb_device.0,
        device.bus,
        device.vendor,
        device.product,
        clean(&or(&device.speed)),
        clean(&or(&device.state)),
        clean(&device.name)
    );
    for (kind, text) in &device.strings {
        line.push_str(&format!(
            "{}{kind:<12}  {:?}\n",
            " ".repeat(56 + indent.len()),
            clean(text)
        ));
    }
    line
}

#[derive(Debug, Serialize)]
struct Urbs {
    urbs: Vec<Request>,
}

#[derive(Debug, Serialize)]
struct Request {
    urb: Hex,
    device: String,
    /// `endpoint`: the controller may still write into its buffer; `given back`: its completion has not run.
    place: &'static str,
    pipe: String,
    endpoint: u8,
    /// To the machine.
    input: bool,
    status: i32,
    unlinked: i32,
    flags: Hex,
    buffer: Hex,
    dma: Hex,
    length: u32,
    actual_length: u32,
    scatter: u32,
    packets: u32,
    setup: Option<String>,
    complete: Hex,
    complete_symbol: Option<String>,
    context: Hex,
}

fn request(urb: &Urb) -> Request {
    Request {
        urb: urb.at.into(),
        device: urb.device.clone(),
        place: match urb.place {
            UrbPlace::Endpoint => "endpoint",
            UrbPlace::GivenBack => "given back",
            UrbPlace::Idle => "idle",
        },
        pipe: urb.pipe.to_string(),
        endpoint: urb.pipe.endpoint(),
        input: urb.pipe.is_in(),
        status: urb.status,
        unlinked: urb.unlinked,
        flags: Hex(urb.flags.into()),
        buffer: urb.buffer.into(),
        dma: Hex(urb.dma),
        length: urb.length,
        actual_length: urb.actual_length,
        scatter: urb.scatter,
        packets: urb.packets,
        setup: urb.setup.map(|setup| setup.to_string()),
        complete: urb.complete.into(),
        complete_symbol: urb.complete_name.as_ref().map(ToString::to_string),
        context: urb.context.into(),
    }
}

impl Reply for Urbs {
    const KIND: &'static str = "usb-urbs";

    fn text(&self) -> String {
        let header = "URB               DEVICE    STATUS               BUFFER            LENGTH  ACTUAL  PIPE\n";
        let lines: String = self.urbs.iter().map(request_line).collect();
        match lines.as_str() {
            "" => format!("{header}  (none in flight)\n"),
            lines => format!("{header}{lines}"),
        }
    }
}

fn request_line(urb: &Request) -> String {
    let mut line = format!(
        "{:16x}  {:<8}  {:<19}  {:16x}  {:>6}  {:>6}  {}{}\n",
        urb.urb.0,
        clean(&urb.device),
        status(urb.status),
        urb.buffer.0,
        urb.length,
        urb.actual_length,
        clean(&urb.pipe),
        match urb.place {
            // All are, but those that the controller is done with.
            "endpoint" => "",
            _ => "  (given back, completion has not run)",
        }
    );
    if let Some(setup) = &urb.setup {
        line.push_str(&format!("                  setup: {}\n", clean(setup)));
    }
    let name = urb
        .complete_symbol
        .as_deref()
        .map_or_else(|| "?".into(), clean);
    line.push_str(&format!(
        "                  completes with {name} ({:x}), context {:x}\n",
        urb.complete.0, urb.context.0
    ));
    line
}

#[derive(Debug, Serialize)]
struct Asyncs {
    asyncs: Vec<OfProgram>,
}

#[derive(Debug, Serialize)]
struct OfProgram {
    #[serde(rename = "async")]
    at: Hex,
    device: String,
    /// `pending` or `completed`.
    state: &'static str,
    pid: Option<i32>,
    uid: Option<u32>,
    user_urb: Hex,
    user_buffer: Hex,
    memory: u64,
    status: i32,
    urb: Option<Request>,
}

fn of_program(found: &Async) -> OfProgram {
    OfProgram {
        at: found.at.into(),
        device: found.device.clone(),
        state: match found.state {
            AsyncState::Pending => "pending",
            AsyncState::Completed => "completed",
        },
        pid: found.pid,
        uid: found.uid,
        user_urb: found.user_urb.into(),
        user_buffer: found.user_buffer.into(),
        memory: found.memory,
        status: found.status,
        urb: found.urb.as_ref().map(request),
    }
}

impl Reply for Asyncs {
    const KIND: &'static str = "usb-asyncs";

    fn text(&self) -> String {
        let header = "ASYNC             DEVICE        PID  STATE      STATUS               USER URB          URB\n";
        let lines: String = self.asyncs.iter().map(async_line).collect();
        match lines.as_str() {
            "" => format!("{header}  (none)\n"),
            lines => format!("{header}{lines}"),
        }
    }
}

fn async_line(found: &OfProgram) -> String {
    let pid = found.pid.map_or_else(|| "?".into(), |pid| pid.to_string());
    let urb = found
        .urb
        .as_ref()
        .map_or(VirtAddr(0), |urb| VirtAddr(urb.urb.0));
    let mut line = format!(
        "{:16x}  {:<8} {pid:>8}  {:<9}  {:<19}  {:16x}  {:x}\n",
        found.at.0,
        clean(&found.device),
        found.state,
        status(found.status),
        found.user_urb.0,
        urb.0
    );
    if let Some(urb) = &found.urb {
        line.push_str(&format!("  {}", request_line(urb)));
    }
    line
}
