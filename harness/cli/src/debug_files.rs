//! The files of a kernel's debug packages: the options that name them, where they are found by build id, and what
//! the analysis asks of them. Decides nothing about a crash.
//!
//! Looking costs a few `stat` calls; a file is opened when something is asked of it.
mod find;

use anyhow::{Context as _, anyhow};
use memmap2::Mmap;
use recrash_debuginfo::dwarf::kept::Kept;
use recrash_debuginfo::dwarf::{Dwarf, SourceFrame, UnitIndex};
use recrash_debuginfo::system_map;
use recrash_kernel::open::build_id::{from_hexadecimal, hexadecimal};
use recrash_kernel::source_lines::{CodeIn, DebugInfo};
use recrash_kernel::{Kernel, Sources};
use recrash_machine::setup::cache::Cache;
use recrash_vmcore::Vmcoreinfo;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use crate::debug_cache::DebugCache;
use crate::failure::Failure;
use crate::output;

/// Where Debian, Fedora and others put debug packages.
const DEBUG_DIR: &str = "/usr/lib/debug";
/// A System.map takes 4 MB.
const SYSTEM_MAP_MAX: u64 = 64 << 20;

/// The options.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Debug information (not needed)")]
pub(crate) struct DebugArgs {
    /// The kernel's vmlinux with DWARF: source lines, inlined functions, types where the dump has none
    /// [default: found by build id]
    #[arg(long, value_name = "FILE", global = true)]
    vmlinux: Option<PathBuf>,
    /// Where debug packages are unpacked: vmlinux and modules are looked for there by build id, and beside what
    /// recrash setup has built
    #[arg(long, value_name = "DIR", default_value = DEBUG_DIR, global = true)]
    debug_dir: PathBuf,
    /// The kernel's System.map, for a dump without symbols
    #[arg(long, value_name = "FILE", global = true)]
    system_map: Option<PathBuf>,
    /// The kernel's image (vmlinuz), for a dump without symbols
    #[arg(long, value_name = "FILE", global = true)]
    image: Option<PathBuf>,
    /// Look nowhere but in the folders named, and keep nothing.
    #[arg(skip)]
    confined: bool,
}

impl Default for DebugArgs {
    fn default() -> Self {
        Self {
            vmlinux: None,
            debug_dir: DEBUG_DIR.into(),
            system_map: None,
            image: None,
            confined: false,
        }
    }
}

impl DebugArgs {
    /// The debug files of a target, found by build id as those of debug packages are.
    pub(crate) fn in_folder(dir: &Path) -> Self {
        Self {
            debug_dir: dir.to_owned(),
            ..Self::default()
        }
    }

    /// Only what is named: no folder of this machine is looked into, no cache is read or written. Without a folder
    /// nothing is looked for.
    pub(crate) fn confined(vmlinux: Option<PathBuf>, debug_dir: Option<PathBuf>) -> Self {
        Self {
            vmlinux,
            debug_dir: debug_dir.unwrap_or_default(),
            confined: true,
            ..Self::default()
        }
    }

    /// Folders to look in, best first.
    fn dirs(&self) -> Vec<PathBuf> {
        let named = (!self.debug_dir.as_os_str().is_empty()).then(|| self.debug_dir.clone());
        let built = (!self.confined).then(built).into_iter().flatten();
        named.into_iter().chain(built).collect()
    }

    /// Opens the files named and looks for the others. `info` is the dump's VMCOREINFO, where it has one.
    ///
    /// # Errors
    /// A file that was named cannot be read, or is of another kernel.
    pub(crate) fn open(&self, info: Option<&Vmcoreinfo>) -> Result<DebugFiles, Failure> {
        let release = info.and_then(Vmcoreinfo::osrelease).map(str::to_owned);
        let build_id = info
            .and_then(Vmcoreinfo::build_id)
            .and_then(from_hexadecimal);
        let named = self.vmlinux.as_deref().map(DebugFile::open).transpose();
        let named = named.map_err(refused)?;
        if let (Some(file), Some(id)) = (&named, &build_id) {
            file.must_be(id).map_err(refused)?;
        }
        Ok(DebugFiles {
            named,
            found: OnceLock::new(),
            system_map: self.system_map.as_deref().map(text).transpose()?,
            image: self.image.as_deref().map(map_named).transpose()?,
            dirs: self.dirs(),
            release,
            notes: Mutex::default(),
            cache: DebugCache::find().filter(|_| !self.confined),
            modules: Mutex::default(),
            by_name: OnceLock::new(),
            indexed: Once::new(),
        })
    }
}

