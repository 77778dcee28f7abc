//! The functions at an address: the one whose code it is, and those inlined there, by the entries of one unit.
//!
//! Finds no unit and reads no line program; both come from beside it.

use gimli::{
    AttributeValue, DebugInfoOffset, DwAt, DwTag, Dwarf, EntriesRaw, Unit, UnitOffset,
    UnitSectionOffset, constants as dw,
};

use super::budget::Budget;
use super::lines::{Lines, Location};
use super::{DwarfError, Reader, SourceFrame};

/// Entries that a name is looked for through: concrete → abstract → declaration is the longest chain there is.
const ORIGINS_MAX: usize = 16;

/// A function or inlined call that holds the address.
struct Scope {
    /// How deep its entry lies.
    depth: isize,
    offset: UnitOffset,
    inlined: bool,
    call_file: u64,
    call_line: u32,
}

/// Attributes of an entry that may be such a scope.
#[derive(Default)]
struct Attributes<'r> {
    low: Option<AttributeValue<Reader<'r>>>,
    high: Option<AttributeValue<Reader<'r>>>,
    ranges: Option<AttributeValue<Reader<'r>>>,
    sibling: Option<UnitOffset>,
    call_file: u64,
    call_line: u32,
}

/// Functions and lines at `address`, which lies in the unit at `unit`.
pub(super) fn at(
    dwarf: &Dwarf<Reader<'_>>,
    unit: u64,
    address: u64,
) -> Result<Vec<SourceFrame>, DwarfError> {
    let unit = open(dwarf, unit)?;
    let mut budget = Budget::new();
    let scopes = scopes(dwarf, &unit, address, &mut budget)?;
    let lines = Lines::new(dwarf, &unit);
    let mut here = lines.at(address, &mut budget)?;
    let mut frames = Vec::new();
    for scope in scopes.iter().rev() {
        let name = name(dwarf, &unit, scope.offset)?;
        frames.push(frame(name, here.as_ref(), scope.inlined));
        here = lines.call(scope.call_file, scope.call_line);
    }
    if frames.is_empty() && here.is_some() {
        frames.push(frame(String::new(), here.as_ref(), false));
    }
    Ok(frames)
}

/// File and line alone.
pub(super) fn line(
    dwarf: &Dwarf<Reader<'_>>,
    unit: u64,
    address: u64,
) -> Result<Option<SourceFrame>, DwarfError> {
    let unit = open(dwarf, unit)?;
    let found = Lines::new(dwarf, &unit).at(address, &mut Budget::new())?;
    Ok(found.map(|found| frame(String::new(), Some(&found), false)))
}

fn open<'r>(dwarf: &Dwarf<Reader<'r>>, offset: u64) -> Result<Unit<Reader<'r>>, DwarfError> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let header = dwarf
        .debug_info
        .header_from_offset(DebugInfoOffset(offset))?;
    Ok(dwarf.unit(header)?)
}

fn frame(function: String, at: Option<&Location>, inlined: bool) -> SourceFrame {
    let at = at.cloned().unwrap_or_default();
    SourceFrame {
        function,
        file: at.file,
        path: at.path,
        line: at.line,
        inlined,
    }
}

/// The scopes that hold `address`, outermost first.
fn scopes(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    address: u64,
    budget: &mut Budget,
) -> Result<Vec<Scope>, DwarfError> {
    let mut chain: Vec<Scope> = Vec::new();
    let mut entries = unit.entries_raw(None)?;
    // A jump to a sibling begins to count at 0 again.
    let mut base = 0;
    while !entries.is_empty() {
        budget.step()?;
        let depth = base + entries.next_depth();
        let offset = entries.next_offset();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        // Calls inlined beside each other share no code, so behind the innermost one nothing more is to be found.
        if chain.last().is_some_and(|scope| depth <= scope.depth) {
            break;
        }
        let tag = abbreviation.tag();
        let function = tag == dw::DW_TAG_subprogram;
        let inlined = tag == dw::DW_TAG_inlined_subroutine;
        if !(function || inlined || skippable(tag)) {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut attributes = Attributes::default();
        for spec in abbreviation.attributes() {
            attributes.read(&mut entries, *spec)?;
        }
        let candidate = function || (inlined && !chain.is_empty());
        if candidate && attributes.holds(dwarf, unit, address, budget)? {
            if function {
                chain.clear();
            }
            chain.push(Scope {
                depth,
                offset,
                inlined,
                call_file: attributes.call_file,
                call_line: attributes.call_line,
            });
        } else if let Some(next) = attributes.sibling.filter(|next| next.0 > offset.0)
            && abbreviation.has_children()
        {
            entries = unit.entries_raw(Some(next))?;
            base = depth;
        }
    }
    Ok(chain)
}

/// Entries under which no code lies. Lexical blocks are not among them: their own ranges need not be trusted.
fn skippable(tag: DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_structure_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_subroutine_type
            | dw::DW_TAG_array_type
            | dw::DW_TAG_call_site
            | dw::DW_TAG_GNU_call_site
    )
}

