//! The system call, by the registers of user space and the frames.
use super::case::Case;
use super::{Basis, Known, Syscall, Told};
use recrash_kernel::syscall::ioctl_request;

/// Calls whose first argument is a file descriptor (arch/x86/entry/syscalls/syscall_64.tbl).
const WITH_FD: &[(u64, &str)] = &[
    (0, "read"),
    (1, "write"),
    (3, "close"),
    (5, "fstat"),
    (8, "lseek"),
    (16, "ioctl"),
    (17, "pread64"),
    (18, "pwrite64"),
    (19, "readv"),
    (20, "writev"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (72, "fcntl"),
    (74, "fsync"),
    (78, "getdents"),
    (217, "getdents64"),
    (257, "openat"),
];

pub(super) fn of(case: &Case<'_>) -> Told<Syscall> {
    let block = case.blocks.iter().find(|block| block.exception.is_none());
    let user: Vec<(String, u64, usize)> = match (block, case.details()) {
        (Some(block), _) => block.registers.clone(),
        (None, Some(details)) => details
            .user_registers
            .iter()
            .map(|at| (at.value.0.clone(), at.value.1, at.line.saturating_add(1)))
            .collect(),
        _ => Vec::new(),
    };
    let get = |name: &str| {
        user.iter()
            .find(|(known, ..)| known == name)
            .map(|(_, value, line)| (*value, *line))
    };
    let (number, line) = get("orig_rax")
        .filter(|(number, _)| *number < 1024)
        .ok_or("the text has no registers of a system call")?;
    let functions = case
        .frames
        .iter()
        .map(|frame| (frame.function.as_str(), frame.line));
    let logged = case
        .details()
        .map(|details| details.frames.as_slice())
        .unwrap_or_default();
    let logged = logged.iter().filter_map(|found| {
        Some((
            found.value.place.symbol.as_deref()?,
            found.line.saturating_add(1),
        ))
    });
    let named = functions.chain(logged).find_map(|(function, line)| {
        let name = ["__x64_sys_", "__ia32_sys_", "__se_sys_"]
            .iter()
            .find_map(|prefix| function.strip_prefix(prefix))?;
        Some((
            name.to_string(),
            Basis::Line {
                line,
                text: function.to_string(),
            },
        ))
    });
    let known = WITH_FD.iter().find(|(known, _)| *known == number);
    let mut basis = vec![Basis::Line {
        line,
        text: format!("ORIG_RAX: {number:016x}"),
    }];
    // The number is what the CPU entered with; a frame may be left over from an earlier call.
    let name = match (named, known) {
        (Some((name, line)), Some((_, known))) if name == *known => {
            basis.push(line);
            name
        }
        (_, Some((_, known))) => (*known).to_string(),
        (Some((name, line)), None) => {
            basis.push(line);
            name
        }
        _ => {
            return Err(format!(
                "system call {number} is not one whose name is known here"
            ));
        }
    };
    let fd = get("rdi").filter(|_| known.is_some());
    let request = get("rsi").filter(|_| name == "ioctl");
    for (register, (value, line)) in fd
        .map(|fd| ("RDI", fd))
        .into_iter()
        .chain(request.map(|request| ("RSI", request)))
    {
        basis.push(Basis::Line {
            line,
            text: format!("{register}: {value:016x}"),
        });
    }
    Ok(Known {
        value: Syscall {
            name,
            number,
            fd: fd.map(|fd| fd.0),
            request: request.and_then(|request| ioctl_request(request.0)),
        },
        basis,
    })
}
