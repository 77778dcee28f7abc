//! Builds repro-module against a target's headers, once for each set of sources, headers and compiler.
use super::cache::{self, Cache};
use super::{SetupError, SetupEvent, child, foreign, hash};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The file that the build must give.
pub const MODULE: &str = "repro.ko";
const MAX_DEPTH: u32 = 8;

/// What a build depends on.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// The module's C sources and its Kbuild file.
    pub sources: &'a Path,
    /// The header tree, as given to `make -C`.
    pub headers: PathBuf,
    /// Key of the unpacked packages.
    pub headers_key: &'a str,
    /// `uname -r`.
    pub release: &'a str,
    /// For example `gcc-12`.
    pub compiler: &'a str,
    /// What make is told besides, for example `CC=gcc-12`; headers of packages know their compiler themselves.
    pub variables: &'a [String],
    /// The compiler's own release, unpacked; without it the host's compiler is used.
    pub toolchain: Option<Toolchain<'a>>,
}

/// A compiler that runs from the cache ([`super::foreign`]).
#[derive(Debug, Clone, Copy)]
pub struct Toolchain<'a> {
    /// The tree with the compiler.
    pub tree: &'a Path,
    /// Key of its unpacked packages.
    pub key: &'a str,
    /// The tree with the kernel's headers.
    pub kernel: &'a Path,
}

/// SHA-256 of the module's sources in this folder, without what a build leaves there; in hex.
///
/// # Errors
/// When they cannot be read.
pub fn sources_hash(sources: &Path) -> Result<String, SetupError> {
    hash::tree(sources, &is_product)
}

