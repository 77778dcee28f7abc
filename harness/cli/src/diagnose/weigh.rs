//! Explanations, what each says that an experiment shows, and whether that came. One that did not come refutes; a
//! prediction that several explanations share supports none of them.
use serde::{Deserialize, Serialize};

use super::experiment::Experiment;
use super::order::{First, Order};
use super::seen::{Effect, WrittenObject};

/// So many silent runs refute what predicts a crash; fewer may be luck.
pub(crate) const SILENT_RUNS: u32 = 3;

/// An experiment that was made, as far as it is weighed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'e> {
    /// Which.
    pub(crate) experiment: Experiment,
    /// What its runs gave together.
    pub(crate) effect: &'e Effect,
    /// Whether its first run showed the crash.
    pub(crate) at_once: bool,
    /// How many of its runs were silent.
    pub(crate) silent: u32,
}

/// How often an experiment is made at most: as often as was asked for, else once, or as often as its silence must be
/// seen to be weighed. `crashes`: whether the control crashed in its first run; where not, no silence says anything.
pub(crate) fn most_runs(experiment: Experiment, asked: Option<u32>, crashes: bool) -> u32 {
    let weighed = BY_CRASH.iter().any(|rule| rule.experiment == experiment);
    match asked {
        Some(runs) => runs,
        None if weighed && crashes => SILENT_RUNS,
        None => 1,
    }
}

/// What may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hypothesis {
    /// The controller wrote after the transfer had ended.
    LateDma,
    /// A driver freed the buffer while the transfer was in flight.
    EarlyFree,
    /// Code on the CPU wrote through a stale pointer.
    CpuStore,
    /// A write into a neighbour ran on.
    Overrun,
}

impl Hypothesis {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::LateDma,
        Self::EarlyFree,
        Self::CpuStore,
        Self::Overrun,
    ];

    /// In words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::LateDma => "late DMA: the controller wrote after the transfer had ended",
            Self::EarlyFree => {
                "freed too early: a driver freed the buffer while its transfer was in flight"
            }
            Self::CpuStore => "copy by the CPU: code wrote through a pointer to the freed object",
            Self::Overrun => "overrun: a write into a neighbouring object ran on",
        }
    }
}

/// What an experiment says of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// What it predicts came, and what the others predict did not.
    Supported,
    /// The contrary of what it predicts came.
    Refuted,
    /// Neither.
    Undecided,
}

impl Standing {
    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Refuted => "refuted",
            Self::Undecided => "undecided",
        }
    }
}

/// A prediction and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// The experiment.
    pub(crate) experiment: Experiment,
    /// What it would show.
    pub(crate) predicts: String,
    /// What it says.
    pub(crate) standing: Standing,
}

/// An explanation with everything that speaks for and against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weighed {
    /// Which.
    pub(crate) hypothesis: Hypothesis,
    /// One refuted prediction refutes it; else one supported supports it.
    pub(crate) standing: Standing,
    /// Its predictions, where the experiment says something.
    pub(crate) predictions: Vec<Prediction>,
}

/// What a crash or none says: for late DMA that is all that changes when a finished transfer no longer reaches the object.
struct ByCrash {
    experiment: Experiment,
    /// Whether the crash stays, by explanation; `None` where it says nothing.
    stays: fn(Hypothesis) -> Option<bool>,
    /// Why.
    why: fn(Hypothesis) -> &'static str,
}

const BY_CRASH: &[ByCrash] = &[
    ByCrash {
        experiment: Experiment::Swiotlb,
        stays: dma_only,
        why: |hypothesis| match hypothesis {
            Hypothesis::LateDma => {
                "no crash: the write goes to the bounce buffer, which is another's by then"
            }
            Hypothesis::EarlyFree => {
                "the same crash: at the transfer's end the bounce buffer is copied into the freed object"
            }
            Hypothesis::CpuStore => "the same crash: a store by the CPU knows no bounce buffer",
            Hypothesis::Overrun => "",
        },
    },
    ByCrash {
        experiment: Experiment::Iommu,
        stays: dma_only,
        why: |hypothesis| match hypothesis {
            Hypothesis::LateDma => "no crash: the mapping is gone with the transfer's end",
            Hypothesis::EarlyFree => {
                "the same crash: the transfer is in flight, so its mapping is there"
            }
            Hypothesis::CpuStore => {
                "the same crash: a store by the CPU does not go through the IOMMU"
            }
            Hypothesis::Overrun => "",
        },
    },
    ByCrash {
        experiment: Experiment::InitOnFree,
        stays: |hypothesis| (hypothesis != Hypothesis::Overrun).then_some(true),
        why: |_| "the same crash: the write comes after the free, and so after the zeroes",
    },
];

