//! One connection of the device to QEMU: what is said in which order, which transfers are pending, and until when.
//! Sans I/O: bytes and the time go in, bytes, events and a deadline come out.
use super::codec::{Codec, Found};
use super::descriptor::{self, CONFIGURATION, Reply};
use super::device::{Device, Endpoint, EndpointKind, Speed};
use super::event::DeviceEvent;
use super::packet::{Body, Caps, Packet, Status};
use recrash_agent::plan::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Transfers that may be pending at once; more are answered with an I/O error.
const MOST_PENDING: usize = 256;
/// Bytes of an answer that its event shows.
const SHOWN: usize = 512;

/// A transfer that has been asked for and not answered.
#[derive(Debug)]
struct Pending {
    /// When it is answered; `None`: only when cancelled.
    due: Option<Duration>,
    delay_ms: u64,
    request: Packet,
    status: Status,
    data: Vec<u8>,
}

/// What a connection with nothing on its way is, kept with a snapshot of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// What QEMU's hello had.
    peer: Caps,
    /// The configuration that the guest chose.
    configuration: u8,
    /// How often each rule's request came.
    matched: Vec<u64>,
}

/// The state of one connection. Times are since any fixed moment.
#[derive(Debug)]
pub struct Session {
    device: Arc<Device>,
    codec: Codec,
    /// How often each rule's request came.
    matched: Vec<u64>,
    configuration: u8,
    pending: Vec<Pending>,
    out: Vec<u8>,
    events: VecDeque<DeviceEvent>,
    over: Option<String>,
}

impl Session {
    /// A connection just opened; our hello is in the output.
    pub fn new(device: Arc<Device>) -> Self {
        let mut session = Self {
            matched: vec![0; device.rules.len()],
            device,
            codec: Codec::new(Caps::OURS),
            configuration: 0,
            pending: Vec::new(),
            out: Vec::new(),
            events: VecDeque::from([DeviceEvent::Connected]),
            over: None,
        };
        let version = concat!("recrash ", env!("CARGO_PKG_VERSION"));
        session.send(&Packet::hello(version, Caps::OURS));
        session
    }

    /// A connection that a guest restored from a snapshot goes on with: QEMU says no hello and expects none, and holds
    /// the device for what it was then.
    pub fn resume(device: Arc<Device>, state: &DeviceState) -> Self {
        let mut matched = state.matched.clone();
        matched.resize(device.rules.len(), 0);
        Self {
            matched,
            device,
            codec: Codec::resumed(Caps::OURS, state.peer),
            configuration: state.configuration,
            pending: Vec::new(),
            out: Vec::new(),
            events: VecDeque::from([DeviceEvent::Resumed {
                configuration: state.configuration,
            }]),
            over: None,
        }
    }

    /// What [`Session::resume`] needs; `None` while a transfer or a part of a packet is on its way, or before the hello.
    pub fn state(&self) -> Option<DeviceState> {
        let idle = self.pending.is_empty() && self.out.is_empty() && self.codec.buffered() == 0;
        Some(DeviceState {
            peer: self.codec.peer()?,
            configuration: self.configuration,
            matched: self.matched.clone(),
        })
        .filter(|_| idle && self.over.is_none())
    }

    /// Takes received bytes. Give it small pieces (some KiB) and take the output after each, so that a peer that
    /// asks much and reads nothing costs no memory.
    pub fn on_bytes(&mut self, now: Duration, bytes: &[u8]) {
        if self.over.is_some() {
            return;
        }
        self.codec.feed(bytes);
        while self.over.is_none() {
            match self.codec.take() {
                Ok(None) => break,
                Ok(Some(Found::Packet(packet))) => self.on_packet(now, packet),
                Ok(Some(Found::Unknown { kind, length })) => self.protocol_error(format!(
                    "packet of unknown type {kind} and {length} bytes, passed over"
                )),
                Err(error) => {
                    self.protocol_error(error.to_string());
                    self.over = Some(error.to_string());
                }
            }
        }
        self.on_time(now);
    }

    /// Answers what is due.
    pub fn on_time(&mut self, now: Duration) {
        let due = |pending: &mut Pending| pending.due.is_some_and(|due| due <= now);
        let mut ready: Vec<Pending> = self.pending.extract_if(.., due).collect();
        ready.sort_by_key(|pending| pending.due);
        for pending in ready {
            self.complete(pending);
        }
    }

