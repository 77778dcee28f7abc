//! Kernels that a person has added: from packages, from a built tree, from the host. Each lies whole in a folder
//! of its own and is used as the targets in `qemu/targets` are. Nothing in them is run but the build tools that
//! kernel headers bring.
mod build;
mod check;
mod compiler;
mod find;
mod make;
mod provide;
mod record;
mod rpm;
mod source;
mod store;

pub use make::{AddRequest, add};
pub(super) use provide::{checks, ensure, load};
pub use record::{Compiler, FileNote, Headers, Limit, Origin, Record};
pub use source::Source;
pub use store::{Added, Store};

use super::SetupError;

/// The error of a kernel that cannot be used, with what to do about it.
fn refuse(what: impl Into<String>, hint: impl Into<String>) -> SetupError {
    SetupError::Added {
        what: what.into(),
        hint: hint.into(),
    }
}
