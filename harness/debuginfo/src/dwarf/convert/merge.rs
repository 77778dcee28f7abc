//! The definitions of many units, each once, and what the names in them mean.
//!
//! Two units may define different types of one name. A name inside a definition means what it means in the units
//! that have that definition; where one only declares the type, others are asked, and where they disagree the name
//! stays a declaration.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::DwarfError;
use super::expr::{Builder, Expr};
use super::shape::{Key, Keys, for_each_leaf, is_named};
use super::unit::{Die, NONE, Tag, Types};

/// Definitions, members and names in them, of all units together; a kernel has under a million.
const WEIGHT_MAX: usize = 8_000_000;

/// A struct, union, enum, typedef or function.
#[derive(Debug)]
pub(super) struct Definition<'r> {
    /// Unit and entry where it was seen first; their order is the order of the definitions.
    pub(super) first: (u64, u32),
    pub(super) tag: Tag,
    pub(super) name: &'r [u8],
    pub(super) body: Expr<'r>,
    pub(super) leaves: Vec<Leaf<'r>>,
    /// Not a typedef of something only declared.
    pub(super) complete: bool,
    pub(super) external: bool,
}

/// A named type that a definition mentions.
#[derive(Clone, Debug)]
pub(super) struct Leaf<'r> {
    pub(super) tag: Tag,
    pub(super) name: &'r [u8],
    pub(super) means: Means,
}

/// Which definition a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// No unit with the mentioning type defines it.
    Unsaid,
    One(Key),
    Several,
}

impl Means {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unsaid, known) | (known, Self::Unsaid) => known,
            (Self::One(a), Self::One(b)) if a == b => self,
            _ => Self::Several,
        }
    }
}

/// Definitions by key.
#[derive(Default)]
pub(super) struct Merger<'r> {
    pub(super) definitions: HashMap<Key, Definition<'r>>,
    weight: usize,
}

impl<'r> Merger<'r> {
    /// Adds the definitions of a unit. `steps` bounds the work.
    pub(super) fn add(
        &mut self,
        unit: u64,
        types: &Types<'r>,
        mut steps: u64,
    ) -> Result<(), DwarfError> {
        let mut keys = Keys::new(types);
        for (index, die) in types.dies.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(NONE);
            let Some((defined, named)) = defined(types, index, die) else {
                continue;
            };
            let key = keys.of(defined)?;
            let mut leaves = Vec::new();
            let mut failed = Ok(());
            for_each_leaf(types, defined, &mut steps, &mut |at, leaf| {
                let means = if is_complete(types, at) {
                    keys.of(at).map(Means::One)
                } else {
                    Ok(Means::Unsaid)
                };
                match means {
                    Ok(means) => leaves.push(Leaf {
                        tag: leaf.tag,
                        name: leaf.name,
                        means,
                    }),
                    Err(error) => failed = Err(error),
                }
            })?;
            failed?;
            let complete = named.tag == Tag::Function || is_complete(types, defined);
            match self.definitions.entry(key) {
                Entry::Occupied(known) => join(&mut known.into_mut().leaves, &leaves),
                Entry::Vacant(vacant) => {
                    self.weight += 4 + leaves.len() + types.children(named).len();
                    vacant.insert(Definition {
                        first: (unit, index),
                        tag: named.tag,
                        name: named.name,
                        body: Builder::new(types, &mut steps).body(named)?,
                        leaves,
                        complete,
                        external: die.external || named.external,
                    });
                }
            }
            if self.weight > WEIGHT_MAX {
                return Err(DwarfError::TooMuch);
            }
        }
        Ok(())
    }

    /// Takes out the functions whose name alone does not say which they are: static ones of different units, with
    /// different prototypes. Asked by name, none would be surely right.
    pub(super) fn drop_ambiguous_functions(&mut self) {
        let mut count: HashMap<&[u8], usize> = HashMap::new();
        for definition in self.definitions.values() {
            if definition.tag == Tag::Function {
                *count.entry(definition.name).or_default() += 1;
            }
        }
        let once = |name: &[u8]| count.get(name).is_none_or(|count| *count == 1);
        self.definitions
            .retain(|_, definition| definition.tag != Tag::Function || once(definition.name));
    }

    /// Adds what another one found.
    pub(super) fn absorb(&mut self, other: Self) {
        for (key, definition) in other.definitions {
            match self.definitions.entry(key) {
                Entry::Vacant(vacant) => {
                    vacant.insert(definition);
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    join(&mut known.leaves, &definition.leaves);
                    known.first = known.first.min(definition.first);
                }
            }
        }
    }
}

fn join(known: &mut [Leaf<'_>], new: &[Leaf<'_>]) {
    for (known, new) in known.iter_mut().zip(new) {
        known.means = known.means.join(new.means);
    }
}

/// Index and entry of what an entry defines: itself, or for a function with code the entry that names it.
fn defined<'t, 'r>(
    types: &'t Types<'r>,
    index: u32,
    die: &'t Die<'r>,
) -> Option<(u32, &'t Die<'r>)> {
    match die.tag {
        Tag::Function if die.has_code => {
            let mut at = (index, die);
            for _ in 0..4 {
                if !at.1.name.is_empty() {
                    return Some(at);
                }
                at = (at.1.origin, types.die(at.1.origin)?);
            }
            None
        }
        // Anonymous enums are constants, whoever mentions them.
        Tag::Enum if !die.declaration => Some((index, die)),
        _ if is_named(die) && !die.declaration => Some((index, die)),
        _ => None,
    }
}

/// Whether all that a named type's value consists of is defined here.
fn is_complete(types: &Types<'_>, mut index: u32) -> bool {
    for _ in 0..64 {
        match types.die(index) {
            Some(die) if die.declaration => return false,
            Some(die) => match die.tag {
                Tag::Typedef
                | Tag::Const
                | Tag::Volatile
                | Tag::Restrict
                | Tag::Transparent
                | Tag::Array => index = die.target,
                _ => return true,
            },
            None => return true,
        }
    }
    false
}
