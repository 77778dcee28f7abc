//! `manifest.json`: what a run was, what came of it, and which files it left. The one file by which a folder
//! is known as a run. Knows no signature: the verdict is text that the command adds.
use recrash_agent::plan::Compression;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

use super::Extras;
use super::campaign::CampaignNote;
use super::evidence::Evidence;
use super::folder::{VMCORE, VMCORE_QEMU};
use super::guest::GuestResult;
use super::stage::{FailureKind, Stage};
use crate::capture::{Capture, CaptureMode, KdumpForm, StopBy};
use crate::controller::Controller;
use crate::qemu::args::Accel;
use crate::setup::LockedPackage;
use crate::usbhost::Physical;
use crate::usbredir::device::Speed;

/// Name inside the run folder.
pub const MANIFEST: &str = "manifest.json";
/// Version of the manifest's form.
pub const SCHEMA: u32 = 1;
/// The agent's name of makedumpfile.
const MAKEDUMPFILE: &str = "makedumpfile";
/// Largest manifest that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub recrash_run: u32,
    /// When it began (RFC 3339).
    pub started: String,
    /// Target's name.
    pub target: String,
    /// `uname -r` of the target.
    pub kernel_release: String,
    /// Packages that the target came from.
    pub packages: Vec<LockedPackage>,
    /// Where the target's debug symbols lie, if it brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_dir: Option<std::path::PathBuf>,
    /// First line of `qemu --version`.
    pub qemu_version: String,
    /// What executed the guest.
    pub accel: Accel,
    /// What the probe of KVM said, where it was not used though nobody asked for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not_kvm: Option<String>,
    /// Device's name.
    pub device: String,
    /// The USB host controller; absent in runs of before there was a choice, which had the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// The speed that the device had; absent in runs of before there was a choice, which had the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// The physical device of the host that it was; absent for an emulated one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<Physical>,
    /// Scenario's name.
    pub scenario: String,
    /// The fault.
    pub fault: String,
    /// What was added to the kernel's command line.
    pub append: Vec<String>,
    /// Which attempt of which campaign it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignNote>,
    /// When the snapshot was made that it went on from (RFC 3339); absent for a boot of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The whole command line.
    pub cmdline: String,
    /// How the memory was saved; in manifests from before that was a choice, as it was then.
    #[serde(default)]
    pub capture: CaptureNote,
    /// What an experiment added.
    #[serde(default, skip_serializing_if = "Extras::is_none")]
    pub extras: Extras,
    /// Wall time of each stage, in order.
    pub stages: Vec<StageTime>,
    /// From the run's start to its end, in milliseconds.
    pub total_ms: u64,
    /// From QEMU's start to the last byte of the vmcore (or, without one, QEMU's end), in milliseconds.
    pub qemu_ms: u64,
    /// What came of it; absent while it runs.
    pub outcome: Option<Ending>,
    /// The crash as the console told it; also where the guest then went on.
    pub crash: Option<CrashNote>,
    /// What proves that device and fault were at work.
    pub evidence: Evidence,
    /// Files in the folder and their sizes in bytes.
    pub files: Vec<FileNote>,
    /// Verdict, once there is one.
    pub verdict: Option<String>,
    /// The signature's title, once there is one.
    pub title: Option<String>,
}

/// How the memory was saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureNote {
    /// Who was to write.
    pub mode: CaptureMode,
    /// By what QEMU was to learn of the death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_by: Option<StopBy>,
    /// What was asked of makedumpfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kdump: Option<KdumpForm>,
    /// What was asked of QEMU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<Compression>,
    /// The dumps that came of it, whole and verified, in the order in which they were made.
    #[serde(default)]
    pub dumps: Vec<DumpNote>,
    /// With two dumps: whether their signatures are the same, once compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal: Option<bool>,
}

/// Who wrote a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// QEMU.
    Qemu,
    /// makedumpfile in the capture kernel.
    Makedumpfile,
    /// The agent in the capture kernel: `/proc/vmcore` as it is.
    ElfCopy,
}

/// A dump of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpNote {
    /// Name inside the folder.
    pub file: String,
    /// Who wrote it.
    pub by: Writer,
    /// How its pages are compressed.
    pub compression: Compression,
    /// Which pages makedumpfile left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl CaptureNote {
    /// What is going to be done.
    #[must_use]
    pub fn of(capture: &Capture) -> Self {
        Self {
            mode: capture.mode,
            stop_by: capture.stop_by,
            kdump: capture.kdump,
            qemu: capture.qemu,
            dumps: Vec::new(),
            equal: None,
        }
    }

    /// What came of it.
    pub(super) fn note(&mut self, result: &GuestResult) {
        let by_kdump = self.mode.by_kdump();
        if let (Some(whole), Some(compression)) = (&result.qemu_whole, self.qemu) {
            let file = if by_kdump { VMCORE_QEMU } else { VMCORE };
            self.dumps.push(DumpNote {
                file: file.into(),
                by: Writer::Qemu,
                compression,
                level: None,
                bytes: whole.bytes,
                sha256: whole.sha256.clone(),
            });
        }
        if let Some(whole) = &result.whole {
            let form = self
                .kdump
                .filter(|_| result.tool.as_deref() == Some(MAKEDUMPFILE));
            self.dumps.push(DumpNote {
                file: VMCORE.into(),
                by: form.map_or(Writer::ElfCopy, |_| Writer::Makedumpfile),
                compression: form.map_or(Compression::None, |form| form.compression),
                level: form.map(|form| form.level),
                bytes: whole.bytes,
                sha256: whole.sha256.clone(),
            });
        }
    }
}

