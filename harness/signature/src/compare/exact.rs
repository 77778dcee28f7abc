//! Whether a comparison found the very value of the golden, which is more than the same crash: a rule explains why
//! another kernel is hit by other bytes of the same descriptor, and the value differs all the same.
use super::{Comparison, Difference, Gap, Verdict};

const VALUE: &str = "corruption.observed";

/// How the corrupted value compares with the golden's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness<'a> {
    /// The same crash, with the same bytes.
    Exact,
    /// Another value, whether or not a rule explains it.
    OtherValue(&'a Difference),
    /// One of the two does not know it.
    UnknownValue(&'a Gap),
    /// Not the same crash, so its value says nothing.
    OtherCrash,
}

impl Comparison {
    /// How the corrupted value compares; [`Exactness::Exact`] is stricter than [`Verdict::SameCrash`].
    #[must_use]
    pub fn exactness(&self) -> Exactness<'_> {
        if self.verdict != Verdict::SameCrash {
            return Exactness::OtherCrash;
        }
        let mut differences = self
            .explained
            .iter()
            .chain(&self.unexplained)
            .chain(&self.context);
        let mut gaps = self.unknown.iter().chain(&self.uncovered);
        if let Some(difference) = differences.find(|row| row.field == VALUE) {
            return Exactness::OtherValue(difference);
        }
        match gaps.find(|gap| gap.field == VALUE) {
            Some(gap) => Exactness::UnknownValue(gap),
            None => Exactness::Exact,
        }
    }
}
