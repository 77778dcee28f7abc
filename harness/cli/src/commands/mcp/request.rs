//! One call while it is carried out: the paths that it was let read, the debug files it may use, the goldens it names.
//! Reads no dump itself.
use anyhow::anyhow;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::folders::Admitted;
use super::input::{self, MAX_LIST};
use super::tools::Reader;
use crate::commands::inspect::Stop;
use crate::commands::{DEFAULT_TARGET, target};
use crate::debug_files::DebugArgs;
use crate::failure::Failure;
use crate::golden;
use crate::subject::Subject;
use recrash_signature::Signature;

/// One call: the reader, and what it was let read.
pub(super) struct Request<'r> {
    /// What was named at start.
    pub(super) reader: &'r Reader,
    admitted: Mutex<Vec<Admitted>>,
    /// Nobody waits for the answer any more.
    pub(super) stop: Stop,
}

impl<'r> Request<'r> {
    /// A call that has read nothing.
    pub(super) fn new(reader: &'r Reader, stop: Stop) -> Self {
        Self {
            reader,
            admitted: Mutex::default(),
            stop,
        }
    }

    /// The arguments as the tool has them.
    pub(super) fn parse<T: DeserializeOwned + JsonSchema>(
        &self,
        arguments: Map<String, Value>,
    ) -> Result<T, Failure> {
        input::parse(arguments).map_err(wrong)
    }

    /// A file or folder.
    pub(super) fn path(&self, text: &str) -> Result<Admitted, Failure> {
        let admitted = self.reader.folders().admit(text)?;
        self.remember(admitted.clone());
        Ok(admitted)
    }

    /// A file.
    pub(super) fn file(&self, text: &str) -> Result<PathBuf, Failure> {
        let admitted = self.path(text)?;
        if admitted.is_folder() {
            return Err(
                Failure::usage(anyhow!("{text:?} is a folder, expected a file"))
                    .hint("name a file in it; triage without paths shows what is there"),
            );
        }
        Ok(admitted.path)
    }

    /// Files.
    pub(super) fn files(&self, texts: &[String]) -> Result<Vec<PathBuf>, Failure> {
        few(texts)?;
        texts.iter().map(|text| self.file(text)).collect()
    }

    /// Files or folders.
    pub(super) fn paths(&self, texts: &[String]) -> Result<Vec<PathBuf>, Failure> {
        few(texts)?;
        let path = |text: &String| Ok(self.path(text)?.path);
        texts.iter().map(path).collect()
    }

    /// The debug files that may be used.
    pub(super) fn debug(&self, vmlinux: Option<&str>) -> Result<DebugArgs, Failure> {
        let vmlinux = vmlinux.map(|text| self.file(text)).transpose()?;
        Ok(DebugArgs::confined(vmlinux, self.reader.debug_dir()))
    }

    /// Has it looked at once more at the end.
    pub(super) fn remember(&self, admitted: Admitted) {
        let mut all = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(admitted);
    }

    /// Once more, now that all was read: nothing was exchanged for something else meanwhile.
    pub(super) fn check_again(&self) -> Result<(), Failure> {
        let all = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = self.reader.folders();
        let changed = all
            .iter()
            .find(|admitted| !admitted.is_still_there(folders));
        match changed {
            Some(changed) => Err(Failure::usage(anyhow!(
                "{} was replaced while it was read; what was read is not shown",
                changed.path.display()
            ))
            .hint("ask again")),
            None => Ok(()),
        }
    }

    /// A subject of a comparison, and its name: a path, or else a golden.
    pub(super) fn subject(
        &self,
        text: &str,
        split: &[PathBuf],
        debug: &DebugArgs,
    ) -> Result<(String, PathBuf, Subject), Failure> {
        let refused = match self.path(text) {
            Ok(admitted) => {
                let read = Subject::read(&admitted.path, split, debug)?;
                return Ok((admitted.path.display().to_string(), admitted.path, read));
            }
            Err(refused) => refused,
        };
        let (name, signature) = self.golden(text, refused)?;
        Ok((
            name,
            PathBuf::from(text),
            Subject::Crash(Box::new(signature)),
        ))
    }

    /// The golden of this name; `refused` says why it is no path.
    fn golden(&self, name: &str, refused: Failure) -> Result<(String, Signature), Failure> {
        let looks_like_a_path = name.starts_with(['/', '.', '~']) || name.contains('\0');
        let Some(folder) = self.reader.goldens().filter(|_| !looks_like_a_path) else {
            return Err(refused);
        };
        let found = golden::named(folder, name).map_err(|failure| {
            let names = failure.next().unwrap_or_else(|| "there is none".into());
            let next = refused.next().unwrap_or_default();
            Failure::usage(anyhow!(
                "{}, and no single golden has that name",
                refused.chain()
            ))
            .hint(format!("{next}. Goldens are {names}"))
        })?;
        Ok((golden::name(&found), found.signature))
    }

    /// The golden of the default target.
    pub(super) fn default_golden(&self) -> Result<(String, Signature), Failure> {
        let without = || {
            Failure::usage(anyhow!("there is no checkout with goldens")).hint("name golden: a path")
        };
        let folder = self.reader.goldens().ok_or_else(without)?;
        let wanted = target::load(DEFAULT_TARGET)?.default.golden;
        let found = golden::named(folder, &wanted)?;
        Ok((golden::name(&found), found.signature))
    }
}

/// The client's mistake, with what to do next.
pub(super) fn wrong((why, next): (String, String)) -> Failure {
    Failure::usage(anyhow!(why)).hint(next)
}

/// Refuses lists beyond all use.
pub(super) fn few(texts: &[String]) -> Result<(), Failure> {
    if texts.len() > MAX_LIST {
        let error = anyhow!("a list of {}, expected at most {MAX_LIST}", texts.len());
        return Err(Failure::usage(error).hint("name a folder instead, or ask several times"));
    }
    Ok(())
}
