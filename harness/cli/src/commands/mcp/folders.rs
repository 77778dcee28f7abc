//! The folders that the server may read. Turns what a client sent into a path below them, or says why not. Reads no
//! file's contents.
//!
//! A path is resolved first, links and all; what it comes to is then opened from its folder, component by component,
//! without following any link. Who exchanges a file for a link between that and the reading is caught afterwards
//! ([`Admitted::is_still_there`]), and where the kernel has Landlock never gets that far.
use anyhow::{Context as _, anyhow};
use recrash_machine::run::folder::VMCORE;
use recrash_machine::run::manifest::MANIFEST;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;
use crate::subject::SIGNATURE;

/// Longest path that is looked at: PATH_MAX of Linux.
const MAX_PATH: usize = 4096;
const OUTSIDE: &str = "lies outside of the folders that this server may read";

/// The folders.
#[derive(Debug)]
pub(super) struct Folders {
    roots: Vec<Root>,
}

#[derive(Debug)]
struct Root {
    /// Without links.
    path: PathBuf,
    dir: OwnedFd,
}

/// A path that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    /// Device and inode of what it was.
    id: (u64, u64),
    is_folder: bool,
}

/// A folder that was named at start, without links.
///
/// # Errors
/// Usage: there is no such folder.
pub(super) fn folder(named: &Path) -> Result<PathBuf, Failure> {
    let name = || named.display().to_string();
    let path = named
        .canonicalize()
        .with_context(name)
        .map_err(|error| Failure::usage(error).hint("name a folder that is there"))?;
    if path.is_dir() {
        return Ok(path);
    }
    let parent = named.parent().unwrap_or(Path::new("/"));
    Err(Failure::usage(anyhow!("{} is no folder", name()))
        .hint(format!("name the folder it lies in: {}", parent.display())))
}

impl Folders {
    /// Opens them.
    ///
    /// # Errors
    /// Usage: one is no folder, or cannot be opened.
    pub(super) fn open(named: &[PathBuf]) -> Result<Self, Failure> {
        let root = |named: &PathBuf| {
            let path = folder(named)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(&path, flags, Mode::empty())
                .with_context(|| path.display().to_string())?;
            Ok(Root { path, dir })
        };
        let roots = named.iter().map(root).collect::<Result<_, Failure>>()?;
        Ok(Self { roots })
    }

    /// Their paths, without links.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.path.as_path())
    }

    /// The file or folder of this name: below a folder, or absolute and within one.
    ///
    /// # Errors
    /// Usage: it is not there, lies outside, or is neither file nor folder.
    pub(super) fn admit(&self, text: &str) -> Result<Admitted, Failure> {
        let shown: String = text.chars().take(256).collect();
        let shown = format!("{shown:?}");
        if text.is_empty() || text.len() > MAX_PATH || text.contains('\0') {
            return Err(self.refused(anyhow!("{shown} is no path")));
        }
        let path = Path::new(text);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(self.refused(anyhow!("{shown}: a path with .. is not taken")));
        }
        let candidates: Vec<PathBuf> = match path.is_absolute() {
            true => vec![path.to_owned()],
            false => self.paths().map(|root| root.join(path)).collect(),
        };
        let found = candidates.iter().find_map(|path| path.canonicalize().ok());
        let Some(found) = found else {
            // Whether there is a file outside is nobody's business.
            let inside = candidates
                .iter()
                .any(|path| self.paths().any(|root| path.starts_with(root)));
            return Err(self.refused(match inside {
                true => anyhow!("{shown}: no such file"),
                false => anyhow!("{shown} {OUTSIDE}"),
            }));
        };
        self.admit_resolved(&found)
            .map_err(|why| self.refused(anyhow!("{shown} {why}")))
    }

    /// A path that was found in one of the folders, and what a run folder has in it.
    ///
    /// # Errors
    /// Why it is not read.
    pub(super) fn admit_found(&self, path: &Path) -> Result<Admitted, String> {
        let resolved = path.canonicalize().map_err(|error| error.to_string())?;
        self.admit_resolved(&resolved)
    }

    /// `path` has no links in it.
    fn admit_resolved(&self, path: &Path) -> Result<Admitted, String> {
        let outside = || OUTSIDE.to_owned();
        let inside = |root: &&Root| path.starts_with(&root.path);
        let root = self.roots.iter().find(inside).ok_or_else(outside)?;
        let below = path.strip_prefix(&root.path).map_err(|_| outside())?;
        let stat = open_below(root.dir.as_fd(), below)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_folder = kind == FileType::Directory;
        if !is_folder && kind != FileType::RegularFile {
            return Err("is no regular file and no folder".into());
        }
        if is_folder {
            self.admit_run(path)?;
        }
        Ok(Admitted {
            path: path.to_owned(),
            id: (stat.st_dev, stat.st_ino),
            is_folder,
        })
    }

    /// The files that are read of a folder as of a run's, where they are there: none may be a link out of the folders.
    fn admit_run(&self, run: &Path) -> Result<(), String> {
        for name in [MANIFEST, SIGNATURE, VMCORE] {
            let file = run.join(name);
            if std::fs::symlink_metadata(&file).is_err() {
                continue;
            }
            let resolved = file.canonicalize();
            let resolved = resolved.map_err(|error| format!("its {name}: {error}"))?;
            let admitted = self.admit_resolved(&resolved);
            let admitted = admitted.map_err(|why| format!("its {name} {why}"))?;
            if admitted.is_folder {
                return Err(format!("its {name} is a folder"));
            }
        }
        Ok(())
    }

    /// Their names, for people.
    pub(super) fn shown(&self) -> String {
        let names: Vec<String> = self
            .paths()
            .map(|path| path.display().to_string())
            .collect();
        names.join(" or ")
    }

    fn refused(&self, error: anyhow::Error) -> Failure {
        Failure::usage(error).hint(format!(
            "give a path below {}; a relative one begins there. Others are read when recrash mcp is started with their folder",
            self.shown()
        ))
    }
}