fn dma_only(hypothesis: Hypothesis) -> Option<bool> {
    match hypothesis {
        Hypothesis::LateDma => Some(false),
        Hypothesis::EarlyFree | Hypothesis::CpuStore => Some(true),
        Hypothesis::Overrun => None,
    }
}

/// Weighs all explanations. `made`: the experiments that were made; `object` and `order`: of the run with
/// SLUB debugging.
pub(crate) fn weigh(made: &[Made<'_>], object: Option<(&WrittenObject, &Order)>) -> Vec<Weighed> {
    let control = made
        .iter()
        .find(|one| one.experiment == Experiment::Control);
    let reproduces = control.is_some_and(|one| matches!(one.effect, Effect::Same { .. }));
    // A crash that is itself rare may stay away for no reason.
    let steady = control.is_some_and(|one| one.at_once);
    Hypothesis::ALL
        .into_iter()
        .map(|hypothesis| {
            let mut predictions: Vec<Prediction> = object
                .map(|(object, order)| in_memory(hypothesis, object, order))
                .into_iter()
                .collect();
            // Where the run does not crash as it is, a silence says nothing.
            let by_crash = BY_CRASH.iter().filter(|_| reproduces);
            predictions
                .extend(by_crash.filter_map(|rule| by_effect(hypothesis, rule, made, steady)));
            Weighed {
                hypothesis,
                standing: all(&predictions),
                predictions,
            }
        })
        .collect()
}

fn all(predictions: &[Prediction]) -> Standing {
    let any = |standing| predictions.iter().any(|one| one.standing == standing);
    if any(Standing::Refuted) {
        Standing::Refuted
    } else if any(Standing::Supported) {
        Standing::Supported
    } else {
        Standing::Undecided
    }
}

fn by_effect(
    hypothesis: Hypothesis,
    rule: &ByCrash,
    made: &[Made<'_>],
    steady: bool,
) -> Option<Prediction> {
    let stays = (rule.stays)(hypothesis)?;
    let made = made.iter().find(|one| one.experiment == rule.experiment)?;
    let came = match made.effect {
        Effect::Same { .. } => Some(true),
        Effect::NoCrash => (steady && made.silent >= SILENT_RUNS).then_some(false),
        Effect::Other { .. } | Effect::Read { .. } | Effect::Nothing { .. } => None,
    };
    // What all explanations say alike speaks for none.
    let shared = Hypothesis::ALL
        .iter()
        .filter_map(|other| (rule.stays)(*other))
        .filter(|other| *other == stays)
        .count()
        > 1;
    let standing = match came {
        Some(came) if came != stays => Standing::Refuted,
        Some(_) if !shared => Standing::Supported,
        _ => Standing::Undecided,
    };
    Some(Prediction {
        experiment: rule.experiment,
        predicts: (rule.why)(hypothesis).to_owned(),
        standing,
    })
}

fn in_memory(hypothesis: Hypothesis, object: &WrittenObject, order: &Order) -> Prediction {
    use Standing::{Refuted, Supported, Undecided};
    let from_start = object.start == 0 && object.sent_by_device;
    let (predicts, standing) = match hypothesis {
        Hypothesis::LateDma => (
            "the object was freed after its transfer had ended, and has the transfer's bytes from its start on",
            match (order.first, object.sent_by_device) {
                (First::Free, _) | (_, false) => Refuted,
                // A store by the CPU leaves the same.
                (First::End | First::Unknown, true) => Undecided,
            },
        ),
        Hypothesis::EarlyFree => (
            "the object was freed while its transfer was in flight",
            match order.first {
                First::Free => Supported,
                First::End => Refuted,
                First::Unknown => Undecided,
            },
        ),
        Hypothesis::CpuStore => (
            "the object was freed, and code that still had a pointer to it wrote",
            Undecided,
        ),
        Hypothesis::Overrun => (
            "the bytes begin before the object, so the red zone to its left is overwritten too",
            match (object.alone, from_start) {
                (true, _) => Refuted,
                (false, _) => Undecided,
            },
        ),
    };
    Prediction {
        experiment: Experiment::SlubDebug,
        predicts: predicts.to_owned(),
        standing,
    }
}
