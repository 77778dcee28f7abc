//! An open dump and its kernel, shared by all commands. The one place where `inspect` opens files.
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use recrash_kernel::{Kernel, Missing};
use recrash_vmcore::{Vmcore, Vmcoreinfo};

use super::super::Outcome;
use super::out::Out;
use super::reply::{self, Reply};
use crate::debug_files::{DebugArgs, DebugFiles};
use crate::dump;
use crate::exit::Exit;
use crate::failure::Failure;

/// The dump's file, open.
pub(super) struct Opened {
    file: String,
    dump: Vmcore,
    files: DebugFiles,
    no_info: Vmcoreinfo,
}

/// Opens the dump and looks for debug files; `split` are the other files of a split dump.
pub(super) fn open(vmcore: &Path, split: &[PathBuf], debug: &DebugArgs) -> Result<Opened, Failure> {
    dump::must_be_files(vmcore, split)?;
    let dump = dump::open(vmcore, split).map_err(|error| {
        let failure = Failure::inconclusive(anyhow!(error).context("the dump cannot be read"));
        dump::advised(failure, vmcore)
    })?;
    Ok(Opened {
        file: vmcore.display().to_string(),
        files: debug.open(dump.vmcoreinfo())?,
        dump,
        no_info: Vmcoreinfo::default(),
    })
}

/// What a command works with.
pub(super) struct Session<'d> {
    /// Name of the dump's file.
    pub(super) file: &'d str,
    /// Its memory and headers.
    pub(super) dump: &'d Vmcore,
    kernel: Result<Kernel<'d>, Missing>,
    files: &'d DebugFiles,
    notes: Vec<String>,
    out: Out<'d>,
}

impl<'d> Session<'d> {
    /// # Errors
    /// A vmlinux that was named is of another kernel.
    pub(super) fn new(opened: &'d Opened, out: Out<'d>) -> Result<Self, Failure> {
        let info = opened.dump.vmcoreinfo().unwrap_or(&opened.no_info);
        let sources = opened.files.sources();
        let kernel = Kernel::open_with(&opened.dump, info, opened.dump.prstatus(), &sources);
        let notes = match &kernel {
            Ok(kernel) => opened.files.check(kernel)?,
            Err(_) => Vec::new(),
        };
        Ok(Self {
            file: &opened.file,
            dump: &opened.dump,
            kernel,
            files: &opened.files,
            notes,
            out,
        })
    }

    /// What there is to say about the debug files.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Name of the vmlinux with debug information, if there is one.
    pub(super) fn vmlinux(&self) -> Option<String> {
        let path = self.files.vmlinux_path(self.kernel.as_ref().ok()?)?;
        Some(path.display().to_string())
    }

    /// The kernel.
    ///
    /// # Errors
    /// Inconclusive when none was found in the dump.
    pub(super) fn kernel(&self) -> Result<&Kernel<'d>, Failure> {
        self.kernel.as_ref().map_err(|missing| {
            Failure::inconclusive(
                anyhow!(missing.clone()).context(format!("{}: no kernel found in it", self.file)),
            )
        })
    }

    /// The kernel, or why there is none, for what can do without.
    pub(super) fn try_kernel(&self) -> Result<&Kernel<'d>, &Missing> {
        self.kernel.as_ref()
    }

    /// Whether a JSON object is wanted.
    pub(super) fn json(&self) -> bool {
        !matches!(self.out, Out::Text)
    }

    /// Where answers go.
    pub(super) fn out(&self) -> Out<'d> {
        self.out
    }

    /// Prints what a command found, and what it could not read.
    pub(super) fn show(&self, found: &impl Reply, missing: &[String]) -> Outcome {
        self.show_with_notes(found, missing, &[])
    }

    /// The same, with what is not missing but was found in another place than usual.
    pub(super) fn show_with_notes(
        &self,
        found: &impl Reply,
        missing: &[String],
        notes: &[String],
    ) -> Outcome {
        let missing = &reply::collapsed(missing);
        self.out.reply(found, missing, notes)?;
        Ok(Exit::Met)
    }

    /// What was asked for is not there.
    pub(super) fn nothing(&self, why: impl std::fmt::Display) -> Failure {
        Failure::inconclusive(anyhow!("{why}"))
    }
}
