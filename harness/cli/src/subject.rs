//! What can be compared with a golden: a signature, a run folder, a vmcore, a text; told apart by what is in it, not by
//! its name. Gives its signature, or says that there was no crash, or why nothing can be said. Compares nothing.
use anyhow::{Context, anyhow};
use recrash_machine::run::folder::VMCORE;
use recrash_machine::run::manifest::{Ending, MANIFEST, Manifest};
use recrash_signature::compare::{self, Comparison};
use recrash_signature::{Signature, store};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::debug_files::DebugArgs;
use crate::extract::{self, How};
use crate::failure::Failure;
use crate::import;

/// Name of the signature in a run folder.
pub(crate) const SIGNATURE: &str = "signature.toml";
/// Largest signature that is read, in bytes.
const MAX_SIGNATURE: u64 = 1 << 20;
/// How much of a file's beginning tells what it is; more than the header of any golden.
const HEAD: u64 = 64 << 10;

/// What is said of a run whose kernel was made to die.
pub(crate) const DUMPED: &str =
    "the kernel survived and was then made to die for its dump: it is evidence, no crash";

/// What was found.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A crash.
    Crash(Box<Signature>),
    /// A run in which the kernel survived, and what proves that it was put to the test.
    NoCrash(String),
    /// Nothing can be said.
    Inconclusive {
        /// In which stage a run ended, if it is one.
        stage: Option<String>,
        /// Why.
        why: String,
    },
}

impl Subject {
    /// Reads a run folder, a signature, a text, or a vmcore, of which `split` are the other files. `-` is a text on
    /// stdin.
    ///
    /// # Errors
    /// There is no such file, a signature or manifest is malformed, or a text has nothing of a crash in it. A vmcore
    /// that cannot be analysed is no error but inconclusive.
    pub(crate) fn read(path: &Path, split: &[PathBuf], debug: &DebugArgs) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Crash(Box::new(import::read(path, &[])?.signature)));
        }
        let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        if meta.is_dir() {
            return Self::of_run(path, debug);
        }
        if !meta.is_file() {
            return Err(Failure::usage(anyhow!(
                "{} is no regular file",
                path.display()
            )));
        }
        match Kind::of(path)? {
            Kind::Golden => {
                let golden = store::read(path).map_err(Failure::usage)?;
                Ok(Self::Crash(Box::new(golden.signature)))
            }
            Kind::Signature => Ok(Self::Crash(Box::new(signature(path)?))),
            Kind::Text => Ok(Self::Crash(Box::new(import::read(path, &[])?.signature))),
            Kind::Other => Self::of_vmcore(path, split, None, debug),
        }
    }

    fn of_run(folder: &Path, debug: &DebugArgs) -> Result<Self, Failure> {
        let manifest = Manifest::load(folder)
            .with_context(|| format!("{} is no run folder ({MANIFEST})", folder.display()))?;
        match manifest.outcome {
            Some(Ending::NoCrash) => Ok(Self::NoCrash(
                "the scenario ended and the kernel was alive".into(),
            )),
            Some(Ending::Dumped { .. }) => Ok(Self::Inconclusive {
                stage: None,
                why: DUMPED.into(),
            }),
            Some(Ending::Inconclusive { stage, reason, .. }) => Ok(Self::Inconclusive {
                stage: Some(stage.to_string()),
                why: reason,
            }),
            Some(Ending::Crashed { .. }) if manifest.capture.equal == Some(false) => {
                Ok(Self::Inconclusive {
                    stage: None,
                    why: "the two dumps of this run contradict each other".into(),
                })
            }
            Some(Ending::Crashed { .. }) => {
                let file = folder.join(SIGNATURE);
                if file.is_file() {
                    Ok(Self::Crash(Box::new(signature(&file)?)))
                } else {
                    let accelerator = manifest.accel.to_string();
                    Self::of_vmcore(&folder.join(VMCORE), &[], Some(&accelerator), debug)
                }
            }
            None => Err(Failure::usage(anyhow!(
                "{}: this run has not ended, or its harness was killed",
                folder.display()
            ))),
        }
    }

    fn of_vmcore(
        path: &Path,
        split: &[PathBuf],
        accelerator: Option<&str>,
        debug: &DebugArgs,
    ) -> Result<Self, Failure> {
        let how = How {
            accelerator,
            debug: Some(debug),
            lines: false,
            split,
        };
        match extract::analyze(path, how) {
            Ok(analysis) => Ok(Self::Crash(Box::new(analysis.signature))),
            Err(failure) if failure.is_usage() => Err(failure),
            Err(failure) => Ok(Self::Inconclusive {
                stage: None,
                why: failure.chain(),
            }),
        }
    }

    /// The comparison with a golden.
    pub(crate) fn compare(&self, golden: &Signature) -> Comparison {
        match self {
            Self::Crash(found) => compare::compare(golden, found),
            Self::NoCrash(why) => Comparison::no_crash(why),
            Self::Inconclusive {
                stage: Some(stage),
                why,
            } => Comparison::inconclusive(format!("{stage}: {why}")),
            Self::Inconclusive { stage: None, why } => Comparison::inconclusive(why),
        }
    }

    /// The stage in which a run ended without a result.
    pub(crate) fn stage(&self) -> Option<&str> {
        match self {
            Self::Inconclusive { stage, .. } => stage.as_deref(),
            Self::Crash(_) | Self::NoCrash(_) => None,
        }
    }
}

