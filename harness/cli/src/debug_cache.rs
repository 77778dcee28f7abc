//! What was derived from debug information, kept between runs under `debuginfo/<build id>/` of the cache.
//!
//! A cache that is missing, damaged, older, full or read-only costs time and nothing else.
use recrash_debuginfo::dwarf::kept::{self, Kept};
use recrash_kernel::open::build_id::hexadecimal;
use recrash_machine::setup::cache::Cache;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes that all builds together may take; beyond, those that were written longest ago go.
const TOTAL_MAX: u64 = 256 << 20;
/// A larger file was not written here.
const FILE_MAX: u64 = 64 << 20;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct DebugCache {
    root: PathBuf,
}

impl DebugCache {
    /// Where the other things are kept; `None` where there is no place for any.
    pub(crate) fn find() -> Option<Self> {
        let root = Cache::find().ok()?.root().join("debuginfo");
        Some(Self { root })
    }

    /// What is kept of a build, if it is whole.
    pub(crate) fn load(&self, kind: Kept, build_id: &[u8]) -> Option<Vec<u8>> {
        let file = self.file(kind, build_id)?;
        if std::fs::metadata(&file).ok()?.len() > FILE_MAX {
            return None;
        }
        let bytes = std::fs::read(file).ok()?;
        kept::unwrap(kind, build_id, &bytes).map(<[u8]>::to_vec)
    }

    /// Keeps something. It appears whole or not at all, so runs at the same time do not disturb each other.
    pub(crate) fn store(&self, kind: Kept, build_id: &[u8], payload: &[u8]) {
        let Some(file) = self.file(kind, build_id) else {
            return;
        };
        let wrapped = kept::wrap(kind, build_id, payload);
        if wrapped.len() as u64 <= FILE_MAX && write(&file, &wrapped).is_ok() {
            self.evict(&file);
        }
    }

    fn file(&self, kind: Kept, build_id: &[u8]) -> Option<PathBuf> {
        let name = match kind {
            Kept::Index => "index",
            Kept::Types => "types",
        };
        let folder = (!build_id.is_empty()).then(|| hexadecimal(build_id))?;
        Some(self.root.join(folder).join(name))
    }

    /// Removes the builds written longest ago, until the rest fits. That of `keep` stays.
    fn evict(&self, keep: &Path) {
        let mut builds: Vec<(SystemTime, u64, PathBuf)> = entries(&self.root)
            .map(|folder| {
                let files = entries(&folder).filter_map(|file| file.metadata().ok());
                let mut newest = SystemTime::UNIX_EPOCH;
                let mut size = 0;
                for file in files {
                    newest = newest.max(file.modified().unwrap_or(SystemTime::UNIX_EPOCH));
                    size += file.len();
                }
                (newest, size, folder)
            })
            .collect();
        builds.sort();
        let mut total: u64 = builds.iter().map(|(_, size, _)| size).sum();
        for (_, size, folder) in builds {
            if total <= TOTAL_MAX {
                break;
            }
            if !keep.starts_with(&folder) && std::fs::remove_dir_all(&folder).is_ok() {
                total -= size;
            }
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path())
}

fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut scratch = tempfile::NamedTempFile::new_in(folder)?;
    scratch.write_all(bytes)?;
    scratch.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &tempfile::TempDir) -> DebugCache {
        DebugCache {
            root: dir.path().join("debuginfo"),
        }
    }

    #[test]
    fn what_was_stored_is_loaded_for_its_build_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        assert_eq!(cache.load(Kept::Index, &[1, 0xab]), None);
        cache.store(Kept::Index, &[1, 0xab], b"rows");
        assert_eq!(cache.load(Kept::Index, &[1, 0xab]), Some(b"rows".to_vec()));
        assert_eq!(cache.load(Kept::Types, &[1, 0xab]), None);
        assert_eq!(cache.load(Kept::Index, &[1, 0xac]), None);
        assert!(cache.root.join("01ab/index").is_file());
    }

    #[test]
    fn a_damaged_file_is_not_loaded_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        cache.store(Kept::Types, &[1], b"types");
        let file = cache.root.join("01/types");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(cache.load(Kept::Types, &[1]), None);
        cache.store(Kept::Types, &[1], b"types");
        assert_eq!(cache.load(Kept::Types, &[1]), Some(b"types".to_vec()));
    }

    #[test]
    fn what_was_written_longest_ago_is_evicted() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        for (id, age) in [(1u8, 300), (2, 200), (3, 100)] {
            cache.store(Kept::Index, &[id], b"x");
            let path = cache.root.join(hexadecimal(&[id])).join("index");
            let file = std::fs::File::options().write(true).open(path).unwrap();
            // Sparse, so that nothing is written.
            file.set_len(TOTAL_MAX / 2).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(then).unwrap();
        }
        cache.store(Kept::Index, &[4], b"x");
        let left: Vec<bool> = (1..=4u8)
            .map(|id| cache.root.join(hexadecimal(&[id])).is_dir())
            .collect();
        assert_eq!(left, [false, false, true, true]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_error() {
        let cache = DebugCache {
            root: "/proc/nowhere".into(),
        };
        cache.store(Kept::Index, &[1], b"x");
        assert_eq!(cache.load(Kept::Index, &[1]), None);
    }
}
