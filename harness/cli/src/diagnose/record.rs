//! A diagnosis as it is kept and printed: which experiments there were, what each gave, what follows. Computes nothing.
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::conclude::Findings;
use super::experiment::Experiment;
use super::seen::{Effect, Seen};
use super::weigh::Made;

/// Version of the form.
pub(crate) const SCHEMA: u32 = 1;

/// All there is to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Diagnosis {
    /// [`SCHEMA`].
    pub(crate) recrash_diagnosis: u32,
    /// When it began (RFC 3339).
    pub(crate) started: String,
    /// The target.
    pub(crate) target: String,
    /// `uname -r`.
    pub(crate) kernel_release: String,
    /// The device.
    pub(crate) device: String,
    /// The scenario.
    pub(crate) scenario: String,
    /// The fault.
    pub(crate) fault: String,
    /// What was added to the command line of every run.
    pub(crate) append: Vec<String>,
    /// The golden that crashes were compared with.
    pub(crate) golden: String,
    /// The experiments, in order.
    pub(crate) experiments: Vec<Entry>,
    /// What the run with SLUB debugging showed.
    pub(crate) seen: Seen,
    /// What follows.
    pub(crate) findings: Findings,
    /// Whether somebody stopped it.
    pub(crate) interrupted: bool,
    /// What it took so far, in milliseconds.
    pub(crate) took_ms: u64,
    /// The exit code.
    pub(crate) exit: u8,
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which.
    pub(crate) experiment: Experiment,
    /// What it adds to the command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) adds: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub(crate) state: State,
}

/// What became of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum State {
    /// This kernel or machine does not offer it.
    NotOffered {
        /// Why.
        reason: String,
    },
    /// It was not asked for (`--only`).
    LeftOut,
    /// It is to be made, or would have been.
    Waiting,
    /// It was made.
    Done {
        /// What it gave.
        #[serde(flatten)]
        effect: Effect,
        /// Its runs.
        runs: Vec<Run>,
    },
}

/// One run of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its folder, if it got so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// What it gave.
    #[serde(flatten)]
    pub(crate) effect: Effect,
    /// In milliseconds.
    pub(crate) took_ms: u64,
}

impl Entry {
    /// What it gave, if it was made.
    pub(crate) fn effect(&self) -> Option<&Effect> {
        match &self.state {
            State::Done { effect, .. } => Some(effect),
            _ => None,
        }
    }

    /// Its runs, if it was made.
    pub(crate) fn runs(&self) -> &[Run] {
        match &self.state {
            State::Done { runs, .. } => runs,
            _ => &[],
        }
    }

    /// What its runs took together, in milliseconds.
    pub(crate) fn took_ms(&self) -> u64 {
        self.runs().iter().map(|run| run.took_ms).sum()
    }
}

/// The experiments that were made, as they are weighed.
pub(crate) fn made(entries: &[Entry]) -> Vec<Made<'_>> {
    let made = entries.iter().filter_map(|entry| {
        let runs = entry.runs();
        Some(Made {
            experiment: entry.experiment,
            effect: entry.effect()?,
            at_once: runs.first().is_some_and(is_the_crash),
            silent: silent(runs),
        })
    });
    made.collect()
}

/// Whether the control crashed in its first run.
pub(crate) fn crashes_at_once(entries: &[Entry]) -> bool {
    let control = entries
        .iter()
        .find(|entry| entry.experiment == Experiment::Control);
    control.is_some_and(|entry| entry.runs().first().is_some_and(is_the_crash))
}

/// How many of these runs were silent.
pub(crate) fn silent(runs: &[Run]) -> u32 {
    let silent = runs.iter().filter(|run| run.effect == Effect::NoCrash);
    u32::try_from(silent.count()).unwrap_or(u32::MAX)
}

fn is_the_crash(run: &Run) -> bool {
    matches!(run.effect, Effect::Same { .. })
}

/// What several runs of one experiment give together: the first crash, or memory that was read; a silence only if no run
/// crashed; nothing only if no run says anything.
pub(crate) fn together(runs: &[Run]) -> Effect {
    let rank = |effect: &Effect| match effect {
        Effect::Same { .. } | Effect::Read { .. } => 0,
        Effect::Other { .. } => 1,
        Effect::NoCrash => 2,
        Effect::Nothing { .. } => 3,
    };
    let first = runs
        .iter()
        .map(|run| &run.effect)
        .min_by_key(|effect| rank(effect));
    first.cloned().unwrap_or_else(|| Effect::Nothing {
        why: "no run was made".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(effects: &[Effect], expected: &Effect) {
        let run = |effect: &Effect| Run {
            folder: None,
            effect: effect.clone(),
            took_ms: 1,
        };
        let runs: Vec<Run> = effects.iter().map(run).collect();
        assert_eq!(&together(&runs), expected);
    }

    #[test]
    fn one_crash_ends_a_silence_and_a_failure_ends_nothing() {
        let same = Effect::Same { title: "a".into() };
        let other = Effect::Other { title: "b".into() };
        let nothing = Effect::Nothing { why: "c".into() };
        check(&[Effect::NoCrash, same.clone()], &same);
        check(&[other.clone(), same.clone()], &same);
        check(&[nothing.clone(), Effect::NoCrash], &Effect::NoCrash);
        check(&[Effect::NoCrash, other.clone()], &other);
        check(std::slice::from_ref(&nothing), &nothing);
    }

    #[test]
    fn only_a_control_whose_first_run_crashes_crashes_at_once() {
        let same = Effect::Same { title: "a".into() };
        let check = |experiment: Experiment, effects: &[Effect], at_once: bool, silent: u32| {
            let run = |effect: &Effect| Run {
                folder: None,
                effect: effect.clone(),
                took_ms: 1,
            };
            let runs: Vec<Run> = effects.iter().map(run).collect();
            let effect = together(&runs);
            let entries = [Entry {
                experiment,
                adds: Vec::new(),
                state: State::Done { effect, runs },
            }];
            assert_eq!(crashes_at_once(&entries), at_once, "{effects:?}");
            assert_eq!(made(&entries)[0].silent, silent, "{effects:?}");
        };
        let late = [Effect::NoCrash, same.clone()];
        check(Experiment::Control, std::slice::from_ref(&same), true, 0);
        check(Experiment::Control, &late, false, 1);
        check(Experiment::Swiotlb, std::slice::from_ref(&same), false, 0);
        assert!(!crashes_at_once(&[]));
    }

    #[test]
    fn an_entry_is_flat_in_json() {
        let entry = Entry {
            experiment: Experiment::Kasan,
            adds: Vec::new(),
            state: State::NotOffered { reason: "r".into() },
        };
        let json =
            serde_json::json!({"experiment": "kasan", "state": "not-offered", "reason": "r"});
        assert_eq!(serde_json::to_value(&entry).unwrap(), json);
        assert_eq!(serde_json::from_value::<Entry>(json).unwrap(), entry);
    }
}
