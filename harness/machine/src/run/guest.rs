//! Drives one guest: starts QEMU, reads everything it says, steps the stages, ends it. Every thread here ends
//! with QEMU. Knows no target and makes no initramfs.
use recrash_agent::event::{GuestEvent, GuestReport};
use recrash_agent::plan::Scenario;
use serde_json::Value;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::capture::{CaptureError, Whole};
use super::console::Line;
use super::events::{EventLog, HostEvent, Observer, Record, Said};
use super::evidence::Evidence;
use super::folder::{self, RunFolder};
use super::manifest::StageTime;
use super::qemu_dump::{self, Errand};
use super::readers::{self, Message, Port, QmpEvents};
use super::snapshot::memory::OwnMemory;
use super::stage::{CrashSeen, End, FailureKind, Input, Limits, Machine as Stages, Stage};
use super::stop::StopFlag;
use crate::capture::{Capture, StopBy};
use crate::qemu::args::{Machine, Sockets, shell_line};
use crate::qemu::process::{Launch, Process, describe_exit};
use crate::qemu::qmp::{Qmp, QmpCommand, QmpError, QmpEvent};

mod dump;
pub mod snapshot;

use snapshot::Begin;

/// How often the stop flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long QEMU may take to quit when it is asked to.
const QUIT_LIMIT: Duration = Duration::from_secs(5);
/// How long the readers may take to see the end after QEMU's.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Lines of console that an error carries.
const TAIL_LINES: usize = 20;
/// Messages that may wait; then the guest waits.
const QUEUE: usize = 1024;

/// One guest to run.
pub struct Guest<'a> {
    /// The machine; its pcap path is relative to the run folder.
    pub machine: &'a Machine,
    /// QEMU.
    pub program: OsString,
    /// Where it begins, and whether it is saved before its scenario.
    pub begin: Begin<'a>,
    /// The file that is its memory, from which its vmcore is written; else QEMU dumps it.
    pub(super) own_memory: Option<&'a OwnMemory>,
    /// How its memory is saved.
    pub capture: &'a Capture,
    /// Limits of the stages.
    pub limits: Limits,
    /// Largest vmcore that is taken, in bytes.
    pub vmcore_limit: u64,
    /// For counting evidence.
    pub scenario: &'a Scenario,
    /// Where everything goes.
    pub folder: &'a RunFolder,
    /// The run's start.
    pub clock: Instant,
}

/// Sends what a device does into the run.
#[derive(Debug, Clone)]
pub struct DeviceSink(SyncSender<Message>);

impl DeviceSink {
    /// Takes an event of the device.
    pub fn send(&self, event: Value) {
        // A run that has ended takes no more.
        let _ = self.0.send(Message::Device(event));
    }
}

/// What one guest did.
#[derive(Debug)]
pub struct GuestResult {
    /// How it ended.
    pub end: End,
    /// The capture kernel's vmcore, if whole.
    pub whole: Option<Whole>,
    /// QEMU's dump, if whole.
    pub qemu_whole: Option<Whole>,
    /// What the capture kernel wrote its vmcore with.
    pub tool: Option<String>,
    /// The crash as the console told it.
    pub crash: Option<CrashSeen>,
    /// What looked like one and was none, as the guest then said that it had survived.
    pub taken_back: Option<CrashSeen>,
    /// Whether its kernel survived and then died because the guest made it die.
    pub died_as_asked: bool,
    /// What proves that it did what it was to do.
    pub evidence: Evidence,
    /// Stages and their times.
    pub stages: Vec<StageTime>,
    /// From QEMU's start to the vmcore's last byte, or to QEMU's end.
    pub qemu_time: Duration,
    /// Last lines of the console.
    pub console_tail: Vec<String>,
}

