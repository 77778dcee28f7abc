//! The files that make one dump: one, or those of `makedumpfile --split`.
//!
//! Each file of a split dump has all headers and both bitmaps, and the descriptors and data of
//! one range of page frames (`kdump_sub_header.start_pfn`, `end_pfn` in makedumpfile.h).

use std::ops::Range;

use crate::kdump::{BLOCK, Kdump};
use crate::part::Part;
use crate::{FormatError, PhysAddr, PhysMem, ReadError};

/// Bitmaps up to this length are compared whole, longer ones by samples.
const COMPARED: u64 = 1 << 20;
/// Length of a sample, and how many are taken.
const SAMPLE: u64 = 4096;
const SAMPLES: u64 = 64;

/// The files of a dump.
#[derive(Debug)]
pub(crate) struct Set {
    /// The one with the lowest page frames.
    first: Part,
    /// The others, by page frame.
    rest: Vec<Part>,
}

impl Set {
    /// A dump of one file.
    pub(crate) fn one(first: Part) -> Self {
        Self {
            first,
            rest: Vec::new(),
        }
    }

    /// A dump of several files, if they belong together.
    pub(crate) fn join(mut parts: Vec<Part>) -> Result<Self, FormatError> {
        if let Some(given_first) = parts.first().filter(|_| parts.len() > 1) {
            for part in &parts {
                check_pair(given_first, part)?;
            }
        }
        parts.sort_by_key(|part| part.split_frames().map_or(0, |frames| frames.start));
        for pair in parts.windows(2) {
            if let [one, other] = pair {
                check_not_twice(one, other)?;
            }
        }
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or_else(|| FormatError {
            file: Default::default(),
            offset: 0,
            what: "no file was named".to_owned(),
        })?;
        Ok(Self {
            first,
            rest: parts.collect(),
        })
    }

    pub(crate) fn first(&self) -> &Part {
        &self.first
    }

    fn iter(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// What the first file that has something gives.
    pub(crate) fn first_some<T>(&self, get: impl FnMut(&Part) -> Option<T>) -> Option<T> {
        self.iter().find_map(get)
    }

    /// What is wrong with the files, and with what they are together.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for part in self.iter() {
            let found = part.completeness().into_iter();
            warnings.extend(found.map(|warning| match self.rest.is_empty() {
                true => warning,
                false => format!("{}: {warning}", part.file.display()),
            }));
        }
        let Some(frames) = self.first.split_frames() else {
            return warnings;
        };
        let all = 0..self.first.kdump().map_or(0, |k| k.header.max_mapnr);
        if self.rest.is_empty() {
            // The other files of a small machine's dump may hold nothing.
            let (from, to) = (frames.start, frames.end);
            let warning = format!("one file of a split dump: page frames {from:#x} to {to:#x}");
            warnings.extend((frames != all).then_some(warning));
        } else {
            self.check_coverage(&mut warnings);
        }
        warnings
    }

    /// Warns of page frames that no file holds, and of those that two hold.
    fn check_coverage(&self, warnings: &mut Vec<String>) {
        let count = self.rest.len() + 1;
        let mut covered = 0;
        let mut holder = &self.first;
        let gap = |from: u64, to: u64| {
            format!(
                "page frames {from:#x} to {to:#x} are in none of the {count} files: one is missing"
            )
        };
        for part in self.iter() {
            let frames = part.split_frames().unwrap_or(0..0);
            if frames.is_empty() {
                continue;
            }
            if frames.start > covered {
                warnings.push(gap(covered, frames.start));
            } else if frames.start < covered {
                let to = covered.min(frames.end);
                warnings.push(format!(
                    "{} and {} both hold page frames {:#x} to {to:#x}",
                    holder.file.display(),
                    part.file.display(),
                    frames.start,
                ));
            }
            if frames.end > covered {
                covered = frames.end;
                holder = part;
            }
        }
        let end = self.first.kdump().map_or(0, |k| k.header.max_mapnr);
        if covered < end {
            warnings.push(gap(covered, end));
        }
    }

    /// Calls `visit` with each page that may begin with these bytes or have them behind a note's
    /// header, until it gives false.
    pub(crate) fn pages_that_may_begin_with(
        &self,
        needle: &[u8],
        visit: &mut dyn FnMut(PhysAddr) -> bool,
    ) {
        for part in self.iter() {
            if !part.pages_that_may_begin_with(needle, visit) {
                return;
            }
        }
    }
}

