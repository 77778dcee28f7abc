//! All tasks: the idle task of each CPU, every thread of every process.
//!
//! Processes hang on `init_task.tasks`, the threads of each on `signal->thread_head`. A list that is damaged is walked
//! from both ends. No task is given twice, so a loop ends; the number of tasks is bounded by the process ids that
//! there can be, and by the memory that there is: each task has a stack of at least two pages.
use super::fields::Fields;
use super::{Task, current};
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// PID_MAX_LIMIT (include/linux/threads.h).
const MAX_TASKS: usize = 4 << 20;
/// Pages of a task's stack, at least.
const PAGES_PER_TASK: u64 = 2;
/// Reasons that are kept; a dump without task pages has one for each task.
const MAX_REASONS: usize = 64;

/// Every thread of every process and the per-CPU idle tasks, and what could not be read. Idle tasks come first, by
/// CPU; then processes in the order of their list, each followed by its threads.
#[must_use]
pub fn tasks(kernel: &Kernel<'_>) -> (Vec<Task>, Vec<Missing>) {
    list(kernel).clone()
}

/// As [`tasks`], read once for each kernel.
#[must_use]
pub fn list<'k>(kernel: &'k Kernel<'_>) -> &'k (Vec<Task>, Vec<Missing>) {
    kernel.stack_cache().tasks.get_or_init(|| {
        let mut walk = match Walk::new(kernel) {
            Ok(walk) => walk,
            Err(missing) => return (Vec::new(), vec![missing]),
        };
        walk.idle();
        walk.processes();
        walk.running();
        (walk.found, walk.missing)
    })
}

struct Walk<'k, 'd> {
    kernel: &'k Kernel<'d>,
    fields: Fields,
    seen: HashSet<VirtAddr>,
    found: Vec<Task>,
    missing: Vec<Missing>,
    /// Most tasks there can be.
    bound: usize,
}

impl<'k, 'd> Walk<'k, 'd> {
    fn new(kernel: &'k Kernel<'d>) -> Result<Self, Missing> {
        Ok(Self {
            kernel,
            fields: Fields::new(kernel)?,
            seen: HashSet::new(),
            found: Vec::new(),
            missing: Vec::new(),
            bound: bound(kernel),
        })
    }

    fn note(&mut self, missing: Missing) {
        if self.missing.len() < MAX_REASONS && !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }

    /// Reads a task that was not met before.
    fn take(&mut self, at: VirtAddr, cpu: Option<u32>) {
        if self.found.len() >= self.bound || !self.seen.insert(at) {
            return;
        }
        match self.fields.read(self.kernel, at) {
            Ok(task) => self.found.push(Task {
                cpu: cpu.or(task.cpu),
                ..task
            }),
            Err(missing) => self.note(missing),
        }
    }

    fn idle(&mut self) {
        let count = match self.kernel.cpu_count() {
            Ok(count) => count,
            Err(missing) => return self.note(missing),
        };
        for cpu in 0..count {
            match idle_task(self.kernel, cpu) {
                Ok(Some(at)) => self.take(at, Some(cpu)),
                Ok(None) => {}
                Err(missing) => self.note(missing),
            }
        }
    }

    fn processes(&mut self) {
        let (tasks, init) = match (
            self.kernel.field("task_struct", "tasks"),
            self.kernel.own_symbol("init_task"),
        ) {
            (Ok(field), Ok(init)) => (field.offset, init),
            (Err(missing), _) | (_, Err(missing)) => return self.note(missing),
        };
        self.take(init, None);
        let head = init.wrapping_add(tasks);
        for entry in self.entries(head, "list of processes") {
            self.threads(VirtAddr(entry.0.wrapping_sub(tasks)));
        }
    }