impl Admitted {
    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Whether the path still comes to what was admitted.
    pub(super) fn is_still_there(&self, folders: &Folders) -> bool {
        let now = folders.admit_resolved(&self.path);
        now.is_ok_and(|now| now == *self)
    }
}

/// What lies there, reached without a link.
fn open_below(root: BorrowedFd<'_>, below: &Path) -> Result<Stat, String> {
    let step = |dir: BorrowedFd<'_>, name: &OsStr| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|error| error.to_string())
    };
    let mut at: Option<OwnedFd> = None;
    for part in below.components() {
        let Component::Normal(name) = part else {
            return Err("is no plain path".into());
        };
        let next = step(at.as_ref().map_or(root, AsFd::as_fd), name)?;
        at = Some(next);
    }
    let end = at.as_ref().map_or(root, AsFd::as_fd);
    rustix::fs::statat(end, "", AtFlags::EMPTY_PATH).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    /// `inside/{file, sub/file, out -> ../outside, out-file -> …, in -> sub}`, `outside/secret`.
    fn world() -> (tempfile::TempDir, Folders) {
        let world = tempfile::tempdir().unwrap();
        let at = |path: &str| world.path().join(path);
        std::fs::create_dir_all(at("inside/sub")).unwrap();
        std::fs::create_dir_all(at("outside")).unwrap();
        for file in ["inside/file", "inside/sub/file", "outside/secret"] {
            std::fs::write(at(file), file).unwrap();
        }
        symlink(at("outside"), at("inside/out")).unwrap();
        symlink(at("outside/secret"), at("inside/out-file")).unwrap();
        symlink("sub", at("inside/in")).unwrap();
        let folders = Folders::open(&[at("inside")]).unwrap();
        (world, folders)
    }

    fn check(path: &str, expected: Result<&str, &str>) {
        let (world, folders) = world();
        let world = world.path().canonicalize().unwrap();
        let path = path.replace("WORLD", world.to_str().unwrap());
        let admitted = folders.admit(&path);
        match (admitted, expected) {
            (Ok(admitted), Ok(expected)) => {
                assert_eq!(admitted.path, world.join(expected), "{path}");
            }
            (Err(failure), Err(expected)) => {
                let text = failure.chain();
                assert!(text.contains(expected), "{path}: {text}");
                assert!(failure.next().is_some_and(|next| next.contains("/inside")));
            }
            (got, _) => panic!("{path}: {got:?}"),
        }
    }

    #[test]
    fn what_lies_below_is_admitted_by_any_name() {
        check("file", Ok("inside/file"));
        check("./sub//file", Ok("inside/sub/file"));
        check("in/file", Ok("inside/sub/file"));
        check("WORLD/inside/sub/file", Ok("inside/sub/file"));
        check("WORLD/inside", Ok("inside"));
        check(".", Ok("inside"));
    }

    #[test]
    fn what_lies_outside_is_refused_whether_it_is_there_or_not() {
        for path in [
            "/etc/passwd",
            "/nowhere",
            "WORLD/outside/secret",
            "WORLD/inside-too",
            "out/secret",
            "out",
            "out-file",
            "WORLD/inside/out/secret",
            "/proc/self/root/etc/passwd",
            "/proc/self/cwd",
        ] {
            check(path, Err("lies outside"));
        }
        check("nothing", Err("no such file"));
        check("out/nothing", Err("no such file"));
    }

    #[test]
    fn tricks_are_no_paths() {
        for path in ["../outside/secret", "sub/../file", "WORLD/inside/.."] {
            check(path, Err("a path with .."));
        }
        for path in ["", "file\0", "\0", &"a/".repeat(4000)] {
            check(path, Err("is no path"));
        }
    }

    #[test]
    fn pipes_and_devices_are_refused_before_anything_waits_for_them() {
        let (world, folders) = world();
        let pipe = world.path().join("inside/pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        let text = folders.admit("pipe").unwrap_err().chain();
        assert!(text.contains("no regular file"), "{text}");
        let text = Folders::open(&[pipe]).unwrap_err().chain();
        assert!(text.contains("is no folder"), "{text}");
    }

    #[test]
    fn a_run_whose_dump_is_a_link_out_is_refused() {
        let (world, folders) = world();
        let run = world.path().join("inside/sub");
        std::fs::write(run.join(MANIFEST), "").unwrap();
        assert!(folders.admit("sub").is_ok());
        symlink("../file", run.join(SIGNATURE)).unwrap();
        assert!(folders.admit("sub").is_ok(), "a link that stays inside");
        symlink(world.path().join("outside/secret"), run.join(VMCORE)).unwrap();
        let refused = || {
            let text = folders.admit("sub").unwrap_err().chain();
            assert!(text.contains("its vmcore lies outside"), "{text}");
        };
        refused();
        // A command may take a folder for a run's that does not say so.
        std::fs::remove_file(run.join(MANIFEST)).unwrap();
        refused();
    }

    #[test]
    fn a_file_that_became_a_link_meanwhile_is_noticed() {
        let (world, folders) = world();
        let admitted = folders.admit("file").unwrap();
        assert!(admitted.is_still_there(&folders));
        let file = world.path().join("inside/file");
        std::fs::remove_file(&file).unwrap();
        symlink(world.path().join("outside/secret"), &file).unwrap();
        assert!(!admitted.is_still_there(&folders));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "another file").unwrap();
        let same = std::fs::metadata(&file).is_ok_and(|meta| {
            use std::os::unix::fs::MetadataExt as _;
            meta.ino() == admitted.id.1
        });
        assert_eq!(admitted.is_still_there(&folders), same);
    }

    #[test]
    fn a_folder_with_a_name_that_is_no_utf8_may_be_served() {
        use std::os::unix::ffi::OsStrExt as _;
        let world = tempfile::tempdir().unwrap();
        let folder = world.path().join(OsStr::from_bytes(b"caf\xe9"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        let folders = Folders::open(std::slice::from_ref(&folder)).unwrap();
        let admitted = folders.admit("file").unwrap();
        assert!(admitted.path.ends_with("file"));
    }

    proptest! {
        #[test]
        fn no_text_leads_out(parts in prop::collection::vec(
            prop::sample::select(vec![
                "..", ".", "", "in", "out", "out-file", "sub", "file", "secret", "outside", "inside", "\0", "\u{fffd}",
                "proc", "self", "root", "cwd", "~", "%2e%2e", "..\u{2215}", "WORLD",
            ]), 0..8), absolute: bool) {
            let (world, folders) = world();
            let root = world.path().canonicalize().unwrap();
            let text = parts.join("/").replace("WORLD", root.to_str().unwrap());
            let text = if absolute { format!("/{text}") } else { text };
            if let Ok(admitted) = folders.admit(&text) {
                prop_assert!(admitted.path.starts_with(root.join("inside")), "{text}");
                prop_assert_eq!(admitted.path.canonicalize().unwrap(), admitted.path);
            }
        }
    }
}
