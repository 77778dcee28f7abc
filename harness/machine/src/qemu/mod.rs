//! QEMU as a program: its arguments, its accelerators, its process, its control socket. Knows nothing of
//! stages, faults or dumps (that is [`crate::run`]).
pub mod accel;
pub mod args;
pub mod formats;
pub mod process;
pub mod program;
pub mod qmp;

/// The program that is run.
pub const PROGRAM: &str = "qemu-system-x86_64";
