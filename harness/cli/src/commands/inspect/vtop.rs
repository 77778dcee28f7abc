//! `vtop`: the page tables' way from a virtual to a physical address, and the page's `struct page`.
use recrash_kernel::slub::PageMap;
use recrash_kernel::{Kernel, Missing, Object};
use recrash_vmcore::{AddressSpace, Mapping, PagingLevels, PhysAddr, VirtAddr, Walk};
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, Reply};
use super::session::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Names of the levels as crash has them, by the processor's name for the table.
const LEVELS: [(&str, &str); 5] = [
    ("PML5", "PGD"),
    ("PML4", "PGD"),
    ("PDPT", "PUD"),
    ("PD", "PMD"),
    ("PT", "PTE"),
];
/// Bits of an entry (Intel SDM volume 3, table 4-20), in crash's spelling.
const FLAGS: [(u32, &str); 11] = [
    (0, "PRESENT"),
    (1, "RW"),
    (2, "USER"),
    (3, "PWT"),
    (4, "PCD"),
    (5, "ACCESSED"),
    (6, "DIRTY"),
    (7, "PSE"),
    (8, "GLOBAL"),
    (58, "SOFT_DIRTY"),
    (63, "NX"),
];
const PTE_SHIFT: u32 = 12;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Translates a virtual address, entry by entry.
///
/// Through the kernel's tables, or with --pid through those of a process.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Through the tables of the process with this pid or task address
    #[arg(short = 'c', long, value_name = "PID|TASK")]
    pid: Option<String>,
    /// Virtual addresses
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Translations {
    translations: Vec<Translation>,
}

#[derive(Debug, Serialize)]
struct Translation {
    #[serde(rename = "virtual")]
    at: Hex,
    physical: Option<Hex>,
    /// Virtual address of the kernel's top table, physical of any other.
    top_table: Hex,
    #[serde(skip)]
    five_levels: bool,
    steps: Vec<Step>,
    page: Option<PageFrame>,
    /// Why there is no physical address.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    level: &'static str,
    entry_at: Hex,
    entry: Hex,
    flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct PageFrame {
    physical: Hex,
    /// Bytes.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptor: Option<Descriptor>,
}

/// The `struct page`.
#[derive(Debug, Serialize)]
struct Descriptor {
    address: Hex,
    mapping: Option<Hex>,
    index: Option<Hex>,
    count: Option<i32>,
    flags: Hex,
    flag_names: Vec<String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let process = match &self.pid {
            Some(who) => Some(super::task::space(session, who)?),
            None => None,
        };
        let space = process.as_ref().unwrap_or(kernel.memory());
        let mut missing = Vec::new();
        let mut translations = Vec::new();
        for text in &self.addresses {
            let at = VirtAddr(address::address(session, text)?);
            translations.push(translate(kernel, space, at, &mut missing));
        }
        let failure = self.failure(session, &translations);
        session.show(&Translations { translations }, &missing)?;
        failure.map_or(Ok(Exit::Met), Err)
    }

    /// What to end with where none of the addresses is mapped.
    fn failure(&self, session: &Session<'_>, found: &[Translation]) -> Option<Failure> {
        if found.iter().any(|found| found.physical.is_some()) {
            return None;
        }
        let first = found.first()?;
        let why = first.why.as_deref().unwrap_or("not mapped");
        let failure = session.nothing(match found.len() {
            1 => format!("{:#x}: {why}", first.at.0),
            count => format!(
                "none of {count} addresses is mapped; {:#x}: {why}",
                first.at.0
            ),
        });
        let user = found.iter().any(|found| found.at.0 >> 63 == 0);
        Some(match user && self.pid.is_none() {
            true => failure.hint("an address of a process needs its tables: --pid PID"),
            false => failure,
        })
    }
}

fn translate(
    kernel: &Kernel<'_>,
    space: &AddressSpace<'_>,
    at: VirtAddr,
    missing: &mut Vec<String>,
) -> Translation {
    let walk = space.walk_entries(at);
    let physical = |page: &Mapping| PhysAddr(page.page.0 | (at.0 & (page.size - 1)));
    let found = walk.end.as_ref().ok();
    let page = found.map(|page| {
        let frame = PhysAddr(physical(page).0 & ADDRESS);
        PageFrame {
            physical: page.page.into(),
            size: page.size,
            descriptor: descriptor(kernel, frame)
                .map_err(|why| missing.push(format!("struct page of {frame}: {why}")))
                .ok(),
        }
    });
    Translation {
        at: at.into(),
        physical: found.map(|page| physical(page).into()),
        top_table: top_table(kernel, space),
        five_levels: space.levels() == PagingLevels::Five,
        steps: steps(&walk, space.levels()),
        page,
        why: walk.end.err().map(|error| error.to_string()),
    }
}

