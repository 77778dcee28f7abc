//! The steps of set-up in order: resolve, install, fetch, unpack, build; and what of it is there already.
use super::added;
use super::apt::{self, Apt};
use super::apt_root::AptRoot;
use super::cache::{self, Cache, Lock};
use super::module::{Build, Toolchain};
use super::{
    InitramfsFile, LockedPackage, Provisioned, Role, SetupError, SetupEvent, SetupOptions,
    alternatives, built, closure, deb, foreign, hash, host, kernel, root,
};
use crate::target::{BuiltKernel, KernelSource, Target};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Changes whenever packages are unpacked in another way: older trees are not used then.
const TREE_FORMAT: &str = "recrash tree 1";
/// Changes whenever the wrappers of programs of another release do.
const WRAPPED: &str = "recrash wrappers 2";
const KERNEL: &[Role] = &[Role::Image, Role::Headers];
const TOOLS: &[Role] = &[Role::Tools];
const TOOLCHAIN: &[Role] = &[Role::Toolchain];

/// Makes everything ready that a run of `target` needs; what is ready already is used as it is, without apt.
///
/// # Errors
/// [`SetupError`]; [`SetupError::NeedsRoot`] carries the command that a person must run.
pub fn ensure(
    target: &Target,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Provisioned, SetupError> {
    if target.kernel == KernelSource::Added {
        return added::ensure(target, options, on);
    }
    if let Some(why) = &target.left_out {
        return Err(left_out(target, why));
    }
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let _held = cache.exclusive(on)?;
    cache.sweep()?;
    let found = cache
        .read_lock(&target.name)
        .filter(|lock| is_current(target, lock) && !options.update);
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
        if refresh(&cache, &lock, options, on).is_err() {
            return Err(error);
        }
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
    if target.kernel == KernelSource::Added {
        return added::load(target);
    }
    if let Some(why) = &target.left_out {
        return Err(left_out(target, why));
    }
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let missing = |what: &str| SetupError::NotSetUp {
        target: target.name.clone(),
        missing: what.into(),
    };
    let lock = cache
        .read_lock(&target.name)
        .ok_or_else(|| missing("the lock file is"))?;
    if !is_current(target, &lock) {
        return Err(SetupError::Stale {
            target: target.name.clone(),
            what: "its file has changed".into(),
        });
    }
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
        (
            place.toolchain.is_none() || place.toolchain_is_there(&lock.compiler),
            "the unpacked compiler is",
        ),
        (module_ko.is_file(), "the built repro-module is"),
    ] {
        if !is_there {
            return Err(missing(what));
        }
    }
    place.provisioned(&cache, target, lock, module_ko)
}

fn left_out(target: &Target, why: &str) -> SetupError {
    SetupError::LeftOut {
        target: target.name.clone(),
        why: why.into(),
    }
}

/// Whether the lock file is of what the target's file asks for now.
pub(super) fn is_current(target: &Target, lock: &Lock) -> bool {
    let fits = |kernel| Ok::<_, SetupError>(built_from(kernel, lock)?.is_meant_by(lock));
    lock.inputs == inputs(target)
        && match &target.kernel {
            KernelSource::Debian { .. } => true,
            // The end of its release is written in the configuration.
            KernelSource::Built(kernel) => fits(kernel).unwrap_or(false),
            // It has a record of its own.
            KernelSource::Added => false,
        }
}

/// What a kernel is built from, as it lies in the checkout.
fn built_from<'a>(kernel: &'a BuiltKernel, lock: &Lock) -> Result<built::Inputs<'a>, SetupError> {
    built::Inputs::locked(&root::find()?, kernel, lock)
}

/// Of what the target's file asks apt for; the rest of the file does not concern what is kept.
fn inputs(target: &Target) -> String {
    let asked = serde_json::to_string(&(&target.kernel, &target.capture.makedumpfile));
    let mut hasher = Sha256::new();
    hash::part(&mut hasher, asked.unwrap_or_default().as_bytes());
    let mut hex = hash::hex(&hasher.finalize());
    hex.truncate(24);
    hex
}

