//! Which `.ko` files a set of modules needs, in loading order. Reads `lib/modules/<release>`; loads nothing.
//!
//! Dependencies come from `modules.dep` where there is one. Debian's image package brings none: its postinst
//! runs depmod, and an unpacked package never ran it. Then `depends=` of each module's `.modinfo` says the
//! same; that is what depmod works from (Linux, Documentation/kbuild/modules.rst).
use crate::setup::decompress;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The largest stock module (amdgpu) has 30 MB.
const MODULE_LIMIT: u64 = 256 << 20;
const MAX_FOLDER_DEPTH: u32 = 32;

/// Why the modules' order could not be found.
#[derive(Debug, thiserror::Error)]
pub enum KmodError {
    /// Wanted, and neither a file nor built in.
    #[error("no module {name} in {}{}", dir.display(), wanted_by.as_ref().map_or(String::new(), |by| format!(" (needed by {by})")))]
    Missing {
        /// The module.
        name: String,
        /// The module that depends on it.
        wanted_by: Option<String>,
        /// `lib/modules/<release>`.
        dir: PathBuf,
    },
    /// Modules that depend on each other.
    #[error("module {name} depends on itself, through {}", through.join(", "))]
    Cycle {
        /// The module.
        name: String,
        /// The chain.
        through: Vec<String>,
    },
    /// A line of a list cannot be used.
    #[error("{}:{line}: {what}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected.
        what: &'static str,
    },
    /// A module is not an ELF file with a `.modinfo`.
    #[error("{}: {what}", file.display())]
    NotAModule {
        /// The file.
        file: PathBuf,
        /// What was wrong.
        what: String,
    },
    /// A file could not be read.
    #[error("reading {}: {source}", file.display())]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// Name as in `/proc/modules` (with `_`).
    pub name: String,
    /// The file; may be compressed.
    pub file: PathBuf,
}

/// The modules of one kernel.
#[derive(Debug)]
pub struct ModuleIndex {
    dir: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    /// From `modules.dep`; `None` without that file.
    dependencies: Option<BTreeMap<String, Vec<String>>>,
}

impl ModuleIndex {
    /// Reads the lists in `lib/modules/<release>`.
    ///
    /// # Errors
    /// [`KmodError`] naming the file and the line.
    pub fn load(dir: &Path) -> Result<Self, KmodError> {
        let mut index = Self {
            dir: dir.into(),
            files: BTreeMap::new(),
            builtin: BTreeSet::new(),
            dependencies: None,
        };
        if let Some(text) = read_optional(&dir.join("modules.builtin"))? {
            index.builtin = text
                .lines()
                .filter_map(|line| name_of(Path::new(line)))
                .collect();
        }
        // Some packages bring an empty one, for depmod to fill when they are installed.
        let list = read_optional(&dir.join("modules.dep"))?;
        match list.filter(|text| !text.trim().is_empty()) {
            Some(text) => index.parse_dependencies(&text)?,
            None => collect(dir, 0, &mut index.files)?,
        }
        Ok(index)
    }