/// Runs it. `plug` gives QEMU's end of the usb-redir connection and serves the device on the other until what it
/// returns is dropped; no connection, if QEMU has the device from elsewhere.
///
/// # Errors
/// The host's: a file, a socket, a program. What the guest does is in [`GuestResult::end`].
pub fn run<D>(
    guest: &Guest<'_>,
    plug: impl FnOnce(DeviceSink) -> io::Result<(D, Option<OwnedFd>)>,
    observer: &mut dyn Observer,
    stop: &StopFlag,
) -> io::Result<GuestResult> {
    let (sender, messages) = sync_channel(QUEUE);
    let (device, usb) = plug(DeviceSink(sender.clone()))?;
    let (console, console_far) = UnixStream::pair()?;
    let (qmp, qmp_far) = UnixStream::pair()?;
    let (events, events_far) = UnixStream::pair()?;
    let port = guest.capture.mode.by_kdump();
    let (vmcore, vmcore_far) = port.then(UnixStream::pair).transpose()?.unzip();
    let sockets = Sockets {
        console: console_far.as_raw_fd(),
        qmp: qmp_far.as_raw_fd(),
        events: events_far.as_raw_fd(),
        vmcore: vmcore_far.as_ref().map(AsRawFd::as_raw_fd),
        usb: usb.as_ref().map(AsRawFd::as_raw_fd),
    };
    let args = guest.machine.args(&sockets);
    let line = shell_line(&guest.program.to_string_lossy(), &args);
    std::fs::write(guest.folder.file(folder::QEMU_ARGS), line)?;

    readers::console(
        console,
        File::create_new(guest.folder.file(folder::CONSOLE))?,
        sender.clone(),
    )?;
    let (to_guest, state) = match guest.begin {
        Begin::Restore(state) => {
            let state = OwnedFd::from(File::open(state)?);
            (Some(events.try_clone()?), Some(state))
        }
        Begin::Boot | Begin::BootAndSave(_) => (None, None),
    };
    let state_number = state.as_ref().map(AsRawFd::as_raw_fd);
    readers::events(events, sender.clone())?;
    let mut open = vec![Port::Console, Port::Events, Port::Qmp];
    if let Some(vmcore) = vmcore {
        open.push(Port::Vmcore);
        readers::vmcore(
            vmcore,
            guest.folder.file(folder::VMCORE_PARTIAL),
            guest.vmcore_limit,
            sender.clone(),
        )?;
    }
    let mut driver = Driver {
        guest,
        observer,
        log: EventLog::create(&guest.folder.file(folder::EVENTS))?,
        stages: Stages::new(guest.limits, guest.capture.mode),
        stage_since: guest.clock.elapsed(),
        times: Vec::new(),
        evidence: Evidence::default(),
        tail: VecDeque::new(),
        whole: None,
        qemu_dump: None,
        qemu_whole: None,
        tool: None,
        sender: sender.clone(),
        to_guest,
        state: state_number,
        qmp: None,
        errands: VecDeque::new(),
        open,
        exited: None,
        started: Duration::ZERO,
        last_byte: None,
    };
    driver.host(HostEvent::StageStarted {
        stage: Stage::Prepare,
    })?;
    let log = File::create_new(guest.folder.file(folder::QEMU_LOG))?;
    let on_exit = sender.clone();
    driver.started = guest.clock.elapsed();
    driver.feed(Input::Start)?;
    let mut process = Process::start(
        Launch {
            program: guest.program.clone(),
            args,
            cwd: guest.folder.path().into(),
            log,
            inherit: [
                Some(console_far.into()),
                Some(qmp_far.into()),
                Some(events_far.into()),
                vmcore_far.map(Into::into),
                usb,
                state,
                guest.own_memory.and_then(OwnMemory::for_qemu),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        move |status| {
            let clean = status.as_ref().is_ok_and(|status| status.success());
            let how = status.map_or_else(
                |error| format!("cannot be waited for: {error}"),
                describe_exit,
            );
            let _ = on_exit.send(Message::QemuExited { how, clean });
        },
    )?;
    // Declared last, so dropped first, also by a panic: no thread may wait in a full queue when it is joined.
    let messages = messages;
    let end = driver.talk(qmp, sender, &messages, stop);
    drop(messages);
    process.kill();
    drop(device);
    let end = end.unwrap_or_else(|error| driver.stages.fail(FailureKind::Host, &error.to_string()));
    driver.finish(end)
}

struct Driver<'a> {
    guest: &'a Guest<'a>,
    observer: &'a mut dyn Observer,
    log: EventLog,
    stages: Stages,
    stage_since: Duration,
    times: Vec<StageTime>,
    evidence: Evidence,
    tail: VecDeque<String>,
    whole: Option<Whole>,
    /// Once QEMU has been asked for its dump.
    qemu_dump: Option<qemu_dump::Progress>,
    qemu_whole: Option<Whole>,
    tool: Option<String>,
    sender: SyncSender<Message>,
    /// Our end of the events port, until a restored guest has been let go.
    to_guest: Option<UnixStream>,
    /// Under which number QEMU has inherited the file that the guest goes on from.
    state: Option<RawFd>,
    /// QEMU's control socket, unless it is out on an errand.
    qmp: Option<Qmp>,
    /// Errands that wait for it.
    errands: VecDeque<(Errand, Vec<QmpCommand>)>,
    open: Vec<Port>,
    exited: Option<Exited>,
    started: Duration,
    last_byte: Option<Duration>,
}

/// QEMU's end.
struct Exited {
    how: String,
    clean: bool,
    at: Duration,
}

impl Driver<'_> {
    /// Connects to QMP, takes messages until the end, and then lets QEMU quit.
    fn talk(
        &mut self,
        qmp: UnixStream,
        sender: SyncSender<Message>,
        messages: &Receiver<Message>,
        stop: &StopFlag,
    ) -> io::Result<End> {
        let mut events = QmpEvents(sender);
        let connected = Qmp::connect(qmp, self.guest.limits.start, stop, move |event| {
            events.pass(event);
        });
        let qmp = match connected {
            Ok(qmp) => qmp,
            Err(error @ QmpError::Stopped { .. }) => {
                return Ok(self.stages.fail(FailureKind::Stopped, &error.to_string()));
            }
            Err(error @ QmpError::TimedOut { .. }) => {
                return Ok(self.stages.fail(FailureKind::Stalled, &error.to_string()));
            }
            Err(error) => {
                // If QEMU has died, its exit says more than the socket's.
                if let Some(end) = self.exit_within(messages, Duration::from_secs(1))? {
                    return Ok(end);
                }
                return Ok(self.stages.fail(FailureKind::Host, &error.to_string()));
            }
        };
        self.qmp = Some(qmp);
        self.begin(self.state)?;
        let end = self.until_end(messages, stop)?;
        // A QEMU that quits by itself completes its record of the USB traffic.
        self.quit(messages)?;
        Ok(end)
    }

    fn until_end(&mut self, messages: &Receiver<Message>, stop: &StopFlag) -> io::Result<End> {
        loop {
            if stop.is_stopped() {
                return Ok(self.stages.fail(FailureKind::Stopped, "stopped"));
            }
            let now = self.now();
            if now >= self.stages.deadline() {
                return Ok(self.stages.timed_out(now));
            }
            let wait = TICK.min(self.stages.deadline().saturating_sub(now));
            match messages.recv_timeout(wait) {
                Ok(message) => {
                    if let Some(end) = self.take(message)? {
                        return Ok(end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(self.stages.fail(FailureKind::QemuDied, "QEMU is gone"));
                }
            }
            if self.last_dump().is_some() {
                // Nothing that the guest could still do matters: its powering off costs time only.
                return Ok(End::Crashed);
            }
            if let Some(end) = self.drained()? {
                return Ok(end);
            }
        }
    }

    /// The dump that is the last one to come, if whole.
    fn last_dump(&self) -> Option<&Whole> {
        if self.guest.capture.mode.by_kdump() {
            self.whole.as_ref()
        } else {
            self.qemu_whole.as_ref()
        }
    }

    /// QEMU's end counts once everything it said has been read.
    fn drained(&mut self) -> io::Result<Option<End>> {
        let Some(Exited { how, clean, at }) = &self.exited else {
            return Ok(None);
        };
        if !self.open.is_empty() && self.now() < *at + DRAIN_LIMIT {
            return Ok(None);
        }
        let (how, clean) = (how.clone(), *clean);
        self.feed(Input::QemuExited { how: &how, clean })
    }

    fn exit_within(
        &mut self,
        messages: &Receiver<Message>,
        limit: Duration,
    ) -> io::Result<Option<End>> {
        let until = self.now() + limit;
        while let Some(left) = until.checked_sub(self.now()).filter(|left| !left.is_zero()) {
            let Ok(message) = messages.recv_timeout(left) else {
                break;
            };
            self.take(message)?;
            if let Some(end) = self.drained()? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn quit(&mut self, messages: &Receiver<Message>) -> io::Result<()> {
        // A QEMU that is still busy for us is killed: a run that ends then has failed.
        let Some(mut qmp) = self.qmp.take().filter(|_| self.exited.is_none()) else {
            return Ok(());
        };
        let until = self.now() + QUIT_LIMIT;
        // On a thread of its own, as every errand.
        std::thread::Builder::new()
            .name("qmp-quit".into())
            .spawn(move || drop(qmp.execute("quit", QUIT_LIMIT, &StopFlag::default())))?;
        while self.exited.is_none() {
            let Some(left) = until.checked_sub(self.now()).filter(|left| !left.is_zero()) else {
                break;
            };
            match messages.recv_timeout(left) {
                Ok(message) => drop(self.take(message)?),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> io::Result<Option<End>> {
        match message {
            Message::Console(line) => return self.console(line),
            Message::Guest(line) => return self.guest(&line),
            Message::Device(event) => self.say(Said::Device(event))?,
            Message::Qmp(event) => return self.qmp(event),
            Message::DumpBytes(bytes) => {
                self.last_byte = Some(self.now());
                self.say(Said::Host(HostEvent::DumpProgress { bytes }))?;
                return self.feed(Input::DumpBytes(bytes));
            }
            Message::Dump(Ok(whole)) => {
                self.last_byte = Some(self.now());
                self.whole = Some(whole.clone());
                self.feed(Input::DumpWhole)?;
                self.host(HostEvent::DumpVerified {
                    bytes: whole.bytes,
                    sha256: whole.sha256,
                })?;
            }
            Message::Dump(Err(error)) => {
                let end = match &error {
                    CaptureError::Write { .. } => {
                        Some(self.stages.fail(FailureKind::Host, &error.to_string()))
                    }
                    _ => self.feed(Input::DumpFailed(&error.to_string()))?,
                };
                return Ok(end);
            }
            Message::QemuDumpBytes(bytes) => {
                self.say(Said::Host(HostEvent::DumpProgress { bytes }))?;
                return self.feed(Input::QemuDumpBytes);
            }
            Message::QemuDump(Ok(whole)) => {
                if let Some(dump) = &mut self.qemu_dump {
                    dump.arrived(whole);
                }
                return self.qemu_dumped();
            }
            Message::QemuDump(Err(error)) => {
                let kind = match &error {
                    CaptureError::Write { .. } => FailureKind::Host,
                    _ => FailureKind::NoVmcore,
                };
                let detail = format!("QEMU's dump: {error}");
                return Ok(Some(self.stages.fail(kind, &detail)));
            }
            Message::Answered(qmp, errand, result) => return self.answered(qmp, errand, result),
            Message::Closed(port) => self.open.retain(|open| *open != port),
            Message::HostFailed(what, error) => {
                return Ok(Some(
                    self.stages
                        .fail(FailureKind::Host, &format!("{what}: {error}")),
                ));
            }
            Message::QemuExited { how, clean } => {
                self.exited = Some(Exited {
                    how: how.clone(),
                    clean,
                    at: self.now(),
                });
                self.host(HostEvent::QemuExited { how })?;
            }
        }
        Ok(None)
    }

    fn qmp(&mut self, event: QmpEvent) -> io::Result<Option<End>> {
        let reason = event.data.get("reason").and_then(Value::as_str);
        let reason = reason
            .filter(|_| event.name == "SHUTDOWN")
            .map(str::to_owned);
        let QmpEvent { name, data } = event.clone();
        self.say(Said::Qmp { event: name, data })?;
        if let Some(reason) = reason {
            return self.feed(Input::QemuShutdown(&reason));
        }
        match event.name.as_str() {
            "GUEST_PANICKED" => self.stopped(),
            "MIGRATION" => self.migration(&event.data),
            "DUMP_COMPLETED" => {
                let Some(dump) = &mut self.qemu_dump else {
                    return Ok(None);
                };
                match dump.completed(&event.data) {
                    Ok(()) => self.qemu_dumped(),
                    Err(why) => Ok(Some(self.stages.fail(FailureKind::NoVmcore, &why))),
                }
            }
            _ => Ok(None),
        }
    }

    fn console(&mut self, line: String) -> io::Result<Option<End>> {
        let meaning = super::console::read(&line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        self.say(Said::Console(line))?;
        match meaning {
            Line::Crash(line) => {
                // QEMU may have told of it before the console did.
                let first = self.stages.crash().is_none_or(|seen| seen.title.is_empty());
                let end = self.feed(Input::Crash(&line))?;
                if first {
                    self.host(HostEvent::CrashSeen { line })?;
                }
                Ok(end)
            }
            Line::Module(report) => {
                self.say(Said::Module(report))?;
                Ok(None)
            }
            Line::NotEnumerated(line) => self.feed(Input::NotEnumerated(&line)),
            Line::Halted => {
                let wanted = self.guest.capture.stop_by == Some(StopBy::Console);
                if wanted && self.stages.stage() == Stage::Stop {
                    self.send(Errand::Stop, Errand::Stop.commands())?;
                }
                Ok(None)
            }
            Line::Other => Ok(None),
        }
    }

    fn guest(&mut self, line: &str) -> io::Result<Option<End>> {
        let Ok(report) = serde_json::from_str::<GuestReport>(line) else {
            let line = line.chars().take(200).collect();
            self.host(HostEvent::UnreadableReport { line })?;
            return Ok(None);
        };
        let event = report.event.clone();
        self.say(Said::Guest(report))?;
        // The agent reads these from the kernel log, which is also the console: they are noted once, there.
        if matches!(event, GuestEvent::ModuleReport { .. }) {
            return Ok(None);
        }
        if event == GuestEvent::Holding {
            return self.holding();
        }
        if let GuestEvent::DumpStarted { tool } = &event {
            self.tool = Some(tool.clone());
        }
        self.feed(Input::Guest(&event))
    }

    /// Steps the stages, and tells of a new one.
    fn feed(&mut self, input: Input<'_>) -> io::Result<Option<End>> {
        let before = self.stages.stage();
        let end = self.stages.step(self.now(), input);
        let after = self.stages.stage();
        if before != after {
            self.close_stage(before)?;
            self.host(HostEvent::StageStarted { stage: after })?;
        }
        Ok(end)
    }

    fn close_stage(&mut self, stage: Stage) -> io::Result<()> {
        let now = self.now();
        let took = now.saturating_sub(self.stage_since);
        self.times.push(StageTime {
            stage,
            from_ms: millis(self.stage_since),
            took_ms: millis(took),
        });
        self.stage_since = now;
        self.host(HostEvent::StageEnded {
            stage,
            took_ms: millis(took),
        })?;
        // A harness that is killed leaves whole stages behind.
        self.log.flush()
    }

    fn finish(mut self, end: End) -> io::Result<GuestResult> {
        let logged = self.end_log();
        // A full disk fails the run in its stage, and then the end of the log too.
        if !matches!(end, End::Failed(_)) {
            logged?;
        }
        let until = match (self.last_dump(), &self.exited) {
            (Some(_), _) => self.last_byte,
            (None, Some(exited)) => Some(exited.at),
            (None, None) => None,
        };
        Ok(GuestResult {
            qemu_time: until
                .unwrap_or_else(|| self.now())
                .saturating_sub(self.started),
            crash: self.stages.crash().cloned(),
            taken_back: self.stages.taken_back().cloned(),
            died_as_asked: self.stages.died_as_asked(),
            whole: self.whole,
            qemu_whole: self.qemu_whole,
            tool: self.tool,
            evidence: self.evidence,
            stages: self.times,
            console_tail: self.tail.into(),
            end,
        })
    }

    fn end_log(&mut self) -> io::Result<()> {
        self.close_stage(self.stages.stage())?;
        let count = self.log.left_out();
        if count > 0 {
            self.host(HostEvent::RecordsLeftOut { count })?;
        }
        self.log.flush()
    }

    fn host(&mut self, event: HostEvent) -> io::Result<()> {
        self.say(Said::Host(event))
    }

    fn say(&mut self, said: Said) -> io::Result<()> {
        self.evidence.note(&said, self.guest.scenario);
        let record = Record {
            at_ms: millis(self.now()),
            said,
        };
        self.observer.seen(&record);
        self.log.keep(&record)
    }

    fn now(&self) -> Duration {
        self.guest.clock.elapsed()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