impl Build<'_> {
    /// Where the module is or would be: a hash of all that it depends on names the folder.
    ///
    /// # Errors
    /// When the sources cannot be read or the compiler not be run.
    pub fn place(&self, cache: &Cache) -> Result<PathBuf, SetupError> {
        if !["Kbuild", "Makefile"]
            .iter()
            .any(|name| self.sources.join(name).is_file())
        {
            return Err(SetupError::Package {
                file: self.sources.into(),
                what: "no Kbuild file".into(),
            });
        }
        let version = match self.toolchain {
            Some(toolchain) => toolchain.key.to_owned(),
            None => child::quiet(self.compiler, ["--version".to_owned()])?,
        };
        let sources = hash::tree(self.sources, &is_product)?;
        let mut hasher = Sha256::new();
        for text in [
            &sources,
            self.headers_key,
            self.release,
            self.compiler,
            &version,
        ] {
            hash::part(&mut hasher, text.as_bytes());
        }
        for variable in self.variables {
            hash::part(&mut hasher, variable.as_bytes());
        }
        let key = hash::hex(&hasher.finalize());
        Ok(cache
            .root()
            .join("modules")
            .join(key.get(..24).unwrap_or(&key)))
    }

    /// Builds the module unless it is there; returns the file.
    ///
    /// # Errors
    /// [`SetupError::Build`] with the compiler's last lines and the whole output's place.
    pub fn run(
        &self,
        cache: &Cache,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<PathBuf, SetupError> {
        let place = self.place(cache)?;
        let module = place.join(MODULE);
        if module.is_file() {
            return Ok(module);
        }
        cache::remove(&place)?;
        on(SetupEvent::Started {
            what: format!("building repro-module for {}", self.release),
        });
        let scratch = cache.scratch()?;
        let work = scratch.path().join("module");
        copy(self.sources, &work, 0)?;
        let output = self.make(&work, on)?;
        let built = work.join(MODULE);
        if !output.status.success() || !built.is_file() {
            let log = place.with_extension("log");
            let dir = cache.folder("modules")?;
            cache::write_whole(&dir, &log, &output.stdout)?;
            return Err(SetupError::Build {
                release: self.release.into(),
                output: child::last_lines(&output.stdout),
                log,
            });
        }
        cache.build_folder(&place, &mut |inside| {
            let copied = std::fs::copy(&built, inside.join(MODULE));
            copied.map_err(SetupError::io("copying", &built))?;
            cache::write_whole(inside, &inside.join("make.log"), &output.stdout)
        })?;
        on(SetupEvent::Done);
        Ok(module)
    }

    fn make(
        &self,
        work: &Path,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<std::process::Output, SetupError> {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut arguments = vec![
            "-C".into(),
            self.headers.display().to_string(),
            format!("M={}", work.display()),
            format!("-j{jobs}"),
            // Headers that bring a vmlinux (Debian's since 6.12) call pahole for the module's own BTF, which
            // nobody reads.
            "CONFIG_DEBUG_INFO_BTF_MODULES=".into(),
            // The scratch folder's name must not get into the module.
            format!("KCFLAGS=-ffile-prefix-map={}=repro-module", work.display()),
            "modules".into(),
        ];
        arguments.extend_from_slice(self.variables);
        let environment = self.toolchain.map_or_else(Vec::new, |toolchain| {
            foreign::environment(toolchain.tree, toolchain.kernel)
        });
        child::logged_in(&environment, "make", &arguments, &mut |line| {
            on(SetupEvent::Log { line: line.into() })
        })
    }
}

/// Copies sources, without what an earlier build by hand has left.
fn copy(from: &Path, to: &Path, depth: u32) -> Result<(), SetupError> {
    std::fs::create_dir_all(to).map_err(SetupError::io("making", to))?;
    for entry in std::fs::read_dir(from).map_err(SetupError::io("reading", from))? {
        let path = entry.map_err(SetupError::io("reading", from))?.path();
        let Some(name) = path.file_name().filter(|name| !is_product(Path::new(name))) else {
            continue;
        };
        let target = to.join(name);
        if !path.is_dir() {
            std::fs::copy(&path, &target).map_err(SetupError::io("copying", &path))?;
        } else if depth < MAX_DEPTH {
            copy(&path, &target, depth + 1)?;
        }
    }
    Ok(())
}

/// Of kbuild, by name: `*.o`, `*.ko`, `*.mod`, `*.mod.c`, `.*.cmd`, `Module.symvers`, `modules.order`.
fn is_product(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [".o", ".ko", ".mod", ".mod.c", ".cmd"];
    name.starts_with('.')
        || ends.iter().any(|end| name.ends_with(end))
        || name == "Module.symvers"
        || name == "modules.order"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for a header tree: a Makefile with a target `modules`.
    fn check(
        recipe: &str,
        change: impl Fn(&Path),
    ) -> (tempfile::TempDir, Result<(PathBuf, PathBuf), SetupError>) {
        let dir = tempfile::tempdir().unwrap();
        let (sources, headers) = (dir.path().join("src"), dir.path().join("headers"));
        for folder in [&sources, &headers] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(sources.join("Kbuild"), "obj-m := repro.o\n").unwrap();
        std::fs::write(headers.join("Makefile"), format!("modules:\n\t{recipe}\n")).unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let build = Build {
            sources: &sources,
            headers: headers.clone(),
            headers_key: "key",
            release: "6.1.0",
            compiler: "true",
            variables: &[],
            toolchain: None,
        };
        let first = build.run(&cache, &mut |_| {});
        change(&sources);
        let both = first.and_then(|first| Ok((first, build.place(&cache)?.join(MODULE))));
        (dir, both)
    }

    #[test]
    fn a_built_module_is_found_again_until_its_sources_change() {
        let (_dir, result) = check("cp $(M)/Kbuild $(M)/repro.ko", |_| {});
        let (first, second) = result.unwrap();
        assert_eq!(first, second);
        assert!(first.is_file());
        let (_dir, result) = check("cp $(M)/Kbuild $(M)/repro.ko", |sources| {
            std::fs::write(sources.join("new.c"), "").unwrap();
        });
        let (first, second) = result.unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn what_a_build_by_hand_left_changes_nothing() {
        let (_dir, result) = check("test ! -e $(M)/repro.o && touch $(M)/repro.ko", |sources| {
            std::fs::write(sources.join("repro.o"), "").unwrap();
            std::fs::write(sources.join(".repro.o.cmd"), "").unwrap();
        });
        let (first, second) = result.unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn a_build_that_fails_shows_the_last_lines_and_the_logs_place() {
        let (_dir, result) = check("@echo 'repro.c:1: error: no'; exit 1", |_| {});
        let Err(SetupError::Build { output, log, .. }) = result else {
            panic!("{result:?}")
        };
        assert!(output.contains("repro.c:1: error: no"), "{output}");
        assert!(std::fs::read_to_string(log).unwrap().contains("repro.c:1"));
    }

    #[test]
    fn a_kernel_with_btf_builds_the_module_without_pahole() {
        let (_dir, result) = check(
            "test -z '$(CONFIG_DEBUG_INFO_BTF_MODULES)' && touch $(M)/repro.ko\n\
             CONFIG_DEBUG_INFO_BTF_MODULES = y",
            |_| {},
        );
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn a_build_without_the_module_is_a_failure() {
        let (_dir, result) = check("true", |_| {});
        assert!(matches!(result, Err(SetupError::Build { .. })));
    }
}
