//! A function's parameters and its caller's registers, as far as the crash still has them: in registers that were
//! left alone, in registers and stack slots that they were copied to, or in the caller's own code.
use super::around::Around;
use super::effect::{self, ARGUMENTS, Loc};
use super::trace::{Kind, NodeId, Registers, Tracer, truncated};
use super::{Slice, slice};
use crate::object::Missing;
use iced_x86::{FlowControl, Instruction};

/// Callee-saved registers (System V ABI for x86-64, 3.2.1): rbx, rbp, r12 to r15.
const CALLEE_SAVED: [u8; 6] = [3, 5, 12, 13, 14, 15];
/// Copies in a row.
const MAX_COPIES: usize = 32;
/// Stack slots that are searched for parameters.
const MAX_SLOTS: usize = 256;
/// Longest instruction in bytes.
const MAX_INSTRUCTION: u64 = 15;

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Which, counted from 1.
    pub number: usize,
    /// Its name, where a prototype that can be trusted says.
    pub name: Option<String>,
    /// Its type in C's spelling.
    pub type_name: Option<String>,
    /// Its value when the function was entered.
    pub value: Result<u64, Missing>,
    /// Where that value was found: `r13`, `[frame-0x40]`.
    pub found_in: Option<String>,
}

/// A callee-saved register as it was at the function's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The register, 64-bit name.
    pub register: &'static str,
    /// Its value.
    pub value: u64,
}

/// The parameters of the function, by what still holds them.
pub(super) fn of_function(tracer: &mut Tracer<'_>) -> Vec<Argument> {
    let homes = homes(tracer);
    let count = (0..ARGUMENTS.len())
        .rev()
        .find(|number| tracer.parameter(*number).is_some() || home(&homes, *number).is_some())
        .map_or(0, |last| last + 1);
    (0..count)
        .map(|number| argument(tracer, &homes, number))
        .collect()
}

/// The values found, by position.
pub(super) fn known(arguments: &[Argument]) -> [Option<u64>; 6] {
    let mut known = [None; 6];
    for argument in arguments {
        if let Some(slot) = known.get_mut(argument.number.wrapping_sub(1)) {
            *slot = argument.value.as_ref().ok().copied();
        }
    }
    known
}

/// A place whose value is a parameter's: which one, how many of its bytes, the place, the value.
type Home = (usize, u32, Loc, u64);

fn home(homes: &[Home], number: usize) -> Option<&Home> {
    homes
        .iter()
        .filter(|(which, ..)| *which == number)
        .max_by_key(|(_, width, ..)| *width)
}

fn argument(tracer: &Tracer<'_>, homes: &[Home], number: usize) -> Argument {
    let (name, type_name) = tracer.parameter(number).unzip();
    let bytes = type_name
        .as_deref()
        .and_then(|name| tracer.around.types().size_of(name));
    let found = home(homes, number)
        .filter(|(_, width, ..)| bytes.is_none_or(|bytes| u64::from(*width) >= bytes.min(8)));
    let value = found.map(|(_, width, _, value)| {
        let bytes = bytes
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(8);
        truncated(*value, bytes.min(*width))
    });
    Argument {
        number: number + 1,
        name: name.filter(|name| !name.is_empty()),
        type_name,
        value: value.ok_or_else(|| {
            Missing::Implausible(format!(
                "no register and no stack slot of {} holds its argument {} any more",
                tracer.code.function.name,
                number + 1
            ))
        }),
        found_in: found.map(|(_, _, place, _)| match place {
            Loc::Reg(register) => effect::name(*register).to_string(),
            Loc::Slot(at) => format!("stack slot {at:+#x}"),
        }),
    }
}

fn homes(tracer: &mut Tracer<'_>) -> Vec<Home> {
    let here = tracer.here;
    let mut places: Vec<Loc> = (0..16)
        .filter(|register| *register != 4)
        .map(Loc::Reg)
        .collect();
    let slots = tracer.writes.slots();
    places.extend(slots.into_iter().take(MAX_SLOTS).map(Loc::Slot));
    let mut homes = Vec::new();
    for place in places {
        let widths: &[u32] = if matches!(place, Loc::Reg(_)) {
            &[8]
        } else {
            &[8, 4]
        };
        for width in widths {
            let id = tracer.trace(place, *width, here, 0);
            let value = tracer.node(id).and_then(|node| node.value);
            if let (Some((number, copied)), Some(value)) = (copy_of(tracer, id), value) {
                homes.push((number, copied.min(*width), place, value));
                break;
            }
        }
    }
    homes
}

