//! One run of a matrix: what it is, what it is expected to give, and what became of it. Runs nothing.
use recrash_signature::compare::{Comparison, Verdict};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;
use crate::expect::{self, Expect};
use crate::report::document::Case;

/// What makes a run of a matrix different from the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Key {
    pub(super) target: String,
    pub(super) controller: String,
    pub(super) speed: String,
    pub(super) fault: String,
    pub(super) capture: String,
    pub(super) device: String,
    pub(super) scenario: String,
}

impl fmt::Display for Key {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} {}, {}, {}",
            self.target, self.controller, self.speed, self.fault, self.capture
        )
    }
}

/// A run of a matrix.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) key: Key,
    pub(super) state: State,
}

/// What is known of it.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The parts do not go together; why.
    Impossible(String),
    /// It has not been run (yet, or because the matrix was stopped).
    Waiting(Wanted),
    /// It has.
    Done(Wanted, Got),
}

/// What is expected of it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) expect: Expect,
    pub(super) reason: String,
}

/// What it gave.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) verdict: Verdict,
    /// What a single run would end with.
    pub(super) exit: Exit,
    pub(super) why: String,
    /// Differences that a rule explains.
    pub(super) explained: usize,
    /// Fields that differ without a rule.
    pub(super) unexplained: Vec<String>,
    pub(super) took: Duration,
    pub(super) run: Option<PathBuf>,
    /// The same for a report; absent where it was not made.
    pub(super) case: Option<Box<Case>>,
}

impl Got {
    /// From a run's comparison, under what was expected of it.
    pub(super) fn new(
        expect: Expect,
        comparison: &Comparison,
        took: Duration,
        run: Option<PathBuf>,
    ) -> Self {
        Self {
            verdict: comparison.verdict,
            exit: expect::decide(expect, comparison),
            why: comparison.why.clone(),
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
    pub(super) fn exit(&self) -> Option<Exit> {
        match &self.state {
            State::Impossible(_) => None,
            State::Waiting(_) => Some(Exit::Inconclusive),
            State::Done(_, got) => Some(got.exit),
        }
    }
}

/// The exit code of a whole matrix: the first of 1, 3, 4 that any of its runs has. What one proves, others that failed
/// do not take back.
pub(super) fn worst(cells: &[Cell]) -> Exit {
    let exits: Vec<Exit> = cells.iter().filter_map(Cell::exit).collect();
    [Exit::Differs, Exit::CrashOrNot, Exit::Inconclusive]
        .into_iter()
        .find(|exit| exits.contains(exit))
        .unwrap_or(Exit::Met)
}

/// How many runs came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Counts {
    pub(super) cells: usize,
    pub(super) as_expected: usize,
    pub(super) unexpected: usize,
    pub(super) not_run: usize,
    pub(super) impossible: usize,
}

impl Counts {
    pub(super) fn of(cells: &[Cell]) -> Self {
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
pub(super) struct Line<'a> {
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
    explained: usize,
    unexplained: &'a [String],
    took_ms: u64,
    run: Option<&'a PathBuf>,
}

impl Cell {
    /// As `--json` prints it; `waiting` says in which word one that has not been run is.
    pub(super) fn line(&self, waiting: &'static str) -> Line<'_> {
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
