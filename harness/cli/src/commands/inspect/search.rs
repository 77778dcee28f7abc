//! `search`: where a value or a string lies in memory. Goes through the physical memory that the dump has, page by
//! page, and prints each hit at once.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use recrash_kernel::Kernel;
use recrash_vmcore::{AddressSpace, PhysAddr, PhysMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, ascii};
use super::session::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

const PAGE: u64 = 4096;
/// Longest pattern.
const MAX_PATTERN: usize = 4096;
/// Characters shown behind a string.
const SHOWN: usize = 56;
/// So many pages in a row that cannot be read end the search: the rest of the file is cut or damaged.
const MAX_UNREADABLE: u64 = 1 << 16;
/// Progress is shown this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// Finds a value, a string or bytes in memory.
///
/// Words are compared at their own alignment. Addresses are those of the direct mapping; with -p physical. Only
/// memory that the dump has is searched. With -u the memory of a process, as its page tables map it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Physical addresses
    #[arg(short)]
    physical: bool,
    /// Kernel memory by its direct mapping (default)
    #[arg(short, conflicts_with = "physical")]
    kernel: bool,
    /// User memory of the process that crashed, or of --pid
    #[arg(short, conflicts_with_all = ["physical", "kernel"])]
    user: bool,
    /// With -u: the process with this pid or task address
    #[arg(long, value_name = "PID|TASK", requires = "user")]
    pid: Option<String>,
    /// Words of 32 bits instead of 64
    #[arg(short, conflicts_with = "halves")]
    words: bool,
    /// Words of 16 bits
    #[arg(short = 'H')]
    halves: bool,
    /// Strings instead of values
    #[arg(short = 'c', conflicts_with_all = ["words", "halves", "bytes", "mask"])]
    strings: bool,
    /// Bytes in hexadecimal instead of values, at any alignment
    #[arg(long, conflicts_with_all = ["words", "halves", "mask"])]
    bytes: bool,
    /// Bits that do not count
    #[arg(short, value_name = "MASK")]
    mask: Option<String>,
    /// Begin at this address
    #[arg(short, value_name = "ADDR")]
    start: Option<String>,
    /// End before this address
    #[arg(short, value_name = "ADDR", conflicts_with = "length")]
    end: Option<String>,
    /// End after so many bytes
    #[arg(short, value_name = "BYTES", value_parser = address::count)]
    length: Option<u64>,
    /// End after so many hits
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max: u64,
    /// What to look for
    #[arg(required = true, value_name = "VALUE|STRING|BYTES")]
    what: Vec<String>,
}

/// What to look for, and how it is shown.
struct Pattern {
    bytes: Vec<u8>,
    /// Bits that count, byte by byte.
    mask: Vec<u8>,
    /// Distance of the places where it may begin.
    step: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Text,
    Bytes,
}

/// Where physical memory is mapped, as addresses are shown.
#[derive(Clone, Copy)]
struct View {
    /// Added to the address searched.
    base: u64,
    /// Whether that address is physical.
    physical: bool,
}

/// One hit in JSON.
#[derive(Serialize)]
struct Hit {
    #[serde(rename = "type")]
    kind: &'static str,
    address: Hex,
    /// Absent for user memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    physical: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The last line in JSON.
#[derive(Serialize)]
struct End {
    #[serde(rename = "type")]
    kind: &'static str,
    hits: u64,
    /// Whether `--max` ended it.
    limited: bool,
    /// Bytes looked at.
    searched: u64,
    missing: Vec<String>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let patterns = self.patterns(session)?;
        let view = self.view(session)?;
        let (from, to) = self.range(session, view)?;
        let max = session.out().at_most(self.max);
        let keep = patterns.iter().map(|pattern| pattern.bytes.len()).max();
        let mut search = Search {
            session,
            view,
            keep: keep.unwrap_or(1).saturating_sub(1),
            patterns,
            left: max,
            hits: 0,
            searched: 0,
            unreadable: BTreeMap::new(),
            in_a_row: 0,
            shown: Instant::now(),
            tail: Vec::new(),
            next: from,
        };
        if self.user {
            search.user(&self.process(session)?, from, to)?;
        } else {
            search.physical(from, to)?;
        }
        search.finish(max)
    }

