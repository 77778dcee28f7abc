//! Where added kernels lie: `targets/<name>/` of recrash's data folder. They are a person's, not a cache: only
//! `remove` deletes one. A folder appears whole or not at all.
use super::record::{RECORD, Record};
use super::refuse;
use crate::setup::SetupError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The target as people write it; may be edited.
pub(super) const TARGET: &str = "target.toml";
const MAX_NAME: usize = 64;
/// Largest record that is read; 5,000 modules make 1 MiB.
const MAX_RECORD: u64 = 64 << 20;

/// The folder of added kernels.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// An added kernel.
#[derive(Debug, Clone)]
pub struct Added {
    /// The target's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it is made of.
    pub record: Record,
}

impl Store {
    /// `$RECRASH_DATA`, else `$XDG_DATA_HOME/recrash`, else `~/.local/share/recrash` (XDG Base Directory
    /// Specification 0.8: relative paths are ignored).
    ///
    /// # Errors
    /// When none of them is set.
    pub fn find() -> Result<Self, SetupError> {
        let path = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        path("RECRASH_DATA")
            .or_else(|| path("XDG_DATA_HOME").map(|dir| dir.join("recrash")))
            .or_else(|| path("HOME").map(|dir| dir.join(".local/share/recrash")))
            .map(|data| Self::at(&data))
            .ok_or_else(|| {
                SetupError::NoRoot("no place for added kernels: set HOME or RECRASH_DATA".into())
            })
    }

    /// Below this data folder.
    #[must_use]
    pub fn at(data: &Path) -> Self {
        Self {
            root: data.join("targets"),
        }
    }

    /// The names of all added kernels, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| self.target_file(name).is_some())
            .collect();
        names.sort();
        names
    }

    /// The target's file, if there is such an added kernel.
    #[must_use]
    pub fn target_file(&self, name: &str) -> Option<PathBuf> {
        let file = self.root.join(name).join(TARGET);
        (is_name(name) && file.is_file()).then_some(file)
    }

    /// Reads an added kernel's record; whether the files are still what it says, [`Added::verify`] tells.
    ///
    /// # Errors
    /// [`SetupError::Added`] when there is none, or none that can be used.
    pub fn open(&self, name: &str) -> Result<Added, SetupError> {
        if self.target_file(name).is_none() {
            return Err(refuse(
                format!("no kernel was added under the name {name}"),
                "recrash target add --help",
            ));
        }
        let folder = self.root.join(name);
        let record = read_record(&folder.join(RECORD)).ok_or_else(|| {
            refuse(
                format!("{} cannot be used", folder.join(RECORD).display()),
                format!("add the kernel again with --force, or recrash target remove {name}"),
            )
        })?;
        Ok(Added {
            name: name.into(),
            folder,
            record,
        })
    }

    /// Deletes an added kernel.
    ///
    /// # Errors
    /// [`SetupError::Added`] when there is none, [`SetupError::Io`].
    pub fn remove(&self, name: &str) -> Result<PathBuf, SetupError> {
        if !(is_name(name) && self.root.join(name).is_dir()) {
            return Err(refuse(
                format!("no kernel was added under the name {name}"),
                match self.names().join(", ") {
                    names if names.is_empty() => "none was added at all".to_owned(),
                    names => format!("those that were added: {names}"),
                },
            ));
        }
        let _held = self.exclusive()?;
        let folder = self.root.join(name);
        // Out of sight first, so that nobody finds half of it.
        let scratch = self.scratch()?;
        let gone = scratch.path().join("gone");
        std::fs::rename(&folder, &gone).map_err(SetupError::io("removing", &folder))?;
        scratch
            .close()
            .map_err(SetupError::io("removing", &folder))?;
        Ok(folder)
    }

    /// Whether a kernel was added under this name, whole or not.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.root.join(name).exists()
    }

    /// Held while kernels are added or removed; until dropped, or until the process dies.
    pub(super) fn exclusive(&self) -> Result<File, SetupError> {
        use rustix::fs::FlockOperation::LockExclusive;
        let root = &self.root;
        std::fs::create_dir_all(root).map_err(SetupError::io("making", root))?;
        let path = root.join(".in-use");
        let file = File::create(&path).map_err(SetupError::io("opening", &path))?;
        rustix::fs::flock(&file, LockExclusive)
            .map_err(|error| SetupError::io("locking", &path)(error.into()))?;
        // What a killed process left; nobody else is at work.
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                // Left where it is, it only takes room.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(file)
    }

    /// A folder beside the others that is removed in the end.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, SetupError> {
        tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(&self.root)
            .map_err(SetupError::io("making a folder in", &self.root))
    }

    /// Puts a finished folder in its place, instead of one that may be there.
    pub(super) fn keep(&self, finished: &Path, name: &str) -> Result<PathBuf, SetupError> {
        let folder = self.root.join(name);
        let old = self.scratch()?;
        if folder.exists() {
            let aside = old.path().join("old");
            std::fs::rename(&folder, &aside).map_err(SetupError::io("replacing", &folder))?;
        }
        std::fs::rename(finished, &folder).map_err(SetupError::io("renaming to", &folder))?;
        Ok(folder)
    }

    /// # Errors
    /// When make could not work there: it splits names at spaces, and kbuild refuses colons.
    pub(super) fn check_path(&self) -> Result<(), SetupError> {
        let path = self.root.display().to_string();
        if path.contains([' ', ':', '\t', '\n', '#', '$', '%']) {
            return Err(refuse(
                format!("the folder {path} must not have blanks or any of :#$% in its path"),
                "set RECRASH_DATA to another folder",
            ));
        }
        Ok(())
    }
}

