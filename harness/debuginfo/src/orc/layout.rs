//! The layouts of `struct orc_entry`, and telling them apart by the entries themselves.
//!
//! Every layout has 6 bytes: two 16-bit offsets, a byte with two base registers of 4 bits, and a
//! byte of bit fields, which is what changed. Distributions backport, so a kernel's version says
//! nothing.

use super::{BpRule, CfaBase, OrcError, OrcKind, OrcRule};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 6;
/// In a table of a known layout nearly all entries fit; a dump may have damaged a few.
const IMPOSSIBLE_PER_ROWS: usize = 50;

/// How the last byte of an entry is divided, lowest bits first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrcLayout {
    /// `type:2, end:1`: v4.14 to v6.2. `end` came in v4.18; before it the bit is clear.
    TypeEnd,
    /// `type:2, signal:1, end:1`: v6.3 (commit ffb1b4a41016).
    TypeSignalEnd,
    /// `type:3, signal:1`, with types for undefined and for the end: v6.4 (commit fb799447ae29)
    /// and later.
    Type3Signal,
}

impl OrcLayout {
    /// All layouts, oldest first.
    pub const ALL: [Self; 3] = [Self::TypeEnd, Self::TypeSignalEnd, Self::Type3Signal];

    /// Decides the layout by the contents of the `.orc_unwind` sections of one kernel; give
    /// vmlinux's if it is there, modules alone have few of the telling entries.
    ///
    /// What is looked at, per entry:
    /// - bits that the layout does not use must be clear, type numbers it does not have must not
    ///   occur;
    /// - an end or undefined entry has no base register, any other has one. With 6.4's numbers 0
    ///   and 1 are such types, before they were calls and regs: nearly every entry tells;
    /// - old `end` and 6.3's `signal` are the same bit, yet `end` goes without a base register and
    ///   `signal` never does;
    ///
    /// and over all entries: among those with a base register calls are the majority (6.4's number
    /// for calls meant partial regs before).
    ///
    /// Where two layouts fit equally (tables of calls alone), they decode the same and the older
    /// one is given.
    ///
    /// # Errors
    /// [`OrcError::UnknownLayout`] if more than 2 % of the entries contradict the best layout.
    pub fn probe(sections: &[&[u8]]) -> Result<Self, OrcError> {
        let mut counts = [[0usize; 16]; 256];
        for section in sections {
            for &[_, _, _, _, regs, bits] in section.as_chunks::<ENTRY>().0 {
                if let Some(n) = counts
                    .get_mut(usize::from(bits))
                    .and_then(|c| c.get_mut(usize::from(regs & 15)))
                {
                    *n += 1;
                }
            }
        }
        let rows: usize = counts.iter().flatten().sum();
        let (best, impossible) = Self::ALL
            .map(|layout| (layout, layout.contradictions(&counts)))
            .into_iter()
            .min_by_key(|&(_, n)| n)
            .unwrap_or((Self::TypeEnd, 0));
        if impossible.saturating_mul(IMPOSSIBLE_PER_ROWS) > rows {
            return Err(OrcError::UnknownLayout {
                best,
                impossible,
                rows,
            });
        }
        Ok(best)
    }

    /// Entries that cannot be in this layout, given how often each last byte comes with each
    /// base register.
    fn contradictions(self, counts: &[[usize; 16]; 256]) -> usize {
        let (mut impossible, mut calls, mut others) = (0usize, 0usize, 0usize);
        for (bits, by_reg) in (0u8..=255).zip(counts) {
            for (reg, &n) in (0u8..16).zip(by_reg) {
                match self.kind(bits, reg) {
                    None => impossible = impossible.saturating_add(n),
                    Some((OrcKind::Call, _)) => calls = calls.saturating_add(n),
                    Some((OrcKind::Regs | OrcKind::RegsPartial, _)) => {
                        others = others.saturating_add(n)
                    }
                    Some(_) => {}
                }
            }
        }
        if others > calls {
            impossible.saturating_add(others)
        } else {
            impossible
        }
    }

