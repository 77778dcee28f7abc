//! `snapshot.json`: what a snapshot was made of, and the hashes of its files. A snapshot is only used for a run that
//! would make the same one, and only as long as its files are what they were. Makes and restores nothing.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::super::capture::hex;
use crate::usbredir::DeviceState;

/// Name of the record in a snapshot's folder.
pub const RECORD: &str = "snapshot.json";
/// The guest's memory, as many bytes as it has; mostly a hole.
pub const MEMORY: &str = "memory";
/// All else that the machine is, as QEMU wrote it.
pub const STATE: &str = "state";
/// Version of the record's form, and of what restoring relies on: the order of what host and agent say.
const SCHEMA: u32 = 1;
/// Largest record that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// How much of a value an error shows.
const SHOWN: usize = 100;

/// What a snapshot is made of, by names for people; equal only if every value is.
pub type Origin = BTreeMap<String, String>;

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// [`SCHEMA`].
    recrash_snapshot: u32,
    /// When it was made (RFC 3339).
    pub made: String,
    /// What of.
    pub origin: Origin,
    /// What the USB device's connection was.
    pub device: DeviceState,
    /// [`MEMORY`] and [`STATE`].
    files: Vec<KeptFile>,
}

/// A file and what it was when the snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Why a kept snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No record, or none that can be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no record.
    #[error("{} is no record of a snapshot: {why}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Of another form.
    #[error("the snapshot in {} has form {found}, this recrash makes and reads {SCHEMA}", folder.display())]
    Schema {
        /// The snapshot's folder.
        folder: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Made of something else than this run would be.
    #[error("the snapshot in {} was made of something else:\n{}", folder.display(), differences.join("\n"))]
    Differs {
        /// The snapshot's folder.
        folder: PathBuf,
        /// What differs, one each.
        differences: Vec<String>,
    },
    /// A file is not what it was.
    #[error("{} is not what it was when the snapshot was made: {why}", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
        /// How that shows.
        why: String,
    },
}

impl SnapshotRecord {
    /// A record of the files that lie in `folder` now.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(
        folder: &Path,
        made: String,
        origin: Origin,
        device: DeviceState,
    ) -> io::Result<Self> {
        let files = [MEMORY, STATE].map(|name| KeptFile::of(folder, name));
        Ok(Self {
            recrash_snapshot: SCHEMA,
            made,
            origin,
            device,
            files: files.into_iter().collect::<io::Result<_>>()?,
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file system's.
    pub fn store(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        File::create_new(folder.join(RECORD))?.write_all(&text)
    }

    /// Reads a folder's record.
    ///
    /// # Errors
    /// [`SnapshotError`]
    pub fn load(folder: &Path) -> Result<Self, SnapshotError> {
        let file = folder.join(RECORD);
        let io_error = |source| SnapshotError::Io {
            file: file.clone(),
            source,
        };
        let malformed = |why: String| SnapshotError::Malformed {
            file: file.clone(),
            why,
        };
        let mut text = Vec::new();
        let opened = File::open(&file).map_err(io_error)?;
        opened
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(io_error)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(malformed("it is too large".into()));
        }
        let schema: Schema =
            serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if schema.recrash_snapshot != SCHEMA {
            return Err(SnapshotError::Schema {
                folder: folder.into(),
                found: schema.recrash_snapshot,
            });
        }
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))
    }

    /// Checks that it was made of this.
    ///
    /// # Errors
    /// [`SnapshotError::Differs`] with each difference.
    pub fn is_made_of(&self, wanted: &Origin, folder: &Path) -> Result<(), SnapshotError> {
        let nothing = String::new();
        let names: std::collections::BTreeSet<&String> =
            self.origin.keys().chain(wanted.keys()).collect();
        let differences: Vec<String> = names
            .into_iter()
            .filter_map(|name| {
                let was = self.origin.get(name).unwrap_or(&nothing);
                let is = wanted.get(name).unwrap_or(&nothing);
                (was != is).then(|| difference(name, was, is))
            })
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(SnapshotError::Differs {
            folder: folder.into(),
            differences,
        })
    }

    /// Checks that the files are what they were.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`], or one cannot be read.
    pub fn is_whole(&self, folder: &Path) -> Result<(), SnapshotError> {
        for name in [MEMORY, STATE] {
            let file = folder.join(name);
            let changed = |why: String| SnapshotError::Changed {
                file: file.clone(),
                why,
            };
            let Some(was) = self.files.iter().find(|kept| kept.name == name) else {
                return Err(changed("the record does not have it".into()));
            };
            let is = KeptFile::of(folder, name).map_err(|source| SnapshotError::Io {
                file: file.clone(),
                source,
            })?;
            if is.bytes != was.bytes {
                return Err(changed(format!("{} bytes, then {}", is.bytes, was.bytes)));
            }
            if is.sha256 != was.sha256 {
                return Err(changed(format!(
                    "its SHA-256 is {}, then {}",
                    is.sha256, was.sha256
                )));
            }
        }
        Ok(())
    }
}

