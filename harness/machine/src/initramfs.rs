//! The two initial RAM file systems of a run, as cpio archives in the "newc" format (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst). The same entries give the same bytes:
//! sorted, no times, numbered inodes.
use crate::agent_binary::AGENT;
use crate::capture::Capture;
use crate::kmod::{self, KmodError, ModuleIndex};
use crate::setup::Provisioned;
use crate::target::Target;
use cpio::newc::{self, ModeFileType};
use recrash_agent::PLAN_PATH;
use recrash_agent::plan::{
    Boot, CaptureKernel, DeviceId, Makedumpfile, ModuleToLoad, Plan, Scenario,
};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MODULES: &str = "/recrash/modules";
const CAPTURE_KERNEL: &str = "/recrash/capture/vmlinuz";
const CAPTURE_INITRAMFS: &str = "/recrash/capture/initramfs";
const MAKEDUMPFILE: &str = "/usr/bin/makedumpfile";
/// Gives QEMU the address of the kernel's VMCOREINFO (drivers/firmware/qemu_fw_cfg.c, since 4.17). A kernel without it
/// is dumped all the same.
const TELLS_VMCOREINFO: &str = "qemu_fw_cfg";

/// Why an initramfs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The path cannot be one inside the archive.
    #[error("{0:?} is no absolute path without `.` and `..`")]
    Path(String),
    /// newc has 32 bits for a size.
    #[error("{path}: {size} bytes are too many for an initramfs")]
    TooBig {
        /// The path inside.
        path: String,
        /// Bytes.
        size: u64,
    },
    /// The modules.
    #[error(transparent)]
    Modules(#[from] KmodError),
    /// A file of the host.
    #[error("{doing} {}: {source}", file.display())]
    Io {
        /// For example `reading`.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The plan.
    #[error("writing the plan: {0}")]
    Plan(#[from] serde_json::Error),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Dir,
    /// A file with these bytes.
    File {
        /// Permission bits.
        mode: u32,
        /// Contents.
        bytes: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: String,
    },
}

/// An initial RAM file system, by absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

impl Initramfs {
    /// Adds an entry, and the folders above it.
    ///
    /// # Errors
    /// [`InitramfsError::Path`].
    pub fn add(&mut self, path: &str, entry: Entry) -> Result<(), InitramfsError> {
        let inside = path.strip_prefix('/').unwrap_or_default();
        let usable =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !inside.split('/').all(usable) {
            return Err(InitramfsError::Path(path.into()));
        }
        for (at, _) in inside.match_indices('/') {
            let parent = inside.get(..at).unwrap_or_default();
            self.entries.entry(parent.into()).or_insert(Entry::Dir);
        }
        self.entries.insert(inside.into(), entry);
        Ok(())
    }

    /// Adds a file of the host.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add_host_file(
        &mut self,
        path: &str,
        mode: u32,
        source: &Path,
    ) -> Result<(), InitramfsError> {
        let bytes = std::fs::read(source).map_err(io_error("reading", source))?;
        self.add(path, Entry::File { mode, bytes })
    }

    /// The archive.
    ///
    /// # Errors
    /// [`InitramfsError::TooBig`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, InitramfsError> {
        let mut out = Vec::new();
        for (inode, (path, entry)) in (1..).zip(&self.entries) {
            out = append(out, inode, path, entry)?;
        }
        newc::trailer(out).map_err(io_error("ending", Path::new("initramfs")))
    }
}

