//! From a crash to its signature and its report: the one place where the two meet. Decides nothing about
//! sameness; every fact that the dump does not give becomes an absent one with the reason.
mod account;
mod corruption;
mod facts;

use std::path::Path;

use anyhow::{Context as _, Result};
use recrash_kernel::{Crash, Kernel};
use recrash_signature::model::Signature;
use recrash_vmcore::Vmcore;

use crate::report::CrashReport;

/// What an analysis gives.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// What identifies the crash.
    pub(crate) signature: Signature,
    /// The account for people.
    pub(crate) report: CrashReport,
}

/// Reads a vmcore. `accelerator` is what ran the machine's CPUs, where the caller knows it: the dump does not.
///
/// # Errors
/// When the file is no vmcore, or no kernel can be found in it; a kernel that is only partly there gives a
/// signature with absent facts.
pub(crate) fn analyze(vmcore: &Path, accelerator: Option<&str>) -> Result<Analysis> {
    let dump = Vmcore::open(vmcore)?;
    let info = dump.vmcoreinfo().with_context(|| {
        format!(
            "{}: no VMCOREINFO note, by which the kernel would be found",
            vmcore.display()
        )
    })?;
    let kernel = Kernel::open(&dump, info, dump.prstatus())
        .with_context(|| format!("{}: no kernel found in the dump", vmcore.display()))?;
    let crash = Crash::read(&kernel);
    let signature = facts::signature(&kernel, &crash, accelerator);
    let mut report = account::report(&kernel, &crash);
    report.missing.splice(0..0, dump.warnings().iter().cloned());
    Ok(Analysis { signature, report })
}
