//! Sends events to the host, and a line for people to the console.
use recrash_agent::event::{GuestEvent, GuestReport};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// How long to wait before looking again whether the host listens.
const UNHEARD: Duration = Duration::from_millis(10);

/// Keeps what is reported before the events port is there.
#[derive(Default)]
pub(crate) struct Reporter {
    port: Option<File>,
    console: Option<File>,
    early: Vec<u8>,
}

impl Reporter {
    /// Opens the console; without one the init stays silent there.
    pub(crate) fn open_console(&mut self) {
        self.console = OpenOptions::new().write(true).open("/dev/console").ok();
    }

    /// Opens the events port and sends what was kept.
    pub(crate) fn open_port(&mut self, device: &Path) -> std::io::Result<()> {
        let mut port = OpenOptions::new().read(true).write(true).open(device)?;
        port.write_all(&self.early)?;
        self.early.clear();
        self.port = Some(port);
        Ok(())
    }

    /// Waits until the host says this line; what else it says is passed over.
    pub(crate) fn wait_for_line(&mut self, wanted: &str) -> std::io::Result<()> {
        let Some(port) = &mut self.port else {
            return Err(std::io::Error::other("there is no events port"));
        };
        // Byte by byte: what follows the line is not ours.
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            if port.read(&mut byte)? == 0 {
                // Nobody holds the other end now.
                std::thread::sleep(UNHEARD);
                continue;
            }
            match byte[0] {
                b'\n' if line == wanted.as_bytes() => return Ok(()),
                b'\n' => line.clear(),
                // Longer than what is waited for: some other line.
                _ if line.len() > wanted.len() => {}
                other => line.push(other),
            }
        }
    }

    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// A line on the console alone.
    pub(crate) fn note(&mut self, line: &str) {
        if let Some(console) = &mut self.console {
            let _ = console.write_all(format!("recrash-agent: {line}\n").as_bytes());
        }
    }

    /// Reports one event. Errors have nowhere to go: the host notices that events are missing.
    pub(crate) fn report(&mut self, event: GuestEvent) {
        self.note(&event.to_string());
        let at = clock_gettime(ClockId::Boottime);
        let at_ms = u64::try_from(at.tv_sec).unwrap_or(0) * 1000
            + u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000_000;
        let Ok(mut line) = serde_json::to_vec(&GuestReport { at_ms, event }) else {
            return;
        };
        line.push(b'\n');
        match &mut self.port {
            Some(port) => {
                let _ = port.write_all(&line);
            }
            None => self.early.extend(line),
        }
    }
}