    fn process<'k>(&self, session: &'k Session<'_>) -> Result<AddressSpace<'k>, Failure> {
        let crashed = || {
            let (task, _) = super::task::crashed(session.kernel()?);
            let task = task.map_err(|why| session.nothing(why))?;
            Ok::<_, Failure>(task.at.to_string())
        };
        match &self.pid {
            Some(pid) => super::task::space(session, pid),
            None => super::task::space(session, &crashed()?),
        }
    }

    fn patterns(&self, session: &Session<'_>) -> Result<Vec<Pattern>, Failure> {
        let mask = match &self.mask {
            Some(mask) => address::physical(mask).map_err(|_| {
                Failure::usage(anyhow!("{mask:?} is no mask")).hint("expected a hexadecimal number")
            })?,
            None => 0,
        };
        let one = |text: &String| -> Result<Pattern, Failure> {
            if self.strings {
                return plain(text.clone().into_bytes(), Kind::Text);
            }
            if self.bytes {
                return plain(hex_bytes(text)?, Kind::Bytes);
            }
            self.word(session, text, mask)
        };
        self.what.iter().map(one).collect()
    }

    fn word(&self, session: &Session<'_>, text: &str, mask: u64) -> Result<Pattern, Failure> {
        let size = match (self.words, self.halves) {
            (true, _) => 4,
            (_, true) => 2,
            _ => 8,
        };
        let value = address::address(session, text)?;
        if size < 8 && value >> (size * 8) != 0 {
            return Err(Failure::usage(anyhow!(
                "{value:#x} does not fit into {size} bytes"
            )));
        }
        let cut = |number: u64| number.to_le_bytes().into_iter().take(size).collect();
        Ok(Pattern {
            bytes: cut(value),
            mask: cut(!mask),
            step: size,
            kind: Kind::Word,
        })
    }

    fn view(&self, session: &Session<'_>) -> Result<View, Failure> {
        if self.physical || self.user {
            let physical = self.physical;
            return Ok(View { base: 0, physical });
        }
        let base = direct_mapping(session.kernel()?).map_err(|why| {
            session.nothing(format!(
                "where memory is mapped: {why} (with -p it is not needed)"
            ))
        })?;
        Ok(View {
            base,
            physical: true,
        })
    }

    /// Physical addresses: the first, and one past the last.
    fn range(&self, session: &Session<'_>, view: View) -> Result<(u64, u64), Failure> {
        let place = |text: &String| {
            let at = match self.physical {
                true => address::physical(text)?,
                false => address::address(session, text)?,
            };
            at.checked_sub(view.base).ok_or_else(|| {
                Failure::usage(anyhow!(
                    "{at:#x} lies below the direct mapping at {:#x}",
                    view.base
                ))
                .hint("with -p addresses are physical")
            })
        };
        let from = self.start.as_ref().map(place).transpose()?.unwrap_or(0);
        let to = match (&self.end, self.length) {
            (Some(end), _) => place(end)?,
            (None, Some(length)) => from.saturating_add(length),
            // The lower half of the address space.
            (None, None) if self.user => 1 << 63,
            (None, None) => u64::MAX,
        };
        if to <= from {
            return Err(Failure::usage(anyhow!(
                "the end does not lie behind the start"
            )));
        }
        Ok((from, to))
    }
}

/// `page_offset_base` with KASLR; where it is not a variable, its fixed value for the paging mode.
fn direct_mapping(kernel: &Kernel<'_>) -> Result<u64, recrash_kernel::Missing> {
    let map = recrash_kernel::slub::PageMap::read(kernel)?;
    map.address_of(map.page_of_pfn(0)).map(|at| at.0)
}

fn plain(bytes: Vec<u8>, kind: Kind) -> Result<Pattern, Failure> {
    if bytes.is_empty() || bytes.len() > MAX_PATTERN {
        return Err(Failure::usage(anyhow!(
            "a pattern of {} bytes, expected 1 to {MAX_PATTERN}",
            bytes.len()
        )));
    }
    Ok(Pattern {
        mask: vec![0xff; bytes.len()],
        bytes,
        step: 1,
        kind,
    })
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()
        .unwrap_or_default();
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    bytes
        .collect::<Option<Vec<u8>>>()
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| {
            Failure::usage(anyhow!("{text:?} are no bytes"))
                .hint("expected pairs of hexadecimal digits")
        })
}

