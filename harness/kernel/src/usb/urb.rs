//! Requests to USB devices (`struct urb`) that the kernel had not finished: those queued at an endpoint, and those
//! that a host controller gave back and whose completion had not run.
use super::setup::SetupPacket;
use super::tree;
use crate::kernel::{Kernel, Place, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// More requests than any machine has in flight.
const MAX_URBS: usize = 65_536;
/// Endpoint numbers (USB 2.0, 5.3.1.2).
const ENDPOINTS: u64 = 16;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urb {
    /// Address of its `struct urb`.
    pub at: VirtAddr,
    /// Name of the device, as in sysfs.
    pub device: String,
    /// Where it waits.
    pub place: UrbPlace,
    /// What kind of transfer to which endpoint.
    pub pipe: Pipe,
    /// 0 or a negative error number; -115 (EINPROGRESS) in flight.
    pub status: i32,
    /// The error with which it was unlinked; 0 if it was not.
    pub unlinked: i32,
    /// How often submitting it is forbidden (`usb_kill_urb()`, `usb_poison_urb()`).
    pub reject: Option<i32>,
    /// URB_* (include/linux/usb.h).
    pub flags: u32,
    /// Buffer in memory; 0 with scatter lists and DMA-only buffers.
    pub buffer: VirtAddr,
    /// The buffer's address for the controller.
    pub dma: u64,
    /// Bytes that the buffer has.
    pub length: u32,
    /// Bytes transferred so far.
    pub actual_length: u32,
    /// Entries of the scatter list.
    pub scatter: u32,
    /// Packets of an isochronous request.
    pub packets: u32,
    /// What a control transfer asks.
    pub setup: Option<SetupPacket>,
    /// The function to be called at the end.
    pub complete: VirtAddr,
    /// Its name.
    pub complete_name: Option<Place>,
    /// What that function is given.
    pub context: VirtAddr,
    /// The anchor (`struct usb_anchor`) that it hangs on; 0 without.
    pub anchor: VirtAddr,
    /// What of it could not be read.
    pub missing: Vec<Missing>,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UrbPlace {
    /// At its endpoint: the controller may still write into its buffer.
    Endpoint,
    /// The controller is done with it; its completion has not run.
    GivenBack,
    /// On no list: it has ended, or was never submitted.
    Idle,
}

/// Kind of transfer, endpoint and direction (`usb_pipe*()`, include/linux/usb.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pipe(pub u32);

/// Kind of a transfer (PIPE_ISOCHRONOUS and so on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// At fixed times, without repeats.
    Isochronous,
    /// Polled.
    Interrupt,
    /// With a SETUP packet.
    Control,
    /// When there is room.
    Bulk,
}

impl Pipe {
    /// Kind of transfer.
    #[must_use]
    pub fn transfer(self) -> Transfer {
        match self.0 >> 30 {
            0 => Transfer::Isochronous,
            1 => Transfer::Interrupt,
            2 => Transfer::Control,
            _ => Transfer::Bulk,
        }
    }

    /// Whether data go to the machine.
    #[must_use]
    pub fn is_in(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Number of the endpoint.
    #[must_use]
    pub fn endpoint(self) -> u8 {
        (self.0 >> 15 & 0xf) as u8
    }

    /// The device's address on its bus.
    #[must_use]
    pub fn device(self) -> u8 {
        (self.0 >> 8 & 0x7f) as u8
    }
}

impl std::fmt::Display for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.transfer() {
            Transfer::Isochronous => "isochronous",
            Transfer::Interrupt => "interrupt",
            Transfer::Control => "control",
            Transfer::Bulk => "bulk",
        };
        let direction = if self.is_in() { "in" } else { "out" };
        write!(f, "{kind} {direction}, endpoint {}", self.endpoint())
    }
}

/// All unfinished requests of all devices, and what could not be read.
///
/// # Errors
/// [`Missing`] when usbcore is not there or its types are not known.
pub fn urbs(kernel: &Kernel<'_>) -> Result<(Vec<Urb>, Vec<Missing>), Missing> {
    let (devices, gaps) = tree::objects(kernel)?;
    let mut walk = Walk {
        kernel,
        found: Vec::new(),
        seen: HashSet::new(),
        gaps,
    };
    for device in devices {
        if let Err(missing) = walk.device(device) {
            walk.gaps.push(missing);
        }
    }
    for bus in tree::buses(kernel)? {
        if let Err(missing) = walk.given_back(bus) {
            walk.gaps.push(missing);
        }
    }
    Ok((walk.found, walk.gaps))
}

struct Walk<'k> {
    kernel: &'k Kernel<'k>,
    found: Vec<Urb>,
    seen: HashSet<VirtAddr>,
    gaps: Vec<Missing>,
}

