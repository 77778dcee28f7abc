//! The types that one unit describes, read in one pass into flat tables. Compares and merges nothing.

use gimli::{
    Attribute, AttributeValue, DebugInfoOffset, DwTag, Dwarf, Operation, Unit, constants as dw,
};

use super::super::{DwarfError, Reader};

/// More types or members than any unit of a kernel has.
const ENTRIES_MAX: usize = 2_000_000;

/// Languages whose types are not C's. Assembly names functions, but as returning nothing.
const NOT_C: [gimli::DwLang; 2] = [dw::DW_LANG_Rust, dw::DW_LANG_Mips_Assembler];

/// No type: void.
pub(super) const NONE: u32 = u32::MAX;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Tag {
    Base,
    Pointer,
    Const,
    Volatile,
    Restrict,
    Typedef,
    Array,
    Struct,
    Union,
    Enum,
    Proto,
    Function,
    /// Stands for the type it names: `_Atomic`, `void` by name.
    Transparent,
}

/// A type, or a function.
#[derive(Clone, Debug)]
pub(super) struct Die<'r> {
    /// Of the entry in its unit.
    offset: u32,
    pub(super) tag: Tag,
    /// Empty for none.
    pub(super) name: &'r [u8],
    /// Bytes.
    pub(super) size: u64,
    /// Index of the type meant, pointed to, returned; or [`NONE`].
    pub(super) target: u32,
    /// Of a function: index of the entry that names it.
    pub(super) origin: u32,
    pub(super) declaration: bool,
    /// `DW_ATE_*` of a base type; variadic for prototypes and functions.
    pub(super) extra: u8,
    /// A function with code: its own, or that of an equal one that the compiler folded it into.
    pub(super) has_code: bool,
    pub(super) external: bool,
    /// Range in the table of children.
    children: (u32, u32),
}

/// Member, parameter, enumerator or dimension of an array.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Child<'r> {
    pub(super) name: &'r [u8],
    /// Index of its type, or [`NONE`].
    pub(super) target: u32,
    /// Bits from the start of the struct; value of an enumerator, elements of a dimension.
    pub(super) value: i64,
    /// Bits of a bit field; 0 for an ordinary member.
    pub(super) bit_size: u8,
    /// For `DW_AT_bit_offset`, which counts from the high end of the storage: bytes of it, where they are told.
    storage: Option<u64>,
    old_bit_offset: Option<u64>,
}

/// The types of a unit.
pub(super) struct Types<'r> {
    pub(super) dies: Vec<Die<'r>>,
    children: Vec<Child<'r>>,
}

impl<'r> Types<'r> {
    /// Members, parameters, enumerators, dimensions of an entry.
    pub(super) fn children(&self, die: &Die<'r>) -> &[Child<'r>] {
        let (from, to) = (die.children.0 as usize, die.children.1 as usize);
        self.children.get(from..to).unwrap_or_default()
    }

    pub(super) fn die(&self, index: u32) -> Option<&Die<'r>> {
        self.dies.get(usize::try_from(index).ok()?)
    }

    /// Index of the entry at an offset of the unit.
    fn index_of(&self, offset: u32) -> u32 {
        let found = self.dies.binary_search_by_key(&offset, |die| die.offset);
        found.map_or(NONE, |index| u32::try_from(index).unwrap_or(NONE))
    }

    /// Bytes of a type, for bit fields of compilers that leave out the storage's size.
    fn size(&self, mut index: u32) -> Option<u64> {
        for _ in 0..32 {
            let die = self.die(index)?;
            match die.tag {
                Tag::Typedef | Tag::Const | Tag::Volatile | Tag::Restrict | Tag::Transparent => {
                    index = die.target;
                }
                _ => return Some(die.size),
            }
        }
        None
    }
}

/// Reads all types of a unit. `None` for a language whose types C cannot say.
pub(super) fn read<'r>(
    dwarf: &Dwarf<Reader<'r>>,
    unit: &Unit<Reader<'r>>,
) -> Result<Option<Types<'r>>, DwarfError> {
    let mut pass = Pass {
        dwarf,
        unit,
        types: Types {
            dies: Vec::new(),
            children: Vec::new(),
        },
        open: Vec::new(),
    };
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let depth = entries.next_depth();
        let offset = u32::try_from(entries.next_offset().0).unwrap_or(u32::MAX);
        pass.close(depth)?;
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        let wanted = wanted(abbreviation.tag());
        if matches!(wanted, Wanted::Nothing) {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut raw = Raw::default();
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            raw.take(&pass, &attribute);
        }
        if raw.foreign {
            return Err(DwarfError::ForeignType);
        }
        match wanted {
            Wanted::Unit if raw.language.is_some_and(|l| NOT_C.contains(&l)) => return Ok(None),
            Wanted::Unit | Wanted::Nothing => {}
            Wanted::Child => pass.child(depth, abbreviation.tag(), &raw),
            Wanted::Type(tag) => pass.open(depth, offset, tag, &raw)?,
        }
    }
    pass.close(isize::MIN)?;
    pass.types.link();
    Ok(Some(pass.types))
}

