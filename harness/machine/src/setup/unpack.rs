//! Writes what untrusted archives hold below a folder that is not the system's root: nothing outside of it,
//! nothing through a link, nothing over what is there, and not without limit. Knows no archive format.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// How much a folder may be given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries of all archives together, wanted or not.
    pub(super) entries: u64,
    /// Bytes of what is written.
    pub(super) bytes: u64,
}

/// A folder that archives are unpacked into.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    root: &'a Path,
    limits: Limits,
    entries: u64,
    bytes: u64,
}

impl<'a> Folder<'a> {
    /// Nothing is in it yet, as far as the limits go.
    pub(super) fn new(root: &'a Path, limits: Limits) -> Self {
        Self {
            root,
            limits,
            entries: 0,
            bytes: 0,
        }
    }

    /// Counts an entry of an archive, also one that nobody wants.
    pub(super) fn count(&mut self) -> Result<(), String> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(format!("more than {} entries", self.limits.entries));
        }
        Ok(())
    }

    /// Makes a folder; one that is there is kept.
    pub(super) fn dir(&self, path: &Path) -> Result<(), String> {
        self.make_parents(path)?;
        let to = self.root.join(path);
        match std::fs::create_dir(&to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_real_dir(&to) => {
                Ok(())
            }
            other => other.map_err(|error| error.to_string()),
        }
    }

    /// Writes a file of `size` bytes, as the archive states it.
    pub(super) fn file(
        &mut self,
        path: &Path,
        executable: bool,
        size: u64,
        from: &mut impl Read,
    ) -> Result<(), String> {
        let left = self.limits.bytes.saturating_sub(self.bytes);
        if size > left {
            return Err(format!(
                "has {size} bytes; all of it together may have {}",
                self.limits.bytes
            ));
        }
        let mut file = self.create(path, executable)?;
        let written = io::copy(&mut from.take(size), &mut file).and_then(|count| {
            file.flush()?;
            Ok(count)
        });
        let written = written.map_err(|error| error.to_string())?;
        self.bytes += written;
        if written < size {
            return Err(format!("ends after {written} of {size} bytes"));
        }
        Ok(())
    }

    /// Opens a new file: never through a link, nor over what another entry has written.
    fn create(&self, path: &Path, executable: bool) -> Result<File, String> {
        self.make_parents(path)?;
        let mode = if executable { 0o755 } else { 0o644 };
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(mode);
        options
            .open(self.root.join(path))
            .map_err(|error| error.to_string())
    }

    /// Makes a symbolic link, relative to the folder; refused if it would lead out of it.
    pub(super) fn symlink(&self, path: &Path, target: &Path) -> Result<(), String> {
        self.make_parents(path)?;
        let target = link_target(path, target)
            .ok_or_else(|| format!("links to {}, outside", target.display()))?;
        symlink(target, self.root.join(path)).map_err(|error| error.to_string())
    }

    /// Makes a second name for a file of the folder.
    pub(super) fn hard_link(&self, path: &Path, target: &Path) -> Result<(), String> {
        self.make_parents(path)?;
        let target =
            inside(target).ok_or_else(|| format!("links to {}, outside", target.display()))?;
        self.make_parents(&target)?;
        std::fs::hard_link(self.root.join(target), self.root.join(path))
            .map_err(|error| error.to_string())
    }

    /// Every folder above the path, as a folder and not as a link to one.
    fn make_parents(&self, path: &Path) -> Result<(), String> {
        let mut at = self.root.to_path_buf();
        for part in path.parent().into_iter().flat_map(Path::components) {
            at.push(part);
            if !is_real_dir(&at) {
                std::fs::create_dir(&at)
                    .map_err(|error| format!("lies below {}: {error}", at.display()))?;
            }
        }
        Ok(())
    }
}

fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// `./a/b` → `a/b`; `None` if absolute or with `..`.
pub(super) fn inside(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(out)
}

/// The link's target so that it stays inside wherever the folder lies; `None` if it cannot.
///
/// `..` may only come first: behind another link it would climb from where that one points to.
fn link_target(link: &Path, target: &Path) -> Option<PathBuf> {
    let depth = link.parent()?.components().count();
    let (climbs, rest) = match target.strip_prefix("/") {
        Ok(absolute) => (depth, absolute.to_path_buf()),
        Err(_) => {
            let parts = target.components();
            let climbs = parts
                .take_while(|&part| part == Component::ParentDir)
                .count();
            (climbs, target.components().skip(climbs).collect())
        }
    };
    if climbs > depth {
        return None;
    }
    let ups: PathBuf = std::iter::repeat_n("..", climbs).collect();
    let out = ups.join(inside(&rest)?);
    // The folder that the link is in; a link cannot be empty.
    Some(if out.as_os_str().is_empty() {
        ".".into()
    } else {
        out
    })
}

/// A stream that is an error, and not just over, when it is longer than `limit` bytes.
#[derive(Debug)]
pub(super) struct Limited<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Limited<R> {
    /// No more than `limit` bytes of `inner`.
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            left: limit,
            limit,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "longer than {} bytes when decompressed",
                self.limit
            ))
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: Limits, fill: impl FnOnce(&mut Folder<'_>) -> Result<(), String>) -> String {
        let dir = tempfile::tempdir().unwrap();
        match fill(&mut Folder::new(dir.path(), limits)) {
            Ok(()) => "ok".into(),
            Err(error) => error.replace(&dir.path().display().to_string(), "DIR"),
        }
    }

    const LIMITS: Limits = Limits {
        entries: 2,
        bytes: 10,
    };

    #[test]
    fn the_limits_hold_for_all_archives_together() {
        let path = Path::new("a/b");
        assert_eq!(
            check(LIMITS, |folder| {
                folder.file(path, false, 6, &mut &b"123456"[..])?;
                folder.file(Path::new("c"), false, 6, &mut &b"123456"[..])
            }),
            "has 6 bytes; all of it together may have 10"
        );
        assert_eq!(
            check(LIMITS, |folder| (0..3).try_for_each(|_| folder.count())),
            "more than 2 entries"
        );
    }

    #[test]
    fn a_file_that_is_shorter_than_it_says_is_an_error() {
        let found = check(LIMITS, |folder| {
            folder.file(Path::new("a"), true, 6, &mut &b"123"[..])
        });
        assert_eq!(found, "ends after 3 of 6 bytes");
    }

    #[test]
    fn a_stream_that_swells_is_cut_off_with_an_error() {
        let error = Limited::new(io::repeat(0), 1 << 20)
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "longer than 1048576 bytes when decompressed"
        );
        let mut out = Vec::new();
        assert_eq!(
            Limited::new(&b"12"[..], 2).read_to_end(&mut out).unwrap(),
            2
        );
    }

    #[test]
    fn a_link_stays_inside_wherever_the_folder_lies() {
        let target = |link: &str, target: &str| link_target(Path::new(link), Path::new(target));
        let inside = |link: &str, to: &str| target(link, to).map(|path| path.display().to_string());
        assert_eq!(
            inside("lib/modules/6.1/build", "/usr/src/h").as_deref(),
            Some("../../../usr/src/h")
        );
        assert_eq!(
            inside("usr/src/h/scripts", "../../lib/kbuild").as_deref(),
            Some("../../lib/kbuild")
        );
        for (link, to) in [("d", ".."), ("a/d", "../.."), ("a/d", "b/../../..")] {
            assert_eq!(inside(link, to), None, "{link} {to}");
        }
    }
}
