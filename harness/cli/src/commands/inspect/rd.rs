//! `rd`: memory, in rows of 16 bytes with their characters.
use anyhow::anyhow;
use recrash_vmcore::{PhysAddr, PhysMem as _, ReadError, VirtAddr, VirtMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::reply::{Hex, Reply, ascii};
use super::session::Session;
use crate::failure::Failure;

/// Most bytes of one call.
const MAX_BYTES: u64 = 16 << 20;
/// Most bytes of a string.
const MAX_TEXT: u64 = 4096;
const PAGE: u64 = 4096;
const ROW: usize = 16;
/// Characters of a string in one line, as crash breaks them.
const TEXT_ROW: usize = 60;

/// Reads memory.
///
/// Without COUNT one unit is read. Units are 64 bits wide unless told otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bytes
    #[arg(long = "8", group = "width")]
    bytes: bool,
    /// Units of 16 bits
    #[arg(long = "16", group = "width")]
    halves: bool,
    /// Units of 32 bits
    #[arg(long = "32", group = "width")]
    words: bool,
    /// Units of 64 bits (default)
    #[arg(long = "64", group = "width")]
    doubles: bool,
    /// The address is physical
    #[arg(short)]
    physical: bool,
    /// An address of the process with this pid or task address
    #[arg(long, value_name = "PID|TASK", conflicts_with = "physical")]
    pid: Option<String>,
    /// A string: up to its NUL, or COUNT characters
    #[arg(short, conflicts_with_all = ["width", "symbols"])]
    ascii: bool,
    /// Symbols instead of values that lie in the kernel or a module
    #[arg(short, conflicts_with = "width")]
    symbols: bool,
    /// No characters
    #[arg(short = 'x')]
    no_ascii: bool,
    /// Read up to this address
    #[arg(short, value_name = "ADDR", conflicts_with = "count")]
    end: Option<String>,
    /// Where to begin
    address: String,
    /// How many units
    #[arg(value_parser = address::count)]
    count: Option<u64>,
}

/// Bytes that follow each other, from one address on.
#[derive(Debug, Serialize)]
struct Stretch {
    address: Hex,
    words: Vec<Hex>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    symbols: Vec<Option<String>>,
    #[serde(skip)]
    bytes: Vec<u8>,
}

#[derive(Debug, Serialize)]
struct Memory {
    address: Hex,
    physical: bool,
    /// Bits of a unit.
    width: usize,
    stretches: Vec<Stretch>,
    /// With `-a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip)]
    with_ascii: bool,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let place = |text: &str| match self.physical {
            true => address::physical(text),
            false => address::address(session, text),
        };
        let start = place(&self.address)?;
        let width = self.width();
        let size = match &self.end {
            Some(end) => place(end)?
                .checked_sub(start)
                .filter(|size| *size > 0)
                .ok_or_else(|| {
                    Failure::usage(anyhow!("the end does not lie behind the start {start:#x}"))
                })?,
            None if self.ascii => self.count.unwrap_or(MAX_TEXT),
            None => self.count.unwrap_or(1).saturating_mul(width as u64),
        };
        if size > MAX_BYTES || size == 0 {
            return Err(Failure::usage(anyhow!(
                "{size} bytes asked for, expected 1 to {MAX_BYTES}"
            )));
        }
        if !self.physical {
            session.kernel()?;
        }
        let (mut stretches, missing) =
            read(start, size, width, &|at, buf| self.fill(session, at, buf));
        if stretches.is_empty() {
            return Err(self.unread(session, start, &missing));
        }
        let text = self
            .ascii
            .then(|| string(&mut stretches, self.count.is_some()));
        if self.symbols {
            name(session, &mut stretches);
        }
        let found = Memory {
            address: Hex(start),
            physical: self.physical,
            width: width * 8,
            stretches,
            with_ascii: !self.no_ascii && !self.symbols,
            text,
        };
        // A string's end was looked for, not asked for.
        let wanted = !self.ascii || self.count.is_some();
        session.show(&found, if wanted { &missing } else { &[] })
    }

    /// Nothing could be read. A per-CPU variable's symbol is an offset, which is seldom what is meant.
    fn unread(&self, session: &Session<'_>, start: u64, missing: &[String]) -> Failure {
        let first = missing.first().map_or("nothing there", |line| line);
        let failure = session.nothing(match missing.len() {
            0 | 1 => first.to_owned(),
            lines => format!("{first} (and {} more)", lines - 1),
        });
        let name = self
            .address
            .split(['+', '-', ':'])
            .next()
            .unwrap_or_default();
        let named = session
            .try_kernel()
            .is_ok_and(|kernel| kernel.symbol(name).is_ok_and(|at| at.0 >> 63 == 0));
        let bare = named && !self.address.contains(':');
        match (
            bare,
            start >> 63 == 0 && self.pid.is_none() && !self.physical,
        ) {
            (true, _) => failure.hint(format!(
                "{name} is a per-CPU variable: {name}:CPU is a CPU's copy, such as {name}:0"
            )),
            (false, true) => failure.hint("an address of a process needs its tables: --pid PID"),
            (false, false) => failure,
        }
    }

    fn width(&self) -> usize {
        match (self.bytes || self.ascii, self.halves, self.words) {
            (true, _, _) => 1,
            (_, true, _) => 2,
            (_, _, true) => 4,
            _ => 8,
        }
    }

    fn fill(&self, session: &Session<'_>, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        match (self.physical, session.try_kernel()) {
            (false, Ok(kernel)) => kernel.memory().read(VirtAddr(at), buf),
            _ => session.dump.read(PhysAddr(at), buf),
        }
    }
}

