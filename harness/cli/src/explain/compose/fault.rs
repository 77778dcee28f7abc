//! The exception, the saved registers, the faulting instruction, and where its registers came from.
use recrash_kernel::regs::{PT_REGS_NAMES, PT_REGS_SIZE};
use recrash_transcript::account::{self, End, Exception, Faulting, How, Place, Role};

use super::vector;
use crate::explain::facts::{Facts, line, proofs, slot_basis};
use crate::explain::findings::{Finding, Proof, Word};
use crate::explain::message::Hex;
use crate::explain::story::{Block, Draft, Section, Slot, Topic};

/// Index of `orig_rax`, where the CPU pushes the error code.
const ERROR_CODE_SLOT: usize = 15;
/// Exceptions that are traps: saved rip is the instruction after (Intel SDM volume 3A, table 6-1). #DB is either.
const TRAPS: [u8; 2] = [3, 4];

pub(super) fn exception(facts: &Facts) -> Option<Section> {
    let mut draft = Draft::new(Topic::Exception);
    let known = facts.account.exception.as_ref().ok();
    if let Some(known) = known {
        raised(&known.value, evidence(known), &mut draft);
    }
    if let Ok(place) = &facts.account.place {
        draft.say(struck(&place.value), proofs(&place.basis));
    }
    if let Some(known) = known {
        privilege(facts, &mut draft);
        error_code(facts, &known.value, evidence(known), &mut draft);
    }
    draft.finish()
}

/// The pieces that a text or a dump has; the rules are said with the statements that follow from them.
fn evidence<T>(known: &account::Known<T>) -> Vec<Proof> {
    let mut all = proofs(&known.basis);
    all.retain(|proof| !matches!(proof, Proof::Stated { .. }));
    all.truncate(2);
    all
}

fn raised(exception: &Exception, evidence: Vec<Proof>, draft: &mut Draft) {
    let Some(vector) = exception.vector else {
        let headline = exception.by.clone();
        draft.say(Finding::RaisedHeadline { headline }, evidence);
        return;
    };
    let mnemonic = vector::mnemonic(vector);
    let finding = Finding::Raised {
        mnemonic: mnemonic.clone(),
        name: vector::name(vector),
        vector,
    };
    draft.say(finding, evidence);
    if !exception.by.is_empty() && !exception.by.contains(' ') {
        let entry = exception.by.clone();
        draft.say(Finding::EnteredBy { entry }, Vec::new());
    }
    let class = match vector {
        1 | 2 | 8 | 18 => return,
        vector if TRAPS.contains(&vector) => Finding::TrapNotFault { mnemonic },
        _ => Finding::FaultNotTrap { mnemonic },
    };
    draft.say(class, vec![Proof::SdmClasses {}]);
}

/// `__kmalloc+0xab`, with the module in brackets.
pub(super) fn spelled(place: &Place) -> String {
    let mut text = place.function.clone();
    if let Some(offset) = place.offset {
        text.push_str(&format!("+{offset:#x}"));
    }
    if let Some(module) = &place.module {
        text.push_str(&format!(" [{module}]"));
    }
    text
}

fn struck(place: &Place) -> Finding {
    let text = spelled(place);
    match place.address {
        Some(address) => Finding::Struck {
            place: text,
            address: Hex(address),
        },
        None => Finding::StruckNoAddress { place: text },
    }
}

fn privilege(facts: &Facts, draft: &mut Draft) {
    let Some((cs, evidence)) = facts.register("cs") else {
        return;
    };
    let finding = if cs & 3 == 0 {
        Finding::SamePrivilege { cs: Hex(cs) }
    } else {
        Finding::FromUser { cs: Hex(cs) }
    };
    draft.say(finding, evidence);
}