struct Search<'s> {
    session: &'s Session<'s>,
    view: View,
    patterns: Vec<Pattern>,
    left: u64,
    hits: u64,
    searched: u64,
    /// Reasons with the number of pages.
    unreadable: BTreeMap<String, u64>,
    /// Pages that could not be read since one could.
    in_a_row: u64,
    shown: Instant,
    /// The end of the piece before, for patterns that cross into the next; at most so many bytes.
    tail: Vec<u8>,
    keep: usize,
    /// Where the piece before ended.
    next: u64,
}

impl Search<'_> {
    fn physical(&mut self, from: u64, to: u64) -> Result<(), Failure> {
        let mut at = from;
        while self.goes_on() {
            let range = self.session.dump.next_present(PhysAddr(at));
            let Some(range) = range.filter(|range| range.start < to) else {
                break;
            };
            at = range.start.max(at);
            let end = range.end.min(to);
            while at < end && self.goes_on() {
                let room = (PAGE - at % PAGE).min(end - at);
                self.piece(at, at, room)?;
                at = at.saturating_add(room);
            }
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.left > 0 && !self.gives_up() && !self.session.out().is_stopped()
    }

    fn gives_up(&self) -> bool {
        self.in_a_row >= MAX_UNREADABLE
    }

    /// The memory of a process, page by page as its tables map it.
    fn user(&mut self, space: &AddressSpace<'_>, from: u64, to: u64) -> Result<(), Failure> {
        let mut failed = None;
        let gaps = space.mapped(from..to, &mut |page, mapping| {
            let mut at = page.0.max(from);
            let end = page.0.saturating_add(mapping.size).min(to);
            while at < end && self.goes_on() && failed.is_none() {
                let room = (PAGE - at % PAGE).min(end - at);
                let physical = mapping.page.0.wrapping_add(at - page.0);
                failed = self.piece(at, physical, room).err();
                at = at.saturating_add(room);
            }
            self.goes_on() && failed.is_none()
        });
        for error in gaps {
            *self.unreadable.entry(error.to_string()).or_insert(0) += 1;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Looks through `room` bytes at most to the end of a page: `at` is what they are called, `physical` where they
    /// are.
    fn piece(&mut self, at: u64, physical: u64, room: u64) -> Result<(), Failure> {
        if at != self.next {
            self.tail.clear();
        }
        self.next = at.saturating_add(room);
        self.searched = self.searched.saturating_add(room);
        let mut bytes = std::mem::take(&mut self.tail);
        let old = bytes.len();
        let length = usize::try_from(room.min(PAGE)).unwrap_or(0);
        bytes.resize(old.saturating_add(length), 0);
        let fresh = bytes.get_mut(old..).unwrap_or_default();
        if let Err(error) = self.session.dump.read(PhysAddr(physical), fresh) {
            self.note(physical, &error);
            return Ok(());
        }
        self.in_a_row = 0;
        self.look(at.wrapping_sub(old as u64), &bytes, old)?;
        let drop = bytes.len().saturating_sub(self.keep);
        bytes.drain(..drop);
        self.tail = bytes;
        Ok(())
    }

    fn note(&mut self, at: u64, error: &recrash_vmcore::ReadError) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.gives_up() {
            let why =
                format!("given up at {at:#x}, {MAX_UNREADABLE} pages in a row could not be read");
            self.unreadable.insert(why, 1);
            return;
        }
        let why = error.root_cause().to_string();
        // One line for each kind: the address is the only difference.
        let why = why.replace(&format!("{:#x}", at & !(PAGE - 1)), "…");
        if self.unreadable.len() < 16 || self.unreadable.contains_key(&why) {
            *self.unreadable.entry(why).or_insert(0) += 1;
        }
    }

    /// Looks through bytes that begin at `start`; hits that end within the first `old` bytes were found before.
    fn look(&mut self, start: u64, bytes: &[u8], old: usize) -> Result<(), Failure> {
        self.progress(start);
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (index, pattern) in self.patterns.iter().enumerate() {
            for at in pattern.places(start, bytes) {
                if at + pattern.bytes.len() > old {
                    found.push((at, index));
                }
            }
        }
        found.sort_unstable();
        for (at, index) in found {
            if self.left == 0 {
                return Ok(());
            }
            self.left -= 1;
            self.hits += 1;
            let Some(pattern) = self.patterns.get(index) else {
                continue;
            };
            let place = start.wrapping_add(at as u64);
            let hit = pattern.hit(bytes.get(at..).unwrap_or_default(), place, self.view);
            self.session.out().part(|| hit.line(), &hit)?;
        }
        Ok(())
    }

    fn progress(&mut self, at: u64) {
        if self.shown.elapsed() >= PROGRESS {
            self.shown = Instant::now();
            if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                output::note(&format!("searched up to {at:#x}: {} hits\n", self.hits));
            }
        }
    }

    fn finish(self, max: u64) -> Outcome {
        let missing: Vec<String> = self
            .unreadable
            .iter()
            .map(|(why, pages)| format!("{pages} pages could not be searched: {why}"))
            .collect();
        let limited = self.left == 0 && self.hits == max;
        let out = self.session.out();
        if self.hits == 0 {
            let bytes = self.searched;
            out.note(&format!(
                "no hits in {} MiB of memory\n",
                bytes.div_ceil(1 << 20)
            ));
        }
        if limited {
            out.note(&format!("ended after {max} hits (--max)\n"));
        }
        for line in &missing {
            out.note(&format!("missing: {line}\n"));
        }
        if self.session.json() {
            let end = End {
                kind: "search-end",
                hits: self.hits,
                limited,
                searched: self.searched,
                missing,
            };
            out.part(String::new, &end)?;
        }
        Ok(Exit::Met)
    }
}