impl<'r> Attributes<'r> {
    fn read(
        &mut self,
        entries: &mut EntriesRaw<'_, '_, Reader<'r>>,
        spec: gimli::AttributeSpecification,
    ) -> Result<(), DwarfError> {
        let attribute = entries.read_attribute(spec)?;
        let value = attribute.value();
        match attribute.name() {
            dw::DW_AT_low_pc => self.low = Some(value),
            dw::DW_AT_high_pc => self.high = Some(value),
            dw::DW_AT_ranges => self.ranges = Some(value),
            dw::DW_AT_sibling => {
                if let AttributeValue::UnitRef(offset) = value {
                    self.sibling = Some(offset);
                }
            }
            dw::DW_AT_call_file => {
                self.call_file = match value {
                    AttributeValue::FileIndex(file) => file,
                    other => other.udata_value().unwrap_or(0),
                };
            }
            dw::DW_AT_call_line => {
                let line = value.udata_value().unwrap_or(0);
                self.call_line = u32::try_from(line).unwrap_or(0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the entry's code includes `address`.
    fn holds(
        &self,
        dwarf: &Dwarf<Reader<'r>>,
        unit: &Unit<Reader<'r>>,
        address: u64,
        budget: &mut Budget,
    ) -> Result<bool, DwarfError> {
        if let Some(ranges) = self.ranges {
            let Some(mut ranges) = dwarf.attr_ranges(unit, ranges)? else {
                return Ok(false);
            };
            while let Some(range) = ranges.next()? {
                budget.step()?;
                if (range.begin..range.end).contains(&address) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let Some(low) = self.low else {
            return Ok(false);
        };
        let Some(low) = dwarf.attr_address(unit, low)? else {
            return Ok(false);
        };
        let high = match &self.high {
            Some(AttributeValue::Udata(size)) => low.saturating_add(*size),
            Some(other) => match dwarf.attr_address(unit, *other)? {
                Some(high) => high,
                None => low.saturating_add(other.udata_value().unwrap_or(0)),
            },
            None => return Ok(false),
        };
        Ok((low..high).contains(&address))
    }
}

/// The name of a function, where need be by the entries that it is an instance of. Empty if it has none.
fn name(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    offset: UnitOffset,
) -> Result<String, DwarfError> {
    let mut foreign: Option<Unit<Reader<'_>>> = None;
    let mut offset = offset;
    for _ in 0..ORIGINS_MAX {
        let unit = foreign.as_ref().unwrap_or(unit);
        let entry = unit.entry(offset)?;
        let text = |name: DwAt| -> Result<Option<String>, DwarfError> {
            let Some(value) = entry.attr_value(name)? else {
                return Ok(None);
            };
            let text = dwarf.attr_string(unit, value)?;
            Ok(Some(text.to_string_lossy().into_owned()))
        };
        if let Some(name) = text(dw::DW_AT_name)? {
            return Ok(name);
        }
        let origin = match entry.attr_value(dw::DW_AT_abstract_origin)? {
            Some(origin) => Some(origin),
            None => entry.attr_value(dw::DW_AT_specification)?,
        };
        match origin {
            Some(AttributeValue::UnitRef(next)) => offset = next,
            Some(AttributeValue::DebugInfoRef(next)) => {
                let Some((other, within)) = unit_holding(dwarf, next)? else {
                    break;
                };
                (foreign, offset) = (Some(other), within);
            }
            _ => return Ok(text(dw::DW_AT_linkage_name)?.unwrap_or_default()),
        }
    }
    Ok(String::new())
}

/// The unit that an entry of another unit lies in. Rare: link-time optimisation, dwz.
fn unit_holding<'r>(
    dwarf: &Dwarf<Reader<'r>>,
    at: DebugInfoOffset,
) -> Result<Option<(Unit<Reader<'r>>, UnitOffset)>, DwarfError> {
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        if let Some(within) = UnitSectionOffset::DebugInfoOffset(at)
            .as_debug_info_offset()
            .and_then(|at| at.to_unit_offset(&header))
        {
            return Ok(Some((dwarf.unit(header)?, within)));
        }
    }
    Ok(None)
}
