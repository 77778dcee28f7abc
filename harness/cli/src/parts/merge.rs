//! Fits parts together: which belong to one whole, which are missing, which contradict each other. Pure; reads no file and
//! sums nothing up.
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::read::Found;
use super::{Kernel, Part, RunResult, Whole};
use crate::exit::Exit;
use crate::output::printable;
use crate::partition::Scheme;

/// Numbers that a message lists.
const MOST_LISTED: usize = 20;

/// Parts that fit.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    /// What they are parts of.
    pub(crate) whole: Whole,
    /// How it was cut.
    pub(crate) scheme: Scheme,
    /// Into how many.
    pub(crate) of: u32,
    /// Parts of which there is nothing.
    pub(crate) missing: Vec<u32>,
    /// Parts that were stopped, with how many of their runs they have.
    pub(crate) incomplete: Vec<Incomplete>,
    /// What was done with parts that are there more than once, and what differs between parts without counting.
    pub(crate) remarks: Vec<String>,
    /// What the parts note of how their runs were made, each once.
    pub(crate) notes: Vec<String>,
    /// The kernels that were booted, by target.
    pub(crate) kernels: BTreeMap<String, Kernel>,
    /// The runs' results, by number.
    pub(crate) results: BTreeMap<u32, RunResult>,
    /// When the first one began.
    pub(crate) started: String,
    /// The parts' times together, in milliseconds.
    pub(crate) wall_ms: u64,
}

/// A part that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Incomplete {
    /// Which.
    pub(crate) part: u32,
    /// Runs that it has.
    pub(crate) has: usize,
    /// Runs that it should have.
    pub(crate) of: usize,
}

impl Merged {
    /// Whether nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.incomplete.is_empty()
    }
}

/// Fits them together.
///
/// # Errors
/// Why they do not: a line for each part that is foreign or contradicts another.
pub(crate) fn merge(found: Vec<Found>) -> Result<Merged, Vec<String>> {
    let Some(first) = found.first() else {
        return Err(vec!["no parts".into()]);
    };
    // The whole is what most of them say.
    let mut votes: BTreeMap<(&str, Scheme, u32), usize> = BTreeMap::new();
    for one in &found {
        *votes.entry(kin(&one.part)).or_default() += 1;
    }
    let most = votes
        .iter()
        .max_by_key(|(kin, votes)| (**votes, **kin == self::kin(&first.part)));
    let of_whole = most.map_or(kin(&first.part), |(kin, _)| *kin);
    let model = found
        .iter()
        .find(|one| kin(&one.part) == of_whole)
        .unwrap_or(first);
    let foreign: Vec<String> = found
        .iter()
        .filter(|one| kin(&one.part) != of_whole)
        .map(|one| {
            format!(
                "{} is a part of something else than {}: {}",
                one.file.display(),
                model.file.display(),
                difference(&one.part, &model.part)
            )
        })
        .collect();
    if !foreign.is_empty() {
        return Err(foreign);
    }
    let mut wrong = other_kernels(&found);
    let (whole, partition, started) = (
        model.part.whole.clone(),
        model.part.partition,
        found.iter().map(|one| one.part.started.as_str()).min(),
    );
    let mut merged = Merged {
        whole,
        scheme: partition.scheme,
        of: partition.of,
        missing: Vec::new(),
        incomplete: Vec::new(),
        remarks: Vec::new(),
        notes: Vec::new(),
        kernels: BTreeMap::new(),
        results: BTreeMap::new(),
        started: started.unwrap_or_default().to_owned(),
        wall_ms: 0,
    };
    let mut noted = BTreeSet::new();
    let mut by_number: BTreeMap<u32, Vec<&Found>> = BTreeMap::new();
    for one in &found {
        by_number
            .entry(one.part.partition.number)
            .or_default()
            .push(one);
    }
    for number in 1..=partition.of {
        match by_number.get(&number) {
            None => merged.missing.push(number),
            Some(same) => {
                wrong.extend(contradictions(number, same));
                merged.take(number, same, &mut noted);
            }
        }
    }
    if wrong.is_empty() {
        Ok(merged)
    } else {
        Err(wrong)
    }
}

/// What parts of one whole have in common.
fn kin(part: &Part) -> (&str, Scheme, u32) {
    (&part.id, part.partition.scheme, part.partition.of)
}

/// What is not the same in two parts' wholes, for people.
fn difference(part: &Part, model: &Part) -> String {
    if part.id == model.id {
        return format!(
            "it is {}, the other is {}: cut otherwise",
            part.partition, model.partition
        );
    }
    let (a, b) = (&part.whole, &model.whole);
    let mut differs = Vec::new();
    if a.recrash != b.recrash {
        differs.push(format!("recrash {} and {}", a.recrash, b.recrash));
    }
    let names: BTreeSet<&String> = a.inputs.keys().chain(b.inputs.keys()).collect();
    for name in names {
        match (a.inputs.get(name), b.inputs.get(name)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => differs.push(format!("another {name}")),
            (Some(_), None) => differs.push(format!("{name}, which the other has not")),
            (None, _) => differs.push(format!("no {name}")),
        }
    }
    if a.runs != b.runs {
        differs.push(runs_difference(a, b));
    }
    printable(&differs.join(", "))
}

