//! `sys`: which machine and kernel this was, when and of what it died, and what recrash found to read it by.
use recrash_kernel::open::TypeSource;
use recrash_kernel::open::build_id::hexadecimal;
use recrash_kernel::{Kernel, Missing, Object, printk, task};
use recrash_vmcore::{PagingLevels, VirtAddr, VirtMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use crate::output;

/// Bits behind the point of `avenrun` (FSHIFT, include/linux/sched/loadavg.h).
const FSHIFT: u32 = 11;
/// Bits of `cpu_online_mask` that are looked at: CONFIG_NR_CPUS is at most 8192.
const MAX_CPUS: u64 = 8192;
/// More nodes than CONFIG_NODES_SHIFT allows.
const MAX_NODES: u64 = 1024;
const PAGE: u64 = 4096;

/// Shows what kind of machine this was, and how it ended.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What there is; a value that could not be found is left out, and told in `missing`.
#[derive(Debug, Default, Serialize)]
struct System {
    dumpfile: String,
    format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dump_level: Option<u32>,
    cpus: Option<u32>,
    cpus_online: Option<u32>,
    /// Seconds since 1970.
    date: Option<i64>,
    /// Seconds since boot.
    uptime: Option<u64>,
    load_average: Option<[f64; 3]>,
    tasks: Option<usize>,
    nodename: Option<String>,
    release: Option<String>,
    version: Option<String>,
    machine: Option<String>,
    cpu_mhz: Option<u64>,
    /// Bytes.
    memory: Option<u64>,
    panic: Option<String>,
    kaslr_offset: Option<Hex>,
    phys_base: Option<Hex>,
    paging_levels: Option<u32>,
    build_id: Option<String>,
    tainted: Option<Hex>,
    symbols: Option<Symbols>,
    /// The vmlinux with debug information, where one was given or found.
    vmlinux: Option<String>,
    /// Where types come from; absent without any.
    types: Option<&'static str>,
    unwinding: Option<&'static str>,
    modules: Option<usize>,
    crashed: Option<Crashed>,
}

#[derive(Debug, Serialize)]
struct Symbols {
    count: usize,
    source: &'static str,
}

/// The task that the CPU that died was running.
#[derive(Debug, Serialize)]
struct Crashed {
    pid: i32,
    comm: String,
    task: Hex,
    cpu: Option<u32>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let mut missing: Vec<String> = session.dump.warnings().to_vec();
        let mut system = headers(session);
        match session.try_kernel() {
            Ok(kernel) => {
                missing.extend(session.notes().iter().cloned());
                missing.extend(kernel.notes().iter().cloned());
                ask(kernel, &mut system, &mut missing);
            }
            Err(why) => missing.push(format!("no kernel found in the dump: {why}")),
        }
        let (notes, missing): (Vec<String>, Vec<String>) =
            missing.into_iter().partition(|line| tells_where(line));
        session.show_with_notes(&system, &missing, &notes)
    }
}

/// Whether a line of the libraries says in which other place something was found, rather than that it is missing.
fn tells_where(line: &str) -> bool {
    line.starts_with("symbols from ") || line.contains("the kernel's copy in memory")
}

/// What the dump's headers say.
fn headers(session: &Session<'_>) -> System {
    let info = session.dump.vmcoreinfo();
    let header = session.dump.kdump_header();
    let uts = session.dump.utsname();
    let crash_time = info
        .and_then(|info| info.get("CRASHTIME"))
        .and_then(|seconds| seconds.parse().ok());
    let written = header.and_then(|header| i64::try_from(header.timestamp?).ok());
    System {
        dumpfile: session.file.to_owned(),
        vmlinux: session.vmlinux(),
        format: session.dump.format().to_string(),
        dump_level: header.and_then(|header| header.dump_level),
        cpus: header.map(|header| header.nr_cpus),
        date: crash_time.or(written),
        nodename: uts.map(|uts| uts.nodename.clone()),
        release: uts
            .map(|uts| uts.release.clone())
            .or_else(|| Some(info?.osrelease()?.to_owned())),
        version: uts.map(|uts| uts.version.clone()),
        machine: uts.map(|uts| uts.machine.clone()),
        kaslr_offset: info.and_then(|info| info.kernel_offset()).map(Hex),
        phys_base: session.dump.phys_base().map(Hex),
        build_id: info.and_then(|info| info.build_id()).map(str::to_owned),
        ..System::default()
    }
}

