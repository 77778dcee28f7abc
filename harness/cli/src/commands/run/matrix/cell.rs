//! One run of a matrix: what it is, what it is expected to give, and what became of it. Runs nothing.
use recrash_signature::compare::{Comparison, Exactness, Verdict};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

pub(in crate::commands) use crate::combination::Key;
use crate::exit::Exit;
use crate::expect::{self, Expect};
use crate::parts::Planned;
use crate::report::document::Case;

/// A run of a matrix.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Cell {
    pub(in crate::commands) key: Key,
    pub(in crate::commands) state: State,
}

/// What is known of it.
#[derive(Debug, Clone)]
pub(in crate::commands) enum State {
    /// The parts do not go together; why.
    Impossible(String),
    /// It has not been run (yet, or because the matrix was stopped).
    Waiting(Wanted),
    /// It has.
    Done(Wanted, Got),
}

/// What is expected of it.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Wanted {
    pub(in crate::commands) expect: Expect,
    pub(in crate::commands) reason: String,
}

/// What it gave.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Got {
    pub(in crate::commands) verdict: Verdict,
    /// What a single run would end with.
    pub(in crate::commands) exit: Exit,
    pub(in crate::commands) why: String,
    /// The same crash with the golden's value.
    pub(in crate::commands) exact: bool,
    /// Differences that a rule explains.
    pub(in crate::commands) explained: usize,
    /// Fields that differ without a rule.
    pub(in crate::commands) unexplained: Vec<String>,
    pub(in crate::commands) took: Duration,
    pub(in crate::commands) run: Option<PathBuf>,
    /// The same for a report; absent where it was not made.
    pub(in crate::commands) case: Option<Box<Case>>,
}

impl Got {
    /// From a run's comparison, under what was expected of it.
    pub(in crate::commands) fn new(
        expect: Expect,
        comparison: &Comparison,
        took: Duration,
        run: Option<PathBuf>,
    ) -> Self {
        Self {
            verdict: comparison.verdict,
            exit: expect::decide(expect, comparison),
            why: comparison.why.clone(),
            exact: comparison.exactness() == Exactness::Exact,
            explained: comparison.explained.len(),
            unexplained: comparison
                .unexplained
                .iter()
                .map(|one| one.field.clone())
                .collect(),
            took,
            run,
            case: None,
        }
    }
}

impl Cell {
    /// What the run means for the exit code: as for a single run; one that was not run says nothing. `None`: nothing,
    /// because it is impossible.
    pub(in crate::commands) fn exit(&self) -> Option<Exit> {
        match &self.state {
            State::Impossible(_) => None,
            State::Waiting(_) => Some(Exit::Inconclusive),
            State::Done(_, got) => Some(got.exit),
        }
    }
}

/// The exit code of a whole matrix: the first of 1, 3, 4 that any of its runs has. What one proves, others that failed
/// do not take back.
pub(in crate::commands) fn worst(cells: &[Cell]) -> Exit {
    let exits: Vec<Exit> = cells.iter().filter_map(Cell::exit).collect();
    [Exit::Differs, Exit::CrashOrNot, Exit::Inconclusive]
        .into_iter()
        .find(|exit| exits.contains(exit))
        .unwrap_or(Exit::Met)
}

/// How many runs came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(in crate::commands) struct Counts {
    pub(in crate::commands) cells: usize,
    pub(in crate::commands) as_expected: usize,
    pub(in crate::commands) unexpected: usize,
    pub(in crate::commands) not_run: usize,
    pub(in crate::commands) impossible: usize,
}

impl Counts {
    pub(in crate::commands) fn of(cells: &[Cell]) -> Self {
        let mut counts = Self {
            cells: cells.len(),
            ..Self::default()
        };
        for cell in cells {
            match (&cell.state, cell.exit()) {
                (State::Impossible(_), _) => counts.impossible += 1,
                (State::Waiting(_), _) => counts.not_run += 1,
                (State::Done(..), Some(Exit::Met)) => counts.as_expected += 1,
                (State::Done(..), _) => counts.unexpected += 1,
            }
        }
        counts
    }
}

