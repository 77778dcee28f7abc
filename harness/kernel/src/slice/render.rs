//! Definitions in words: labels, steps, origins. Decides nothing.
use super::effect::{self, Address, Loc};
use super::trace::{Kind, Node, NodeId, Pointer, STACK_POINTER, Tracer};
use super::{End, Origin, Role, Step, typed};
use iced_x86::{Mnemonic, OpAccess, Register};
use recrash_vmcore::VirtAddr;

/// Labels within labels.
const MAX_DEPTH: usize = 5;
/// Characters of a label within another.
const MAX_LABEL: usize = 60;
/// Definitions behind an address register that are told, counted from it.
const MAX_VIA: usize = 4;
/// Steps shown of one chain.
const MAX_STEPS: usize = 24;
/// Origins of one slice.
const MAX_ORIGINS: usize = 40;
/// Definitions named where several are possible.
const MAX_NAMED: usize = 4;
/// Places in one label where several definitions are possible.
const MAX_CHOICES: usize = 2;
/// Before the definitions that are possible.
const ONE_OF: &str = "one of: ";
/// Before their number, where naming them would be noise.
const NOT_FOLLOWED: &str = "not followed: ";
/// Where a label was cut.
const CUT: &str = "…";

/// Where every register of the context came from.
pub(super) fn origins(tracer: &mut Tracer<'_>) -> Vec<Origin> {
    let (base, index, operands) = used(tracer);
    let role = |register: u8| match operands & (1u16 << register) {
        0 => Role::Other,
        _ => Role::Operand,
    };
    let mut roots: Vec<(u8, Role)> = Vec::new();
    roots.extend(base.map(|base| (base, Role::Base)));
    roots.extend(index.map(|index| (index, Role::Index)));
    let mut others: Vec<(u8, Role)> = (0..16u8)
        .filter(|register| ![Some(STACK_POINTER), base, index].contains(&Some(*register)))
        .map(|register| (register, role(register)))
        .collect();
    others.sort_by_key(|(_, role)| *role);
    roots.extend(others);
    let mut told = Vec::new();
    for (register, role) in roots {
        let here = tracer.here;
        let root = tracer.trace(Loc::Reg(register), 8, here, 0);
        tell(tracer, &mut told, root, role, 0);
    }
    // What nothing is known of says nothing.
    told.sort_by_key(|origin| origin.role == Role::Other && matches!(origin.end, End::Unknown(_)));
    told
}

/// Adds a definition's origin, and behind an address register those of what it was made of; the other registers
/// stand for themselves.
fn tell(tracer: &mut Tracer<'_>, told: &mut Vec<Origin>, id: NodeId, role: Role, depth: usize) {
    if told.len() >= MAX_ORIGINS || depth > MAX_VIA {
        return;
    }
    let Some((origin, from)) = origin(tracer, id, role) else {
        return;
    };
    let same = |known: &&mut Origin| {
        known.register == origin.register
            && known.chain == origin.chain
            && known.expression == origin.expression
    };
    if let Some(known) = told.iter_mut().find(same) {
        known.current |= origin.current;
        known.value = known.value.or(origin.value);
        return;
    }
    told.push(origin);
    if matches!(role, Role::Base | Role::Index | Role::Via) {
        for part in from {
            tell(tracer, told, part, Role::Via, depth + 1);
        }
    }
}

/// Base, index, and the set of other registers that the instruction reads.
fn used(tracer: &Tracer<'_>) -> (Option<u8>, Option<u8>, u16) {
    let Some(instruction) = tracer.code.get(tracer.here) else {
        return (None, None, 0);
    };
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let memory = info.used_memory().first().copied();
    let part = |register: Option<Register>| {
        register
            .and_then(effect::general)
            .filter(|register| *register != 4)
    };
    let base = part(memory.map(|memory| memory.base()));
    let index = part(memory.map(|memory| memory.index()));
    let mut operands = 0;
    for used in info.used_registers() {
        let reads = !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite);
        if let Some(register) = effect::general(used.register()).filter(|_| reads) {
            operands |= 1u16 << register;
        }
    }
    (base, index, operands)
}