/// Folders of the kernels that set-up has built; none without a cache.
fn built() -> Vec<PathBuf> {
    Cache::find().map_or_else(|_| Vec::new(), |cache| cache.debug_dirs())
}

fn refused(why: String) -> Failure {
    Failure::usage(anyhow!(why)).hint("give the vmlinux of the kernel that crashed, or none")
}

/// A file with DWARF.
#[derive(Debug)]
struct DebugFile {
    path: PathBuf,
    dwarf: Dwarf<'static>,
}

impl DebugFile {
    fn open(path: &Path) -> Result<Self, String> {
        let name = || path.display().to_string();
        let bytes = map(path).map_err(|error| format!("{}: {error}", name()))?;
        let dwarf = Dwarf::parse(bytes).map_err(|error| format!("{}: {error}", name()))?;
        Ok(Self {
            path: path.to_owned(),
            dwarf,
        })
    }

    /// Whether it is the file of this build.
    fn must_be(&self, build_id: &[u8]) -> Result<(), String> {
        let name = self.path.display();
        match self.dwarf.build_id() {
            Some(own) if own == build_id => Ok(()),
            Some(own) => Err(format!(
                "{name} does not belong to this dump: its build id is {}, the dump's {}",
                hexadecimal(own),
                hexadecimal(build_id)
            )),
            None => Err(format!(
                "{name} has no build id, so whether it belongs to this dump cannot be told"
            )),
        }
    }
}

/// A module's file, or why there is none.
type ModuleFile = Arc<Result<DebugFile, String>>;

/// What there is besides the dump.
#[derive(Debug)]
pub(crate) struct DebugFiles {
    /// The vmlinux that was named.
    named: Option<DebugFile>,
    /// The one that was found, once it was looked for.
    found: OnceLock<Option<DebugFile>>,
    system_map: Option<String>,
    image: Option<Mmap>,
    /// Folders to look in, best first.
    dirs: Vec<PathBuf>,
    /// `uname -r` of the dump.
    release: Option<String>,
    notes: Mutex<Vec<String>>,
    cache: Option<DebugCache>,
    /// By name, with the build id they were asked for.
    modules: Mutex<HashMap<(String, Vec<u8>), ModuleFile>>,
    /// For each of [`Self::dirs`].
    by_name: OnceLock<Vec<HashMap<String, PathBuf>>>,
    indexed: Once,
}

