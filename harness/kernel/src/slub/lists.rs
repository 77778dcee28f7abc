//! The slabs that a cache's lists hold: each CPU's active one and its partial list, each node's partial and full
//! lists. Slabs that are full and on no list (without debugging) are found by page only.
use super::cache::{Cache, CpuSlab, optional};
use super::page::PageMap;
use super::slab::{Slab, descriptor};
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// More slabs than one list of a real cache holds.
const MAX_SLABS: usize = 1 << 20;
/// MAX_NUMNODES is at most 1024 on x86-64 (CONFIG_NODES_SHIFT).
const MAX_NODES: u64 = 1024;

/// Where a slab was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A CPU allocates from it.
    CpuActive(u32),
    /// On a CPU's partial list.
    CpuPartial(u32),
    /// On a node's partial list.
    NodePartial(u32),
    /// On a node's full list, which only debugging has.
    NodeFull(u32),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CpuActive(cpu) => write!(f, "active slab of CPU {cpu}"),
            Self::CpuPartial(cpu) => write!(f, "partial list of CPU {cpu}"),
            Self::NodePartial(node) => write!(f, "partial list of node {node}"),
            Self::NodeFull(node) => write!(f, "full list of node {node}"),
        }
    }
}

/// A node's part of a cache (`struct kmem_cache_node`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCounts {
    /// The node's number.
    pub node: u32,
    /// Slabs on its partial list, as the kernel counts.
    pub partial: u64,
    /// All its slabs; `None` without CONFIG_SLUB_DEBUG.
    pub slabs: Option<u64>,
    /// All objects of its slabs; `None` without CONFIG_SLUB_DEBUG.
    pub objects: Option<u64>,
}

/// All that a cache's lists hold.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Each CPU's active slab; the slab's address is 0 where it has none.
    pub cpus: Vec<(u32, CpuSlab)>,
    /// The nodes that the cache has.
    pub nodes: Vec<NodeCounts>,
    /// Every slab on a list, once.
    pub slabs: Vec<(Holder, Slab)>,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

impl Lists {
    fn keep<T>(&mut self, found: Result<T, Missing>) -> Option<T> {
        found.map_err(|missing| self.missing.push(missing)).ok()
    }
}

/// The slabs on a cache's lists. Breaking off one list hides no other.
#[must_use]
pub(super) fn lists(kernel: &Kernel<'_>, map: &PageMap, cache: &Cache, cpus: &[u32]) -> Lists {
    let mut lists = Lists::default();
    for &cpu in cpus {
        let Some(cpu_slab) = lists.keep(cache.cpu_slab(kernel, cpu)) else {
            continue;
        };
        if cpu_slab.slab.0 != 0
            && let Some(slab) = lists.keep(Slab::read(kernel, map, cpu_slab.slab))
        {
            lists.slabs.push((Holder::CpuActive(cpu), slab));
        }
        cpu_partial(kernel, map, cpu, &cpu_slab, &mut lists);
        lists.cpus.push((cpu, cpu_slab));
    }
    if let Err(missing) = nodes(kernel, map, cache, &mut lists) {
        lists.missing.push(missing);
    }
    lists
}

/// A CPU's partial slabs are chained by their `next` field (CONFIG_SLUB_CPU_PARTIAL).
fn cpu_partial(
    kernel: &Kernel<'_>,
    map: &PageMap,
    cpu: u32,
    cpu_slab: &CpuSlab,
    lists: &mut Lists,
) {
    let object = Object::new(kernel, "kmem_cache_cpu", cpu_slab.at);
    let Some(mut at) = lists
        .keep(optional(&object, "partial"))
        .flatten()
        .map(VirtAddr)
    else {
        return;
    };
    let mut count = 0;
    while at.0 != 0 {
        // The kernel keeps a few dozen at most.
        if count >= 4096 {
            lists.missing.push(Missing::Implausible(format!(
                "the partial list of CPU {cpu} does not end"
            )));
            return;
        }
        count += 1;
        let Some(slab) = lists.keep(Slab::read(kernel, map, at)) else {
            return;
        };
        let next = Object::new(kernel, descriptor(kernel), at).ptr("next");
        lists.slabs.push((Holder::CpuPartial(cpu), slab));
        let Some(next) = lists.keep(next) else { return };
        at = next;
    }
}

