//! `task_struct` (include/linux/sched.h), by what is known of the first three tasks: the idle task of the first CPU
//! (`init_task`), init, and kthreadd.
use super::memory::{Memory, is_pointer, not_found};
use crate::object::Missing;
use recrash_debuginfo::btf::{FieldKind, FieldSpec, StructSpec};

/// Larger than `task_struct` is without the FPU state at its end.
const TASK_MAX: u64 = 16 << 10;
/// `THREAD_SIZE` without KASAN.
const STACK: u64 = 16 << 10;
/// `TASK_COMM_LEN`.
const COMM: usize = 16;
/// `PF_KTHREAD`.
const KTHREAD: u32 = 0x0020_0000;
/// No task state has bits beyond (`TASK_STATE_MAX` and the flags above it).
const STATES: u64 = 0x3_ffff;
/// `struct thread_struct` up to what is used of it (arch/x86/include/asm/processor.h): the same from 4.18 to 6.12.
const THREAD: [FieldSpec; 4] = [
    ("sp", 24, FieldKind::Unsigned(8)),
    ("cr2", 104, FieldKind::Unsigned(8)),
    ("trap_nr", 112, FieldKind::Unsigned(8)),
    ("error_code", 120, FieldKind::Unsigned(8)),
];

/// What the prober has found so far.
struct Tasks<'m, 'k> {
    memory: &'m Memory<'k>,
    /// `init_task`.
    idle: u64,
    comm: u64,
    stack: u64,
    tasks: u64,
    /// Every process but the idle one, in the order they were made.
    processes: Vec<u64>,
}

pub(super) fn probe(memory: &Memory<'_>) -> Result<Vec<StructSpec>, Missing> {
    let found = Tasks::find(memory)?;
    let pid = found.pid().ok_or_else(|| not_found("pid"))?;
    let mut fields: Vec<FieldSpec> = vec![
        at("comm", found.comm, FieldKind::Chars(COMM as u32)),
        at("stack", found.stack, FieldKind::Pointer),
        at("tasks", found.tasks, FieldKind::Struct("list_head")),
        at("pid", pid, FieldKind::Signed(4)),
        at("tgid", pid + 4, FieldKind::Signed(4)),
    ];
    fields.extend(found.state());
    fields.extend(found.flags());
    fields.extend(found.family());
    fields.extend(found.mm());
    fields.extend(found.cpu());
    let mut structs = Vec::new();
    if let Some(thread) = found.thread() {
        structs.push(StructSpec {
            name: "thread_struct",
            size: 128,
            fields: THREAD.to_vec(),
        });
        fields.push(at("thread", thread, FieldKind::Struct("thread_struct")));
    }
    structs.push(StructSpec {
        name: "task_struct",
        size: TASK_MAX as u32,
        fields,
    });
    Ok(structs)
}

fn at(name: &'static str, offset: u64, kind: FieldKind) -> FieldSpec {
    (name, u32::try_from(offset).unwrap_or(u32::MAX), kind)
}

impl<'m, 'k> Tasks<'m, 'k> {
    fn find(memory: &'m Memory<'k>) -> Result<Self, Missing> {
        let idle = memory.symbol("init_task")?;
        let bytes = memory
            .bytes(idle, TASK_MAX as usize)
            .or_else(|| memory.bytes(idle, TASK_MAX as usize / 4))
            .ok_or_else(|| not_found("memory of init_task"))?;
        let comm = comm(&bytes).ok_or_else(|| not_found("comm"))?;
        let stack = memory
            .symbol("init_stack")
            .or_else(|_| memory.symbol("init_thread_union"))?;
        let stack = (0..128)
            .step_by(8)
            .find(|offset| memory.word(idle + offset) == Some(stack))
            .ok_or_else(|| not_found("stack"))?;
        let is_task = |task: u64| {
            memory.name(task.wrapping_add(comm), COMM).is_some()
                && memory
                    .pointer(task.wrapping_add(stack))
                    .is_some_and(|at| at % 4096 == 0)
        };
        let ring = |offset: u64| Some((offset, memory.ring(idle + offset, offset, is_task)?));
        let (tasks, processes) = (0..comm)
            .step_by(8)
            .filter_map(ring)
            .filter(|(_, found)| found.len() >= 2)
            .max_by_key(|(offset, found)| (found.len(), std::cmp::Reverse(*offset)))
            .ok_or_else(|| not_found("ring of tasks"))?;
        Ok(Self {
            memory,
            idle,
            comm,
            stack,
            tasks,
            processes,
        })
    }