enum Wanted {
    Nothing,
    Unit,
    Child,
    Type(Tag),
}

fn wanted(tag: DwTag) -> Wanted {
    Wanted::Type(match tag {
        dw::DW_TAG_base_type => Tag::Base,
        dw::DW_TAG_pointer_type => Tag::Pointer,
        dw::DW_TAG_const_type => Tag::Const,
        dw::DW_TAG_volatile_type => Tag::Volatile,
        dw::DW_TAG_restrict_type => Tag::Restrict,
        dw::DW_TAG_typedef => Tag::Typedef,
        dw::DW_TAG_array_type => Tag::Array,
        dw::DW_TAG_structure_type => Tag::Struct,
        dw::DW_TAG_union_type => Tag::Union,
        dw::DW_TAG_enumeration_type => Tag::Enum,
        dw::DW_TAG_subroutine_type => Tag::Proto,
        dw::DW_TAG_subprogram => Tag::Function,
        dw::DW_TAG_atomic_type | dw::DW_TAG_unspecified_type => Tag::Transparent,
        dw::DW_TAG_member
        | dw::DW_TAG_enumerator
        | dw::DW_TAG_formal_parameter
        | dw::DW_TAG_unspecified_parameters
        | dw::DW_TAG_subrange_type => return Wanted::Child,
        dw::DW_TAG_compile_unit => return Wanted::Unit,
        _ => return Wanted::Nothing,
    })
}

/// The attributes that matter, of any entry.
#[derive(Default)]
struct Raw<'r> {
    name: &'r [u8],
    size: Option<u64>,
    target: Option<u32>,
    origin: Option<u32>,
    declaration: bool,
    encoding: u8,
    location: u64,
    data_bit_offset: Option<u64>,
    bit_offset: Option<u64>,
    bit_size: u8,
    count: Option<u64>,
    value: i64,
    has_code: bool,
    inline: bool,
    /// Refers to another unit.
    foreign: bool,
    external: bool,
    language: Option<gimli::DwLang>,
}

impl<'r> Raw<'r> {
    fn take(&mut self, pass: &Pass<'_, 'r>, attribute: &Attribute<Reader<'r>>) {
        let value = attribute.value();
        let number = || value.udata_value();
        match attribute.name() {
            dw::DW_AT_name => {
                let text = pass.dwarf.attr_string(pass.unit, value);
                self.name = text.map_or(b"", |text| text.slice());
            }
            dw::DW_AT_byte_size => self.size = number(),
            dw::DW_AT_type => {
                self.target = pass.reference(value);
                self.foreign |= self.target.is_none();
            }
            dw::DW_AT_abstract_origin | dw::DW_AT_specification => {
                self.origin = pass.reference(value);
                self.foreign |= self.origin.is_none();
            }
            dw::DW_AT_declaration => self.declaration = value == AttributeValue::Flag(true),
            dw::DW_AT_external => self.external = value == AttributeValue::Flag(true),
            dw::DW_AT_encoding => {
                if let AttributeValue::Encoding(encoding) = value {
                    self.encoding = encoding.0;
                }
            }
            dw::DW_AT_data_member_location => self.location = offset_of(pass.unit, value),
            dw::DW_AT_data_bit_offset => self.data_bit_offset = number(),
            dw::DW_AT_bit_offset => self.bit_offset = number(),
            dw::DW_AT_bit_size => {
                self.bit_size = number().and_then(|n| n.try_into().ok()).unwrap_or(0)
            }
            dw::DW_AT_count => self.count = number(),
            // -1 where an array has no elements.
            dw::DW_AT_upper_bound => {
                self.count = signed(attribute).map(|n| n.cast_unsigned().wrapping_add(1));
            }
            dw::DW_AT_const_value => self.value = signed(attribute).unwrap_or(0),
            dw::DW_AT_inline => self.inline = true,
            dw::DW_AT_low_pc | dw::DW_AT_ranges => self.has_code = true,
            dw::DW_AT_language => {
                if let AttributeValue::Language(language) = value {
                    self.language = Some(language);
                }
            }
            _ => {}
        }
    }
}

/// A number with the sign that its form gives it; gcc writes negative ones as `sdata`, others in data forms.
fn signed(attribute: &Attribute<Reader<'_>>) -> Option<i64> {
    match attribute.raw_value() {
        AttributeValue::Data1(n) => Some(n.into()),
        AttributeValue::Data2(n) => Some(n.into()),
        AttributeValue::Data4(n) => Some(n.into()),
        AttributeValue::Data8(n) | AttributeValue::Udata(n) => Some(n.cast_signed()),
        AttributeValue::Sdata(n) => Some(n),
        _ => None,
    }
}

/// A member's offset in bytes: a number, or in old DWARF the expression `DW_OP_plus_uconst n`.
fn offset_of(unit: &Unit<Reader<'_>>, value: AttributeValue<Reader<'_>>) -> u64 {
    let AttributeValue::Exprloc(expression) = value else {
        return value.udata_value().unwrap_or(0);
    };
    match expression.operations(unit.encoding()).next() {
        Ok(Some(Operation::PlusConstant { value })) => value,
        _ => 0,
    }
}

