//! Groups signatures into bugs, and within them into places. Pure: it reads nothing and prints nothing.
//!
//! What ties two crashes is in `tie`, where they struck is in `place`. Groups are the connected parts of the graph of
//! ties, strongest first, so neither the order of the input nor a missing link between two of a group matters. A tie
//! that is less than certain joins no group in which two crashes are known to be different; it is told instead.

mod place;
mod tie;

use crate::Signature;
use crate::compare::basis::{self, Basis};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use place::Place;
use tie::Relation;

/// How sure it is that crashes belong together, least sure first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sureness {
    /// They could be; a fact that would decide it is missing or only plausible.
    Possible,
    /// What is known agrees; one fact of identity is missing, only plausible, or the place is another.
    Likely,
    /// Every fact of identity is known in both, is established (structural or proven, where bytes were decoded), and
    /// is the same.
    Certain,
}

impl fmt::Display for Sureness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

/// One crash to place.
#[derive(Debug, Clone)]
pub struct Member {
    /// What people call it: a file or a folder.
    pub name: String,
    /// What identifies it.
    pub signature: Signature,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Triage {
    /// Bugs, those with most members first.
    pub bugs: Vec<Bug>,
    /// Crashes that nothing identifies, by name.
    pub apart: Vec<Apart>,
}

/// Crashes that are one bug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bug {
    /// What was overwritten by what, or else the title.
    pub name: String,
    /// The titles that its crashes have, sorted.
    pub titles: Vec<String>,
    /// How sure it is that all belong here; `None` of a single crash, which nothing has to be tied to.
    pub sure: Option<Sureness>,
    /// What ties them together, one line each.
    pub ties: Vec<String>,
    /// Where it struck.
    pub places: Vec<Place>,
    /// Other bugs that it could be the same as, and what is missing to say so.
    pub may_be: Vec<MayBe>,
}

impl Bug {
    /// Number of crashes.
    pub fn members(&self) -> usize {
        self.places.iter().map(|place| place.members.len()).sum()
    }
}

/// Another bug that could be the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MayBe {
    /// Its first crash, by name.
    pub other: String,
    /// What speaks for it, and what is missing.
    pub why: String,
}

/// A crash that cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Apart {
    /// Its name.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// A set of members, by index into the sorted list, and how surely they were joined.
#[derive(Debug, Clone)]
struct Group {
    members: BTreeSet<usize>,
    sure: Sureness,
    ties: BTreeSet<String>,
}

/// Groups `members`. The order in which they come does not matter.
pub fn triage(members: &[Member]) -> Triage {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by_cached_key(|m| (m.name.clone(), m.signature.to_toml().unwrap_or_default()));
    let (placed, apart) = identified(&sorted);
    let mut groups: Vec<Group> = (0..placed.len())
        .map(|index| Group {
            members: BTreeSet::from([index]),
            sure: Sureness::Certain,
            ties: BTreeSet::new(),
        })
        .collect();
    let relations = Relations::of(&placed);
    for sure in [Sureness::Certain, Sureness::Likely, Sureness::Possible] {
        groups = joined(groups, &relations, sure);
    }
    let mut bugs: Vec<Bug> = groups
        .iter()
        .map(|group| bug(group, &groups, &placed, &relations))
        .collect();
    bugs.sort_by(|a, b| (b.members(), &a.name, &a.places).cmp(&(a.members(), &b.name, &b.places)));
    Triage { bugs, apart }
}

/// Those that something identifies, and those that nothing does.
fn identified<'m>(members: &[&'m Member]) -> (Vec<&'m Member>, Vec<Apart>) {
    let (mut placed, mut apart) = (Vec::new(), Vec::new());
    for member in members {
        match nothing_known(&member.signature) {
            None => placed.push(*member),
            Some(why) => apart.push(Apart {
                name: member.name.clone(),
                why,
            }),
        }
    }
    (placed, apart)
}

/// Why a crash can be tied to no other, if so.
fn nothing_known(signature: &Signature) -> Option<String> {
    let fault = &signature.fault;
    let evidence = tie::has_corruption(signature)
        || fault.report.value().is_some()
        || (fault.class.value().is_some() && fault.function.value().is_some());
    let reason = |fact: Option<&str>| fact.unwrap_or("not known").to_owned();
    (!evidence).then(|| {
        format!(
            "nothing identifies it: no corruption ({}), no report ({}), no class and function of a fault ({})",
            reason(signature.corruption.site.reason()),
            reason(fault.report.reason()),
            reason(fault.class.reason().or(fault.function.reason())),
        )
    })
}

/// The relations of all pairs that have one, each pair once, smaller index first.
struct Relations {
    ties: BTreeMap<(usize, usize), (Sureness, String)>,
    different: BTreeSet<(usize, usize)>,
}

