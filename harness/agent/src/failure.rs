//! The one error of the init: what it was doing, and why that failed.
use std::fmt;

/// Goes to the host as [`recrash_agent::event::GuestEvent::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {error}")]
pub(crate) struct Failure {
    /// What the init was doing, for example `loading /m/virtio.ko`.
    pub(crate) doing: String,
    /// Why it failed.
    pub(crate) error: String,
}

impl Failure {
    pub(crate) fn new(doing: impl Into<String>, error: impl fmt::Display) -> Self {
        Self {
            doing: doing.into(),
            error: error.to_string(),
        }
    }
}

/// Says what was being done when an error came up.
pub(crate) trait Doing<T> {
    /// Turns the error into a [`Failure`].
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(doing(), error))
    }
}