    /// Kind and signal flag, or `None` if no kernel writes such an entry in this layout.
    fn kind(self, bits: u8, reg: u8) -> Option<(OrcKind, bool)> {
        let based = reg != 0;
        let of_old_type = |kind| match kind {
            0 => Some(OrcKind::Call),
            1 => Some(OrcKind::Regs),
            2 => Some(OrcKind::RegsPartial),
            _ => None,
        };
        match self {
            Self::TypeEnd => {
                let (kind, end, unused) = (of_old_type(bits & 3)?, bits & 4 != 0, bits >> 3);
                let signal = kind != OrcKind::Call;
                let kind = ended(kind, end, based)?;
                (unused == 0).then_some((kind, signal))
            }
            Self::TypeSignalEnd => {
                let (kind, signal, end, unused) = (
                    of_old_type(bits & 3)?,
                    bits & 4 != 0,
                    bits & 8 != 0,
                    bits >> 4,
                );
                let kind = ended(kind, end, based)?;
                (unused == 0 && (based || !signal)).then_some((kind, signal))
            }
            Self::Type3Signal => {
                let (kind, signal, unused) = (bits & 7, bits & 8 != 0, bits >> 4);
                let kind = match kind {
                    0 if !based => OrcKind::Undefined,
                    1 if !based => OrcKind::End,
                    2 if based => OrcKind::Call,
                    3 if based => OrcKind::Regs,
                    4 if based => OrcKind::RegsPartial,
                    _ => return None,
                };
                (unused == 0).then_some((kind, signal))
            }
        }
    }

    /// The rule in an entry. An entry that no kernel writes comes out as undefined.
    pub(super) fn rule(self, entry: [u8; ENTRY]) -> OrcRule {
        let [s0, s1, b0, b1, regs, bits] = entry;
        self.possible_rule(
            i16::from_le_bytes([s0, s1]),
            i16::from_le_bytes([b0, b1]),
            regs,
            bits,
        )
        .unwrap_or(UNDEFINED)
    }

    fn possible_rule(self, sp_offset: i16, bp_offset: i16, regs: u8, bits: u8) -> Option<OrcRule> {
        let (kind, signal) = self.kind(bits, regs & 15)?;
        if matches!(kind, OrcKind::Undefined | OrcKind::End) {
            return Some(OrcRule { kind, ..UNDEFINED });
        }
        let cfa = match regs & 15 {
            1 => CfaBase::PrevSp,
            2 => CfaBase::Dx,
            3 => CfaBase::Di,
            4 => CfaBase::Bp,
            5 => CfaBase::Sp,
            6 => CfaBase::R10,
            7 => CfaBase::R13,
            8 => CfaBase::BpIndirect,
            9 if kind == OrcKind::Regs => CfaBase::SpOffsetIndirect,
            9 => CfaBase::SpIndirect,
            _ => return None,
        };
        let bp = match regs >> 4 {
            0 => BpRule::Unchanged,
            1 => BpRule::AtCfa(bp_offset),
            4 => BpRule::AtBp(bp_offset),
            _ => return None,
        };
        Some(OrcRule {
            cfa,
            sp_offset,
            bp,
            kind,
            signal,
        })
    }
}

const UNDEFINED: OrcRule = OrcRule {
    cfa: CfaBase::Undefined,
    sp_offset: 0,
    bp: BpRule::Unchanged,
    kind: OrcKind::Undefined,
    signal: false,
};

/// Kind of an entry of the layouts with an `end` bit: without a base register it says that
/// unwinding ends, well or not.
fn ended(kind: OrcKind, end: bool, based: bool) -> Option<OrcKind> {
    match (based, end) {
        (true, false) => Some(kind),
        (false, true) => Some(OrcKind::End),
        (false, false) => Some(OrcKind::Undefined),
        (true, true) => None,
    }
}