/// What the kernel itself says, which goes before the headers.
fn ask(kernel: &Kernel<'_>, system: &mut System, missing: &mut Vec<String>) {
    let mut note = |what: &str, why: Missing| missing.push(format!("{what}: {why}"));
    if let Err(why) = names(kernel, system) {
        note("name of the system", why);
    }
    match kernel.cpu_count() {
        Ok(count) => system.cpus = Some(count),
        Err(why) => note("CPUs", why),
    }
    match online(kernel) {
        Ok(count) => system.cpus_online = Some(count),
        Err(why) => note("CPUs online", why),
    }
    match clock(kernel) {
        Ok((now, uptime)) => {
            // CRASHTIME and this are at most a tick apart; the dump's own time is that of the capture.
            system.date = Some(now);
            system.uptime = Some(uptime);
        }
        Err(why) => note("date and uptime", why),
    }
    match load(kernel) {
        Ok(load) => system.load_average = Some(load),
        Err(why) => note("load average", why),
    }
    match memory(kernel) {
        Ok(bytes) => system.memory = Some(bytes),
        Err(why) => note("size of memory", why),
    }
    system.cpu_mhz = kernel
        .u64_at_symbol("cpu_khz")
        .ok()
        .map(|khz| (khz & 0xffff_ffff) / 1000);
    system.tainted = kernel.u64_at_symbol("tainted_mask").ok().map(Hex);
    system.paging_levels = Some(match kernel.memory().levels() {
        PagingLevels::Four => 4,
        PagingLevels::Five => 5,
    });
    if let Ok(offset) = kernel.kaslr() {
        system.kaslr_offset = Some(Hex(offset));
    }
    if let Some(id) = kernel.build_id() {
        system.build_id = Some(hexadecimal(&id));
    }
    let own = kernel.symbols().filter(|symbol| symbol.module.is_none());
    system.symbols = Some(Symbols {
        count: own.count(),
        source: kernel.symbol_source().describe(),
    });
    system.modules = Some(kernel.modules().len());
    system.types = kernel.type_source().map(TypeSource::describe);
    let covered = kernel
        .symbol("_stext")
        .is_ok_and(|text| kernel.orc(text.0.wrapping_add(16)).is_some());
    system.unwinding = covered.then_some("ORC");
    let (tasks, gaps) = task::list(kernel);
    system.tasks = Some(tasks.len()).filter(|count| *count > 0);
    for why in gaps {
        note("tasks", why.clone());
    }
    death(kernel, system, &mut note);
}

/// What the kernel died of, by its own words, and who was running.
fn death(kernel: &Kernel<'_>, system: &mut System, note: &mut dyn FnMut(&str, Missing)) {
    match printk::records(kernel) {
        Ok(log) => {
            let last = printk::last_oops(&log);
            let banner = last.banner.map(|(_, text)| text);
            let panic = last
                .panic
                .map(|(_, text)| format!("Kernel panic - not syncing: {text}"));
            // As crash: what struck first says more than the panic that followed.
            system.panic = banner.or(panic);
        }
        Err(why) => note("log", why),
    }
    let (crashed, why) = super::task::crashed(kernel);
    match (crashed, why) {
        (Ok(task), None) => {
            system.crashed = Some(Crashed {
                pid: task.pid,
                comm: task.comm,
                task: task.at.into(),
                cpu: task.cpu,
            });
        }
        (_, Some(why)) | (Err(why), _) => note("the CPU that crashed", why),
    }
}

fn names(kernel: &Kernel<'_>, system: &mut System) -> Result<(), Missing> {
    let at = kernel.symbol("init_uts_ns")?;
    let uts = Object::new(kernel, "uts_namespace", at);
    system.release = Some(uts.char_array("name.release")?);
    system.nodename = Some(uts.char_array("name.nodename")?);
    system.version = Some(uts.char_array("name.version")?);
    system.machine = Some(uts.char_array("name.machine")?);
    Ok(())
}