fn error_code(facts: &Facts, exception: &Exception, basis: Vec<Proof>, draft: &mut Draft) {
    if let Some(code) = exception.error_code {
        draft.say(Finding::ErrorCode { code: Hex(code) }, basis.clone());
    } else if let Some((slot, mut evidence)) = facts
        .register("orig_rax")
        .filter(|(slot, _)| *slot == u64::MAX && exception.vector.is_some_and(has_error_code))
    {
        evidence.extend(facts.entry.iter().cloned());
        evidence.push(Proof::EntryCode {});
        draft.say(Finding::ErrorCodeGone { slot: Hex(slot) }, evidence);
    }
    if let Some(address) = exception.address {
        let address = Hex(address);
        let finding = match exception.vector {
            Some(vector::PAGE_FAULT) => Finding::ReportedAddress { address },
            _ => Finding::NamedAddress { address },
        };
        draft.say(finding, basis);
    }
}

/// Exceptions for which the CPU pushes an error code (Intel SDM volume 3A, table 6-1).
fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

pub(super) fn registers(facts: &Facts) -> Option<Section> {
    let mut draft = Draft::new(Topic::Registers);
    let known = facts.account.registers.as_ref().ok()?;
    let registers = &known.value;
    let count = registers.slots.iter().flatten().count();
    let evidence: Vec<Proof> = proofs(&known.basis).into_iter().take(2).collect();
    if let Some(at) = registers.at {
        let end = at.saturating_add(PT_REGS_SIZE);
        let on_stack = Finding::RegistersOnStack {
            at: Hex(at),
            end: Hex(end),
        };
        draft.say(on_stack, Vec::new());
    }
    match registers.how {
        // A dump is read by its types; only a text is searched by form.
        How::Shape if registers.basis.iter().any(|basis| line(basis).is_some()) => {
            draft.say(Finding::RegistersByForm { count }, evidence);
        }
        How::Shape => {}
        How::Block => draft.say(Finding::RegistersPrinted { count }, evidence),
        How::Oops => draft.say(Finding::RegistersFromReport { count }, evidence),
    }
    if let Some(exception) = facts
        .account
        .exception
        .as_ref()
        .ok()
        .filter(|_| registers.at.is_some())
    {
        let entry = exception.value.by.clone();
        let mut evidence = facts.entry.clone();
        evidence.push(Proof::EntryCode {});
        draft.say(Finding::PushedByEntry { entry }, evidence);
    }
    draft.add(Block::Slots(slots(registers)));
    let missing: Vec<&str> = PT_REGS_NAMES
        .iter()
        .zip(&registers.slots)
        .filter(|(_, slot)| slot.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        draft.say(
            Finding::RegistersPartly { missing },
            vec![Proof::NotShown {}],
        );
    }
    draft.finish()
}

fn slots(registers: &account::Registers) -> Vec<Slot> {
    let rows = PT_REGS_NAMES.iter().zip(&registers.slots).enumerate();
    rows.map(|(index, (name, value))| Slot {
        // Named for what the CPU pushes there.
        name: match index {
            ERROR_CODE_SLOT => "orig_rax (error code)".into(),
            _ => (*name).into(),
        },
        at: registers
            .at
            .map(|at| Hex(at.saturating_add(8 * index as u64))),
        value: value.map(Hex),
        line: slot_basis(registers, index).and_then(line),
    })
    .collect()
}

pub(super) fn instruction(facts: &Facts) -> Option<Section> {
    let known = facts.account.faulting.as_ref().ok()?;
    let faulting = &known.value;
    let mut draft = Draft::new(Topic::Instruction);
    let text = faulting.text.clone();
    draft.say(Finding::Faulting { text }, proofs(&known.basis));
    if faulting.base.is_none() && faulting.index.is_none() && faulting.address.is_none() {
        return draft.finish();
    }
    address(facts, faulting, &mut draft);
    segment(faulting, &mut draft);
    draft.finish()
}