fn top_table(kernel: &Kernel<'_>, space: &AddressSpace<'_>) -> Hex {
    let names = ["init_top_pgt", "swapper_pg_dir", "init_level4_pgt"];
    let at = names.iter().find_map(|name| kernel.symbol(name).ok());
    match at.filter(|_| space.root() == kernel.memory().root()) {
        Some(at) => at.into(),
        None => space.root().into(),
    }
}

fn steps(walk: &Walk, levels: PagingLevels) -> Vec<Step> {
    let name = |level: &str| match (level, levels) {
        // With five levels the second is a table of its own.
        ("PML4", PagingLevels::Five) => "P4D",
        _ => LEVELS
            .iter()
            .find(|(table, _)| *table == level)
            .map_or("?", |(_, name)| *name),
    };
    walk.steps
        .iter()
        .map(|step| Step {
            level: name(step.level),
            entry_at: step.entry_at.into(),
            entry: Hex(step.entry),
            flags: flags(step.entry),
        })
        .collect()
}

fn flags(entry: u64) -> Vec<&'static str> {
    FLAGS
        .iter()
        .filter(|(bit, _)| entry >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

fn descriptor(kernel: &Kernel<'_>, frame: PhysAddr) -> Result<Descriptor, Missing> {
    let at = PageMap::read(kernel)?.page_of_pfn(frame.0 >> PTE_SHIFT);
    let page = Object::new(kernel, "page", at);
    let flags = page.u64("flags")?;
    Ok(Descriptor {
        address: at.into(),
        mapping: page.u64("mapping").ok().map(Hex),
        index: page.u64("index").ok().map(Hex),
        count: page.i32("_refcount.counter").ok(),
        flags: Hex(flags),
        flag_names: flag_names(kernel, flags),
    })
}

/// Names from `enum pageflags`, without the aliases that filesystems and others give to the same bits.
fn flag_names(kernel: &Kernel<'_>, flags: u64) -> Vec<String> {
    let count = kernel.types().enum_value("__NR_PAGEFLAGS").unwrap_or(0);
    (0..count.clamp(0, 63))
        .filter(|bit| flags >> bit & 1 == 1)
        .filter_map(|bit| kernel.types().enum_name("pageflags", bit))
        .map(|name| name.trim_start_matches("PG_").to_owned())
        .collect()
}

impl Reply for Translations {
    const KIND: &'static str = "vtop";

    fn text(&self) -> String {
        let parts: Vec<String> = self.translations.iter().map(one).collect();
        parts.join("\n")
    }
}

fn one(found: &Translation) -> String {
    let physical = found
        .physical
        .map_or_else(|| "(not mapped)".into(), |at| at.to_string());
    let mut text = format!(
        "VIRTUAL           PHYSICAL\n{:<16}  {physical}\n\n",
        found.at.to_string()
    );
    text.push_str(&format!("PGD DIRECTORY: {}\n", found.top_table));
    let mut steps = found.steps.as_slice();
    if let [first, rest @ ..] = steps
        && !found.five_levels
    {
        text.push_str(&format!("PAGE DIRECTORY: {}\n", first.entry));
        steps = rest;
    }
    for step in steps {
        text.push_str(&format!(
            "{:>6}: {} => {}\n",
            step.level, step.entry_at, step.entry
        ));
    }
    let (Some(page), Some(last)) = (&found.page, found.steps.last()) else {
        let why = found.why.as_deref().unwrap_or_default();
        text.push_str(&format!("        {why}\n"));
        return text;
    };
    let size = match page.size {
        0x1000 => "",
        0x20_0000 => "  (2MB)",
        _ => "  (1GB)",
    };
    text.push_str(&format!("  PAGE: {}{size}\n\n", page.physical));
    text.push_str(&format!(
        "      PTE         PHYSICAL  FLAGS\n{:>16}  {:>8}  ({})\n",
        last.entry.to_string(),
        page.physical.to_string(),
        last.flags.join("|")
    ));
    if let Some(descriptor) = &page.descriptor {
        text.push_str(&descriptor_text(descriptor, found.physical));
    }
    text
}

fn descriptor_text(descriptor: &Descriptor, physical: Option<Hex>) -> String {
    let frame = Hex(physical.map_or(0, |at| at.0) & ADDRESS);
    let hex = |value: Option<Hex>| value.map_or_else(|| "?".into(), |value| value.to_string());
    let count = descriptor
        .count
        .map_or_else(|| "?".into(), |count| count.to_string());
    let row = format!(
        "{:16x} {:>8} {:>16} {:>8} {count:>2} {:x} {}",
        descriptor.address.0,
        frame.to_string(),
        hex(descriptor.mapping),
        hex(descriptor.index),
        descriptor.flags.0,
        descriptor.flag_names.join(",")
    );
    format!(
        "\n      PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS\n{}\n",
        row.trim_end()
    )
}
