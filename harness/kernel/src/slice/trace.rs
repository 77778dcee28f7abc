//! Builds the graph of definitions behind a register: one node a definition, joined where paths join.
//! Bounded in nodes and depth; a loop meets itself and stops there.
use super::around::Around;
use super::code::{Code, callee};
use super::effect::{self, ARGUMENTS, Address, Effect, Input, Loc};
use super::reach::{Reach, Writes, kept, reaching};
use super::stack::{Stack, same_frame};
use super::typed::Layouts;
use crate::object::Missing;
use iced_x86::Mnemonic;
use std::collections::HashMap;

/// Definitions looked at for one function.
const MAX_NODES: usize = 4000;
/// Definitions in a row.
const MAX_DEPTH: usize = 48;
/// Definitions that meet at one join.
const MAX_JOIN: usize = 12;

/// rsp's number.
pub(super) const STACK_POINTER: u8 = 4;

/// Number of a node.
pub(super) type NodeId = usize;

/// The values of the general registers at the place that is looked at, by number; `None` where not known.
pub(crate) type Registers = [Option<u64>; 16];

/// One definition of a place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The register or slot, `None` for what lives in no place (an operand in memory, a number).
    pub(super) place: Option<Loc>,
    /// The instruction that defined it; for a join, entry or unknown one the instruction that asked.
    pub(super) at: usize,
    /// What it is.
    pub(super) kind: Kind,
    /// The value, where the crash still shows it.
    pub(super) value: Option<u64>,
    /// Its type in C's spelling.
    pub(super) type_name: Option<String>,
    /// The type was told by the value, not by the code.
    pub(super) by_value: bool,
}

/// An address whose parts are defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) written: Address,
    pub(super) base: Option<NodeId>,
    pub(super) index: Option<NodeId>,
}

/// What a definition is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Constant(u64),
    /// The same value in another place.
    Same(NodeId),
    /// The low `width` bytes of another value.
    Narrow {
        of: NodeId,
        width: u32,
        signed: bool,
    },
    Load {
        from: Pointer,
        size: u32,
        signed: bool,
    },
    AddressOf(Pointer),
    Combined {
        sign: &'static str,
        left: NodeId,
        right: NodeId,
        width: u32,
    },
    Applied {
        operation: &'static str,
        to: NodeId,
        width: u32,
    },
    Returned {
        function: Option<String>,
    },
    /// An argument register as the caller left it, counted from 0.
    Argument(usize),
    /// The stack pointer, counted from where it stood at the function's entry.
    Frame(i64),
    /// Another register as the caller left it.
    Entry(u8),
    /// An argument that the caller put on the stack, counted from the stack pointer at entry.
    OnStack(i64),
    Joined {
        of: Vec<NodeId>,
        chosen: Option<(NodeId, String)>,
    },
    Unknown(String),
}

/// A function with the state in which a crash left it.
pub(super) struct Tracer<'a> {
    pub(super) around: &'a dyn Around,
    pub(super) code: Code,
    pub(super) stack: Stack,
    pub(super) writes: Writes,
    /// The instruction before which the registers hold.
    pub(super) here: usize,
    pub(super) registers: Registers,
    pub(super) nodes: Vec<Node>,
    pub(super) layouts: Layouts,
    /// The function's arguments, where another place still holds them.
    pub(super) arguments: [Option<u64>; 6],
    /// Pointers of this function with their types, by value.
    pub(super) pointers: HashMap<u64, String>,
    known: HashMap<(Loc, u32, usize), Option<NodeId>>,
}

impl<'a> Tracer<'a> {
    /// The function around `at`, with the registers as they are before the instruction there.
    pub(super) fn new(
        around: &'a dyn Around,
        at: u64,
        registers: Registers,
    ) -> Result<Self, Missing> {
        let code = Code::load(around, at)?;
        let here = code.find(at).ok_or_else(|| {
            Missing::Implausible(format!(
                "no instruction of {} begins at {at:#x}",
                code.function.name
            ))
        })?;
        let stack = Stack::follow(&code);
        let writes = Writes::of(&code, &stack, around);
        Ok(Self {
            around,
            code,
            stack,
            writes,
            here,
            registers,
            nodes: Vec::new(),
            layouts: Layouts::default(),
            arguments: [None; 6],
            pointers: HashMap::new(),
            known: HashMap::new(),
        })
    }

