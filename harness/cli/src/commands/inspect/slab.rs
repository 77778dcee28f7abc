//! `slab`: the slab caches (crash's `kmem -s`), one with its slabs (`kmem -S`), the object that an address lies in,
//! and what is wrong with the freelists.
use anyhow::anyhow;
use recrash_kernel::slub::{
    self, Cache, Finding, FreeOn, Holder, Lists, ObjectState, Part, Slab, SlabObject, Slub,
};
use recrash_vmcore::VirtAddr;
use serde::Serialize;
use std::collections::HashMap;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use super::slab_debug::{self, Debugging};
use crate::failure::Failure;

const HEADER: &str = "CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME\n";
/// KiB of a page.
const PAGE_KIB: u64 = 4;

/// Shows the slab caches; of one its slabs; of an address the object that it lies in.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is wrong: freelists that do not end, slabs on the wrong lists, overwritten debugging data
    #[arg(long, conflicts_with = "which")]
    check: bool,
    /// A cache by name, the address of a kmem_cache, or any address in a slab
    #[arg(value_name = "NAME|ADDRESS")]
    which: Option<String>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    cache: Hex,
    name: String,
    object_size: u64,
    /// Bytes from one object to the next.
    size: u64,
    allocated: Option<u64>,
    total: Option<u64>,
    slabs: Option<u64>,
    /// KiB of a new slab.
    slab_kib: Option<u64>,
    /// Other caches that are merged with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let slub = Slub::new(kernel).map_err(|why| session.nothing(why))?;
        if self.check {
            return check(session, &slub);
        }
        let (caches, cut) = slub.caches().map_err(|why| session.nothing(why))?;
        let missing: Vec<String> = cut.iter().map(ToString::to_string).collect();
        let Some(which) = &self.which else {
            return table(session, &slub, &caches, missing);
        };
        if let Some(cache) = caches.iter().find(|cache| cache.name == *which) {
            return one(session, &slub, cache, missing);
        }
        let aliases = slub::aliases(kernel);
        if let Ok((names, _)) = &aliases
            && let Some((at, _)) = names.iter().find(|(_, names)| names.contains(which))
            && let Some(cache) = caches.iter().find(|cache| cache.at == *at)
        {
            return one(session, &slub, cache, missing);
        }
        let at = address::address(session, which).map_err(|failure| {
            let near: Vec<&str> = caches
                .iter()
                .map(|cache| cache.name.as_str())
                .filter(|name| name.contains(which.as_str()))
                .take(8)
                .collect();
            match near.as_slice() {
                [] => failure,
                near => Failure::usage(anyhow!("there is no cache {which:?}"))
                    .hint(format!("one of: {}", clean(&near.join(", ")))),
            }
        })?;
        match caches.iter().find(|cache| cache.at.0 == at) {
            Some(cache) => one(session, &slub, cache, missing),
            None => object(session, &slub, VirtAddr(at), missing),
        }
    }
}

fn row(slub: &Slub<'_>, cache: &Cache, missing: &mut Vec<String>) -> Row {
    let usage = slub.usage(cache);
    for why in &usage.missing {
        missing.push(format!("{}: {why}", cache.name));
    }
    Row {
        cache: cache.at.into(),
        name: cache.name.clone(),
        object_size: cache.object_size,
        size: cache.size,
        allocated: usage.allocated(),
        total: usage.objects,
        slabs: usage.slabs,
        slab_kib: cache
            .order_objects
            .and_then(|(order, _)| PAGE_KIB.checked_shl(order)),
        aliases: Vec::new(),
    }
}

fn line(row: &Row) -> String {
    let or = |value: Option<u64>| value.map_or_else(|| "?".into(), |value| value.to_string());
    format!(
        "{:16x} {:>8} {:>10} {:>9} {:>6} {:>6}  {}\n",
        row.cache.0,
        row.object_size,
        or(row.allocated),
        or(row.total),
        or(row.slabs),
        row.slab_kib
            .map_or_else(|| "?".into(), |kib| format!("{kib}k")),
        clean(&row.name)
    )
}

#[derive(Debug, Serialize)]
struct Table {
    caches: Vec<Row>,
}

impl Reply for Table {
    const KIND: &'static str = "slab";

