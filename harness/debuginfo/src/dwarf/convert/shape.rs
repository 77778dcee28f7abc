//! When two types of different units are the same: keys that depend on no unit.
//!
//! Every type has two keys. By *value*, a struct is its name, size and members, embedded structs included; by
//! *reference*, as behind a pointer, a named type is its name alone. All cycles of C types pass through a pointer
//! to a named type, so both keys can be computed by descending. What a reference by name means is settled
//! afterwards, in `merge`.

use super::super::DwarfError;
use super::unit::{Child, Die, Tag, Types};

/// Types nested in one another by value, or in prototypes, beyond which a unit is damaged.
const DEPTH_MAX: u32 = 200;

/// A hash of 128 bits: equal for equal types, and for others in practice never.
pub(super) type Key = u128;

/// Computes the keys of one unit's types.
pub(super) struct Keys<'t, 'r> {
    types: &'t Types<'r>,
    value: Vec<Option<Key>>,
    reference: Vec<Option<Key>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Value,
    Reference,
}

impl<'t, 'r> Keys<'t, 'r> {
    pub(super) fn new(types: &'t Types<'r>) -> Self {
        let unknown = vec![None; types.dies.len()];
        Self {
            types,
            value: unknown.clone(),
            reference: unknown,
        }
    }

    /// The key of a definition: the type by value.
    pub(super) fn of(&mut self, index: u32) -> Result<Key, DwarfError> {
        self.key(index, By::Value, 0)
    }

    fn key(&mut self, index: u32, by: By, depth: u32) -> Result<Key, DwarfError> {
        if depth > DEPTH_MAX {
            return Err(DwarfError::TooMuch);
        }
        let slot = index as usize;
        let known = match by {
            By::Value => self.value.get(slot),
            By::Reference => self.reference.get(slot),
        };
        let Some(known) = known else {
            return Ok(Hash::new(0).end());
        };
        if let Some(known) = known {
            return Ok(*known);
        }
        let key = self.compute(index, by, depth + 1)?;
        let slots = match by {
            By::Value => &mut self.value,
            By::Reference => &mut self.reference,
        };
        if let Some(slot) = slots.get_mut(slot) {
            *slot = Some(key);
        }
        Ok(key)
    }

    fn compute(&mut self, index: u32, by: By, depth: u32) -> Result<Key, DwarfError> {
        let types = self.types;
        let Some(die) = types.die(index) else {
            return Ok(Hash::new(0).end());
        };
        let named = is_named(die);
        if named && (by == By::Reference || (die.declaration && die.tag != Tag::Function)) {
            return Ok(by_name(die));
        }
        let mut hash = Hash::new(1 + die.tag as u64);
        hash.text(die.name);
        let target_by = match die.tag {
            Tag::Pointer | Tag::Proto | Tag::Function => By::Reference,
            _ => by,
        };
        let head = match die.tag {
            Tag::Transparent => return self.key(die.target, by, depth),
            Tag::Base | Tag::Proto | Tag::Function => [die.size, die.extra.into()],
            _ => [die.size, 0],
        };
        head.into_iter().for_each(|word| hash.word(word));
        hash.key(self.key(die.target, target_by, depth)?);
        for child in types.children(die) {
            // A function is the same by whatever names its parameters go.
            if die.tag != Tag::Function {
                hash.text(child.name);
            }
            hash.word(child.value.cast_unsigned());
            hash.word(child.bit_size.into());
            if die.tag != Tag::Enum && die.tag != Tag::Array {
                hash.key(self.key(child.target, target_by, depth)?);
            }
        }
        Ok(hash.end())
    }
}

/// Types that others refer to by their name.
pub(super) fn is_named(die: &Die<'_>) -> bool {
    let named = matches!(die.tag, Tag::Struct | Tag::Union | Tag::Enum | Tag::Typedef);
    named && !die.name.is_empty()
}

fn by_name(die: &Die<'_>) -> Key {
    let mut hash = Hash::new(64 + die.tag as u64);
    hash.text(die.name);
    hash.end()
}

/// Named types that a type mentions, in a fixed order; not those inside other named types.
///
/// `steps` bounds the work: anonymous structs may share their members' types, and damaged ones may do so often.
pub(super) fn for_each_leaf<'r>(
    types: &Types<'r>,
    index: u32,
    steps: &mut u64,
    visit: &mut dyn FnMut(u32, &Die<'r>),
) -> Result<(), DwarfError> {
    let Some(die) = types.die(index) else {
        return Ok(());
    };
    inside(types, die, steps, visit, 0)
}

fn inside<'r>(
    types: &Types<'r>,
    die: &Die<'r>,
    steps: &mut u64,
    visit: &mut dyn FnMut(u32, &Die<'r>),
    depth: u32,
) -> Result<(), DwarfError> {
    *steps = steps.checked_sub(1).ok_or(DwarfError::TooMuch)?;
    if depth > DEPTH_MAX {
        return Err(DwarfError::TooMuch);
    }
    let mentioned = |child: &Child<'r>| child.target;
    let children: &[Child<'r>] = match die.tag {
        Tag::Enum | Tag::Array => &[],
        _ => types.children(die),
    };
    for index in std::iter::once(die.target).chain(children.iter().map(mentioned)) {
        match types.die(index) {
            Some(leaf) if is_named(leaf) => visit(index, leaf),
            Some(part) => inside(types, part, steps, visit, depth + 1)?,
            None => {}
        }
    }
    Ok(())
}

/// Two lanes of multiply and fold. Not for use against someone who forges collisions: that would only confuse the
/// types of the file that they forged.
struct Hash(u64, u64);

impl Hash {
    fn new(seed: u64) -> Self {
        let mut hash = Self(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
        hash.word(seed);
        hash
    }

    fn word(&mut self, word: u64) {
        let fold = |a: u64, b: u64| {
            let wide = u128::from(a) * u128::from(b);
            (wide as u64) ^ ((wide >> 64) as u64)
        };
        self.0 = fold(self.0 ^ word, 0xd6e8_feb8_6659_fd93).wrapping_add(self.1);
        self.1 =
            fold(self.1 ^ word.rotate_left(32), 0xa076_1d64_78bd_642f) ^ self.0.rotate_left(17);
    }

    fn key(&mut self, key: Key) {
        self.word(key as u64);
        self.word((key >> 64) as u64);
    }

    fn text(&mut self, text: &[u8]) {
        let mut chunks = text.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(chunks.remainder()) {
            *to = *from;
        }
        self.word(u64::from_le_bytes(last));
        self.word(text.len() as u64);
    }

    fn end(mut self) -> Key {
        self.word(0x5851_f42d_4c95_7f2d);
        (Key::from(self.0) << 64) | Key::from(self.1)
    }
}
