//! Brings a kernel's files into one folder, laid out as an installed system has them (`boot/`, `lib/modules/`,
//! `usr/src/`, `usr/lib/debug/`), from packages, a built tree or an installed system. Judges nothing.
use super::record::is_release;
use super::{Origin, find, refuse, rpm};
use crate::setup::unpack::{Folder, Limits};
use crate::setup::{LockedPackage, Role, SetupError, SetupEvent, apt, deb, hash, kernel};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Of all packages together: RHEL's kernel, modules, devel and vmlinux have 2 GB.
const LIMITS: Limits = Limits {
    entries: 1_000_000,
    bytes: 8 << 30,
};
const MAX_DEPTH: u32 = 32;
/// Lists in a tree: modules.order of an allmodconfig has 1 MB.
const MAX_LIST: u64 = 64 << 20;

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files of Debian packages: image, modules, headers, kbuild, debug symbols.
    Deb(Vec<PathBuf>),
    /// Files of RPM packages: core, modules, devel, debug symbols.
    Rpm(Vec<PathBuf>),
    /// A folder that `make` has built in.
    Tree(PathBuf),
    /// An installed kernel.
    Host {
        /// Where `boot` and `lib/modules` lie.
        root: PathBuf,
        /// `uname -r`.
        release: String,
    },
}

/// What came with the files.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) origin: Origin,
    pub(super) packages: Vec<LockedPackage>,
    /// Headers that stay where they are.
    pub(super) outer_headers: Option<PathBuf>,
}

impl Source {
    /// Fills the empty folder `root`.
    ///
    /// # Errors
    /// [`SetupError::Package`], [`SetupError::Added`], [`SetupError::Io`].
    pub(super) fn fill(
        &self,
        root: &Path,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<Filled, SetupError> {
        match self {
            Self::Deb(files) => packages(files, root, on, &Format::DEB),
            Self::Rpm(files) => packages(files, root, on, &Format::RPM),
            Self::Tree(tree) => built_tree(tree, root, on),
            Self::Host {
                root: system,
                release,
            } => installed(system, release, root, on),
        }
    }
}

/// What the two kinds of packages differ in.
struct Format {
    origin: Origin,
    /// Of this machine, or of none.
    architectures: &'static [&'static str],
    identity: fn(&Path) -> Result<rpm::Identity, SetupError>,
    unpack: Unpack,
}