type Fill<'f> = dyn Fn(u64, &mut [u8]) -> Result<(), ReadError> + 'f;

/// Reads page by page; a page that cannot be read ends a stretch.
fn read(start: u64, size: u64, width: usize, fill: &Fill<'_>) -> (Vec<Stretch>, Vec<String>) {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut missing = Vec::new();
    let mut done = 0;
    let mut open = false;
    while done < size {
        let at = start.wrapping_add(done);
        // A unit may straddle a page; it then belongs to the page it begins in.
        let room = (PAGE - at % PAGE).div_ceil(width as u64) * width as u64;
        let now = room.min(size - done);
        let mut bytes = vec![0; usize::try_from(now).unwrap_or(0)];
        match fill(at, &mut bytes) {
            Ok(()) => match stretches.last_mut().filter(|_| open) {
                Some(last) => last.bytes.append(&mut bytes),
                None => stretches.push(Stretch {
                    address: Hex(at),
                    words: Vec::new(),
                    symbols: Vec::new(),
                    bytes,
                }),
            },
            Err(error) => missing.push(error.to_string()),
        }
        open = missing.is_empty() || stretches.last().is_some_and(|last| ends_at(last, at, now));
        done = done.saturating_add(now);
    }
    for stretch in &mut stretches {
        stretch.words = stretch.bytes.chunks(width).map(unit).map(Hex).collect();
    }
    (stretches, missing)
}

fn ends_at(stretch: &Stretch, at: u64, size: u64) -> bool {
    let end = stretch.address.0.wrapping_add(stretch.bytes.len() as u64);
    end == at.wrapping_add(size)
}

