//! `ps`: the tasks, in crash's columns.
use recrash_kernel::task::{self, Task};
use recrash_kernel::{Kernel, Object};
use recrash_vmcore::VirtAddr;
use serde::Serialize;
use std::collections::HashMap;

use super::super::Outcome;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use crate::failure::Failure;

/// KiB of a page.
const PAGE_KIB: u64 = 4;
/// MM_FILEPAGES, MM_ANONPAGES and MM_SHMEMPAGES (include/linux/mm_types_task.h): what counts as resident.
const RESIDENT: [u64; 3] = [0, 1, 3];

/// Lists the tasks.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kernel threads only
    #[arg(short, conflicts_with = "user")]
    kernel: bool,
    /// User tasks only
    #[arg(short)]
    user: bool,
    /// Of each process its first thread only
    #[arg(short = 'G')]
    leaders: bool,
    /// Only tasks that a CPU ran
    #[arg(short = 'A')]
    active: bool,
    /// How many there are in each state
    #[arg(short = 'S')]
    summary: bool,
    /// Pids, addresses of task_struct, or names
    #[arg(value_name = "PID|TASK|NAME")]
    which: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tasks {
    tasks: Vec<Row>,
    #[serde(skip)]
    summary: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    active: bool,
    pid: i32,
    tgid: Option<i32>,
    ppid: Option<i32>,
    cpu: Option<u32>,
    task: Hex,
    state: Option<&'static str>,
    /// Resident memory in hundredths of all memory.
    mem_percent: Option<f64>,
    /// KiB.
    vsz: Option<u64>,
    /// KiB.
    rss: Option<u64>,
    comm: String,
    kernel_thread: Option<bool>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let (tasks, gaps) = task::list(kernel);
        let mut missing: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        if tasks.is_empty() {
            return Err(session.nothing(missing.join("; ")));
        }
        let mut wanted: Vec<&Task> = tasks.iter().filter(|task| self.wants(task)).collect();
        wanted.sort_by_key(|task| (task.pid, task.cpu));
        if let Some(unknown) = self.unknown(tasks) {
            return Err(
                Failure::usage(anyhow::anyhow!("there is no task {unknown:?}"))
                    .hint("expected a pid, the address of a task_struct, or a name"),
            );
        }
        let totals = Totals {
            pages: total_pages(kernel),
            uncounted: uncounted(kernel, tasks),
        };
        let rows = wanted
            .iter()
            .map(|task| row(kernel, task, &totals, &mut missing))
            .collect();
        let found = Tasks {
            tasks: rows,
            summary: self.summary,
        };
        session.show(&found, &missing)
    }

    fn wants(&self, task: &Task) -> bool {
        let of_kernel = task.is_kernel_thread().unwrap_or(false) || task.pid == 0;
        (!self.kernel || of_kernel)
            && (!self.user || !of_kernel)
            && (!self.leaders || task.is_group_leader())
            && (!self.active || task.on_cpu == Some(true))
            && (self.which.is_empty() || self.which.iter().any(|text| is(task, text)))
    }

    fn unknown(&self, tasks: &[Task]) -> Option<&String> {
        self.which
            .iter()
            .find(|text| !tasks.iter().any(|task| is(task, text)))
    }
}

fn is(task: &Task, text: &str) -> bool {
    text.parse() == Ok(task.pid)
        || super::address::hexadecimal(text) == Some(task.at.0)
        || text == task.comm
}

/// What is summed up once for all tasks.
struct Totals {
    pages: Option<u64>,
    uncounted: HashMap<VirtAddr, i64>,
}

/// Pages that threads have counted for themselves and not yet added to their process's: `task_struct.rss_stat`
/// before 6.2 (SPLIT_RSS_COUNTING; commit f1a7941243c1 replaced it).
fn uncounted(kernel: &Kernel<'_>, tasks: &[Task]) -> HashMap<VirtAddr, i64> {
    let mut sums = HashMap::new();
    if kernel.field("task_struct", "rss_stat.count[0]").is_err() {
        return sums;
    }
    for task in tasks {
        let Some(mm) = task.mm.filter(|mm| mm.0 != 0) else {
            continue;
        };
        let object = Object::new(kernel, "task_struct", task.at);
        for index in RESIDENT {
            if let Ok(pages) = object.i32(&format!("rss_stat.count[{index}]")) {
                let sum: &mut i64 = sums.entry(mm).or_default();
                *sum = sum.saturating_add(pages.into());
            }
        }
    }
    sums
}

