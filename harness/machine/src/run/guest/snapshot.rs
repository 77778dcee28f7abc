//! The driver's part for snapshots: saves a guest that holds before its scenario, and lets a restored one go on. Which
//! stage follows is [`super::super::stage`]'s; what else belongs to a snapshot is [`super::super::snapshot`]'s.
//! Commands and events: QEMU's `qapi/migration.json`.
use recrash_agent::GO_LINE;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use super::super::qemu_dump::Errand;
use super::super::stage::{End, FailureKind, Input, Stage};
use super::Driver;
use crate::qemu::qmp::QmpCommand;

/// Where a guest begins, and whether it is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin<'a> {
    /// It boots.
    Boot,
    /// It boots, and is saved into this file, which is made, once it holds. That ends the run.
    BootAndSave(&'a Path),
    /// It goes on from this file.
    Restore(&'a Path),
}

/// QEMU's name for the descriptor that it saves to.
const FD_NAME: &str = "state";

impl Driver<'_> {
    /// QEMU answers. `state` is the number under which it has inherited the file that it is restored from.
    pub(super) fn begin(&mut self, state: Option<RawFd>) -> io::Result<()> {
        let Some(state) = state else {
            return self.feed(Input::QemuReady).map(drop);
        };
        self.feed(Input::Restoring)?;
        self.send(Errand::Restore, restore(state))
    }

    /// The guest holds: it is saved, if that is what it was booted for.
    pub(super) fn holding(&mut self) -> io::Result<Option<End>> {
        let Begin::BootAndSave(file) = self.guest.begin else {
            return Ok(None);
        };
        let before = self.stages.stage();
        let end = self.feed(Input::Holding)?;
        // Once, whatever a guest says.
        if before != Stage::Snapshot && self.stages.stage() == Stage::Snapshot {
            let file = File::create_new(file)?;
            self.send(Errand::Save, save(file.into()))?;
        }
        Ok(end)
    }

    /// QEMU's `MIGRATION`: how far saving or restoring is.
    pub(super) fn migration(&mut self, data: &Map<String, Value>) -> io::Result<Option<End>> {
        match data.get("status").and_then(Value::as_str) {
            Some("completed") => match self.guest.begin {
                Begin::Boot => Ok(None),
                Begin::BootAndSave(_) => self.feed(Input::Saved),
                Begin::Restore(_) => {
                    self.send(Errand::Continue, Errand::Continue.commands())?;
                    self.let_go()?;
                    Ok(None)
                }
            },
            Some("failed") => {
                let what = "QEMU could not save or restore the machine; qemu.log says why";
                Ok(Some(self.stages.fail(FailureKind::Host, what)))
            }
            _ => Ok(None),
        }
    }

    fn let_go(&mut self) -> io::Result<()> {
        match &mut self.to_guest {
            // Once.
            Some(port) => {
                let written = port.write_all(format!("{GO_LINE}\n").as_bytes());
                self.to_guest = None;
                written
            }
            None => Ok(()),
        }
    }
}

/// Events tell how far it is; memory that is a shared file stays where it is. Both sides must have the same.
fn capabilities() -> QmpCommand {
    let on = |name: &str| json!({"capability": name, "state": true});
    QmpCommand {
        name: "migrate-set-capabilities",
        arguments: json!({"capabilities": [on("events"), on("x-ignore-shared")]}),
        fd: None,
    }
}

/// Stopped first: what is in the memory must belong to the state that is written.
fn save(to: OwnedFd) -> Vec<QmpCommand> {
    vec![
        QmpCommand::plain("stop"),
        capabilities(),
        QmpCommand {
            name: "getfd",
            arguments: json!({"fdname": FD_NAME}),
            fd: Some(to),
        },
        QmpCommand {
            name: "migrate",
            arguments: json!({"uri": format!("fd:{FD_NAME}")}),
            fd: None,
        },
    ]
}

fn restore(from: RawFd) -> Vec<QmpCommand> {
    vec![
        capabilities(),
        QmpCommand {
            name: "migrate-incoming",
            arguments: json!({"uri": format!("fd:{from}")}),
            fd: None,
        },
    ]
}
