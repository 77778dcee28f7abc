//! What another crash of the same kernel build lends: instructions and symbols, moved by the difference between the
//! two kernels, the release, and the cache. Nothing is lent on one address alone.
use crate::account::case::Case;
use crate::account::registers::value;
use crate::account::{self, Basis, Cache, Known, Registers};
use crate::evidence::Evidence;

/// KASLR moves by multiples of this (arch/x86/boot/compressed/kaslr.c, CONFIG_PHYSICAL_ALIGN).
const ALIGN: u64 = 2 << 20;
/// The direct map is moved by multiples of this (arch/x86/mm/kaslr.c, PUD_SIZE).
const DIRECT_ALIGN: u64 = 1 << 30;

#[derive(Default)]
pub(crate) struct Loan {
    pub(crate) lent: Vec<String>,
    pub(crate) release: Option<Known<String>>,
    pub(crate) cache: Option<Known<Cache>>,
}

pub(crate) fn lend(case: &mut Case<'_>, registers: Option<&Registers>, other: &Evidence) -> Loan {
    let theirs = account::of(other, None);
    let their_case = Case::new(other);
    let their_registers = theirs.registers.as_ref().ok().map(|known| &known.value);
    let rip =
        |registers: Option<&Registers>| registers.and_then(|registers| value(registers, "rip"));
    let mut shifts: Vec<(String, u64)> = case
        .frames
        .iter()
        .filter_map(|frame| {
            let mut same = their_case
                .frames
                .iter()
                .filter(|known| known.function == frame.function && known.module.is_none());
            let known = same.next().filter(|_| same.next().is_none())?;
            Some((
                format!("return address in {}", frame.function),
                frame.address.wrapping_sub(known.address),
            ))
        })
        .collect();
    shifts.extend(
        rip(registers)
            .zip(rip(their_registers))
            .map(|(one, other)| ("saved rip".to_string(), one.wrapping_sub(other))),
    );
    let best = shifts
        .iter()
        .map(|(_, shift)| *shift)
        .max_by_key(|shift| shifts.iter().filter(|(_, other)| other == shift).count());
    let agreeing: Vec<String> = shifts
        .iter()
        .filter(|(_, shift)| Some(*shift) == best && shift % ALIGN == 0)
        .map(|(what, _)| what.clone())
        .collect();
    let mut loan = Loan::default();
    let Some(shift) = best.filter(|_| agreeing.len() > 1) else {
        loan.lent.push(
            "nothing: no two addresses of the texts differ by the same multiple of 2 MiB".into(),
        );
        return loan;
    };
    let rests = format!(
        "{} differ by the same {shift:#x}, a multiple of 2 MiB",
        agreeing.join(", ")
    );
    case.code.lend(&their_case.code, shift);
    loan.lent.push(format!("instructions and symbols: {rests}"));
    if let Ok(release) = &theirs.release {
        loan.lent
            .push(format!("release {}: {rests}", release.value));
        loan.release = Some(Known {
            value: release.value.clone(),
            basis: vec![Basis::Follows(format!("lent by the other text: {rests}"))],
        });
    }
    if let (Some(registers), Some(theirs_registers), Ok(cache)) =
        (registers, their_registers, &theirs.cache)
    {
        let same = |name: &str| value(registers, name).zip(value(theirs_registers, name));
        let pointer = ["r15", "r14", "r12"].iter().find_map(|name| {
            let (own, their) = same(name)?;
            (Some(their) == cache.value.address
                && own % DIRECT_ALIGN == their % DIRECT_ALIGN
                && own >> 47 == 0x1_ffff)
                .then_some((*name, own))
        });
        let offset = same("rdi").filter(|(own, their)| own == their && *own > 0 && *own < 1 << 26);
        if let (Some((name, own)), Some((offset, _))) = (pointer, offset) {
            let why = format!(
                "{name} is the same modulo 1 GiB, and rdi has the same per-CPU offset {offset:#x}"
            );
            loan.lent.push(format!("the cache: {why}"));
            loan.cache = Some(Known {
                value: Cache {
                    address: Some(own),
                    ..cache.value.clone()
                },
                basis: vec![Basis::Follows(format!("lent by the other text: {why}"))],
            });
        }
    }
    loan
}