fn online(kernel: &Kernel<'_>) -> Result<u32, Missing> {
    let at = kernel.symbol("__cpu_online_mask")?;
    let words = u64::from(kernel.cpu_count()?).min(MAX_CPUS).div_ceil(64);
    let mut count = 0;
    for word in 0..words {
        let bits = kernel.memory().u64_at(at.wrapping_add(word * 8));
        count += bits
            .map_err(|error| unreadable("__cpu_online_mask", error))?
            .count_ones();
    }
    Ok(count)
}

/// The wall clock in seconds since 1970, and the seconds since boot with suspended time, as the timekeeper had them.
///
/// `shadow_timekeeper` (until 6.12) and `tk_core` (whose type has a name since 6.13, commit 1550dde8a537) hold it.
pub(super) fn clock(kernel: &Kernel<'_>) -> Result<(i64, u64), Missing> {
    let at = match kernel.symbol("shadow_timekeeper") {
        Ok(at) => at,
        Err(_) => {
            Object::new(kernel, "tk_data", kernel.symbol("tk_core")?).addr_of("timekeeper")?
        }
    };
    let keeper = Object::new(kernel, "timekeeper", at);
    let now = keeper.u64("xtime_sec")?.cast_signed();
    // Wall clock plus this is the monotonic clock; a negative time since boot is none.
    let to_monotonic = keeper.u64("wall_to_monotonic.tv_sec")?.cast_signed();
    let asleep = keeper.u64("offs_boot").unwrap_or(0) / 1_000_000_000;
    let uptime = now.saturating_add(to_monotonic);
    let uptime = u64::try_from(uptime)
        .map_err(|_| Missing::Implausible(format!("the timekeeper's uptime is {uptime} s")))?;
    Ok((now, uptime.saturating_add(asleep)))
}

fn load(kernel: &Kernel<'_>) -> Result<[f64; 3], Missing> {
    let at = kernel.symbol("avenrun")?;
    let mut load = [0.0; 3];
    for (index, slot) in (0u64..).zip(&mut load) {
        let raw = kernel.memory().u64_at(at.wrapping_add(index * 8));
        let raw = raw.map_err(|error| unreadable("avenrun", error))?;
        // Rounded to hundredths, as /proc/loadavg does.
        let hundredths = (raw.saturating_add((1 << FSHIFT) / 200)).saturating_mul(100) >> FSHIFT;
        let hundredths = u32::try_from(hundredths)
            .map_err(|_| Missing::Implausible(format!("a load of {raw:#x}")))?;
        *slot = f64::from(hundredths) / 100.0;
    }
    Ok(load)
}

/// The pages present in all nodes.
fn memory(kernel: &Kernel<'_>) -> Result<u64, Missing> {
    let nodes = match kernel.symbol("node_data") {
        Ok(table) => (0..MAX_NODES)
            .map_while(|index| kernel.memory().u64_at(table.wrapping_add(index * 8)).ok())
            .take_while(|node| node >> 63 == 1)
            .map(VirtAddr)
            .collect(),
        Err(_) => vec![kernel.symbol("contig_page_data")?],
    };
    let mut pages: u64 = 0;
    for node in nodes {
        let present = Object::new(kernel, "pglist_data", node).u64("node_present_pages")?;
        pages = pages.saturating_add(present);
    }
    match pages {
        0 => Err(Missing::Implausible("no node has any pages".into())),
        pages => Ok(pages.saturating_mul(PAGE)),
    }
}

fn unreadable(what: &str, error: recrash_vmcore::ReadError) -> Missing {
    Missing::Memory {
        what: what.into(),
        error,
    }
}

impl Reply for System {
    const KIND: &'static str = "sys";

    fn text(&self) -> String {
        let mut rows = self.as_crash();
        rows.extend(self.crashed());
        rows.extend(self.our_own());
        rows.iter()
            .map(|(name, value)| format!("{name:>12}: {}\n", clean(value)))
            .collect()
    }
}