    /// A process's leader and its other threads.
    fn threads(&mut self, leader: VirtAddr) {
        self.take(leader, None);
        let task = Object::new(self.kernel, "task_struct", leader);
        let list = task.ptr("signal").and_then(|signal| {
            let head = self.kernel.field("signal_struct", "thread_head")?.offset;
            let node = self.kernel.field("task_struct", "thread_node")?.offset;
            Ok((signal, signal.wrapping_add(head), node))
        });
        let (signal, head, node) = match list {
            Ok(list) => list,
            Err(missing) => return self.note(missing),
        };
        // A task that is being reaped has left its group.
        if signal.0 == 0 {
            return;
        }
        for entry in self.entries(head, "list of a process's threads") {
            self.take(VirtAddr(entry.0.wrapping_sub(node)), None);
        }
    }

    /// A CPU may have been running a task that has left the lists already, or a list may be cut.
    fn running(&mut self) {
        for task in current::running(self.kernel) {
            if self.seen.insert(task.at) {
                self.found.push(task.clone());
            }
        }
    }

    /// The entries of a circular list, without its head: forwards, and where that breaks off from the other end too.
    fn entries(&mut self, head: VirtAddr, what: &'static str) -> Vec<VirtAddr> {
        let mut seen = HashSet::from([head]);
        let mut found = Vec::new();
        let Err(missing) = self.follow(head, 0, &mut seen, &mut found) else {
            return found;
        };
        self.note(Missing::Implausible(format!(
            "{what} is cut, and was walked from its other end too: {missing}"
        )));
        let mut back = Vec::new();
        if let Err(missing) = self.follow(head, 8, &mut seen, &mut back) {
            self.note(Missing::Implausible(format!(
                "{what}, backwards: {missing}"
            )));
        }
        found.extend(back.into_iter().rev());
        found
    }

    /// Follows `next` (offset 0) or `prev` (offset 8) of `struct list_head` up to the head.
    fn follow(
        &self,
        head: VirtAddr,
        link: u64,
        seen: &mut HashSet<VirtAddr>,
        found: &mut Vec<VirtAddr>,
    ) -> Result<(), Missing> {
        let mut at = head;
        loop {
            let next = self
                .kernel
                .memory()
                .u64_at(at.wrapping_add(link))
                .map_err(missing("list entry"))?;
            at = VirtAddr(next);
            if at == head {
                return Ok(());
            }
            if !seen.insert(at) {
                return Err(Missing::Implausible(format!(
                    "the entry at {at} comes twice"
                )));
            }
            if found.len() >= self.bound {
                return Err(Missing::Implausible(format!(
                    "more than {} entries",
                    self.bound
                )));
            }
            // An entry that can't be read is none.
            self.kernel
                .memory()
                .u64_at(at.wrapping_add(link))
                .map_err(missing("list entry"))?;
            found.push(at);
        }
    }
}

/// By `max_pfn` (mm/memblock.c), the end of memory in pages.
fn bound(kernel: &Kernel<'_>) -> usize {
    let at = kernel.own_symbol("max_pfn").ok();
    let pages = at.and_then(|at| kernel.memory().u64_at(at).ok());
    pages
        .filter(|pages| *pages != 0)
        .and_then(|pages| usize::try_from(pages / PAGES_PER_TASK).ok())
        .map_or(MAX_TASKS, |tasks| tasks.min(MAX_TASKS))
}

/// `runqueues.idle`, else `idle_threads` (kernel/smpboot.c); `None` for a CPU that never came up.
fn idle_task(kernel: &Kernel<'_>, cpu: u32) -> Result<Option<VirtAddr>, Missing> {
    let by_queue = || Object::new(kernel, "rq", kernel.own_per_cpu(cpu, "runqueues")?).ptr("idle");
    let by_thread = || {
        let at = kernel.own_per_cpu(cpu, "idle_threads")?;
        let task = kernel.memory().u64_at(at);
        task.map(VirtAddr).map_err(missing("idle_threads"))
    };
    let at = by_queue().or_else(|_: Missing| by_thread())?;
    Ok((at.0 != 0).then_some(at))
}
