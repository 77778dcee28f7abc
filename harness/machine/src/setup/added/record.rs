//! What an added kernel is made of: `record.json` in its folder. Written once, by `add`.
use crate::setup::{LockedPackage, SetupError, hash};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Of the record's form.
pub(super) const SCHEMA: u32 = 1;
/// Name inside the target's folder.
pub(super) const RECORD: &str = "record.json";
/// The unpacked files, inside the target's folder.
pub(super) const ROOT: &str = "root";

/// What an added kernel is made of. Paths are relative to the target's folder unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// Version of this form.
    pub schema: u32,
    /// When it was added (RFC 3339).
    pub added: String,
    /// What it came from.
    pub origin: Origin,
    /// The packages it came from; their files are not kept.
    pub packages: Vec<LockedPackage>,
    /// `uname -r`.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
    /// The kernel's configuration.
    pub config: Option<PathBuf>,
    /// System.map.
    pub system_map: Option<PathBuf>,
    /// vmlinux with DWARF.
    pub vmlinux: Option<PathBuf>,
    /// What repro-module is built against; `None` with a prebuilt one.
    pub headers: Option<Headers>,
    /// What it is built with; `None` with a prebuilt one.
    pub compiler: Option<Compiler>,
    /// A repro.ko that was given.
    pub prebuilt: Option<PathBuf>,
    /// What does not work with this kernel.
    pub limits: Vec<Limit>,
    /// Every file but those of the headers.
    pub files: Vec<FileNote>,
}

/// What a kernel came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// Debian packages.
    Deb,
    /// RPM packages.
    Rpm,
    /// A folder that `make` has built in.
    Tree {
        /// Absolute.
        path: PathBuf,
    },
    /// An installed kernel.
    Host {
        /// Where `/boot` and `/lib/modules` lie; `/` for the host itself.
        path: PathBuf,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deb => f.write_str("Debian packages"),
            Self::Rpm => f.write_str("RPM packages"),
            Self::Tree { path } => write!(f, "the built tree {}", path.display()),
            Self::Host { path } if path == Path::new("/") => f.write_str("the host's own kernel"),
            Self::Host { path } => write!(f, "the kernel installed below {}", path.display()),
        }
    }
}

/// What modules are built against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// Relative to the target's folder, or absolute: a built tree is used where it lies.
    pub path: PathBuf,
    /// Hash of what they say; a module is built anew when it changes.
    pub key: String,
}

/// What repro-module is built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compiler {
    /// For example `gcc-12`, or a path.
    pub program: String,
    /// What make is told, for example `CC=gcc-12`.
    pub variables: Vec<String>,
}

/// Something that does not work with a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// For example `CONFIG_KEXEC_FILE is off`.
    pub because: String,
    /// For example `kdump cannot write the vmcore`.
    pub what: String,
    /// What to do instead.
    pub hint: String,
}

/// A file as it was when it was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileNote {
    /// Relative to the target's folder.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Time of last change: seconds and nanoseconds.
    pub changed: (i64, i64),
    /// SHA-256, in hex.
    pub sha256: String,
}

impl FileNote {
    /// Hashes `folder`/`path`.
    pub(super) fn of(folder: &Path, path: &Path) -> Result<Self, SetupError> {
        let file = folder.join(path);
        let found = file.metadata().map_err(SetupError::io("reading", &file))?;
        Ok(Self {
            path: path.into(),
            size: found.len(),
            changed: (found.mtime(), found.mtime_nsec()),
            sha256: hash::file(&file)?,
        })
    }

    /// What is wrong with the file now. Its bytes are hashed if its time has changed, or if `thorough`.
    pub(super) fn problem(
        &self,
        folder: &Path,
        thorough: bool,
    ) -> Result<Option<&'static str>, SetupError> {
        let file = folder.join(&self.path);
        let Ok(found) = file.symlink_metadata() else {
            return Ok(Some("is missing"));
        };
        if !found.is_file() || found.len() != self.size {
            return Ok(Some("was changed"));
        }
        let same_time = self.changed == (found.mtime(), found.mtime_nsec());
        let same = (same_time && !thorough) || hash::file(&file)? == self.sha256;
        Ok((!same).then_some("was changed"))
    }
}

impl Record {
    /// What is read becomes part of paths and command lines.
    pub(super) fn is_usable(&self) -> bool {
        let mut paths = vec![&self.image, &self.modules];
        paths.extend(
            [
                &self.config,
                &self.system_map,
                &self.vmlinux,
                &self.prebuilt,
            ]
            .into_iter()
            .flatten(),
        );
        paths.extend(self.files.iter().map(|file| &file.path));
        let headers = self
            .headers
            .iter()
            .all(|headers| is_inside(&headers.path) || headers.path.is_absolute());
        self.schema == SCHEMA
            && headers
            && is_release(&self.release)
            && paths.into_iter().all(|path| is_inside(path))
    }
}

fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
}

/// What `uname -r` may say: `UTS_LEN` bytes (include/uapi/linux/utsname.h), and nothing that a path or make would
/// take for something else.
pub(super) fn is_release(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_as_it_was_only_while_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vmlinuz");
        std::fs::write(&file, "kernel").unwrap();
        let note = FileNote::of(dir.path(), Path::new("vmlinuz")).unwrap();
        let check = |thorough| note.problem(dir.path(), thorough).unwrap();
        assert_eq!((check(false), check(true)), (None, None));
        // The same bytes at another time, other bytes of the same length, another length, none.
        std::fs::write(&file, "kernel").unwrap();
        assert_eq!(check(false), None);
        std::fs::write(&file, "Kernel").unwrap();
        assert_eq!(check(false), Some("was changed"));
        std::fs::write(&file, "kern").unwrap();
        assert_eq!(check(false), Some("was changed"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(check(false), Some("is missing"));
    }

    #[test]
    fn a_change_that_hides_its_time_is_found_by_hashing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vmlinuz");
        std::fs::write(&file, "kernel").unwrap();
        let note = FileNote::of(dir.path(), Path::new("vmlinuz")).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        std::fs::write(&file, "Kernel").unwrap();
        let open = std::fs::File::options().write(true).open(&file).unwrap();
        open.set_modified(time).unwrap();
        assert_eq!(note.problem(dir.path(), false).unwrap(), None);
        assert_eq!(note.problem(dir.path(), true).unwrap(), Some("was changed"));
    }

    #[test]
    fn releases_are_those_of_kernels() {
        for good in [
            "4.18.0-147.5.1.el8_1.x86_64",
            "6.1.0-56-amd64",
            "6.7.0-rc1+",
            "5.15.0~x",
        ] {
            assert!(is_release(good), "{good}");
        }
        for bad in ["", "..", "-x", "a/b", "a b", &"x".repeat(65)] {
            assert!(!is_release(bad), "{bad}");
        }
    }
}