impl DebugFiles {
    /// For opening the kernel.
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources {
            system_map: self.system_map.as_deref(),
            image: self
                .image
                .as_deref()
                .or_else(|| self.named.as_ref().map(|file| file.dwarf.file())),
            debug: Some(self),
            ..Sources::default()
        }
    }

    /// The vmlinux to ask about this kernel, if there is one. Looks for one.
    pub(crate) fn vmlinux_path(&self, kernel: &Kernel<'_>) -> Option<&Path> {
        let file = self.vmlinux(kernel.build_id().as_deref()).ok()?;
        Some(&file.path)
    }

    /// Whether there is a vmlinux of this kernel to ask. Looks for one.
    pub(crate) fn has_lines(&self, kernel: &Kernel<'_>) -> bool {
        self.vmlinux_path(kernel).is_some()
    }

    /// What was found and not used so far, and why.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.clone()
    }

    /// Compares once more, now that the kernel is open: an old one's build id is in its memory only.
    ///
    /// # Errors
    /// The vmlinux that was named is of another kernel.
    pub(crate) fn check(&self, kernel: &Kernel<'_>) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        if let Some(file) = &self.named {
            match kernel.build_id() {
                Some(id) => file.must_be(&id).map_err(refused)?,
                None => notes.push(format!(
                    "the dump does not say its build id: whether {} belongs to it was not checked",
                    file.path.display()
                )),
            }
        }
        if self.image.is_some() {
            let refused = |why| Failure::usage(anyhow!("--image: {why}"));
            kernel.check_image().map_err(refused)?;
        }
        if let Some(text) = &self.system_map {
            let refused = |why| Failure::usage(anyhow!("--system-map: {why}"));
            must_agree(text, kernel).map_err(refused)?;
        }
        Ok(notes)
    }

    /// The first file at one of the usual places that is of this build.
    fn find_vmlinux(&self, build_id: &[u8]) -> Option<DebugFile> {
        let release = self.release.as_deref();
        let places = self.dirs.iter();
        let places = places.flat_map(|dir| find::vmlinux(dir, release, build_id));
        for path in places.filter(|path| path.is_file()) {
            let found = DebugFile::open(&path).and_then(|file| {
                file.must_be(build_id)?;
                Ok(file)
            });
            match found {
                Ok(file) => return Some(file),
                Err(why) => {
                    let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push(format!("not used: {why}"));
                }
            }
        }
        None
    }

    /// The vmlinux, if it is of this build.
    fn vmlinux(&self, build_id: Option<&[u8]>) -> Result<&DebugFile, String> {
        match (&self.named, build_id) {
            (Some(file), None) => Ok(file),
            (Some(file), Some(id)) => file.must_be(id).map(|()| file),
            (None, None) => Err(
                "no vmlinux was given, and the dump does not say its build id, by which one would be found"
                    .into(),
            ),
            (None, Some(id)) => {
                let found = self.found.get_or_init(|| self.find_vmlinux(id));
                let file = found.as_ref().ok_or_else(|| {
                    match self.dirs.is_empty() {
                        true => "no vmlinux with debug information was given, and no folder to look for one".into(),
                        false => format!(
                            "no vmlinux with debug information was given, and none of this build is in {}",
                            self.looked_in()
                        ),
                    }
                })?;
                file.must_be(id).map(|()| file)
            }
        }
    }

    fn vmlinux_frames(
        &self,
        build_id: Option<&[u8]>,
        address: u64,
    ) -> Result<Vec<SourceFrame>, String> {
        let file = self.vmlinux(build_id)?;
        self.indexed.call_once(|| self.load_index(file));
        let frames = file.dwarf.frames_at(address);
        frames.map_err(|error| format!("{}: {error}", file.path.display()))
    }

    /// Takes the index from the cache, or builds and keeps it.
    fn load_index(&self, file: &DebugFile) {
        let id = file.dwarf.build_id().unwrap_or_default();
        let Some(cache) = &self.cache else { return };
        let kept = cache.load(Kept::Index, id);
        match kept.as_deref().and_then(UnitIndex::from_bytes) {
            Some(index) => file.dwarf.set_index(index),
            None => {
                if let Ok(index) = file.dwarf.index() {
                    cache.store(Kept::Index, id, &index.to_bytes());
                }
            }
        }
    }

    /// The types of a file, from the cache or converted and kept.
    fn types_of(&self, file: &DebugFile) -> Result<Vec<u8>, String> {
        let id = file.dwarf.build_id().unwrap_or_default();
        let kept = self.cache.as_ref().and_then(|c| c.load(Kept::Types, id));
        if let Some(types) = kept {
            return Ok(types);
        }
        let name = file.path.display();
        if !file.dwarf.is_relocatable() {
            output::note(&format!(
                "reading the types of {name}, as the kernel has no BTF: takes seconds, once\n"
            ));
        }
        let converted = file.dwarf.to_btf(&|_, _| {});
        let converted = converted.map_err(|error| format!("{name}: {error}"))?;
        if let (skipped @ 1.., Some(error)) = converted.skipped {
            output::note(&format!(
                "{name}: {skipped} of {} units could not be read; the first: {error}\n",
                converted.units
            ));
        } else if let Some(cache) = &self.cache {
            cache.store(Kept::Types, id, &converted.btf);
        }
        Ok(converted.btf)
    }

    /// The file of a loaded module.
    fn module(&self, name: &str, build_id: &[u8]) -> ModuleFile {
        let mut known = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), build_id.to_vec());
        let found = known
            .entry(key)
            .or_insert_with(|| Arc::new(self.find_module(name, build_id)));
        Arc::clone(found)
    }

    fn find_module(&self, name: &str, build_id: &[u8]) -> Result<DebugFile, String> {
        let open = |path: &Path| {
            let file = DebugFile::open(path)?;
            file.must_be(build_id)?;
            Ok(file)
        };
        let by_id = self
            .dirs
            .iter()
            .filter_map(|dir| find::by_build_id(dir, build_id));
        for path in by_id.filter(|path| path.is_file()) {
            if let Ok(file) = open(&path) {
                return Ok(file);
            }
        }
        let release = self.release.as_deref();
        let by_name = self.by_name.get_or_init(|| {
            let dirs = self.dirs.iter();
            dirs.map(|dir| find::modules(dir, release)).collect()
        });
        let key = find::module_key(name);
        let mut opened = by_name
            .iter()
            .filter_map(|found| found.get(&key))
            .map(|path| open(path));
        // Of two builds of one release the build id tells which; the first refusal is of the best place.
        match opened.next() {
            Some(Err(why)) => opened.find_map(Result::ok).ok_or(why),
            Some(file) => file,
            None if self.dirs.is_empty() => Err(format!(
                "no folder was named to look for debug information of module {name} in"
            )),
            None => Err(format!(
                "{} has no debug information of module {name}",
                self.looked_in()
            )),
        }
    }

    fn looked_in(&self) -> String {
        let dirs: Vec<String> = self
            .dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        dirs.join(", ")
    }
}

