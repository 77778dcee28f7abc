//! A kernel that set-up builds itself: from a packaged source tree, a configuration and patches of the checkout.
//! Built once for each set of inputs, in a scratch folder; what is kept of it looks like an unpacked package, so that
//! the rest of set-up needs to know nothing of this. Fetches through apt; boots nothing.
mod fragment;
mod keep;
mod recipe;
#[cfg(test)]
mod tests;
mod work;

pub use fragment::Refused;
pub(super) use keep::DEBUG;

use super::apt::{self, Apt};
use super::apt_root::AptRoot;
use super::cache::{Cache, Lock};
use super::{LockedPackage, Role, SetupError, SetupEvent, alternatives, child, hash, provide};
use crate::target::{BuiltKernel, BuiltSource, Target};
use fragment::Fragment;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What a kernel is built from, read from the checkout.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    /// As the target's file says.
    kernel: &'a BuiltKernel,
    source: &'a BuiltSource,
    /// The fragment's file; of several the last, which may say what the others do not.
    config: PathBuf,
    fragment: Fragment,
    fragment_text: String,
    patches: Vec<(PathBuf, Vec<u8>)>,
}

impl<'a> Inputs<'a> {
    /// Reads fragments and patches of one of the sources below `checkout`.
    ///
    /// # Errors
    /// [`SetupError::Io`]; [`SetupError::Package`] naming the fragment's line.
    fn read(
        checkout: &Path,
        kernel: &'a BuiltKernel,
        source: &'a BuiltSource,
    ) -> Result<Self, SetupError> {
        let folder = checkout.join("qemu/kconfig");
        let mut fragment = Fragment::default();
        let mut fragment_text = String::new();
        let mut config = folder.clone();
        for name in &source.config {
            config = folder.join(name);
            let text =
                std::fs::read_to_string(&config).map_err(SetupError::io("reading", &config))?;
            let parsed = Fragment::parse(&text).map_err(|what| SetupError::Package {
                file: config.clone(),
                what,
            })?;
            fragment.override_with(parsed);
            fragment_text.push_str(&text);
        }
        let read = |name: &String| {
            let file = folder.join(name);
            let bytes = std::fs::read(&file).map_err(SetupError::io("reading", &file))?;
            Ok((file, bytes))
        };
        Ok(Self {
            kernel,
            source,
            config,
            fragment,
            fragment_text,
            patches: source.patches.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// Those of the source that the lock file names.
    ///
    /// # Errors
    /// As [`Self::read`]; [`SetupError::Metadata`] where the target's file names that source no more.
    pub(super) fn locked(
        checkout: &Path,
        kernel: &'a BuiltKernel,
        lock: &Lock,
    ) -> Result<Self, SetupError> {
        let package = &locked_source(lock)?.name;
        let mut sources = kernel.sources.iter();
        let source = sources
            .find(|source| source.package == *package)
            .ok_or_else(|| SetupError::Metadata {
                package: package.clone(),
                what: "not a source of the target any more; recrash setup --update writes its lock file anew".into(),
            })?;
        Self::read(checkout, kernel, source)
    }

    /// Names the kept build: a hash of all that its bytes depend on.
    ///
    /// # Errors
    /// When compiler, linker or pahole cannot be run.
    pub(super) fn key(&self, lock: &Lock) -> Result<String, SetupError> {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| hash::part(&mut hasher, bytes);
        part(recipe::RECIPE.as_bytes());
        part(locked_source(lock)?.sha256.as_bytes());
        part(lock.release.as_bytes());
        part(self.fragment_text.as_bytes());
        for (_, patch) in &self.patches {
            part(patch);
        }
        for program in std::iter::once(&*lock.compiler).chain(recipe::TOOLS.iter().copied()) {
            part(child::quiet(program, ["--version".to_owned()])?.as_bytes());
        }
        let mut key = hash::hex(&hasher.finalize());
        key.truncate(24);
        Ok(key)
    }

    /// Whether the lock file is of this kernel: another end of its release, or another compiler, may have been
    /// written into the checkout since.
    pub(super) fn is_meant_by(&self, lock: &Lock) -> bool {
        let local = self.fragment.local_version();
        locked_source(lock).is_ok_and(|source| {
            lock.compiler == self.kernel.compiler
                && recipe::release(&source.version, local).as_ref() == Some(&lock.release)
        })
    }

    /// Asks the mirror for the source package, with lists as they are now.
    ///
    /// # Errors
    /// [`SetupError::NoSuite`], [`SetupError::UnknownPackage`], [`SetupError::Metadata`].
    fn resolve(
        &self,
        cache: &Cache,
        target: &Target,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<apt::Plan, SetupError> {
        let root = AptRoot::for_suites(cache, &self.source.suites)?;
        root.update(on)?;
        on(SetupEvent::Started {
            what: format!("asking apt for {}", self.source.package),
        });
        let source = apt::one(&root.apt(), &self.source.package)?.lock(Role::Source)?;
        let local = self.fragment.local_version();
        let release = recipe::release(&source.version, local);
        let release = release.ok_or_else(|| SetupError::Metadata {
            package: source.name.clone(),
            what: format!("version {}, expected x.y.z-revision", source.version),
        })?;
        let mut packages = vec![source];
        if let Some(tool) = &target.capture.makedumpfile {
            packages.extend(apt::tool_closure(&Apt::system(), tool)?);
        }
        on(SetupEvent::Done);
        let host = recipe::HOST_PACKAGES.iter();
        Ok(apt::Plan {
            release,
            compiler: self.kernel.compiler.clone(),
            host_libraries: host.map(|name| (*name).to_owned()).collect(),
            packages,
        })
    }

    /// Builds the kernel into `tree` of the cache, which appears when all of it is there.
    ///
    /// # Errors
    /// [`SetupError::Kernel`] with the step, the last lines and the log's place; [`SetupError::Options`].
    pub(super) fn make(
        &self,
        cache: &Cache,
        tree: &Path,
        lock: &Lock,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<(), SetupError> {
        let package = locked_source(lock)?;
        provide::fetch(cache, &self.source.suites, &[package], on)?;
        super::cache::remove(tree)?;
        let scratch = cache.scratch()?;
        let work = work::Work {
            inputs: self,
            lock,
            deb: cache.deb(package),
            scratch: scratch.path(),
            log: tree.with_extension("log"),
        };
        let built = work.build(on)?;
        cache.build_folder(tree, &mut |inside| {
            keep::keep(&built, inside, &lock.release)
        })
    }
}

/// Asks the mirror for the first of the sources that it has.
///
/// # Errors
/// The first source's where it has none.
pub(super) fn resolve(
    checkout: &Path,
    kernel: &BuiltKernel,
    cache: &Cache,
    target: &Target,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<apt::Plan, SetupError> {
    alternatives::first_served(&kernel.sources, on, |source, on| {
        Inputs::read(checkout, kernel, source)?.resolve(cache, target, on)
    })
}

/// The source package.
fn locked_source(lock: &Lock) -> Result<&LockedPackage, SetupError> {
    let mut packages = lock.of(&[Role::Source]);
    packages.next().ok_or_else(|| SetupError::Metadata {
        package: "linux-source".into(),
        what: "not in the lock file; recrash setup --update writes it anew".into(),
    })
}
