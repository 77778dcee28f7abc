//! The threads that read what QEMU's sockets bring, and turn it into messages. They end with their sockets.
//! Decide nothing.
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufReader, PipeReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::capture::{self, CaptureError, Whole};
use super::lines::{LineReader, LineSplitter};
use super::qemu_dump::{self, Errand};
use crate::qemu::qmp::{Qmp, QmpCommand, QmpError, QmpEvent};
use crate::run::StopFlag;

/// Largest `console.log`, in bytes; the rest is read and dropped.
const MAX_CONSOLE: u64 = 256 << 20;
/// Shortest time between two reports of a dump's progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// Where something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Console,
    Events,
    Vmcore,
    Qmp,
}

/// What a thread tells the driver.
#[derive(Debug)]
pub(super) enum Message {
    /// A line of the console.
    Console(String),
    /// A line of the events port.
    Guest(String),
    /// An event of the USB device.
    Device(Value),
    /// An event of QEMU's.
    Qmp(QmpEvent),
    /// The vmcore has this many bytes.
    DumpBytes(u64),
    /// The vmcore's end.
    Dump(Result<Whole, CaptureError>),
    /// QEMU's dump has this many bytes.
    QemuDumpBytes(u64),
    /// The end of the pipe that QEMU writes its dump to.
    QemuDump(Result<Whole, CaptureError>),
    /// QEMU's control socket is free again: what it was sent for, and how that came out.
    Answered(Qmp, Errand, Result<(), QmpError>),
    /// A port is at its end; nothing more comes from it.
    Closed(Port),
    /// The host failed at something.
    HostFailed(&'static str, io::Error),
    /// QEMU has ended: how, and whether with exit code 0.
    QemuExited { how: String, clean: bool },
}

/// Passes QEMU's events on; says that there will be no more when it is dropped.
pub(super) struct QmpEvents(pub(super) Messages);

impl QmpEvents {
    pub(super) fn pass(&mut self, event: QmpEvent) {
        let _ = self.0.send(Message::Qmp(event));
    }
}

impl Drop for QmpEvents {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Closed(Port::Qmp));
    }
}

type Messages = SyncSender<Message>;

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(work)?;
    Ok(())
}

/// Reads the serial console: raw into the file, by lines to the driver.
pub(super) fn console(mut port: UnixStream, mut log: File, to: Messages) -> io::Result<()> {
    spawn("console", move || {
        let mut lines = LineSplitter::default();
        let mut written = 0_u64;
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = read(&mut port, &mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            if written < MAX_CONSOLE {
                if let Err(error) = log.write_all(bytes) {
                    let _ = to.send(Message::HostFailed(super::folder::CONSOLE, error));
                    written = MAX_CONSOLE;
                }
                written += count as u64;
            }
            let mut whole = Vec::new();
            lines.push(bytes, |line| whole.push(line));
            for line in whole {
                if to.send(Message::Console(line)).is_err() {
                    return;
                }
            }
        }
        if let Some(line) = lines.finish() {
            let _ = to.send(Message::Console(line));
        }
        let _ = to.send(Message::Closed(Port::Console));
    })
}

/// Reads the events port by lines.
pub(super) fn events(port: UnixStream, to: Messages) -> io::Result<()> {
    spawn("events", move || {
        let mut lines = LineReader::new(BufReader::new(port));
        while let Ok(Some(line)) = lines.next_line() {
            if !line.is_empty() && to.send(Message::Guest(line)).is_err() {
                return;
            }
        }
        let _ = to.send(Message::Closed(Port::Events));
    })
}

/// Reads the vmcore port into the file, which is made with the first byte.
pub(super) fn vmcore(
    mut port: UnixStream,
    path: PathBuf,
    limit: u64,
    to: Messages,
) -> io::Result<()> {
    spawn("vmcore", move || {
        let result = take_vmcore(&mut port, path, limit, &to);
        let _ = to.send(Message::Dump(result));
        let _ = to.send(Message::Closed(Port::Vmcore));
    })
}

fn take_vmcore(
    port: &mut UnixStream,
    path: PathBuf,
    limit: u64,
    to: &Messages,
) -> Result<Whole, CaptureError> {
    let mut first = [0];
    if !matches!(read(port, &mut first), Ok(1)) {
        return Err(CaptureError::Nothing);
    }
    let mut file =
        File::create_new(path).map_err(|source| CaptureError::Write { bytes: 0, source })?;
    let mut told: Option<Instant> = None;
    capture::receive(first.chain(port), &mut file, limit, |bytes| {
        if told.is_none_or(|at| at.elapsed() >= PROGRESS_PAUSE) {
            told = Some(Instant::now());
            let _ = to.send(Message::DumpBytes(bytes));
        }
    })
}

/// Reads QEMU's dump into the file.
pub(super) fn qemu_dump(
    pipe: PipeReader,
    path: PathBuf,
    limit: u64,
    to: Messages,
) -> io::Result<()> {
    spawn("qemu-dump", move || {
        let mut told: Option<Instant> = None;
        let result = File::create_new(path)
            .map_err(|source| CaptureError::Write { bytes: 0, source })
            .and_then(|mut file| {
                qemu_dump::receive(pipe, &mut file, limit, |bytes| {
                    if told.is_none_or(|at| at.elapsed() >= PROGRESS_PAUSE) {
                        told = Some(Instant::now());
                        let _ = to.send(Message::QemuDumpBytes(bytes));
                    }
                })
            });
        let _ = to.send(Message::QemuDump(result));
    })
}

/// Runs commands on QEMU's control socket, on a thread of its own: QEMU may be waiting for us to take messages.
pub(super) fn errand(
    mut qmp: Qmp,
    errand: Errand,
    commands: Vec<QmpCommand>,
    limit: Duration,
    to: Messages,
) -> io::Result<()> {
    spawn("qmp-errand", move || {
        let never = StopFlag::default();
        let mut commands = commands.into_iter();
        let result = commands.try_for_each(|command| qmp.run(command, limit, &never).map(drop));
        let _ = to.send(Message::Answered(qmp, errand, result));
    })
}

fn read(port: &mut UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match port.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
