//! `search`: where a value or a string lies in memory. Goes through the physical memory that the dump has, page by
//! page, and prints each hit at once.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use recrash_kernel::Kernel;
use recrash_vmcore::{PhysAddr, PhysMem};
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
/// Progress is shown this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// Finds a value, a string or bytes in memory.
///
/// Words are compared at their own alignment. Addresses are those of the direct mapping; with -p physical. Only
/// memory that the dump has is searched.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Physical addresses
    #[arg(short)]
    physical: bool,
    /// Kernel memory by its direct mapping (default)
    #[arg(short, conflicts_with = "physical")]
    kernel: bool,
    /// Words of 64 bits, 32 (-w) or 16 (-h)
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
    /// Added to a physical address.
    base: u64,
}

/// One hit in JSON.
#[derive(Serialize)]
struct Hit {
    #[serde(rename = "type")]
    kind: &'static str,
    address: Hex,
    physical: Hex,
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
        let mut search = Search {
            session,
            view,
            patterns,
            left: self.max,
            hits: 0,
            searched: 0,
            unreadable: BTreeMap::new(),
            shown: Instant::now(),
            closed: false,
        };
        search.run(from, to)?;
        search.finish(self.max)
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
        if self.physical {
            return Ok(View { base: 0 });
        }
        let base = direct_mapping(session.kernel()?).map_err(|why| {
            session.nothing(format!(
                "where memory is mapped: {why} (with -p it is not needed)"
            ))
        })?;
        Ok(View { base })
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
    shown: Instant,
    /// The reader went away.
    closed: bool,
}

impl Search<'_> {
    fn run(&mut self, from: u64, to: u64) -> Result<(), Failure> {
        let mut at = from;
        // The end of the page before, for patterns that cross into the next.
        let mut tail: Vec<u8> = Vec::new();
        let mut page = vec![0; PAGE as usize];
        let keep = self
            .patterns
            .iter()
            .map(|p| p.bytes.len())
            .max()
            .unwrap_or(1)
            - 1;
        while let Some(range) = self
            .session
            .dump
            .next_present(PhysAddr(at))
            .filter(|r| r.start < to)
        {
            if range.start != at {
                tail.clear();
            }
            at = range.start.max(at);
            let end = range.end.min(to);
            while at < end {
                let room = (PAGE - at % PAGE).min(end - at);
                let buf = page.get_mut(..room as usize).unwrap_or_default();
                match self.session.dump.read(PhysAddr(at), buf) {
                    Ok(()) => {
                        let start = at - tail.len() as u64;
                        let fresh = tail.len();
                        tail.extend_from_slice(buf);
                        self.look(start, &tail, fresh)?;
                        let drop = tail.len().saturating_sub(keep);
                        tail.drain(..drop);
                    }
                    Err(error) => {
                        tail.clear();
                        self.note(at, &error);
                    }
                }
                at += room;
                self.searched = self.searched.saturating_add(room);
                if self.left == 0 || self.closed {
                    return Ok(());
                }
            }
            if range.end <= at && range.end >= to {
                break;
            }
        }
        Ok(())
    }

    fn note(&mut self, at: u64, error: &recrash_vmcore::ReadError) {
        let why = error.root_cause().to_string();
        // One line for each kind: the address is the only difference.
        let why = why.replace(&format!("{:#x}", at & !(PAGE - 1)), "…");
        if self.unreadable.len() < 16 || self.unreadable.contains_key(&why) {
            *self.unreadable.entry(why).or_insert(0) += 1;
        }
    }

    /// Looks through bytes that begin at physical address `start`; hits that end within the first `old` bytes were
    /// found before.
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
            let physical = start + at as u64;
            let hit = pattern.hit(bytes.get(at..).unwrap_or_default(), physical, self.view);
            if self.session.json() {
                output::print_json(&hit)?;
            } else {
                output::print(&hit.line())?;
            }
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
        if self.session.json() {
            output::print_json(&End {
                kind: "search-end",
                hits: self.hits,
                limited,
                searched: self.searched,
                missing,
            })?;
            return Ok(Exit::Met);
        }
        if limited {
            output::note(&format!("ended after {max} hits (--max)\n"));
        }
        for line in &missing {
            output::note(&format!("missing: {line}\n"));
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

    fn hit(&self, bytes: &[u8], physical: u64, view: View) -> Hit {
        let word = bytes.iter().take(self.bytes.len()).rev();
        let value = (self.kind == Kind::Word)
            .then(|| Hex(word.fold(0, |value, byte| value << 8 | u64::from(*byte))));
        Hit {
            kind: "search",
            address: Hex(view.base.wrapping_add(physical)),
            physical: Hex(physical),
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
