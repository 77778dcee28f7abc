//! makedumpfile and its libraries for kernels that bring no packages of their own: one lock file for all of them.
use super::apt::{self, Apt};
use super::cache::{Cache, Lock};
use super::provide;
use super::{InitramfsFile, LockedPackage, SetupError, SetupEvent, SetupOptions, closure, host};
use std::path::PathBuf;

/// The tools in place.
#[derive(Debug)]
pub(super) struct Tools {
    /// The unpacked packages.
    pub(super) tree: PathBuf,
    /// The packages.
    pub(super) packages: Vec<LockedPackage>,
}

impl Tools {
    /// What an initramfs needs of them.
    pub(super) fn files(&self) -> Result<Vec<InitramfsFile>, SetupError> {
        closure::collect(&self.tree, "/usr/bin/makedumpfile")
    }
}

/// `_` is in no target's name, so the file is nobody else's.
fn lock_name(package: &str) -> String {
    format!("tools_{package}")
}

/// The unpacked tools, if they are there.
pub(super) fn load(package: &str, cache: &Cache) -> Option<Tools> {
    in_place(cache, cache.read_lock(&lock_name(package))?)
}

fn in_place(cache: &Cache, lock: Lock) -> Option<Tools> {
    let tree = provide::tools_tree(cache, &lock)?;
    provide::tools_are_in(&tree).then_some(())?;
    Some(Tools {
        tree,
        packages: lock.packages,
    })
}

/// Fetches and unpacks the tools unless they are there. Call it while [`Cache::exclusive`] is held.
pub(super) fn ensure(
    package: &str,
    cache: &Cache,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    if !options.update && load(package, cache).is_some() {
        return Ok(());
    }
    let attempt = |on: &mut dyn FnMut(SetupEvent)| {
        let packages = apt::tool_closure(&Apt::system(), package)?;
        let lock = Lock::of_tools(packages);
        if in_place(cache, lock.clone()).is_none() {
            provide::unpack_tools(cache, &lock, on)?;
        }
        cache.write_lock(&lock_name(package), &lock)
    };
    match attempt(on) {
        // apt has no lists, or they are older than the archive.
        Err(error @ (SetupError::UnknownPackage { .. } | SetupError::Child { .. })) => {
            host::update_lists(&error.to_string(), options.install_host_packages, on)?;
            attempt(on)
        }
        other => other,
    }
}