fn nodes(
    kernel: &Kernel<'_>,
    map: &PageMap,
    cache: &Cache,
    lists: &mut Lists,
) -> Result<(), Missing> {
    let cache = Object::new(kernel, "kmem_cache", cache.at);
    if !cache.has("node") {
        return Ok(());
    }
    let table = kernel.field("kmem_cache", "node")?;
    // The array's declared length is MAX_NUMNODES; the structure is allocated for nr_node_ids only
    // (mm/slub.c, kmem_cache_init()).
    let used = node_count(kernel).min(table.size / 8);
    for node in 0..used {
        let at = cache.addr_of("node")?.wrapping_add(node * 8);
        let at = kernel.memory().u64_at(at).map_err(|error| Missing::Memory {
            what: format!("kmem_cache.node[{node}]"),
            error,
        });
        let Some(at) = lists.keep(at).filter(|at| *at != 0) else {
            continue;
        };
        let node = u32::try_from(node).unwrap_or(u32::MAX);
        one_node(kernel, map, node, VirtAddr(at), lists);
    }
    Ok(())
}

/// `nr_node_ids` is a variable with CONFIG_NUMA's several nodes, and 1 without.
fn node_count(kernel: &Kernel<'_>) -> u64 {
    let variable = kernel
        .symbol("nr_node_ids")
        .ok()
        .and_then(|at| kernel.memory().u32_at(at).ok());
    variable.map_or(1, |count| u64::from(count).clamp(1, MAX_NODES))
}

fn one_node(kernel: &Kernel<'_>, map: &PageMap, node: u32, at: VirtAddr, lists: &mut Lists) {
    let object = Object::new(kernel, "kmem_cache_node", at);
    let counts = || -> Result<NodeCounts, Missing> {
        Ok(NodeCounts {
            node,
            partial: object.u64("nr_partial")?,
            slabs: optional(&object, "nr_slabs")?,
            objects: optional(&object, "total_objects")?,
        })
    };
    if let Some(counts) = lists.keep(counts()) {
        lists.nodes.push(counts);
    }
    for (field, holder) in [
        ("partial", Holder::NodePartial(node)),
        ("full", Holder::NodeFull(node)),
    ] {
        if !object.has(field) {
            continue;
        }
        let Some(head) = lists.keep(object.addr_of(field)) else {
            continue;
        };
        for at in chain(kernel, head, lists) {
            if let Some(slab) = lists.keep(Slab::read(kernel, map, at)) {
                lists.slabs.push((holder, slab));
            }
        }
    }
}

/// The descriptors on a list of slabs. A list that meets an entry twice, or can't be read, gives what came before.
fn chain(kernel: &Kernel<'_>, head: VirtAddr, lists: &mut Lists) -> Vec<VirtAddr> {
    let of = descriptor(kernel);
    // slab_list, which was lru before 5.3 (commit 916ac0527837 "slub: use slab_list instead of lru").
    let member = lists.keep(
        kernel
            .field(of, "slab_list")
            .or_else(|_| kernel.field(of, "lru")),
    );
    let mut found = Vec::new();
    let Some(member) = member else { return found };
    let mut seen = HashSet::from([head]);
    let mut at = head;
    loop {
        let next = kernel.memory().u64_at(at).map_err(|error| Missing::Memory {
            what: "a node's list of slabs".into(),
            error,
        });
        let Some(next) = lists.keep(next) else {
            return found;
        };
        at = VirtAddr(next);
        if at == head {
            return found;
        }
        if !seen.insert(at) || found.len() >= MAX_SLABS {
            lists.missing.push(Missing::Implausible(format!(
                "the list of slabs at {head} does not end: {at} comes twice"
            )));
            return found;
        }
        found.push(VirtAddr(at.0.wrapping_sub(member.offset)));
    }
}