impl PhysMem for Set {
    /// Fills `buf`, each page from the file that has it.
    fn read(&self, mut at: PhysAddr, mut buf: &mut [u8]) -> Result<(), ReadError> {
        if self.rest.is_empty() {
            return self.first.read(at, buf);
        }
        while !buf.is_empty() {
            let pfn = at.0 / BLOCK;
            let holder = self.iter().find_map(|part| {
                let frames = part.split_frames()?;
                frames.contains(&pfn).then_some((part, frames.end))
            });
            // Without a holder, the first one says why not.
            let (part, end) = holder.unwrap_or((&self.first, pfn.saturating_add(1)));
            let room = end.saturating_mul(BLOCK).saturating_sub(at.0).max(1);
            let (now, rest) = buf.split_at_mut(room.min(buf.len() as u64) as usize);
            part.read(at, now)?;
            at = PhysAddr(at.0.saturating_add(now.len() as u64));
            buf = rest;
        }
        Ok(())
    }

    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        self.iter()
            .filter_map(|part| part.next_present(at))
            .min_by_key(|range| range.start)
    }
}

/// Whether two files are of one split dump; the error is about the second.
fn check_pair(one: &Part, other: &Part) -> Result<(), FormatError> {
    let wrong = |offset, what| FormatError {
        file: other.file.clone(),
        offset,
        what,
    };
    let split = |part: &'_ Part| part.split_frames().is_some();
    let (Some(a), Some(b), true, true) = (one.kdump(), other.kdump(), split(one), split(other))
    else {
        let name = match split(other) {
            true => one.file.display(),
            false => other.file.display(),
        };
        return Err(wrong(
            0,
            format!("several files were named, and {name} is not one of a split dump"),
        ));
    };
    let difference = differences(a, b).into_iter().find(|(_, _, a, b)| a != b);
    if let Some((what, offset, a, b)) = difference {
        let first = one.file.display();
        return Err(wrong(
            offset,
            format!("not of the same dump as {first}: {what} {b}, there {a}"),
        ));
    }
    if let Some(offset) = bitmap_difference(one, a, other, b) {
        let first = one.file.display();
        return Err(wrong(
            offset,
            format!("not of the same dump as {first}: the page bitmaps differ"),
        ));
    }
    Ok(())
}

/// Refuses a file that holds the same page frames as the one before it: the same file, under
/// whatever name. Files that hold nothing may be many.
fn check_not_twice(one: &Part, other: &Part) -> Result<(), FormatError> {
    let frames = other.split_frames().filter(|frames| !frames.is_empty());
    let Some(frames) = frames.filter(|_| one.split_frames() == other.split_frames()) else {
        return Ok(());
    };
    let (from, to, first) = (frames.start, frames.end, one.file.display());
    Err(FormatError {
        file: other.file.clone(),
        offset: BLOCK,
        what: format!("given twice: {first} holds page frames {from:#x} to {to:#x} as well"),
    })
}

/// What the headers of both say: name, where it lies, and the two values in words.
fn differences(a: &Kdump, b: &Kdump) -> [(&'static str, u64, String, String); 6] {
    let (a, b) = (&a.header, &b.header);
    let release = |h: &crate::KdumpHeader| h.utsname.release.clone();
    let version = |h: &crate::KdumpHeader| h.utsname.version.clone();
    let node = |h: &crate::KdumpHeader| h.utsname.nodename.clone();
    let time = |h: &crate::KdumpHeader| h.timestamp.unwrap_or_default().to_string();
    let frames = |h: &crate::KdumpHeader| h.max_mapnr.to_string();
    let base = |h: &crate::KdumpHeader| format!("{:#x}", h.phys_base);
    [
        ("number of page frames", 440, frames(a), frames(b)),
        ("kernel release", 142, release(a), release(b)),
        ("kernel version", 207, version(a), version(b)),
        ("host name", 77, node(a), node(b)),
        ("time of the dump", 408, time(a), time(b)),
        ("phys_base", BLOCK, base(a), base(b)),
    ]
}

/// Where the second file's bitmap of dumped pages differs from the first one's.
fn bitmap_difference(one: &Part, a: &Kdump, other: &Part, b: &Kdump) -> Option<u64> {
    let len = a.header.max_mapnr.div_ceil(8);
    let steps = if len <= COMPARED {
        len.div_ceil(SAMPLE)
    } else {
        SAMPLES
    };
    let stride = (len / steps.max(1)).max(SAMPLE);
    (0..steps).find_map(|step| {
        let at = step * stride;
        let size = SAMPLE.min(len.checked_sub(at)?);
        let (left, right) = (
            a.layout.bitmap2.checked_add(at)?,
            b.layout.bitmap2.checked_add(at)?,
        );
        // What is cut off is told elsewhere.
        let theirs = one.source.slice(left, size).ok()?;
        let ours = other.source.slice(right, size).ok()?;
        (theirs != ours).then_some(right)
    })
}