    /// The node of this number; every number given out has one.
    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Defines what `place` holds before instruction `before`.
    pub(super) fn trace(&mut self, place: Loc, width: u32, before: usize, depth: usize) -> NodeId {
        let key = (place, width, before);
        match self.known.get(&key) {
            Some(Some(id)) => return *id,
            Some(None) => {
                return self.unknown(Some(place), before, "itself, in an earlier round of a loop");
            }
            None => {}
        }
        if depth >= MAX_DEPTH || self.nodes.len() >= MAX_NODES {
            return self.unknown(Some(place), before, "the chain is too long to be followed");
        }
        if let (Loc::Reg(STACK_POINTER), Some(level)) =
            (place, self.stack.at(before).and_then(|level| level.sp))
        {
            let id = self.push(Some(place), before, Kind::Frame(level));
            self.settle(id);
            return id;
        }
        self.known.insert(key, None);
        let ends = reaching(&self.code, &self.writes, place, width, before);
        let value = self.value(place, width, before);
        let id = match ends.as_slice() {
            [] => self.unknown(
                Some(place),
                before,
                "no path from the function's entry leads here",
            ),
            [one] => self.reached(*one, place, width, before, depth),
            several if several.len() > MAX_JOIN => {
                let why = format!("{} definitions meet here", several.len());
                self.unknown(Some(place), before, &why)
            }
            several => self.joined(several, place, width, before, depth),
        };
        if let Some(node) = self.nodes.get_mut(id)
            && node.value.is_none()
        {
            node.value = value;
        }
        self.settle(id);
        self.known.insert(key, Some(id));
        id
    }

    /// What a place held before `before` ran, if it still holds it.
    fn value(&self, place: Loc, width: u32, before: usize) -> Option<u64> {
        if !kept(&self.code, &self.writes, place, width, before, self.here) {
            return None;
        }
        match place {
            Loc::Reg(register) => self.registers.get(usize::from(register)).copied().flatten(),
            Loc::Slot(at) => self.around.word(self.frame_address(at)?, width),
        }
    }

    /// The stack pointer at the function's entry: the return address lies there.
    pub(super) fn stack_at_entry(&self) -> Option<u64> {
        self.frame_address(0)
    }

    /// Address of a place in the frame.
    pub(super) fn frame_address(&self, at: i64) -> Option<u64> {
        let level = self.stack.at(self.here)?.sp?;
        let pointer = self
            .registers
            .get(usize::from(STACK_POINTER))
            .copied()
            .flatten()?;
        same_frame(level, at).then(|| pointer.wrapping_add_signed(at.wrapping_sub(level)))
    }

    /// Forgets all definitions, to trace again with the arguments known.
    pub(super) fn start_again(&mut self, arguments: [Option<u64>; 6]) {
        self.arguments = arguments;
        self.nodes.clear();
        self.known.clear();
    }

    fn reached(
        &mut self,
        end: Reach,
        place: Loc,
        width: u32,
        before: usize,
        depth: usize,
    ) -> NodeId {
        match end {
            Reach::Written(at) => self.defined(at, place, width, depth),
            Reach::Entry => self.at_entry(place, before),
            Reach::Orphan(at) => {
                let why = self.code.get(at).map_or_else(String::new, |instruction| {
                    format!("no jump to {:#x} is known", instruction.ip())
                });
                self.unknown(Some(place), before, &why)
            }
        }
    }

    fn at_entry(&mut self, place: Loc, before: usize) -> NodeId {
        let kind = match place {
            Loc::Reg(register) => ARGUMENTS
                .iter()
                .position(|argument| *argument == register)
                .map_or(Kind::Entry(register), Kind::Argument),
            Loc::Slot(at) if at >= 0 => Kind::OnStack(at),
            Loc::Slot(_) => Kind::Unknown("nothing was written to this part of the frame".into()),
        };
        self.push(Some(place), before, kind)
    }

    fn joined(
        &mut self,
        ends: &[Reach],
        place: Loc,
        width: u32,
        before: usize,
        depth: usize,
    ) -> NodeId {
        let mut of = Vec::new();
        for end in ends {
            let id = self.reached(*end, place, width, before, depth + 1);
            self.settle(id);
            of.push(id);
        }
        self.push(Some(place), before, Kind::Joined { of, chosen: None })
    }

    /// The definition that instruction `at` gives to `place`.
    fn defined(&mut self, at: usize, place: Loc, width: u32, depth: usize) -> NodeId {
        let Some(instruction) = self.code.get(at).copied() else {
            return self.unknown(Some(place), at, "no instruction");
        };
        let effect = match place {
            Loc::Reg(register) => effect::in_register(&instruction, register),
            Loc::Slot(offset) => match self.writes.slot(at) {
                Some((start, size)) if start == offset && size >= i64::from(width) => {
                    effect::in_slot(&instruction)
                }
                _ => Effect::Other,
            },
        };
        let kind = self.kind(effect, at, depth + 1);
        self.push(Some(place), at, kind)
    }