impl Pattern {
    /// Where it begins in bytes that lie at physical address `start`.
    fn places<'p>(&'p self, start: u64, bytes: &'p [u8]) -> impl Iterator<Item = usize> + 'p {
        let step = self.step as u64;
        let first = (step - start % step) % step;
        let windows = bytes.windows(self.bytes.len()).enumerate();
        let aligned = windows.skip(first as usize).step_by(self.step);
        aligned
            .filter(|(_, window)| self.fits(window))
            .map(|(at, _)| at)
    }

    fn fits(&self, window: &[u8]) -> bool {
        let pairs = window.iter().zip(&self.bytes).zip(&self.mask);
        pairs
            .into_iter()
            .all(|((have, want), mask)| (have ^ want) & mask == 0)
    }

    fn hit(&self, bytes: &[u8], place: u64, view: View) -> Hit {
        let word = bytes.iter().take(self.bytes.len()).rev();
        let value = (self.kind == Kind::Word)
            .then(|| Hex(word.fold(0, |value, byte| value << 8 | u64::from(*byte))));
        Hit {
            kind: "search",
            address: Hex(view.base.wrapping_add(place)),
            physical: view.physical.then_some(Hex(place)),
            value,
            text: (self.kind != Kind::Word).then(|| ascii(bytes.iter().take(SHOWN).copied())),
        }
    }
}

impl Hit {
    fn line(&self) -> String {
        match (self.value, &self.text) {
            (Some(value), _) => format!("{:x}: {value}\n", self.address.0),
            (None, Some(text)) => format!("{:x}: {text}\n", self.address.0),
            (None, None) => format!("{:x}\n", self.address.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pattern: &Pattern, start: u64, bytes: &[u8]) -> Vec<usize> {
        pattern.places(start, bytes).collect()
    }

    #[test]
    fn words_are_found_at_their_own_alignment_only() {
        let word = Pattern {
            bytes: vec![1, 2],
            mask: vec![0xff, 0xff],
            step: 2,
            kind: Kind::Word,
        };
        assert_eq!(places(&word, 0, &[1, 2, 0, 1, 2, 0]), [0]);
        assert_eq!(places(&word, 1, &[1, 2, 0, 1, 2, 0]), [3]);
    }

    #[test]
    fn masked_bits_do_not_count() {
        let word = Pattern {
            bytes: vec![0x10, 0],
            mask: vec![0xf0, 0xff],
            step: 2,
            kind: Kind::Word,
        };
        assert_eq!(places(&word, 0, &[0x1f, 0, 0x20, 0]), [0]);
    }

    #[test]
    fn bytes_come_in_pairs_of_digits() {
        assert_eq!(hex_bytes("38 03 56").unwrap(), [0x38, 3, 0x56]);
        assert!(hex_bytes("3").is_err());
        assert!(hex_bytes("").is_err());
        assert!(hex_bytes("zz").is_err());
    }
}
