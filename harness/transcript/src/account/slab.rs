//! The cache, the list that was read, and what the wild value is.
use super::case::{Case, of_member};
use super::registers::{basis, value};
use super::{Basis, Cache, End, Faulting, Freelist, Known, Origin, Registers, Told};
use crate::evidence::Struct;
use recrash_kernel::decode::{self, Confidence, Decoded, Known as Devices, Question};
use recrash_kernel::regs::PT_REGS_NAMES;

/// A member's number.
pub(crate) fn member(of: &Struct, path: &str) -> Option<(u64, Basis)> {
    let member = of.members.iter().find(|member| member.path == path)?;
    Some((member.number?, of_member(of, member)))
}

pub(super) fn freelist(
    case: &Case<'_>,
    registers: Option<&Registers>,
    faulting: &Told<Faulting>,
    origins: &[Origin],
) -> Told<Freelist> {
    let held = |wanted: u64| {
        registers.and_then(|registers| {
            PT_REGS_NAMES
                .iter()
                .find(|name| value(registers, name) == Some(wanted))
        })
    };
    let found = case.structs("kmem_cache_cpu").find_map(|found| {
        let address = found
            .address
            .filter(|at| registers.is_none() || held(*at).is_some())?;
        let (value, line) = member(found, "freelist")?;
        let tid = member(found, "tid");
        let mut basis = vec![line];
        basis.extend(tid.clone().map(|tid| tid.1));
        if let Some(name) = held(address) {
            basis.push(Basis::Follows(format!(
                "{name} is the address of the kmem_cache_cpu"
            )));
        }
        Some(Known {
            value: Freelist {
                cpu_slab: address,
                value,
                tid: tid.map(|tid| tid.0),
            },
            basis,
        })
    });
    let loaded = || {
        let wild = wild(registers, faulting)?;
        let (pointer, steps) = origins.iter().find_map(|origin| match &origin.end {
            End::Load {
                from: (_, Some(at)),
                displacement: 0,
                ..
            } if origin.value == Some(wild) => Some((*at, origin.steps.clone())),
            _ => None,
        })?;
        let offset = registers.and_then(|registers| value(registers, "rdi"))?;
        // A per-CPU pointer is the member of the cache plus the CPU's area, which begins on a page.
        let per_cpu = offset > 0
            && offset < 1 << 26
            && pointer >> 47 == 0x1_ffff
            && pointer.wrapping_sub(offset) & 0xfff == 0;
        per_cpu.then_some(Known {
            value: Freelist {
                cpu_slab: pointer,
                value: wild,
                tid: None,
            },
            basis: steps,
        })
    };
    found.or_else(loaded).ok_or_else(|| {
        "no struct kmem_cache_cpu at an address that a register holds, and no load from one".into()
    })
}

/// The register of the address whose value cannot be one.
fn wild(registers: Option<&Registers>, faulting: &Told<Faulting>) -> Option<u64> {
    let (registers, faulting) = (registers?, &faulting.as_ref().ok()?.value);
    let canonical = |at: u64| matches!(at >> 47, 0 | 0x1_ffff);
    let names = faulting
        .base
        .iter()
        .chain(faulting.index.as_ref().map(|(name, _)| name));
    names
        .filter_map(|name| value(registers, name))
        .find(|at| !canonical(*at))
}

pub(super) fn decoded(
    registers: Option<&Registers>,
    faulting: &Told<Faulting>,
    freelist: &Told<Freelist>,
) -> Told<Decoded> {
    let by_list = freelist
        .as_ref()
        .ok()
        .map(|known| (known.value.value, known.basis.clone()));
    let by_register = || {
        wild(registers, faulting).map(|value| {
            (
                value,
                vec![Basis::Follows(
                    "the address register that is not canonical".into(),
                )],
            )
        })
    };
    let (value, basis) = by_list
        .or_else(by_register)
        .ok_or("no address register holds a value that is no address")?;
    Ok(Known {
        value: decode::decode(&Question::of(&value.to_le_bytes()), &Devices::default()),
        basis,
    })
}

pub(super) fn cache(
    case: &Case<'_>,
    registers: Option<&Registers>,
    origins: &[Origin],
    decoded: &Told<Decoded>,
    lent: Option<&Known<Cache>>,
) -> Told<Cache> {
    let held = |at: u64| registers.is_none_or(|registers| registers.slots.contains(&Some(at)));
    let found = case
        .structs("kmem_cache")
        .find(|found| found.address.is_some_and(held));
    let Some(found) = found else {
        return lent
            .cloned()
            .ok_or_else(|| "no struct kmem_cache at an address that a register holds".into());
    };
    let get = |path: &str| member(found, path);
    let (size, offset) = (get("object_size"), get("offset"));
    let mut known: Vec<Basis> = size
        .iter()
        .chain(&offset)
        .map(|found| found.1.clone())
        .collect();
    let listed = case
        .evidence
        .caches
        .iter()
        .find(|row| Some(row.address) == found.address)
        .map(|row| row.name.clone());
    let printed = found
        .members
        .iter()
        .find(|member| member.path == "name")
        .and_then(|member| Some(member.text.split('"').nth(1)?.to_string()));
    let by_kmalloc = origins.iter().any(|origin| matches!(&origin.end, End::Returned { function, .. } if function == "kmalloc_slab"));
    let derived = size.as_ref().filter(|_| by_kmalloc).map(|(size, _)| {
        known.push(Basis::Rule("kmalloc_slab returned it, so it is a cache of kmalloc's, named by its size (mm/slab_common.c)".into()));
        format!("kmalloc-{size}")
    });
    let raw = decoded
        .as_ref()
        .ok()
        .and_then(|known| known.value.best())
        .is_some_and(|best| best.confidence >= Confidence::Structural);
    let random = get("random").map(|(_, line)| {
        known.push(line);
        known.push(Basis::Rule(
            "struct kmem_cache has random with CONFIG_SLAB_FREELIST_HARDENED only (include/linux/slub_def.h)".into(),
        ));
        true
    });
    let plain = (random.is_none() && raw && offset.as_ref().is_some_and(|found| found.0 == 0)).then(|| {
        known.push(Basis::Rule("the list's head has the bytes of its format as they are; CONFIG_SLAB_FREELIST_HARDENED would have XORed them with random and the address (mm/slub.c, freelist_ptr)".into()));
        false
    });
    let hardened = random.or(plain);
    if let (Some(registers), Some(at)) = (registers, found.address) {
        known.extend(
            PT_REGS_NAMES
                .iter()
                .filter(|name| value(registers, name) == Some(at))
                .flat_map(|name| basis(registers, name)),
        );
    }
    Ok(Known {
        value: Cache {
            address: found.address,
            name: listed.or(printed).or(derived),
            object_size: size.map(|found| found.0),
            offset: offset.map(|found| found.0),
            hardened,
        },
        basis: known,
    })
}