/// A cell as `--json` prints it.
#[derive(Serialize)]
#[serde(tag = "type", rename = "cell")]
pub(in crate::commands) struct Line<'a> {
    #[serde(flatten)]
    key: &'a Key,
    /// `impossible`, `planned`, `not-run` or `done`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'static str>,
    /// Why that is expected; of an impossible one, why it is.
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
    #[serde(flatten)]
    got: Option<GotLine<'a>>,
}

#[derive(Serialize)]
struct GotLine<'a> {
    verdict: Verdict,
    why: &'a str,
    exact: bool,
    explained: usize,
    unexplained: &'a [String],
    took_ms: u64,
    run: Option<&'a PathBuf>,
}

impl Cell {
    /// As `--json` prints it; `waiting` says in which word one that has not been run is.
    pub(in crate::commands) fn line(&self, waiting: &'static str) -> Line<'_> {
        match &self.state {
            State::Impossible(why) => self.line_of("impossible", None, why, None),
            State::Waiting(wanted) => {
                self.line_of(waiting, Some(wanted.expect), &wanted.reason, None)
            }
            State::Done(wanted, got) => {
                self.line_of("done", Some(wanted.expect), &wanted.reason, Some(got))
            }
        }
    }

    fn line_of<'a>(
        &'a self,
        state: &'static str,
        expect: Option<Expect>,
        reason: &'a str,
        got: Option<&'a Got>,
    ) -> Line<'a> {
        let got_line = |got: &'a Got| GotLine {
            verdict: got.verdict,
            why: &got.why,
            exact: got.exact,
            explained: got.explained,
            unexplained: &got.unexplained,
            took_ms: u64::try_from(got.took.as_millis()).unwrap_or(u64::MAX),
            run: got.run.as_ref(),
        };
        Line {
            key: &self.key,
            state,
            expected: expect.map(Expect::name),
            reason,
            exit: got.and_then(|_| self.exit()).map(|exit| exit as u8),
            got: got.map(got_line),
        }
    }
}

impl Cell {
    /// The cell that a part planned, not run yet.
    ///
    /// # Errors
    /// An expectation that there is not.
    pub(in crate::commands) fn planned(plan: &Planned) -> Result<Self, String> {
        let state = match &plan.expected {
            None => State::Impossible(plan.reason.clone()),
            Some(word) => State::Waiting(Wanted {
                expect: Expect::from_word(word)?,
                reason: plan.reason.clone(),
            }),
        };
        Ok(Self {
            key: plan.key.clone(),
            state,
        })
    }

    /// Takes what [`Cell::line`] wrote of this cell.
    ///
    /// # Errors
    /// It is of another cell, or its exit code is not what its verdict gives.
    pub(in crate::commands) fn take(&mut self, line: &Value) -> Result<(), String> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let State::Waiting(wanted) = &self.state else {
            return Err("it was not to be run".into());
        };
        match text("state") {
            "impossible" => {
                self.state = State::Impossible(text("reason").to_owned());
                return Ok(());
            }
            "not-run" => return Ok(()),
            "done" => {}
            other => return Err(format!("{other:?} is no state of a run")),
        }
        let number = |key: &str| line.get(key).and_then(Value::as_u64);
        let verdict = expect::verdict(text("verdict"))?;
        let exact = line.get("exact").and_then(Value::as_bool) == Some(true);
        let exit = expect::of_verdict(wanted.expect, verdict, exact);
        if number("exit") != Some(exit as u64) {
            return Err(format!(
                "{verdict} under {} is no exit code {:?}",
                wanted.expect.name(),
                number("exit")
            ));
        }
        let fields = line.get("unexplained").and_then(Value::as_array);
        let fields = fields.into_iter().flatten().filter_map(Value::as_str);
        let got = Got {
            verdict,
            exit,
            why: text("why").to_owned(),
            exact,
            explained: number("explained")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(0),
            unexplained: fields.map(str::to_owned).collect(),
            took: Duration::from_millis(number("took_ms").unwrap_or(0)),
            run: line.get("run").and_then(Value::as_str).map(PathBuf::from),
            case: None,
        };
        self.state = State::Done(wanted.clone(), got);
        Ok(())
    }
}
