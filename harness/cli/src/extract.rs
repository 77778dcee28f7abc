//! From a crash to its signature and its report: the one place where the two meet. Decides nothing about
//! sameness; every fact that the dump does not give becomes an absent one with the reason.
mod account;
pub(crate) mod corruption;
mod descriptor;
mod facts;
mod fault;
mod field;
mod headers;
mod log;
mod memory;
mod registers;
pub(crate) mod stale;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use recrash_kernel::{Crash, Kernel};
use recrash_signature::model::Signature;

use crate::debug_files::{DebugArgs, DebugFiles};
use crate::dump;
use crate::failure::Failure;
use crate::report::CrashReport;

/// What an analysis gives.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// What identifies the crash.
    pub(crate) signature: Signature,
    /// The account for people.
    pub(crate) report: CrashReport,
}

/// How a dump is analysed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How<'a> {
    /// What ran the machine's CPUs, where the caller knows it: the dump does not.
    pub(crate) accelerator: Option<&'a str>,
    /// The options that name debug files; without them none is looked for.
    pub(crate) debug: Option<&'a DebugArgs>,
    /// The report shall have source lines, where there is debug information.
    pub(crate) lines: bool,
    /// The other files of a split dump.
    pub(crate) split: &'a [PathBuf],
}

/// Reads a vmcore.
///
/// # Errors
/// Inconclusive when the file is no vmcore, or no kernel can be found in it; a kernel that is only partly there
/// gives a signature with absent facts. Usage when a debug file that was named is of another kernel.
pub(crate) fn analyze(vmcore: &Path, how: How<'_>) -> Result<Analysis, Failure> {
    analyze_with(vmcore, how, |_, _| ()).map(|(analysis, ())| analysis)
}

/// The same, and what `look` makes of the crash while the dump is open.
///
/// # Errors
/// As [`analyze`].
pub(crate) fn analyze_with<T>(
    vmcore: &Path,
    how: How<'_>,
    look: impl FnOnce(&Kernel<'_>, &Crash) -> T,
) -> Result<(Analysis, T), Failure> {
    let dump = dump::open(vmcore, how.split).map_err(|error| unreadable(error.into()))?;
    let info = dump.vmcoreinfo().with_context(|| {
        format!(
            "{}: no VMCOREINFO, neither a note nor in memory, by which the kernel would be found",
            vmcore.display()
        )
    });
    let info = info.map_err(unreadable)?;
    let files = how.debug.map(|args| args.open(Some(info))).transpose()?;
    let sources = files.as_ref().map(DebugFiles::sources).unwrap_or_default();
    let kernel = Kernel::open_with(&dump, info, dump.prstatus(), &sources)
        .with_context(|| format!("{}: no kernel found in the dump", vmcore.display()))
        .map_err(unreadable)?;
    let notes = files
        .as_ref()
        .map(|files| files.check(&kernel))
        .transpose()?;
    let crash = Crash::read(&kernel);
    let signature = facts::signature(&kernel, &crash, how.accelerator);
    let mut report = account::report(&kernel, &crash);
    let looked = look(&kernel, &crash);
    let mut notes = notes.unwrap_or_default();
    if let Some(files) = files.as_ref().filter(|_| how.lines) {
        if files.has_lines(&kernel) {
            account::add_lines(&mut report, &kernel, &crash);
        }
        notes.extend(files.notes());
    }
    report
        .missing
        .splice(0..0, dump.warnings().iter().cloned().chain(notes));
    Ok((Analysis { signature, report }, looked))
}

/// What is left to say of a dump that [`analyze`] could find no kernel in: what its headers and notes tell. `None` where
/// the file is no vmcore at all.
pub(crate) fn headers(vmcore: &Path, split: &[PathBuf]) -> Option<Analysis> {
    let dump = dump::open(vmcore, split).ok()?;
    Some(headers::analysis(&dump, "no kernel was found in the dump"))
}

fn unreadable(error: anyhow::Error) -> Failure {
    Failure::inconclusive(error.context("the dump cannot be analysed"))
}