    /// `path.ko: path.ko path.ko` a line, relative to the folder.
    fn parse_dependencies(&mut self, text: &str) -> Result<(), KmodError> {
        let mut dependencies = BTreeMap::new();
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let error = |what| KmodError::Line {
                file: self.dir.join("modules.dep"),
                line: number + 1,
                what,
            };
            let (path, needs) = line
                .split_once(':')
                .ok_or_else(|| error("expected `path:`"))?;
            let path = Path::new(path);
            if !path
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
            {
                return Err(error("expected a path inside this folder"));
            }
            let name = name_of(path).ok_or_else(|| error("expected the name of a .ko file"))?;
            let needs = needs
                .split_whitespace()
                .map(|need| name_of(Path::new(need)));
            let needs: Option<Vec<String>> = needs.collect();
            let needs = needs.ok_or_else(|| error("expected names of .ko files"))?;
            self.files.insert(name.clone(), self.dir.join(path));
            dependencies.insert(name, needs);
        }
        self.dependencies = Some(dependencies);
        Ok(())
    }

    /// The files of the wanted modules and of all they depend on, each after what it needs. Built-in ones
    /// are left out; `-` and `_` are the same.
    ///
    /// # Errors
    /// [`KmodError::Missing`] and [`KmodError::Cycle`] name the module.
    pub fn in_order(&self, wanted: &[String]) -> Result<Vec<ModuleFile>, KmodError> {
        let mut order = Order::default();
        for name in wanted {
            self.visit(&normalise(name), &mut order)?;
        }
        Ok(order.done)
    }

    /// Those of `names` that are here, as a file or built in.
    #[must_use]
    pub fn known(&self, names: &[&str]) -> Vec<String> {
        let is_here = |name: &&&str| {
            let name = normalise(name);
            self.files.contains_key(&name) || self.builtin.contains(&name)
        };
        let known = names.iter().filter(is_here);
        known.map(|name| (*name).to_owned()).collect()
    }

    /// Some module of this kernel: what it says about itself, all of them say.
    #[must_use]
    pub fn any(&self) -> Option<&Path> {
        self.files
            .values()
            .find(|file| file.is_file())
            .map(PathBuf::as_path)
    }

    fn visit(&self, name: &str, order: &mut Order) -> Result<(), KmodError> {
        if order.seen.contains(name) || self.builtin.contains(name) {
            return Ok(());
        }
        // The chain's length is bounded: no name comes twice, and each has a file.
        if order.chain.iter().any(|above| above == name) {
            return Err(KmodError::Cycle {
                name: name.into(),
                through: order.chain.clone(),
            });
        }
        let file = self.files.get(name).ok_or_else(|| KmodError::Missing {
            name: name.into(),
            wanted_by: order.chain.last().cloned(),
            dir: self.dir.clone(),
        })?;
        order.chain.push(name.into());
        for need in self.needs_of(name, file)? {
            self.visit(&need, order)?;
        }
        order.chain.pop();
        order.seen.insert(name.into());
        order.done.push(ModuleFile {
            name: name.into(),
            file: file.clone(),
        });
        Ok(())
    }

    fn needs_of(&self, name: &str, file: &Path) -> Result<Vec<String>, KmodError> {
        match &self.dependencies {
            // modules.dep lists what must come first last; the order is worked out anew either way.
            Some(dependencies) => Ok(dependencies.get(name).cloned().unwrap_or_default()),
            None => depends(&read_module(file)?).map_err(|what| KmodError::NotAModule {
                file: file.into(),
                what,
            }),
        }
    }
}

#[derive(Default)]
struct Order {
    done: Vec<ModuleFile>,
    seen: BTreeSet<String>,
    chain: Vec<String>,
}

/// The bytes of a module, decompressed if need be: the guest's `finit_module(2)` is not asked to.
///
/// # Errors
/// [`KmodError::Read`].
pub fn read_module(file: &Path) -> Result<Vec<u8>, KmodError> {
    std::fs::read(file)
        .and_then(|bytes| decompress::all(&bytes, MODULE_LIMIT))
        .map_err(|source| KmodError::Read {
            file: file.into(),
            source,
        })
}

/// `depends=` of a module's `.modinfo`: names separated by commas.
fn depends(module: &[u8]) -> Result<Vec<String>, String> {
    let value = modinfo(module, "depends")?.unwrap_or_default();
    Ok(value
        .split(',')
        .filter(|name| !name.is_empty())
        .map(normalise)
        .collect())
}

/// The first `key=` of a module's `.modinfo`, as modinfo(8) shows it; `None` if it has none.
///
/// # Errors
/// When the bytes are no ELF file with a `.modinfo`, or the value is no text.
pub fn modinfo(module: &[u8], key: &str) -> Result<Option<String>, String> {
    let elf = goblin::elf::Elf::parse(module).map_err(|error| error.to_string())?;
    let section = elf
        .section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".modinfo"))
        .ok_or("no section .modinfo")?;
    let bytes = section
        .file_range()
        .and_then(|range| module.get(range))
        .ok_or(".modinfo lies outside of the file")?;
    let value = bytes.split(|&byte| byte == 0).find_map(|entry| {
        let rest = entry.strip_prefix(key.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    let Some(value) = value else { return Ok(None) };
    let value = std::str::from_utf8(value).map_err(|_| format!(".modinfo: {key}= is not text"))?;
    Ok(Some(value.to_owned()))
}

fn collect(dir: &Path, depth: u32, files: &mut BTreeMap<String, PathBuf>) -> Result<(), KmodError> {
    let error = |source| KmodError::Read {
        file: dir.into(),
        source,
    };
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let kind = entry.file_type().map_err(error)?;
        let path = entry.path();
        if kind.is_dir() && depth < MAX_FOLDER_DEPTH {
            collect(&path, depth + 1, files)?;
        } else if let Some(name) = name_of(&path).filter(|_| kind.is_file()) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn read_optional(file: &Path) -> Result<Option<String>, KmodError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KmodError::Read {
            file: file.into(),
            source,
        }),
    }
}

/// `kernel/drivers/usb/host/xhci-pci.ko.xz` → `xhci_pci`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"]
        .iter()
        .find_map(|end| file.strip_suffix(end))?;
    Some(normalise(stem))
}

fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn check(dep: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("modules.dep"), dep).unwrap();
        std::fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        ModuleIndex::load(dir.path())
            .and_then(|index| index.in_order(&wanted))
            .map(|order| order.into_iter().map(|module| module.name).collect())
            .map_err(|error| {
                error
                    .to_string()
                    .replace(&dir.path().display().to_string(), "DIR")
            })
    }

    const DEP: &str = "kernel/usb/xhci-pci.ko.xz: kernel/usb/xhci-hcd.ko.xz kernel/usb/usbcore.ko.xz\n\
        kernel/usb/xhci-hcd.ko.xz: kernel/usb/usbcore.ko.xz kernel/usb/usb-common.ko.xz\n\
        kernel/usb/usbcore.ko.xz: kernel/usb/usb-common.ko.xz\n\
        kernel/usb/usb-common.ko.xz:\n";

    #[test]
    fn every_module_comes_after_what_it_needs() {
        assert_eq!(
            check(DEP, "", &["xhci_pci"]).unwrap(),
            ["usb_common", "usbcore", "xhci_hcd", "xhci_pci"]
        );
    }

    #[test]
    fn a_module_wanted_twice_is_loaded_once() {
        assert_eq!(
            check(DEP, "", &["usbcore", "usb-common", "usbcore"]).unwrap(),
            ["usb_common", "usbcore"]
        );
    }

    #[test]
    fn what_is_built_in_needs_no_file() {
        assert_eq!(
            check("", "kernel/char/virtio-console.ko\n", &["virtio_console"]).unwrap(),
            [""; 0]
        );
    }

    #[test]
    fn a_missing_module_is_named_with_who_needs_it() {
        let dep = "kernel/a.ko: kernel/b-c.ko\n";
        assert_eq!(
            check(dep, "", &["a"]).unwrap_err(),
            "no module b_c in DIR (needed by a)"
        );
        assert_eq!(check(dep, "", &["d"]).unwrap_err(), "no module d in DIR");
    }

    #[test]
    fn modules_that_need_each_other_are_an_error() {
        let error = check("a.ko: b.ko\nb.ko: a.ko\n", "", &["a"]).unwrap_err();
        assert_eq!(error, "module a depends on itself, through a, b");
    }

    #[test]
    fn a_path_out_of_the_folder_is_refused_with_its_line() {
        for path in ["../../etc/x.ko", "/etc/x.ko"] {
            let error = check(&format!("a.ko:\n{path}:\n"), "", &["a"]).unwrap_err();
            assert_eq!(
                error,
                "DIR/modules.dep:2: expected a path inside this folder"
            );
        }
    }

    #[test]
    fn without_modules_dep_or_with_an_empty_one_the_modules_themselves_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kernel/usb")).unwrap();
        let module = |name: &str, depends: &str| {
            let bytes = elf_with_modinfo(format!("license=GPL\0depends={depends}\0").as_bytes());
            std::fs::write(dir.path().join("kernel/usb").join(name), bytes).unwrap();
        };
        module("xhci-pci.ko", "xhci-hcd,usbcore");
        module("xhci-hcd.ko", "usbcore");
        module("usbcore.ko", "");
        std::fs::write(dir.path().join("modules.dep"), "\n").unwrap();
        let index = ModuleIndex::load(dir.path()).unwrap();
        let order = index.in_order(&["xhci-pci".into()]).unwrap();
        let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["usbcore", "xhci_hcd", "xhci_pci"]);
    }

    #[test]
    fn a_file_that_is_no_module_is_an_error() {
        assert!(depends(b"text").is_err());
        assert!(depends(&elf_with_modinfo(b"depends=\xff\0")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_module_panics(at in 0..400_usize, value: u8) {
            let mut bytes = elf_with_modinfo(b"depends=usbcore\0");
            let length = bytes.len();
            bytes[at % length] = value;
            let _ = depends(&bytes);
        }
    }

    /// An ELF64 file of header, `.modinfo`, `.shstrtab` and three section headers.
    pub(crate) fn elf_with_modinfo(info: &[u8]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let info_at = 64_u64;
        let names_at = info_at + info.len() as u64;
        let headers_at = names_at + names.len() as u64;
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        out.extend([0; 16]);
        out.extend(headers_at.to_le_bytes());
        out.extend([0; 4]);
        for half in [64_u16, 0, 0, 64, 3, 2] {
            out.extend(half.to_le_bytes());
        }
        out.extend(info);
        out.extend(names);
        let mut header = |name: u32, kind: u32, at: u64, size: u64| {
            out.extend(name.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend([0; 16]);
            out.extend(at.to_le_bytes());
            out.extend(size.to_le_bytes());
            out.extend([0; 24]);
        };
        header(0, 0, 0, 0);
        header(1, 1, info_at, info.len() as u64);
        header(10, 3, names_at, names.len() as u64);
        out
    }
}
