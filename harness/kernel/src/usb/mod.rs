//! USB as the kernel knew it when it died: devices, the requests in flight, and what programs had asked of usbfs.
//! Says nothing about what they mean for a crash.
mod device;
mod holders;
mod setup;
mod tree;
mod urb;
mod usbfs;

pub use device::{StringKind, UsbDevice};
pub use holders::{HeldUrb, urbs_on};
pub use setup::SetupPacket;
pub use tree::devices;
pub use urb::{Pipe, Transfer, Urb, UrbPlace, urbs};
pub use usbfs::{Async, AsyncState, asyncs};
