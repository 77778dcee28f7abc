//! The one diagnostic layer: an error chain, printed once, with what to do next and its exit code.
//! Knows errors, not what the commands do.
use crate::exit::Exit;
use crate::output::{self, BAD, DIM};
use std::io;

/// Why a command gave up.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    exit: Exit,
    hint: Option<String>,
}

impl Failure {
    /// The caller's mistake, or something is not set up.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            exit: Exit::Usage,
            hint: None,
        }
    }

    /// The infrastructure failed; this says nothing about the kernel.
    pub(crate) fn inconclusive(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            exit: Exit::Inconclusive,
            hint: None,
        }
    }

    /// The same failure with what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The exit code it ends with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether the caller made a mistake, as against infrastructure that failed.
    pub(crate) fn is_usage(&self) -> bool {
        self.exit == Exit::Usage
    }

    /// All errors of the chain in one line.
    pub(crate) fn chain(&self) -> String {
        format!("{:#}", self.error)
    }

    /// What to do about it: as the command says, else what goes for any file.
    pub(crate) fn next(&self) -> Option<String> {
        let io = || {
            self.error
                .chain()
                .find_map(|cause| cause.downcast_ref::<io::Error>())
        };
        self.hint.clone().or_else(|| of_files(io()?.kind()))
    }

    /// Prints it to stderr.
    pub(crate) fn print(&self) {
        output::note(&self.text());
    }

    /// As it is printed, with styles: the error, its causes, and what to do next.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{BAD}error:{BAD:#} {}\n", harmless(&self.error.to_string()));
        let mut shown = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some errors already say their cause.
            if !shown.contains(&cause) {
                text.push_str(&format!("  because: {}\n", harmless(&cause)));
            }
            shown = cause;
        }
        if let Some(hint) = self.next() {
            text.push_str(&format!("{DIM}next:{DIM:#} {}\n", harmless(&hint)));
        }
        text
    }
}

/// The same lines, safe for a terminal and for a CI runner: an error may quote what stands in a file.
fn harmless(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(output::printable).collect();
    lines.join("\n")
}

/// What to do about a file that cannot be opened, read or written.
fn of_files(kind: io::ErrorKind) -> Option<String> {
    match kind {
        io::ErrorKind::NotFound => {
            let here = std::env::current_dir().ok()?;
            Some(format!(
                "check the path: its folder must be there, and a relative one begins in {}",
                here.display()
            ))
        }
        io::ErrorKind::PermissionDenied => {
            Some("check who may read or write it (ls -ld), or use another place".into())
        }
        io::ErrorKind::ReadOnlyFilesystem => Some("name a place that can be written".into()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some disk: recrash runs shows what the kept runs take".into())
        }
        _ => None,
    }
}

/// An error that no command has classified is the caller's input.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::usage(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::usage(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn check(kind: io::ErrorKind, expected: &str) {
        let failed: Result<(), io::Error> = Err(kind.into());
        let failure = Failure::from(failed.context("vmcore").unwrap_err());
        let next = failure.next().unwrap_or_default();
        assert!(next.contains(expected), "{kind}: {next}");
        let told = Failure {
            hint: Some("do that".into()),
            ..failure
        };
        assert_eq!(told.next().as_deref(), Some("do that"));
    }

    #[test]
    fn what_an_error_quotes_cannot_drive_the_terminal() {
        let failure = Failure::usage(anyhow::anyhow!("unknown field `\x1b[2J`")).hint("a\rb");
        let text = failure.text();
        assert!(text.contains("unknown field `\u{fffd}[2J`"), "{text:?}");
        assert!(!text.contains('\r'), "{text:?}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_says_what_to_do_unless_the_command_knows_better() {
        check(io::ErrorKind::NotFound, "a relative one begins in /");
        check(io::ErrorKind::PermissionDenied, "ls -ld");
        check(io::ErrorKind::StorageFull, "recrash runs");
    }
}
