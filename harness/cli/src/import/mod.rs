//! From text to a signature: the counterpart of `extract`, for what a person saved of a crash. Reads the text, asks
//! `transcript` what follows from it, and crosses over into the signature. Compares nothing.
mod corruption;
mod facts;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use anyhow::{Context, anyhow};
use recrash_signature::Signature;
use recrash_transcript::{Account, Evidence, account, evidence};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Longest text that is read, in bytes: a console of weeks, and far more than any session.
const MAX_TEXT: u64 = 256 << 20;

/// A text, read.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What it says.
    pub(crate) evidence: Evidence,
    /// What follows from that.
    pub(crate) account: Account,
    /// What identifies the crash.
    pub(crate) signature: Signature,
}

/// Reads a text file (`-`: stdin); `likes` are texts of other crashes of the same kernel build. The first of them whose
/// addresses fit lends what the text lacks.
///
/// # Errors
/// Usage: a file that is unreadable, too long, or has nothing of a crash in it.
pub(crate) fn read(path: &Path, likes: &[PathBuf]) -> Result<Imported, Failure> {
    of_text(path, &text(path)?, likes)
}

/// [`read`] of a text that was read already; `path` is for errors.
///
/// # Errors
/// As [`read`]'s.
pub(crate) fn of_text(path: &Path, text: &str, likes: &[PathBuf]) -> Result<Imported, Failure> {
    let evidence = evidence_in(path, text)?;
    for like in likes {
        let other = evidence_in(like, &self::text(like)?)?;
        let lent = imported(evidence.clone(), Some(&other));
        if !lent.account.lent.is_empty() {
            return Ok(lent);
        }
    }
    Ok(imported(evidence, None))
}

/// The text of a file, or of stdin for `-`, bytes that are not UTF-8 replaced.
///
/// # Errors
/// Usage: it cannot be read, or is longer than 256 MiB.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_TEXT + 1).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).with_context(name)?;
        file.take(MAX_TEXT + 1).read_to_end(&mut bytes)
    };
    read.with_context(name)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(Failure::usage(anyhow!("{}: over 256 MiB", path.display()))
            .hint("cut the part around the crash out of it"));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn evidence_in(path: &Path, text: &str) -> Result<Evidence, Failure> {
    let found = evidence::read(text);
    if says_something(&found) {
        return Ok(found);
    }
    let lost = found.lost.first();
    let near = lost.map(|lost| format!("; line {}: {}", lost.line, lost.why));
    Err(Failure::usage(anyhow!(
        "{}: nothing of a crash in it: expected a crash-utility session (bt, bt -f, struct, dis) or an oops{}",
        path.display(),
        near.unwrap_or_default()
    ))
    .hint("a vmcore is read with recrash analyze, a folder of files with recrash triage"))
}

/// Whether there is anything of a crash in it: a table of caches alone is none.
pub(crate) fn says_something(evidence: &Evidence) -> bool {
    let frames = evidence.backtraces.iter();
    let mut frames = frames.map(|backtrace| backtrace.frames.len() + backtrace.registers.len());
    frames.any(|count| count > 0)
        || !evidence.structs.is_empty()
        || !evidence.oopses.is_empty()
        || !evidence.words.is_empty()
        || evidence.system.panic.is_some()
}

/// What follows from evidence.
pub(crate) fn imported(evidence: Evidence, like: Option<&Evidence>) -> Imported {
    let account = account::of(&evidence, like);
    let signature = facts::signature(&evidence, &account);
    Imported {
        evidence,
        account,
        signature,
    }
}
