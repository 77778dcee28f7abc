//! The files of a dump as a command is given them: the vmcore and the other files of a split set. Reads no memory.
use anyhow::{Context as _, anyhow};
use recrash_machine::run::folder::VMCORE;
use recrash_vmcore::{FormatError, Vmcore};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::subject::looks_like_text;

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
            let failure = Failure::usage(anyhow!("{} is no file", name()));
            return Err(match file.join(VMCORE).is_file() {
                true => failure.hint(format!(
                    "the dump of a run: {}",
                    file.join(VMCORE).display()
                )),
                false => failure.hint("name a vmcore; recrash triage looks through a folder"),
            });
        }
    }
    Ok(())
}

/// The failure to read a dump with what to do where the file is none.
pub(crate) fn advised(failure: Failure, file: &Path) -> Failure {
    if failure.next().is_none() && looks_like_text(file).is_ok_and(|is_text| is_text) {
        return failure.hint(format!(
            "{} is a text: recrash explain tells what it says of a crash, recrash compare compares it",
            file.display()
        ));
    }
    failure
}
