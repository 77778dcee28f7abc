//! The one diagnostic layer: an error chain, printed once, with what to do next and its exit code.
//! Knows errors, not what the commands do.
use crate::exit::Exit;
use crate::output::{self, BAD, DIM};

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

    /// What to do about it, where that is known.
    pub(crate) fn next(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Prints it to stderr.
    pub(crate) fn print(&self) {
        output::note(&self.text());
    }

    /// As it is printed, with styles: the error, its causes, and what to do next.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{BAD}error:{BAD:#} {}\n", self.error);
        let mut shown = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some errors already say their cause.
            if !shown.contains(&cause) {
                text.push_str(&format!("  because: {cause}\n"));
            }
            shown = cause;
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{DIM}next:{DIM:#} {hint}\n"));
        }
        text
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
