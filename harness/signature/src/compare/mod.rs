//! Compares a signature with a golden: verdict, differences with and without a rule, coverage.
//!
//! Pure. The facts are walked in `walk`, what the bytes are is weighed in `decoded`, the place is in
//! `place`, the rules that explain differences are a table in `rules`.
//!
//! Each fact belongs to a [`Part`]. Identity differs → `different`; identity unknown or unproven, in
//! either of the two → `inconclusive`; place differs or is unknown, or anything is unexplained → at most `same-bug`;
//! context is shown and never counts.

pub(crate) mod basis;
pub(crate) mod decoded;
pub mod exact;
pub(crate) mod place;
mod rules;
pub(crate) mod walk;

use crate::Signature;
use serde::Serialize;
use std::fmt;

pub use exact::Exactness;
pub use rules::{RULES, Rule};

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Same corruption, same place, every difference explained.
    SameCrash,
    /// Same corruption; another place, or a difference that no rule explains.
    SameBug,
    /// Another corruption or another class of fault.
    Different,
    /// Nothing crashed.
    NoCrash,
    /// Not enough was seen to say; never counted as any of the others.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameCrash => "same-crash",
            Self::SameBug => "same-bug",
            Self::Different => "different",
            Self::NoCrash => "no-crash",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// What a fact means to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Which bug it is.
    Identity,
    /// Where it struck.
    Place,
    /// Everything else that counts.
    Detail,
    /// Shown, never counted.
    Context,
}

/// One fact that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `group.key`, as in the TOML.
    pub field: String,
    /// What the fact means to the verdict.
    pub part: Part,
    /// The golden's value.
    pub golden: String,
    /// The candidate's value.
    pub found: String,
    /// The rule that explains it.
    pub rule: Option<&'static str>,
    /// That rule's reason, or why the difference counts.
    pub reason: String,
}

/// A fact that one of the two does not have or does not prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// `group.key`, as in the TOML.
    pub field: String,
    /// What the fact would mean to the verdict.
    pub part: Part,
    /// Why it is absent, or what is missing to prove it.
    pub reason: String,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The verdict.
    pub verdict: Verdict,
    /// Why that verdict, in one line.
    pub why: String,
    /// Differences that a rule accounts for; not counted.
    pub explained: Vec<Difference>,
    /// Differences that no rule accounts for.
    pub unexplained: Vec<Difference>,
    /// Facts that the golden does not have, or does not prove: not compared.
    pub uncovered: Vec<Gap>,
    /// Facts that the golden has, and the candidate does not have or does not prove.
    pub unknown: Vec<Gap>,
    /// Circumstances that differ: shown, never counted.
    pub context: Vec<Difference>,
}

impl Comparison {
    /// The run ended without a crash.
    pub fn no_crash(why: impl Into<String>) -> Self {
        Self::verdict_only(Verdict::NoCrash, why.into())
    }

    /// The run or the dump cannot say.
    pub fn inconclusive(why: impl Into<String>) -> Self {
        Self::verdict_only(Verdict::Inconclusive, why.into())
    }

    fn verdict_only(verdict: Verdict, why: String) -> Self {
        Self {
            verdict,
            why,
            explained: Vec::new(),
            unexplained: Vec::new(),
            uncovered: Vec::new(),
            unknown: Vec::new(),
            context: Vec::new(),
        }
    }
}

/// Compares `found` with `golden`.
pub fn compare(golden: &Signature, found: &Signature) -> Comparison {
    let mut comparison = walk::differences(golden, found);
    let (verdict, why) = conclude(&comparison);
    comparison.verdict = verdict;
    comparison.why = why;
    comparison
}

fn conclude(comparison: &Comparison) -> (Verdict, String) {
    let differs = |part| comparison.unexplained.iter().find(|d| d.part == part);
    let unknown = |part| comparison.unknown.iter().find(|gap| gap.part == part);
    let uncovered = |part| comparison.uncovered.iter().find(|gap| gap.part == part);
    if let Some(d) = differs(Part::Identity) {
        return (
            Verdict::Different,
            format!("{} differs: {}", d.field, d.reason),
        );
    }
    if let Some(gap) = unknown(Part::Identity) {
        let why = format!(
            "{} is not known in the candidate: {}",
            gap.field, gap.reason
        );
        return (Verdict::Inconclusive, why);
    }
    // What a golden does not say, no candidate can be the same as.
    if let Some(gap) = uncovered(Part::Identity) {
        let why = format!("{} is not known in the golden: {}", gap.field, gap.reason);
        return (Verdict::Inconclusive, why);
    }
    let same_bug = |why: String| (Verdict::SameBug, format!("same corruption; {why}"));
    if let Some(d) = differs(Part::Place) {
        return same_bug(format!("another place: {} differs", d.field));
    }
    if let Some(gap) = unknown(Part::Place) {
        return same_bug(format!("{} is not known in the candidate", gap.field));
    }
    if let Some(gap) = uncovered(Part::Place) {
        return same_bug(format!("{} is not covered by the golden", gap.field));
    }
    if let Some(d) = comparison.unexplained.first() {
        return same_bug(format!("no rule explains the difference in {}", d.field));
    }
    let explained = comparison.explained.len();
    (
        Verdict::SameCrash,
        format!("same corruption, same place; differences explained: {explained}"),
    )
}

#[cfg(test)]
mod tests;
