//! Frames of a printed backtrace that are no callers: return addresses of earlier calls that lie in the unused parts of
//! frames. crash takes them for frames where it does not know how large a frame is. Refuted by the kernel's own trace of
//! the same crash, where the text has it, or by the entry of a system call, which has the entry code alone as its caller.
use super::case::Case;
use super::frames::is_outermost;
use super::{Dropped, Frame, Syscall, Told};
use std::collections::BTreeSet;

/// What carries a system call's name, since 4.17 (arch/x86/include/asm/syscall_wrapper.h).
const WRAPPERS: &[&str] = &[
    "__x64_sys_",
    "__ia32_sys_",
    "__ia32_compat_sys_",
    "__x32_compat_sys_",
];
/// What only the entry code calls, and calls the wrappers (arch/x86/entry/common.c; 4.18 to 6.12).
const DISPATCH: &[&str] = &[
    "x64_sys_call",
    "ia32_sys_call",
    "do_syscall_x64",
    "do_syscall_64",
    "do_syscall_32_irqs_on",
    "do_int80_syscall_32",
    "do_int80_emulation",
    "__do_fast_syscall_32",
    "do_fast_syscall_32",
    "do_SYSENTER_32",
];

/// The chain without what was left over, and that; an error where it cannot be told apart.
pub(super) fn without(
    case: &Case<'_>,
    chain: Vec<Frame>,
    call: &Told<Syscall>,
) -> (Result<Vec<Frame>, String>, Vec<Dropped>) {
    let (chain, mut dropped) = by_kernels_trace(case, chain);
    let (chain, more) = by_entry(chain, call);
    dropped.extend(more);
    (chain, dropped)
}

/// The kernel unwinds by tables; what its whole trace of the same crash does not have was no caller.
fn by_kernels_trace(case: &Case<'_>, chain: Vec<Frame>) -> (Vec<Frame>, Vec<Dropped>) {
    let Some(details) = case.details().filter(|_| !case.frames.is_empty()) else {
        return (chain, Vec::new());
    };
    let reliable: Vec<&str> = details
        .frames
        .iter()
        .filter(|frame| frame.value.reliable)
        .filter_map(|frame| frame.value.place.symbol.as_deref())
        .collect();
    let at = details
        .rip
        .as_ref()
        .and_then(|rip| rip.value.symbol.as_deref());
    let same = at.is_some() && at == chain.first().map(|frame| frame.function.as_str());
    let whole = reliable.last().is_some_and(|last| is_outermost(last));
    if !same || !whole {
        return (chain, Vec::new());
    }
    let names: BTreeSet<&str> = reliable.into_iter().chain(at).collect();
    let (kept, left): (Vec<Frame>, Vec<Frame>) = chain
        .into_iter()
        .partition(|frame| names.contains(frame.function.as_str()));
    let why =
        "the kernel's own trace of the crash, which goes by its unwind tables, does not have it";
    (
        kept,
        left.into_iter().map(|frame| refuted(frame, why)).collect(),
    )
}

/// Frames outside of a system call's entry, other than the entry code.
fn by_entry(chain: Vec<Frame>, call: &Told<Syscall>) -> (Result<Vec<Frame>, String>, Vec<Dropped>) {
    let begins = chain
        .iter()
        .position(|frame| wrapped(&frame.function).is_some() || is_dispatch(&frame.function));
    let Some(begins) = begins else {
        return (Ok(chain), Vec::new());
    };
    let of_entry = entry_run(chain.get(begins..).unwrap_or_default());
    let ends = begins.saturating_add(of_entry);
    if ends >= chain.len() {
        return (Ok(chain), Vec::new());
    }
    let entry = chain.get(begins).map(|frame| frame.function.clone());
    let entry = entry.unwrap_or_default();
    let sure = call
        .as_ref()
        .is_ok_and(|call| wrapped(&entry) == Some(call.value.name.as_str()));
    if !sure {
        let why = format!(
            "the backtrace goes on outside of {entry}, which the entry of a system call alone calls: which of its \
             frames are callers is not known"
        );
        return (Err(why), Vec::new());
    }
    let why = format!(
        "it stands outside of {entry}, which the entry of a system call alone calls: left on the stack by an earlier call"
    );
    let mut kept = chain;
    let mut outer = kept.split_off(ends);
    if outer
        .last()
        .is_some_and(|last| is_outermost(&last.function))
    {
        kept.extend(outer.pop());
    }
    let dropped = outer.into_iter().map(|frame| refuted(frame, &why));
    (Ok(kept), dropped.collect())
}

