//! The time line of a run, from what its folder keeps: `events.jsonl`, the manifest's stages, and the console's time
//! stamps. Puts the guest's clock beside the host's; what the marks mean is in [`marks`]. Draws nothing.
mod clocks;
mod marks;

use recrash_machine::run::events::{Record, Said};
use recrash_machine::run::folder::EVENTS;
use recrash_machine::run::{HostEvent, Manifest};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::document::crash::{Clock, Lane, Mark, StageSpan, Timeline};
use clocks::Clocks;
pub(crate) use marks::FAULT;

/// Most bytes of `events.jsonl` that are read: the harness keeps 100,000 records of the guest.
const MAX_BYTES: u64 = 256 << 20;
/// Longest line; a device's answer of 512 bytes is far shorter.
const MAX_LINE: u64 = 64 << 10;
/// Most marks that are kept.
const MAX_MARKS: usize = 300;

/// The time line of the run in this folder.
///
/// # Errors
/// Why there is none.
pub(crate) fn of_run(folder: &Path, manifest: Option<&Manifest>) -> Result<Timeline, String> {
    let path = folder.join(EVENTS);
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(&path).map_err(io)?;
    let mut reader = BufReader::new(file.take(MAX_BYTES));
    let mut records = Vec::new();
    let mut unread = 0usize;
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(io)?;
        if count == 0 {
            break;
        }
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) => records.push(record),
            Err(_) => unread += 1,
        }
    }
    if records.is_empty() {
        return Err(format!("{}: no event in it can be read", path.display()));
    }
    let clocks = Clocks::of(&records, folder);
    let mut timeline = of_records(&records, manifest, &clocks);
    if unread > 0 {
        let lines = if unread == 1 { "line" } else { "lines" };
        timeline
            .missing
            .push(format!("{unread} {lines} of {EVENTS} cannot be read"));
    }
    Ok(timeline)
}

fn of_records(records: &[Record], manifest: Option<&Manifest>, clocks: &Clocks) -> Timeline {
    let mut marks: Vec<Mark> = marks::marks(records, clocks);
    // What the host learned at one time keeps its order.
    marks.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    let stages = match manifest {
        Some(manifest) if !manifest.stages.is_empty() => {
            let stages = manifest.stages.iter();
            let span = stages.map(|time| StageSpan {
                name: time.stage.to_string(),
                from_ms: ms(time.from_ms),
                took_ms: ms(time.took_ms),
            });
            span.collect()
        }
        _ => stages_of(records),
    };
    let last = records.iter().map(|record| record.at_ms).max().unwrap_or(0);
    let total = manifest.map_or(last, |manifest| manifest.total_ms.max(last));
    let closer = closer(&marks);
    let mut timeline = Timeline {
        stages,
        marks,
        total_ms: ms(total),
        closer,
        missing: Vec::new(),
    };
    name_missing(&mut timeline, clocks);
    bound(&mut timeline);
    timeline
}

/// The stages as the events tell them, where no manifest does: the harness was killed.
fn stages_of(records: &[Record]) -> Vec<StageSpan> {
    let ended = records.iter().filter_map(|record| match &record.said {
        Said::Host(HostEvent::StageEnded { stage, took_ms }) => Some(StageSpan {
            name: stage.to_string(),
            from_ms: ms(record.at_ms.saturating_sub(*took_ms)),
            took_ms: ms(*took_ms),
        }),
        _ => None,
    });
    ended.collect()
}