    fn text(&self) -> String {
        let lines: String = self.caches.iter().map(line).collect();
        format!("{HEADER}{lines}")
    }
}

fn table(
    session: &Session<'_>,
    slub: &Slub<'_>,
    caches: &[Cache],
    mut missing: Vec<String>,
) -> Outcome {
    let mut of_caches = Vec::new();
    let mut rows = Vec::new();
    for cache in caches {
        let mut here = Vec::new();
        rows.push(row(slub, cache, &mut here));
        let prefix = format!("{}: ", cache.name);
        let reasons = here.into_iter().map(|line| {
            let why = line.strip_prefix(&prefix).map(ToOwned::to_owned);
            (cache.name.clone(), why.unwrap_or(line))
        });
        of_caches.extend(reasons);
    }
    missing.extend(by_reason(of_caches));
    session.show(&Table { caches: rows }, &missing)
}

/// One line for each reason, with the caches that it holds for.
fn by_reason(found: Vec<(String, String)>) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    let mut known = HashMap::new();
    for (cache, why) in found {
        let index = *known.entry(why.clone()).or_insert(reasons.len());
        if index == reasons.len() {
            reasons.push((why, Vec::new()));
        }
        if let Some((_, caches)) = reasons.get_mut(index)
            && caches.last() != Some(&cache)
        {
            caches.push(cache);
        }
    }
    let line = |(why, caches): (String, Vec<String>)| format!("{}: {why}", caches.join(", "));
    reasons.into_iter().map(line).collect()
}

/// A cache with the slabs on its lists.
#[derive(Debug, Serialize)]
struct One {
    #[serde(flatten)]
    row: Row,
    /// Where the pointer to the next free object lies in a free one.
    freelist_offset: u64,
    cpus: Vec<Cpu>,
    nodes: Vec<Node>,
    slabs: Vec<SlabRow>,
}

#[derive(Debug, Serialize)]
struct Cpu {
    cpu: u32,
    /// Its `struct kmem_cache_cpu`.
    kmem_cache_cpu: Hex,
    freelist: Hex,
    slab: Hex,
}

#[derive(Debug, Serialize)]
struct Node {
    node: u32,
    slabs: Option<u64>,
    partial: u64,
}

#[derive(Debug, Serialize)]
struct SlabRow {
    /// Where it is held: which list of which CPU or node.
    holder: String,
    slab: Hex,
    memory: Hex,
    total: u64,
    allocated: u64,
    free: u64,
    objects: Vec<ObjectRow>,
    #[serde(skip)]
    list: Holder,
}

#[derive(Debug, Serialize)]
struct ObjectRow {
    address: Hex,
    /// `allocated`, `free` or `unknown`.
    state: &'static str,
    /// The CPU on whose list it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

fn one(session: &Session<'_>, slub: &Slub<'_>, cache: &Cache, mut missing: Vec<String>) -> Outcome {
    let kernel = session.kernel()?;
    let mut row = row(slub, cache, &mut missing);
    if let Ok((names, _)) = slub::aliases(kernel) {
        let of_this = names.get(&cache.at).into_iter().flatten();
        row.aliases = of_this
            .filter(|name| **name != cache.name)
            .cloned()
            .collect();
    }
    let lists = slub.lists(cache);
    missing.extend(
        lists
            .missing
            .iter()
            .map(|why| format!("{}: {why}", cache.name)),
    );
    missing.dedup();
    let found = One {
        row,
        freelist_offset: cache.offset,
        cpus: cpus(&lists),
        nodes: nodes(&lists),
        slabs: lists
            .slabs
            .iter()
            .map(|(holder, slab)| slab_row(slub, cache, *holder, slab))
            .collect(),
    };
    session.show(&found, &missing)
}

fn cpus(lists: &Lists) -> Vec<Cpu> {
    let one = |(cpu, slab): &(u32, slub::CpuSlab)| Cpu {
        cpu: *cpu,
        kmem_cache_cpu: slab.at.into(),
        freelist: slab.freelist.into(),
        slab: slab.slab.into(),
    };
    lists.cpus.iter().map(one).collect()
}

fn nodes(lists: &Lists) -> Vec<Node> {
    let one = |node: &slub::NodeCounts| Node {
        node: node.node,
        slabs: node.slabs,
        partial: node.partial,
    };
    lists.nodes.iter().map(one).collect()
}

fn slab_row(slub: &Slub<'_>, cache: &Cache, holder: Holder, slab: &Slab) -> SlabRow {
    let objects: Vec<ObjectRow> = slab
        .all_objects(cache)
        .map(|at| object_row(at, slub.state(cache, slab, at)))
        .collect();
    let count = |state| {
        objects
            .iter()
            .filter(|object| object.state == state)
            .count() as u64
    };
    SlabRow {
        holder: holder.to_string(),
        slab: slab.at.into(),
        memory: slab.start.into(),
        total: slab.objects,
        allocated: count("allocated"),
        free: count("free"),
        objects,
        list: holder,
    }
}

fn object_row(at: VirtAddr, state: ObjectState) -> ObjectRow {
    let (state, cpu, why) = match state {
        ObjectState::Allocated => ("allocated", None, None),
        ObjectState::Free(FreeOn::Cpu(cpu)) => ("free", Some(cpu), None),
        ObjectState::Free(FreeOn::Slab) => ("free", None, None),
        ObjectState::Unknown(why) => ("unknown", None, Some(why)),
    };
    ObjectRow {
        address: at.into(),
        state,
        cpu,
        why,
    }
}

impl Reply for One {
    const KIND: &'static str = "slab";

