//! The kernel's fill patterns (include/linux/poison.h and where else it says), and error numbers as pointers.
use super::{Found, Kind};

/// Values of eight bytes; POISON_POINTER_DELTA is 0xdead000000000000 on x86-64 (CONFIG_ILLEGAL_POINTER_VALUE).
const WORDS: [(u64, &str); 13] = [
    (0xdead_0000_0000_0100, "LIST_POISON1"),
    (0xdead_0000_0000_0122, "LIST_POISON2"),
    // Until 5.19 (commit 8a3e8ee56417).
    (0xdead_0000_0000_0200, "LIST_POISON2"),
    (0xdead_0000_0000_0300, "TIMER_ENTRY_STATIC"),
    (0xdead_0000_0000_eb9f, "BPF_PTR_POISON"),
    (0xdead_0000_0000_0400, "MUTEX_POISON_WW_CTX"),
    (0xdead_0000_0000_0480, "STACK_DEPOT_POISON"),
    (0xdead_0000_0000_0042, "dma_resv fence poison"),
    (0x09f9_1102_9d74_e35b, "RED_INACTIVE"),
    (0xd841_56c5_6356_88c0, "RED_ACTIVE"),
    (0x0000_0000_57ac_6e9d, "STACK_END_MAGIC"),
    (0xdead_beef_dead_beef, "0xdeadbeef"),
    (0x0000_0000_dead_4ead, "SPINLOCK_MAGIC"),
];

/// Bytes that fill what they mark.
const FILLS: [(u8, &str); 12] = [
    (0x6b, "POISON_FREE"),
    (0x5a, "POISON_INUSE"),
    (0xa5, "POISON_END"),
    (0xbb, "SLUB_RED_INACTIVE"),
    (0xcc, "SLUB_RED_ACTIVE"),
    (0xaa, "PAGE_POISON"),
    (0xa7, "POOL_POISON_FREED"),
    (0xa9, "POOL_POISON_ALLOCATED"),
    (0xbd, "KEY_DESTROY"),
    (0x5b, "JBD_POISON_FREE"),
    (0x11, "MUTEX_DEBUG_INIT"),
    (0x22, "MUTEX_DEBUG_FREE"),
];

/// A counter in freed memory is decremented or incremented a few times before someone notices.
const MAX_DRIFT: i64 = 16;

/// What pattern the bytes can be.
pub(super) fn readings(bytes: &[u8]) -> Option<Found> {
    let word = <[u8; 8]>::try_from(bytes).ok().map(u64::from_le_bytes);
    word.and_then(exact)
        .or_else(|| fill(bytes))
        .or_else(|| word.and_then(drifted))
        .or_else(|| word.and_then(error_pointer))
}

fn found(name: &'static str, drift: i32, bits: u32, length: usize) -> Found {
    Found {
        kind: Kind::Poison { name, drift },
        bits,
        explained: 0..length,
    }
}

fn exact(word: u64) -> Option<Found> {
    let (_, name) = WORDS.iter().find(|(value, _)| *value == word)?;
    Some(found(name, 0, 60, 8))
}

/// One byte over and over, four times at least; the last of an object's poison is POISON_END.
fn fill(bytes: &[u8]) -> Option<Found> {
    let (last, body) = bytes.split_last()?;
    let (first, _) = body.split_first()?;
    let (value, name) = FILLS.iter().find(|(value, _)| value == first)?;
    let same = body.iter().all(|byte| byte == value);
    let ends = last == value || (*value == 0x6b && *last == 0xa5);
    let bits = u32::try_from(bytes.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(6);
    (same && ends && bytes.len() >= 4).then(|| found(name, 0, bits.saturating_sub(4), bytes.len()))
}

/// POISON_FREE with its lower or upper half counted up or down.
fn drifted(word: u64) -> Option<Found> {
    const FREE: u64 = 0x6b6b_6b6b_6b6b_6b6b;
    let whole = word.wrapping_sub(FREE).cast_signed();
    let upper = (word >> 32).wrapping_sub(FREE >> 32).cast_signed();
    let lower_is_free = word & 0xffff_ffff == FREE & 0xffff_ffff;
    let drift = if whole.abs() <= MAX_DRIFT {
        whole
    } else if lower_is_free && upper.abs() <= MAX_DRIFT {
        upper
    } else {
        return None;
    };
    Some(found("POISON_FREE", i32::try_from(drift).ok()?, 50, 8))
}

/// IS_ERR_VALUE(): the last 4095 values (include/linux/err.h). All ones are many things.
fn error_pointer(word: u64) -> Option<Found> {
    let number = u16::try_from(word.wrapping_neg()).ok()?;
    (2..=4095).contains(&number).then(|| Found {
        kind: Kind::ErrorPointer {
            number,
            name: errno(number),
        },
        bits: 40,
        explained: 0..8,
    })
}

/// Names of the errors that the kernel's own functions return (include/uapi/asm-generic/errno*.h,
/// include/linux/errno.h).
const ERRORS: &[(u16, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (15, "ENOTBLK"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (29, "ESPIPE"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (32, "EPIPE"),
    (33, "EDOM"),
    (34, "ERANGE"),
    (35, "EDEADLK"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (39, "ENOTEMPTY"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (62, "ETIME"),
    (71, "EPROTO"),
    (74, "EBADMSG"),
    (75, "EOVERFLOW"),
    (84, "EILSEQ"),
    (90, "EMSGSIZE"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (107, "ENOTCONN"),
    (108, "ESHUTDOWN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (115, "EINPROGRESS"),
    (117, "EUCLEAN"),
    (121, "EREMOTEIO"),
    (125, "ECANCELED"),
    (512, "ERESTARTSYS"),
    (513, "ERESTARTNOINTR"),
    (514, "ERESTARTNOHAND"),
    (515, "ENOIOCTLCMD"),
    (516, "ERESTART_RESTARTBLOCK"),
    (517, "EPROBE_DEFER"),
    (524, "ENOTSUPP"),
];

/// The name of an error number.
#[must_use]
pub fn errno(number: u16) -> Option<&'static str> {
    ERRORS
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}
