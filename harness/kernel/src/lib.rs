//! Memory and debug information to facts about a Linux kernel: symbols, modules, tasks, stacks, SLUB, USB.
//! Does no I/O and never prints; what could not be found is a value ([`Missing`]) that says why.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod allocation;
pub mod corruption;
pub mod crash;
pub mod decode;
pub mod disassembly;
pub mod exception;
pub mod gfp;
pub mod instruction;
pub mod kernel;
mod layouts;
pub mod modules;
pub mod object;
pub mod open;
pub mod pointee;
pub mod printk;
pub mod regs;
pub mod slice;
pub mod slub;
pub mod source_lines;
pub mod stacks;
pub mod syscall;
pub mod task;
pub mod trap;
pub mod unwind;
pub mod usb;
pub mod value;

pub use crash::Crash;
pub use kernel::Kernel;
pub use object::{Missing, Object};
pub use open::Sources;
