//! The dumps that the peers and recrash both read: a folder, named by `RECRASH_DUMPS`, with an index `dumps.toml`.
//! Reads no dump.
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// One dump of the index.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Dump {
    /// The dump's files, in order, relative to the folder; more than one for a split set.
    pub(crate) paths: Vec<PathBuf>,
    /// `uname -r`.
    pub(crate) release: String,
    /// vmlinux with DWARF.
    pub(crate) vmlinux: PathBuf,
    /// The folder that holds `lib/modules/<release>` with the modules' DWARF.
    pub(crate) debug_dir: PathBuf,
    /// Name of the boot it was taken of.
    pub(crate) boot: String,
    /// For people.
    pub(crate) format: String,
    /// For people: what wrote it.
    pub(crate) how: String,
    /// Whether the kernel ran at a random address.
    pub(crate) kaslr: bool,
    /// Number of CPUs.
    pub(crate) cpus: u32,
    /// Whether the dump carries VMCOREINFO as a note.
    pub(crate) vmcoreinfo: bool,
    /// Whether this is the crash that `recrash run` makes by default, of which the stored expectations speak.
    #[serde(default)]
    pub(crate) expected: bool,
    /// For people: what else is special.
    #[serde(default)]
    pub(crate) note: String,
    /// The same memory in a form that every peer reads, for those that refuse this one.
    pub(crate) same_memory: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    dump: Vec<Dump>,
}

/// The dumps with absolute paths; empty, after saying so, where `RECRASH_DUMPS` is not set.
pub(crate) fn all() -> Vec<Dump> {
    let Some(folder) = std::env::var_os("RECRASH_DUMPS").map(PathBuf::from) else {
        println!(
            "skipped: RECRASH_DUMPS names no folder with dumps.toml, so nothing is compared with the peers"
        );
        return Vec::new();
    };
    let index = folder.join("dumps.toml");
    let text =
        fs::read_to_string(&index).unwrap_or_else(|error| panic!("{}: {error}", index.display()));
    let index: Index = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let wanted = std::env::var("RECRASH_DUMPS_ONLY").unwrap_or_default();
    let dumps = index.dump.into_iter().map(|dump| dump.below(&folder));
    dumps.filter(|dump| dump.name().contains(&wanted)).collect()
}

impl Dump {
    fn below(mut self, folder: &Path) -> Self {
        let places = self.paths.iter_mut().chain(&mut self.same_memory);
        for path in places.chain([&mut self.vmlinux, &mut self.debug_dir]) {
            *path = folder.join(&*path);
        }
        self
    }

    /// The first file.
    pub(crate) fn file(&self) -> &Path {
        &self.paths[0]
    }

    /// The boot and the file's name.
    pub(crate) fn name(&self) -> String {
        let file = self.file().file_name().unwrap_or_default();
        format!("{}/{}", self.boot, file.to_string_lossy())
    }

    /// Modules with DWARF, all that there are.
    pub(crate) fn modules(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.debug_dir.join("lib/modules").join(&self.release)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "ko") {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}
