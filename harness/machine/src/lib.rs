//! Runs a guest: set-up of what it needs, target, QEMU, the USB device, capture. Knows no signature.
pub mod agent_binary;
pub mod capture;
pub mod config;
pub mod initramfs;
pub mod kmod;
pub mod makedumpfile;
pub mod qemu;
pub mod run;
pub mod scenario;
pub mod setup;
pub mod target;
pub mod usbredir;