type Unpack = fn(&Path, &mut Folder<'_>, &dyn Fn(&Path) -> bool) -> Result<(), SetupError>;

impl Format {
    const DEB: Self = Self {
        origin: Origin::Deb,
        architectures: &["amd64", "all"],
        identity: deb_identity,
        unpack: deb::unpack_into,
    };
    const RPM: Self = Self {
        origin: Origin::Rpm,
        architectures: &["x86_64", "noarch"],
        identity: rpm::identity,
        unpack: rpm::unpack_into,
    };
}

fn packages(
    files: &[PathBuf],
    root: &Path,
    on: &mut dyn FnMut(SetupEvent),
    format: &Format,
) -> Result<Filled, SetupError> {
    let mut folder = Folder::new(root, LIMITS);
    let mut packages = Vec::new();
    for file in files {
        let found = (format.identity)(file)?;
        if !format.architectures.contains(&found.arch.as_str()) {
            return Err(refuse(
                format!("{}: a package for {}", file.display(), found.arch),
                format!(
                    "recrash boots x86-64 kernels: {}",
                    format.architectures.join(" or ")
                ),
            ));
        }
        on(SetupEvent::Started {
            what: format!("unpacking {}", found.name),
        });
        (format.unpack)(file, &mut folder, &is_wanted)?;
        packages.push(note(file, found)?);
        on(SetupEvent::Done);
    }
    let sources = root.join("usr/src");
    if sources.is_dir() {
        kernel::localise_headers(root)?;
    }
    Ok(Filled {
        origin: format.origin.clone(),
        packages,
        outer_headers: None,
    })
}

fn note(file: &Path, found: rpm::Identity) -> Result<LockedPackage, SetupError> {
    let is_for_builds = ["headers", "devel", "kbuild"]
        .iter()
        .any(|part| found.name.contains(part));
    let size = file.metadata().map_err(SetupError::io("reading", file))?;
    Ok(LockedPackage {
        name: found.name,
        version: found.version,
        role: if is_for_builds {
            Role::Headers
        } else {
            Role::Image
        },
        sha256: hash::file(file)?,
        size: size.len(),
    })
}

fn deb_identity(file: &Path) -> Result<rpm::Identity, SetupError> {
    let control = deb::control(file)?;
    let record = apt::parse_records(&control).into_iter().next();
    let record = record.ok_or_else(|| SetupError::Package {
        file: file.into(),
        what: "its control file names no package and version".into(),
    })?;
    let arch = control
        .lines()
        .find_map(|line| line.strip_prefix("Architecture:"))
        .map_or("unknown", str::trim);
    Ok(rpm::Identity {
        name: record.name,
        version: record.version,
        arch: arch.to_owned(),
    })
}

/// Of a package's files, those that boots, builds and the analysis need. Of the debug symbols only vmlinux and
/// USB: all of them have 5 GB.
fn is_wanted(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(rest) = text.strip_prefix("usr/lib/debug/") {
        return name.starts_with("vmlinux")
            || (rest.contains("lib/modules/") && rest.contains("/kernel/drivers/usb/"));
    }
    let boot = ["vmlinuz", "config", "System.map"];
    if let Some(rest) = text.strip_prefix("boot/") {
        return boot.iter().any(|start| rest.starts_with(start)) && !rest.contains('/');
    }
    [
        "lib/modules/",
        "usr/lib/modules/",
        "usr/src/",
        "usr/lib/linux-",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}

/// What `make` leaves: arch/x86/boot/bzImage, and modules where modules.order says (Linux,
/// Documentation/kbuild/makefiles.rst). Headers are used where they lie.
fn built_tree(
    tree: &Path,
    root: &Path,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Filled, SetupError> {
    let tree = tree
        .canonicalize()
        .map_err(SetupError::io("reading", tree))?;
    let release = tree_release(&tree)?;
    on(SetupEvent::Started {
        what: format!("copying Linux {release} from {}", tree.display()),
    });
    let boot = |name: &str| root.join(format!("boot/{name}-{release}"));
    let image = tree.join("arch/x86/boot/bzImage");
    if !image.is_file() {
        return Err(refuse(
            format!("{} is not there", image.display()),
            format!("make -C {} bzImage modules", tree.display()),
        ));
    }
    copy(&image, &boot("vmlinuz"))?;
    for (from, name) in [(".config", "config"), ("System.map", "System.map")] {
        copy_if_there(&tree.join(from), &boot(name))?;
    }
    let debug = root.join(format!("usr/lib/debug/boot/vmlinux-{release}"));
    copy_if_there(&tree.join("vmlinux"), &debug)?;
    let modules = root.join("lib/modules").join(&release);
    for name in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        copy_if_there(&tree.join(name), &modules.join(name))?;
    }
    std::fs::create_dir_all(&modules).map_err(SetupError::io("making", &modules))?;
    copy_modules(&tree, &modules)?;
    on(SetupEvent::Done);
    Ok(Filled {
        origin: Origin::Tree { path: tree.clone() },
        packages: Vec::new(),
        outer_headers: Some(tree),
    })
}

fn tree_release(tree: &Path) -> Result<String, SetupError> {
    let release = find::headers_release(tree);
    release.filter(|release| is_release(release)).ok_or_else(|| {
        refuse(
            format!(
                "{} is no tree that a kernel was built in: it has no include/generated/utsrelease.h",
                tree.display()
            ),
            "give the folder in which make ran, or the one that O= named",
        )
    })
}

/// Each line of modules.order is `kernel/drivers/x.ko` (until 6.1), `drivers/x.ko` or, since 6.3, `drivers/x.o`
/// (Linux commit f65a486821cf).
fn copy_modules(tree: &Path, modules: &Path) -> Result<(), SetupError> {
    let order = tree.join("modules.order");
    for line in read_list(&order)?.unwrap_or_default().lines() {
        let line = line.trim();
        let path = line.strip_prefix("kernel/").unwrap_or(line);
        let path = path
            .strip_suffix(".o")
            .map_or_else(|| path.to_owned(), |stem| format!("{stem}.ko"));
        let inside = Path::new(&path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || !path.ends_with(".ko") {
            return Err(refuse(
                format!("{}: {line:?} is no path of a module", order.display()),
                "build the tree again: make modules",
            ));
        }
        let from = tree.join(&path);
        if !from.is_file() {
            return Err(refuse(
                format!("{} is not there, but in modules.order", from.display()),
                format!("make -C {} modules", tree.display()),
            ));
        }
        copy(&from, &modules.join("kernel").join(&path))?;
    }
    Ok(())
}

/// An installed kernel; headers are used where `lib/modules/<release>/build` points to.
fn installed(
    system: &Path,
    release: &str,
    root: &Path,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Filled, SetupError> {
    let system = system
        .canonicalize()
        .map_err(SetupError::io("reading", system))?;
    if !is_release(release) {
        return Err(refuse(
            format!("{release:?} is no kernel release"),
            "give it as uname -r prints it",
        ));
    }
    let found = ["lib/modules", "usr/lib/modules"]
        .map(|dir| system.join(dir).join(release))
        .into_iter()
        .find(|dir| dir.is_dir());
    let boot = system.join(format!("boot/vmlinuz-{release}"));
    let (Some(modules), true) = (&found, boot.is_file() || has_image(found.as_deref())) else {
        return Err(not_installed(&system, release, found.as_deref()));
    };
    on(SetupEvent::Started {
        what: format!("copying Linux {release} from {}", system.display()),
    });
    for name in ["vmlinuz", "config", "System.map"] {
        let name = format!("{name}-{release}");
        copy_if_there(
            &system.join("boot").join(&name),
            &root.join("boot").join(&name),
        )?;
    }
    copy_folder(modules, &root.join("lib/modules").join(release), 0)?;
    on(SetupEvent::Done);
    Ok(Filled {
        outer_headers: build_link(&system, &modules.join("build")),
        origin: Origin::Host { path: system },
        packages: Vec::new(),
    })
}

fn has_image(modules: Option<&Path>) -> bool {
    modules.is_some_and(|dir| dir.join("vmlinuz").is_file())
}

fn not_installed(system: &Path, release: &str, modules: Option<&Path>) -> SetupError {
    let dirs = ["lib/modules", "usr/lib/modules"].map(|dir| system.join(dir));
    let mut there: Vec<String> = dirs
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    there.sort();
    there.dedup();
    let what = match modules {
        Some(dir) => format!(
            "no image of Linux {release}: neither {} nor {} is there",
            system.join(format!("boot/vmlinuz-{release}")).display(),
            dir.join("vmlinuz").display()
        ),
        None => format!(
            "Linux {release} is not installed below {}: no {}",
            system.display(),
            system.join("lib/modules").join(release).display()
        ),
    };
    let hint = if there.is_empty() {
        "a container has no kernel of its own: add one from packages (--deb, --rpm) or a built tree (--tree)"
            .to_owned()
    } else {
        format!(
            "modules are there of: {}; give one of these releases",
            there.join(", ")
        )
    };
    refuse(what, hint)
}

/// The folder that the link names in its own system.
fn build_link(system: &Path, link: &Path) -> Option<PathBuf> {
    let target = std::fs::read_link(link).ok();
    let path = match target {
        Some(target) => match target.strip_prefix("/") {
            Ok(absolute) => system.join(absolute),
            Err(_) => link.parent()?.join(target),
        },
        None => link.to_path_buf(),
    };
    path.canonicalize().ok().filter(|path| path.is_dir())
}

fn copy_folder(from: &Path, to: &Path, depth: u32) -> Result<(), SetupError> {
    std::fs::create_dir_all(to).map_err(SetupError::io("making", to))?;
    for entry in std::fs::read_dir(from).map_err(SetupError::io("reading", from))? {
        let entry = entry.map_err(SetupError::io("reading", from))?;
        let kind = entry.file_type().map_err(SetupError::io("reading", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if kind.is_file() {
            copy(&path, &target)?;
        } else if kind.is_dir() && depth < MAX_DEPTH && entry.file_name() != "build" {
            copy_folder(&path, &target, depth + 1)?;
        }
        // Links lead to headers or to other kernels' modules (weak-updates).
    }
    Ok(())
}

fn copy_if_there(from: &Path, to: &Path) -> Result<(), SetupError> {
    if from.is_file() {
        copy(from, to)
    } else {
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), SetupError> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(SetupError::io("making", parent))?;
    }
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => refuse(
                format!("{} may not be read", from.display()),
                "Ubuntu's images can be read by root only: sudo, or a copy of the file's package (--deb)",
            ),
            _ => SetupError::io("copying", from)(error),
        })
}

fn read_list(file: &Path) -> Result<Option<String>, SetupError> {
    use std::io::Read;
    let opened = match File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(SetupError::io("reading", file))?,
    };
    let mut text = String::new();
    opened
        .take(MAX_LIST)
        .read_to_string(&mut text)
        .map_err(SetupError::io("reading", file))?;
    Ok(Some(text))
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
