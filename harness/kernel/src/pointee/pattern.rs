//! Values that mean something by their bits alone: error codes, poison, characters. Tables; reads nothing.
use super::Characters;

/// Patterns with their meaning (include/linux/poison.h, include/linux/spinlock_types.h).
const POISON: &[(u64, &str)] = &[
    (
        0x6b6b_6b6b_6b6b_6b6b,
        "POISON_FREE: slab memory after kfree",
    ),
    (
        0x6b6b_6b6b_6b6b_6ba5,
        "POISON_FREE and POISON_END: slab memory after kfree",
    ),
    (
        0xa56b_6b6b_6b6b_6b6b,
        "POISON_FREE and POISON_END: slab memory after kfree",
    ),
    (
        0x5a5a_5a5a_5a5a_5a5a,
        "POISON_INUSE: slab memory not yet initialised",
    ),
    (
        0xbbbb_bbbb_bbbb_bbbb,
        "SLUB_RED_INACTIVE: red zone of a free object",
    ),
    (
        0xcccc_cccc_cccc_cccc,
        "SLUB_RED_ACTIVE: red zone of an allocated object",
    ),
    (
        0xaaaa_aaaa_aaaa_aaaa,
        "PAGE_POISON: page after it was freed",
    ),
    (
        0xdead_0000_0000_0100,
        "LIST_POISON1: next of a list entry that was deleted",
    ),
    (
        0xdead_0000_0000_0122,
        "LIST_POISON2: prev of a list entry that was deleted",
    ),
    (
        0xdead_0000_0000_0200,
        "LIST_POISON2: prev of a list entry that was deleted",
    ),
    (0xdead_0000_0000_0300, "TIMER_ENTRY_STATIC"),
    (0xdead_0000_0000_0000, "POISON_POINTER_DELTA"),
    (0x0000_0000_dead_4ead, "SPINLOCK_MAGIC"),
    (
        0xcccc_cccc_cccc_cc00,
        "free init memory (POISON_FREE_INITMEM)",
    ),
];
/// A poisoned list pointer and a field's offset.
const LIST_POISON: std::ops::Range<u64> = 0xdead_0000_0000_0000..0xdead_0000_0000_1000;
/// -1 in 32 bits.
pub(super) const MINUS_ONE: u64 = 0xffff_ffff;
/// Largest error number (include/linux/err.h, MAX_ERRNO).
const MAX_ERRNO: u64 = 4095;

/// What a poison pattern means.
#[must_use]
pub fn poison(value: u64) -> Option<&'static str> {
    let known = POISON.iter().find(|(pattern, _)| *pattern == value);
    known.map(|(_, name)| *name).or_else(|| {
        LIST_POISON
            .contains(&value)
            .then_some("near LIST_POISON: through a list entry that was deleted")
    })
}

/// The error number in `-errno`, as a 64-bit or a 32-bit value. -1 in 32 bits is more often a mask or "none" than
/// EPERM.
pub(super) fn error(value: u64) -> Option<u16> {
    let wide = value.wrapping_neg();
    let narrow = (value >> 32 == 0 && value != MINUS_ONE)
        .then(|| (value | 0xffff_ffff_0000_0000).wrapping_neg());
    [Some(wide), narrow]
        .into_iter()
        .flatten()
        .find(|number| (1..=MAX_ERRNO).contains(number))
        .and_then(|number| u16::try_from(number).ok())
}

/// Text in a value's eight bytes as they lie in memory: at least six printable ASCII characters then only zeros,
/// or at least three printable UTF-16 units in a row.
pub(super) fn characters(value: u64) -> Option<Characters> {
    let bytes = value.to_le_bytes();
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let rest = bytes.get(text.len()..).unwrap_or_default();
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    if text.len() >= 6 && text.iter().all(printable) && rest.iter().all(|byte| *byte == 0) {
        return Some(Characters::Ascii(
            String::from_utf8_lossy(text).into_owned(),
        ));
    }
    let units: Vec<u8> = bytes
        .chunks_exact(2)
        .filter_map(|unit| match unit {
            [low, 0] if printable(low) => Some(*low),
            _ => None,
        })
        .collect();
    // A descriptor's length and type come before its text.
    let tail = bytes
        .chunks_exact(2)
        .skip(1)
        .all(|unit| matches!(unit, [low, 0] if printable(low)));
    (units.len() >= 3 && tail)
        .then(|| Characters::Utf16(String::from_utf8_lossy(&units).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_seen_in_both_widths() {
        assert_eq!(error(u64::MAX), Some(1));
        assert_eq!(error(0xffff_fff4), Some(12));
        assert_eq!(error((-4095i64).cast_unsigned()), Some(4095));
        assert_eq!(error((-4096i64).cast_unsigned()), None);
        assert_eq!(error(0), None);
        assert_eq!(error(0xffff_ffff), None);
    }

    #[test]
    fn a_list_entry_that_was_deleted_is_known_by_its_pointers() {
        assert!(poison(0xdead_0000_0000_0100).is_some_and(|name| name.contains("LIST_POISON1")));
        assert!(poison(0xdead_0000_0000_0108).is_some_and(|name| name.contains("near")));
        assert_eq!(poison(0xffff_8880_0000_0000), None);
    }

    #[test]
    fn the_real_dumps_value_is_utf_16_behind_a_head() {
        assert_eq!(
            characters(0x0072_0069_0056_0338),
            Some(Characters::Utf16("Vir".into()))
        );
        assert_eq!(
            characters(u64::from_le_bytes(*b"kmalloc\0")),
            Some(Characters::Ascii("kmalloc".into()))
        );
        assert_eq!(characters(0xffff_8880_0123_4080), None);
        assert_eq!(characters(0x0000_0041_0000_0042), None);
    }
}