/// The argument that a value is a copy of, and how many of its bytes it has.
fn copy_of(tracer: &Tracer<'_>, mut id: NodeId) -> Option<(usize, u32)> {
    let mut bytes = 8;
    for _ in 0..MAX_COPIES {
        match &tracer.node(id)?.kind {
            Kind::Argument(number) => return Some((*number, bytes)),
            Kind::Same(inner)
            | Kind::Joined {
                chosen: Some((inner, _)),
                ..
            } => id = *inner,
            Kind::Narrow { of, width, .. } => (id, bytes) = (*of, bytes.min(*width)),
            _ => return None,
        }
    }
    None
}

/// The caller's registers that this function had to keep.
pub(super) fn saved(tracer: &mut Tracer<'_>) -> Vec<Saved> {
    let here = tracer.here;
    let mut found = Vec::new();
    for register in CALLEE_SAVED {
        let is_callers = |tracer: &Tracer<'_>, mut id: NodeId| {
            for _ in 0..MAX_COPIES {
                match tracer.node(id).map(|node| &node.kind) {
                    Some(Kind::Entry(other)) => return *other == register,
                    Some(Kind::Same(inner)) => id = *inner,
                    _ => return false,
                }
            }
            false
        };
        let mut places = vec![Loc::Reg(register)];
        places.extend(
            tracer
                .writes
                .slots()
                .into_iter()
                .take(MAX_SLOTS)
                .map(Loc::Slot),
        );
        for place in places {
            let id = tracer.trace(place, 8, here, 0);
            let value = tracer.node(id).and_then(|node| node.value);
            if let Some(value) = value.filter(|_| is_callers(tracer, id)) {
                found.push(Saved {
                    register: effect::name(register),
                    value,
                });
                break;
            }
        }
    }
    found
}

/// The caller of a sliced function, looked at before its call.
pub(super) fn caller(around: &dyn Around, callee: &Slice) -> Result<Slice, Missing> {
    let entry = callee.entry_sp.ok_or_else(|| {
        Missing::Implausible(format!(
            "where the frame of {} begins is not known",
            callee.function
        ))
    })?;
    let back = around.word(entry.0, 8).ok_or_else(|| {
        Missing::Implausible(format!("the return address at {entry} can't be read"))
    })?;
    let call = call_before(around, back)?;
    let target = super::code::callee(around, &call);
    if target.as_deref() != Some(&callee.function) {
        let other = target.unwrap_or_else(|| "a pointer".into());
        return Err(Missing::Implausible(format!(
            "the call before {back:#x} is of {other}, which went on to {} in its own way",
            callee.function
        )));
    }
    let mut registers: Registers = [None; 16];
    for saved in &callee.saved {
        let slot = effect::by_name(saved.register)
            .and_then(|number| registers.get_mut(usize::from(number)));
        if let Some(slot) = slot {
            *slot = Some(saved.value);
        }
    }
    // Before the call, the stack pointer stood behind where the call put the return address.
    if let Some(slot) = registers.get_mut(4) {
        *slot = Some(entry.wrapping_add(8).0);
    }
    slice(around, call.ip(), registers)
}

/// The call instruction that ends at a return address.
fn call_before(around: &dyn Around, back: u64) -> Result<Instruction, Missing> {
    let none = || Missing::Implausible(format!("no call ends at {back:#x}"));
    let function = around.function(back.wrapping_sub(1)).ok_or_else(none)?;
    let size = usize::try_from(back.wrapping_sub(function.start)).map_err(|_| none())?;
    let text = around.text(function.start, size.min(1 << 17))?;
    let decoder = iced_x86::Decoder::with_ip(64, &text, function.start, 0);
    decoder
        .into_iter()
        .take_while(|instruction| instruction.ip() < back)
        .filter(|instruction| back.wrapping_sub(instruction.ip()) <= MAX_INSTRUCTION)
        .find(|instruction| {
            let calls = matches!(
                instruction.flow_control(),
                FlowControl::Call | FlowControl::IndirectCall
            );
            calls && instruction.next_ip() == back
        })
        .ok_or_else(none)
}

/// What the argument register of this number (from 1) held at a call; for a slice made by
/// [`super::of_call`].
pub(super) fn passed(slice: &Slice, number: usize) -> Option<u64> {
    let register = effect::name(*ARGUMENTS.get(number.checked_sub(1)?)?);
    slice
        .origins
        .iter()
        .find(|origin| origin.register == register && origin.current)
        .and_then(|origin| origin.value)
}
