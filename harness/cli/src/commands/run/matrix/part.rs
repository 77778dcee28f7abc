//! A part of a matrix: which combinations are its own, and what it says of itself. Runs nothing.
use recrash_machine::setup::Provisioned;
use std::collections::BTreeMap;
use std::time::Instant;

use super::super::Args;
use super::super::share::{self, Share};
use super::Prepared;
use super::cell::{Cell, State};
use super::table::Waiting;
use crate::failure::Failure;
use crate::partition::Partition;
use crate::parts::{self, Matrix, Part, Planned, RunResult, Runs, Whole};

/// The whole that these combinations are, and the part that is wanted of it. What is impossible by the files alone is
/// dealt out to nobody; what only a kernel that is set up can tell, its part finds out.
pub(super) fn share(args: &Args, partition: Partition, all: &[Prepared]) -> Result<Share, Failure> {
    let plans = all.iter().filter_map(|one| one.ready.as_ref());
    let inputs = share::inputs(
        plans.map(|ready| (&ready.plan, &ready.golden)),
        &args.options(),
    )?;
    let cells = all.iter().map(|one| {
        let (expected, reason) = match &one.cell.state {
            State::Impossible(why) => (None, why.clone()),
            State::Waiting(wanted) | State::Done(wanted, _) => {
                (Some(wanted.expect.name().to_owned()), wanted.reason.clone())
            }
        };
        Planned {
            key: one.cell.key.clone(),
            golden: one.golden.clone(),
            expected,
            reason,
        }
    });
    let cells = cells.collect();
    Ok(Share {
        partition,
        whole: Whole::new(inputs, Runs::Matrix(Matrix { cells })),
    })
}

/// Leaves only the part's own combinations.
pub(super) fn keep(share: &Share, all: &mut Vec<Prepared>) {
    let numbers = share.numbers();
    all.retain(|one| numbers.binary_search(&one.number).is_ok());
}

/// What the part says of itself; `began` is when it did, `numbers` are the cells'.
pub(super) fn of(
    share: &Share,
    began: (jiff::Timestamp, Instant),
    numbers: &[u32],
    cells: &[Cell],
    provisioned: &BTreeMap<String, Provisioned>,
) -> Part {
    let (when, begin) = began;
    let results: Vec<RunResult> = numbers
        .iter()
        .zip(cells)
        .filter(|(_, cell)| !matches!(cell.state, State::Waiting(_)))
        .map(|(run, cell)| RunResult {
            run: *run,
            line: serde_json::to_value(cell.line(Waiting::NotRun.name())).unwrap_or_default(),
            case: match &cell.state {
                State::Done(_, got) => got.case.clone(),
                State::Impossible(_) | State::Waiting(_) => None,
            },
        })
        .collect();
    let kernels = provisioned
        .iter()
        .map(|(target, provisioned)| (target.clone(), share::kernel(provisioned)));
    Part {
        recrash_part: parts::SCHEMA,
        id: share.whole.id(),
        whole: share.whole.clone(),
        partition: share.partition,
        started: when.to_string(),
        complete: results.len() == numbers.len(),
        jobs: 1,
        wall_ms: crate::campaign::record::millis(begin.elapsed()),
        notes: Vec::new(),
        kernels: kernels.collect(),
        results,
    }
}
