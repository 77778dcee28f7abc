//! The system calls that have no safe binding. All unsafe code of the agent is here.
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::{CStr, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `KEXEC_FILE_ON_CRASH` (include/uapi/linux/kexec.h).
const KEXEC_FILE_ON_CRASH: libc::c_ulong = 2;
/// `USBDEVFS_SUBMITURB`, `_IOR('U', 10, struct usbdevfs_urb)` on 64-bit (include/uapi/linux/usbdevice_fs.h).
const USBDEVFS_SUBMITURB: libc::c_ulong = 0x8038_550a;
/// `USBDEVFS_DISCARDURB`, `_IO('U', 11)`.
const USBDEVFS_DISCARDURB: libc::c_ulong = 0x550b;
/// `USBDEVFS_REAPURB`, `_IOW('U', 12, void *)`.
const USBDEVFS_REAPURB: libc::c_ulong = 0x4008_550c;
/// `USBDEVFS_URB_TYPE_CONTROL`.
const URB_TYPE_CONTROL: u8 = 2;

/// Loads the kernel that runs after a crash.
pub(crate) fn kexec_load_on_crash(
    kernel: &File,
    initramfs: &File,
    cmdline: &CStr,
) -> io::Result<()> {
    let cmdline = cmdline.to_bytes_with_nul();
    // SAFETY: both descriptors are open, and the length is the command line's, with its NUL, as the
    // call wants it. The kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            cmdline.len(),
            cmdline.as_ptr(),
            KEXEC_FILE_ON_CRASH,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `struct usbdevfs_urb` without isochronous packets, 56 bytes on 64-bit.
#[repr(C)]
struct UsbdevfsUrb {
    kind: u8,
    endpoint: u8,
    status: i32,
    flags: u32,
    buffer: *mut c_void,
    buffer_length: i32,
    actual_length: i32,
    start_frame: i32,
    stream_id: u32,
    error_count: i32,
    signr: u32,
    usercontext: *mut c_void,
}

const _: () = assert!(size_of::<UsbdevfsUrb>() == 0x38);

/// What came back with a URB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UrbResult {
    /// 0 or a negative errno.
    pub(crate) status: i32,
    /// Bytes of the data stage.
    pub(crate) actual_length: u32,
}

/// Submits a control URB on endpoint 0, waits for it and reaps it. `buffer` holds the 8 bytes of the
/// setup packet and room for the data stage. Allocates nothing in user space.
///
/// # Errors
/// The ioctl's errno; [`io::ErrorKind::TimedOut`] after `timeout`, when the URB was cancelled.
pub(crate) fn control_urb(
    device: BorrowedFd<'_>,
    buffer: &mut [u8],
    timeout: Timespec,
) -> io::Result<UrbResult> {
    let mut urb = UsbdevfsUrb {
        kind: URB_TYPE_CONTROL,
        endpoint: 0,
        status: 0,
        flags: 0,
        buffer: buffer.as_mut_ptr().cast(),
        buffer_length: i32::try_from(buffer.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        actual_length: 0,
        start_frame: 0,
        stream_id: 0,
        error_count: 0,
        signr: 0,
        usercontext: std::ptr::null_mut(),
    };
    let at: *mut UsbdevfsUrb = &raw mut urb;
    // SAFETY: the URB and its buffer are valid and stay so until they are reaped below. usbfs copies
    // the request in SUBMITURB and writes the answer only inside REAPURB (proc_do_submiturb() and
    // processcompl() in drivers/usb/core/devio.c), never at another time.
    if unsafe { libc::ioctl(device.as_raw_fd(), USBDEVFS_SUBMITURB, at) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // usbfs says "writable" when a URB can be reaped.
    let mut ready = [PollFd::from_borrowed_fd(device, PollFlags::OUT)];
    let in_time = poll(&mut ready, Some(&timeout)).is_ok_and(|n| n == 1);
    if !in_time {
        // SAFETY: the address names the URB submitted above; usbfs compares it and reads nothing there.
        // If it has completed meanwhile, this fails and the reaping below does not wait.
        unsafe { libc::ioctl(device.as_raw_fd(), USBDEVFS_DISCARDURB, at) };
    }
    let mut reaped: *mut c_void = std::ptr::null_mut();
    // SAFETY: a URB is completed or being cancelled, so this returns; it writes to the URB and its
    // buffer, both still borrowed mutably here, and one pointer to `reaped`.
    if unsafe { libc::ioctl(device.as_raw_fd(), USBDEVFS_REAPURB, &raw mut reaped) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if !in_time {
        return Err(io::ErrorKind::TimedOut.into());
    }
    // SAFETY: `at` points to the local above; read through it since the kernel wrote through it.
    let urb = unsafe { at.read() };
    Ok(UrbResult {
        status: urb.status,
        actual_length: u32::try_from(urb.actual_length).unwrap_or(0),
    })
}