type Row = (&'static str, String);

impl System {
    /// The rows that crash has, in its order.
    fn as_crash(&self) -> Vec<Row> {
        let or = |value: Option<String>| value.unwrap_or_else(|| "(unknown)".into());
        let cpus = self.cpus_online.or(self.cpus).map(|online| {
            let offline = self.cpus.unwrap_or(online).saturating_sub(online);
            match offline {
                0 => online.to_string(),
                offline => format!("{} [OFFLINE: {offline}]", online.saturating_add(offline)),
            }
        });
        let partial = self.dump_level.is_some_and(|level| level > 0);
        let load = self
            .load_average
            .map(|[a, b, c]| format!("{a:.2}, {b:.2}, {c:.2}"));
        let mhz = self
            .cpu_mhz
            .map_or_else(String::new, |mhz| format!("  ({mhz} Mhz)"));
        let kernel = match &self.vmlinux {
            Some(file) => file,
            None if self.symbols.is_some() => "(read from the dump)",
            None => "(unknown)",
        };
        vec![
            (
                "KERNEL",
                format!(
                    "{kernel}{}",
                    if self.is_tainted() { "  [TAINTED]" } else { "" }
                ),
            ),
            (
                "DUMPFILE",
                format!(
                    "{}{}",
                    self.dumpfile,
                    if partial { "  [PARTIAL DUMP]" } else { "" }
                ),
            ),
            ("CPUS", or(cpus)),
            ("DATE", or(self.date.and_then(date))),
            ("UPTIME", or(self.uptime.map(uptime))),
            ("LOAD AVERAGE", or(load)),
            ("TASKS", or(self.tasks.map(|count| count.to_string()))),
            ("NODENAME", or(self.nodename.clone())),
            ("RELEASE", or(self.release.clone())),
            ("VERSION", or(self.version.clone())),
            ("MACHINE", format!("{}{mhz}", or(self.machine.clone()))),
            ("MEMORY", or(self.memory.map(memory_size))),
            (
                "PANIC",
                or(self.panic.as_ref().map(|panic| format!("{panic:?}"))),
            ),
        ]
    }

    /// What crash shows below when it starts.
    fn crashed(&self) -> Vec<Row> {
        let Some(task) = &self.crashed else {
            return Vec::new();
        };
        let cpu = task.cpu.map_or_else(|| "?".into(), |cpu| cpu.to_string());
        vec![
            ("PID", task.pid.to_string()),
            ("COMMAND", format!("{:?}", task.comm)),
            ("TASK", task.task.to_string()),
            ("CPU", cpu),
        ]
    }

    fn is_tainted(&self) -> bool {
        self.tainted.is_some_and(|mask| mask.0 != 0)
    }

    fn our_own(&self) -> Vec<Row> {
        let level = |level| format!(", dump level {level}");
        let format = format!(
            "{}{}",
            self.format,
            self.dump_level.map_or_else(String::new, level)
        );
        let or = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let mut rows = vec![("FORMAT", format)];
        if let Some(offset) = self.kaslr_offset {
            rows.push(("KASLR", format!("0x{offset}")));
        }
        if let Some(base) = self.phys_base {
            rows.push(("PHYS BASE", format!("0x{base}")));
        }
        if let Some(levels) = self.paging_levels {
            rows.push(("PAGING", format!("{levels} levels")));
        }
        rows.push(("BUILD ID", or(self.build_id.as_deref())));
        let symbols = self.symbols.as_ref().map_or_else(
            || "none".into(),
            |symbols| format!("{} ({})", symbols.count, symbols.source),
        );
        rows.push(("SYMBOLS", symbols));
        rows.push(("TYPES", or(self.types)));
        rows.push(("UNWINDING", or(self.unwinding)));
        if let Some(modules) = self.modules {
            rows.push(("MODULES", modules.to_string()));
        }
        rows
    }
}

/// As crash and date(1) print it, in UTC.
pub(super) fn date(seconds: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(at.strftime("%a %b %e %H:%M:%S UTC %Y").to_string())
}

/// `D days, HH:MM:SS`, as crash has it.
fn uptime(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        days => format!("{days} days, {clock}"),
    }
}

/// crash's units: `511.5 MB`, `1 GB`.
fn memory_size(bytes: u64) -> String {
    output::size(bytes).replace(".0 ", " ").replace("iB", "B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_in_crash() {
        assert_eq!(
            date(1_795_527_155).as_deref(),
            Some("Tue Nov 24 13:32:35 UTC 2026")
        );
        assert_eq!(uptime(6), "00:00:06");
        assert_eq!(uptime(86_400 + 3661), "1 days, 01:01:01");
        assert_eq!(memory_size(1 << 30), "1 GB");
        assert_eq!(memory_size(536_350_720), "511.5 MB");
    }
}
