//! What can be compared with a golden: a signature, a run folder, a vmcore, a text. Gives its signature, or says
//! that there was no crash, or why nothing can be said. Compares nothing.
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
/// How much of a file's beginning tells text from a dump.
const HEAD: u64 = 4096;

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
    /// Reads a run folder, a signature (`.toml`, `.snap`) or a vmcore, of which `split` are the other files.
    ///
    /// # Errors
    /// There is no such file, or a signature or manifest is malformed. A vmcore that cannot be analysed
    /// is no error but inconclusive.
    pub(crate) fn read(path: &Path, split: &[PathBuf], debug: &DebugArgs) -> Result<Self, Failure> {
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
        match path.extension().and_then(|e| e.to_str()) {
            Some("snap") => {
                let golden = store::read(path).map_err(Failure::usage)?;
                Ok(Self::Crash(Box::new(golden.signature)))
            }
            Some("toml") => Ok(Self::Crash(Box::new(signature(path)?))),
            _ => match Self::of_text(path)? {
                Some(found) => Ok(found),
                None => match Self::of_vmcore(path, split, None, debug)? {
                    Self::Inconclusive { stage, .. } if looks_like_text(path)? => {
                        Ok(Self::Inconclusive {
                            stage,
                            why: "the text has nothing of a crash in it".into(),
                        })
                    }
                    found => Ok(found),
                },
            },
        }
    }

    /// A crash told in text; `None` where the file is no text, or has nothing of a crash in it.
    fn of_text(path: &Path) -> Result<Option<Self>, Failure> {
        if !looks_like_text(path)? {
            return Ok(None);
        }
        let evidence = recrash_transcript::evidence::read(&import::text(path)?);
        let told = import::says_something(&evidence);
        Ok(told.then(|| Self::Crash(Box::new(import::imported(evidence, None).signature))))
    }

    fn of_run(folder: &Path, debug: &DebugArgs) -> Result<Self, Failure> {
        let manifest = Manifest::load(folder)
            .with_context(|| format!("{} is no run folder ({MANIFEST})", folder.display()))?;
        match manifest.outcome {
            Some(Ending::NoCrash) => Ok(Self::NoCrash(
                "the scenario ended and the kernel was alive".into(),
            )),
            Some(Ending::Inconclusive { stage, reason, .. }) => Ok(Self::Inconclusive {
                stage: Some(stage.to_string()),
                why: reason,
            }),
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

/// Whether a file begins with text: every form of dump has zeros in its head. A console log may have some in it.
pub(crate) fn looks_like_text(path: &Path) -> Result<bool, Failure> {
    let name = || path.display().to_string();
    let mut head = Vec::new();
    let file = std::fs::File::open(path).with_context(name)?;
    file.take(HEAD).read_to_end(&mut head).with_context(name)?;
    let zeros = head.iter().filter(|byte| **byte == 0).count();
    Ok(!head.is_empty() && zeros * 64 < head.len() && !head.starts_with(b"\x7fELF"))
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
