//! `recrash target add`: source, checks, module, record. What is kept appears only when all of it is good.
use super::build::Kernel;
use super::compiler::{self, Wanted};
use super::find::{self, Parts};
use super::record::{Compiler, FileNote, Headers, RECORD, ROOT, Record, SCHEMA};
use super::source::{Filled, Source};
use super::store::{self, Added, Store, TARGET};
use super::{check, provide, refuse};
use crate::setup::cache::Cache;
use crate::setup::{SetupError, SetupEvent, SetupOptions, root};
use crate::target::Target;
use std::path::{Path, PathBuf};

/// `--target all` means every target.
const RESERVED: &[&str] = &["all"];
const PREBUILT: &str = "repro.ko";
/// What a record lists file by file; the rest is headers.
const LISTED: &[&str] = &["boot", "lib", "usr/lib/debug", "usr/lib/modules"];
const MAX_DEPTH: u32 = 32;

/// What is to be added.
#[derive(Debug)]
pub struct AddRequest<'a> {
    /// The new target's name.
    pub name: &'a str,
    /// Where the kernel comes from.
    pub source: &'a Source,
    /// A built repro.ko.
    pub module: Option<&'a Path>,
    /// The compiler to build repro.ko with, instead of the kernel's own.
    pub cc: Option<&'a str>,
    /// The kernel's vmlinux with DWARF, if no package brings it.
    pub vmlinux: Option<&'a Path>,
    /// The target whose machine, command lines and deadlines are taken.
    pub template: &'a Target,
    /// That target's file.
    pub template_file: &'a Path,
    /// Names of the targets in the checkout.
    pub taken: &'a [String],
    /// Replace an added kernel of the same name.
    pub replace: bool,
}

