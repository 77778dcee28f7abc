//! Exit codes, their numbers and their documentation. Which one a verdict gives is decided in `expect`.

/// What `recrash` ends with. Documented in README and `--help`; the numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The expectation was met.
    Met = 0,
    /// A crash, but not the expected one.
    Differs = 1,
    /// Wrong command line, unusable input, missing set-up.
    Usage = 2,
    /// A crash was expected and none came, or the reverse.
    CrashOrNot = 3,
    /// Infrastructure: set-up, QEMU, boot, capture, an unreadable dump. Says nothing about the kernel.
    Inconclusive = 4,
    /// Only with `--git-bisect`: this commit cannot be tested.
    Skip = 125,
    /// Only with `--git-bisect`: an error or an interrupt, of which no commit may be blamed.
    Abort = 128,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table that `recrash --help` ends with.
pub(crate) const HELP: &str = "\
Exit codes:
  0  the expectation was met (same-crash, unless --expect says otherwise)
  1  a crash, but another one than expected
  2  wrong command line, unusable input, or set-up is missing (see recrash setup)
  3  a crash was expected and none came, or the reverse
  4  inconclusive: set-up, QEMU, boot, capture or dump failed; says nothing about the kernel
Of many attempts (run --attempts) or combinations (run with lists) the first of 1, 3, 4 that any of
them ended with, else 0: what one of them proves, others that failed do not take back. What was
interrupted is never 0.
With --git-bisect (run, verify) they are those of git bisect run: 0 good, 1 bad, 125 skip, 128 give up.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        for code in 0..=Exit::Inconclusive as u8 {
            assert!(HELP.contains(&format!("\n  {code}  ")));
        }
    }
}
