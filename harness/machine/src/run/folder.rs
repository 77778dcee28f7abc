//! Run folders: makes them so that no two runs meet, lists and prunes them. Deletes nothing that is not a
//! run folder. Fills none.
use rustix::fs::FlockOperation;
use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::manifest::{MANIFEST, Manifest};

/// The guest's serial console, as it came.
pub const CONSOLE: &str = "console.log";
/// [`super::events::Record`]s, one JSON object a line.
pub const EVENTS: &str = "events.jsonl";
/// QEMU's own record of the USB traffic.
pub const PCAP: &str = "usb.pcap";
/// The vmcore, whole and verified.
pub const VMCORE: &str = "vmcore";
/// What there is of a vmcore that was cut short.
pub const VMCORE_PARTIAL: &str = "vmcore.partial";
/// QEMU's own dump, where a capture kernel wrote [`VMCORE`].
pub const VMCORE_QEMU: &str = "vmcore.qemu";
/// What there is of a dump that QEMU has not ended.
pub const VMCORE_QEMU_PARTIAL: &str = "vmcore.qemu.partial";
/// QEMU's stdout and stderr.
pub const QEMU_LOG: &str = "qemu.log";
/// QEMU's command line.
pub const QEMU_ARGS: &str = "qemu.args";
/// Link to the newest run.
pub const LATEST: &str = "latest";

/// A folder that a run writes into. It is locked against pruning as long as this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes `<root>/<time>-<target>-<fault>[-n]` and points `latest` at it.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(root: &Path, time: &str, target: &str, fault: &str) -> io::Result<Self> {
        let (path, lock) = make(root, &name(time, target, fault))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        point_latest(root, &name)?;
        Ok(Self { path, _lock: lock })
    }

    /// Makes a folder at exactly this place: no run of its own, but what a boot for a snapshot leaves.
    ///
    /// # Errors
    /// The file system's; it must not be there.
    pub fn plain(path: &Path) -> io::Result<Self> {
        std::fs::create_dir(path)?;
        let path = path.canonicalize()?;
        let lock = File::open(&path)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is; absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// What a run or a campaign is called: `<time>-<target>-<fault>`.
pub(super) fn name(time: &str, target: &str, fault: &str) -> String {
    format!("{time}-{}-{}", plain(target), plain(fault))
}

/// Makes `<parent>/<name>[-n]`, which no one else has made, and locks it as long as the file lives. The path is
/// absolute.
pub(super) fn make(parent: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    std::fs::create_dir_all(parent)?;
    for n in 1..10_000 {
        let path = match n {
            1 => parent.join(name),
            n => parent.join(format!("{name}-{n}")),
        };
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let path = path.canonicalize()?;
                let lock = File::open(&path)?;
                rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
                return Ok((path, lock));
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{}: too many of that name", parent.join(name).display()),
    ))
}

/// Replaces the link at once, so that nobody sees none.
fn point_latest(root: &Path, name: &str) -> io::Result<()> {
    let temporary = root.join(format!(".latest-{name}"));
    let _ = std::fs::remove_file(&temporary);
    std::os::unix::fs::symlink(name, &temporary)?;
    std::fs::rename(&temporary, root.join(LATEST))
}

/// Only what is harmless in a file name.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let text: String = text
        .chars()
        .take(64)
        .map(|c| if keep(c) { c } else { '_' })
        .collect();
    if text.is_empty() { "_".into() } else { text }
}

/// A run on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its folder.
    pub path: PathBuf,
    /// Folder's name.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the manifest was last written.
    pub changed: SystemTime,
    /// Whether a harness is still at work in it.
    pub active: bool,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// All runs in `root`, oldest first; empty if there is no such folder. What vanishes meanwhile, because another
/// process prunes or a run renames its files, is left out.
///
/// # Errors
/// The folder cannot be read.
pub fn list(root: &Path) -> io::Result<Vec<RunSummary>> {
    let mut runs = Vec::new();
    for entry in unless_gone(std::fs::read_dir(root))?.into_iter().flatten() {
        if let Some(entry) = unless_gone(entry)?
            && let Some(run) = unless_gone(summary(&entry))?.flatten()
        {
            runs.push(run);
        }
    }
    runs.sort_by(|a, b| (&a.manifest.started, &a.name).cmp(&(&b.manifest.started, &b.name)));
    Ok(runs)
}

/// The run in a folder; `None` if it is no run's.
fn summary(entry: &DirEntry) -> io::Result<Option<RunSummary>> {
    // A link is no run folder, wherever it leads.
    if !entry.file_type()?.is_dir() {
        return Ok(None);
    }
    let path = entry.path();
    let Ok(manifest) = Manifest::load(&path) else {
        return Ok(None);
    };
    Ok(Some(RunSummary {
        name: entry.file_name().to_string_lossy().into_owned(),
        bytes: size(&path)?,
        changed: std::fs::symlink_metadata(path.join(MANIFEST))?.modified()?,
        active: lock(&path).is_none(),
        manifest,
        path,
    }))
}

/// `None` for what is not there, or not any more.
pub(super) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which runs [`prune`] deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// All but the newest so many.
    Keep(usize),
    /// Those last changed longer ago than this.
    OlderThan(Duration),
}

