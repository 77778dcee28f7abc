//! A single crash in a document: its account, its signature beside the golden's, and the time line of the run that made
//! it. The bytes of memory are the account's ([`crate::report::memory`]).
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::CrashReport;

/// A crash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CrashPart {
    /// One line in syzkaller's style; empty without a signature.
    #[serde(default)]
    pub(crate) title: String,
    /// One line for the corruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bug: Option<String>,
    /// Every fact of the signature beside the golden's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sides: Vec<Side>,
    /// What the dump tells, with addresses.
    #[serde(default)]
    pub(crate) account: CrashReport,
    /// What the run saw, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeline: Option<Timeline>,
    /// The guest's console around the kernel's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) console: Option<Console>,
}

/// A line of the table of two signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Side {
    /// `group.key`; empty on the further lines of a fact.
    pub(crate) field: String,
    /// The golden's line; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) golden: Option<String>,
    /// The candidate's line; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<String>,
    /// What the comparison says of it.
    pub(crate) state: SideState,
    /// The rule that explains the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
}

/// What a comparison says of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SideState {
    /// The same.
    Same,
    /// Another, which a rule explains.
    Explained,
    /// Another, which none explains.
    Unexplained,
    /// One of the two does not have it.
    Open,
    /// Another, which does not count.
    Circumstance,
}

impl SideState {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Explained => "explained",
            Self::Unexplained => "differs",
            Self::Open => "not compared",
            Self::Circumstance => "circumstance",
        }
    }
}

/// What a run saw, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Timeline {
    /// The stages of the run, one after another.
    pub(crate) stages: Vec<StageSpan>,
    /// What happened, by time.
    pub(crate) marks: Vec<Mark>,
    /// Milliseconds from the run's start to its end.
    pub(crate) total_ms: f64,
    /// The part worth looking at closely: from and to, in milliseconds since the run's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closer: Option<(f64, f64)>,
    /// What is not on it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StageSpan {
    /// Its name.
    pub(crate) name: String,
    /// Milliseconds since the run's start.
    pub(crate) from_ms: f64,
    /// Milliseconds.
    pub(crate) took_ms: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Mark {
    /// Milliseconds since the run's start.
    pub(crate) at_ms: f64,
    /// By which clock that is known.
    pub(crate) clock: Clock,
    /// Who did it.
    pub(crate) lane: Lane,
    /// What, in a few words.
    pub(crate) label: String,
    /// The rest of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// By which clock a time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Clock {
    /// The host's, when it learned of it.
    Host,
    /// The guest's own, put beside the host's.
    Guest,
}

/// Who did something; a row of the picture.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lane {
    /// The process that plays the scenario.
    Program,
    /// The USB device, and the requests that reach it.
    Device,
    /// repro-module: the fault.
    Fault,
    /// The kernel.
    Kernel,
    /// The harness: capture, end.
    Harness,
}

impl Lane {
    /// All of them, from above to below.
    pub(crate) const ALL: [Self; 5] = [
        Self::Program,
        Self::Device,
        Self::Fault,
        Self::Kernel,
        Self::Harness,
    ];

    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Device => "USB device",
            Self::Fault => "fault module",
            Self::Kernel => "kernel",
            Self::Harness => "recrash",
        }
    }
}

/// The console around the kernel's message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Console {
    /// Number of the first line, from 1.
    pub(crate) from: u64,
    /// The lines.
    pub(crate) lines: Vec<ConsoleLine>,
    /// Lines of the console that are not here.
    pub(crate) left_out: u64,
}

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ConsoleLine {
    /// Its text, without control characters.
    pub(crate) text: String,
    /// It is a part of the kernel's report of the crash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) oops: bool,
}
