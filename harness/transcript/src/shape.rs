//! A `pt_regs` (arch/x86/include/asm/ptrace.h) among words of a stack, by its shape: the segments, flags, instruction
//! and stack pointers that only saved registers have in these places, and the exception's entry code right below.
//! Words are joined by address, whatever frames a backtrace drew between them. It names no function.
use crate::evidence::Word;
use std::collections::BTreeMap;

/// Slots of a `pt_regs`.
pub(crate) const SLOTS: usize = 21;
const SIZE: u64 = 168;
const ORIG_RAX: usize = 15;
const RIP: usize = 16;
const CS: usize = 17;
const RFLAGS: usize = 18;
const RSP: usize = 19;
const SS: usize = 20;
/// Marks from which a structure is believed. The entry code below, or all of the hardware's five words, or a -1 before
/// a code address with the words before it.
const ENOUGH: u32 = 5;
/// More system calls than any x86-64 kernel has.
const MAX_SYSCALL: u64 = 1024;
/// Words looked at; a stack of 16 KiB has 2048.
const MAX_WORDS: usize = 1 << 20;

/// A structure that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Address of the first slot.
    pub(crate) at: u64,
    /// The words, where the text has them.
    pub(crate) slots: [Option<Word>; SLOTS],
    /// How many marks fit.
    pub(crate) marks: u32,
    /// What fits, in words.
    pub(crate) why: Vec<String>,
    /// Whether user space was interrupted.
    pub(crate) user: bool,
}

/// What is known of the addresses around.
pub(crate) struct Surroundings<'s> {
    /// Whether an address can be kernel code.
    pub(crate) is_text: &'s dyn Fn(u64) -> bool,
    /// Stack addresses right below a `pt_regs`: return addresses into an exception's entry code.
    pub(crate) entries: &'s [u64],
}

/// Words by address; of an address that is printed twice the first one counts.
pub(crate) fn by_address(words: &[Word]) -> BTreeMap<u64, Word> {
    let mut map = BTreeMap::new();
    for word in words.iter().take(MAX_WORDS) {
        map.entry(word.at).or_insert_with(|| word.clone());
    }
    map
}

/// All structures that fit, the best one first; of equal ones the innermost.
pub(crate) fn find(words: &BTreeMap<u64, Word>, around: &Surroundings<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = words
        .keys()
        .copied()
        .chain(around.entries.iter().map(|entry| entry.wrapping_add(8)))
        .filter_map(|at| judge(words, at, around))
        .collect();
    found.sort_by_key(|found| (std::cmp::Reverse(found.marks), found.at));
    found.dedup_by_key(|found| found.at);
    found
}

fn judge(words: &BTreeMap<u64, Word>, at: u64, around: &Surroundings<'_>) -> Option<Found> {
    let mut slots: [Option<Word>; SLOTS] = std::array::from_fn(|_| None);
    for (slot, offset) in slots.iter_mut().zip((0u64..).step_by(8)) {
        *slot = words.get(&at.checked_add(offset)?).cloned();
    }
    let value = |slot: usize| {
        slots
            .get(slot)
            .and_then(Option::as_ref)
            .map(|word| word.value)
    };
    let entry = around.entries.contains(&at.wrapping_sub(8));
    // Nothing but the entry code tells where a structure without its tail begins.
    value(RIP).or(value(ORIG_RAX).filter(|_| entry))?;
    let mut marks = Marks::default();
    if entry {
        marks.fits(
            4,
            "the entry code of an exception returns to right below it",
        );
    }
    let user = value(CS).map(|cs| cs & 3 == 3);
    marks.check(
        value(CS),
        |cs| matches!(cs, 0x10 | 0x33),
        2,
        "cs is 0x10 or 0x33",
    )?;
    marks.check(
        value(SS),
        |ss| matches!(ss, 0 | 0x18 | 0x2b),
        1,
        "ss is 0, 0x18 or 0x2b",
    )?;
    marks.check(
        value(RFLAGS),
        is_flags,
        1,
        "the flags have bit 1 and none that is reserved",
    )?;
    let text = |rip: u64| match user {
        Some(true) => rip < 1 << 47,
        _ => (around.is_text)(rip),
    };
    marks.check(value(RIP), text, 2, "rip lies in code")?;
    let stack = |rsp: u64| match user {
        Some(true) => rsp < 1 << 47,
        // The CPU aligns the stack to 16 bytes before it pushes (Intel SDM volume 3A, 6.14.2).
        _ => (rsp & !0xf).wrapping_sub(SIZE) == at || words.contains_key(&(rsp & !7)),
    };
    marks.check(
        value(RSP),
        stack,
        2,
        "rsp lies on the stack where the interrupted code left it",
    )?;
    match value(ORIG_RAX) {
        Some(u64::MAX) => marks.fits(3, "orig_rax is -1, as an exception's entry code leaves it"),
        Some(number) if number < MAX_SYSCALL => marks.fits(1, "orig_rax is small"),
        // An interrupt's entry code has the complement of its vector there (before 5.8).
        Some(vector) if !vector < 256 => marks.fits(1, "orig_rax is an interrupt's"),
        Some(_) if !entry => return None,
        _ => {}
    }
    // Without the entry code, the general registers must be there: a -1 before an address lies on many stacks.
    let general = slots.iter().take(ORIG_RAX).flatten().count();
    (marks.points >= ENOUGH && (entry || general >= ORIG_RAX - 2)).then_some(Found {
        at,
        marks: marks.points,
        why: marks.why,
        user: user.unwrap_or(false),
        slots,
    })
}

