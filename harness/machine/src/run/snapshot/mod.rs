//! Snapshots: a guest that was booted once and saved right before its scenario, from which any number of runs go on.
//! Its memory is a file that QEMU maps: shared while it is made, copied on write by each run, so a run costs no boot and
//! hardly any copying. Makes, keeps and opens them; how QEMU saves and restores is [`super::guest::snapshot`]'s.
mod record;

pub use record::{MEMORY, Origin, RECORD, STATE, SnapshotError, SnapshotRecord};

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::guest::snapshot::Begin;
use super::guest::{self, Guest};
use super::stage::{End, FailureKind, Stage};
use super::{Observer, RunError, RunFolder, RunRequest, StopFlag};
use crate::agent_binary::AGENT;
use crate::qemu::accel::Chosen;
use crate::qemu::args::{Accel, Machine, MemoryFile, Sockets, shell_line};
use crate::usbredir::{DeviceServer, DeviceState};
use record::file_sha256;

/// Folder inside the snapshot's: what the boot said.
pub const BOOT: &str = "boot";

/// A snapshot that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    folder: PathBuf,
    made: String,
    origin: Origin,
    device: DeviceState,
}

impl Snapshot {
    /// Boots what is asked for and saves it in `folder`, which is made and must not be there, together with what the
    /// boot said. Nothing is left running; what there is of a snapshot that failed is the caller's to delete.
    ///
    /// # Errors
    /// [`RunError`] naming the stage.
    pub fn make(
        request: &RunRequest<'_>,
        folder: &Path,
        observer: &mut dyn Observer,
        stop: &StopFlag,
    ) -> Result<Self, RunError> {
        let clock = Instant::now();
        let host =
            |stage: Stage, error: &dyn ToString| RunError::host(stage, None, error.to_string());
        let prepare = |error: &dyn ToString| host(Stage::Prepare, error);
        let in_folder = |error: io::Error| prepare(&format!("{}: {error}", folder.display()));
        let accel = super::choose_accel(request).map_err(|error| prepare(&error))?;
        std::fs::create_dir(folder).map_err(in_folder)?;
        let folder = folder.canonicalize().map_err(in_folder)?;
        let boot = RunFolder::plain(&folder.join(BOOT)).map_err(in_folder)?;
        let scratch = tempfile::tempdir().map_err(|error| prepare(&error))?;
        let initramfs =
            super::pack(request, scratch.path(), true).map_err(|error| prepare(&error))?;
        let base = super::machine(request, &accel, Some(initramfs.clone()));
        let origin = origin(request, &accel, &base, &initramfs).map_err(in_folder)?;
        let memory = folder.join(MEMORY);
        File::create_new(&memory)
            .and_then(|file| file.set_len(u64::from(base.memory_mib) << 20))
            .map_err(in_folder)?;
        let machine = Machine {
            memory: Some(MemoryFile {
                path: memory,
                shared: true,
            }),
            ..base
        };
        let state = folder.join(STATE);
        let guest = Guest {
            begin: Begin::BootAndSave(&state),
            ..super::guest_of(request, &machine, &boot, clock)
        };
        let mut device = None;
        let plug = |sink| {
            let (server, far) = super::plug(request.device, None, sink)?;
            device = server.as_ref().map(DeviceServer::state);
            Ok((server, far))
        };
        let result = guest::run(&guest, plug, observer, stop)
            .map_err(|error| host(Stage::StartQemu, &error))?;
        let failed = |stage, kind, detail: String| RunError {
            stage,
            kind,
            detail,
            console_tail: result.console_tail.clone(),
            folder: None,
        };
        match result.end {
            End::Saved => {}
            End::Failed(ref failure) => {
                return Err(failed(failure.stage, failure.kind, failure.detail.clone()));
            }
            End::Survived | End::Crashed => {
                let detail = "the guest did not hold before its scenario".to_owned();
                return Err(failed(Stage::Device, FailureKind::Guest, detail));
            }
        }
        let device = device.and_then(|device| device.get()).ok_or_else(|| {
            let detail = "the USB device still had a transfer on its way".to_owned();
            failed(Stage::Snapshot, FailureKind::Guest, detail)
        })?;
        Ok(Self {
            folder,
            made: jiff::Timestamp::now().to_string(),
            origin,
            device,
        })
    }

