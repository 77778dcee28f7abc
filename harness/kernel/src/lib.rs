//! Memory and debug information to facts about a Linux kernel: symbols, modules, tasks, stacks, SLUB, USB.
//! Does no I/O and never prints; what could not be found is a value ([`Missing`]) that says why.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod corruption;
pub mod crash;
pub mod descriptor;
pub mod exception;
pub mod instruction;
pub mod kernel;
mod layouts;
pub mod modules;
pub mod object;
pub mod open;
pub mod regs;
pub mod slub;
pub mod source_lines;
pub mod syscall;
pub mod task;
pub mod trap;
pub mod unwind;
pub mod usb;

pub use crash::Crash;
pub use kernel::Kernel;
pub use object::{Missing, Object};
pub use open::Sources;