    fn text(&self) -> String {
        let mut text = format!("{HEADER}{}", line(&self.row));
        if !self.row.aliases.is_empty() {
            text.push_str(&format!(
                "ALIASES: {}\n",
                clean(&self.row.aliases.join(", "))
            ));
        }
        for cpu in &self.cpus {
            let number = cpu.cpu;
            text.push_str(&format!(
                "CPU {number} KMEM_CACHE_CPU:\n  {:x}\n",
                cpu.kmem_cache_cpu.0
            ));
            self.list(
                &format!("CPU {number} SLAB"),
                Holder::CpuActive(number),
                &mut text,
            );
            self.list(
                &format!("CPU {number} PARTIAL"),
                Holder::CpuPartial(number),
                &mut text,
            );
        }
        for node in &self.nodes {
            let number = node.node;
            let slabs = node
                .slabs
                .map_or_else(|| "?".into(), |slabs| slabs.to_string());
            text.push_str(&format!(
                "NODE {number}: {slabs} slabs, {} partial\n",
                node.partial
            ));
            self.list(
                &format!("NODE {number} PARTIAL"),
                Holder::NodePartial(number),
                &mut text,
            );
            self.list(
                &format!("NODE {number} FULL"),
                Holder::NodeFull(number),
                &mut text,
            );
        }
        text
    }
}

impl One {
    fn list(&self, title: &str, holder: Holder, text: &mut String) {
        let held: Vec<&SlabRow> = self
            .slabs
            .iter()
            .filter(|slab| slab.list == holder)
            .collect();
        text.push_str(&format!("{title}:\n"));
        if held.is_empty() {
            text.push_str("  (empty)\n");
        }
        for slab in held {
            slab_text(slab, text);
        }
    }
}

const SLAB_HEADER: &str = "  SLAB              MEMORY            TOTAL  ALLOCATED  FREE\n";

fn slab_text(slab: &SlabRow, text: &mut String) {
    text.push_str(SLAB_HEADER);
    text.push_str(&format!(
        "  {:16x}  {:16x}  {:>5}  {:>9}  {:>4}\n  FREE / [ALLOCATED]\n",
        slab.slab.0, slab.memory.0, slab.total, slab.allocated, slab.free
    ));
    for object in &slab.objects {
        text.push_str(&object_line(object));
    }
}

fn object_line(object: &ObjectRow) -> String {
    let at = object.address.0;
    match (object.state, object.cpu) {
        ("allocated", _) => format!("  [{at:x}]\n"),
        ("free", Some(cpu)) => format!("   {at:x}  (cpu {cpu} cache)\n"),
        ("free", None) => format!("   {at:x}\n"),
        _ => {
            let why = object.why.as_deref().unwrap_or_default();
            format!("  ?{at:x}? ({})\n", clean(why))
        }
    }
}

/// An address in a slab.
#[derive(Debug, Serialize)]
struct Located {
    address: Hex,
    object: ObjectRow,
    index: u64,
    /// Bytes from the object's start to the address.
    offset: i64,
    /// `object`, `left red zone` or `metadata`.
    part: &'static str,
    cache: Row,
    slab: Hex,
    memory: Hex,
    objects: u64,
    in_use: u64,
    /// What SLUB debugging says; nothing for a cache without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    debugging: Option<Debugging>,
}

fn object(
    session: &Session<'_>,
    slub: &Slub<'_>,
    at: VirtAddr,
    mut missing: Vec<String>,
) -> Outcome {
    let found = slub.find_object(at).map_err(|why| session.nothing(why))?;
    let cache = row(slub, &found.cache, &mut missing);
    let debugging = slab_debug::of(session.kernel()?, &found, &mut missing);
    session.show(&located(at, found, cache, debugging), &missing)
}

fn located(at: VirtAddr, found: SlabObject, cache: Row, debugging: Option<Debugging>) -> Located {
    Located {
        address: at.into(),
        object: object_row(found.at, found.state),
        index: found.index,
        offset: found.offset,
        part: match found.part {
            Part::Object => "object",
            Part::LeftRedZone => "left red zone",
            Part::Metadata => "metadata",
        },
        cache,
        slab: found.slab.at.into(),
        memory: found.slab.start.into(),
        objects: found.slab.objects,
        in_use: found.slab.inuse,
        debugging,
    }
}

impl Reply for Located {
    const KIND: &'static str = "slab";

