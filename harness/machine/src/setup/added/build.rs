//! The repro.ko of an added kernel: the one that was given, or one built against the kernel's headers.
use super::record::Record;
use super::{find, refuse};
use crate::setup::cache::Cache;
use crate::setup::host::{self, Need};
use crate::setup::module::{self, Build};
use crate::setup::{SetupError, SetupEvent};
use std::path::{Path, PathBuf};

/// objtool, which headers of kernels with ORC bring and run, is linked with it.
const LIBELF: (&str, &str) = ("libelf1", "libelf.so.1");
const LIBRARY_DIRS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/lib64",
];

/// A kernel in its folder, which may still be a scratch one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub(super) folder: &'a Path,
    pub(super) record: &'a Record,
    pub(super) sources: &'a Path,
}

impl Kernel<'_> {
    /// Packages that the host must have for the build, besides QEMU and make.
    pub(super) fn needs(&self) -> Vec<Need> {
        let Some(compiler) = &self.record.compiler else {
            return Vec::new();
        };
        let has_libelf = LIBRARY_DIRS
            .iter()
            .any(|dir| Path::new(dir).join(LIBELF.1).exists());
        let libraries: &[String] = if has_libelf { &[] } else { &[LIBELF.0.into()] };
        host::needs(Some(&compiler.program), libraries)
    }

    /// Where repro.ko is or would be.
    pub(super) fn place(&self, cache: &Cache) -> Result<PathBuf, SetupError> {
        match (&self.record.prebuilt, self.build()) {
            (Some(file), _) => Ok(self.folder.join(file)),
            (None, Some(build)) => Ok(build.place(cache)?.join(module::MODULE)),
            (None, None) => Err(self.nothing()),
        }
    }

    /// Builds repro.ko unless it is there.
    pub(super) fn provide(
        &self,
        cache: &Cache,
        on: &mut dyn FnMut(SetupEvent),
    ) -> Result<PathBuf, SetupError> {
        let file = self.place(cache)?;
        if file.is_file() {
            return Ok(file);
        }
        let Some(build) = self.build() else {
            return Err(self.nothing());
        };
        self.check_outer_headers()?;
        build.run(cache, on)
    }

    fn build(&self) -> Option<Build<'_>> {
        let headers = self.record.headers.as_ref()?;
        let compiler = self.record.compiler.as_ref()?;
        Some(Build {
            sources: self.sources,
            headers: self.folder.join(&headers.path),
            headers_key: &headers.key,
            release: &self.record.release,
            compiler: &compiler.program,
            variables: &compiler.variables,
            toolchain: None,
        })
    }

    /// A tree that stays where it is may have been built anew since, or be gone.
    fn check_outer_headers(&self) -> Result<(), SetupError> {
        let Some(headers) = self
            .record
            .headers
            .as_ref()
            .filter(|h| h.path.is_absolute())
        else {
            return Ok(());
        };
        let tree = headers.path.display();
        let hint = "add the kernel again with --force, or with a built --module repro.ko";
        if !headers.path.join("Makefile").is_file() {
            return Err(refuse(
                format!("repro-module has to be built anew, and {tree} is gone"),
                hint,
            ));
        }
        if find::outer_headers_key(&headers.path)? != headers.key {
            return Err(refuse(
                format!(
                    "repro-module has to be built anew, and {tree} is another build since the kernel was added"
                ),
                hint,
            ));
        }
        Ok(())
    }

    fn nothing(&self) -> SetupError {
        refuse(
            format!(
                "Linux {} has neither headers nor a built repro.ko",
                self.record.release
            ),
            "add the kernel again with --force",
        )
    }
}