struct Pass<'d, 'r> {
    dwarf: &'d Dwarf<Reader<'r>>,
    unit: &'d Unit<Reader<'r>>,
    types: Types<'r>,
    /// Entries whose children are being read: depth, index, children so far.
    open: Vec<(isize, usize, Vec<Child<'r>>)>,
}

impl<'r> Pass<'_, 'r> {
    /// Offset in this unit of the entry that a reference means; `None` for one in another unit.
    fn reference(&self, value: AttributeValue<Reader<'r>>) -> Option<u32> {
        let offset = match value {
            AttributeValue::UnitRef(offset) => Some(offset),
            AttributeValue::DebugInfoRef(DebugInfoOffset(at)) => {
                DebugInfoOffset(at).to_unit_offset(&self.unit.header)
            }
            _ => None,
        };
        u32::try_from(offset?.0).ok()
    }

    /// A type begins.
    fn open(
        &mut self,
        depth: isize,
        offset: u32,
        tag: Tag,
        raw: &Raw<'r>,
    ) -> Result<(), DwarfError> {
        if self.types.dies.len() >= ENTRIES_MAX {
            return Err(DwarfError::TooMuch);
        }
        self.open.push((depth, self.types.dies.len(), Vec::new()));
        self.types.dies.push(Die {
            offset,
            tag,
            name: raw.name,
            size: raw.size.unwrap_or(0),
            target: raw.target.unwrap_or(NONE),
            origin: raw.origin.unwrap_or(NONE),
            declaration: raw.declaration,
            extra: raw.encoding,
            has_code: raw.has_code || !(raw.declaration || raw.inline || raw.origin.is_some()),
            external: raw.external,
            children: (0, 0),
        });
        Ok(())
    }

    /// All entries at `depth` and deeper have ended.
    fn close(&mut self, depth: isize) -> Result<(), DwarfError> {
        while let Some((_, index, children)) = self.open.pop_if(|(at, ..)| *at >= depth) {
            if children.is_empty() {
                continue;
            }
            let from = self.types.children.len();
            self.types.children.extend(children);
            let to = self.types.children.len();
            if to > ENTRIES_MAX {
                return Err(DwarfError::TooMuch);
            }
            if let Some(die) = self.types.dies.get_mut(index) {
                die.children = (
                    u32::try_from(from).unwrap_or(0),
                    u32::try_from(to).unwrap_or(0),
                );
            }
        }
        Ok(())
    }

    /// A member, parameter, enumerator or dimension of the entry that is open one level above.
    fn child(&mut self, depth: isize, tag: DwTag, raw: &Raw<'r>) {
        let Some((above, index, children)) = self.open.last_mut() else {
            return;
        };
        let Some(parent) = self
            .types
            .dies
            .get_mut(*index)
            .filter(|_| *above + 1 == depth)
        else {
            return;
        };
        if tag == dw::DW_TAG_unspecified_parameters {
            parent.extra = 1;
            return;
        }
        let fits = match parent.tag {
            Tag::Struct | Tag::Union => tag == dw::DW_TAG_member,
            Tag::Enum => tag == dw::DW_TAG_enumerator,
            Tag::Array => tag == dw::DW_TAG_subrange_type,
            Tag::Proto | Tag::Function => tag == dw::DW_TAG_formal_parameter,
            _ => false,
        };
        if !fits {
            return;
        }
        let bits = raw.location.wrapping_mul(8).cast_signed();
        children.push(Child {
            name: raw.name,
            target: raw.target.unwrap_or(NONE),
            value: match tag {
                dw::DW_TAG_enumerator => raw.value,
                dw::DW_TAG_subrange_type => raw.count.unwrap_or(0).cast_signed(),
                _ => raw.data_bit_offset.map_or(bits, u64::cast_signed),
            },
            bit_size: raw.bit_size,
            storage: raw.size,
            old_bit_offset: raw.bit_offset,
        });
    }
}

impl Types<'_> {
    /// Turns offsets into indexes, and old bit offsets into distances from the low end.
    fn link(&mut self) {
        let index = |types: &Self, offset| match offset {
            NONE => NONE,
            offset => types.index_of(offset),
        };
        for n in 0..self.dies.len() {
            let Some((target, origin)) = self.dies.get(n).map(|d| (d.target, d.origin)) else {
                continue;
            };
            let linked = (index(self, target), index(self, origin));
            if let Some(die) = self.dies.get_mut(n) {
                (die.target, die.origin) = linked;
            }
        }
        for n in 0..self.children.len() {
            let Some(child) = self.children.get(n).copied() else {
                continue;
            };
            let target = index(self, child.target);
            let storage = child.storage.or_else(|| self.size(target)).unwrap_or(0);
            if let Some(own) = self.children.get_mut(n) {
                own.target = target;
                if let Some(high) = child.old_bit_offset {
                    let from_low = storage
                        .wrapping_mul(8)
                        .wrapping_sub(high)
                        .wrapping_sub(child.bit_size.into());
                    own.value = child.value.wrapping_add(from_low.cast_signed());
                }
            }
        }
    }
}