/// The runs that [`prune`] would delete.
///
/// # Errors
/// The folder cannot be read.
pub fn chosen(root: &Path, which: Prune) -> io::Result<Vec<RunSummary>> {
    let mut runs = list(root)?;
    let newest = runs.len();
    let mut index = 0;
    runs.retain(|run| {
        let wanted = match which {
            Prune::Keep(count) => index + count < newest,
            Prune::OlderThan(age) => run.changed.elapsed().is_ok_and(|spent| spent > age),
        };
        index += 1;
        wanted && !run.active
    });
    Ok(runs)
}

/// Deletes runs and returns them, and what is left of campaigns that thereby have none. Runs at work and folders that
/// are no runs stay.
///
/// # Errors
/// The file system's.
pub fn prune(root: &Path, which: Prune) -> io::Result<Vec<RunSummary>> {
    let mut gone = Vec::new();
    for run in chosen(root, which)? {
        // Held while deleting: whoever lists meanwhile sees it as at work.
        let Some(_lock) = lock(&run.path) else {
            continue;
        };
        if unless_gone(std::fs::remove_dir_all(&run.path))?.is_some() {
            gone.push(run);
        }
    }
    repoint_latest(root)?;
    super::campaign::prune_empty(root, &list(root)?)?;
    Ok(gone)
}

/// After deletions: `latest` points at the newest run that is left, or is gone.
fn repoint_latest(root: &Path) -> io::Result<()> {
    let latest = root.join(LATEST);
    if !latest.is_symlink() || latest.exists() {
        return Ok(());
    }
    match list(root)?.last() {
        Some(run) => point_latest(root, &run.name),
        None => unless_gone(std::fs::remove_file(latest)).map(drop),
    }
}

/// The folder's lock, or `None` while a run holds it.
pub(super) fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Bytes that a folder's files take on disk.
fn size(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in unless_gone(std::fs::read_dir(path))?.into_iter().flatten() {
        let Some(entry) = unless_gone(entry)? else {
            continue;
        };
        bytes += match unless_gone(entry.metadata())? {
            Some(meta) if meta.is_dir() => size(&entry.path())?,
            Some(meta) => meta.blocks() * 512,
            None => 0,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::manifest::tests::manifest;

    /// Makes finished runs with these start times, prunes, and compares the names that are left.
    fn check(started: &[&str], which: Prune, expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        for time in started {
            let folder = RunFolder::create(root.path(), time, "t", "f").unwrap();
            manifest(time).store(folder.path()).unwrap();
        }
        prune(root.path(), which).unwrap();
        let left: Vec<_> = list(root.path())
            .unwrap()
            .into_iter()
            .map(|run| run.name)
            .collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_newest_are_kept() {
        check(&["1", "2", "3"], Prune::Keep(1), &["3-t-f"]);
        check(&["1", "2"], Prune::Keep(5), &["1-t-f", "2-t-f"]);
        check(&["1"], Prune::Keep(0), &[]);
    }

    #[test]
    fn what_is_not_old_is_kept() {
        check(
            &["1"],
            Prune::OlderThan(Duration::from_secs(3600)),
            &["1-t-f"],
        );
    }

    #[test]
    fn runs_of_the_same_second_do_not_meet() {
        let root = tempfile::tempdir().unwrap();
        let a = RunFolder::create(root.path(), "1", "t", "f").unwrap();
        let b = RunFolder::create(root.path(), "1", "t", "f").unwrap();
        assert_ne!(a.path(), b.path());
        assert!(b.path().ends_with("1-t-f-2"));
        assert_eq!(
            root.path().join(LATEST).canonicalize().unwrap(),
            b.path(),
            "latest"
        );
    }

    #[test]
    fn a_run_at_work_is_not_pruned() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "1", "t", "f").unwrap();
        manifest("1").store(folder.path()).unwrap();
        assert!(list(root.path()).unwrap()[0].active);
        assert_eq!(prune(root.path(), Prune::Keep(0)).unwrap(), []);
        drop(folder);
        assert_eq!(prune(root.path(), Prune::Keep(0)).unwrap().len(), 1);
        assert!(!root.path().join(LATEST).is_symlink());
    }

    #[test]
    fn files_that_come_and_go_spoil_no_list() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "1", "t", "f").unwrap();
        manifest("1").store(folder.path()).unwrap();
        let deep = folder.path().join("deep");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::create_dir_all(&deep).unwrap();
                    std::fs::write(deep.join("x"), "x").unwrap();
                    std::fs::remove_dir_all(&deep).unwrap();
                }
            });
            let lists: Vec<_> = (0..500).map(|_| list(root.path())).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            for runs in lists {
                assert_eq!(runs.unwrap().len(), 1);
            }
        });
        assert_eq!(size(&root.path().join("gone")).unwrap(), 0);
    }

    #[test]
    fn what_is_no_run_is_never_deleted() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        manifest("1").store(elsewhere.path()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("precious")).unwrap();
        std::fs::write(root.path().join("precious").join(MANIFEST), "{}").unwrap();
        assert_eq!(prune(root.path(), Prune::Keep(0)).unwrap(), []);
        assert!(root.path().join("precious").exists());
        assert!(elsewhere.path().join(MANIFEST).exists());
    }

    #[test]
    fn a_name_cannot_leave_the_root() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "1", "../../x", "a/b").unwrap();
        assert_eq!(
            folder.path().parent(),
            Some(&*root.path().canonicalize().unwrap())
        );
    }
}
