//! `recrash verify` without its runs: what each of them means for the question whether the candidate is fixed
//! ([`sort`]), the test that holds whenever one stops ([`claim`]), and the verdict ([`decide`]). No I/O.
pub(crate) mod claim;
pub(crate) mod decide;
pub(crate) mod sort;
pub(crate) mod summary;
pub(crate) mod text;

#[cfg(test)]
mod simulation;

use serde::Serialize;
use std::fmt;

/// One of the two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    /// What has the bug.
    Baseline,
    /// What may have it no more.
    Candidate,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        })
    }
}

/// What a run means for the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It crashed of the bug.
    Bug,
    /// It crashed otherwise, after all that the bug needs had happened.
    OtherCrash,
    /// It did not crash, although all that the bug needs had happened.
    NoCrash,
    /// The kernel died, and of what is not known: it may be the bug.
    UnreadCrash,
    /// It crashed otherwise, before all that the bug needs had happened: neither the bug nor a survival.
    EarlyCrash,
    /// Nothing: infrastructure failed, or what the bug needs did not happen.
    SaysNothing,
}

impl Outcome {
    /// Whether it counts for the rates and for the claim.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Bug | Self::OtherCrash | Self::NoCrash)
    }
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The baseline has the bug, and the candidate does not show it.
    Fixed,
    /// The candidate has it.
    NotFixed,
    /// The candidate does not show it, but crashes otherwise.
    Changed,
    /// None of these can be said.
    #[value(skip)]
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not-fixed",
            Self::Changed => "changed",
            Self::Inconclusive => "inconclusive",
        })
    }
}