/// One register's origin, and the definitions of the registers that it came from.
fn origin(tracer: &mut Tracer<'_>, id: NodeId, role: Role) -> Option<(Origin, Vec<NodeId>)> {
    let node = tracer.node(id)?.clone();
    let Some(Loc::Reg(register)) = node.place else {
        return None;
    };
    let mut chain = Vec::new();
    let last = follow(tracer, id, &mut chain);
    let end = tracer.node(last)?.clone();
    let (expression, meaning) = said(tracer, last);
    let origin = Origin {
        register: effect::name(register),
        role,
        current: role != Role::Via,
        value: node.value,
        chain,
        end: ending(tracer, &end),
        expression,
        meaning,
        type_name: node.type_name.clone().or_else(|| end.type_name.clone()),
    };
    let mut from = Vec::new();
    sources(tracer, last, &mut from);
    Some((origin, from))
}

/// Follows copies to where the value was made; collects the steps.
fn follow(tracer: &mut Tracer<'_>, mut id: NodeId, chain: &mut Vec<Step>) -> NodeId {
    for _ in 0..MAX_STEPS {
        let Some(node) = tracer.node(id).cloned() else {
            return id;
        };
        let next = match &node.kind {
            Kind::Same(inner) | Kind::Narrow { of: inner, .. } => *inner,
            Kind::Joined {
                chosen: Some((inner, _)),
                ..
            } => *inner,
            _ => {
                chain.extend(step(tracer, id, &node));
                own_input(tracer, &node, chain);
                return id;
            }
        };
        match &node.kind {
            Kind::Joined {
                chosen: Some((inner, why)),
                of,
            } => {
                let named = label(tracer, *inner, 0);
                let at = tracer.code.get(node.at).map_or(0, |i| i.ip());
                chain.push(Step {
                    at: VirtAddr(at),
                    text: String::new(),
                    meaning: format!("of {} definitions that meet here: {named}", of.len()),
                    check: Some(why.clone()),
                });
            }
            _ => chain.extend(step(tracer, id, &node)),
        }
        id = next;
    }
    id
}

/// An operation on a register's own earlier value: how that came there belongs to the same chain.
fn own_input(tracer: &mut Tracer<'_>, node: &Node, chain: &mut Vec<Step>) {
    let mut node = node.clone();
    while chain.len() < MAX_STEPS {
        let inner = match node.kind {
            Kind::Combined { left, .. } => left,
            Kind::Applied { to, .. } => to,
            _ => return,
        };
        let Some(own) = tracer
            .node(inner)
            .cloned()
            .filter(|own| own.place == node.place)
        else {
            return;
        };
        if matches!(own.kind, Kind::Joined { .. } | Kind::Unknown(_)) {
            return;
        }
        chain.extend(step(tracer, inner, &own));
        node = own;
    }
}

/// The instruction that made a definition; none for what was there at entry.
fn step(tracer: &mut Tracer<'_>, id: NodeId, node: &Node) -> Option<Step> {
    if matches!(
        node.kind,
        Kind::Argument(_)
            | Kind::Entry(_)
            | Kind::OnStack(_)
            | Kind::Joined { .. }
            | Kind::Frame(_)
    ) {
        return None;
    }
    let instruction = tracer.code.get(node.at).copied()?;
    let called = tracer
        .called(node.at)
        .filter(|_| instruction.mnemonic() == Mnemonic::Call);
    let text = match called {
        Some(name) => format!("call {name}"),
        None => crate::instruction::spelled(&instruction),
    };
    let place = match node.place? {
        Loc::Reg(register) => effect::name(register).to_string(),
        Loc::Slot(at) => slot_name(at),
    };
    let made = match &node.kind {
        Kind::Same(inner) | Kind::Narrow { of: inner, .. } => place_name(tracer, *inner),
        _ => {
            let (expression, meaning) = said(tracer, id);
            match meaning.or_else(|| node.type_name.clone()) {
                Some(meaning) if meaning != expression => format!("{expression} = {meaning}"),
                _ => expression,
            }
        }
    };
    Some(Step {
        at: VirtAddr(instruction.ip()),
        text,
        meaning: format!("{place} ← {made}"),
        check: check(tracer, id, node),
    })
}

fn slot_name(at: i64) -> String {
    if !super::stack::same_frame(at, 0) {
        "[realigned frame]".into()
    } else if at < 0 {
        format!("[frame-{:#x}]", at.unsigned_abs())
    } else {
        format!("[frame+{at:#x}]")
    }
}

fn place_name(tracer: &mut Tracer<'_>, id: NodeId) -> String {
    match tracer.node(id).and_then(|node| node.place) {
        Some(Loc::Reg(register)) => effect::name(register).into(),
        Some(Loc::Slot(at)) => slot_name(at),
        None => label(tracer, id, 0),
    }
}

