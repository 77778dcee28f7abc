//! What the definitions come to: types that flow along them, values that the crash still shows, and which of
//! several definitions a join must have had.
use super::trace::{Kind, NodeId, Pointer, Tracer, truncated};
use super::typed::{self, FieldAt};

/// Definitions in a row that are computed through.
const MAX_DEPTH: usize = 32;
/// Numbers below this are equal by chance too often to decide between definitions.
const TELLING: u64 = 0x1_0000;

/// A value worked out from a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Computed {
    pub(super) value: u64,
    /// Memory as it is now went into it: it may have been another then.
    pub(super) from_memory: bool,
}

/// Whether a definition can have given a value.
enum Fit {
    Impossible,
    Equal(String),
    Open,
}

impl Tracer<'_> {
    /// Decides a new node's join, then its type and value.
    pub(super) fn settle(&mut self, id: NodeId) {
        self.decide(id);
        let (type_name, value) = (self.type_of(id), self.value_of(id));
        if let Some(node) = self.nodes.get_mut(id) {
            node.type_name = node.type_name.take().or(type_name);
            node.value = node.value.or(value);
        }
        self.hand_down(id);
        self.type_by_value(id);
        self.remember(id);
    }

    /// What no type says, the value may: another register has the same pointer and a type, or it points at an object
    /// of the slab cache for one kind of structure.
    fn type_by_value(&mut self, id: NodeId) {
        let Some(node) = self.node(id) else { return };
        let open = matches!(
            node.kind,
            Kind::Load { .. }
                | Kind::Returned { .. }
                | Kind::Argument(_)
                | Kind::Joined { .. }
                | Kind::Entry(_)
                | Kind::Unknown(_)
                | Kind::Same(_)
        );
        let tells = node
            .type_name
            .as_deref()
            .is_none_or(|name| typed::plain(name) == "void *");
        let Some(value) = node.value.filter(|_| open && tells) else {
            return;
        };
        let by_cache = || {
            let tag = self.around.structure_at(value)?;
            Some(format!("struct {tag} *"))
        };
        let told = self.pointers.get(&value).cloned().or_else(by_cache);
        if let Some(type_name) = told
            && let Some(node) = self.nodes.get_mut(id)
        {
            node.type_name = Some(type_name);
            node.by_value = true;
        }
    }

    /// Remembers a pointer whose type the code tells, for others of the same value.
    fn remember(&mut self, id: NodeId) {
        let Some(node) = self.node(id).filter(|node| !node.by_value) else {
            return;
        };
        if let (Some(value), Some(type_name)) = (node.value, &node.type_name)
            && value >= TELLING
            && typed::pointed_struct(type_name).is_some_and(|tag| tag != "void")
        {
            let type_name = type_name.clone();
            self.pointers.entry(value).or_insert(type_name);
        }
    }

    /// What a copy holds, its original held.
    fn hand_down(&mut self, mut id: NodeId) {
        for _ in 0..MAX_DEPTH {
            let Some(node) = self.node(id) else { return };
            let (Kind::Same(inner)
            | Kind::Joined {
                chosen: Some((inner, _)),
                ..
            }) = node.kind
            else {
                return;
            };
            let value = node.value;
            match self.nodes.get_mut(inner) {
                Some(node) if node.value.is_none() => node.value = value,
                _ => return,
            }
            self.type_by_value(inner);
            id = inner;
        }
    }

    /// A node's value, by what it is a copy of.
    fn value_of(&self, id: NodeId) -> Option<u64> {
        let node = self.node(id)?;
        let of = |id: NodeId| self.node(id).and_then(|node| node.value);
        match &node.kind {
            Kind::Constant(value) => Some(*value),
            Kind::Frame(at) => self.frame_address(*at),
            Kind::Argument(number) => self.arguments.get(*number).copied().flatten(),
            Kind::Same(inner) => of(*inner),
            Kind::Narrow {
                of: inner,
                width,
                signed,
            } => Some(extended(of(*inner)?, *width, *signed)),
            Kind::Joined {
                chosen: Some((inner, _)),
                ..
            } => of(*inner),
            Kind::AddressOf(_) | Kind::Combined { .. } | Kind::Applied { .. } => self
                .compute(id, 0)
                .filter(|computed| !computed.from_memory)
                .map(|computed| computed.value),
            _ => None,
        }
    }

    /// Works a definition out again from what the crash shows.
    pub(super) fn compute(&self, id: NodeId, depth: usize) -> Option<Computed> {
        let node = self.node(id)?;
        let known = |value| Computed {
            value,
            from_memory: false,
        };
        let of = |inner: NodeId| -> Option<Computed> {
            if let Some(value) = self.node(inner)?.value {
                return Some(known(value));
            }
            (depth < MAX_DEPTH)
                .then(|| self.compute(inner, depth + 1))
                .flatten()
        };
        match &node.kind {
            Kind::Constant(value) => Some(known(*value)),
            Kind::Same(inner)
            | Kind::Joined {
                chosen: Some((inner, _)),
                ..
            } => of(*inner),
            Kind::Narrow {
                of: inner,
                width,
                signed,
            } => {
                let inner = of(*inner)?;
                Some(Computed {
                    value: extended(inner.value, *width, *signed),
                    ..inner
                })
            }
            Kind::AddressOf(pointer) => self.address(pointer, depth),
            Kind::Load { from, size, signed } => {
                let at = self.address(from, depth)?;
                // The per-CPU area's own address never changes.
                let from_memory = !self.is_per_cpu_base(from) || at.from_memory;
                let value = extended(self.around.word(at.value, *size)?, *size, *signed);
                Some(Computed { value, from_memory })
            }
            Kind::Combined {
                sign,
                left,
                right,
                width,
            } => {
                let (left, right) = (of(*left)?, of(*right)?);
                let value = combine(sign, left.value, right.value)?;
                Some(Computed {
                    value: truncated(value, *width),
                    from_memory: left.from_memory || right.from_memory,
                })
            }
            Kind::Applied {
                operation,
                to,
                width,
            } => {
                let to = of(*to)?;
                let value = apply(operation, to.value, *width)?;
                Some(Computed {
                    value: truncated(value, *width),
                    ..to
                })
            }
            _ => None,
        }
    }

    /// Where a pointer's parts lead, if all of them are known or can be worked out.
    pub(super) fn address(&self, pointer: &Pointer, depth: usize) -> Option<Computed> {
        let part = |id: Option<NodeId>| match id {
            None => Some(Computed {
                value: 0,
                from_memory: false,
            }),
            Some(id) => match self.node(id)?.value {
                Some(value) => Some(Computed {
                    value,
                    from_memory: false,
                }),
                None => (depth < MAX_DEPTH)
                    .then(|| self.compute(id, depth + 1))
                    .flatten(),
            },
        };
        let area = if pointer.written.per_cpu {
            self.around.per_cpu_base()?
        } else {
            0
        };
        let (base, index) = (part(pointer.base)?, part(pointer.index)?);
        let scaled = index.value.wrapping_mul(pointer.written.scale.into());
        Some(Computed {
            value: base
                .value
                .wrapping_add(scaled)
                .wrapping_add(pointer.written.displacement)
                .wrapping_add(area),
            from_memory: base.from_memory || index.from_memory,
        })
    }

    /// `this_cpu_off`: what turns a per-CPU offset into this CPU's address.
    pub(super) fn is_per_cpu_base(&self, pointer: &Pointer) -> bool {
        self.per_cpu_variable(pointer)
            .is_some_and(|(name, rest)| name == "this_cpu_off" && rest == 0)
    }

    /// The per-CPU variable that an address without registers names.
    pub(super) fn per_cpu_variable(&self, pointer: &Pointer) -> Option<(String, u64)> {
        let plain = pointer.base.is_none() && pointer.index.is_none() && pointer.written.per_cpu;
        plain
            .then(|| self.around.per_cpu_variable(pointer.written.displacement))
            .flatten()
    }

    /// Of a join's definitions, the one that the crash leaves possible, or that its values speak for.
    fn decide(&mut self, id: NodeId) {
        let Some((of, Some(value))) = self.node(id).and_then(|node| match &node.kind {
            Kind::Joined { of, chosen: None } => Some((of.clone(), node.value)),
            _ => None,
        }) else {
            return;
        };
        let fits: Vec<(NodeId, Fit)> = of.iter().map(|one| (*one, self.fit(*one, value))).collect();
        let possible: Vec<_> = fits
            .iter()
            .filter(|(_, fit)| !matches!(fit, Fit::Impossible))
            .collect();
        let equal: Vec<_> = fits
            .iter()
            .filter_map(|(one, fit)| match fit {
                Fit::Equal(why) => Some((*one, why.clone())),
                _ => None,
            })
            .collect();
        let chosen = match (possible.as_slice(), equal.as_slice()) {
            ([(one, _)], _) => Some((*one, "the others would have left another value".to_string())),
            (_, [(one, why)]) if value >= TELLING => Some((*one, why.clone())),
            _ => None,
        };
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = Kind::Joined { of, chosen };
        }
    }

    fn fit(&self, one: NodeId, value: u64) -> Fit {
        if self.width(one) == 4 && value > u64::from(u32::MAX) {
            return Fit::Impossible;
        }
        let known = self
            .node(one)
            .and_then(|node| node.value)
            .map(|value| Computed {
                value,
                from_memory: false,
            });
        match known.or_else(|| self.compute(one, 0)) {
            Some(computed) if computed.value == value => Fit::Equal(if computed.from_memory {
                "memory still holds this value there".into()
            } else {
                "it comes to this value".into()
            }),
            Some(computed) if !computed.from_memory => Fit::Impossible,
            _ => Fit::Open,
        }
    }

    /// Bytes that a definition can fill.
    fn width(&self, id: NodeId) -> u32 {
        match self.node(id).map(|node| &node.kind) {
            Some(Kind::Narrow {
                width,
                signed: false,
                ..
            }) => *width,
            Some(Kind::Load {
                size,
                signed: false,
                ..
            }) => *size,
            Some(Kind::Combined { width, .. } | Kind::Applied { width, .. }) => *width,
            _ => 8,
        }
    }

    fn type_of(&mut self, id: NodeId) -> Option<String> {
        let node = self.node(id)?.clone();
        let of =
            |tracer: &Self, id: NodeId| tracer.node(id).and_then(|node| node.type_name.clone());
        match &node.kind {
            Kind::Same(inner) | Kind::Narrow { of: inner, .. } => of(self, *inner),
            Kind::Joined {
                chosen: Some((inner, _)),
                ..
            } => of(self, *inner),
            Kind::Joined { of: all, .. } => {
                let mut types = all.iter().map(|one| of(self, *one));
                let first = types.next()??;
                types
                    .all(|other| other.as_deref() == Some(&first))
                    .then_some(first)
            }
            Kind::Load { from, size, .. } => {
                let field = self.field(from, *size)?;
                (field.rest == 0 && !field.type_name.is_empty()).then_some(field.type_name)
            }
            Kind::AddressOf(pointer) => self.type_of_address(pointer),
            Kind::Combined {
                sign: "+",
                left,
                right,
                ..
            } => {
                if self.is_this_cpu(*right) {
                    of(self, *left)
                } else if self.is_this_cpu(*left) {
                    of(self, *right)
                } else {
                    self.type_of_sum(*left, *right)
                }
            }
            Kind::Returned { function } => {
                let (name, _) = typed::source_name(function.as_deref()?);
                let proto = self.around.types().func_proto(name)?;
                (proto.return_type != "void").then_some(proto.return_type)
            }
            Kind::Argument(number) => self.parameter(*number).map(|(_, type_name)| type_name),
            _ => None,
        }
    }

    /// A pointer and a number of bytes: the address of a field.
    fn type_of_sum(&mut self, pointer: NodeId, by: NodeId) -> Option<String> {
        let Kind::Constant(by) = self.node(by)?.kind else {
            return None;
        };
        let tag = typed::pointed_struct(self.node(pointer)?.type_name.as_deref()?)?;
        let field = self.field_of(&tag, by, 0)?;
        (field.rest == 0).then(|| typed::pointer_to(&field.type_name))
    }

    fn type_of_address(&mut self, pointer: &Pointer) -> Option<String> {
        let base = self.node(pointer.base?)?.type_name.clone()?;
        if pointer.index.is_some() {
            return None;
        }
        if pointer.written.displacement == 0 {
            return Some(base);
        }
        let tag = typed::pointed_struct(&base)?;
        let field = self.field_of(&tag, pointer.written.displacement, 0)?;
        (field.rest == 0).then(|| typed::pointer_to(&field.type_name))
    }

    /// Whether a value is this CPU's per-CPU base.
    pub(super) fn is_this_cpu(&self, id: NodeId) -> bool {
        match self.node(id).map(|node| &node.kind) {
            Some(Kind::Load { from, .. }) => self.is_per_cpu_base(from),
            Some(Kind::Same(inner)) => self.node(*inner).is_some_and(
                |node| matches!(&node.kind, Kind::Load { from, .. } if self.is_per_cpu_base(from)),
            ),
            _ => false,
        }
    }

    /// The field that an access through a typed pointer, or to a typed per-CPU variable, goes to.
    pub(super) fn field(&mut self, from: &Pointer, size: u32) -> Option<FieldAt> {
        if let Some((name, rest)) = self.per_cpu_variable(from) {
            return self.field_of_variable(&name, rest, size);
        }
        let base = self.node(from.base?)?.type_name.clone()?;
        if let Some(tag) = typed::pointed_struct(&base)
            && let Some(mut field) = self.field_of(&tag, from.written.displacement, size)
        {
            if from.index.is_some() {
                // Which element the index names is not in the code.
                field.path = field.path.replace("[0]", "[…]");
                field.path.contains('…').then_some(())?;
            }
            return Some(field);
        }
        let to = typed::pointee(&base)?;
        (from.written.displacement == 0 && from.index.is_none() && to != "void").then(|| FieldAt {
            path: format!("*({base})"),
            type_name: to,
            rest: 0,
            size: size.into(),
        })
    }

    fn field_of_variable(&mut self, name: &str, rest: u64, size: u32) -> Option<FieldAt> {
        let type_name = self.around.types().variable_type(name)?;
        let tag = typed::pointed_struct(&typed::pointer_to(&type_name));
        if let Some(tag) = tag
            && let Some(mut field) = self.field_of(&tag, rest, size)
        {
            field.path = field.path.replacen(&tag, name, 1);
            return Some(field);
        }
        Some(FieldAt {
            path: name.to_string(),
            type_name,
            rest,
            size: size.into(),
        })
    }

    /// The field of a structure at an offset.
    pub(super) fn field_of(&mut self, tag: &str, offset: u64, size: u32) -> Option<FieldAt> {
        self.layouts.field(self.around.types(), tag, offset, size)
    }

    /// Name and type of a parameter of this function, counted from 0; `None` where the compiler may have changed
    /// them or the types do not say.
    pub(super) fn parameter(&self, number: usize) -> Option<(String, String)> {
        let (name, trusted) = typed::source_name(&self.code.function.name);
        let proto = trusted
            .then(|| self.around.types().func_proto(name))
            .flatten()?;
        let parameter = proto.params.get(number)?;
        Some((parameter.name.clone(), parameter.type_name.clone()))
    }
}

/// The low `width` bytes, extended to eight.
pub(super) fn extended(value: u64, width: u32, signed: bool) -> u64 {
    let low = truncated(value, width);
    let unused = 64u32.saturating_sub(width.saturating_mul(8));
    if signed && unused < 64 {
        ((low << unused).cast_signed() >> unused).cast_unsigned()
    } else {
        low
    }
}

fn combine(sign: &str, left: u64, right: u64) -> Option<u64> {
    let shift = u32::try_from(right & 63).unwrap_or(0);
    Some(match sign {
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "&" => left & right,
        "|" => left | right,
        "^" => left ^ right,
        "*" => left.wrapping_mul(right),
        "<<" => left.wrapping_shl(shift),
        _ => return None,
    })
}

fn apply(operation: &str, value: u64, width: u32) -> Option<u64> {
    Some(match operation {
        "-" => value.wrapping_neg(),
        "~" => !value,
        "bswap" if width == 8 => value.swap_bytes(),
        "bswap" if width == 4 => u64::from(u32::try_from(truncated(value, 4)).ok()?.swap_bytes()),
        _ => return None,
    })
}
