//! The system call that the crashed task was in, and what it asked for where that can be decoded.
use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use crate::regs::PtRegs;
use recrash_vmcore::{VirtAddr, VirtMem};

/// More system calls than any x86-64 kernel has.
const MAX_SYSCALL: u64 = 1024;

/// A system call with its decoded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    /// Number (`orig_ax`).
    pub number: u64,
    /// Name without prefix, for example `ioctl`.
    pub name: String,
    /// rdi, rsi, rdx, r10, r8, r9.
    pub arguments: [u64; 6],
    /// For an ioctl whose request number is known, its name.
    pub request: Option<String>,
}

/// Reads the system call out of the registers that user space entered the kernel with.
///
/// # Errors
/// [`Missing`] when the number is none of a system call, or `sys_call_table` does not name it.
pub fn decode(kernel: &Kernel<'_>, user: &PtRegs) -> Result<Syscall, Missing> {
    let number = user.orig_rax();
    if number >= MAX_SYSCALL {
        return Err(Missing::Implausible(format!(
            "orig_ax is {number:#x}, not a system call"
        )));
    }
    let at = kernel.symbol("sys_call_table")?.wrapping_add(number * 8);
    let entry = VirtAddr(
        kernel
            .memory()
            .u64_at(at)
            .map_err(missing("sys_call_table"))?,
    );
    let place = kernel
        .place(entry)
        .ok_or_else(|| Missing::Implausible(format!("sys_call_table[{number}] is {entry}")))?;
    let name = ["__x64_sys_", "__ia32_sys_", "__se_sys_", "sys_"]
        .iter()
        .find_map(|prefix| place.symbol.strip_prefix(prefix))
        .unwrap_or(&place.symbol)
        .to_string();
    let slot = |index: usize| user.0.get(index).copied().unwrap_or(0);
    let arguments = [slot(14), slot(13), slot(12), slot(7), slot(9), slot(8)];
    let request = (name == "ioctl").then(|| ioctl_request(slot(13))).flatten();
    Ok(Syscall {
        number,
        name,
        arguments,
        request,
    })
}

/// Names of the usbfs requests (include/uapi/linux/usbdevice_fs.h): number in the low byte, `'U'` above it.
const USBDEVFS: &[(u8, &str)] = &[
    (0, "USBDEVFS_CONTROL"),
    (2, "USBDEVFS_BULK"),
    (3, "USBDEVFS_RESETEP"),
    (4, "USBDEVFS_SETINTERFACE"),
    (5, "USBDEVFS_SETCONFIGURATION"),
    (8, "USBDEVFS_GETDRIVER"),
    (10, "USBDEVFS_SUBMITURB"),
    (11, "USBDEVFS_DISCARDURB"),
    (12, "USBDEVFS_REAPURB"),
    (13, "USBDEVFS_REAPURBNDELAY"),
    (14, "USBDEVFS_DISCSIGNAL"),
    (15, "USBDEVFS_CLAIMINTERFACE"),
    (16, "USBDEVFS_RELEASEINTERFACE"),
    (17, "USBDEVFS_CONNECTINFO"),
    (18, "USBDEVFS_IOCTL"),
    (19, "USBDEVFS_HUB_PORTINFO"),
    (20, "USBDEVFS_RESET"),
    (21, "USBDEVFS_CLEAR_HALT"),
    (22, "USBDEVFS_DISCONNECT"),
    (23, "USBDEVFS_CONNECT"),
    (26, "USBDEVFS_GET_CAPABILITIES"),
    (27, "USBDEVFS_DISCONNECT_CLAIM"),
    (28, "USBDEVFS_ALLOC_STREAMS"),
    (29, "USBDEVFS_FREE_STREAMS"),
    (30, "USBDEVFS_DROP_PRIVILEGES"),
    (31, "USBDEVFS_GET_SPEED"),
];

/// The name of an ioctl request: type in bits 8 to 15, number in bits 0 to 7 (asm-generic/ioctl.h).
#[must_use]
pub fn ioctl_request(request: u64) -> Option<String> {
    let [number, kind, ..] = request.to_le_bytes();
    let known = USBDEVFS
        .iter()
        .find(|(known, _)| kind == b'U' && *known == number)?;
    Some(known.1.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_dumps_request_is_submiturb() {
        assert_eq!(
            ioctl_request(0x8038_550a).as_deref(),
            Some("USBDEVFS_SUBMITURB")
        );
    }

    #[test]
    fn another_type_of_ioctl_is_not_guessed() {
        assert_eq!(ioctl_request(0x8038_540a), None);
    }
}
