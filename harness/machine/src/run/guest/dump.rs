//! The driver's part for a dump that QEMU writes: stops the guest, has it dumped, and lets it go on where a capture
//! kernel waits. Which commands that takes is [`qemu_dump`]'s, which stage follows [`super::stage`]'s.
use std::fs::File;
use std::io;

use super::super::events::HostEvent;
use super::super::folder;
use super::super::qemu_dump::{self, Errand};
use super::super::readers;
use super::super::stage::{End, FailureKind, Input, Stage};
use super::Driver;
use crate::qemu::qmp::{Qmp, QmpCommand, QmpError};

/// Largest dump that is taken for one of notes, in bytes: each processor has a few KiB.
const MOST_NOTES: u64 = 16 << 20;

impl Driver<'_> {
    /// QEMU has stopped the guest: it is dumped, once.
    pub(super) fn stopped(&mut self) -> io::Result<Option<End>> {
        let end = self.feed(Input::Stopped)?;
        if end.is_some() {
            return Ok(end);
        }
        if self.qemu_dump.is_some() {
            // A guest that goes on after its dump and is stopped again has a capture kernel to reach.
            if self.qemu_whole.is_some() && self.guest.capture.mode.by_kdump() {
                self.send(Errand::Continue, Errand::Continue.commands())?;
            }
            return Ok(None);
        }
        let Some(compression) = self.guest.capture.qemu else {
            return Ok(None);
        };
        if self.stages.stage() == Stage::QemuDump {
            self.host(HostEvent::GuestStopped)?;
            let (pipe, commands) = match self.guest.own_memory {
                Some(_) => qemu_dump::begin_notes()?,
                None => qemu_dump::begin(compression)?,
            };
            let file = self.guest.folder.file(folder::VMCORE_QEMU_PARTIAL);
            readers::qemu_dump(pipe, file, self.guest.vmcore_limit, self.sender.clone())?;
            self.qemu_dump = Some(qemu_dump::Progress::default());
            self.send(Errand::Dump, commands)?;
        }
        Ok(None)
    }

    /// Sends QEMU's control socket on an errand, or has the errand wait.
    pub(super) fn send(&mut self, errand: Errand, commands: Vec<QmpCommand>) -> io::Result<()> {
        match self.qmp.take() {
            Some(qmp) => {
                let limit = self.guest.limits.dump;
                readers::errand(qmp, errand, commands, limit, self.sender.clone())
            }
            None => {
                self.errands.push_back((errand, commands));
                Ok(())
            }
        }
    }

    pub(super) fn answered(
        &mut self,
        qmp: Qmp,
        errand: Errand,
        result: Result<(), QmpError>,
    ) -> io::Result<Option<End>> {
        self.qmp = Some(qmp);
        match (errand, result) {
            // The end of QEMU says more than the end of its socket.
            (_, Err(QmpError::Closed { .. })) => {}
            (errand, Err(error)) => {
                let kind = match errand {
                    Errand::Save | Errand::Restore => FailureKind::Host,
                    Errand::Stop | Errand::Dump | Errand::Continue => FailureKind::NoVmcore,
                };
                return Ok(Some(self.stages.fail(kind, &error.to_string())));
            }
            (Errand::Stop, Ok(())) => return self.stopped(),
            // Events tell how far they are.
            (Errand::Dump | Errand::Continue | Errand::Save | Errand::Restore, Ok(())) => {}
        }
        if let Some((errand, commands)) = self.errands.pop_front() {
            self.send(errand, commands)?;
        }
        Ok(None)
    }

    /// QEMU's dump has got further; once whole it has its name, and the guest may go on to its capture kernel.
    pub(super) fn qemu_dumped(&mut self) -> io::Result<Option<End>> {
        let Some(whole) = self.qemu_dump.as_ref().and_then(|dump| dump.whole()) else {
            return Ok(None);
        };
        let whole = whole.clone();
        let both = self.guest.capture.mode.by_kdump();
        let name = if both {
            folder::VMCORE_QEMU
        } else {
            folder::VMCORE
        };
        let partial = self.guest.folder.file(folder::VMCORE_QEMU_PARTIAL);
        let whole = match self.guest.own_memory {
            Some(memory) => {
                if whole.bytes > MOST_NOTES {
                    let what = format!("{} bytes are too many for notes", whole.bytes);
                    return Ok(Some(self.stages.fail(FailureKind::NoVmcore, &what)));
                }
                let notes = std::fs::read(&partial)?;
                let mut file = File::create(&partial)?;
                memory.write_vmcore(&notes, &mut file)?
            }
            None => whole,
        };
        std::fs::rename(partial, self.guest.folder.file(name))?;
        self.last_byte = Some(self.now());
        self.qemu_whole = Some(whole.clone());
        self.host(HostEvent::QemuDumpVerified {
            bytes: whole.bytes,
            sha256: whole.sha256,
        })?;
        let end = self.feed(Input::QemuDumpWhole)?;
        if both {
            self.send(Errand::Continue, Errand::Continue.commands())?;
        }
        Ok(end)
    }
}