/// What the crash says about a load, or about what was computed from loads.
fn check(tracer: &Tracer<'_>, id: NodeId, node: &Node) -> Option<String> {
    let Kind::Load { from, size, .. } = &node.kind else {
        // What was computed without memory is known, not checked.
        let again = tracer.compute(id, 0).filter(|again| again.from_memory)?;
        return Some(if again.value == node.value? {
            "comes to the same with what memory holds now".into()
        } else {
            format!("comes to {:#x} with what memory holds now", again.value)
        });
    };
    let at = tracer.address(from, 0)?.value;
    let Some(now) = tracer.around.word(at, *size) else {
        return Some(format!("{at:#x} can't be read"));
    };
    Some(match node.value {
        Some(value) if value == now => format!("{at:#x} holds the same value now"),
        Some(_) => format!("{at:#x} holds {now:#x} now"),
        None => format!("{at:#x} holds {now:#x} now"),
    })
}

/// A definition in terms of registers, and what it means.
fn said(tracer: &mut Tracer<'_>, id: NodeId) -> (String, Option<String>) {
    let (expression, meaning) = said_by_code(tracer, id);
    let by_value = tracer.node(id).filter(|node| node.by_value);
    match by_value.and_then(|node| node.type_name.clone()) {
        Some(type_name) => {
            let known = format!("{type_name} by its value");
            let meaning = meaning.filter(|meaning| *meaning != type_name);
            let both = meaning.map_or(known.clone(), |meaning| format!("{meaning}, a {known}"));
            (expression, Some(both))
        }
        None => (expression, meaning),
    }
}

fn said_by_code(tracer: &mut Tracer<'_>, id: NodeId) -> (String, Option<String>) {
    let Some(node) = tracer.node(id).cloned() else {
        return ("?".into(), None);
    };
    match &node.kind {
        Kind::Load { from, size, .. } => {
            let meaning = load_label(tracer, from, *size);
            let written = written(from.written);
            match meaning {
                Some(named) if from.base.is_none() && from.index.is_none() => {
                    (named, node.type_name.clone())
                }
                meaning => (written, meaning),
            }
        }
        Kind::AddressOf(pointer) => {
            let text = written(pointer.written);
            let text = text
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_string();
            let meaning = label(tracer, id, 0);
            (
                text.clone(),
                Some(meaning).filter(|meaning| *meaning != text),
            )
        }
        Kind::Combined { .. } if is_this_cpu_pointer(tracer, &node) => {
            (label(tracer, id, 0), node.type_name.clone())
        }
        Kind::Combined {
            sign, left, right, ..
        } => {
            let parts = (place_name(tracer, *left), place_name(tracer, *right));
            let text = format!("{} {sign} {}", parts.0, parts.1);
            let meaning = label(tracer, id, 0);
            (
                text.clone(),
                Some(meaning).filter(|meaning| *meaning != text),
            )
        }
        Kind::Applied { operation, to, .. } => {
            let text = format!("{operation}({})", place_name(tracer, *to));
            let meaning = label(tracer, id, 0);
            (
                text.clone(),
                Some(meaning).filter(|meaning| *meaning != text),
            )
        }
        Kind::Unknown(why) => (format!("not known: {why}"), None),
        _ => (label(tracer, id, 0), node.type_name.clone()),
    }
}

fn is_this_cpu_pointer(tracer: &Tracer<'_>, node: &Node) -> bool {
    matches!(node.kind, Kind::Combined { sign: "+", left, right, .. }
        if tracer.is_this_cpu(left) || tracer.is_this_cpu(right))
}

