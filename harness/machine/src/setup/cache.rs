//! Where set-up keeps things between runs, and how they appear there: whole or not at all.
//!
//! `locks/<target>.toml` what a target is made of; `downloads/` packages; `trees/<hash>/` unpacked packages;
//! `modules/<hash>/` built modules.
use super::{LockedPackage, Role, SetupError, SetupEvent};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const SCHEMA: u32 = 1;

/// The cache's folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// The lock file of a target: which packages it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Of this file's format.
    pub schema: u32,
    /// Hash of what the target's file asked for; another one makes the lock file stale.
    #[serde(default)]
    pub inputs: String,
    /// The suites that the packages came from, preferred first; none: the machine's own apt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// `uname -r`.
    pub release: String,
    /// For example `gcc-12`.
    pub compiler: String,
    /// Packages of the host with libraries for the headers' build tools.
    pub host_libraries: Vec<String>,
    /// The packages.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

impl Cache {
    /// `$RECRASH_CACHE`, else `$XDG_CACHE_HOME/recrash`, else `~/.cache/recrash` (XDG Base Directory
    /// Specification 0.8: relative paths are ignored).
    ///
    /// # Errors
    /// When none of them is set, or make could not work there.
    pub fn find() -> Result<Self, SetupError> {
        let path = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let root = path("RECRASH_CACHE")
            .or_else(|| path("XDG_CACHE_HOME").map(|dir| dir.join("recrash")))
            .or_else(|| path("HOME").map(|dir| dir.join(".cache/recrash")))
            .ok_or_else(|| {
                SetupError::NoRoot("no place for the cache: set HOME or RECRASH_CACHE".into())
            })?;
        Self::at(root)
    }

    /// A cache in this folder.
    ///
    /// # Errors
    /// When make could not work there: it splits names at spaces, and kbuild refuses colons.
    pub fn at(root: PathBuf) -> Result<Self, SetupError> {
        if root
            .to_string_lossy()
            .contains([' ', ':', '\t', '\n', '#', '$', '%'])
        {
            let what = format!(
                "the cache {} must not have blanks or any of :#$% in its path",
                root.display()
            );
            return Err(SetupError::NoRoot(format!("{what}; set RECRASH_CACHE")));
        }
        Ok(Self { root })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One of its folders, made if need be.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, SetupError> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path).map_err(SetupError::io("making", &path))?;
        Ok(path)
    }

    /// Waits until no other set-up works in this cache. Held until dropped, or until the process dies.
    pub(super) fn exclusive(&self, on: &mut dyn FnMut(SetupEvent)) -> Result<File, SetupError> {
        use rustix::fs::FlockOperation::{LockExclusive, NonBlockingLockExclusive};
        let path = self.folder("")?.join("in-use");
        let file = File::create(&path).map_err(SetupError::io("opening", &path))?;
        let held = match rustix::fs::flock(&file, NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                on(SetupEvent::Started {
                    what: "waiting for another set-up to end".into(),
                });
                rustix::fs::flock(&file, LockExclusive).inspect(|()| on(SetupEvent::Done))
            }
            other => other,
        };
        held.map_err(|error| SetupError::io("locking", &path)(error.into()))?;
        Ok(file)
    }

    /// A folder that appears under `path` only when `fill` has succeeded; one that is there is kept.
    pub(super) fn build_folder(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&Path) -> Result<(), SetupError>,
    ) -> Result<(), SetupError> {
        if path.is_dir() {
            return Ok(());
        }
        let scratch = self.scratch()?;
        let inside = scratch.path().join("new");
        std::fs::create_dir(&inside).map_err(SetupError::io("making", &inside))?;
        fill(&inside)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(SetupError::io("making", parent))?;
        }
        std::fs::rename(&inside, path).map_err(SetupError::io("renaming to", path))
    }

    /// A folder in the same file system that is removed in the end. Left-overs of killed set-ups are removed
    /// first; so call it only while [`Cache::exclusive`] is held.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, SetupError> {
        let dir = self.folder("scratch")?;
        tempfile::tempdir_in(&dir).map_err(SetupError::io("making a folder in", &dir))
    }

    /// Removes what killed set-ups left.
    pub(super) fn sweep(&self) -> Result<(), SetupError> {
        remove(&self.root.join("scratch"))
    }

    /// Where kernels that set-up has built keep vmlinux and modules with DWARF: a folder a build, laid out as debug
    /// packages are.
    #[must_use]
    pub fn debug_dirs(&self) -> Vec<PathBuf> {
        let trees = std::fs::read_dir(self.root.join("trees"));
        let mut found: Vec<PathBuf> = trees
            .into_iter()
            .flatten()
            .flatten()
            .map(|tree| tree.path().join(super::built::DEBUG))
            .filter(|dir| dir.is_dir())
            .collect();
        found.sort();
        found
    }

    /// The lock file of a target.
    #[must_use]
    pub fn lock_file(&self, target: &str) -> PathBuf {
        self.root.join("locks").join(format!("{target}.toml"))
    }

    /// Reads the lock file; `None` if there is none, or none that can be used: it is made anew then.
    #[must_use]
    pub fn read_lock(&self, target: &str) -> Option<Lock> {
        let text = std::fs::read_to_string(self.lock_file(target)).ok()?;
        toml::from_str::<Lock>(&text).ok().filter(Lock::is_usable)
    }

    pub(super) fn write_lock(&self, target: &str, lock: &Lock) -> Result<(), SetupError> {
        let path = self.lock_file(target);
        let dir = self.folder("locks")?;
        let body = toml::to_string(lock).map_err(|error| SetupError::Package {
            file: path.clone(),
            what: error.to_string(),
        })?;
        let text = format!(
            "# Written by `recrash setup`; `recrash setup --update` asks apt anew.\n{body}"
        );
        write_whole(&dir, &path, text.as_bytes())
    }

    /// Where a package's .deb lies.
    pub(super) fn deb(&self, package: &LockedPackage) -> PathBuf {
        // The hash in the name: the same version from another archive is another file.
        let hash = package.sha256.get(..12).unwrap_or(&package.sha256);
        let version = package.version.replace(':', "%3a");
        self.root
            .join("downloads")
            .join(format!("{}_{version}_{hash}.deb", package.name))
    }
}

