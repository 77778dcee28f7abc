//! One build, step by step: unpack, patch, configure, check, compile. Everything happens in a scratch folder; a step
//! that fails leaves its output as a log and nothing else.
use super::super::unpack::{Folder, Limited, Limits};
use super::super::{SetupError, SetupEvent, cache, child, deb, decompress};
use super::recipe::{self, Make};
use super::{Inputs, Lock};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Folders of the source that no x86 kernel is made of, and their parts that are. Files named Kconfig are read all the
/// same: since Linux 6.1 crypto/Kconfig includes those of other architectures.
const LEFT_OUT: &[(&str, &[&str])] = &[
    ("arch", &["arch/x86"]),
    ("Documentation", &[]),
    ("tools/testing", &[]),
];
/// More than any kernel tree has.
const MAX_SOURCE: Limits = Limits {
    entries: 500_000,
    bytes: 8 << 30,
};

/// See [`Work::build`].
pub(super) struct Work<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) lock: &'a Lock,
    /// The source package.
    pub(super) deb: PathBuf,
    pub(super) scratch: &'a Path,
    /// Where the output of a step that failed goes.
    pub(super) log: PathBuf,
}

impl Work<'_> {
    /// The finished source tree.
    pub(super) fn build(&self, on: &mut dyn FnMut(SetupEvent)) -> Result<PathBuf, SetupError> {
        let tree = self.unpack(on)?;
        for (file, _) in &self.inputs.patches {
            let arguments = recipe::patch(&tree, file);
            let step = format!("patching with {}", name(file));
            self.step(&step, "patch", &arguments, on)?;
        }
        let make = Make {
            tree: &tree,
            name: &self.inputs.source.package,
            compiler: &self.lock.compiler,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        let fragment = self.scratch.join("fragment.config");
        std::fs::write(&fragment, self.inputs.fragment.text())
            .map_err(SetupError::io("writing", &fragment))?;
        self.step(
            "configuring the kernel",
            "make",
            &make.configure(&fragment),
            on,
        )?;
        self.check_options(&tree)?;
        self.compile(&make, on)?;
        self.check_release(&tree)?;
        cache::remove(&self.log)?;
        Ok(tree)
    }

    fn unpack(&self, on: &mut dyn FnMut(SetupEvent)) -> Result<PathBuf, SetupError> {
        let name = &self.inputs.source.package;
        on(SetupEvent::Started {
            what: format!("unpacking {name}"),
        });
        let package = self.scratch.join("package");
        let archive = Path::new("usr/src").join(format!("{name}.tar.xz"));
        make_folder(&package)?;
        deb::unpack(&self.deb, &package, &|path| path == archive)?;
        let archive = package.join(archive);
        let file = File::open(&archive).map_err(SetupError::io("reading", &archive))?;
        let data = decompress::reader(file).map_err(SetupError::io("decompressing", &archive))?;
        let sources = self.scratch.join("source");
        make_folder(&sources)?;
        let mut folder = Folder::new(&sources, MAX_SOURCE);
        let data = Limited::new(data, MAX_SOURCE.bytes);
        deb::unpack_tar(&archive, data, &mut folder, &|path| {
            path.strip_prefix(name).is_ok_and(is_needed)
        })?;
        cache::remove(&package)?;
        let tree = sources.join(name);
        if !tree.join("Makefile").is_file() {
            return Err(SetupError::Package {
                file: archive,
                what: format!("no kernel in {name}/"),
            });
        }
        on(SetupEvent::Done);
        Ok(tree)
    }

    fn check_options(&self, tree: &Path) -> Result<(), SetupError> {
        let file = tree.join(".config");
        let text = std::fs::read_to_string(&file).map_err(SetupError::io("reading", &file))?;
        let refused = self.inputs.fragment.refused(&text);
        if refused.is_empty() {
            return Ok(());
        }
        Err(SetupError::Options {
            file: self.inputs.config.clone(),
            release: self.lock.release.clone(),
            refused,
        })
    }

    fn compile(&self, make: &Make<'_>, on: &mut dyn FnMut(SetupEvent)) -> Result<(), SetupError> {
        on(SetupEvent::Started {
            what: format!("building Linux {} (minutes)", self.lock.release),
        });
        let mut done = 0;
        let mut arguments = vec!["-n".to_owned(), "10".to_owned(), "make".to_owned()];
        arguments.extend(make.arguments(&["bzImage", "modules"]));
        let output = child::logged_alone("nice", &arguments, recipe::ENVIRONMENT, &mut |line| {
            if recipe::compiles(line) {
                done += 1;
                on(SetupEvent::Files {
                    done,
                    // Linking follows, so it is never all.
                    about: self.inputs.kernel.compiled_files.max(done + 1),
                });
            }
            on(SetupEvent::Log { line: line.into() });
        })?;
        self.must_be_well("make", &output)?;
        on(SetupEvent::Done);
        Ok(())
    }

    /// The name by which modules are looked for, and by which everything is kept.
    fn check_release(&self, tree: &Path) -> Result<(), SetupError> {
        let file = tree.join("include/config/kernel.release");
        let text = std::fs::read_to_string(&file).map_err(SetupError::io("reading", &file))?;
        let built = text.trim();
        if built == self.lock.release {
            return Ok(());
        }
        Err(SetupError::Package {
            file: self.deb.clone(),
            what: format!(
                "the kernel calls itself {built}, by the package's version it is {}",
                self.lock.release
            ),
        })
    }

    fn step(
        &self,
        what: &str,
        program: &str,
        arguments: &[String],
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<(), SetupError> {
        on(SetupEvent::Started { what: what.into() });
        let output = child::logged_alone(program, arguments, recipe::ENVIRONMENT, &mut |line| {
            on(SetupEvent::Log { line: line.into() });
        })?;
        self.must_be_well(what, &output)?;
        on(SetupEvent::Done);
        Ok(())
    }

    fn must_be_well(&self, step: &str, output: &Output) -> Result<(), SetupError> {
        if output.status.success() {
            return Ok(());
        }
        if let Some(dir) = self.log.parent() {
            make_folder(dir)?;
            cache::write_whole(dir, &self.log, &output.stdout)?;
        }
        Err(SetupError::Kernel {
            release: self.lock.release.clone(),
            step: step.into(),
            output: child::last_lines(&output.stdout),
            log: self.log.clone(),
        })
    }
}

/// By a path inside the source tree.
fn is_needed(path: &Path) -> bool {
    if path.file_name().is_some_and(|name| name == "Kconfig") {
        return true;
    }
    LEFT_OUT
        .iter()
        .filter(|(folder, _)| path.starts_with(folder) && path != Path::new(folder))
        .all(|(_, but)| but.iter().any(|part| path.starts_with(part)))
}

fn make_folder(dir: &Path) -> Result<(), SetupError> {
    std::fs::create_dir_all(dir).map_err(SetupError::io("making", dir))
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}