    /// When [`Session::on_time`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.pending.iter().filter_map(|pending| pending.due).min()
    }

    /// Bytes to send.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<DeviceEvent> {
        self.events.drain(..).collect()
    }

    /// Why no more can be said, if so.
    pub fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// Takes the device away: pending transfers end as cancelled, then the guest is told.
    pub fn unplug(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.cancel(pending);
        }
        self.send(&Packet::new(0, Body::DeviceDisconnect {}));
    }

    fn send(&mut self, packet: &Packet) {
        self.codec.encode(packet, &mut self.out);
    }

    fn protocol_error(&mut self, what: String) {
        self.events.push_back(DeviceEvent::ProtocolError { what });
    }

    fn on_packet(&mut self, now: Duration, packet: Packet) {
        let id = packet.id;
        let reply = |body| Packet::new(id, body);
        let inval = Status::Inval as u8;
        match packet.body {
            Body::Hello { version } => {
                let text = version.split(|byte| *byte == 0).next().unwrap_or_default();
                let version = String::from_utf8_lossy(text).into_owned();
                self.events.push_back(DeviceEvent::Hello { version });
                self.connect();
            }
            Body::Reset {} => self.reset(),
            Body::SetConfiguration { configuration } => self.set_configuration(id, configuration),
            Body::GetConfiguration {} => self.send(&reply(Body::ConfigurationStatus {
                status: Status::Success as u8,
                configuration: self.configuration,
            })),
            Body::SetAltSetting { interface, alt } => self.alt_setting(id, interface, alt),
            Body::GetAltSetting { interface } => self.alt_setting(id, interface, 0),
            Body::CancelDataPacket {} => {
                if let Some(at) = self.pending.iter().position(|one| one.request.id == id) {
                    let pending = self.pending.remove(at);
                    self.cancel(pending);
                }
            }
            Body::FilterReject {} => self.events.push_back(DeviceEvent::Rejected),
            // The guest's filter is for hosts that choose among devices; we have one.
            Body::FilterFilter {} | Body::DeviceDisconnectAck {} => {}
            Body::StartInterruptReceiving { endpoint }
            | Body::StopInterruptReceiving { endpoint } => {
                let status = match self.endpoint(endpoint, EndpointKind::Interrupt) {
                    Some(_) if endpoint & 0x80 != 0 => Status::Success,
                    _ => Status::Inval,
                } as u8;
                self.send(&reply(Body::InterruptReceivingStatus { status, endpoint }));
            }
            Body::StartIsoStream { endpoint, .. } | Body::StopIsoStream { endpoint } => {
                self.send(&reply(Body::IsoStreamStatus {
                    status: inval,
                    endpoint,
                }));
            }
            Body::AllocBulkStreams { endpoints, streams } => {
                self.send(&reply(Body::BulkStreamsStatus {
                    endpoints,
                    streams,
                    status: inval,
                }));
            }
            Body::FreeBulkStreams { endpoints } => self.send(&reply(Body::BulkStreamsStatus {
                endpoints,
                streams: 0,
                status: inval,
            })),
            Body::StartBulkReceiving {
                stream, endpoint, ..
            }
            | Body::StopBulkReceiving { stream, endpoint } => {
                self.send(&reply(Body::BulkReceivingStatus {
                    stream,
                    endpoint,
                    status: inval,
                }));
            }
            Body::Control { .. } => self.on_control(now, packet),
            Body::Bulk { endpoint, .. } => {
                let status = match self.endpoint(endpoint, EndpointKind::Bulk) {
                    Some(_) => Status::Stall,
                    None => Status::Inval,
                };
                self.answer(&packet, status, Vec::new());
            }
            Body::Interrupt { endpoint, .. } => {
                let status = match self.endpoint(endpoint, EndpointKind::Interrupt) {
                    Some(_) if endpoint & 0x80 == 0 => Status::Success,
                    _ => Status::Inval,
                };
                self.answer(&packet, status, Vec::new());
            }
            Body::Iso { .. } => self.answer(&packet, Status::Inval, Vec::new()),
            Body::DeviceConnect { .. }
            | Body::DeviceDisconnect {}
            | Body::InterfaceInfo { .. }
            | Body::EpInfo { .. }
            | Body::ConfigurationStatus { .. }
            | Body::AltSettingStatus { .. }
            | Body::IsoStreamStatus { .. }
            | Body::InterruptReceivingStatus { .. }
            | Body::BulkStreamsStatus { .. }
            | Body::BulkReceivingStatus { .. } => {
                let kind = packet.body.kind();
                self.protocol_error(format!("packet of type {kind}, which only a host sends"));
            }
        }
    }

    /// The order is QEMU's need: it checks interfaces and endpoints when the device connects.
    fn connect(&mut self) {
        let device = Arc::clone(&self.device);
        self.send_layout();
        self.send(&Packet::new(
            0,
            Body::DeviceConnect {
                speed: match device.speed {
                    Speed::Full => 1,
                    Speed::High => 2,
                    Speed::Super => 3,
                },
                class: device.class,
                subclass: device.subclass,
                protocol: device.protocol,
                vendor: device.vendor,
                product: device.product,
                version: device.version,
            },
        ));
    }

    /// interface_info and ep_info.
    fn send_layout(&mut self) {
        let device = Arc::clone(&self.device);
        let (mut number, mut class, mut subclass, mut protocol) =
            ([0; 32], [0; 32], [0; 32], [0; 32]);
        let (mut kind, mut interval, mut interface, mut max_packet) =
            ([255; 32], [0; 32], [0; 32], [0; 32]);
        for at in [0, 16] {
            kind[at] = 0;
            max_packet[at] = if device.speed == Speed::Super {
                512
            } else {
                64
            };
        }
        for ((at, this), index) in device.interfaces.iter().enumerate().zip(0_u8..32) {
            number[at] = index;
            class[at] = this.class;
            subclass[at] = this.subclass;
            protocol[at] = this.protocol;
            for endpoint in &this.endpoints {
                let at = usize::from((endpoint.address & 0x80) >> 3 | endpoint.address & 0x0f);
                kind[at] = endpoint.kind as u8;
                interval[at] = endpoint.interval;
                interface[at] = index;
                max_packet[at] = endpoint.max_packet;
            }
        }
        self.send(&Packet::new(
            0,
            Body::InterfaceInfo {
                count: u32::try_from(device.interfaces.len()).unwrap_or(32).min(32),
                number,
                class,
                subclass,
                protocol,
            },
        ));
        self.send(&Packet::new(
            0,
            Body::EpInfo {
                kind,
                interval,
                interface,
                max_packet,
                max_streams: [0; 32],
            },
        ));
    }

    /// A reset device has no configuration and forgets its transfers; whoever still waits for one is told.
    fn reset(&mut self) {
        self.configuration = 0;
        self.events.push_back(DeviceEvent::Reset);
        for pending in std::mem::take(&mut self.pending) {
            self.complete(Pending {
                status: Status::IoError,
                data: Vec::new(),
                ..pending
            });
        }
    }

    fn set_configuration(&mut self, id: u64, configuration: u8) {
        let status = if configuration == 0 || configuration == CONFIGURATION {
            self.configuration = configuration;
            self.events
                .push_back(DeviceEvent::Configured { configuration });
            self.send_layout();
            Status::Success
        } else {
            Status::Stall
        } as u8;
        let configuration = self.configuration;
        self.send(&Packet::new(
            id,
            Body::ConfigurationStatus {
                status,
                configuration,
            },
        ));
    }

    /// There is only setting 0 of each interface.
    fn alt_setting(&mut self, id: u64, interface: u8, alt: u8) {
        let known = usize::from(interface) < self.device.interfaces.len();
        let status = if known && alt == 0 {
            Status::Success
        } else {
            Status::Stall
        } as u8;
        self.send(&Packet::new(
            id,
            Body::AltSettingStatus {
                status,
                interface,
                alt: 0,
            },
        ));
    }

    fn endpoint(&self, address: u8, kind: EndpointKind) -> Option<&Endpoint> {
        let mut all = self.device.interfaces.iter().flat_map(|i| &i.endpoints);
        all.find(|endpoint| endpoint.address == address && endpoint.kind == kind)
    }

    fn on_control(&mut self, now: Duration, request: Packet) {
        let Some((endpoint, setup)) = setup_of(&request) else {
            return;
        };
        self.events.push_back(DeviceEvent::Request {
            id: request.id,
            endpoint,
            setup,
        });
        let input = setup.request_type & 0x80 != 0;
        let expected = if input { 0 } else { usize::from(setup.length) };
        let known = endpoint & 0x7f == 0 && (endpoint & 0x80 != 0) == input;
        if !known || request.data.len() != expected {
            self.protocol_error(format!(
                "control packet for endpoint {endpoint:#04x} with {} bytes, expected {expected} bytes and endpoint {:#04x}",
                request.data.len(),
                setup.request_type & 0x80,
            ));
            self.finish(&request, Status::Inval, Vec::new(), 0);
            return;
        }
        if self.pending.len() >= MOST_PENDING {
            self.finish(&request, Status::IoError, Vec::new(), 0);
            return;
        }
        let pending = self.decide(now, request, &setup);
        match pending.due {
            Some(due) if due <= now => self.complete(pending),
            _ => self.pending.push(pending),
        }
    }

    /// The answer by the first rule that fits, else by the descriptors.
    fn decide(&mut self, now: Duration, mut request: Packet, setup: &Setup) -> Pending {
        let mut rule = None;
        for (candidate, count) in self.device.rules.iter().zip(&mut self.matched) {
            if candidate.matches.fits(setup) {
                *count += 1;
                if rule.is_none() && candidate.nth.is_none_or(|nth| nth == *count) {
                    rule = Some(candidate);
                }
            }
        }
        let usual = descriptor::answer(&self.device, self.configuration, setup);
        let reply = match rule {
            Some(rule) if rule.stall => Reply::Stall,
            Some(rule) => match (&rule.bytes, usual) {
                (Some(bytes), _) => Reply::Done(bytes.0.clone()),
                // A late or missing answer is one all the same; what it is the device decides.
                (None, usual) => usual,
            },
            None => usual,
        };
        let (status, mut data) = match reply {
            Reply::Done(data) => (Status::Success, data),
            Reply::Stall => (Status::Stall, Vec::new()),
        };
        data.truncate(usize::from(setup.length));
        if let Some(short) = rule.and_then(|rule| rule.short) {
            data.truncate(short);
        }
        if setup.request_type & 0x80 == 0 {
            data.clear();
        }
        let delay_ms = rule.map_or(0, |rule| rule.delay_ms);
        let due = now.saturating_add(Duration::from_millis(delay_ms));
        request.data.clear();
        Pending {
            due: (!rule.is_some_and(|rule| rule.timeout)).then_some(due),
            delay_ms,
            request,
            status,
            data,
        }
    }

    fn complete(&mut self, pending: Pending) {
        let Pending {
            delay_ms,
            request,
            status,
            data,
            ..
        } = pending;
        self.finish(&request, status, data, delay_ms);
    }

    /// Answers a control request and says so.
    fn finish(&mut self, request: &Packet, status: Status, data: Vec<u8>, delayed_ms: u64) {
        if let Some((_, setup)) = setup_of(request) {
            let length = self.transferred(&setup, status, data.len());
            self.events.push_back(DeviceEvent::Answer {
                id: request.id,
                setup,
                status,
                length,
                bytes: hex(data.get(..SHOWN).unwrap_or(&data)),
                delayed_ms,
            });
        }
        self.answer(request, status, data);
    }

    fn cancel(&mut self, pending: Pending) {
        if let Some((_, setup)) = setup_of(&pending.request) {
            let id = pending.request.id;
            self.events.push_back(DeviceEvent::Cancelled { id, setup });
        }
        self.answer(&pending.request, Status::Cancelled, Vec::new());
    }

    /// Bytes that the answer to a control request reports: for OUT, all that was sent, once it was taken.
    fn transferred(&self, setup: &Setup, status: Status, data: usize) -> usize {
        match (setup.request_type & 0x80, status) {
            (0, Status::Success) => usize::from(setup.length),
            _ => data,
        }
    }

    /// Sends a request back with its status, length and data.
    fn answer(&mut self, request: &Packet, with: Status, data: Vec<u8>) {
        let mut body = request.body.clone();
        let sent = match with {
            Status::Success => request.data.len(),
            _ => 0,
        };
        let moved = match setup_of(request) {
            Some((_, setup)) => self.transferred(&setup, with, data.len()),
            None => sent,
        };
        let moved = u32::try_from(moved).unwrap_or(u32::MAX);
        let [a, b, c, d] = moved.to_le_bytes();
        match &mut body {
            Body::Bulk {
                status,
                length,
                length_high,
                ..
            } => {
                *status = with as u8;
                *length = u16::from_le_bytes([a, b]);
                *length_high = u16::from_le_bytes([c, d]);
            }
            Body::Control { status, length, .. }
            | Body::Iso { status, length, .. }
            | Body::Interrupt { status, length, .. } => {
                *status = with as u8;
                *length = u16::from_le_bytes([a, b]);
            }
            _ => {}
        }
        self.send(&Packet {
            id: request.id,
            body,
            data,
        });
    }
}

fn setup_of(packet: &Packet) -> Option<(u8, Setup)> {
    match packet.body {
        Body::Control {
            endpoint,
            request,
            request_type,
            value,
            index,
            length,
            ..
        } => Some((
            endpoint,
            Setup {
                request_type,
                request,
                value,
                index,
                length,
            },
        )),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
