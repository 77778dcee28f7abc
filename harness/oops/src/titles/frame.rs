//! Functions as call traces name them: frames of a stack, compiler suffixes, system call wrappers, Rust names.
use super::rule;

/// The function of a line of a call trace; `None` where the line is none, or the address merely lies on the stack.
pub(crate) fn frame(text: &str) -> Option<&str> {
    let found = rule::regex(r"^[ \t]*(?:<pc> ){0,2}<fn>")?.captures(text)?;
    // ARM names callee and caller in one line.
    found.get(1).map(|name| name.as_str())
}

/// `[<8010d4bc>] (dump_backtrace) from [<8010d7b8>] (show_stack+0x18/0x1c)`: both, as ARM prints them.
pub(crate) fn arm_frames(text: &str) -> Option<(&str, &str)> {
    let found = rule::regex(r"^ *<pc> \(([a-zA-Z0-9_.]+)\) from <pc> \(<fn>")?.captures(text)?;
    Some((found.get(1)?.as_str(), found.get(2)?.as_str()))
}

/// The address lies on the stack, and that is all that is known (`? foo+0x1/0x2`).
pub(crate) fn is_unreliable(text: &str) -> bool {
    let text = text.trim_start();
    if text.ends_with("(unreliable)") {
        // as powerpc says it
        return true;
    }
    (text.starts_with("? ") || text.contains("] ? ") || text.contains("> ? "))
        && !text.contains("<EOI>")
}

/// A line after which another stack begins.
pub(crate) fn is_stack_start(text: &str) -> bool {
    rule::regex(STACK_STARTS).is_some_and(|regex| regex.is_match(text))
}

/// `Call Trace:`, KASAN's and KMSAN's histories, kmemleak's backtrace; not lockdep's `stack backtrace:`, which has a
/// call trace of its own, and last the line that RISC-V prints above an unmarked stack.
const STACK_STARTS: &str = r"Call [Tt]race|(?:Allocated|Freed)(?: by task [0-9]+)?:|^\s*backtrace(?: \(crc [0-9a-f]*\))?:|Backtrace:|Uninit was stored to memory at|status: [0-9a-f]{16} badaddr: [0-9a-f]{16} cause: [0-9a-f]{16}";

/// The name without what the compiler or the entry code put around it, and a Rust name as it was written.
pub(crate) fn plain(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return format!("{rust:#}");
    }
    WRAPPERS
        .iter()
        .fold(symbol, |name, prefix| {
            name.strip_prefix(prefix).unwrap_or(name)
        })
        .to_owned()
}

/// What stands before a system call's name, outermost first (arch/x86/include/asm/syscall_wrapper.h and
/// include/linux/syscalls.h, before and after Linux v4.17). Each is taken off once, in this order.
const WRAPPERS: [&str; 15] = [
    // before v4.17
    "SYSC_",
    "SyS_",
    "sys_",
    // by machine
    "__x64_",
    "__ia32_",
    "__arm64_",
    // helpers that the entry calls
    "____sys_",
    "___sys_",
    "__sys_",
    "__se_",
    "__se_sys_",
    "__do_sys_",
    // 32-bit callers, and calls from within
    "compat_SYSC_",
    "compat_SyS_",
    "ksys_",
];

/// A Rust name as it was written; others as they are.
pub(crate) fn plain_rust(symbol: &str) -> std::borrow::Cow<'_, str> {
    match rustc_demangle::try_demangle(symbol) {
        Ok(rust) => format!("{rust:#}").into(),
        Err(_) => symbol.into(),
    }
}
