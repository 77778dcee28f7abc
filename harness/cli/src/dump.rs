//! The files of a dump as a command is given them: the vmcore and the other files of a split set. Reads no memory.
use anyhow::{Context as _, anyhow};
use recrash_machine::run::folder::VMCORE;
use recrash_vmcore::{FormatError, Vmcore};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::subject::Content;

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
    let name = file.display();
    let is_empty = || std::fs::metadata(file).is_ok_and(|meta| meta.len() == 0);
    if failure.next().is_some() {
        return failure;
    }
    if is_empty() {
        return failure
            .hint("it is empty: kdump could not write it; see the space on its disk, and its log");
    }
    match Content::of(file) {
        Ok(Content::Text) => failure.hint(format!(
            "{name} is a text: recrash explain tells what it says of a crash, recrash compare compares it"
        )),
        Ok(Content::Unknown) => failure.hint(
            "expected an ELF core or what makedumpfile writes (also flattened, or --split); unpack it first if it is compressed",
        ),
        Ok(Content::Dump) => failure.hint(
            "if it was copied, compare its size and checksum; recrash inspect sys tells what its headers say",
        ),
        Err(_) => failure,
    }
}
