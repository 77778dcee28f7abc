//! What follows: who freed the object, whether that was too early, and which transfer wrote into it. Where experiments
//! contradict each other, or leave the order open, nothing is concluded, and what would help is said.
use serde::{Deserialize, Serialize};

use super::experiment::Experiment;
use super::order::{First, Order, order};
use super::seen::{Effect, Hand, Memory, Seen, WrittenObject};
use super::weigh::{Hypothesis, Made, Standing, Weighed, weigh};
use super::wire::{Transfer, Wire};

/// What follows from all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// The conclusion.
    pub(crate) conclusion: Conclusion,
    /// The object that it is about, of those in the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<WrittenObject>,
    /// Which came first, its free or the transfer's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Order>,
    /// The explanations.
    pub(crate) explanations: Vec<Weighed>,
}

/// What is concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "conclusion", rename_all = "kebab-case")]
pub(crate) enum Conclusion {
    /// Code freed the buffer while its transfer was in flight; the transfer's own end wrote into it.
    FreedEarly {
        /// The function that called the allocator, with its module.
        function: String,
        /// Who freed it.
        freed: Box<Hand>,
        /// The transfer.
        #[serde(skip_serializing_if = "Option::is_none")]
        transfer: Option<Transfer>,
    },
    /// No code path freed it early: its owner did, after the transfer had ended. The write came later.
    NotFreedEarly {
        /// The function that called the allocator, with its module.
        function: String,
        /// Who freed it.
        freed: Box<Hand>,
        /// Who wrote.
        writer: Writer,
        /// The transfer that the bytes are of.
        #[serde(skip_serializing_if = "Option::is_none")]
        transfer: Option<Transfer>,
    },
    /// The evidence does not decide.
    Undecided {
        /// Why.
        why: String,
        /// What to do.
        next: String,
    },
}

/// Who wrote into an object that its owner had freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Writer {
    /// The controller: what stops DMA stops it.
    Controller,
    /// Not the controller: what stops DMA does not stop it.
    Cpu,
    /// The controller or code on the CPU: no experiment tells them apart.
    ControllerOrCpu,
}

impl Writer {
    /// In words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Controller => "late DMA: the controller wrote after the transfer had ended",
            Self::Cpu => {
                "code on the CPU, through a pointer that it had kept: what stops DMA did not stop it"
            }
            Self::ControllerOrCpu => {
                "the controller, after the transfer had ended, or code on the CPU through a pointer that it had kept"
            }
        }
    }
}

impl Conclusion {
    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Self::Undecided { .. })
    }

    /// The one line.
    pub(crate) fn headline(&self) -> String {
        match self {
            Self::FreedEarly { function, .. } => {
                format!("{function} freed the buffer while its transfer was in flight")
            }
            Self::NotFreedEarly { function, .. } => format!(
                "no code path freed the buffer early: {function} freed it after its transfer had ended"
            ),
            Self::Undecided { why, .. } => format!("not decided: {why}"),
        }
    }
}

/// Puts all together.
pub(crate) fn conclude(made: &[Made<'_>], seen: &Seen) -> Findings {
    let nothing = Wire::default();
    let wire = seen.wire.as_ref().unwrap_or(&nothing);
    let chosen = seen
        .memory
        .as_ref()
        .and_then(|memory| Some((memory, choose(memory, wire)?)));
    let order = chosen.map(|(memory, object)| order(object, memory, wire));
    let pair = chosen
        .zip(order.as_ref())
        .map(|((_, object), order)| (object, order));
    let explanations = weigh(made, pair);
    let conclusion = match pair {
        Some((object, order)) => of_object(object, order, &explanations),
        None => without_object(made, seen),
    };
    Findings {
        conclusion,
        object: pair.map(|(object, _)| object.clone()),
        order,
        explanations,
    }
}

/// The object that a device's answer lies in; else one with something that a device sends; of several the one that was
/// written first to last: the longest.
fn choose<'m>(memory: &'m Memory, wire: &Wire) -> Option<&'m WrittenObject> {
    let rank = |object: &&WrittenObject| {
        let answered = wire.carrying(object.start, &object.bytes).next().is_some();
        (
            answered,
            object.sent_by_device,
            object.end.saturating_sub(object.start),
        )
    };
    let objects = memory.objects.iter();
    objects
        .filter(|object| object.sent_by_device || rank(object).0)
        .max_by_key(rank)
}

