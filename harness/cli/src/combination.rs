//! What makes a run of a matrix different from the others: the values of its axes, by name. Judges nothing.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The values of one combination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) target: String,
    pub(crate) controller: String,
    pub(crate) speed: String,
    pub(crate) fault: String,
    pub(crate) capture: String,
    pub(crate) device: String,
    pub(crate) scenario: String,
}

impl fmt::Display for Key {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} {}, {}, {}",
            self.target, self.controller, self.speed, self.fault, self.capture
        )
    }
}

impl Key {
    /// The name by which a hash deals it out to a part: all of it.
    pub(crate) fn full(&self) -> String {
        format!("{self}, {}, {}", self.device, self.scenario)
    }
}