const SCRATCH: &str = ".new-";

fn read_record(file: &Path) -> Option<Record> {
    use std::io::Read;
    let mut text = String::new();
    let file = File::open(file).ok()?;
    file.take(MAX_RECORD).read_to_string(&mut text).ok()?;
    serde_json::from_str::<Record>(&text)
        .ok()
        .filter(Record::is_usable)
}

/// Lower-case letters, digits, `.` and `-`; so it is never a path or an option.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

impl Added {
    /// An absolute path of the record's.
    #[must_use]
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }

    /// Where debug symbols of the kernel's packages lie, if they were among them.
    #[must_use]
    pub fn debug_dir(&self) -> Option<PathBuf> {
        let dir = self.folder.join(super::record::ROOT).join("usr/lib/debug");
        dir.is_dir().then_some(dir)
    }

    /// Checks that all files are still what was added: by size and time of change, or by hash if `thorough`.
    ///
    /// # Errors
    /// [`SetupError::Added`] naming the first one that is not.
    pub fn verify(&self, thorough: bool) -> Result<(), SetupError> {
        for file in &self.record.files {
            if let Some(problem) = file.problem(&self.folder, thorough)? {
                let path = self.path(&file.path);
                return Err(self.changed(&format!("{} {problem}", path.display())));
            }
        }
        match &self.record.headers {
            Some(headers) if thorough && headers.path.is_relative() => {
                let root = self.folder.join(super::record::ROOT);
                if super::find::inner_headers_key(&root)? == headers.key {
                    return Ok(());
                }
                let path = self.path(&headers.path);
                Err(self.changed(&format!("{} was changed", path.display())))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn changed(&self, what: &str) -> SetupError {
        refuse(
            format!("target {}: {what} since it was added", self.name),
            format!(
                "add it again with --force, or recrash target remove {}",
                self.name
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths_and_no_options() {
        for good in ["mine", "rhel-8.1", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".new-x", "..", "-x", "a/b", "A", "a_b", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_folder_replaces_the_one_before_and_is_removed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let _held = store.exclusive().unwrap();
        let put = |text: &str| {
            let scratch = store.scratch().unwrap();
            let new = scratch.path().join("x");
            std::fs::create_dir(&new).unwrap();
            std::fs::write(new.join(TARGET), text).unwrap();
            store.keep(&new, "mine").unwrap()
        };
        put("old");
        let folder = put("new");
        assert_eq!(std::fs::read_to_string(folder.join(TARGET)).unwrap(), "new");
        assert_eq!(store.names(), ["mine"]);
        drop(_held);
        store.remove("mine").unwrap();
        assert_eq!(store.names(), [""; 0]);
        assert!(store.remove("mine").is_err());
        let left = std::fs::read_dir(dir.path().join("targets")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".in-use"]);
    }

    #[test]
    fn what_a_killed_add_left_is_removed_and_never_a_target() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let left = dir.path().join("targets/.new-abc");
        std::fs::create_dir_all(&left).unwrap();
        std::fs::write(left.join(TARGET), "").unwrap();
        assert_eq!(store.names(), [""; 0]);
        drop(store.exclusive().unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn a_record_that_points_out_of_its_folder_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let folder = dir.path().join("targets/mine");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(TARGET), "").unwrap();
        let record = |image: &str| {
            let text = format!(
                r#"{{"schema": 1, "added": "", "origin": {{"kind": "deb"}}, "packages": [], "release": "6.1",
                "image": "{image}", "modules": "root/lib/modules/6.1", "config": null, "system-map": null,
                "vmlinux": null, "headers": null, "compiler": null, "prebuilt": null, "limits": [], "files": []}}"#
            );
            std::fs::write(folder.join(RECORD), text).unwrap();
            store.open("mine").is_ok()
        };
        assert!(record("root/boot/vmlinuz-6.1"));
        assert!(!record("../../../boot/vmlinuz"));
        assert!(!record("/boot/vmlinuz"));
    }
}