impl Relations {
    fn of(members: &[&Member]) -> Self {
        let mut out = Self {
            ties: BTreeMap::new(),
            different: BTreeSet::new(),
        };
        for (i, a) in members.iter().enumerate() {
            for (j, b) in members.iter().enumerate().skip(i + 1) {
                match tie::relation(&a.signature, &b.signature) {
                    Relation::Tied(sure, why) => {
                        out.ties.insert((i, j), (sure, why));
                    }
                    Relation::Different => {
                        out.different.insert((i, j));
                    }
                    Relation::Nothing => {}
                }
            }
        }
        out
    }

    /// Whether two of these are known to be different.
    fn conflict(&self, members: &BTreeSet<usize>) -> bool {
        self.different
            .iter()
            .any(|(a, b)| members.contains(a) && members.contains(b))
    }
}

/// The groups after joining those that ties of this strength connect.
fn joined(groups: Vec<Group>, relations: &Relations, sure: Sureness) -> Vec<Group> {
    let home: BTreeMap<usize, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.members.iter().map(move |member| (*member, at)))
        .collect();
    let mut parts = Parts::new(groups.len());
    for ((a, b), (strength, _)) in &relations.ties {
        if *strength == sure
            && let (Some(a), Some(b)) = (home.get(a), home.get(b))
        {
            parts.join(*a, *b);
        }
    }
    let mut whole: BTreeMap<usize, Vec<Group>> = BTreeMap::new();
    for (at, group) in groups.into_iter().enumerate() {
        whole.entry(parts.root(at)).or_default().push(group);
    }
    whole
        .into_values()
        .flat_map(|part| merged(part, relations, sure))
        .collect()
}

/// One group, or the parts as they were where two of their members are different.
fn merged(part: Vec<Group>, relations: &Relations, sure: Sureness) -> Vec<Group> {
    if part.len() < 2 {
        return with_ties(part, relations, sure);
    }
    let members: BTreeSet<usize> = part.iter().flat_map(|g| g.members.clone()).collect();
    if sure < Sureness::Certain && relations.conflict(&members) {
        return part;
    }
    let group = Group {
        members,
        sure,
        ties: part.into_iter().flat_map(|group| group.ties).collect(),
    };
    with_ties(vec![group], relations, sure)
}

/// The groups with the reasons of the ties of this strength within them.
fn with_ties(mut part: Vec<Group>, relations: &Relations, sure: Sureness) -> Vec<Group> {
    for group in &mut part {
        for ((a, b), (strength, why)) in &relations.ties {
            if *strength == sure && group.members.contains(a) && group.members.contains(b) {
                group.ties.insert(format!("{sure}: {why}"));
            }
        }
    }
    part
}

/// Sets that are joined one by one.
struct Parts(Vec<usize>);

impl Parts {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&self, mut at: usize) -> usize {
        while let Some(&up) = self.0.get(at)
            && up != at
        {
            at = up;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        // The smaller index leads, so a chain of parents always ends.
        if let Some(up) = self.0.get_mut(a.max(b)) {
            *up = a.min(b);
        }
    }
}

fn bug(group: &Group, all: &[Group], members: &[&Member], relations: &Relations) -> Bug {
    let mine: Vec<&Member> = group
        .members
        .iter()
        .filter_map(|index| members.get(*index).copied())
        .collect();
    let titles: BTreeSet<String> = mine.iter().map(|m| m.signature.title.clone()).collect();
    let corruption = mine.iter().find_map(|m| m.signature.bug.clone());
    Bug {
        name: corruption.unwrap_or_else(|| commonest(&mine)),
        titles: titles.into_iter().collect(),
        sure: (mine.len() > 1).then_some(group.sure),
        ties: group.ties.iter().cloned().collect(),
        places: place::places(&mine),
        may_be: may_be(group, all, members, relations),
    }
}

/// The title that most of them have, the least of those.
fn commonest(members: &[&Member]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members {
        *counts.entry(&member.signature.title).or_default() += 1;
    }
    let most = counts.iter().rev().max_by_key(|(_, count)| **count);
    most.map(|(title, _)| (*title).to_owned())
        .unwrap_or_default()
}

/// The other groups that a tie leads to which joined nothing.
fn may_be(group: &Group, all: &[Group], members: &[&Member], relations: &Relations) -> Vec<MayBe> {
    let mut out = BTreeMap::new();
    for ((a, b), (sure, why)) in &relations.ties {
        let other = match (group.members.contains(a), group.members.contains(b)) {
            (true, false) => b,
            (false, true) => a,
            _ => continue,
        };
        let holder = all.iter().find(|group| group.members.contains(other));
        let first = holder.and_then(|group| group.members.first());
        if let Some(first) = first.and_then(|first| members.get(*first)) {
            let why =
                format!("{sure}: {why}; not joined, since that would join crashes that differ");
            out.entry(first.name.clone()).or_insert(why);
        }
    }
    out.into_iter()
        .map(|(other, why)| MayBe { other, why })
        .collect()
}

/// Whether the identity of a crash rests on a corruption.
fn rests_on_corruption(signature: &Signature) -> bool {
    basis::basis(signature) == Some(Basis::Corruption)
}

#[cfg(test)]
mod tests;