/// Bit 1 is set, bits 3, 5, 15 and those above 21 are clear (Intel SDM volume 1, 3.4.3).
fn is_flags(flags: u64) -> bool {
    flags & 2 != 0 && flags & !0x3f_7fd7 == 0
}

#[derive(Default)]
struct Marks {
    points: u32,
    why: Vec<String>,
}

impl Marks {
    fn fits(&mut self, points: u32, why: &str) {
        self.points = self.points.saturating_add(points);
        self.why.push(why.into());
    }

    /// `None` when the word is there and does not fit.
    fn check(
        &mut self,
        value: Option<u64>,
        fits: impl Fn(u64) -> bool,
        points: u32,
        why: &str,
    ) -> Option<()> {
        match value {
            Some(value) if !fits(value) => None,
            Some(_) => {
                self.fits(points, why);
                Some(())
            }
            None => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0xffff_abfa_4b0e_bb88;
    const RIP_VALUE: u64 = 0xffff_ffff_8428_7f8b;
    const WORDS: [u64; 21] = [
        0xffff_8ef4_87c0_e9c0,
        0xffff_8ef4_87c0_e9c0,
        0xfe,
        0x6080c0,
        0x0072_0069_0056_0338,
        0x6080c0,
        0xfe,
        1,
        1,
        0xffff_8f03_dfb2_8120,
        0,
        0x32a9b,
        0x32a9a,
        0x6080c0,
        0x28120,
        u64::MAX,
        RIP_VALUE,
        0x10,
        0x10202,
        0xffff_abfa_4b0e_bc38,
        0x18,
    ];

    fn check(words: &[u64], entries: &[u64]) -> Option<u64> {
        let words: Vec<Word> = (START..)
            .step_by(8)
            .zip(words)
            .map(|(at, value)| Word {
                at,
                value: *value,
                line: 1,
            })
            .collect();
        let around = Surroundings {
            is_text: &|at| at >> 30 == RIP_VALUE >> 30,
            entries,
        };
        find(&by_address(&words), &around)
            .first()
            .map(|found| found.at)
    }

    #[test]
    fn saved_registers_are_found_whole_and_cut_after_rip() {
        assert_eq!(check(&WORDS, &[]), Some(START));
        assert_eq!(check(&WORDS[..17], &[]), Some(START));
        assert_eq!(check(&WORDS[..17], &[START - 8]), Some(START));
    }

    #[test]
    fn other_segments_flags_or_stack_are_no_registers() {
        for (slot, value) in [(CS, 0x11), (RFLAGS, 0), (SS, 7), (RSP, 0xdead), (RIP, 5)] {
            let mut words = WORDS;
            words[slot] = value;
            assert_eq!(check(&words, &[START - 8]), None, "slot {slot}");
        }
    }

    #[test]
    fn a_minus_one_before_code_with_nothing_around_is_not_enough() {
        assert_eq!(check(&WORDS[14..17], &[]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_words_end(values: Vec<(u64, u64)>, entries: Vec<u64>) {
            let words: Vec<Word> = values.iter().map(|(at, value)| Word { at: *at, value: *value, line: 1 }).collect();
            find(&by_address(&words), &Surroundings { is_text: &|at| at > 9, entries: &entries });
        }
    }
}
