//! Whether a target could be run now, in one line. Changes nothing; what exactly is there, [`super::doctor`] tells.
use super::{SetupError, provide};
use crate::target::Target;
use serde::Serialize;

/// How a target is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "state",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Status {
    /// A run can begin.
    Ready {
        /// `uname -r`.
        kernel_release: String,
    },
    /// `recrash setup` would provide it.
    NotSetUp {
        /// What is missing.
        why: String,
    },
    /// The target's file says that it cannot be used.
    LeftOut {
        /// Why.
        why: String,
    },
}

/// The status of one target.
#[must_use]
pub fn of(target: &Target) -> Status {
    match provide::load(target) {
        Ok(provisioned) => Status::Ready {
            kernel_release: provisioned.kernel_release,
        },
        Err(SetupError::LeftOut { why, .. }) => Status::LeftOut { why },
        Err(SetupError::NotSetUp { missing, .. }) => Status::NotSetUp {
            why: format!("{missing} missing"),
        },
        Err(SetupError::Stale { what, .. }) => Status::NotSetUp {
            why: format!("set up once, but {what} since"),
        },
        Err(error) => Status::NotSetUp {
            why: error.to_string(),
        },
    }
}
