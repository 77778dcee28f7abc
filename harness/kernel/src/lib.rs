//! Memory and debug information to facts about a Linux kernel: symbols, modules, tasks, stacks, SLUB, USB.
//! Does no I/O and never prints; what could not be found is a value ([`Missing`]) that says why.
//!
//! A [`Kernel`] is put together once from a dump's memory and notes; everything else is a question to it. This prints
//! the freelist that a crash died of, what is left of it, and what overwrote it:
//!
//! ```no_run
//! use recrash_kernel::{Crash, Kernel, slub};
//! use recrash_vmcore::Vmcore;
//!
//! let dump = Vmcore::open("vmcore".as_ref())?;
//! let info = dump.vmcoreinfo().ok_or("no VMCOREINFO")?;
//! let kernel = Kernel::open(&dump, info, dump.prstatus())?;
//! let crash = Crash::read(&kernel);
//! match &crash.freelist {
//!     Ok(hit) => println!("{} is broken at {}", hit.cache.name, hit.cpu_slab.freelist),
//!     Err(why) => println!("the fault was not on a freelist: {why}"),
//! }
//! if let Some(found) = &crash.decoding {
//!     println!("{:02x?}: {:?}", found.overwrite.bytes, found.overwrite.reading);
//! }
//! for finding in slub::check(&kernel)?.findings {
//!     println!("{} ({}): {}", finding.cache.name, finding.holder, finding.what);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to ask where
//!
//! | question | answer |
//! |---|---|
//! | what did it die of, all at once | [`Crash::read`] |
//! | symbols, types and unwind rules from files beside the dump | [`Kernel::open_with`], [`Sources`] |
//! | where a name lies, what lies at an address | [`Kernel::symbol`], [`Kernel::place`], [`Kernel::source_frames`] |
//! | what a value is or points at | [`pointee::describe`] |
//! | a member of a structure in memory | [`Object`]; a whole one with its types: [`value`] |
//! | tasks, and which one a CPU ran | [`task::tasks`], [`task::running`] |
//! | stacks: of a task, of a CPU, from registers | [`unwind::of_task`], [`unwind::of_cpu`], [`unwind::from_regs`] |
//! | which stack an address lies on | [`stacks::locate`] |
//! | the faulting instruction, and what hardware does with it | [`instruction`] |
//! | where a register's value came from | [`slice`](mod@slice) |
//! | caches, slabs, the object at an address, broken lists | [`slub`] |
//! | USB devices, requests in flight, usbfs | [`usb`] |
//! | what some bytes can be | [`decode`] |
//! | the log | [`printk::records`] |
//! | modules | [`Kernel::modules`] |
//!
//! # Partial answers
//!
//! A dump may be filtered, cut short or damaged. Questions about one thing give `Result<_, Missing>`; questions about
//! many give what was found beside the reasons for what was not. What a kernel's version would tell, its types tell
//! better, so nothing here asks for the version where the types know.
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