fn append(out: Vec<u8>, inode: u32, path: &str, entry: &Entry) -> Result<Vec<u8>, InitramfsError> {
    let builder = newc::Builder::new(path).ino(inode).nlink(1);
    let (builder, bytes): (_, &[u8]) = match entry {
        Entry::Dir => (
            builder
                .mode(0o755)
                .nlink(2)
                .set_mode_file_type(ModeFileType::Directory),
            &[],
        ),
        Entry::File { mode, bytes } => (
            builder
                .mode(mode & 0o7777)
                .set_mode_file_type(ModeFileType::Regular),
            bytes,
        ),
        Entry::CharDevice { mode, major, minor } => (
            builder
                .mode(mode & 0o7777)
                .set_mode_file_type(ModeFileType::Char)
                .rdev_major(*major)
                .rdev_minor(*minor),
            &[],
        ),
        Entry::Symlink { target } => (
            builder
                .mode(0o777)
                .set_mode_file_type(ModeFileType::Symlink),
            target.as_bytes(),
        ),
    };
    let size = u32::try_from(bytes.len()).map_err(|_| InitramfsError::TooBig {
        path: path.into(),
        size: bytes.len() as u64,
    })?;
    let mut writer = builder.write(out, size);
    let written = writer.write_all(bytes).and_then(|()| writer.finish());
    written.map_err(io_error("adding", Path::new(path)))
}

/// What the first boot is told.
#[derive(Debug, Clone, Copy)]
pub struct FirstBoot<'a> {
    /// What user space does.
    pub scenario: &'a Scenario,
    /// Which device it is about.
    pub device: DeviceId,
    /// Parameters of repro-module; empty for none.
    pub module_params: &'a str,
    /// How the memory is saved.
    pub capture: &'a Capture,
    /// Command line of the capture kernel.
    pub capture_cmdline: &'a str,
    /// Whether to hold right before the scenario, for a snapshot.
    pub hold: bool,
    /// Whether the kernel is made to die once the scenario has ended.
    pub dump_at_end: bool,
}

/// The initramfs of the boot that crashes. Holds the capture kernel and `capture`, its packed initramfs; neither where
/// there is none.
///
/// # Errors
/// [`InitramfsError`].
pub fn first(
    provisioned: &Provisioned,
    target: &Target,
    boot: &FirstBoot<'_>,
    capture: Option<Vec<u8>>,
) -> Result<Initramfs, InitramfsError> {
    let mut out = base()?;
    let by_qemu = boot.capture.mode.by_qemu();
    let optional: &[&str] = if by_qemu { &[TELLS_VMCOREINFO] } else { &[] };
    let mut modules = add_modules(&mut out, provisioned, &target.boot.modules, optional)?;
    let module_ko = format!("{MODULES}/repro.ko");
    out.add_host_file(&module_ko, 0o644, &provisioned.module_ko)?;
    modules.push(ModuleToLoad {
        path: module_ko,
        params: boot.module_params.into(),
    });
    let capture = match capture {
        None => None,
        Some(bytes) => {
            out.add_host_file(CAPTURE_KERNEL, 0o644, &provisioned.bzimage)?;
            out.add(CAPTURE_INITRAMFS, Entry::File { mode: 0o644, bytes })?;
            Some(CaptureKernel {
                kernel: CAPTURE_KERNEL.into(),
                initramfs: CAPTURE_INITRAMFS.into(),
                cmdline: boot.capture_cmdline.into(),
            })
        }
    };
    let plan = Boot::First {
        capture,
        scenario: Box::new(boot.scenario.clone()),
        device: boot.device,
        hold: boot.hold,
        dump_at_end: boot.dump_at_end,
    };
    add_plan(&mut out, modules, plan)?;
    Ok(out)
}

/// The initramfs of the boot that writes the vmcore.
///
/// # Errors
/// [`InitramfsError`].
pub fn capture(
    provisioned: &Provisioned,
    target: &Target,
    how: &Capture,
) -> Result<Initramfs, InitramfsError> {
    let mut out = base()?;
    let modules = add_modules(&mut out, provisioned, &target.capture.modules, &[])?;
    for file in provisioned.makedumpfile.iter().flatten() {
        out.add_host_file(&file.path, file.mode, &file.source)?;
    }
    let form = how.kdump.filter(|_| provisioned.makedumpfile.is_some());
    let makedumpfile = form.map(|form| Makedumpfile {
        path: MAKEDUMPFILE.into(),
        compression: form.compression,
        level: form.level,
        strict: how.strict,
    });
    add_plan(&mut out, modules, Boot::Capture { makedumpfile })?;
    Ok(out)
}

