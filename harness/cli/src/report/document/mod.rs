//! What any command has to tell, in one form: renderers see a [`Document`] and nothing else. It is written as
//! `report.json` and read back by `recrash report` and by whoever merges parts. Renders nothing and reads no dump.
//!
//! Guest text stands in it as it came: each renderer makes it harmless for its own medium.
mod bound;
mod case;
pub(crate) mod crash;
pub(crate) mod load;
pub(crate) mod merge;
pub(crate) mod section;

pub(crate) use case::{Case, Difference, GoldenRef, Outcome};
pub(crate) use crash::CrashPart;
pub(crate) use section::{Block, Section, Table};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::Fact;
use crate::exit::Exit;

/// Version of the form; a document of another version is refused.
pub(crate) const SCHEMA: u32 = 1;

/// Everything that a command has to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Report", title = "recrash report")]
pub(crate) struct Document {
    /// Version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub(crate) recrash_report: u32,
    /// What kind of result it is.
    pub(crate) kind: Kind,
    /// What it is called: the run's folder, the campaign, the files that were compared.
    pub(crate) name: String,
    /// One line that says what came out.
    pub(crate) headline: String,
    /// The verdict; absent where there is none (a triage).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<String>,
    /// What was expected; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
    /// The exit code of the command that made it.
    pub(crate) exit: u8,
    /// When that began (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) when: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
    /// Version of recrash that made it.
    pub(crate) version: String,
    /// On what and with what: kernel, QEMU, device, command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) environment: Vec<Fact>,
    /// What was put to the test, and how each came out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cases: Vec<Case>,
    /// What else there is to tell, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sections: Vec<Section>,
    /// The crash, where the document is about a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crash: Option<Box<CrashPart>>,
    /// What could not be told, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
    /// The folder that the paths of its cases are relative to; where it lies is no part of it.
    #[serde(skip)]
    pub(crate) base: Option<PathBuf>,
}

/// What kind of result a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// One boot and its verdict.
    Run,
    /// Many attempts at one thing.
    Campaign,
    /// Many combinations.
    Matrix,
    /// Something against a golden, or two things against each other.
    Compare,
    /// Crashes grouped into bugs.
    Triage,
    /// Two sides that differ in one thing.
    Verify,
    /// An ordered list of targets, and where it turns.
    Bisect,
    /// Who freed it.
    Diagnose,
    /// Several documents as one.
    Merged,
}

impl Kind {
    /// The word, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Campaign => "campaign",
            Self::Matrix => "matrix",
            Self::Compare => "compare",
            Self::Triage => "triage",
            Self::Verify => "verify",
            Self::Bisect => "bisect",
            Self::Diagnose => "diagnose",
            Self::Merged => "merged",
        }
    }
}

impl Document {
    /// A document with what each has; the rest is empty.
    pub(crate) fn new(
        kind: Kind,
        name: impl Into<String>,
        headline: impl Into<String>,
        exit: Exit,
    ) -> Self {
        Self {
            recrash_report: SCHEMA,
            kind,
            name: name.into(),
            headline: headline.into(),
            verdict: None,
            expected: None,
            exit: exit as u8,
            when: None,
            took_ms: None,
            version: env!("CARGO_PKG_VERSION").into(),
            environment: Vec::new(),
            cases: Vec::new(),
            sections: Vec::new(),
            crash: None,
            missing: Vec::new(),
            base: None,
        }
    }

    /// How many cases came out in each way.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in &self.cases {
            match case.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Error => counts.errors += 1,
                Outcome::Skipped => counts.skipped += 1,
                Outcome::Unjudged => counts.unjudged += 1,
            }
        }
        counts
    }

    /// Whether its cases want a table: there are several, and no section tells of them.
    pub(crate) fn has_table(&self) -> bool {
        self.cases.len() > 1 && self.kind != Kind::Triage
    }

    /// What the exit code says, in a word or two.
    pub(crate) fn met(&self) -> Met {
        let judged = |case: &Case| matches!(case.outcome, Outcome::Passed | Outcome::Failed);
        let judged = self.expected.is_some() || self.cases.iter().any(judged);
        match (judged, self.exit) {
            (false, 0) => Met::Told,
            (true, 0) => Met::Yes,
            (_, 1 | 3) => Met::No,
            _ => Met::Open,
        }
    }

    /// The same in words. A diagnosis is no expectation's: it comes to a conclusion, or does not.
    pub(crate) fn standing(&self) -> &'static str {
        match (self.met(), self.kind) {
            (Met::Told, Kind::Diagnose) => "concluded",
            (met, _) => met.words(),
        }
    }
}

/// Whether what was expected came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// Nothing can be said.
    Open,
    /// Nothing was expected.
    Told,
}

impl Met {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Yes => "as expected",
            Self::No => "not as expected",
            Self::Open => "inconclusive",
            Self::Told => "no expectation is known",
        }
    }
}

/// How many cases came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// As expected.
    pub(crate) passed: usize,
    /// Not as expected.
    pub(crate) failed: usize,
    /// Nothing can be said.
    pub(crate) errors: usize,
    /// Not run.
    pub(crate) skipped: usize,
    /// It is not known what was expected.
    pub(crate) unjudged: usize,
}

impl Counts {
    /// In words: `3 cases: 2 as expected, 1 not as expected`.
    pub(crate) fn words(self) -> String {
        let Self {
            passed,
            failed,
            errors,
            skipped,
            unjudged,
        } = self;
        let all = passed + failed + errors + skipped + unjudged;
        let cases = if all == 1 { "case" } else { "cases" };
        let parts: Vec<String> = [
            (passed, "as expected"),
            (failed, "not as expected"),
            (errors, "inconclusive"),
            (skipped, "not run"),
            (unjudged, "not judged"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if parts.is_empty() {
            return format!("{all} {cases}");
        }
        format!("{all} {cases}: {}", parts.join(", "))
    }
}

/// A path as a document keeps it: relative to the folder that the document lies in, so that both can be moved together.
/// `None` where there is no way from one to the other.
pub(crate) fn relative(from: &Path, to: &Path) -> Option<String> {
    use std::path::Component;
    let (from, to) = (from.canonicalize().ok()?, to.canonicalize().ok()?);
    let (a, b): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let up = std::iter::repeat_n("..".to_owned(), a.len() - same);
    let down = b.iter().skip(same).map(|part| {
        let text = part.as_os_str().to_str();
        text.map(str::to_owned)
    });
    let parts: Option<Vec<String>> = up.map(Some).chain(down).collect();
    let parts = parts?;
    Some(if parts.is_empty() {
        ".".into()
    } else {
        parts.join("/")
    })
}

/// The JSON Schema of a document as text, ending in a newline.
///
/// # Errors
/// Never in practice: it is made of strings and small numbers.
pub(crate) fn schema() -> serde_json::Result<String> {
    let schema = schemars::schema_for!(Document);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

#[cfg(test)]
mod tests;