fn total_pages(kernel: &Kernel<'_>) -> Option<u64> {
    kernel
        .u64_at_symbol("_totalram_pages")
        .or_else(|_| kernel.u64_at_symbol("totalram_pages"))
        .ok()
        .filter(|pages| *pages != 0)
}

fn row(kernel: &Kernel<'_>, task: &Task, totals: &Totals, missing: &mut Vec<String>) -> Row {
    let memory = match task::memory(kernel, task) {
        Ok(memory) => Some(memory.map_or((0, 0), |memory| {
            let own = task.mm.and_then(|mm| totals.uncounted.get(&mm).copied());
            let resident = memory.resident.saturating_add_signed(own.unwrap_or(0));
            (memory.total, resident)
        })),
        Err(why) => {
            missing.push(format!("memory of task {}: {why}", task.pid));
            None
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let percent =
        |resident: u64, pages: u64| (resident as f64 * 1000.0 / pages as f64).round() / 10.0;
    Row {
        active: task.on_cpu == Some(true),
        pid: task.pid,
        tgid: task.tgid,
        ppid: task.parent,
        cpu: task.cpu,
        task: task.at.into(),
        state: task.state.map(|state| state.letters()),
        mem_percent: memory
            .zip(totals.pages)
            .map(|((_, resident), pages)| percent(resident, pages)),
        vsz: memory.map(|(total, _)| total.saturating_mul(PAGE_KIB)),
        rss: memory.map(|(_, resident)| resident.saturating_mul(PAGE_KIB)),
        comm: task.comm.clone(),
        kernel_thread: task.is_kernel_thread(),
    }
}

impl Reply for Tasks {
    const KIND: &'static str = "ps";

    fn text(&self) -> String {
        if self.summary {
            return self.counts();
        }
        let mut text =
            "      PID    PPID  CPU       TASK        ST  %MEM      VSZ      RSS  COMM\n"
                .to_owned();
        for row in &self.tasks {
            text.push_str(&line(row));
        }
        text
    }
}

impl Tasks {
    /// crash's `ps -S`, most first.
    fn counts(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for row in &self.tasks {
            let state = row.state.unwrap_or("??");
            match counts.iter_mut().find(|(known, _)| *known == state) {
                Some((_, count)) => *count += 1,
                None => counts.push((state, 1)),
            }
        }
        let lines = counts
            .iter()
            .map(|(state, count)| format!("  {state}: {count}\n"));
        lines.collect()
    }
}

fn line(row: &Row) -> String {
    let or = |value: Option<String>| value.unwrap_or_else(|| "?".into());
    let number = |value: Option<u64>| or(value.map(|value| value.to_string()));
    let comm = clean(&row.comm);
    let comm = match row.kernel_thread == Some(true) || row.pid == 0 {
        true => format!("[{comm}]"),
        false => comm,
    };
    format!(
        "{}{:>8}{:>8}{:>4}  {:16x}  {:>2}{:>6}{:>9}{:>9}  {comm}\n",
        if row.active { '>' } else { ' ' },
        row.pid,
        or(row.ppid.map(|pid| pid.to_string())),
        or(row.cpu.map(|cpu| cpu.to_string())),
        row.task.0,
        row.state.unwrap_or("??"),
        or(row.mem_percent.map(|percent| format!("{percent:.1}"))),
        number(row.vsz),
        number(row.rss),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: Row, expected: &str) {
        assert_eq!(line(&row), expected);
    }

    fn row(pid: i32, kernel_thread: bool) -> Row {
        Row {
            active: pid == 0,
            pid,
            tgid: Some(pid),
            ppid: Some(0),
            cpu: Some(0),
            task: Hex(0xffff_8cd3_4120_0000),
            state: Some("IN"),
            mem_percent: Some(0.5),
            vsz: Some(2148),
            rss: Some(1524),
            comm: "init".into(),
            kernel_thread: Some(kernel_thread),
        }
    }

    #[test]
    fn lines_are_those_of_crash() {
        check(
            row(1, false),
            "        1       0   0  ffff8cd341200000  IN   0.5     2148     1524  init\n",
        );
        check(
            row(0, true),
            ">       0       0   0  ffff8cd341200000  IN   0.5     2148     1524  [init]\n",
        );
    }

    #[test]
    fn what_is_not_known_is_a_question_mark() {
        let unknown = Row {
            ppid: None,
            cpu: None,
            state: None,
            mem_percent: None,
            vsz: None,
            rss: None,
            ..row(7, false)
        };
        check(
            unknown,
            "        7       ?   ?  ffff8cd341200000  ??     ?        ?        ?  init\n",
        );
    }
}