    fn text(&self) -> String {
        let free = self.objects.saturating_sub(self.in_use);
        format!(
            "{HEADER}{}{SLAB_HEADER}  {:16x}  {:16x}  {:>5}  {:>9}  {free:>4}\n  FREE / [ALLOCATED]\n{}\n  \
             {:x} is {} bytes into the {} number {}\n{}",
            line(&self.cache),
            self.slab.0,
            self.memory.0,
            self.objects,
            self.in_use,
            object_line(&self.object),
            self.address.0,
            self.offset,
            match self.part {
                "object" => "object".to_owned(),
                part => format!("{part} of the object"),
            },
            self.index,
            self.debugging
                .as_ref()
                .map_or_else(String::new, Debugging::text)
        )
    }
}

/// What is wrong with the allocator's state.
#[derive(Debug, Serialize)]
struct Checked {
    findings: Vec<Found>,
    caches: usize,
    slabs: usize,
    free_objects: u64,
}

#[derive(Debug, Serialize)]
struct Found {
    cache: String,
    cache_at: Hex,
    holder: String,
    slab: Hex,
    memory: Hex,
    what: String,
}

fn check(session: &Session<'_>, slub: &Slub<'_>) -> Outcome {
    let check = slub.check().map_err(|why| session.nothing(why))?;
    let one = |finding: &Finding| Found {
        cache: finding.cache.name.clone(),
        cache_at: finding.cache.at.into(),
        holder: finding.holder.to_string(),
        slab: finding.slab.at.into(),
        memory: finding.slab.start.into(),
        what: finding.what.to_string(),
    };
    let found = Checked {
        findings: check.findings.iter().map(one).collect(),
        caches: check.caches,
        slabs: check.slabs,
        free_objects: check.free_objects,
    };
    let missing: Vec<String> = check.missing.iter().map(ToString::to_string).collect();
    session.show(&found, &missing)
}

impl Reply for Checked {
    const KIND: &'static str = "slab-check";

    fn text(&self) -> String {
        let mut text = String::new();
        for found in &self.findings {
            text.push_str(&format!(
                "{}: {}, slab {:x} at {:x}: {}\n",
                clean(&found.cache),
                found.holder,
                found.slab.0,
                found.memory.0,
                clean(&found.what)
            ));
        }
        let nothing = if self.findings.is_empty() {
            "nothing wrong in "
        } else {
            ""
        };
        text.push_str(&format!(
            "{nothing}{} slabs of {} caches, {} free objects on lists\n",
            self.slabs, self.caches, self.free_objects
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_that_miss_the_same_share_a_line() {
        let found = [("a", "x"), ("b", "y"), ("c", "x"), ("c", "x")];
        let found = found.map(|(cache, why)| (cache.to_owned(), why.to_owned()));
        assert_eq!(by_reason(found.to_vec()), ["a, c: x", "b: y"]);
    }
}