/// Adds a kernel.
///
/// # Errors
/// [`SetupError`]; nothing is added then, and a kernel that was to be replaced is still there.
pub fn add(
    request: &AddRequest<'_>,
    options: &SetupOptions,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<Added, SetupError> {
    let store = Store::find()?;
    check_name(request, &store)?;
    store.check_path()?;
    let sources = root::find()?.join("repro-module");
    let cache = Cache::find()?;
    let _store_held = store.exclusive()?;
    let _cache_held = cache.exclusive(on)?;
    cache.sweep()?;
    let scratch = store.scratch()?;
    let folder = scratch.path().join("new");
    let root = folder.join(ROOT);
    std::fs::create_dir_all(&root).map_err(SetupError::io("making", &root))?;

    let filled = request.source.fill(&root, on)?;
    on(SetupEvent::Started {
        what: "checking what was found".into(),
    });
    let mut record = examine(request, &folder, filled)?;
    on(SetupEvent::Done);
    let kernel = Kernel {
        folder: &folder,
        record: &record,
        sources: &sources,
    };
    provide::complete(&kernel, request.template, &cache, options, on)?;

    on(SetupEvent::Started {
        what: "hashing what was added".into(),
    });
    record.files = notes(&folder)?;
    write(request, &folder, &record)?;
    on(SetupEvent::Done);
    let folder = store.keep(&folder, request.name)?;
    Ok(Added {
        name: request.name.into(),
        folder,
        record,
    })
}

fn check_name(request: &AddRequest<'_>, store: &Store) -> Result<(), SetupError> {
    let name = request.name;
    if !store::is_name(name) || RESERVED.contains(&name) {
        return Err(refuse(
            format!("{name:?} cannot be the name of a target"),
            "lower-case letters, digits, dots and dashes, beginning with a letter or a digit; not \"all\"",
        ));
    }
    if request.taken.iter().any(|taken| taken == name) {
        return Err(refuse(
            format!("{name} is a target of the checkout already"),
            "choose another name",
        ));
    }
    if store.is_taken(name) && !request.replace {
        return Err(refuse(
            format!("a kernel was added under the name {name} before"),
            format!("--force replaces it; recrash target show {name} tells what it is"),
        ));
    }
    Ok(())
}

/// Finds the kernel's parts in the filled folder and checks them.
fn examine(request: &AddRequest<'_>, folder: &Path, filled: Filled) -> Result<Record, SetupError> {
    let root = folder.join(ROOT);
    let mut parts = find::find(&root)?;
    check::image(&root.join(&parts.image), &parts.release)?;
    let template = request.template;
    let wanted = [&template.boot.modules[..], &template.capture.modules[..]];
    let index = check::modules(&root.join(&parts.modules), &wanted)?;
    if let Some(vmlinux) = request.vmlinux {
        let path = PathBuf::from(format!("usr/lib/debug/boot/vmlinux-{}", parts.release));
        copy(vmlinux, &root.join(&path))?;
        parts.vmlinux = Some(path);
    }
    let mut is_signed = false;
    if let Some(module) = request.module {
        is_signed = check::prebuilt(module, &parts.release, &index)?;
        copy(module, &folder.join(PREBUILT))?;
    }
    let config = match &parts.config {
        Some(path) => Some(read(&root.join(path))?),
        None => outer_config(filled.outer_headers.as_deref())?,
    };
    let limits = match &config {
        Some(text) => {
            let config = check::Config::parse(text);
            config.limits(is_signed, parts.vmlinux.is_some())?
        }
        None => Vec::new(),
    };
    let (headers, compiler) = match request.module {
        Some(_) => (None, None),
        None => toolchain(request, &root, &parts, &filled, config.as_deref())?,
    };
    let below = |path: PathBuf| Path::new(ROOT).join(path);
    Ok(Record {
        schema: SCHEMA,
        added: jiff::Timestamp::now().to_string(),
        origin: filled.origin,
        packages: filled.packages,
        release: parts.release,
        image: below(parts.image),
        modules: below(parts.modules),
        config: parts.config.map(below),
        system_map: parts.system_map.map(below),
        vmlinux: parts.vmlinux.map(below),
        headers,
        compiler,
        prebuilt: request.module.map(|_| PREBUILT.into()),
        limits,
        files: Vec::new(),
    })
}

fn outer_config(headers: Option<&Path>) -> Result<Option<String>, SetupError> {
    let file = headers.map(|headers| headers.join(".config"));
    file.filter(|file| file.is_file())
        .map(|file| read(&file))
        .transpose()
}

/// The headers and the compiler that repro-module is built with.
fn toolchain(
    request: &AddRequest<'_>,
    root: &Path,
    parts: &Parts,
    filled: &Filled,
    config: Option<&str>,
) -> Result<(Option<Headers>, Option<Compiler>), SetupError> {
    let release = &parts.release;
    let headers = match (&parts.headers, &filled.outer_headers) {
        (Some(inner), _) => Headers {
            path: Path::new(ROOT).join(inner),
            key: find::inner_headers_key(root)?,
        },
        (None, Some(outer)) => Headers {
            path: outer.clone(),
            key: find::outer_headers_key(outer)?,
        },
        (None, None) => {
            return Err(refuse(
                format!(
                    "there are no headers of Linux {release}, which repro-module is built against"
                ),
                "add their packages: linux-headers-… with its …-common and linux-kbuild-… (Debian, Ubuntu), \
                 kernel-devel (RHEL, CentOS, openEuler); or give a built repro.ko with --module",
            ));
        }
    };
    let at = match &parts.headers {
        Some(inner) => root.join(inner),
        None => headers.path.clone(),
    };
    check_headers(&at, release)?;
    let wanted = config.and_then(Wanted::of);
    let compiler = compiler::choose(&compiler::Here, wanted.as_ref(), request.cc)?;
    Ok((Some(headers), Some(compiler)))
}

fn check_headers(headers: &Path, release: &str) -> Result<(), SetupError> {
    if let Some(found) = find::headers_release(headers).filter(|found| found != release) {
        return Err(refuse(
            format!("the headers are of Linux {found}, the modules of Linux {release}"),
            "give headers of the same build, or a built repro.ko with --module",
        ));
    }
    // Debian's headers are made of several packages, with links from one to the others.
    let entries = std::fs::read_dir(headers).map_err(SetupError::io("reading", headers))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(target) = std::fs::read_link(&path).ok().filter(|_| !path.exists()) else {
            continue;
        };
        return Err(refuse(
            format!(
                "the headers of Linux {release} are not whole: {} leads to {}, which is not there",
                entry.file_name().display(),
                target.display()
            ),
            "add the package that has it (linux-kbuild-… and linux-headers-…-common belong to linux-headers-…)",
        ));
    }
    match include_outside(headers) {
        Some(missing) => Err(refuse(
            format!("the headers of Linux {release} are not whole: {missing} is not there"),
            "add the package that has it (linux-headers-…-common belongs to linux-headers-…)",
        )),
        None => Ok(()),
    }
}