impl DebugInfo for DebugFiles {
    fn types(&self, build_id: Option<&[u8]>) -> Result<Vec<u8>, String> {
        self.types_of(self.vmlinux(build_id)?)
    }

    fn module_types(&self, name: &str, build_id: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let found = self.module(name, build_id);
        match found.as_ref() {
            Ok(file) => self.types_of(file).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn frames(&self, code: CodeIn<'_>) -> Result<Vec<SourceFrame>, String> {
        match code {
            CodeIn::Vmlinux { build_id, address } => self.vmlinux_frames(build_id, address),
            CodeIn::Module {
                build_id: None,
                name,
                ..
            } => Err(format!(
                "the dump does not say the build id of module {name}, so no file can be told to be its own"
            )),
            CodeIn::Module {
                name,
                build_id: Some(id),
                section,
                offset,
            } => {
                let found = self.module(name, id);
                let file = found.as_ref().as_ref().map_err(Clone::clone)?;
                let path = file.path.display();
                let address = file
                    .dwarf
                    .link_address(section, offset)
                    .ok_or_else(|| format!("{path} has no {section}+{offset:#x}"))?;
                let frames = file.dwarf.frames_at(address);
                frames.map_err(|error| format!("{path}: {error}"))
            }
        }
    }
}

/// Whether a System.map has the addresses that the dump has. It carries no build id; these differ between builds.
fn must_agree(text: &str, kernel: &Kernel<'_>) -> Result<(), String> {
    const TELLING: [&str; 4] = ["_etext", "init_task", "linux_banner", "_end"];
    let table = system_map::parse(text).map_err(|error| error.to_string())?;
    let Ok(kaslr) = kernel.kaslr() else {
        return Ok(());
    };
    for name in TELLING {
        let (Some(linked), Ok(at)) = (table.address_of(name), kernel.symbol(name)) else {
            continue;
        };
        let there = linked.wrapping_add(kaslr);
        if there != at.0 {
            return Err(format!(
                "of another kernel: {name} would lie at {there:#x}, in the dump it lies at {at}"
            ));
        }
    }
    Ok(())
}

fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no regular file"));
    }
    #[expect(unsafe_code, reason = "mapping a file is unsafe in itself: see SAFETY")]
    // SAFETY: the bytes are only read. Debug packages are replaced as whole files, not written to; if someone cuts
    // one short meanwhile, the process dies of SIGBUS and nothing else happens.
    unsafe {
        Mmap::map(&file)
    }
}

fn map_named(path: &Path) -> anyhow::Result<Mmap> {
    map(path).with_context(|| path.display().to_string())
}

fn text(path: &Path) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    let size = std::fs::metadata(path).with_context(name)?.len();
    if size > SYSTEM_MAP_MAX {
        return Err(anyhow!("{}: {size} bytes are no System.map", name()));
    }
    std::fs::read_to_string(path).with_context(name)
}
