//! A number of steps that a question may take, so that hostile input ends in an error and not in a hang.

use super::DwarfError;

/// A unit of a kernel has up to a million entries and as many line rows.
const STEPS: u64 = 40_000_000;

/// What is left.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new() -> Self {
        Self(STEPS)
    }

    /// One step.
    pub(super) fn step(&mut self) -> Result<(), DwarfError> {
        self.0 = self.0.checked_sub(1).ok_or(DwarfError::TooMuch)?;
        Ok(())
    }
}