fn resolve(
    cache: &Cache,
    target: &Target,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Lock, SetupError> {
    let (image, headers, suites) = match &target.kernel {
        KernelSource::Debian {
            image,
            headers,
            suites,
        } => (image, headers, suites),
        KernelSource::Built(kernel) => {
            let plan = built::resolve(&root::find()?, kernel, cache, target, on)?;
            // The tools are of the machine's own release; the source knows its suites.
            return Ok(Lock::new(plan, &[], inputs(target)));
        }
        KernelSource::Added => {
            return Err(SetupError::NotSetUp {
                target: target.name.clone(),
                missing: "the added kernel is".into(),
            });
        }
    };
    let wanted = apt::Wanted {
        image,
        headers,
        makedumpfile: target.capture.makedumpfile.as_deref(),
        toolchain: !suites.is_empty(),
    };
    if !suites.is_empty() {
        return from_suites(cache, suites, wanted, inputs(target), options, on);
    }
    if options.update {
        // Without root, what apt knows already has to do.
        match host::update_lists("", options.install_host_packages, on) {
            Ok(()) | Err(SetupError::NeedsRoot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut plan = ask(&Apt::system(), wanted, on);
    if let Err(error @ SetupError::UnknownPackage { .. }) = plan {
        host::update_lists(&error.to_string(), options.install_host_packages, on)?;
        plan = ask(&Apt::system(), wanted, on);
    }
    Ok(Lock::new(plan?, &[], inputs(target)))
}

fn ask(
    apt: &Apt,
    wanted: apt::Wanted<'_>,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<apt::Plan, SetupError> {
    on(SetupEvent::Started {
        what: format!("asking apt for {} and what belongs to it", wanted.image),
    });
    let plan = apt::resolve(apt, wanted)?;
    on(SetupEvent::Done);
    Ok(plan)
}

/// From the first alternative that the machine's mirror serves.
fn from_suites(
    cache: &Cache,
    all: &[Vec<String>],
    wanted: apt::Wanted<'_>,
    inputs: String,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Lock, SetupError> {
    alternatives::first_served(all, on, |suites, on| {
        let root = AptRoot::for_suites(cache, suites)?;
        let plan = from_root(&root, wanted, options, on)?;
        Ok(Lock::new(plan, suites, inputs.clone()))
    })
}

fn from_root(
    root: &AptRoot,
    wanted: apt::Wanted<'_>,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<apt::Plan, SetupError> {
    let fresh = options.update || !root.is_updated();
    if fresh {
        root.update(on)?;
    }
    match ask(&root.apt(), wanted, on) {
        // The lists may be older than the packages.
        Err(SetupError::UnknownPackage { .. }) if !fresh => {
            root.update(on)?;
            ask(&root.apt(), wanted, on)
        }
        other => other,
    }
}

/// Has apt read the lists anew that the lock file's packages came from.
fn refresh(
    cache: &Cache,
    lock: &Lock,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    if lock.suites.is_empty() {
        host::update_lists("", options.install_host_packages, on)
    } else {
        AptRoot::for_suites(cache, &lock.suites)?.update(on)
    }
}

fn install(
    lock: &Lock,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    let needs = if lock.of(TOOLCHAIN).next().is_some() {
        host::without_compiler()
    } else {
        host::needs(Some(&lock.compiler), &lock.host_libraries)
    };
    host::install(&host::missing(&needs)?, options.install_host_packages, on)
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
            // An added one does not come here.
            KernelSource::Debian { .. } | KernelSource::Added => {
                unpack(cache, &place.kernel, lock, KERNEL, on)?;
            }
            KernelSource::Built(kernel) => {
                let inputs = built_from(kernel, lock)?;
                inputs.make(cache, &place.kernel, lock, on)?;
                seal(cache, &place.kernel, on)?;
            }
        }
    }
    if let Some(toolchain) = &place.toolchain
        && !place.toolchain_is_there(&lock.compiler)
    {
        unpack(cache, toolchain, lock, TOOLCHAIN, on)?;
    }
    match &place.tools {
        Some(tools) if !place.tools_are_there() => unpack(cache, tools, lock, TOOLS, on),
        _ => Ok(()),
    }
}

/// Fetches and unpacks the tools of a lock file.
pub(super) fn unpack_tools(
    cache: &Cache,
    lock: &Lock,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    match tools_tree(cache, lock) {
        Some(tree) => unpack(cache, &tree, lock, TOOLS, on),
        None => Ok(()),
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
    fetch(cache, &lock.suites, &wanted, on)?;
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
            if lock.of(TOOLCHAIN).next().is_some() {
                foreign::wrap(inside, foreign::KERNEL_FOLDERS, foreign::KERNEL)?;
            }
        }
        if roles.contains(&Role::Toolchain) {
            foreign::wrap(inside, foreign::TOOLCHAIN_FOLDERS, foreign::TOOLCHAIN)?;
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
        Role::Toolchain => below(&["usr/bin", "usr/lib", "usr/libexec", "lib"]),
    }
}

/// Downloads the packages that are not there ([`Cache::deb`]), or are not what the lock file says; from these suites,
/// or through the machine's own apt if there are none.
///
/// # Errors
/// [`SetupError::Child`] with apt's words, [`SetupError::Hash`].
pub(super) fn fetch(
    cache: &Cache,
    suites: &[String],
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
    let apt = if suites.is_empty() {
        Apt::system()
    } else {
        AptRoot::for_suites(cache, suites)?.apt()
    };
    let scratch = cache.scratch()?;
    apt::download(&apt, &missing, scratch.path(), on)?;
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
    for tree in std::iter::once(&place.kernel)
        .chain(&place.tools)
        .chain(&place.toolchain)
    {
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

/// Name of the tree that these packages are unpacked to; `wrapped`: with programs that start by their own loader.
fn key(lock: &Lock, roles: &[Role], wrapped: bool) -> String {
    let mut hasher = Sha256::new();
    hash::part(&mut hasher, TREE_FORMAT.as_bytes());
    if wrapped {
        hash::part(&mut hasher, WRAPPED.as_bytes());
    }
    lock.of(roles)
        .for_each(|package| hash::part(&mut hasher, package.sha256.as_bytes()));
    let mut key = hash::hex(&hasher.finalize());
    key.truncate(24);
    key
}

/// Where the tools of a lock file lie, if it has any.
pub(super) fn tools_tree(cache: &Cache, lock: &Lock) -> Option<PathBuf> {
    lock.of(TOOLS).next()?;
    Some(cache.root().join("trees").join(key(lock, TOOLS, false)))
}

/// Whether the tree has them, whole.
pub(super) fn tools_are_in(tree: &Path) -> bool {
    tree.join("usr/bin/makedumpfile").is_file() && digest_file(tree).is_file()
}

/// Where the parts of one lock file lie.
pub(super) struct Place {
    kernel_key: String,
    pub(super) kernel: PathBuf,
    pub(super) tools: Option<PathBuf>,
    toolchain_key: String,
    pub(super) toolchain: Option<PathBuf>,
}

impl Place {
    /// # Errors
    /// Of a kernel that is built: when what it is built from or with is not there.
    pub(super) fn of(cache: &Cache, target: &Target, lock: &Lock) -> Result<Self, SetupError> {
        let wrapped = lock.of(TOOLCHAIN).next().is_some();
        let kernel_key = match &target.kernel {
            // An added one has no lock file, and so no such place.
            KernelSource::Debian { .. } | KernelSource::Added => key(lock, KERNEL, wrapped),
            KernelSource::Built(kernel) => built_from(kernel, lock)?.key(lock)?,
        };
        let toolchain_key = key(lock, TOOLCHAIN, wrapped);
        let trees = cache.root().join("trees");
        Ok(Self {
            kernel: trees.join(&kernel_key),
            tools: tools_tree(cache, lock),
            toolchain: wrapped.then(|| trees.join(&toolchain_key)),
            kernel_key,
            toolchain_key,
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
        self.tools.as_deref().is_some_and(tools_are_in)
    }

    pub(super) fn toolchain_is_there(&self, compiler: &str) -> bool {
        self.toolchain.as_ref().is_some_and(|tree| {
            tree.join("usr/bin").join(compiler).is_file()
                && foreign::has_loader(tree)
                && digest_file(tree).is_file()
        })
    }

    pub(super) fn build<'a>(&'a self, sources: &'a Path, lock: &'a Lock) -> Build<'a> {
        Build {
            sources,
            headers: self.headers(&lock.release),
            headers_key: &self.kernel_key,
            release: &lock.release,
            compiler: &lock.compiler,
            variables: &[],
            toolchain: self.toolchain.as_deref().map(|tree| Toolchain {
                tree,
                key: &self.toolchain_key,
                kernel: &self.kernel,
            }),
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
            config: Some(self.boot_file("config", &release)).filter(|file| file.is_file()),
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