/// The one field that every form has.
#[derive(Deserialize)]
struct Schema {
    recrash_snapshot: u32,
}

impl KeptFile {
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path)?.len();
        Ok(Self {
            name: name.into(),
            bytes,
            sha256: file_sha256(&path)?,
        })
    }
}

/// SHA-256 of a file's bytes in hexadecimal.
pub(super) fn file_sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn difference(name: &str, was: &str, is: &str) -> String {
    // Long ones differ somewhere in the middle: what is shown begins shortly before.
    let common = was
        .char_indices()
        .zip(is.chars())
        .take_while(|((_, a), b)| a == b)
        .count();
    let from = common.saturating_sub(SHOWN / 4);
    let cut = |text: &str| {
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let before = if from > 0 { "…" } else { "" };
        let after = if text.chars().count() > from + SHOWN {
            "…"
        } else {
            ""
        };
        if shown.is_empty() {
            return "nothing".to_owned();
        }
        format!("{before}{shown}{after}")
    };
    format!("  {name}: {}, now {}", cut(was), cut(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(pairs: &[(&str, &str)]) -> Origin {
        let owned = pairs.iter().map(|(a, b)| ((*a).into(), (*b).into()));
        owned.collect()
    }

    const STATE_OF_DEVICE: &str = r#"{"peer": 96, "configuration": 1, "matched": [0, 2]}"#;

    /// A snapshot of two small files.
    fn kept() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MEMORY), vec![7; 5000]).unwrap();
        std::fs::write(dir.path().join(STATE), "state").unwrap();
        let record = SnapshotRecord::of(
            dir.path(),
            "2026-12-01T00:00:00Z".into(),
            origin(&[("kernel", "6.1"), ("fault", "early-free")]),
            serde_json::from_str(STATE_OF_DEVICE).unwrap(),
        );
        record.unwrap().store(dir.path()).unwrap();
        dir
    }

    /// Changes a kept snapshot, reads it, and checks it for this origin; `None`: it is used.
    fn check(change: impl FnOnce(&Path), wanted: &[(&str, &str)], expected: Option<&str>) {
        let dir = kept();
        change(dir.path());
        let checked = SnapshotRecord::load(dir.path()).and_then(|record| {
            record.is_made_of(&origin(wanted), dir.path())?;
            record.is_whole(dir.path())
        });
        match (checked, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => {
                let error = error.to_string();
                assert!(error.contains(part), "{error}");
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    const SAME: [(&str, &str); 2] = [("kernel", "6.1"), ("fault", "early-free")];

    #[test]
    fn a_snapshot_of_the_same_is_used() {
        check(|_| {}, &SAME, None);
    }

    #[test]
    fn a_snapshot_of_something_else_is_refused_by_name() {
        let other = [("kernel", "6.1"), ("fault", "none")];
        check(|_| {}, &other, Some("  fault: early-free, now none"));
        check(
            |_| {},
            &[("kernel", "6.1")],
            Some("  fault: early-free, now nothing"),
        );
    }

    #[test]
    fn files_that_were_cut_or_changed_are_refused() {
        let cut = |dir: &Path| {
            let file = File::options().write(true).open(dir.join(MEMORY)).unwrap();
            file.set_len(4999).unwrap();
        };
        check(cut, &SAME, Some("4999 bytes, then 5000"));
        let flip = |dir: &Path| std::fs::write(dir.join(STATE), "stale").unwrap();
        check(flip, &SAME, Some("state is not what it was"));
        let gone = |dir: &Path| std::fs::remove_file(dir.join(STATE)).unwrap();
        check(gone, &SAME, Some("state"));
    }

    #[test]
    fn a_record_of_another_form_or_of_none_is_refused() {
        let newer = |dir: &Path| {
            std::fs::write(dir.join(RECORD), r#"{"recrash_snapshot": 99}"#).unwrap();
        };
        check(newer, &SAME, Some("has form 99, this recrash"));
        let rubbish = |dir: &Path| std::fs::write(dir.join(RECORD), "]").unwrap();
        check(rubbish, &SAME, Some("no record of a snapshot"));
        let none = |dir: &Path| std::fs::remove_file(dir.join(RECORD)).unwrap();
        check(none, &SAME, Some(RECORD));
        let file_missing = |dir: &Path| {
            let file = dir.join(RECORD);
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, text.replace("\"state\"", "\"other\"")).unwrap();
        };
        check(file_missing, &SAME, Some("the record does not have it"));
    }

    #[test]
    fn a_long_value_is_shown_where_it_differs() {
        let long = |end: &str| format!("{}{end}{}", "x".repeat(300), "y".repeat(300));
        let text = difference("command line", &long("A"), &long("B"));
        assert!(text.contains("xA") && text.contains("xB"), "{text}");
        assert!(text.len() < 300, "{text}");
    }
}
