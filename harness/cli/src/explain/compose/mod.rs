//! From the facts to the story: which statements follow, in which order, and on what each rests. Writes no prose.
mod allocation;
mod alternatives;
mod fault;
mod memory;
mod people;

mod value;
mod vector;

pub(crate) use allocation::in_allocator;
pub(crate) use fault::CAME_FROM;

use std::collections::BTreeSet;

use super::facts::Facts;
use super::findings::Finding;
use super::story::{Block, Draft, Gap, Missing, Other, Section, Story, Topic};

/// What other crashes say of this one.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Those that are worth telling.
    pub(crate) told: Vec<Other>,
    /// How many were looked at.
    pub(crate) looked_at: usize,
    /// Why none was, or some were not.
    pub(crate) why_not: Vec<String>,
    /// Other places that die of the same, by name.
    pub(crate) places: BTreeSet<String>,
}

/// The whole account.
pub(crate) fn story(facts: &Facts, others: &Others) -> Story {
    let sections = [
        people::summary(facts),
        fault::exception(facts),
        fault::registers(facts),
        fault::instruction(facts),
        fault::origins(facts),
        memory::agreement(facts),
        memory::hardening(facts),
        value::section(facts),
        allocation::section(facts),
        people::context(facts),
        vector::section(facts),
        shared(others),
        alternatives::section(facts, others),
        unknown(facts),
    ];
    Story {
        subject: facts.subject.clone(),
        sections: sections.into_iter().flatten().collect(),
    }
}

fn shared(others: &Others) -> Option<Section> {
    let mut draft = Draft::new(Topic::Others);
    if others.looked_at > 0 {
        let count = others.looked_at;
        draft.say(Finding::ComparedWith { count }, Vec::new());
    }
    for other in &others.told {
        draft.add(Block::Other(other.clone()));
    }
    if !others.places.is_empty() {
        let count = others.places.len().saturating_add(1);
        draft.say(Finding::ManyPlaces { count }, Vec::new());
    }
    for why in &others.why_not {
        draft.say(Finding::NothingToCompare { why: why.clone() }, Vec::new());
    }
    draft.finish()
}

/// What is missing, and why. What does not apply to this kind of crash is left out.
fn unknown(facts: &Facts) -> Option<Section> {
    let account = &facts.account;
    let mut draft = Draft::new(Topic::Unknown);
    let exception = account.exception.is_ok();
    let allocator = account.freelist.is_ok() || account.allocation.is_ok();
    let request = account.allocation.as_ref().ok();
    let gaps: [(bool, Missing, Option<&String>); 15] = [
        (true, Missing::Release, account.release.as_ref().err()),
        (true, Missing::Task, account.task.as_ref().err()),
        (
            facts.calm.is_none() && facts.reports.is_empty(),
            Missing::Exception,
            account.exception.as_ref().err(),
        ),
        (exception, Missing::Place, account.place.as_ref().err()),
        (
            exception,
            Missing::Registers,
            account.registers.as_ref().err(),
        ),
        (
            exception,
            Missing::Instruction,
            account.faulting.as_ref().err(),
        ),
        (allocator, Missing::Cache, account.cache.as_ref().err()),
        (
            allocator,
            Missing::Freelist,
            account.freelist.as_ref().err(),
        ),
        (allocator, Missing::Value, account.decoded.as_ref().err()),
        (
            allocator,
            Missing::Size,
            request.and_then(|request| request.value.size.as_ref().err()),
        ),
        (
            allocator,
            Missing::Flags,
            request.and_then(|request| request.value.flags.as_ref().err()),
        ),
        (true, Missing::Syscall, account.syscall.as_ref().err()),
        (true, Missing::Frames, account.frames.as_ref().err()),
        (
            account.frames.is_ok(),
            Missing::Frames,
            account.frames_end.as_ref().err(),
        ),
        (exception, Missing::Kaslr, account.kaslr.as_ref().err()),
    ];
    for (applies, what, why) in gaps {
        if let Some(why) = why.filter(|_| applies) {
            let why = why.clone();
            draft.add(Block::Gap(Gap { what, why }));
        }
    }
    for note in &facts.notes {
        draft.add(Block::Gap(Gap {
            what: Missing::Note,
            why: note.clone(),
        }));
    }
    draft.finish()
}