/// Wall time of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Milliseconds since the run's start.
    pub from_ms: u64,
    /// Milliseconds.
    pub took_ms: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "kebab-case")]
pub enum Ending {
    /// The kernel died in the scenario; the vmcore is whole.
    Crashed {
        /// SHA-256 of the vmcore.
        sha256: String,
    },
    /// The scenario ended, the device was asked and the fault code ran.
    NoCrash,
    /// The same, and the kernel was then made to die for its dump. No crash.
    Dumped {
        /// SHA-256 of the vmcore.
        sha256: String,
    },
    /// Neither can be said.
    Inconclusive {
        /// In which stage.
        stage: Stage,
        /// What kind.
        kind: Option<FailureKind>,
        /// Why.
        reason: String,
    },
}

/// The crash as the console told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashNote {
    /// In which stage the kernel died.
    pub stage: Stage,
    /// First line of the kernel's message.
    pub title: String,
}

/// A file of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Name inside the folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

impl Manifest {
    /// Reads a run folder's manifest.
    ///
    /// # Errors
    /// No such file, or it is no manifest of this version.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let path = folder.join(MANIFEST);
        let about = |what: String| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {what}", path.display()),
            )
        };
        if std::fs::symlink_metadata(&path)?.len() > MAX_BYTES {
            return Err(about("larger than any manifest".into()));
        }
        let manifest: Self = serde_json::from_slice(&std::fs::read(&path)?)
            .map_err(|error| about(error.to_string()))?;
        if manifest.recrash_run != SCHEMA {
            let found = manifest.recrash_run;
            return Err(about(format!("version {found}, expected {SCHEMA}")));
        }
        Ok(manifest)
    }

    /// Writes it, replacing an earlier one at once or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub fn store(&self, folder: &Path) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".manifest.")
            .tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        // tempfile makes it private; a run is as readable as its other files.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.persist(folder.join(MANIFEST))?;
        Ok(())
    }

    /// Adds the verdict and the signature's title.
    ///
    /// # Errors
    /// As [`Manifest::load`] and [`Manifest::store`].
    pub fn set_verdict(folder: &Path, verdict: &str, title: Option<&str>) -> io::Result<()> {
        let mut manifest = Self::load(folder)?;
        manifest.verdict = Some(verdict.into());
        manifest.title = title.map(Into::into);
        manifest.list_files(folder)?;
        manifest.store(folder)
    }

    /// Adds whether the signatures of two dumps are the same.
    ///
    /// # Errors
    /// As [`Manifest::load`] and [`Manifest::store`].
    pub fn set_equal(folder: &Path, equal: bool) -> io::Result<()> {
        let mut manifest = Self::load(folder)?;
        manifest.capture.equal = Some(equal);
        manifest.store(folder)
    }

    /// Notes which files are there and how large they are.
    ///
    /// # Errors
    /// The file system's.
    pub fn list_files(&mut self, folder: &Path) -> io::Result<()> {
        self.files.clear();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Gone since: another process's scratch file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if meta.is_file() && name != MANIFEST && !name.starts_with('.') {
                self.files.push(FileNote {
                    name,
                    bytes: meta.len(),
                });
            }
        }
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A finished run.
    pub(in crate::run) fn manifest(started: &str) -> Manifest {
        Manifest {
            recrash_run: SCHEMA,
            started: started.into(),
            target: "t".into(),
            kernel_release: "6.1.0".into(),
            packages: Vec::new(),
            debug_dir: None,
            qemu_version: "QEMU emulator version 7.2".into(),
            accel: Accel::Tcg,
            why_not_kvm: None,
            device: "d".into(),
            controller: Some(Controller::UsbEhci),
            speed: Some(Speed::High),
            physical: None,
            scenario: "s".into(),
            fault: "f".into(),
            append: Vec::new(),
            campaign: None,
            snapshot: None,
            cmdline: String::new(),
            capture: CaptureNote::default(),
            extras: Extras::default(),
            stages: vec![StageTime {
                stage: Stage::Boot,
                from_ms: 1,
                took_ms: 2,
            }],
            total_ms: 10,
            qemu_ms: 9,
            outcome: Some(Ending::NoCrash),
            crash: None,
            evidence: Evidence::default(),
            files: Vec::new(),
            verdict: None,
            title: None,
        }
    }

    #[test]
    fn a_manifest_is_read_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut before = manifest("1");
        before.outcome = Some(Ending::Inconclusive {
            stage: Stage::Dump,
            kind: Some(FailureKind::Stalled),
            reason: "r".into(),
        });
        before.store(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), before);
    }

    #[test]
    fn a_verdict_is_added_and_the_files_are_counted_again() {
        let dir = tempfile::tempdir().unwrap();
        manifest("1").store(dir.path()).unwrap();
        std::fs::write(dir.path().join("report.txt"), "12345").unwrap();
        Manifest::set_verdict(dir.path(), "same-crash", Some("GPF in __kmalloc")).unwrap();
        let after = Manifest::load(dir.path()).unwrap();
        assert_eq!(after.verdict.as_deref(), Some("same-crash"));
        assert_eq!(
            after.files,
            [FileNote {
                name: "report.txt".into(),
                bytes: 5
            }]
        );
    }

    #[test]
    fn another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let other = Manifest {
            recrash_run: 99,
            ..manifest("1")
        };
        other.store(dir.path()).unwrap();
        let error = Manifest::load(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("version 99, expected 1"), "{error}");
    }
}
