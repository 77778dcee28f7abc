//! The call chain: one normalised function a frame, written as one string.

use super::Fact;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The frames group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Frames {
    /// Normalised functions, innermost first, outermost last; without the system-call entry.
    pub chain: Fact<Vec<Frame>>,
    /// The system call's name, e.g. `ioctl`.
    pub syscall: Fact<String>,
}

/// One function of a call chain; `usb_hcd_submit_urb [usbcore]` as text, `(inlined)` after it
/// where debug information shows a function that has no stack frame of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Frame {
    /// The function, suffixes stripped.
    pub function: String,
    /// The module it lies in; `None` in the kernel image. Never part of the place: the same code
    /// is built in on one kernel and a module on another.
    pub module: Option<String>,
    /// Whether the compiler inlined it into the next outer frame.
    pub inlined: bool,
}

impl Frame {
    /// A function of the kernel image.
    pub fn built_in(function: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            module: None,
            inlined: false,
        }
    }

    /// A function of a module.
    pub fn in_module(function: impl Into<String>, module: impl Into<String>) -> Self {
        Self {
            function: function.into(),
            module: Some(module.into()),
            inlined: false,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if let Some(module) = &self.module {
            write!(f, " [{module}]")?;
        }
        if self.inlined {
            f.write_str(" (inlined)")?;
        }
        Ok(())
    }
}

/// A frame that is not `function`, `function [module]` or either with ` (inlined)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a frame: expected `function [module] (inlined)`, the last two optional")]
pub struct BadFrame(pub String);

impl FromStr for Frame {
    type Err = BadFrame;

    fn from_str(text: &str) -> Result<Self, BadFrame> {
        let (rest, inlined) = match text.strip_suffix(" (inlined)") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (function, module) = match rest.split_once(" [") {
            Some((function, module)) => (function, module.strip_suffix(']')),
            None => (rest, None),
        };
        let word = |s: &str| !s.is_empty() && !s.contains([' ', '[', ']', '\n']);
        if !word(function) || !module.is_none_or(word) || (module.is_none() && rest != function) {
            return Err(BadFrame(text.to_owned()));
        }
        Ok(Self {
            function: function.to_owned(),
            module: module.map(str::to_owned),
            inlined,
        })
    }
}

impl TryFrom<String> for Frame {
    type Error = BadFrame;

    fn try_from(text: String) -> Result<Self, BadFrame> {
        text.parse()
    }
}

impl From<Frame> for String {
    fn from(frame: Frame) -> Self {
        frame.to_string()
    }
}
