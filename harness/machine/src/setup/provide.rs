//! The steps of set-up in order: resolve, install, fetch, unpack, build; and what of it is there already.
use super::apt::{self, Apt};
use super::cache::{self, Cache, Lock};
use super::module::Build;
use super::{
    InitramfsFile, LockedPackage, Provisioned, Role, SetupError, SetupEvent, SetupOptions, built,
    closure, deb, hash, host, kernel, root,
};
use crate::target::{KernelSource, Target};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Changes whenever packages are unpacked in another way: older trees are not used then.
const TREE_FORMAT: &str = "recrash tree 1";
const KERNEL: &[Role] = &[Role::Image, Role::Headers];
const TOOLS: &[Role] = &[Role::Tools];

/// Makes everything ready that a run of `target` needs; what is ready already is used as it is, without apt.
///
/// # Errors
/// [`SetupError`]; [`SetupError::NeedsRoot`] carries the command that a person must run.
pub fn ensure(
    target: &Target,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Provisioned, SetupError> {
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let _held = cache.exclusive(on)?;
    cache.sweep()?;
    let found = read_lock(&cache, target)?.filter(|_| !options.update);
    let mut lock = match &found {
        Some(lock) => lock.clone(),
        None => resolve(&cache, target, options, on)?,
    };
    install(&lock, options, on)?;
    if options.verify {
        verify(&cache, target, &lock, on)?;
    }
    if let Err(error) = packages(&cache, target, &lock, on) {
        // The version may have left the archive, or apt's lists be older than it.
        if !matches!(error, SetupError::Child { .. }) {
            return Err(error);
        }
        let Ok(()) = host::update_lists("", options.install_host_packages, on) else {
            return Err(error);
        };
        lock = resolve(&cache, target, options, on)?;
        install(&lock, options, on)?;
        packages(&cache, target, &lock, on)?;
    }
    if found.as_ref() != Some(&lock) {
        cache.write_lock(&target.name, &lock)?;
    }
    let place = Place::of(&cache, target, &lock)?;
    let module_ko = place.build(&sources, &lock).run(&cache, on)?;
    place.provisioned(&cache, target, lock, module_ko)
}

/// What [`ensure`] has made ready before; changes nothing.
///
/// # Errors
/// [`SetupError::NotSetUp`] naming what is missing.
pub fn load(target: &Target) -> Result<Provisioned, SetupError> {
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let missing = |what: &str| SetupError::NotSetUp {
        target: target.name.clone(),
        missing: what.into(),
    };
    let lock = read_lock(&cache, target)?.ok_or_else(|| missing("the lock file is"))?;
    let place = Place::of(&cache, target, &lock)?;
    let module_ko = place
        .build(&sources, &lock)
        .place(&cache)?
        .join(super::module::MODULE);
    for (is_there, what) in [
        (
            place.kernel_is_there(&lock.release),
            "the unpacked kernel is",
        ),
        (
            place.tools.is_none() || place.tools_are_there(),
            "the unpacked tools are",
        ),
        (module_ko.is_file(), "the built repro-module is"),
    ] {
        if !is_there {
            return Err(missing(what));
        }
    }
    place.provisioned(&cache, target, lock, module_ko)
}

/// The lock file, unless it is of something else than the target's file asks for now.
fn read_lock(cache: &Cache, target: &Target) -> Result<Option<Lock>, SetupError> {
    let lock = cache.read_lock(&target.name);
    Ok(match &target.kernel {
        KernelSource::Debian { .. } => lock,
        KernelSource::Built(kernel) => {
            let inputs = built::Inputs::read(&root::find()?, kernel)?;
            lock.filter(|lock| inputs.is_meant_by(lock))
        }
    })
}

fn resolve(
    cache: &Cache,
    target: &Target,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Lock, SetupError> {
    let (image, headers) = match &target.kernel {
        KernelSource::Debian { image, headers } => (image, headers),
        KernelSource::Built(kernel) => {
            return built::Inputs::read(&root::find()?, kernel)?.resolve(cache, target, on);
        }
    };
    if options.update {
        // Without root, what apt knows already has to do.
        match host::update_lists("", options.install_host_packages, on) {
            Ok(()) | Err(SetupError::NeedsRoot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let ask = |on: &mut dyn FnMut(SetupEvent)| {
        on(SetupEvent::Started {
            what: format!("asking apt for {image} and what belongs to it"),
        });
        let makedumpfile = target.capture.makedumpfile.as_deref();
        let plan = apt::resolve(&Apt::system(), image, headers, makedumpfile)?;
        on(SetupEvent::Done);
        Ok(Lock::from(plan))
    };
    match ask(on) {
        Err(error @ SetupError::UnknownPackage { .. }) => {
            host::update_lists(&error.to_string(), options.install_host_packages, on)?;
            ask(on)
        }
        other => other,
    }
}

fn install(
    lock: &Lock,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let missing = host::missing(&host::needs(Some(&lock.compiler), &lock.host_libraries))?;
    host::install(&missing, options.install_host_packages, on)
}

/// Fetches and unpacks what is not unpacked yet.
fn packages(
    cache: &Cache,
    target: &Target,
    lock: &Lock,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let place = Place::of(cache, target, lock)?;
    if !place.kernel_is_there(&lock.release) {
        match &target.kernel {
            KernelSource::Debian { .. } => unpack(cache, &place.kernel, lock, KERNEL, on)?,
            KernelSource::Built(kernel) => {
                let inputs = built::Inputs::read(&root::find()?, kernel)?;
                inputs.make(cache, &place.kernel, lock, on)?;
                seal(cache, &place.kernel, on)?;
            }
        }
    }
    match &place.tools {
        Some(tools) if !place.tools_are_there() => unpack(cache, tools, lock, TOOLS, on),
        _ => Ok(()),
    }
}

fn unpack(
    cache: &Cache,
    tree: &Path,
    lock: &Lock,
    roles: &[Role],
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let wanted: Vec<&LockedPackage> = lock.of(roles).collect();
    fetch(cache, &Apt::system(), &wanted, on)?;
    cache::remove(tree)?;
    cache.build_folder(tree, &mut |inside| {
        for package in lock.of(roles) {
            on(SetupEvent::Started {
                what: format!("unpacking {}", package.name),
            });
            deb::unpack(&cache.deb(package), inside, &|path| {
                is_wanted(package.role, path)
            })?;
            on(SetupEvent::Done);
        }
        if roles.contains(&Role::Headers) {
            kernel::localise_headers(inside)?;
        }
        Ok(())
    })?;
    seal(cache, tree, on)
}

/// Writes down what the tree is, which says too that it is whole.
fn seal(cache: &Cache, tree: &Path, on: &mut dyn FnMut(SetupEvent)) -> Result<(), SetupError> {
    on(SetupEvent::Started {
        what: format!("hashing {}", tree.display()),
    });
    let digest = hash::tree(tree, &|_| false)?;
    let dir = cache.folder("trees")?;
    cache::write_whole(&dir, &digest_file(tree), digest.as_bytes())?;
    on(SetupEvent::Done);
    Ok(())
}

/// Debian 13 has its modules in usr/lib/modules.
fn is_wanted(role: Role, path: &Path) -> bool {
    let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    match role {
        Role::Image => below(&["boot", "lib/modules", "usr/lib/modules"]),
        Role::Headers => below(&["usr/src", "usr/lib", "lib/modules"]),
        // Unpacked where it is built.
        Role::Source => false,
        Role::Tools => {
            let library = path
                .parent()
                .is_some_and(|dir| dir.ends_with("x86_64-linux-gnu"));
            path == Path::new("usr/bin/makedumpfile") || library
        }
    }
}

/// Downloads the packages that are not there ([`Cache::deb`]), or are not what the lock file says.
///
/// # Errors
/// [`SetupError::Child`] with apt's words, [`SetupError::Hash`].
pub(super) fn fetch(
    cache: &Cache,
    apt: &Apt,
    packages: &[&LockedPackage],
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let is_right = |package: &LockedPackage| {
        hash::file(&cache.deb(package)).is_ok_and(|hash| hash == package.sha256)
    };
    let missing: Vec<&LockedPackage> = packages
        .iter()
        .copied()
        .filter(|package| !is_right(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    on(SetupEvent::Started {
        what: format!("fetching {}", names.join(", ")),
    });
    cache.folder("downloads")?;
    let scratch = cache.scratch()?;
    apt::download(apt, &missing, scratch.path(), on)?;
    for package in missing {
        let file = downloaded(scratch.path(), &package.name)?;
        let actual = hash::file(&file)?;
        if actual != package.sha256 {
            return Err(SetupError::Hash {
                file,
                actual,
                expected: package.sha256.clone(),
            });
        }
        let deb = cache.deb(package);
        std::fs::rename(&file, &deb).map_err(SetupError::io("renaming to", &deb))?;
    }
    on(SetupEvent::Done);
    Ok(())
}

/// apt's name for it: `<name>_<version>_<architecture>.deb`; no package has a `_` in its name.
fn downloaded(dir: &Path, name: &str) -> Result<PathBuf, SetupError> {
    let begin = format!("{name}_");
    let entries = std::fs::read_dir(dir).map_err(SetupError::io("reading", dir))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|file| file.to_string_lossy().starts_with(&begin))
    };
    paths.find(is_it).ok_or_else(|| SetupError::Metadata {
        package: name.into(),
        what: "apt-get download succeeded and left no file".into(),
    })
}

/// Removes trees that are no longer what was unpacked; they are unpacked anew then. The packages themselves are
/// hashed whenever they are unpacked.
fn verify(
    cache: &Cache,
    target: &Target,
    lock: &Lock,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let place = Place::of(cache, target, lock)?;
    for tree in std::iter::once(&place.kernel).chain(&place.tools) {
        on(SetupEvent::Started {
            what: format!("verifying {}", tree.display()),
        });
        let expected = std::fs::read_to_string(digest_file(tree)).unwrap_or_default();
        if tree.is_dir() && hash::tree(tree, &|_| false)? != expected {
            on(SetupEvent::Log {
                line: format!("{} was changed and is made anew", tree.display()),
            });
            cache::remove(tree)?;
        }
        on(SetupEvent::Done);
    }
    Ok(())
}

fn digest_file(tree: &Path) -> PathBuf {
    tree.with_extension("sha256")
}

/// Where the parts of one lock file lie.
pub(super) struct Place {
    kernel_key: String,
    pub(super) kernel: PathBuf,
    pub(super) tools: Option<PathBuf>,
}

impl Place {
    /// # Errors
    /// Of a kernel that is built: when what it is built from or with is not there.
    pub(super) fn of(cache: &Cache, target: &Target, lock: &Lock) -> Result<Self, SetupError> {
        let key = |roles| {
            let mut hasher = Sha256::new();
            hash::part(&mut hasher, TREE_FORMAT.as_bytes());
            lock.of(roles)
                .for_each(|package| hash::part(&mut hasher, package.sha256.as_bytes()));
            let mut key = hash::hex(&hasher.finalize());
            key.truncate(24);
            key
        };
        let kernel_key = match &target.kernel {
            KernelSource::Debian { .. } => key(KERNEL),
            KernelSource::Built(kernel) => {
                built::Inputs::read(&root::find()?, kernel)?.key(lock)?
            }
        };
        let tools_key = key(TOOLS);
        let trees = cache.root().join("trees");
        let has_tools = lock.of(TOOLS).next().is_some();
        Ok(Self {
            kernel: trees.join(&kernel_key),
            tools: has_tools.then(|| trees.join(&tools_key)),
            kernel_key,
        })
    }

    fn boot_file(&self, name: &str, release: &str) -> PathBuf {
        self.kernel.join(format!("boot/{name}-{release}"))
    }

    fn modules_dir(&self, release: &str) -> PathBuf {
        let dirs =
            ["lib/modules", "usr/lib/modules"].map(|dir| self.kernel.join(dir).join(release));
        let [first, second] = dirs;
        if second.join("kernel").is_dir() {
            second
        } else {
            first
        }
    }

    pub(super) fn headers(&self, release: &str) -> PathBuf {
        self.kernel.join(format!("usr/src/linux-headers-{release}"))
    }

    pub(super) fn kernel_is_there(&self, release: &str) -> bool {
        self.boot_file("vmlinuz", release).is_file()
            && self.modules_dir(release).join("kernel").is_dir()
            && self.headers(release).join("Makefile").is_file()
            && digest_file(&self.kernel).is_file()
    }

    pub(super) fn tools_are_there(&self) -> bool {
        self.tools.as_ref().is_some_and(|tools| {
            tools.join("usr/bin/makedumpfile").is_file() && digest_file(tools).is_file()
        })
    }

    pub(super) fn build<'a>(&'a self, sources: &'a Path, lock: &'a Lock) -> Build<'a> {
        Build {
            sources,
            headers: self.headers(&lock.release),
            headers_key: &self.kernel_key,
            release: &lock.release,
            compiler: &lock.compiler,
        }
    }

    fn makedumpfile(&self, target: &Target) -> Result<Option<Vec<InitramfsFile>>, SetupError> {
        let tools = self
            .tools
            .as_ref()
            .filter(|_| target.capture.makedumpfile.is_some());
        tools
            .map(|tools| closure::collect(tools, "/usr/bin/makedumpfile"))
            .transpose()
    }

    fn provisioned(
        &self,
        cache: &Cache,
        target: &Target,
        lock: Lock,
        module_ko: PathBuf,
    ) -> Result<Provisioned, SetupError> {
        let release = lock.release;
        Ok(Provisioned {
            bzimage: self.boot_file("vmlinuz", &release),
            modules_dir: self.modules_dir(&release),
            kernel_release: release,
            module_ko,
            makedumpfile: self.makedumpfile(target)?,
            debug_dir: Some(self.kernel.join(built::DEBUG)).filter(|dir| dir.is_dir()),
            packages: lock.packages,
            qemu: host::qemu()?,
            cache: cache.root().into(),
        })
    }
}
