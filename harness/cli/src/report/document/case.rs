//! One thing that was put to the test, and how it came out: the row of a table, the test case of a JUnit file, the
//! result of a SARIF file. Judges nothing.
use recrash_signature::compare::{self, Comparison, Part};
use recrash_signature::store::Golden;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::super::Fact;
use crate::exit::Exit;
use crate::golden;

/// One thing that was put to the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Case {
    /// What it is called; unique within its group.
    pub(crate) name: String,
    /// What it belongs to: a target, a side, a part; a JUnit suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// How it came out.
    pub(crate) outcome: Outcome,
    /// The verdict; absent where it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<String>,
    /// What was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
    /// Why that verdict, or why it was not run, in one line.
    pub(crate) why: String,
    /// The crash's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// The line for the corruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bug: Option<String>,
    /// From its start to its verdict, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
    /// What it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) golden: Option<GoldenRef>,
    /// Differences that no rule accounts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unexplained: Vec<Difference>,
    /// Differences that a rule accounts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) explained: Vec<Difference>,
    /// Circumstances that differ: shown, never counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) context: Vec<Difference>,
    /// Facts that the golden has and the candidate has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown: Vec<Gap>,
    /// Facts that the golden does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) uncovered: Vec<Gap>,
    /// The folder with all that is kept of it, relative to the folder of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<String>,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<Fact>,
}

/// How a case came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Nothing can be said: set-up, boot, capture or the dump failed.
    Error,
    /// It was not run.
    Skipped,
    /// What was expected of it is not known.
    Unjudged,
}

impl Outcome {
    /// What an exit code says of a single case.
    pub(crate) fn of(exit: Exit) -> Self {
        match exit {
            Exit::Met => Self::Passed,
            Exit::Differs | Exit::CrashOrNot => Self::Failed,
            Exit::Usage | Exit::Inconclusive | Exit::Skip | Exit::Abort => Self::Error,
        }
    }

    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Passed => "as expected",
            Self::Failed => "not as expected",
            Self::Error => "inconclusive",
            Self::Skipped => "not run",
            Self::Unjudged => "not judged",
        }
    }
}

/// A golden, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GoldenRef {
    /// `case/name`, or what was taken as the golden.
    pub(crate) name: String,
    /// Its file, relative to the checkout; absent where it lies elsewhere or is none of a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
}

impl GoldenRef {
    /// Of a golden of the store.
    pub(crate) fn of(golden: &Golden) -> Self {
        let checkout = crate::commands::checkout().ok();
        Self {
            name: golden::name(golden),
            file: checkout.and_then(|root| below(&root, &golden.path)),
        }
    }

    /// Of something else that was taken as the golden.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            file: None,
        }
    }
}

/// The way from a folder down to a file in it.
fn below(root: &Path, file: &Path) -> Option<String> {
    let (root, file) = (root.canonicalize().ok()?, file.canonicalize().ok()?);
    Some(file.strip_prefix(root).ok()?.to_str()?.to_owned())
}

/// A fact that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Difference {
    /// `group.key`, as in the signature.
    pub(crate) field: String,
    /// What it means to the verdict: `identity`, `place`, `detail`, `context`.
    pub(crate) part: String,
    /// The golden's value.
    pub(crate) golden: String,
    /// The candidate's value.
    pub(crate) found: String,
    /// The rule that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// That rule's reason, or why the difference counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}

/// A fact that one of the two does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Gap {
    /// `group.key`, as in the signature.
    pub(crate) field: String,
    /// What it would mean to the verdict.
    pub(crate) part: String,
    /// Why it is absent.
    pub(crate) reason: String,
}

fn part(part: Part) -> String {
    match part {
        Part::Identity => "identity",
        Part::Place => "place",
        Part::Detail => "detail",
        Part::Context => "context",
    }
    .into()
}

impl From<&compare::Difference> for Difference {
    fn from(from: &compare::Difference) -> Self {
        Self {
            field: from.field.clone(),
            part: part(from.part),
            golden: from.golden.clone(),
            found: from.found.clone(),
            rule: from.rule.map(str::to_owned),
            reason: from.reason.clone(),
        }
    }
}

impl From<&compare::Gap> for Gap {
    fn from(from: &compare::Gap) -> Self {
        Self {
            field: from.field.clone(),
            part: part(from.part),
            reason: from.reason.clone(),
        }
    }
}

impl Case {
    /// A case of which only this is known.
    pub(crate) fn new(name: impl Into<String>, outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group: None,
            outcome,
            verdict: None,
            expected: None,
            why: why.into(),
            title: None,
            bug: None,
            took_ms: None,
            golden: None,
            unexplained: Vec::new(),
            explained: Vec::new(),
            context: Vec::new(),
            unknown: Vec::new(),
            uncovered: Vec::new(),
            folder: None,
            facts: Vec::new(),
        }
    }

    /// A case that ended in this comparison, under this exit code.
    pub(crate) fn compared(
        name: impl Into<String>,
        exit: Exit,
        comparison: &Comparison,
        golden: GoldenRef,
    ) -> Self {
        let Comparison {
            verdict,
            why,
            explained,
            unexplained,
            uncovered,
            unknown,
            context,
        } = comparison;
        Self {
            verdict: Some(verdict.to_string()),
            golden: Some(golden),
            unexplained: unexplained.iter().map(Into::into).collect(),
            explained: explained.iter().map(Into::into).collect(),
            context: context.iter().map(Into::into).collect(),
            unknown: unknown.iter().map(Into::into).collect(),
            uncovered: uncovered.iter().map(Into::into).collect(),
            ..Self::new(name, Outcome::of(exit), why)
        }
    }

    /// Group and name as one.
    pub(crate) fn full_name(&self) -> String {
        match &self.group {
            Some(group) => format!("{group}: {}", self.name),
            None => self.name.clone(),
        }
    }

    /// One sentence for people who know nothing of the case: what came instead of what.
    pub(crate) fn sentence(&self) -> String {
        let expected = self.expected.as_deref().unwrap_or("another outcome");
        match (&self.verdict, self.outcome) {
            (Some(verdict), Outcome::Failed) => {
                format!("{verdict} instead of {expected}: {}", self.why)
            }
            (Some(verdict), _) => format!("{verdict}: {}", self.why),
            (None, _) => self.why.clone(),
        }
    }
}
