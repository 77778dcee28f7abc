//! The faulting instruction, its address, and where its registers came from.
use super::case::Case;
use super::registers::value;
use super::{Basis, End, Faulting, Known, Origin, Place, Registers, Role, Told};
use crate::att;
use crate::slice::{self, Found};

/// Registers followed in one account.
const MAX_ORIGINS: usize = 12;

pub(super) fn of(
    case: &Case<'_>,
    registers: Option<&Registers>,
    place: &Told<Place>,
) -> (Told<Faulting>, Vec<Origin>) {
    let missing = |why: &str| (Err(why.to_string()), Vec::new());
    let Ok(place) = place else {
        return missing("the function that faulted is not known");
    };
    let place = &place.value;
    let Some(index) = case
        .code
        .index(&place.function, place.offset, place.address)
    else {
        return missing("the text does not have the instruction at rip");
    };
    let Some(line) = case.code.lines.get(index) else {
        return missing("no instruction");
    };
    let Some(parsed) = &line.parsed else {
        return missing("the instruction at rip is none");
    };
    if parsed.is_cut_off() {
        return missing("the instruction at rip is cut off in the text");
    }
    let memory = parsed.memory();
    let get = |name: Option<&str>| match name {
        None => Some(0),
        Some(name) => value(registers?, name),
    };
    let segment = memory.map(|memory| {
        memory
            .segment
            .clone()
            .unwrap_or_else(|| match memory.base_name() {
                Some("rbp" | "rsp") => "ss".into(),
                _ => "ds".into(),
            })
    });
    let address = memory
        .filter(|_| !matches!(segment.as_deref(), Some("gs" | "fs")))
        .and_then(|memory| {
            let base = get(memory.base_name())?;
            let index = get(memory.index_name())?.wrapping_mul(u64::from(memory.scale));
            Some(
                base.wrapping_add(index)
                    .wrapping_add_signed(memory.displacement),
            )
        });
    let canonical = address.map(|at| (at.cast_signed() << 16 >> 16).cast_unsigned() == at);
    let hardware = match (parsed.mnemonic.as_str(), address, canonical) {
        ("ud2" | "ud1" | "ud0", ..) => {
            Some((6, "an instruction made to be invalid (BUG or WARN)".into()))
        }
        (_, Some(at), Some(false)) if segment.as_deref() == Some("ss") => Some((
            12,
            format!(
                "{at:#018x} is not canonical, and the base register means the stack segment (Intel SDM volume 1, table 3-5)"
            ),
        )),
        (_, Some(at), Some(false)) => Some((
            13,
            format!("{at:#018x} is not canonical, through a data segment"),
        )),
        (_, Some(at), Some(true)) if at < 4096 => Some((
            14,
            format!("{at:#x} lies in the first page, which is not mapped"),
        )),
        _ => None,
    };
    let intel = line.intel.clone().unwrap_or_else(|| att::intel(parsed));
    let faulting = Faulting {
        text: line.text.clone(),
        by_place: att::by_place(&intel, memory),
        base: memory.and_then(|memory| memory.base_name()).map(Into::into),
        index: memory.and_then(|memory| Some((memory.index_name()?.to_string(), memory.scale))),
        displacement: memory.map_or(0, |memory| memory.displacement),
        segment: segment.unwrap_or_else(|| "ds".into()),
        address,
        canonical,
        hardware,
    };
    let origins = origins(case, registers, &place.function, index, &faulting);
    (
        Ok(Known {
            value: faulting,
            basis: vec![line.basis()],
        }),
        origins,
    )
}

fn origins(
    case: &Case<'_>,
    registers: Option<&Registers>,
    function: &str,
    at: usize,
    faulting: &Faulting,
) -> Vec<Origin> {
    let mut queue: Vec<(String, Role, usize)> = Vec::new();
    queue.extend(faulting.base.clone().map(|name| (name, Role::Base, at)));
    queue.extend(
        faulting
            .index
            .clone()
            .map(|(name, _)| (name, Role::Index, at)),
    );
    let mut found: Vec<Origin> = Vec::new();
    let mut next = 0;
    while let Some((name, role, before)) = queue.get(next).cloned() {
        next = next.saturating_add(1);
        if next > MAX_ORIGINS || found.iter().any(|origin| origin.register == name) {
            continue;
        }
        let trail = slice::back(&case.code, function, before, &name);
        let current = |name: &str, from: usize| {
            registers
                .filter(|_| slice::unchanged(&case.code, function, from, at, name))
                .and_then(|r| value(r, name))
        };
        let end = match trail.found {
            Found::Load(memory, index) => match memory.base_name() {
                Some(base) => {
                    queue.push((base.into(), Role::Other, index));
                    let held = current(base, index);
                    End::Load {
                        from: (base.into(), held),
                        displacement: memory.displacement,
                        field: field(case, held, memory.displacement),
                    }
                }
                None => End::Unknown("loaded from a fixed address".into()),
            },
            Found::Returned(function) => End::Returned {
                type_name: slice::return_type(&function).map(Into::into),
                function,
            },
            Found::Sum(one, other, index) => {
                queue.push((one.clone(), Role::Other, index));
                queue.push((other.clone(), Role::Other, index));
                End::Unknown(format!("the sum of {one} and {other}"))
            }
            Found::Unknown(why) => End::Unknown(why),
        };
        found.push(Origin {
            value: current(&name, before),
            register: name,
            role,
            steps: trail.steps,
            end,
        });
    }
    typed(&mut found);
    found
}

/// The member of the struct that the text prints at an address.
fn field(case: &Case<'_>, at: Option<u64>, displacement: i64) -> Option<String> {
    let found = case
        .evidence
        .structs
        .iter()
        .find(|found| at.is_some() && found.address == at)?;
    let member = slice::member_offset(&found.name, displacement)?;
    Some(format!("{}.{member}", found.name))
}

/// A load through what a function returned is a member of what it returns a pointer to.
fn typed(origins: &mut [Origin]) {
    let types: Vec<(String, String)> = origins
        .iter()
        .filter_map(|origin| match &origin.end {
            End::Returned {
                type_name: Some(name),
                ..
            } => Some((origin.register.clone(), name.clone())),
            _ => None,
        })
        .collect();
    for origin in origins {
        if let End::Load {
            from,
            displacement,
            field,
        } = &mut origin.end
            && field.is_none()
            && let Some((_, name)) = types.iter().find(|(register, _)| *register == from.0)
        {
            let name = name.trim_start_matches("struct ").trim_end_matches(" *");
            *field =
                slice::member_offset(name, *displacement).map(|member| format!("{name}.{member}"));
            if field.is_some() {
                origin.steps.push(Basis::Rule(format!(
                    "layout of struct {name} (include/linux/slub_def.h)"
                )));
            }
        }
    }
}
