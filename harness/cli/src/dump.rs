//! The files of a dump as a command is given them: the vmcore and the other files of a split set. Reads no memory.
use anyhow::{Context as _, anyhow};
use recrash_vmcore::{FormatError, Vmcore};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Opens the set.
pub(crate) fn open(vmcore: &Path, split: &[PathBuf]) -> Result<Vmcore, FormatError> {
    let mut files = vec![vmcore.to_owned()];
    files.extend_from_slice(split);
    Vmcore::open_set(&files)
}

/// Refuses what is no regular file, before anything waits for a pipe or a device.
pub(crate) fn must_be_files(vmcore: &Path, split: &[PathBuf]) -> Result<(), Failure> {
    for file in std::iter::once(vmcore).chain(split.iter().map(PathBuf::as_path)) {
        let name = || file.display().to_string();
        let meta = std::fs::metadata(file).with_context(name)?;
        if !meta.is_file() {
            return Err(Failure::usage(anyhow!("{} is no file", name())));
        }
    }
    Ok(())
}