/// What a value is, in as few words as types allow; cut where it would fill the screen.
pub(super) fn label(tracer: &mut Tracer<'_>, id: NodeId, depth: usize) -> String {
    let text = whole_label(tracer, id, depth);
    let end = text.char_indices().nth(MAX_LABEL).map(|(end, _)| end);
    let end = end.filter(|_| depth > 0);
    let choices = text.matches(ONE_OF).count();
    if choices > MAX_CHOICES || (choices > 0 && (end.is_some() || text.contains(CUT))) {
        return not_followed(possible(tracer, id, depth));
    }
    match end {
        Some(end) => cut(text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Alternatives that are alternatives themselves, or not told whole.
fn is_unclear(text: &str) -> bool {
    [ONE_OF, NOT_FOLLOWED, CUT]
        .iter()
        .any(|mark| text.contains(mark))
}

fn not_followed(values: usize) -> String {
    format!("{NOT_FOLLOWED}{values} possible values")
}

/// How many values a definition can stand for, as far as labels go.
fn possible(tracer: &Tracer<'_>, id: NodeId, depth: usize) -> usize {
    let Some(node) = tracer.node(id).filter(|_| depth <= MAX_DEPTH) else {
        return 1;
    };
    let of = |inner: NodeId| possible(tracer, inner, depth + 1);
    match &node.kind {
        Kind::Same(inner)
        | Kind::Narrow { of: inner, .. }
        | Kind::Applied { to: inner, .. }
        | Kind::Joined {
            chosen: Some((inner, _)),
            ..
        } => of(*inner),
        Kind::Joined { of: several, .. } => several
            .iter()
            .fold(0usize, |sum, inner| sum.saturating_add(of(*inner))),
        Kind::Combined { left, right, .. } => of(*left).saturating_mul(of(*right)),
        Kind::AddressOf(pointer) => pointer
            .base
            .into_iter()
            .chain(pointer.index)
            .fold(1usize, |product, inner| product.saturating_mul(of(inner))),
        _ => 1,
    }
}

/// A label that was cut, with the brackets closed that were open.
fn cut(text: &str) -> String {
    let mut open = Vec::new();
    for character in text.chars() {
        match character {
            '(' => open.push(')'),
            '[' => open.push(']'),
            ')' | ']' => drop(open.pop()),
            _ => {}
        }
    }
    let closing: String = open.iter().rev().collect();
    format!("{text}{CUT}{closing}")
}

fn whole_label(tracer: &mut Tracer<'_>, id: NodeId, depth: usize) -> String {
    let Some(node) = tracer.node(id).cloned() else {
        return "?".into();
    };
    if depth > MAX_DEPTH {
        return CUT.into();
    }
    let deeper = depth + 1;
    match &node.kind {
        Kind::Constant(value) => number(*value),
        Kind::Same(inner) | Kind::Narrow { of: inner, .. } => label(tracer, *inner, deeper),
        Kind::Joined {
            chosen: Some((inner, _)),
            ..
        } => label(tracer, *inner, deeper),
        Kind::Joined { of, .. } => {
            let named = alternatives(tracer, of, deeper);
            match named.as_slice() {
                [only] => only.clone(),
                _ if named.iter().any(|text| is_unclear(text)) => {
                    not_followed(possible(tracer, id, depth))
                }
                _ => format!("{ONE_OF}{}", named.join("; ")),
            }
        }
        Kind::Load { from, size, .. } => {
            load_label(tracer, from, *size).unwrap_or_else(|| written(from.written))
        }
        Kind::AddressOf(pointer) => address_label(tracer, pointer, deeper),
        Kind::Combined {
            sign, left, right, ..
        } => {
            if is_this_cpu_pointer(tracer, &node) {
                let pointer = if tracer.is_this_cpu(*right) {
                    *left
                } else {
                    *right
                };
                return format!("this_cpu {}", label(tracer, pointer, deeper));
            }
            let left = part(tracer, *left, deeper);
            let right = part(tracer, *right, deeper);
            format!("{left} {sign} {right}")
        }
        Kind::Applied { operation, to, .. } => {
            format!("{operation}({})", label(tracer, *to, deeper))
        }
        Kind::Returned {
            function: Some(function),
        } => format!("return value of {function}"),
        Kind::Returned { function: None } => "return value of a call through a pointer".into(),
        Kind::Argument(number) => argument_label(tracer, *number),
        Kind::Frame(0) => "the stack pointer at entry".into(),
        Kind::Frame(at) => slot_name(*at).trim_matches(['[', ']']).to_string(),
        Kind::Entry(register) => format!("the caller's {}", effect::name(*register)),
        Kind::OnStack(0) => "the return address".into(),
        Kind::OnStack(at) => format!("what the caller had put on the stack at +{at:#x}"),
        Kind::Unknown(_) => match node.place {
            Some(Loc::Reg(register)) => effect::name(register).into(),
            Some(Loc::Slot(at)) => slot_name(at),
            None => "?".into(),
        },
    }
}

/// As part of a sum: in parentheses where it is one itself.
fn part(tracer: &mut Tracer<'_>, id: NodeId, depth: usize) -> String {
    let text = label(tracer, id, depth);
    let mut inner = id;
    while let Some(Kind::Same(next) | Kind::Narrow { of: next, .. }) =
        tracer.node(inner).map(|node| &node.kind)
    {
        inner = *next;
    }
    match tracer.node(inner).map(|node| &node.kind) {
        Some(Kind::Combined { .. } | Kind::Joined { chosen: None, .. }) => format!("({text})"),
        _ => text,
    }
}

fn alternatives(tracer: &mut Tracer<'_>, of: &[NodeId], depth: usize) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for one in of {
        let text = match tracer.node(*one).map(|node| node.kind.clone()) {
            Some(Kind::Unknown(why)) => format!("not known ({why})"),
            _ => label(tracer, *one, depth),
        };
        if !named.contains(&text) {
            named.push(text);
        }
    }
    if named.len() > MAX_NAMED {
        let more = named.len() - MAX_NAMED;
        named.truncate(MAX_NAMED);
        named.push(format!("{more} more"));
    }
    named
}

fn argument_label(tracer: &Tracer<'_>, number: usize) -> String {
    let function = &tracer.code.function.name;
    match tracer.parameter(number) {
        Some((name, _)) if !name.is_empty() => format!("parameter {name} of {function}"),
        _ => format!("argument {} of {function}", number + 1),
    }
}

/// The field, variable or symbol that a load reads.
fn load_label(tracer: &mut Tracer<'_>, from: &Pointer, size: u32) -> Option<String> {
    if let Some((name, rest)) = tracer.per_cpu_variable(from) {
        let field = tracer.field(from, size).filter(|field| field.rest == 0);
        let plain = if rest == 0 {
            name
        } else {
            format!("{name}+{rest:#x}")
        };
        return Some(format!(
            "this_cpu {}",
            field.map_or(plain, |field| field.path)
        ));
    }
    if from.base.is_none() && !from.written.per_cpu {
        let place = tracer.around.place(from.written.displacement)?;
        let offset = (place.offset > 0).then(|| format!("+{:#x}", place.offset));
        let element = from.index.map_or("", |_| "[…]");
        return Some(format!(
            "{}{}{element}",
            place.symbol,
            offset.unwrap_or_default()
        ));
    }
    let field = tracer.field(from, size)?;
    let rest = match field.rest {
        0 => String::new(),
        rest => format!(" at +{rest:#x}"),
    };
    let cpu = if from.written.per_cpu {
        "this_cpu "
    } else {
        ""
    };
    Some(format!("{cpu}{}{rest}", field.path))
}

fn address_label(tracer: &mut Tracer<'_>, pointer: &Pointer, depth: usize) -> String {
    let by = pointer.written.displacement;
    let Some(base) = pointer.base else {
        return based_on_nothing(tracer, pointer, depth);
    };
    let type_name = tracer.node(base).and_then(|node| node.type_name.clone());
    let tag = type_name.as_deref().and_then(typed::pointed_struct);
    if let Some(tag) = tag.filter(|_| pointer.index.is_none() && by != 0)
        && let Some(field) = tracer.field_of(&tag, by, 0).filter(|field| field.rest == 0)
    {
        return format!("&{}", field.path);
    }
    let mut text = part(tracer, base, depth);
    if let Some(index) = pointer.index {
        let scale = pointer.written.scale;
        let index = part(tracer, index, depth);
        text = if scale > 1 {
            format!("{text} + {index} * {scale}")
        } else {
            format!("{text} + {index}")
        };
    }
    match by.cast_signed() {
        0 => text,
        by if by < 0 => format!("{text} - {}", number(by.unsigned_abs())),
        _ => format!("{text} + {}", number(by)),
    }
}

/// A symbol's address, or a multiple of a register.
fn based_on_nothing(tracer: &mut Tracer<'_>, pointer: &Pointer, depth: usize) -> String {
    let by = pointer.written.displacement;
    let place = tracer.around.place(by).filter(|_| by >> 63 == 1);
    let fixed = match place {
        Some(place) if place.offset == 0 => format!("&{}", place.symbol),
        Some(place) => format!("&{}+{:#x}", place.symbol, place.offset),
        None => number(by),
    };
    let Some(index) = pointer.index else {
        return fixed;
    };
    let index = part(tracer, index, depth);
    let scaled = match pointer.written.scale {
        0 | 1 => index,
        scale => format!("{index} * {scale}"),
    };
    if by == 0 {
        scaled
    } else {
        format!("{scaled} + {fixed}")
    }
}

fn number(value: u64) -> String {
    if value < 10 {
        value.to_string()
    } else {
        format!("{value:#x}")
    }
}

/// An address as the instruction writes it.
fn written(address: Address) -> String {
    let mut text = String::from(if address.per_cpu { "gs:[" } else { "[" });
    let mut parts = Vec::new();
    parts.extend(address.base.map(|base| effect::name(base).to_string()));
    parts.extend(address.index.map(|index| match address.scale {
        0 | 1 => effect::name(index).to_string(),
        scale => format!("{}*{scale}", effect::name(index)),
    }));
    text.push_str(&parts.join("+"));
    let by = address.displacement.cast_signed();
    match by {
        0 if !parts.is_empty() => {}
        _ if parts.is_empty() => text.push_str(&format!("{:#x}", address.displacement)),
        by if by < 0 => text.push_str(&format!("-{:#x}", by.unsigned_abs())),
        by => text.push_str(&format!("+{by:#x}")),
    }
    text.push(']');
    text
}

fn ending(tracer: &mut Tracer<'_>, node: &Node) -> End {
    match &node.kind {
        Kind::Constant(value) => End::Constant(*value),
        Kind::Load { from, size, .. } => End::Load {
            at: tracer.address(from, 0).map(|at| VirtAddr(at.value)),
            size: *size,
            field: load_label(tracer, from, *size),
        },
        Kind::AddressOf(_) | Kind::Combined { .. } | Kind::Applied { .. } | Kind::Frame(_) => {
            End::Computed
        }
        Kind::Returned { function } => End::Return {
            function: function.clone(),
        },
        Kind::Argument(number) => End::Argument {
            number: number + 1,
            name: tracer
                .parameter(*number)
                .map(|(name, _)| name)
                .filter(|name| !name.is_empty()),
        },
        Kind::Entry(_) | Kind::OnStack(_) => End::Caller,
        Kind::Joined { of, .. } => several(tracer, of),
        Kind::Same(_) | Kind::Narrow { .. } => End::Unknown("the chain is too long".into()),
        Kind::Unknown(why) => End::Unknown(why.clone()),
    }
}

/// Of several definitions, the ones that are known; none known is not known.
fn several(tracer: &mut Tracer<'_>, of: &[NodeId]) -> End {
    let unknown = |id: &NodeId| {
        tracer
            .node(*id)
            .is_none_or(|node| matches!(node.kind, Kind::Unknown(_)))
    };
    let none = of.iter().all(unknown);
    let named = alternatives(tracer, of, 0);
    if none {
        End::Unknown(named.join("; "))
    } else {
        End::Several(named)
    }
}

/// The registers that a definition was made of. An operand in memory, and the register's own earlier value, are
/// parts of the definition: what those were made of counts.
fn sources(tracer: &Tracer<'_>, id: NodeId, out: &mut Vec<NodeId>) {
    let Some(node) = tracer.node(id) else { return };
    let parts: Vec<NodeId> = match &node.kind {
        // A load through the register that it loads into: what was there before is another value.
        Kind::Load { from, .. } => {
            let parts = from.base.into_iter().chain(from.index);
            out.extend(parts.filter(|part| in_register(tracer, *part)));
            return;
        }
        Kind::AddressOf(from) => from.base.into_iter().chain(from.index).collect(),
        Kind::Combined { left, right, .. } => vec![*left, *right],
        Kind::Applied { to: inner, .. } | Kind::Same(inner) | Kind::Narrow { of: inner, .. } => {
            vec![*inner]
        }
        _ => return,
    };
    for part in parts {
        let own = tracer
            .node(part)
            .is_some_and(|inner| inner.place == node.place);
        if in_register(tracer, part) && !own {
            out.push(part);
        } else if part < id {
            sources(tracer, part, out);
        }
    }
}

/// A definition that lives in a general register other than the stack pointer.
fn in_register(tracer: &Tracer<'_>, id: NodeId) -> bool {
    let place = tracer.node(id).and_then(|node| node.place);
    matches!(place, Some(Loc::Reg(register)) if register != 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_cut_has_its_brackets_closed() {
        assert_eq!(cut("f(a[(b) + c"), "f(a[(b) + c…])");
        assert_eq!(cut("f(a)"), "f(a)…");
    }

    #[test]
    fn alternatives_within_alternatives_are_unclear() {
        assert!(is_unclear("one of: 1; 2"));
        assert!(is_unclear(&not_followed(3)));
        assert!(!is_unclear("rax + 8"));
    }
}