impl<'k> Walk<'k> {
    /// Endpoint 0 lies in the device, the others hang on two tables by number.
    fn device(&mut self, device: Object<'k>) -> Result<(), Missing> {
        let mut endpoints = vec![device.addr_of("ep0")?];
        for table in ["ep_in", "ep_out"] {
            let table = device.addr_of(table)?;
            for number in 0..ENDPOINTS {
                let at = self.kernel.memory().u64_at(table.wrapping_add(number * 8));
                endpoints.push(VirtAddr(at.map_err(missing("usb_device.ep_in"))?));
            }
        }
        // Number 0 of both tables is ep0 again.
        let mut seen = HashSet::new();
        endpoints.retain(|at| at.0 != 0 && seen.insert(*at));
        for endpoint in endpoints {
            let head =
                Object::new(self.kernel, "usb_host_endpoint", endpoint).addr_of("urb_list")?;
            self.list(head, UrbPlace::Endpoint);
        }
        Ok(())
    }

    /// `struct usb_hcd` begins with the bus; its two tasklets give requests back (drivers/usb/core/hcd.c).
    fn given_back(&mut self, bus: VirtAddr) -> Result<(), Missing> {
        let inside = self.kernel.field("usb_hcd", "self")?.offset;
        let hcd = Object::new(self.kernel, "usb_hcd", VirtAddr(bus.0.wrapping_sub(inside)));
        for queue in ["high_prio_bh", "low_prio_bh"] {
            if !hcd.has(queue) {
                continue;
            }
            let head = hcd.addr_of(&format!("{queue}.head"))?;
            // A controller that gives back in its interrupt leaves the lists zero.
            let first = self.kernel.memory().u64_at(head);
            if first.map_err(missing("usb_hcd's list of requests"))? != 0 {
                self.list(head, UrbPlace::GivenBack);
            }
        }
        Ok(())
    }

    fn list(&mut self, head: VirtAddr, place: UrbPlace) {
        let inside = match self.kernel.field("urb", "urb_list") {
            Ok(field) => field.offset,
            Err(missing) => return self.gaps.push(missing),
        };
        let mut at = head;
        loop {
            at = match self.kernel.memory().u64_at(at) {
                Ok(next) => VirtAddr(next),
                Err(error) => return self.gaps.push(missing("a list of URBs")(error)),
            };
            if at == head {
                return;
            }
            if !self.seen.insert(at) || self.found.len() >= MAX_URBS {
                return self.gaps.push(Missing::Implausible(format!(
                    "the list of URBs at {head} does not end: {at} comes twice"
                )));
            }
            match read(self.kernel, VirtAddr(at.0.wrapping_sub(inside)), place) {
                Ok(urb) => self.found.push(urb),
                Err(missing) => self.gaps.push(missing),
            }
        }
    }
}

/// The request at `at`.
pub(super) fn read(kernel: &Kernel<'_>, at: VirtAddr, place: UrbPlace) -> Result<Urb, Missing> {
    let urb = Object::new(kernel, "urb", at);
    let mut gaps = Vec::new();
    let word = |field: &str| {
        urb.u64(field)
            .map(|value| u32::try_from(value).unwrap_or(u32::MAX))
    };
    let pipe = Pipe(word("pipe")?);
    let device = match urb.follow("dev", "usb_device") {
        Ok(Some(device)) => super::device::name(&device).map(|(_, name)| name),
        Ok(None) => Ok("none".into()),
        Err(missing) => Err(missing),
    };
    let device = device.unwrap_or_else(|missing| {
        gaps.push(missing);
        "?".into()
    });
    let setup = setup(kernel, &urb, pipe).unwrap_or_else(|missing| {
        gaps.push(missing);
        None
    });
    let complete = urb.ptr("complete")?;
    Ok(Urb {
        at,
        device,
        place,
        pipe,
        status: urb.i32("status")?,
        unlinked: urb.i32("unlinked")?,
        reject: urb.i32("reject").map_err(|missing| gaps.push(missing)).ok(),
        flags: word("transfer_flags")?,
        buffer: urb.ptr("transfer_buffer")?,
        dma: urb.u64("transfer_dma")?,
        length: word("transfer_buffer_length")?,
        actual_length: word("actual_length")?,
        scatter: word("num_sgs")?,
        packets: word("number_of_packets")?,
        setup,
        complete,
        complete_name: kernel.place(complete),
        context: urb.ptr("context")?,
        anchor: urb.ptr("anchor")?,
        missing: gaps,
    })
}

fn setup(
    kernel: &Kernel<'_>,
    urb: &Object<'_>,
    pipe: Pipe,
) -> Result<Option<SetupPacket>, Missing> {
    let at = urb.ptr("setup_packet")?;
    if pipe.transfer() != Transfer::Control || at.0 == 0 {
        return Ok(None);
    }
    let word = kernel
        .memory()
        .u64_at(at)
        .map_err(missing("urb.setup_packet"))?;
    Ok(Some(SetupPacket::new(word.to_le_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_says_its_parts() {
        // usb_rcvctrlpipe(device 2, endpoint 0).
        let pipe = Pipe(2 << 30 | 2 << 8 | 0x80);
        assert_eq!((pipe.transfer(), pipe.is_in()), (Transfer::Control, true));
        assert_eq!((pipe.device(), pipe.endpoint()), (2, 0));
        assert_eq!(Pipe(3 << 30 | 5 << 15).to_string(), "bulk out, endpoint 5");
    }
}