/// What a file is to someone who expected a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// It begins as a dump does.
    Dump,
    /// A text, a signature or a golden.
    Text,
    /// Neither.
    Unknown,
}

impl Content {
    /// By its first bytes.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let head = head(path)?;
        Ok(match DUMPS.iter().any(|magic| head.starts_with(magic)) {
            true => Self::Dump,
            false if is_text(&head) => Self::Text,
            false => Self::Unknown,
        })
    }
}

/// Whether a file is a text rather than a dump or a signature.
pub(crate) fn looks_like_text(path: &Path) -> Result<bool, Failure> {
    Ok(Kind::of(path)? == Kind::Text)
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An insta snapshot of a signature.
    Golden,
    /// A signature as TOML.
    Signature,
    /// A crash session or a console log.
    Text,
    /// A vmcore, or nothing known: its reader says which.
    Other,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, Failure> {
        let head = head(path)?;
        Ok(Self::of_head(&head).unwrap_or_else(|| {
            // Too broken to tell, or empty: its name says what its error should be about.
            match path.extension().and_then(|e| e.to_str()) {
                Some("snap") => Self::Golden,
                Some("toml") => Self::Signature,
                _ if is_text(&head) => Self::Text,
                _ => Self::Other,
            }
        }))
    }

    /// By the first bytes; `None` where they are no dump's and no signature's.
    fn of_head(head: &[u8]) -> Option<Self> {
        if DUMPS.iter().any(|magic| head.starts_with(magic)) {
            return Some(Self::Other);
        }
        let text = String::from_utf8_lossy(head);
        let schema = |line: &str| {
            let value = line.strip_prefix("schema").map(str::trim_start);
            value.is_some_and(|value| value.starts_with('='))
        };
        if !text.lines().any(schema) {
            return None;
        }
        let framed = text.lines().next().is_some_and(|line| line == "---");
        Some(if framed {
            Self::Golden
        } else {
            Self::Signature
        })
    }
}

/// The first bytes of a file.
fn head(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = || path.display().to_string();
    let mut head = Vec::new();
    let file = std::fs::File::open(path).with_context(name)?;
    file.take(HEAD).read_to_end(&mut head).with_context(name)?;
    Ok(head)
}

/// How dumps begin: an ELF core, makedumpfile's and diskdump's pages, a flattened stream.
const DUMPS: [&[u8]; 4] = [b"\x7fELF", b"KDUMP   ", b"DISKDUMP", b"makedumpfile"];

/// Whether most of it is text: a console has bytes of firmware and of a cut transfer in it, a dump of any kind has more
/// zeros and bytes beyond ASCII than those.
fn is_text(head: &[u8]) -> bool {
    let text = |byte: &&u8| matches!(**byte, b'\t' | b'\n' | b'\r' | 0x1b | b' '..=b'~');
    let lossless = std::str::from_utf8(head).is_ok() && !head.contains(&0);
    !head.is_empty() && (lossless || head.iter().filter(text).count() * 4 >= head.len() * 3)
}

fn signature(path: &Path) -> Result<Signature, Failure> {
    let name = || path.display().to_string();
    if std::fs::metadata(path).with_context(name)?.len() > MAX_SIGNATURE {
        return Err(Failure::usage(anyhow!(
            "{}: over 1 MiB, so no signature",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).with_context(name)?;
    Ok(Signature::from_toml(&text).with_context(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, contents: impl AsRef<[u8]>, expected: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, contents).unwrap();
        assert_eq!(Kind::of(&file).unwrap(), expected, "{name}");
    }

    #[test]
    fn what_a_file_is_its_bytes_say_and_not_its_name() {
        let golden = "---\nsource: golden/golden.rs\n---\nschema = 2\n";
        check("a", golden, Kind::Golden);
        check("a.txt", golden.replace('\n', "\r\n"), Kind::Golden);
        check("a.snap", "title = \"\"\nschema = 2\n", Kind::Signature);
        check("a.toml", b"\x7fELF\x02\x01\x01\0", Kind::Other);
        check("a.snap", b"KDUMP   \x06\0\0\0", Kind::Other);
        check("a.txt", b"makedumpfile\0\0\0\0", Kind::Other);
        check("vmcore", "crash> bt\nPID: 1\n", Kind::Text);
        check(
            "a.md",
            "---\ntitle: Notes\n---\n\n```\ncrash> bt\n",
            Kind::Text,
        );
    }

    #[test]
    fn a_console_with_noise_is_text_and_zeros_are_not() {
        let mut noisy = b"\0\xff\x80\x1b[2J[    0.000000] Linux version 6.1.0\r\n".repeat(20);
        check("console.log", &noisy, Kind::Text);
        noisy.extend([0; 4096]);
        check("console.log", &noisy, Kind::Other);
        check("a", [0; 4096], Kind::Other);
        check("a", "", Kind::Other);
    }

    #[test]
    fn text_in_any_script_is_text() {
        check(
            "a.md",
            "\u{5806}\u{6808}\u{5982}\u{4e0b}\n".repeat(40),
            Kind::Text,
        );
    }

    #[test]
    fn a_broken_signature_is_still_told_as_one() {
        check("a.toml", "scheme 2", Kind::Signature);
        check("a.snap", "---\n", Kind::Golden);
    }
}