    fn kind(&mut self, effect: Effect, at: usize, depth: usize) -> Kind {
        match effect {
            Effect::Moved {
                from: Input::Memory(address),
                width,
                signed,
            } => self.load(address, at, width, signed, depth),
            Effect::Moved {
                from: Input::Constant(value),
                width,
                ..
            } => Kind::Constant(truncated(value, width)),
            Effect::Moved {
                from,
                width,
                signed,
            } => {
                let of = self.input(from, at, width, depth);
                if width >= 8 {
                    Kind::Same(of)
                } else {
                    Kind::Narrow { of, width, signed }
                }
            }
            Effect::AddressOf { address, .. } => Kind::AddressOf(self.pointer(address, at, depth)),
            Effect::Combined {
                sign,
                left,
                right,
                width,
            } => Kind::Combined {
                sign,
                left: self.input(left, at, width, depth),
                right: self.input(right, at, width, depth),
                width,
            },
            Effect::Applied {
                operation,
                to,
                width,
            } => Kind::Applied {
                operation,
                to: self.input(to, at, width, depth),
                width,
            },
            Effect::Either { left, right, width } => Kind::Joined {
                of: vec![
                    self.input(left, at, width, depth),
                    self.input(right, at, width, depth),
                ],
                chosen: None,
            },
            Effect::Returned => Kind::Returned {
                function: self.called(at),
            },
            Effect::Clobbered => Kind::Unknown(match self.called(at) {
                Some(name) => format!("the call to {name} may have changed it"),
                None => "a call may have changed it".into(),
            }),
            Effect::Popped => self.popped(at, depth),
            Effect::Other => Kind::Unknown(self.not_followed(at)),
        }
    }

    fn not_followed(&self, at: usize) -> String {
        let Some(instruction) = self.code.get(at) else {
            return "no instruction".into();
        };
        if instruction.mnemonic() == Mnemonic::Call {
            return match self.called(at) {
                Some(name) => format!("{name} may have changed it through a pointer"),
                None => "a call may have changed it through a pointer".into(),
            };
        }
        format!(
            "`{}` is not followed",
            crate::instruction::spelled(instruction)
        )
    }

    fn popped(&mut self, at: usize, depth: usize) -> Kind {
        match self.stack.at(at).and_then(|level| level.sp) {
            Some(slot) => Kind::Same(self.trace(Loc::Slot(slot), 8, at, depth)),
            None => Kind::Unknown("where the stack pointer stood is not known".into()),
        }
    }

    /// Name of the function that the call at `at` goes to, where it says.
    pub(super) fn called(&self, at: usize) -> Option<String> {
        callee(self.around, self.code.get(at)?)
    }

    fn load(&mut self, address: Address, at: usize, size: u32, signed: bool, depth: usize) -> Kind {
        let slot = self
            .code
            .get(at)
            .filter(|_| !address.per_cpu)
            .and_then(|instruction| self.stack.slot(at, instruction));
        if let Some(slot) = slot {
            return self.saved(slot, at, size, signed, depth);
        }
        let from = self.pointer(address, at, depth);
        if let Some(slot) = self.in_frame(&from).filter(|_| !address.per_cpu) {
            return self.saved(slot, at, size, signed, depth);
        }
        Kind::Load { from, size, signed }
    }

    /// What a read of `size` bytes finds that were put into the frame before.
    fn saved(&mut self, slot: i64, at: usize, size: u32, signed: bool, depth: usize) -> Kind {
        let of = self.trace(Loc::Slot(slot), size, at, depth);
        if size >= 8 {
            Kind::Same(of)
        } else {
            Kind::Narrow {
                of,
                width: size,
                signed,
            }
        }
    }

    /// The place in the frame that a pointer made of the stack pointer leads to.
    fn in_frame(&self, pointer: &Pointer) -> Option<i64> {
        let mut at = pointer.written.displacement.cast_signed();
        let mut base = pointer.base.filter(|_| pointer.index.is_none())?;
        for _ in 0..MAX_DEPTH {
            match &self.node(base)?.kind {
                Kind::Frame(level) => return at.checked_add(*level),
                Kind::Same(inner) => base = *inner,
                Kind::AddressOf(inner) if inner.index.is_none() => {
                    at = at.checked_add(inner.written.displacement.cast_signed())?;
                    base = inner.base?;
                }
                _ => return None,
            }
        }
        None
    }

    fn pointer(&mut self, address: Address, at: usize, depth: usize) -> Pointer {
        let mut register = |register: Option<u8>| {
            register.map(|register| self.trace(Loc::Reg(register), 8, at, depth))
        };
        Pointer {
            written: address,
            base: register(address.base),
            index: register(address.index),
        }
    }

    /// An operand of the instruction at `at`, as it went in.
    pub(super) fn input(&mut self, input: Input, at: usize, width: u32, depth: usize) -> NodeId {
        let kind = match input {
            Input::Register(register) => {
                return self.trace(Loc::Reg(register), 8, at, depth);
            }
            Input::Constant(value) => Kind::Constant(truncated(value, width)),
            Input::Memory(address) => self.load(address, at, width, false, depth),
        };
        let id = self.push(None, at, kind);
        self.settle(id);
        id
    }

    fn unknown(&mut self, place: Option<Loc>, at: usize, why: &str) -> NodeId {
        self.push(place, at, Kind::Unknown(why.into()))
    }

    fn push(&mut self, place: Option<Loc>, at: usize, kind: Kind) -> NodeId {
        self.nodes.push(Node {
            place,
            at,
            kind,
            value: None,
            type_name: None,
            by_value: false,
        });
        self.nodes.len() - 1
    }
}

/// The low `width` bytes of a value.
pub(super) fn truncated(value: u64, width: u32) -> u64 {
    match width {
        0..8 => value & (1u64 << (width * 8)).wrapping_sub(1),
        _ => value,
    }
}