fn of_object(object: &WrittenObject, order: &Order, explanations: &[Weighed]) -> Conclusion {
    let undecided = |why: String, next: &str| Conclusion::Undecided {
        why,
        next: next.into(),
    };
    let Some(freed) = &object.freed else {
        return undecided(
            format!("nothing says who freed the object at {}", object.address),
            "the kernel keeps no tracks for this cache: look at slub_debug's U in the run's command line",
        );
    };
    let standing = |wanted| {
        let of = explanations.iter().find(|one| one.hypothesis == wanted);
        of.map_or(Standing::Undecided, |one| one.standing)
    };
    let refuted = |hypothesis| standing(hypothesis) == Standing::Refuted;
    let contradiction = |hypothesis: Hypothesis, by: &str| {
        undecided(
            format!("the experiments contradict each other: by the free track it was {by}, and another refutes that"),
            "make the experiments again with --attempts 10: one of them may have hit another object",
        )
        .for_hypothesis(hypothesis)
    };
    let function = freed.function.short();
    match order.first {
        First::Free if refuted(Hypothesis::EarlyFree) => {
            contradiction(Hypothesis::EarlyFree, "freed in flight")
        }
        First::Free => Conclusion::FreedEarly {
            function,
            freed: Box::new(freed.clone()),
            transfer: order.transfer.clone(),
        },
        First::End => {
            let writer = match (refuted(Hypothesis::LateDma), refuted(Hypothesis::CpuStore)) {
                (true, true) => {
                    return contradiction(Hypothesis::LateDma, "freed after its transfer's end");
                }
                (false, true) => Writer::Controller,
                (true, false) => Writer::Cpu,
                (false, false) => Writer::ControllerOrCpu,
            };
            Conclusion::NotFreedEarly {
                function,
                freed: Box::new(freed.clone()),
                writer,
                transfer: order.transfer.clone(),
            }
        }
        First::Unknown => undecided(
            order.because.join("; "),
            "swiotlb or iommu tell the two apart where the kernel has them (--list); a device that answers later makes the \
             clocks tell",
        ),
    }
}

impl Conclusion {
    /// The same, with the explanation's name in front of what to do.
    fn for_hypothesis(self, hypothesis: Hypothesis) -> Self {
        match self {
            Self::Undecided { why, next } => Self::Undecided {
                why,
                next: format!("{next} ({})", hypothesis.label()),
            },
            other => other,
        }
    }
}

/// Why there is nothing to conclude from.
fn without_object(made: &[Made<'_>], seen: &Seen) -> Conclusion {
    let effect = |wanted| {
        made.iter()
            .find(|one| one.experiment == wanted)
            .map(|one| one.effect)
    };
    let (why, next) = match (effect(Experiment::SlubDebug), &seen.memory) {
        (None, _) => (
            "the run with SLUB debugging, which says who freed what, was not made".to_owned(),
            "make it (--only slub-debug), or see why this kernel does not offer it (--list)",
        ),
        (Some(Effect::Nothing { why }), _) => (
            format!("the run with SLUB debugging says nothing: {why}"),
            "see the run's report and console; --attempts repeats a run that says nothing",
        ),
        (Some(_), Some(memory)) if memory.caches.is_empty() => (
            "no cache of the dump has SLUB debugging".to_owned(),
            "the kernel did not take slub_debug=: see its console",
        ),
        (Some(_), Some(memory)) if !memory.missing.is_empty() => (
            format!(
                "the memory could not be read: {}",
                memory.missing.join("; ")
            ),
            "with --debug-dir of the kernel's debug package its types are known",
        ),
        _ => (
            "no free object of the debugged caches has been written to".to_owned(),
            "the object may be of another cache, or be found and repaired by a kernel before Linux 5.8, which has no \
             panic_on_taint",
        ),
    };
    Conclusion::Undecided {
        why,
        next: next.into(),
    }
}