    /// Moves it to `to`, which must not be there, with a record by which another process can use it.
    ///
    /// # Errors
    /// The file system's. Nothing half-kept is ever at `to`.
    pub fn keep(self, to: &Path) -> io::Result<Self> {
        let record = SnapshotRecord::of(
            &self.folder,
            self.made.clone(),
            self.origin.clone(),
            self.device.clone(),
        )?;
        record.store(&self.folder)?;
        if to.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&self.folder, to)?;
        Ok(Self {
            folder: to.canonicalize()?,
            ..self
        })
    }

    /// A kept snapshot for runs like this one. Its files are read once, to see that they are what they were.
    ///
    /// # Errors
    /// [`SnapshotError`]: it is another's, or damaged. The outer error: what this run would be made of cannot be told.
    pub fn open(
        folder: &Path,
        request: &RunRequest<'_>,
    ) -> Result<Result<Self, SnapshotError>, RunError> {
        let record = match SnapshotRecord::load(folder) {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        let prepare =
            |error: &dyn ToString| RunError::host(Stage::Prepare, None, error.to_string());
        let accel = super::choose_accel(request).map_err(|error| prepare(&error))?;
        let scratch = tempfile::tempdir().map_err(|error| prepare(&error))?;
        let initramfs =
            super::pack(request, scratch.path(), true).map_err(|error| prepare(&error))?;
        let machine = super::machine(request, &accel, Some(initramfs.clone()));
        let wanted =
            origin(request, &accel, &machine, &initramfs).map_err(|error| prepare(&error))?;
        let checked = record
            .is_made_of(&wanted, folder)
            .and_then(|()| record.is_whole(folder));
        Ok(checked.map(|()| Self {
            folder: folder.to_owned(),
            made: record.made,
            origin: record.origin,
            device: record.device,
        }))
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// When it was made (RFC 3339).
    #[must_use]
    pub fn made(&self) -> &str {
        &self.made
    }

    /// What the USB device's connection was.
    pub(super) fn device(&self) -> &DeviceState {
        &self.device
    }

    /// The file with the machine's state.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// The machine that goes on from it: the same one, each with a memory of its own that begins as the snapshot's.
    pub(super) fn machine(&self, machine: Machine) -> Machine {
        Machine {
            memory: Some(MemoryFile {
                path: self.folder.join(MEMORY),
                shared: false,
            }),
            incoming: true,
            ..machine
        }
    }
}

/// What a snapshot for this request is made of. The packed initramfs has all that runs in the guest; that its parts
/// are there by name as well only lets an error say which of them differs.
fn origin(
    request: &RunRequest<'_>,
    accel: &Chosen,
    machine: &Machine,
    initramfs: &Path,
) -> io::Result<Origin> {
    let provisioned = request.provisioned;
    // Numbers of sockets differ from run to run, places of scratch files too.
    let sockets = Sockets::for_show();
    let scratchless = Machine {
        initramfs: None,
        ..machine.clone()
    };
    let args = shell_line("qemu", &scratchless.args(&sockets));
    let text = |value: &dyn ToString| value.to_string();
    let mut origin: Origin = [
        ("target", text(&request.target.name)),
        ("kernel release", text(&provisioned.kernel_release)),
        ("kernel image", file_sha256(&provisioned.bzimage)?),
        ("initramfs", file_sha256(initramfs)?),
        ("agent", sha256(AGENT)),
        ("fault module", file_sha256(&provisioned.module_ko)?),
        ("fault", text(&request.scenario.fault)),
        ("fault module's parameters", text(&request.module_params)),
        ("scenario", serde_json::to_string(request.scenario)?),
        // Of the values themselves: a build that describes devices otherwise makes snapshots of its own.
        ("USB device", format!("{:?}", request.device)),
        ("kernel command line", text(&machine.cmdline)),
        ("QEMU version", super::qemu_version(&provisioned.qemu)),
        ("QEMU arguments", args),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if accel.accel == Accel::Kvm {
        origin.insert("host processor".into(), host_processor());
    }
    Ok(origin)
}

fn sha256(bytes: &[u8]) -> String {
    super::capture::hex(&Sha256::digest(bytes))
}

/// With KVM the guest's processor has what the host's has.
fn host_processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let wanted = |line: &&str| line.starts_with("model name") || line.starts_with("flags");
    let mut lines: Vec<&str> = text.lines().filter(wanted).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.join("; ")
}
