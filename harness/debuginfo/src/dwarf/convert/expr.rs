//! A type as a tree without unit: what a definition consists of, named types in it as numbered leaves.

use super::super::DwarfError;
use super::shape::is_named;
use super::unit::{Die, Tag, Types};

/// A type.
#[derive(Clone, Debug)]
pub(super) enum Expr<'r> {
    Void,
    /// The named type with this number among the definition's leaves.
    Leaf(u32),
    Base {
        name: &'r [u8],
        size: u64,
        encoding: u8,
    },
    /// Pointer, qualifier or typedef of one type.
    Of(Tag, Box<Expr<'r>>),
    /// Outermost dimension first.
    Array(Box<Expr<'r>>, Vec<u64>),
    /// Struct or union.
    Struct {
        tag: Tag,
        size: u64,
        members: Vec<Part<'r>>,
    },
    Enum {
        size: u64,
        values: Vec<(&'r [u8], i64)>,
    },
    Proto {
        returns: Box<Expr<'r>>,
        params: Vec<Part<'r>>,
        variadic: bool,
    },
}

/// A member or parameter.
#[derive(Clone, Debug)]
pub(super) struct Part<'r> {
    pub(super) name: &'r [u8],
    pub(super) is: Expr<'r>,
    /// Bits from the start of the struct.
    pub(super) bit_offset: i64,
    /// Bits of a bit field, else 0.
    pub(super) bit_size: u8,
}

/// Builds trees. Leaves are numbered in the order in which [`super::shape::for_each_leaf`] visits them.
pub(super) struct Builder<'t, 'r> {
    types: &'t Types<'r>,
    leaves: u32,
    steps: &'t mut u64,
}

impl<'t, 'r> Builder<'t, 'r> {
    pub(super) fn new(types: &'t Types<'r>, steps: &'t mut u64) -> Self {
        Self {
            types,
            leaves: 0,
            steps,
        }
    }

    /// What a definition consists of.
    pub(super) fn body(&mut self, die: &Die<'r>) -> Result<Expr<'r>, DwarfError> {
        // Anything nested too deeply has already failed when its key was computed.
        *self.steps = self.steps.checked_sub(1).ok_or(DwarfError::TooMuch)?;
        let target = self.mention(die.target)?;
        Ok(match die.tag {
            Tag::Base => Expr::Base {
                name: die.name,
                size: die.size,
                encoding: die.extra,
            },
            Tag::Pointer | Tag::Const | Tag::Volatile | Tag::Restrict | Tag::Typedef => {
                Expr::Of(die.tag, Box::new(target))
            }
            Tag::Transparent => target,
            Tag::Array => {
                let dimensions = self.types.children(die).iter();
                let counts = dimensions.map(|d| d.value.cast_unsigned()).collect();
                Expr::Array(Box::new(target), counts)
            }
            Tag::Struct | Tag::Union => Expr::Struct {
                tag: die.tag,
                size: die.size,
                members: self.parts(die)?,
            },
            Tag::Enum => Expr::Enum {
                size: die.size,
                values: {
                    let values = self.types.children(die).iter();
                    values.map(|v| (v.name, v.value)).collect()
                },
            },
            Tag::Proto | Tag::Function => Expr::Proto {
                returns: Box::new(target),
                params: self.parts(die)?,
                variadic: die.extra != 0,
            },
        })
    }

    fn parts(&mut self, die: &Die<'r>) -> Result<Vec<Part<'r>>, DwarfError> {
        let types = self.types;
        let part = |child: &super::unit::Child<'r>| {
            Ok(Part {
                name: child.name,
                is: self.mention(child.target)?,
                bit_offset: child.value,
                bit_size: child.bit_size,
            })
        };
        types.children(die).iter().map(part).collect()
    }

    fn mention(&mut self, index: u32) -> Result<Expr<'r>, DwarfError> {
        match self.types.die(index) {
            None => Ok(Expr::Void),
            Some(die) if is_named(die) => {
                let number = self.leaves;
                self.leaves = number.saturating_add(1);
                Ok(Expr::Leaf(number))
            }
            Some(die) => self.body(die),
        }
    }
}