fn address(facts: &Facts, faulting: &Faulting, draft: &mut Draft) {
    let (sum, evidence) = sum(facts, faulting);
    let Some(address) = faulting.address else {
        draft.say(Finding::AddressOpen { sum }, evidence);
        return;
    };
    let at = Hex(address);
    draft.say(Finding::AddressSum { sum, address: at }, evidence);
    let (finding, proof) = match address {
        _ if faulting.canonical == Some(false) => (
            Finding::NotCanonical {
                address: at,
                top: format!("{:b}", address >> 47),
            },
            vec![Proof::SdmCanonical {}],
        ),
        0..4096 => (Finding::NullPage { address: at }, Vec::new()),
        _ if address >> 63 == 1 => (Finding::KernelHalf { address: at }, Vec::new()),
        _ => (Finding::UserHalf { address: at }, Vec::new()),
    };
    draft.say(finding, proof);
}

/// `rbp 0x0072006900560338 + rax 0x0`.
fn sum(facts: &Facts, faulting: &Faulting) -> (String, Vec<Proof>) {
    let mut evidence = Vec::new();
    let mut part = |name: &str| match facts.register(name) {
        Some((value, basis)) => {
            evidence.extend(basis);
            format!("{name} {}", Hex(value))
        }
        None => format!("{name} ?"),
    };
    let mut parts: Vec<String> = Vec::new();
    parts.extend(faulting.base.as_deref().map(&mut part));
    if let Some((index, scale)) = &faulting.index {
        let text = part(index);
        parts.push(if *scale > 1 {
            format!("{text} × {scale}")
        } else {
            text
        });
    }
    if faulting.displacement != 0 || parts.is_empty() {
        let sign = if faulting.displacement < 0 { "-" } else { "" };
        parts.push(format!("{sign}{:#x}", faulting.displacement.unsigned_abs()));
    }
    (parts.join(" + "), evidence)
}

fn segment(faulting: &Faulting, draft: &mut Draft) {
    let base = faulting.base.clone().unwrap_or_default();
    let finding = match &*faulting.segment {
        "ss" => Finding::StackSegment { base },
        "ds" | "es" if !base.is_empty() => Finding::DataSegment { base },
        "" | "ds" | "es" => return,
        segment => Finding::OtherSegment {
            segment: segment.into(),
        },
    };
    draft.say(finding, vec![Proof::SdmSegments {}]);
}

pub(super) fn origins(facts: &Facts) -> Option<Section> {
    let mut draft = Draft::new(Topic::Origins);
    for origin in &facts.account.origins {
        draft.say(origin_finding(origin), proofs(&origin.steps));
    }
    draft.finish()
}

fn origin_finding(origin: &account::Origin) -> Finding {
    let register = origin.register.clone();
    let value = origin
        .value
        .map_or_else(|| "?".into(), |value| Hex(value).to_string());
    let role = match origin.role {
        Role::Base => Word::Base,
        Role::Index => Word::Index,
        Role::Other => Word::NoOperand,
    };
    match &origin.end {
        End::Load {
            from,
            displacement,
            field,
        } => {
            let from = memory_operand(&from.0, *displacement);
            match field.clone() {
                Some(field) => Finding::LoadedField {
                    register,
                    role,
                    value,
                    from,
                    field,
                },
                None => Finding::Loaded {
                    register,
                    role,
                    value,
                    from,
                },
            }
        }
        End::Returned {
            function,
            type_name: Some(type_name),
        } => Finding::ReturnedTyped {
            register,
            value,
            function: function.clone(),
            type_name: type_name.clone(),
        },
        End::Returned { function, .. } => Finding::Returned {
            register,
            value,
            function: function.clone(),
        },
        End::Unknown(why) => match why.strip_prefix(CAME_FROM) {
            Some(from) => Finding::CameFrom {
                register,
                role,
                value,
                from: from.into(),
            },
            None => Finding::OriginUnknown {
                register,
                value,
                why: why.clone(),
            },
        },
    }
}

/// Marks an end that a dump's slice words itself.
pub(crate) const CAME_FROM: &str = "= ";

/// `[r15+0x20]`.
fn memory_operand(register: &str, displacement: i64) -> String {
    let size = displacement.unsigned_abs();
    match displacement {
        0 => format!("[{register}]"),
        _ if register.is_empty() => format!("[{size:#x}]"),
        1.. => format!("[{register}+{size:#x}]"),
        _ => format!("[{register}-{size:#x}]"),
    }
}