/// The other Makefile that Debian's one includes (see [`crate::setup::kernel`]), if it is missing.
fn include_outside(headers: &Path) -> Option<String> {
    let text = std::fs::read_to_string(headers.join("Makefile")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("include "))?;
    let other = match line.split_once(")../") {
        Some((_, other)) => headers.parent()?.join(other),
        None => PathBuf::from(line),
    };
    let plain = !other.to_string_lossy().contains('$') && other.is_absolute();
    (plain && !other.is_file()).then(|| {
        let name = other.parent().and_then(Path::file_name);
        name.unwrap_or(other.as_os_str()).display().to_string()
    })
}

fn notes(folder: &Path) -> Result<Vec<FileNote>, SetupError> {
    let mut paths = Vec::new();
    for name in LISTED {
        let path = Path::new(ROOT).join(name);
        if folder.join(&path).is_dir() {
            list(folder, &path, 0, &mut paths)?;
        }
    }
    if folder.join(PREBUILT).is_file() {
        paths.push(PREBUILT.into());
    }
    paths.sort();
    paths
        .iter()
        .map(|path| FileNote::of(folder, path))
        .collect()
}

fn list(folder: &Path, dir: &Path, depth: u32, out: &mut Vec<PathBuf>) -> Result<(), SetupError> {
    let absolute = folder.join(dir);
    let entries = std::fs::read_dir(&absolute).map_err(SetupError::io("reading", &absolute))?;
    for entry in entries {
        let entry = entry.map_err(SetupError::io("reading", &absolute))?;
        let kind = entry
            .file_type()
            .map_err(SetupError::io("reading", &absolute))?;
        let path = dir.join(entry.file_name());
        if kind.is_file() {
            out.push(path);
        } else if kind.is_dir() && depth < MAX_DEPTH {
            list(folder, &path, depth + 1, out)?;
        }
    }
    Ok(())
}

fn write(request: &AddRequest<'_>, folder: &Path, record: &Record) -> Result<(), SetupError> {
    let file = folder.join(RECORD);
    let text = serde_json::to_vec_pretty(record).map_err(|error| SetupError::Package {
        file: file.clone(),
        what: error.to_string(),
    })?;
    std::fs::write(&file, text).map_err(SetupError::io("writing", &file))?;
    let file = folder.join(TARGET);
    let text = target_text(request, record)?;
    std::fs::write(&file, text).map_err(SetupError::io("writing", &file))?;
    // What a person finds there can be used, and edited from there.
    Target::load(&file).map_err(|error| SetupError::Package {
        file,
        what: error.to_string(),
    })?;
    Ok(())
}

/// The template's file with another kernel.
fn target_text(request: &AddRequest<'_>, record: &Record) -> Result<String, SetupError> {
    let file = request.template_file;
    let refused = |what: String| SetupError::Package {
        file: file.into(),
        what,
    };
    let mut table: toml::Table =
        toml::from_str(&read(file)?).map_err(|error| refused(error.to_string()))?;
    let summary = format!("Linux {}, from {}", record.release, record.origin);
    let kernel = toml::Table::from_iter([("kind".to_owned(), "added".into())]);
    // That is of the template's kernel.
    table.remove("left-out");
    table.insert("summary".into(), summary.into());
    table.insert("kernel".into(), kernel.into());
    let body = toml::to_string(&table).map_err(|error| refused(error.to_string()))?;
    Ok(format!(
        "# Written by `recrash target add`, after the target {}. May be edited: machine, command lines, deadlines.\n{body}",
        request.template.name
    ))
}

fn read(file: &Path) -> Result<String, SetupError> {
    std::fs::read_to_string(file).map_err(SetupError::io("reading", file))
}

fn copy(from: &Path, to: &Path) -> Result<(), SetupError> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(SetupError::io("making", parent))?;
    }
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(SetupError::io("copying", from))
}
