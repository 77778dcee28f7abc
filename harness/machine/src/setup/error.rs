//! Why set-up failed, in words a person can act on.
use std::path::{Path, PathBuf};

/// Why set-up failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Something must be installed and this process may not: run `command`.
    #[error("{what}; run:\n    {command}")]
    NeedsRoot {
        /// What is missing.
        what: String,
        /// The exact command, with sudo.
        command: String,
    },
    /// The target was not set up.
    #[error("target {target} is not set up: {missing} missing (recrash setup provides it)")]
    NotSetUp {
        /// The target's name.
        target: String,
        /// What is missing.
        missing: String,
    },
    /// The target was set up for something else than is asked for now.
    #[error("target {target} was set up, but {what} since (recrash setup brings it up to date)")]
    Stale {
        /// The target's name.
        target: String,
        /// What has changed, for example `its file has changed`.
        what: String,
    },
    /// The target is one of those that cannot be used.
    #[error("target {target} is left out: {why}")]
    LeftOut {
        /// The target's name.
        target: String,
        /// Why.
        why: String,
    },
    /// No recrash checkout was found.
    #[error("{0}")]
    NoRoot(String),
    /// apt knows no such package.
    #[error("apt knows no package {package} on this machine{hint}")]
    UnknownPackage {
        /// The package.
        package: String,
        /// What may help.
        hint: String,
    },
    /// The machine's apt has no mirror to take a suite from.
    #[error("no place to fetch {suite} from: {what}")]
    NoMirror {
        /// The suite.
        suite: String,
        /// What is missing, and where was looked.
        what: String,
    },
    /// The mirror does not have a suite.
    #[error("this machine's mirror does not serve {suites}:\n{output}")]
    NoSuite {
        /// The suites asked for.
        suites: String,
        /// apt's own words.
        output: String,
    },
    /// apt's answer cannot be used.
    #[error("apt's record of {package}: {what}")]
    Metadata {
        /// The package.
        package: String,
        /// What was expected.
        what: String,
    },
    /// A child failed.
    #[error("{command} failed ({status}){}", tail(output))]
    Child {
        /// The command line.
        command: String,
        /// Exit status.
        status: String,
        /// Its last lines.
        output: String,
    },
    /// The module did not build.
    #[error("repro-module does not build against {release}; all of the output is in {}:\n{output}", log.display())]
    Build {
        /// Kernel release.
        release: String,
        /// The compiler's last lines.
        output: String,
        /// The whole output.
        log: PathBuf,
    },
    /// A step of building a target's kernel failed.
    #[error("Linux {release} does not build: {step} failed; all of the output is in {}:\n{output}", log.display())]
    Kernel {
        /// Kernel release.
        release: String,
        /// Which step, for people.
        step: String,
        /// Its last lines.
        output: String,
        /// The whole output of the step.
        log: PathBuf,
    },
    /// The kernel's configuration did not come out as asked for.
    #[error("{}: Linux {release} did not take {} of its options:{}\n\
             rename or drop them, or add what they depend on", file.display(), refused.len(), rows(refused))]
    Options {
        /// The fragment.
        file: PathBuf,
        /// Kernel release.
        release: String,
        /// Which, and what came out.
        refused: Vec<super::built::Refused>,
    },
    /// A download is not what apt's metadata promise.
    #[error("{}: SHA-256 is {actual}, expected {expected}", file.display())]
    Hash {
        /// The file.
        file: PathBuf,
        /// In hex.
        actual: String,
        /// In hex.
        expected: String,
    },
    /// A package cannot be unpacked.
    #[error("{}: {what}", file.display())]
    Package {
        /// The .deb or a file of it.
        file: PathBuf,
        /// What was wrong, and where.
        what: String,
    },
    /// A file operation failed.
    #[error("{doing} {}: {source}", file.display())]
    Io {
        /// For example `reading`.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn tail(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(":\n{output}")
    }
}

fn rows(refused: &[super::built::Refused]) -> String {
    refused.iter().map(|row| format!("\n    {row}")).collect()
}

impl SetupError {
    /// For `map_err` on file operations.
    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io {
            doing,
            file,
            source,
        }
    }
}