/// The keys at which the runs that were asked for differ.
fn runs_difference(a: &Whole, b: &Whole) -> String {
    let value = |whole: &Whole| serde_json::to_value(&whole.runs).unwrap_or_default();
    let (a, b) = (value(a), value(b));
    let (Value::Object(a), Value::Object(b)) = (&a, &b) else {
        return "other runs".into();
    };
    let differs = |key: &&String| a.get(*key) != b.get(*key);
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let told = keys.into_iter().filter(differs).map(|key| {
        let short = |value: Option<&Value>| match value {
            Some(Value::Array(list)) => format!("{} of them", list.len()),
            Some(value) => value.to_string(),
            None => "none".into(),
        };
        format!("{key} {} and {}", short(a.get(key)), short(b.get(key)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Targets of which parts booted different kernels: their runs are not runs of one thing.
fn other_kernels(found: &[Found]) -> Vec<String> {
    let mut known = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in found {
        for (target, kernel) in &one.part.kernels {
            let (first, file) = known.entry(target).or_insert((kernel, &one.file));
            if *first != kernel {
                let how = if first.release == kernel.release {
                    format!("{} from other packages", kernel.release)
                } else {
                    format!("{} there, {} here", first.release, kernel.release)
                };
                wrong.push(printable(&format!(
                    "{}: target {target} is another kernel than in {}: {how}",
                    one.file.display(),
                    file.display()
                )));
            }
        }
    }
    wrong
}

/// What counts of a run: verdict and exit code. Times and places differ between two runs of one thing.
fn says(result: &RunResult) -> (&str, u64) {
    let verdict = result.line.get("verdict").and_then(Value::as_str);
    let exit = result.line.get("exit").and_then(Value::as_u64);
    (verdict.unwrap_or_default(), exit.unwrap_or_default())
}

/// What failed says nothing, so it contradicts nothing.
fn is_conclusive(result: &RunResult) -> bool {
    says(result).1 != Exit::Inconclusive as u64
}

/// Runs of which two complete files of one part say different things. Which one counts nobody can tell from here; one
/// that was stopped counts for nothing once the part was made again.
fn contradictions(number: u32, same: &[&Found]) -> Vec<String> {
    let mut known: BTreeMap<u32, (&RunResult, &Found)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in same.iter().filter(|one| one.part.complete) {
        for result in one.part.results.iter().filter(|r| is_conclusive(r)) {
            let (first, file) = known.entry(result.run).or_insert((result, one));
            if says(first) != says(result) {
                wrong.push(printable(&format!(
                    "part {number}: run {} is {} in {}, and {} in {}",
                    result.run,
                    says(first).0,
                    file.file.display(),
                    says(result).0,
                    one.file.display()
                )));
            }
        }
    }
    wrong
}

impl Merged {
    /// Takes a part; of several files that do not contradict each other the one that says most, the earlier of two equals.
    fn take<'f>(&mut self, number: u32, same: &[&'f Found], noted: &mut BTreeSet<&'f str>) {
        let says_most = |one: &&'f Found| {
            let part = &one.part;
            let conclusive = part.results.iter().filter(|r| is_conclusive(r)).count();
            (
                part.complete,
                conclusive,
                std::cmp::Reverse(part.started.clone()),
            )
        };
        let Some(chosen) = same.iter().copied().max_by_key(says_most) else {
            return;
        };
        let part = &chosen.part;
        if same.len() > 1 {
            self.remarks.push(format!(
                "part {number} is there {} times ({}); taken: {}",
                same.len(),
                why_several(same),
                printable(&chosen.file.display().to_string())
            ));
        }
        if !part.complete {
            self.incomplete.push(Incomplete {
                part: number,
                has: part.results.len(),
                of: part.whole.of(part.partition).len(),
            });
        }
        for note in &part.notes {
            if noted.insert(note) {
                self.notes.push(note.clone());
            }
        }
        let kernels = part.kernels.iter();
        self.kernels
            .extend(kernels.map(|(target, kernel)| (target.clone(), kernel.clone())));
        self.wall_ms = self.wall_ms.saturating_add(part.wall_ms);
        let results = part.results.iter().map(|one| (one.run, one.clone()));
        self.results.extend(results);
    }

    /// What is missing, in a line; nothing where nothing is.
    pub(crate) fn gaps(&self) -> Option<String> {
        let mut gaps = Vec::new();
        if !self.missing.is_empty() {
            gaps.push(format!(
                "missing: {} of {} parts: {}",
                self.missing.len(),
                self.of,
                list(&self.missing)
            ));
        }
        for one in self.incomplete.iter().take(MOST_LISTED) {
            gaps.push(format!(
                "part {} was stopped: {} of {} {}",
                one.part,
                one.has,
                one.of,
                self.whole.unit()
            ));
        }
        (!gaps.is_empty()).then(|| gaps.join("; "))
    }
}

fn why_several(same: &[&Found]) -> &'static str {
    let complete = same.iter().filter(|one| one.part.complete).count();
    let conclusive = same
        .iter()
        .all(|one| one.part.results.iter().all(is_conclusive));
    match (complete == same.len(), conclusive) {
        (true, true) => "all say the same: a task that was made again",
        (true, false) => "what failed in one was made again",
        (false, _) => "one was stopped and made again",
    }
}

/// `3, 7, 9 to 12`
pub(crate) fn list(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let more = ranges.len().saturating_sub(MOST_LISTED);
    let mut texts: Vec<String> = ranges
        .iter()
        .take(MOST_LISTED)
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        })
        .collect();
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join(", ")
}