/// How many frames from a system call's entry on are of the entry, each function once.
fn entry_run(frames: &[Frame]) -> usize {
    let mut seen = BTreeSet::new();
    frames
        .iter()
        .enumerate()
        .take_while(|(index, frame)| {
            let name = frame.function.as_str();
            let of_entry = *index == 0 || is_dispatch(name) || is_outermost(name);
            of_entry && seen.insert(name)
        })
        .count()
}

fn wrapped(function: &str) -> Option<&str> {
    WRAPPERS
        .iter()
        .find_map(|prefix| function.strip_prefix(prefix))
}

fn is_dispatch(function: &str) -> bool {
    DISPATCH.contains(&function)
}

fn refuted(frame: Frame, why: &str) -> Dropped {
    Dropped {
        function: frame.function,
        why: why.to_owned(),
        basis: vec![frame.basis],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, Known};
    use super::*;

    fn chain(functions: &str) -> Vec<Frame> {
        functions
            .split(' ')
            .map(|function| Frame {
                function: function.into(),
                module: None,
                inlined: false,
                basis: Basis::Rule(String::new()),
            })
            .collect()
    }

    /// The functions that are left of a chain within the call of this name.
    fn check(functions: &str, name: Option<&str>, expected: Option<&str>) {
        let call = name.map(|name| Known {
            value: Syscall {
                name: name.into(),
                number: 16,
                fd: None,
                request: None,
            },
            basis: Vec::new(),
        });
        let (left, dropped) = by_entry(chain(functions), &call.ok_or(String::new()));
        let left = left.ok().map(|frames| {
            assert_eq!(
                frames.len() + dropped.len(),
                functions.split(' ').count(),
                "each frame is kept or told"
            );
            let names: Vec<_> = frames.into_iter().map(|frame| frame.function).collect();
            names.join(" ")
        });
        assert_eq!(left.as_deref(), expected, "{functions}");
    }

    #[test]
    fn a_chain_that_ends_with_its_entry_stays() {
        for whole in [
            "f ksys_ioctl __x64_sys_ioctl do_syscall_64 entry_SYSCALL_64_after_hwframe",
            "f __x64_sys_ioctl x64_sys_call do_syscall_64 entry_SYSCALL_64_after_hwframe",
            "f do_exit syscall_exit_to_user_mode do_syscall_64 entry_SYSCALL_64_after_hwframe",
            "f __x64_sys_ioctl",
            "f kthread ret_from_fork",
        ] {
            check(whole, Some("ioctl"), Some(whole));
            check(whole, None, Some(whole));
        }
    }

    #[test]
    fn what_stands_outside_of_the_entry_of_the_call_that_ran_is_left_over() {
        check(
            "f __x64_sys_ioctl do_syscall_64 _printk ksys_write do_syscall_64 entry_SYSCALL_64_after_hwframe",
            Some("ioctl"),
            Some("f __x64_sys_ioctl do_syscall_64 entry_SYSCALL_64_after_hwframe"),
        );
        check(
            "f __x64_sys_ioctl do_syscall_64 do_syscall_64",
            Some("ioctl"),
            Some("f __x64_sys_ioctl do_syscall_64"),
        );
    }

    #[test]
    fn where_another_call_or_none_is_known_nothing_is_guessed() {
        let mixed = "f __x64_sys_write do_syscall_64 g __x64_sys_ioctl do_syscall_64";
        check(mixed, Some("ioctl"), None);
        check(mixed, None, None);
        check("f do_syscall_64 g do_syscall_64", Some("ioctl"), None);
    }
}