fn unit(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The text at the start of what was read; the stretches are cut to it.
fn string(stretches: &mut Vec<Stretch>, whole: bool) -> String {
    stretches.truncate(1);
    let Some(first) = stretches.first_mut() else {
        return String::new();
    };
    if let Some(end) = first.bytes.iter().position(|b| *b == 0).filter(|_| !whole) {
        first.bytes.truncate(end);
        first.words.truncate(end);
    }
    String::from_utf8_lossy(&first.bytes).into_owned()
}

fn name(session: &Session<'_>, stretches: &mut [Stretch]) {
    let Ok(kernel) = session.try_kernel() else {
        return;
    };
    for stretch in stretches {
        let symbol = |word: &Hex| {
            let place = kernel
                .place(VirtAddr(word.0))
                .filter(|_| word.0 >> 63 == 1)?;
            Some(match place.offset {
                0 => place.symbol,
                offset => format!("{}+{offset}", place.symbol),
            })
        };
        stretch.symbols = stretch.words.iter().map(symbol).collect();
    }
}

impl Reply for Memory {
    const KIND: &'static str = "rd";

    fn text(&self) -> String {
        self.stretches.iter().map(|part| self.rows(part)).collect()
    }
}

impl Memory {
    fn rows(&self, stretch: &Stretch) -> String {
        if self.text.is_some() {
            return text_rows(stretch);
        }
        let each = ROW * 8 / self.width;
        let digits = self.width / 4;
        let mut text = String::new();
        for (index, words) in stretch.words.chunks(each).enumerate() {
            let offset = index * ROW;
            let at = stretch.address.0.wrapping_add(offset as u64);
            text.push_str(&format!("{at:16x}:  "));
            let names = stretch.symbols.get(index * each..).unwrap_or_default();
            for (nth, word) in words.iter().enumerate() {
                match names.get(nth).and_then(Option::as_ref) {
                    Some(name) => text.push_str(&format!("{name:16} ")),
                    None => text.push_str(&format!("{:0digits$x} ", word.0)),
                }
            }
            if self.with_ascii {
                let filler = (each - words.len()) * (digits + 1);
                let bytes = stretch.bytes.iter().skip(offset).take(ROW);
                text.push_str(&" ".repeat(filler + 2));
                text.push_str(&ascii(bytes.copied()));
            }
            text.truncate(
                text.trim_end_matches(' ')
                    .len()
                    .max(text.rfind('\n').map_or(0, |n| n + 1)),
            );
            text.push('\n');
        }
        text
    }
}

fn text_rows(stretch: &Stretch) -> String {
    let mut text = String::new();
    for (index, bytes) in stretch.bytes.chunks(TEXT_ROW).enumerate() {
        let at = stretch.address.0.wrapping_add((index * TEXT_ROW) as u64);
        text.push_str(&format!("{at:16x}:  {}\n", ascii(bytes.iter().copied())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: u64, size: u64, width: usize, hole: std::ops::Range<u64>, expected: &str) {
        let (stretches, missing) = read(start, size, width, &|at, buf| {
            if hole.contains(&at) {
                return Err(ReadError::NotInDump(PhysAddr(at)));
            }
            for (offset, byte) in buf.iter_mut().enumerate() {
                *byte = (at + offset as u64) as u8;
            }
            Ok(())
        });
        assert_eq!(missing.is_empty(), hole.is_empty());
        let memory = Memory {
            address: Hex(start),
            physical: false,
            width: width * 8,
            stretches,
            text: None,
            with_ascii: true,
        };
        assert_eq!(memory.text(), expected);
    }

    #[test]
    fn rows_have_sixteen_bytes_whatever_the_width() {
        let row = "              60:  6766656463626160 6f6e6d6c6b6a6968   `abcdefghijklmno\n";
        check(0x60, 16, 8, 0..0, row);
        let row = "              60:  63626160 67666564                     `abcdefg\n";
        check(0x60, 8, 4, 0..0, row);
        let row = format!("              60:  6160 6362{}`abc\n", " ".repeat(33));
        check(0x60, 4, 2, 0..0, &row);
        let row = format!("              60:  60{}`\n", " ".repeat(48));
        check(0x60, 1, 1, 0..0, &row);
    }

    #[test]
    fn a_page_that_is_not_there_hides_no_other() {
        let (stretches, missing) = read(0x1ff8, 0x1010, 8, &|at, _| match at {
            0x2000..0x3000 => Err(ReadError::NotInDump(PhysAddr(at))),
            _ => Ok(()),
        });
        let found: Vec<_> = stretches
            .iter()
            .map(|s| (s.address.0, s.bytes.len()))
            .collect();
        assert_eq!(found, [(0x1ff8, 8), (0x3000, 8)]);
        assert_eq!(missing.len(), 1);
    }
}
