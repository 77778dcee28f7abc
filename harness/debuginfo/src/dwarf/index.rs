//! Which compilation unit an address lies in: from `.debug_aranges`, else from the units' own ranges. Can be kept
//! as bytes. Reads no unit beyond its first entry.

use std::collections::HashSet;

use gimli::{ArangeHeader, DebugInfoOffset, Dwarf};

use super::budget::Budget;
use super::{DwarfError, Reader};
use crate::bytes::u64_at;

/// Overlapping ranges that a lookup steps over; compilers make none.
const OVERLAP_MAX: usize = 32;
const ROW: usize = 24;

/// Ranges of addresses with the units they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitIndex {
    /// First address, one past the last, the unit's offset in `.debug_info`; sorted.
    ranges: Vec<(u64, u64, u64)>,
}

impl UnitIndex {
    /// Offset in `.debug_info` of the unit that an address lies in.
    #[must_use]
    pub fn unit_of(&self, address: u64) -> Option<u64> {
        let end = self.ranges.partition_point(|&(start, ..)| start <= address);
        let below = self.ranges.get(..end)?.iter().rev().take(OVERLAP_MAX);
        let mut holding = below.filter(|(_, stop, _)| address < *stop);
        holding.next().map(|&(.., unit)| unit)
    }

    /// Number of ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Knows no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The index as bytes: three little-endian 64-bit numbers a range.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.ranges.iter().flat_map(|&(a, b, c)| [a, b, c]);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Reads what [`UnitIndex::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let row = |row: &[u8]| Some((u64_at(row, 0)?, u64_at(row, 8)?, u64_at(row, 16)?));
        let ranges: Vec<_> = bytes.chunks_exact(ROW).map(row).collect::<Option<_>>()?;
        let whole = bytes.len().is_multiple_of(ROW) && ranges.is_sorted();
        whole.then_some(Self { ranges })
    }
}

/// `aranges` has `.debug_aranges` alone; `whole` gives the rest, for the units that are not named there.
pub(super) fn build<'r>(
    aranges: &Dwarf<Reader<'r>>,
    whole: impl FnOnce() -> Result<Dwarf<Reader<'r>>, DwarfError>,
) -> Result<UnitIndex, DwarfError> {
    let mut ranges = Vec::new();
    let mut named = HashSet::new();
    let mut headers = aranges.debug_aranges.headers();
    // A damaged table is as good as none: the units themselves are asked then.
    while let Ok(Some(header)) = headers.next() {
        let unit = header.debug_info_offset().0 as u64;
        if add_aranges(&header, unit, &mut ranges) {
            named.insert(unit);
        }
    }
    add_unnamed(&whole()?, &named, &mut ranges)?;
    ranges.sort_unstable();
    ranges.dedup();
    Ok(UnitIndex { ranges })
}

fn add_aranges(
    header: &ArangeHeader<Reader<'_>>,
    unit: u64,
    ranges: &mut Vec<(u64, u64, u64)>,
) -> bool {
    let before = ranges.len();
    let mut entries = header.entries();
    while let Ok(Some(entry)) = entries.next() {
        let range = entry.range();
        if range.begin < range.end {
            ranges.push((range.begin, range.end, unit));
        }
    }
    ranges.len() > before
}

/// The units that have code but no aranges, as clang's.
fn add_unnamed(
    dwarf: &Dwarf<Reader<'_>>,
    named: &HashSet<u64>,
    ranges: &mut Vec<(u64, u64, u64)>,
) -> Result<(), DwarfError> {
    let mut budget = Budget::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        let Some(DebugInfoOffset(offset)) = header.offset().as_debug_info_offset() else {
            continue;
        };
        if named.contains(&(offset as u64)) {
            continue;
        }
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        let Ok(mut found) = dwarf.unit_ranges(&unit) else {
            continue;
        };
        while let Ok(Some(range)) = found.next() {
            budget.step()?;
            if range.begin < range.end {
                ranges.push((range.begin, range.end, offset as u64));
            }
        }
    }
    Ok(())
}
