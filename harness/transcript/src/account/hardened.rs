//! A hardened freelist by the code around the fault: the allocator XORs what it loads from the list with the cache's
//! `random` (mm/slub.c, freelist_ptr with CONFIG_SLAB_FREELIST_HARDENED). It undoes nothing.
use super::case::Case;
use super::registers::{basis, value};
use super::{Basis, Cache, Faulting, Known, Origin, Place, Registers, Role, Told};
use crate::att::{Instruction, Memory, Operand, full_name};
use crate::slice::{self, Found};

/// Instructions after the fault in which the XOR stands.
const NEAR: usize = 6;
/// Larger than a `kmem_cache`'s members lie.
const MAX_MEMBER: i64 = 0x400;
/// Larger than objects that have the pointer inside.
const MAX_OFFSET: u64 = 8192;

/// The cache, as far as code and registers show it.
pub(super) fn cache(
    case: &Case<'_>,
    registers: Option<&Registers>,
    place: &Told<Place>,
    faulting: &Told<Faulting>,
    origins: &[Origin],
) -> Option<Known<Cache>> {
    let (registers, place) = (registers?, &place.as_ref().ok()?.value);
    if !place.function.contains("alloc") {
        return None;
    }
    let index = case
        .code
        .index(&place.function, place.offset, place.address)?;
    let (memory, mut known) = random(case, &place.function, index)?;
    let base = memory.base_name()?;
    let address = value(registers, base).filter(|at| at >> 47 == 0x1_ffff)?;
    known.extend(basis(registers, base));
    known.push(Basis::Rule(
        "what is loaded from the list is XORed with a member of the cache, its random (mm/slub.c, freelist_ptr)".into(),
    ));
    let effective = faulting.as_ref().ok().and_then(|known| known.value.address);
    let offset = origins
        .iter()
        .filter(|origin| origin.role == Role::Other)
        .filter_map(|origin| effective?.checked_sub(origin.value?))
        .find(|distance| *distance < MAX_OFFSET);
    Some(Known {
        value: Cache {
            address: Some(address),
            name: None,
            object_size: None,
            offset,
            hardened: Some(true),
        },
        basis: known,
    })
}

/// The operand that holds `random`: of an XOR after the load, or what the XOR that faulted had loaded before.
fn random(case: &Case<'_>, function: &str, index: usize) -> Option<(Memory, Vec<Basis>)> {
    let line = case.code.lines.get(index)?;
    let fault = line.parsed.as_ref()?;
    let target = destination(fault)?;
    let member = |memory: &Memory| (1..MAX_MEMBER).contains(&memory.displacement);
    if fault.mnemonic.starts_with("xor") {
        let trail = slice::back(&case.code, function, index, target);
        return match trail.found {
            Found::Load(memory, _) if member(&memory) => Some((memory, trail.steps)),
            _ => None,
        };
    }
    let after = case
        .code
        .lines
        .iter()
        .skip(index.saturating_add(1))
        .take(NEAR);
    after.filter(|line| line.is_of(function)).find_map(|line| {
        let parsed = line
            .parsed
            .as_ref()
            .filter(|parsed| parsed.mnemonic.starts_with("xor"))?;
        let memory = parsed.memory().filter(|memory| member(memory))?;
        (destination(parsed) == Some(target)).then(|| (memory.clone(), vec![line.basis()]))
    })
}

fn destination(instruction: &Instruction) -> Option<&'static str> {
    match instruction.operands.last()? {
        Operand::Register(name) => full_name(name),
        _ => None,
    }
}
