//! The instructions of a text in the order of their addresses: of `dis` and `x/i`, decoded from code bytes, or lent by
//! another text. It follows no register.
use crate::account::Basis;
use crate::att::{self, Instruction, bytes};
use crate::evidence::Evidence;
use recrash_oops::Details;

/// Instructions looked at.
const MAX_LINES: usize = 1 << 16;
/// Longest x86 instruction in bytes.
const MAX_INSTRUCTION: u64 = 15;
/// Lines of text between two instructions that follow each other: `dis -l` puts a source line between.
const MAX_BETWEEN: usize = 2;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) address: Option<u64>,
    pub(crate) place: Option<(String, u64)>,
    /// AT&T.
    pub(crate) text: String,
    /// Intel, of code bytes.
    pub(crate) intel: Option<String>,
    pub(crate) line: usize,
    /// Length, where known.
    pub(crate) length: Option<u64>,
    pub(crate) parsed: Option<Instruction>,
    /// Lent by another text.
    pub(crate) lent: bool,
}

impl Line {
    pub(crate) fn is_of(&self, function: &str) -> bool {
        self.place
            .as_ref()
            .is_some_and(|(name, _)| name == function)
    }

    pub(crate) fn basis(&self) -> Basis {
        let place = match (&self.place, self.address) {
            (Some((function, offset)), _) => format!("{function}+{offset}"),
            (None, Some(address)) => format!("{address:#x}"),
            (None, None) => "?".into(),
        };
        let lent = if self.lent { crate::account::LENT } else { "" };
        Basis::Instruction {
            place: format!("{place}{lent}"),
            text: self.text.clone(),
            line: self.line,
        }
    }

    fn order(&self) -> (Option<&str>, u64) {
        match &self.place {
            Some((function, offset)) => (Some(function), *offset),
            None => (None, self.address.unwrap_or(0)),
        }
    }
}

/// All instructions: by function and offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code {
    pub(crate) lines: Vec<Line>,
}

impl Code {
    pub(crate) fn of(evidence: &Evidence, oops: Option<&Details>) -> Self {
        let listed = evidence
            .instructions
            .iter()
            .take(MAX_LINES)
            .map(|found| Line {
                address: found.address,
                place: found.place.clone(),
                text: found.text.clone(),
                intel: None,
                line: found.line,
                length: None,
                parsed: att::parse(&found.text),
                lent: false,
            });
        let mut lines: Vec<Line> = listed.collect();
        lines.extend(oops.map(decoded).unwrap_or_default());
        let mut code = Self { lines };
        code.order();
        code
    }

    /// Adds another text's instructions, moved by the difference between the two kernels.
    pub(crate) fn lend(&mut self, other: &Self, shift: u64) {
        let lent = other.lines.iter().map(|line| Line {
            address: line.address.map(|at| at.wrapping_add(shift)),
            lent: true,
            ..line.clone()
        });
        self.lines.extend(lent);
        self.order();
    }

    /// The text's own instruction comes before the same one lent.
    fn order(&mut self) {
        self.lines
            .sort_by(|a, b| (a.order(), a.lent, a.line).cmp(&(b.order(), b.lent, b.line)));
        self.lines
            .dedup_by(|a, b| a.place.is_some() && a.place == b.place);
    }

    pub(crate) fn at(&self, address: u64) -> Option<&Line> {
        self.lines.iter().find(|line| line.address == Some(address))
    }

    /// The index of the instruction at a place or an address.
    pub(crate) fn index(
        &self,
        function: &str,
        offset: Option<u64>,
        address: Option<u64>,
    ) -> Option<usize> {
        self.lines.iter().position(|line| {
            let by_place = offset.is_some_and(|offset| {
                line.place
                    .as_ref()
                    .is_some_and(|place| place.0 == function && place.1 == offset)
            });
            by_place || address.is_some() && line.address == address
        })
    }

    /// Bytes from a function's start, by any of its instructions.
    pub(crate) fn offset(&self, function: &str, address: u64) -> Option<u64> {
        /// Longer than any function of the kernel's.
        const MAX_FUNCTION: u64 = 1 << 20;
        let line = self
            .lines
            .iter()
            .find(|line| line.is_of(function) && line.address.is_some())?;
        let (_, offset) = line.place.as_ref()?;
        let start = line.address?.wrapping_sub(*offset);
        Some(address.wrapping_sub(start)).filter(|offset| *offset < MAX_FUNCTION)
    }

    /// Whether nothing is left out between two lines, the earlier first.
    pub(crate) fn follows(&self, earlier: usize, later: usize) -> bool {
        let (Some(one), Some(other)) = (self.lines.get(earlier), self.lines.get(later)) else {
            return earlier.saturating_add(1) == later;
        };
        let distance = match (&one.place, &other.place) {
            (Some((_, one)), Some((_, other))) => other.saturating_sub(*one),
            _ => return false,
        };
        match one.length {
            Some(length) => length == distance,
            None => {
                distance <= MAX_INSTRUCTION
                    && one.lent == other.lent
                    && other.line.abs_diff(one.line) <= MAX_BETWEEN
            }
        }
    }
}

/// The code bytes of an oops, placed by its RIP line.
fn decoded(details: &Details) -> Vec<Line> {
    let (Some(code), Some(rip)) = (&details.code, &details.rip) else {
        return Vec::new();
    };
    let Some(marked) = code.value.rip else {
        return Vec::new();
    };
    let register = details
        .registers
        .iter()
        .find(|found| found.value.0 == "rip")
        .map(|found| found.value.1);
    let address = rip.value.address.or(register);
    let place = rip.value.symbol.clone().zip(rip.value.offset);
    bytes::decode(&code.value.bytes, marked, address.unwrap_or(0))
        .into_iter()
        .filter_map(|found| {
            let place = match &place {
                Some((function, offset)) => {
                    Some((function.clone(), offset.checked_add_signed(found.from_rip)?))
                }
                None => None,
            };
            Some(Line {
                address: address.map(|at| at.wrapping_add_signed(found.from_rip)),
                place,
                parsed: att::parse(&found.att),
                text: found.att,
                intel: Some(found.intel),
                line: code.line.saturating_add(1),
                length: u64::try_from(found.length).ok(),
                lent: false,
            })
        })
        .collect()
}
