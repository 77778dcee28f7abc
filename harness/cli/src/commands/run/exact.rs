//! `--exact` of `recrash run`: the argument, and the expectation that it stands for. Decides nothing
//! ([`crate::expect`] does).
use crate::expect::Expect;

/// The argument.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct ExactArg {
    /// Demand the golden's own value in the corrupted pointer too, bit for bit; short for --expect exact. A crash that
    /// is the same with another value (exit code 1) is what a kernel gives whose layout is another
    #[arg(long, conflicts_with = "expect")]
    exact: bool,
}

impl ExactArg {
    /// What is expected, where `--expect` says `otherwise`.
    pub(crate) fn expect(self, otherwise: Expect) -> Expect {
        if self.exact { Expect::Exact } else { otherwise }
    }
}
