//! How many slabs and objects a cache has, and how many objects are free on which kind of list.
use super::cache::Cache;
use super::lists::{Holder, NodeCounts};
use super::{Lists, Slub};
use crate::object::Missing;

/// A cache's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// All its slabs; `None` where the kernel does not count (without CONFIG_SLUB_DEBUG) and a scan of all pages
    /// would be needed ([`Slub::all_slabs`]).
    pub slabs: Option<u64>,
    /// All objects of its slabs; `None` as above.
    pub objects: Option<u64>,
    /// Free objects on lists that CPUs allocate from.
    pub free_on_cpus: u64,
    /// Free objects of slabs that CPUs hold, beside those: freed by other CPUs, or on partial lists.
    pub free_in_cpu_slabs: u64,
    /// Free objects of slabs on the nodes' partial lists: what /proc/slabinfo counts as free.
    pub free_in_partial: u64,
    /// Slabs on the CPUs' partial lists.
    pub cpu_partial_slabs: u64,
    /// Slabs on the nodes' partial lists.
    pub node_partial_slabs: u64,
    /// Each node's own numbers.
    pub nodes: Vec<NodeCounts>,
    /// What could not be read: the numbers are then what was found.
    pub missing: Vec<Missing>,
}

impl Usage {
    /// Objects that nothing says are free.
    #[must_use]
    pub fn allocated(&self) -> Option<u64> {
        let free = self.free_on_cpus + self.free_in_cpu_slabs + self.free_in_partial;
        self.objects.map(|objects| objects.saturating_sub(free))
    }
}

impl Slub<'_> {
    /// How much of a cache is in use.
    #[must_use]
    pub fn usage(&self, cache: &Cache) -> Usage {
        let mut lists = self.lists(cache);
        let free_on_cpus = self.count_cpu_free(cache, &mut lists);
        usage(lists, free_on_cpus)
    }
}

fn usage(lists: Lists, free_on_cpus: u64) -> Usage {
    let sum = |of: fn(&NodeCounts) -> Option<u64>| {
        lists.nodes.iter().try_fold(0u64, |sum, node| {
            of(node).map(|count| sum.saturating_add(count))
        })
    };
    let (slabs, objects) = if lists.nodes.is_empty() {
        (None, None)
    } else {
        (sum(|node| node.slabs), sum(|node| node.objects))
    };
    let mut usage = Usage {
        slabs,
        objects,
        free_on_cpus,
        free_in_cpu_slabs: 0,
        free_in_partial: 0,
        cpu_partial_slabs: 0,
        node_partial_slabs: 0,
        nodes: lists.nodes,
        missing: lists.missing,
    };
    for (holder, slab) in &lists.slabs {
        let free = slab.objects.saturating_sub(slab.inuse);
        match holder {
            Holder::CpuActive(_) => usage.free_in_cpu_slabs += free,
            Holder::CpuPartial(_) => {
                usage.free_in_cpu_slabs += free;
                usage.cpu_partial_slabs += 1;
            }
            Holder::NodePartial(_) => {
                usage.free_in_partial += free;
                usage.node_partial_slabs += 1;
            }
            Holder::NodeFull(_) => {}
        }
    }
    usage
}