impl Lock {
    /// What is read from it becomes part of paths and command lines.
    fn is_usable(&self) -> bool {
        let plain = |text: &str| crate::target::is_package_name(text);
        let hash =
            |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let usable = |package: &LockedPackage| {
            plain(&package.name)
                && super::apt::is_version(&package.version)
                && hash(&package.sha256)
        };
        self.schema == SCHEMA
            && plain(&self.release)
            && plain(&self.compiler)
            && self.host_libraries.iter().all(|name| plain(name))
            && self.suites.iter().all(|name| crate::target::is_suite(name))
            && self.packages.iter().all(usable)
    }

    /// A lock file of tools only, for kernels that come from elsewhere.
    pub(super) fn of_tools(packages: Vec<LockedPackage>) -> Self {
        Self {
            schema: SCHEMA,
            inputs: String::new(),
            suites: Vec::new(),
            release: "none".into(),
            compiler: "none".into(),
            host_libraries: Vec::new(),
            packages,
        }
    }

    /// The packages of these roles.
    pub fn of<'a>(&'a self, roles: &'a [Role]) -> impl Iterator<Item = &'a LockedPackage> {
        self.packages
            .iter()
            .filter(|package| roles.contains(&package.role))
    }
}

impl Lock {
    /// The lock file for packages that were worked out from these suites, for a target file with this hash.
    pub(super) fn new(plan: super::apt::Plan, suites: &[String], inputs: String) -> Self {
        let super::apt::Plan {
            release,
            compiler,
            host_libraries,
            packages,
        } = plan;
        Self {
            schema: SCHEMA,
            inputs,
            suites: suites.into(),
            release,
            compiler,
            host_libraries,
            packages,
        }
    }
}

/// Writes a file by renaming, so that nobody sees half of it.
pub(super) fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    let mut scratch =
        tempfile::NamedTempFile::new_in(dir).map_err(SetupError::io("writing in", dir))?;
    scratch
        .write_all(bytes)
        .map_err(SetupError::io("writing", path))?;
    scratch
        .persist(path)
        .map_err(|error| SetupError::io("writing", path)(error.error))?;
    Ok(())
}

/// Removes a folder or a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), SetupError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(SetupError::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Lock {
        Lock {
            schema: SCHEMA,
            inputs: "ab".into(),
            suites: vec!["bullseye-security".into()],
            release: "6.1.0-56-amd64".into(),
            compiler: "gcc-12".into(),
            host_libraries: vec!["libelf1".into()],
            packages: vec![LockedPackage {
                name: "makedumpfile".into(),
                version: "1:1.7.2-1".into(),
                role: Role::Tools,
                sha256: "ab".repeat(32),
                size: 171_756,
            }],
        }
    }

    fn check(change: impl Fn(String) -> String) -> Option<Lock> {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().into()).unwrap();
        cache.write_lock("debian", &example()).unwrap();
        let file = cache.lock_file("debian");
        std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
        cache.read_lock("debian")
    }

    #[test]
    fn a_lock_file_is_read_back() {
        assert_eq!(check(|text| text), Some(example()));
    }

    #[test]
    fn a_lock_file_that_is_cut_or_of_another_schema_is_not_used() {
        assert_eq!(check(|text| text[..text.len() / 2].into()), None);
        assert_eq!(check(|text| text.replace("schema = 1", "schema = 2")), None);
    }

    #[test]
    fn a_lock_file_with_paths_or_options_in_it_is_not_used() {
        assert_eq!(
            check(|text| text.replace("\"makedumpfile\"", "\"../x\"")),
            None
        );
        assert_eq!(
            check(|text| text.replace("\"6.1.0-56-amd64\"", "\"../../etc\"")),
            None
        );
        assert_eq!(
            check(|text| text.replace("\"gcc-12\"", "\"--version\"")),
            None
        );
        assert_eq!(
            check(|text| text.replace("\"bullseye-security\"", "\"../../etc\"")),
            None
        );
    }

    #[test]
    fn a_folder_whose_making_fails_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().into()).unwrap();
        let path = dir.path().join("trees/x");
        let failed = cache.build_folder(&path, &mut |inside| {
            std::fs::write(inside.join("half"), "").unwrap();
            Err(SetupError::NoRoot("interrupted".into()))
        });
        assert!(failed.is_err() && !path.exists());
        let made = cache.build_folder(&path, &mut |inside| {
            std::fs::write(inside.join("whole"), "").map_err(SetupError::io("writing", inside))
        });
        assert!(made.is_ok() && path.join("whole").exists());
    }

    #[test]
    fn the_second_set_up_says_that_it_waits() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().into()).unwrap();
        let mut first = Some(cache.exclusive(&mut |event| panic!("{event:?}")).unwrap());
        let mut events = Vec::new();
        let second = cache.exclusive(&mut |event| {
            // Ends the first one, so that the second does not wait for ever.
            first = None;
            events.push(event);
        });
        assert!(second.is_ok());
        assert!(matches!(
            events[..],
            [SetupEvent::Started { .. }, SetupEvent::Done]
        ));
    }

    #[test]
    fn a_cache_where_make_cannot_work_is_refused() {
        assert!(Cache::at("/home/a b/.cache".into()).is_err());
    }
}