    /// The first offset of which `fits` is true, the only one if `only`.
    fn offset(&self, from: u64, to: u64, step: usize, fits: impl Fn(u64) -> bool) -> Option<u64> {
        let mut all = (from..to).step_by(step).filter(|offset| fits(*offset));
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    fn of_all(&self, fits: impl Fn(u64) -> bool) -> bool {
        self.processes.iter().all(|task| fits(*task))
    }

    /// `pid` and `tgid` lie side by side and are equal in the first thread of a process, which is what the ring has:
    /// 1 in init, 2 in kthreadd, 0 in the idle task.
    fn pid(&self) -> Option<u64> {
        let &[init, kthreadd, ..] = self.processes.as_slice() else {
            return None;
        };
        let pair = |task: u64, offset: u64| {
            Some((
                self.memory.half(task + offset)?,
                self.memory.half(task + offset + 4)?,
            ))
        };
        self.offset(self.tasks, self.comm, 4, |offset| {
            pair(init, offset) == Some((1, 1))
                && pair(kthreadd, offset) == Some((2, 2))
                && pair(self.idle, offset) == Some((0, 0))
                && self.of_all(|task| pair(task, offset).is_some_and(|(a, b)| a == b && a > 0))
        })
    }

    /// Lies before `stack`. It was a long until 5.14 (commit 2f064a59a11f "sched: Change task_struct::state").
    fn state(&self) -> Option<FieldSpec> {
        let offset = self.stack.checked_sub(8)?;
        let (name, size) = if self.stack <= 24 {
            ("state", 8)
        } else {
            ("__state", 4)
        };
        let state = |task: u64| match size {
            8 => self.memory.word(task + offset),
            _ => self.memory.half(task + offset).map(u64::from),
        };
        let possible = self.of_all(|task| state(task).is_some_and(|s| s & !STATES == 0));
        let some_sleep = self.processes.iter().any(|task| state(*task) != Some(0));
        (possible && some_sleep).then(|| at(name, offset, FieldKind::Unsigned(size)))
    }

    /// Behind `stack` and a reference count: kthreadd is a kernel thread, init is none.
    fn flags(&self) -> Option<FieldSpec> {
        let offset = self.stack + 12;
        let &[init, kthreadd, ..] = self.processes.as_slice() else {
            return None;
        };
        let is_kthread = |task| Some(self.memory.half(task + offset)? & KTHREAD != 0);
        (is_kthread(init) == Some(false) && is_kthread(kthreadd) == Some(true))
            .then(|| at("flags", offset, FieldKind::Unsigned(4)))
    }

    /// The idle task is its own parent, both of them, and its own leader; it made init and kthreadd.
    fn family(&self) -> Vec<FieldSpec> {
        let own = |offset: u64| self.memory.word(self.idle + offset) == Some(self.idle);
        let found = self.offset(self.tasks, self.comm, 8, |offset| {
            own(offset)
                && own(offset + 8)
                && own(offset + 48)
                && self.processes.iter().take(2).all(|task| {
                    self.memory.word(task + offset) == Some(self.idle)
                        && self.memory.word(task + offset + 48) == Some(*task)
                })
        });
        let list = FieldKind::Struct("list_head");
        let spec = |offset| {
            vec![
                at("real_parent", offset, FieldKind::Pointer),
                at("parent", offset + 8, FieldKind::Pointer),
                at("children", offset + 16, list),
                at("sibling", offset + 32, list),
                at("group_leader", offset + 48, FieldKind::Pointer),
            ]
        };
        found.map(spec).unwrap_or_default()
    }

    /// `mm` and `active_mm` are the same in a process, and a kernel thread has no `mm`.
    fn mm(&self) -> Vec<FieldSpec> {
        let &[init, kthreadd, ..] = self.processes.as_slice() else {
            return Vec::new();
        };
        let words = |task: u64, offset: u64| {
            Some((
                self.memory.word(task + offset)?,
                self.memory.word(task + offset + 8)?,
            ))
        };
        let found = (self.tasks..self.comm).step_by(8).find(|offset| {
            words(init, *offset).is_some_and(|(mm, active)| is_pointer(mm) && mm == active)
                && words(kthreadd, *offset).is_some_and(|(mm, _)| mm == 0)
                && words(self.idle, *offset).is_some_and(|(mm, _)| mm == 0)
                && self.of_all(|task| {
                    words(task, *offset).is_some_and(|(mm, active)| {
                        (mm == 0 && (active == 0 || is_pointer(active))) || mm == active
                    })
                })
        });
        let spec = |offset| {
            vec![
                at("mm", offset, FieldKind::Pointer),
                at("active_mm", offset + 8, FieldKind::Pointer),
            ]
        };
        found.map(spec).unwrap_or_default()
    }

    /// `on_cpu` is 1 in the tasks that run and 0 in others; `cpu` is the number of the CPU, which is in `thread_info`
    /// since 5.16 (commit bcf9033e5449) and was behind `on_cpu` before.
    fn cpu(&self) -> Vec<FieldSpec> {
        const NEAR: u64 = 64;
        let kernel = self.memory.kernel;
        let count = kernel.cpu_count().unwrap_or(0);
        let running: Vec<(u32, u64)> = (0..count)
            .filter_map(|cpu| {
                let at = kernel.per_cpu_symbol(cpu, "current_task").ok()?;
                Some((cpu, self.memory.pointer(at.0)?))
            })
            .collect();
        // With one CPU alone there is a 1 and a 0 everywhere.
        if running.len() < 2 {
            return Vec::new();
        }
        let runs = |task: u64| running.iter().any(|(_, running)| *running == task);
        let is_on_cpu = |offset: &u64| {
            let expected = |task: u64| Some(u32::from(runs(task)));
            running
                .iter()
                .all(|(_, task)| self.memory.half(task + offset) == Some(1))
                && self.of_all(|task| self.memory.half(task + offset) == expected(task))
        };
        let is_cpu = |offset: &u64| {
            let below = |task: u64| {
                self.memory
                    .half(task + offset)
                    .is_some_and(|cpu| cpu < count)
            };
            let mut running = running.iter();
            running.all(|(cpu, task)| self.memory.half(task + offset) == Some(*cpu))
                && self.of_all(below)
        };
        let from = self.stack + 16;
        let Some(on_cpu) = (from..from + NEAR).step_by(4).find(is_on_cpu) else {
            return Vec::new();
        };
        let mut fields = vec![at("on_cpu", on_cpu, FieldKind::Signed(4))];
        let cpu = match self.stack {
            32 => Some(20).filter(is_cpu),
            _ => (on_cpu + 4..on_cpu + NEAR).step_by(4).find(is_cpu),
        };
        fields.extend(cpu.map(|cpu| at("cpu", cpu, FieldKind::Unsigned(4))));
        fields
    }

    /// A task that does not run has its stack pointer in `thread.sp`. The last such word: others come and go.
    fn thread(&self) -> Option<u64> {
        let on_stack = |task: u64, offset: u64| {
            let stack = self.memory.word(task + self.stack)?;
            let sp = self.memory.word(task + offset)?;
            Some(sp.wrapping_sub(stack) < STACK && sp.is_multiple_of(8))
        };
        let most = |offset: u64| {
            let hits = self
                .processes
                .iter()
                .filter(|task| on_stack(**task, offset) == Some(true));
            // Each CPU runs one, whose saved pointer is stale but lies on its stack all the same.
            hits.count() == self.processes.len()
        };
        let end = TASK_MAX.min(self.comm + 8192);
        let sp = (self.comm..end)
            .step_by(8)
            .filter(|offset| most(*offset))
            .last()?;
        sp.checked_sub(24)
    }
}

/// Where the only "swapper" lies: the name of the first CPU's idle task, `swapper/0` or `swapper`.
fn comm(task: &[u8]) -> Option<u64> {
    let is_name = |window: &[u8]| {
        let name = window.split(|b| *b == 0).next().unwrap_or_default();
        name == b"swapper" || name == b"swapper/0"
    };
    let mut hits = task
        .windows(COMM)
        .enumerate()
        .filter(|(_, window)| is_name(window))
        .map(|(offset, _)| offset as u64);
    let first = hits.next()?;
    hits.next().is_none().then_some(first)
}
