//! VMCOREINFO found in memory, for dumps that have no note of it (a hypervisor's, mostly).
//!
//! The kernel keeps the text from boot on in a page of its own, which begins with `OSRELEASE=`
//! (`vmcoreinfo_data`, kernel/crash_core.c; since 6.9 kernel/vmcore_info.c). When it crashes it
//! makes a note of it, which begins a page too (`vmcoreinfo_note`), with `CRASHTIME=` added.
//!
//! Memory may hold such texts of other kernels: of one that was left by kexec, of a crash kernel
//! that runs already, of files in the page cache. So the page tables that a text names must
//! translate the addresses that it names.

use crate::cpu::CpuState;
use crate::kdump::BLOCK;
use crate::paging::KERNEL_TABLES;
use crate::set::Set;
use crate::{AddressSpace, PhysAddr, PhysMem, ReadError, VirtAddr, VirtMem, Vmcoreinfo};

/// What the text begins with.
pub(crate) const NEEDLE: &[u8; 10] = b"OSRELEASE=";
/// What the note begins with: length of its name with the NUL.
const NOTE_NAME_LEN: u32 = 11;
const NOTE_NAME: &[u8; 12] = b"VMCOREINFO\0\0";
/// Length of the note's header with its name.
pub(crate) const NOTE_HEADER: usize = 24;
/// The text fills a page at most (`VMCOREINFO_BYTES`).
const MAX_TEXT: usize = 4096;
/// So many texts are looked at; page caches hold few files that look like VMCOREINFO.
const MAX_CANDIDATES: u32 = 64;

/// VMCOREINFO with where it was.
pub(crate) struct Found {
    pub(crate) info: Vmcoreinfo,
    /// The page.
    pub(crate) at: PhysAddr,
    /// Its page tables translate its own addresses.
    pub(crate) verified: bool,
    /// How many other texts there were that say something else.
    pub(crate) others: usize,
}

/// How good a candidate is; the greatest wins.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
struct Rank {
    /// Its page tables translate its addresses.
    verified: bool,
    /// This kernel crashed, and said so: a crash kernel that runs now is not what is looked for.
    crashed: bool,
    /// A CPU uses its page tables.
    running: bool,
}

/// Looks at the first bytes of every page that the dump has data of.
pub(crate) fn find(memory: &Set, cpus: &[CpuState]) -> Option<Found> {
    let mut best: Option<(Rank, PhysAddr, Vmcoreinfo)> = None;
    let mut texts = Vec::new();
    let mut left = MAX_CANDIDATES;
    memory.pages_that_may_begin_with(NEEDLE, &mut |at| {
        let Some(info) = text_at(memory, at) else {
            return true;
        };
        let rank = rank(memory, &info, cpus);
        if best.as_ref().is_none_or(|(other, ..)| rank > *other) {
            best = Some((rank, at, info.clone()));
        }
        let identity = (info.build_id().map(str::to_owned), info.symbol("_stext"));
        if !texts.contains(&identity) {
            texts.push(identity);
        }
        let certain = rank.verified && rank.crashed;
        left = left.saturating_sub(1);
        !certain && left > 0
    });
    let (rank, at, info) = best?;
    // Of several that cannot be checked none is better than another.
    (rank.verified || texts.len() == 1).then_some(Found {
        info,
        at,
        verified: rank.verified,
        others: texts.len() - 1,
    })
}

/// The text in this page, be it bare or in a note, if it can be VMCOREINFO.
fn text_at(memory: &Set, at: PhysAddr) -> Option<Vmcoreinfo> {
    let mut page = [0; MAX_TEXT];
    memory.read(at, &mut page).ok()?;
    let text = if page.starts_with(NEEDLE) {
        page.to_vec()
    } else {
        let (header, rest) = page.split_first_chunk::<NOTE_HEADER>()?;
        let (numbers, name) = header.split_at(12);
        let name_len = u32::from_le_bytes(numbers.first_chunk().copied()?);
        if name_len != NOTE_NAME_LEN || name != NOTE_NAME || !rest.starts_with(NEEDLE) {
            return None;
        }
        let len = u32::from_le_bytes(numbers.get(4..)?.first_chunk().copied()?) as usize;
        let mut text = rest.to_vec();
        // The end of a full text lies on the next page.
        let mut tail = [0; NOTE_HEADER];
        if len > text.len() && memory.read(at.checked_add(BLOCK)?, &mut tail).is_ok() {
            text.extend(tail);
        }
        text.truncate(len);
        text
    };
    let info = Vmcoreinfo::parse(&text);
    let complete = info.get("PAGESIZE") == Some("4096") && info.symbol("_stext").is_some();
    complete.then_some(info)
}

fn rank(memory: &Set, info: &Vmcoreinfo, cpus: &[CpuState]) -> Rank {
    let space = AddressSpace::kernel(memory, info).ok();
    let space = space.filter(|space| translates_itself(space, info));
    Rank {
        verified: space.is_some(),
        crashed: info.get("CRASHTIME").is_some(),
        running: space.is_some_and(|space| {
            cpus.iter()
                .any(|cpu| maps_same_kernel(memory, space.root(), cpu.page_table()))
        }),
    }
}

/// Whether the page tables lie where they themselves say.
fn translates_itself(space: &AddressSpace<'_>, info: &Vmcoreinfo) -> bool {
    let table = KERNEL_TABLES.iter().find_map(|name| info.symbol(name));
    let finds = |symbol: Option<u64>| symbol.map(|at| space.translate(VirtAddr(at)));
    let readable = |symbol: Option<u64>| {
        symbol.is_some_and(|at| {
            let first: Result<u8, ReadError> = space.u8_at(VirtAddr(at));
            first.is_ok()
        })
    };
    finds(table) == Some(Ok(space.root())) && readable(info.symbol("_stext"))
}

/// Whether two top tables have the same last entry, which maps the kernel's image.
fn maps_same_kernel(memory: &dyn PhysMem, one: PhysAddr, other: PhysAddr) -> bool {
    let last = |table: PhysAddr| memory.u64_at(PhysAddr(table.0 | 0xff8)).ok();
    let entry = |table: PhysAddr| last(table).filter(|entry| entry & 1 != 0);
    one == other || entry(one).is_some_and(|entry_of_one| entry(other) == Some(entry_of_one))
}
