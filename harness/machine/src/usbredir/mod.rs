//! The USB device under test: our own side of QEMU's usb-redir (protocol 0.7), the side that owns the device.
//! Owns the device's description, its answers and the connection; does not start QEMU.
//!
//! QEMU is the guest side. What it needs on its command line, once the server listens on the socket:
//! `-chardev socket,id=usbredir0,path=<socket>,server=off`, a controller (`-device qemu-xhci`, `usb-ehci` or
//! `piix3-usb-uhci`), and `-device usb-redir,chardev=usbredir0,pcap=<file>`.
//!
//! From the wire inwards: [`packet`] and [`codec`] (bytes), [`session`] (who says what when), [`descriptor`] (what the
//! device answers), [`device`] (what people wrote), [`event`] (what is logged), [`server`] (the only I/O).
pub mod codec;
pub mod descriptor;
pub mod device;
pub mod event;
pub mod packet;
pub mod server;
pub mod session;

pub use device::Device;
pub use event::DeviceEvent;
pub use server::{DeviceServer, StateHandle};
pub use session::DeviceState;