/// From the last request that reached the device before the fault, or from the first thing that the fault did, to the
/// death; without one, to the last thing that the fault did.
fn closer(marks: &[Mark]) -> Option<(f64, f64)> {
    let death = marks.iter().position(|mark| mark.label == marks::FAULT);
    let acts = |mark: &&Mark| {
        let fault = mark.lane == Lane::Fault && mark.label != marks::ARMED;
        fault || mark.label.starts_with(marks::COMPLETES)
    };
    let end = match death {
        Some(death) => death,
        None => marks.iter().rposition(|mark| acts(&mark))?,
    };
    let before = marks.get(..end)?;
    let first = before.iter().position(|mark| acts(&mark)).unwrap_or(end);
    let asked = |mark: &Mark| mark.lane == Lane::Device && mark.label == marks::ASKED;
    let begin = before
        .get(..first)?
        .iter()
        .rposition(asked)
        .unwrap_or(first);
    let (begin, end) = (marks.get(begin)?.at_ms, marks.get(end)?.at_ms);
    let margin = ((end - begin) * 0.06).max(0.2);
    Some(((begin - margin).max(0.0), end + margin))
}

/// What one looks for on it and does not find.
fn name_missing(timeline: &mut Timeline, clocks: &Clocks) {
    let has = |label: &str| timeline.marks.iter().any(|mark| mark.label.contains(label));
    let mut missing = Vec::new();
    if has(marks::FAULT) && !has("freed") {
        missing.push(
            "free: no event of this run tells when the buffer was freed; it was between the URB's completion and the \
             late write"
                .to_owned(),
        );
    }
    if let Some(why) = &clocks.unknown {
        missing.push(format!("the guest's own clock: {why}"));
    }
    timeline.missing.extend(missing);
}

/// Leaves out marks where there are too many: those that say least go first, and of those that say the same amount as many
/// in the beginning as in the end.
pub(super) fn bound(timeline: &mut Timeline) {
    let excess = timeline.marks.len().saturating_sub(MAX_MARKS);
    if excess == 0 {
        return;
    }
    let mut ranks: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (at, rank) in (0..).zip(ranks_of(timeline)) {
        ranks.entry(rank).or_default().push(at);
    }
    let mut left = excess;
    let mut goes = HashSet::new();
    for of_rank in ranks.values() {
        let (all, some) = (of_rank.len(), left.min(of_rank.len()));
        left -= some;
        // So many of them, evenly: wherever the share that is due reaches another whole one.
        let evenly = (0_usize..)
            .zip(of_rank)
            .filter(|(n, _)| (n + 1) * some / all > n * some / all);
        goes.extend(evenly.map(|(_, at)| *at));
    }
    let mut at = 0;
    timeline.marks.retain(|_| {
        at += 1;
        !goes.contains(&(at - 1))
    });
    timeline.missing.push(format!(
        "{excess} of its events: no more than {MAX_MARKS} are shown"
    ));
}

/// How much each mark says, in their order.
fn ranks_of(timeline: &Timeline) -> Vec<u8> {
    let (from, to) = timeline.closer.unwrap_or((0.0, 0.0));
    let death = timeline.marks.iter().position(|mark| mark.label == FAULT);
    let rank = |(at, mark): (usize, &Mark)| {
        let after = death.is_some_and(|death| at > death);
        let near = mark.at_ms >= from && mark.at_ms <= to;
        match mark.lane {
            // The death, and that it was captured.
            _ if death == Some(at) => 6,
            Lane::Harness if after => 6,
            Lane::Fault => 5,
            Lane::Device if near => 2,
            Lane::Device if after => 1,
            Lane::Device => 0,
            _ if near || after => 4,
            _ => 1,
        }
    };
    timeline.marks.iter().enumerate().map(rank).collect()
}

/// A mark of something at this time.
fn mark(at: At, lane: Lane, label: impl Into<String>, detail: impl Into<String>) -> Mark {
    Mark {
        at_ms: at.ms,
        clock: at.clock,
        lane,
        label: label.into(),
        detail: detail.into(),
    }
}

/// A time, and by whose clock.
#[derive(Debug, Clone, Copy)]
struct At {
    ms: f64,
    clock: Clock,
}

#[expect(clippy::cast_precision_loss, reason = "runs take minutes")]
fn ms(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
