//! What programs had asked of usbfs: the open files of each device, and their requests, pending and completed
//! (drivers/usb/core/devio.c).
use super::tree;
use super::urb::{self, Urb, UrbPlace};
use crate::kernel::{Kernel, missing};
use crate::object::{Missing, Object};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashSet;

/// More requests than any machine has.
const MAX_ASYNCS: usize = 65_536;

/// A request of a program (`struct async`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Async {
    /// Address of its `struct async`.
    pub at: VirtAddr,
    /// Name of the device, as in sysfs.
    pub device: String,
    /// Whether the program can have it back.
    pub state: AsyncState,
    /// Process id of who submitted it; `None` where it can't be read.
    pub pid: Option<i32>,
    /// Its user id.
    pub uid: Option<u32>,
    /// The program's own `struct usbdevfs_urb`.
    pub user_urb: VirtAddr,
    /// The program's buffer.
    pub user_buffer: VirtAddr,
    /// The kernel's request.
    pub urb: Option<Urb>,
    /// Bytes that it counts for usbfs_memory_mb.
    pub memory: u64,
    /// 0 or a negative error number, once completed.
    pub status: i32,
    /// What of it could not be read.
    pub missing: Vec<Missing>,
}

/// Where a program's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsyncState {
    /// The device has not answered.
    Pending,
    /// It has; the program has not fetched it.
    Completed,
}

/// All requests of all open usbfs files, and what could not be read.
///
/// # Errors
/// [`Missing`] when usbcore is not there or its types are not known.
pub fn asyncs(kernel: &Kernel<'_>) -> Result<(Vec<Async>, Vec<Missing>), Missing> {
    let (devices, mut gaps) = tree::objects(kernel)?;
    let mut found = Vec::new();
    for device in devices {
        if let Err(missing) = of_device(kernel, device, &mut found, &mut gaps) {
            gaps.push(missing);
        }
    }
    Ok((found, gaps))
}

fn of_device<'k>(
    kernel: &'k Kernel<'k>,
    device: Object<'k>,
    found: &mut Vec<Async>,
    gaps: &mut Vec<Missing>,
) -> Result<(), Missing> {
    let (_, name) = super::device::name(&device)?;
    let files = device.addr_of("filelist")?;
    for file in list(kernel, files, "usb_dev_state", "list", gaps) {
        for (field, state) in [
            ("async_pending", AsyncState::Pending),
            ("async_completed", AsyncState::Completed),
        ] {
            let head = file.addr_of(field)?;
            for entry in list(kernel, head, "async", "asynclist", gaps) {
                if found.len() >= MAX_ASYNCS {
                    return Err(Missing::Implausible("usbfs requests without end".into()));
                }
                match read(kernel, entry, &name, state) {
                    Ok(request) => found.push(request),
                    Err(missing) => gaps.push(missing),
                }
            }
        }
    }
    Ok(())
}

/// The entries of a list, up to the first that comes twice.
fn list<'k>(
    kernel: &'k Kernel<'k>,
    head: VirtAddr,
    of: &'k str,
    member: &str,
    gaps: &mut Vec<Missing>,
) -> Vec<Object<'k>> {
    let mut found = Vec::new();
    let inside = match kernel.field(of, member) {
        Ok(field) => field.offset,
        Err(missing) => {
            gaps.push(missing);
            return found;
        }
    };
    let mut seen = HashSet::from([head]);
    let mut at = head;
    loop {
        at = match kernel.memory().u64_at(at) {
            Ok(next) => VirtAddr(next),
            Err(error) => {
                gaps.push(missing(of)(error));
                return found;
            }
        };
        if at == head {
            return found;
        }
        if !seen.insert(at) || found.len() >= MAX_ASYNCS {
            gaps.push(Missing::Implausible(format!(
                "the list of struct {of} at {head} does not end: {at} comes twice"
            )));
            return found;
        }
        found.push(Object::new(kernel, of, VirtAddr(at.0.wrapping_sub(inside))));
    }
}

fn read(
    kernel: &Kernel<'_>,
    request: Object<'_>,
    device: &str,
    state: AsyncState,
) -> Result<Async, Missing> {
    let mut gaps = Vec::new();
    let mut keep = |found: Result<u64, Missing>| found.map_err(|missing| gaps.push(missing)).ok();
    // struct pid's numbers begin with the one of the outermost namespace.
    let pid = keep(match request.follow("pid", "pid") {
        Ok(Some(pid)) => pid.u64("numbers[0].nr"),
        Ok(None) => Err(Missing::Implausible("async.pid is NULL".into())),
        Err(missing) => Err(missing),
    });
    let uid = keep(match request.follow("cred", "cred") {
        Ok(Some(cred)) => cred.u64("uid.val"),
        Ok(None) => Err(Missing::Implausible("async.cred is NULL".into())),
        Err(missing) => Err(missing),
    });
    let urb = match request.ptr("urb") {
        Ok(at) => urb::read(kernel, at, UrbPlace::Endpoint),
        Err(missing) => Err(missing),
    };
    let urb = urb.map_err(|missing| gaps.push(missing)).ok();
    Ok(Async {
        at: request.at,
        device: device.to_owned(),
        state,
        pid: pid.and_then(|pid| i32::try_from(pid).ok()),
        uid: uid.and_then(|uid| u32::try_from(uid).ok()),
        user_urb: request.ptr("userurb")?,
        user_buffer: request.ptr("userbuffer")?,
        urb,
        memory: request.u64("mem_usage")?,
        status: request.i32("status")?,
        missing: gaps,
    })
}
