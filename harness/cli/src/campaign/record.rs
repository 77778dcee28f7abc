//! One attempt as a campaign keeps it, and the line that is printed and stored of it. Judges nothing: the exit code is
//! the run's own.
use recrash_machine::run::FailureKind;
use recrash_signature::compare::Verdict;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;
use crate::report::document::Case;

/// What one attempt came to.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Its verdict.
    pub(crate) verdict: Verdict,
    /// The exit code that this run alone would have.
    pub(crate) exit: Exit,
    /// Why that verdict, in one line.
    pub(crate) why: String,
    /// What kind of failure, if it broke off.
    pub(crate) failure: Option<FailureKind>,
    /// From its start to its verdict.
    pub(crate) took: Duration,
    /// Its folder.
    pub(crate) run: Option<PathBuf>,
    /// The same for a report; absent where it was not made.
    pub(crate) case: Option<Box<Case>>,
    /// The whole result, as `recrash run --json` prints it.
    pub(crate) result: Value,
}

impl Record {
    /// Whether somebody stopped it: then it says nothing, not even about the infrastructure.
    pub(crate) fn was_stopped(&self) -> bool {
        self.failure == Some(FailureKind::Stopped)
    }

    /// The object that `--json` prints of it and `attempts.jsonl` keeps.
    pub(crate) fn line(&self) -> Value {
        let mut line = self.result.clone();
        if let Value::Object(line) = &mut line {
            line.insert("type".into(), json!("attempt"));
            line.insert("attempt".into(), json!(self.number));
            line.insert("took_ms".into(), json!(millis(self.took)));
        }
        line
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