/// `/init` and the console: without `/dev/console` the kernel gives init no standard output
/// (`console_on_rootfs()`, init/main.c).
fn base() -> Result<Initramfs, InitramfsError> {
    let mut out = Initramfs::default();
    let bytes = AGENT.to_vec();
    out.add("/init", Entry::File { mode: 0o755, bytes })?;
    let console = Entry::CharDevice {
        mode: 0o600,
        major: 5,
        minor: 1,
    };
    out.add("/dev/console", console)?;
    for dir in ["/proc", "/sys", "/tmp", "/run"] {
        out.add(dir, Entry::Dir)?;
    }
    Ok(out)
}

fn add_modules(
    out: &mut Initramfs,
    provisioned: &Provisioned,
    wanted: &[String],
    optional: &[&str],
) -> Result<Vec<ModuleToLoad>, InitramfsError> {
    let index = ModuleIndex::load(&provisioned.modules_dir)?;
    let wanted = [wanted, &index.known(optional)].concat();
    let mut modules = Vec::new();
    for module in index.in_order(&wanted)? {
        let path = format!("{MODULES}/{}.ko", module.name);
        let bytes = kmod::read_module(&module.file)?;
        out.add(&path, Entry::File { mode: 0o644, bytes })?;
        modules.push(ModuleToLoad {
            path,
            params: String::new(),
        });
    }
    Ok(modules)
}

fn add_plan(
    out: &mut Initramfs,
    modules: Vec<ModuleToLoad>,
    boot: Boot,
) -> Result<(), InitramfsError> {
    let bytes = serde_json::to_vec_pretty(&Plan { modules, boot })?;
    out.add(PLAN_PATH, Entry::File { mode: 0o644, bytes })
}

fn io_error(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> InitramfsError {
    let file = file.to_path_buf();
    move |source| InitramfsError::Io {
        doing,
        file,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn example() -> Initramfs {
        let mut out = base().unwrap();
        let bytes = b"{}".to_vec();
        out.add(PLAN_PATH, Entry::File { mode: 0o644, bytes })
            .unwrap();
        let target = "proc/self/fd".into();
        out.add("/dev/fd", Entry::Symlink { target }).unwrap();
        out
    }

    fn read_back(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut out = Vec::new();
        loop {
            let mut reader = newc::Reader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                return out;
            }
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            out.push((
                reader.entry().name().to_owned(),
                reader.entry().mode(),
                bytes,
            ));
            archive = reader.finish().unwrap();
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let entries = read_back(&example().to_bytes().unwrap());
        let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
        assert_eq!(
            names,
            [
                "dev",
                "dev/console",
                "dev/fd",
                "init",
                "proc",
                "recrash",
                "recrash/plan.json",
                "run",
                "sys",
                "tmp"
            ]
        );
        assert_eq!(entries[1].1, 0o020_600);
        assert_eq!(
            (entries[2].1, entries[2].2.as_slice()),
            (0o120_777, b"proc/self/fd".as_slice())
        );
        assert_eq!((entries[3].1, entries[3].2.as_slice()), (0o100_755, AGENT));
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert_eq!(example().to_bytes().unwrap(), example().to_bytes().unwrap());
    }

    #[test]
    fn a_path_that_leaves_the_archive_is_refused() {
        for path in ["init", "/../init", "/a/./b", "/a//b", "/", "", "/a\0b"] {
            assert!(
                Initramfs::default().add(path, Entry::Dir).is_err(),
                "{path:?}"
            );
        }
    }

    #[test]
    fn cpio_lists_the_same_names() {
        let list = duct::cmd!("cpio", "-it", "--quiet").stdin_bytes(example().to_bytes().unwrap());
        // A machine without cpio has nothing to compare with.
        let Ok(listed) = list.stderr_null().read() else {
            return;
        };
        let ours: Vec<String> = example().entries.into_keys().collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), ours);
    }
}
