//! Why the CPU raised this vector, and what another register, five paging levels or an emulator would have given.
//! Intel SDM volume 1, 3.3.7.1 (canonical addresses), volume 3A, chapter 6 (vectors).
use recrash_kernel::trap::TRAPS;

use crate::explain::facts::{Facts, proofs};
use crate::explain::findings::{Finding, Proof};
use crate::explain::message::Hex;
use crate::explain::story::{Draft, Section, Topic};

const STACK_FAULT: u8 = 12;
const PROTECTION: u8 = 13;
pub(super) const PAGE_FAULT: u8 = 14;

/// `#SS`.
pub(super) fn mnemonic(vector: u8) -> String {
    let mut traps = TRAPS.iter();
    let found = traps.find(|trap| trap.vector == vector);
    found.map_or_else(|| format!("#{vector}"), |trap| trap.mnemonic.into())
}

/// `stack segment`, as the kernel calls it.
pub(super) fn name(vector: u8) -> String {
    let mut traps = TRAPS.iter();
    let found = traps.find(|trap| trap.vector == vector);
    found.map_or_else(|| vector.to_string(), |trap| trap.name.into())
}

/// Whether bits 63 to `bits - 1` are all equal.
pub(super) fn canonical(address: u64, bits: u32) -> bool {
    let shift = 64_u32.saturating_sub(bits).min(63);
    let extended = address.wrapping_shl(shift).cast_signed() >> shift;
    extended.cast_unsigned() == address
}

/// Whether it can be a pointer into the kernel's half with four levels.
pub(super) fn kernel_pointer(value: u64) -> bool {
    canonical(value, 48) && value >> 63 == 1
}

pub(super) fn section(facts: &Facts) -> Option<Section> {
    let known = facts.account.faulting.as_ref().ok()?;
    let faulting = &known.value;
    let (address, canonical48) = (faulting.address?, faulting.canonical?);
    let mut draft = Draft::new(Topic::Vector);
    let stack = faulting.segment == "ss";
    let base = faulting.base.clone().unwrap_or_default();
    let (rule, proof) = match (canonical48, stack) {
        (true, _) => (Finding::RulePage {}, Proof::SdmCanonical {}),
        (false, true) => (Finding::RuleStack { base }, Proof::SdmSegments {}),
        (false, false) => (Finding::RuleData {}, Proof::SdmCanonical {}),
    };
    draft.say(rule, vec![proof]);
    let expected = match (canonical48, stack) {
        (true, _) => PAGE_FAULT,
        (false, true) => STACK_FAULT,
        (false, false) => PROTECTION,
    };
    let expected = faulting
        .hardware
        .as_ref()
        .map_or(expected, |(vector, _)| *vector);
    came(facts, expected, &mut draft);
    if !canonical48 {
        what_if(address, stack, &mut draft);
    }
    draft.finish()
}

fn came(facts: &Facts, expected: u8, draft: &mut Draft) {
    let Ok(exception) = &facts.account.exception else {
        return;
    };
    let Some(vector) = exception.value.vector else {
        return;
    };
    let finding = if vector == expected {
        Finding::VectorAsHardware {
            mnemonic: mnemonic(vector),
        }
    } else {
        Finding::VectorNotAsHardware {
            came: mnemonic(vector),
            expected: mnemonic(expected),
        }
    };
    draft.say(
        finding,
        proofs(&exception.basis).into_iter().take(2).collect(),
    );
}

fn what_if(address: u64, stack: bool, draft: &mut Draft) {
    let base = if stack {
        Finding::WithOtherBase {}
    } else {
        Finding::WithStackBase {}
    };
    draft.say(base, vec![Proof::SdmSegments {}]);
    let at = Hex(address);
    let levels = if canonical(address, 57) {
        Finding::WithFiveLevels { address: at }
    } else {
        Finding::WithFiveLevelsSame { address: at }
    };
    draft.say(levels, vec![Proof::SdmCanonical {}]);
    let emulated = if stack {
        Finding::WithTcg {}
    } else {
        Finding::WithTcgSame {}
    };
    draft.say(emulated, vec![Proof::QemuSource {}]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_levels_make_the_value_of_the_real_dumps_canonical() {
        let value = 0x0072_0069_0056_0338;
        assert!(!canonical(value, 48));
        assert!(canonical(value, 57));
        assert!(canonical(u64::MAX, 48) && canonical(0, 57) && !canonical(1 << 47, 48));
    }

    #[test]
    fn only_the_upper_half_can_hold_the_kernels_pointers() {
        assert!(kernel_pointer(0xffff_8ef4_87c0_e9c0));
        assert!(!kernel_pointer(0x0000_7f0e_33cd_b2f7));
        assert!(!kernel_pointer(0x0072_0069_0056_0338));
    }
}
