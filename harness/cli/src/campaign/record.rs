//! One attempt as a campaign keeps it, and the line that is printed and stored of it. Judges nothing: the exit code is
//! the run's own.
use recrash_machine::run::FailureKind;
use recrash_signature::compare::Verdict;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;
use crate::expect::{self, Expect};
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

    /// Reads back what [`Record::line`] gave.
    ///
    /// # Errors
    /// It is no attempt's, or its exit code is not what its verdict gives under this expectation.
    pub(crate) fn from_line(line: &Value, expect: Expect) -> Result<Self, String> {
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let number = |key: &str| line.get(key).and_then(Value::as_u64);
        let attempt = number("attempt").and_then(|number| u32::try_from(number).ok());
        let verdict = expect::verdict(text("verdict").unwrap_or_default())?;
        let exact = line.get("exact").and_then(Value::as_bool) == Some(true);
        let exit = expect::of_verdict(expect, verdict, exact);
        if number("exit") != Some(exit as u64) {
            let word = expect.name();
            let found = number("exit").map_or("none".to_owned(), |exit| exit.to_string());
            return Err(format!(
                "its exit code is {found}, and {verdict} under {word} gives {}",
                exit as u8
            ));
        }
        let failure = line.get("failure").filter(|kind| !kind.is_null());
        let failure = failure.map(|kind| serde_json::from_value(kind.clone()));
        Ok(Self {
            number: attempt.ok_or("it has no number of an attempt")?,
            verdict,
            exit,
            why: text("why").unwrap_or_default().to_owned(),
            failure: failure.transpose().map_err(|error| error.to_string())?,
            took: Duration::from_millis(number("took_ms").unwrap_or(0)),
            run: text("run").map(PathBuf::from),
            case: None,
            result: line.clone(),
        })
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
