//! The protocol between host and guest: what the init is told ([`plan`]), what it tells back
//! ([`event`]), and how the end of a vmcore is marked ([`trailer`]). No I/O; the host links only this.
pub mod event;
pub mod plan;
pub mod trailer;

/// Name of the virtio-serial port on which the guest writes [`event::GuestEvent`]s, one JSON object a line.
pub const EVENTS_PORT: &str = "org.recrash.events";
/// Name of the virtio-serial port on which the capture boot writes the vmcore and its [`trailer::Trailer`].
pub const VMCORE_PORT: &str = "org.recrash.vmcore";
/// The line on the events port by which the host lets a guest go on that holds before its scenario.
pub const GO_LINE: &str = "go";
/// Where the plan lies in either initramfs.
pub const PLAN_PATH: &str = "/recrash/plan.json";
/// Begin of the lines that repro-module writes to the kernel log; a JSON object follows.
pub const MODULE_LINE: &str = "recrash-module: ";
