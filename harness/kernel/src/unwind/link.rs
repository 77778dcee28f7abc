//! Whether a return address can be of a call to a given function: what the instruction before it says.
//! Return addresses that were left on the stack by calls long over are told apart by that.
use crate::kernel::Kernel;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Longest indirect call: prefix, opcode, ModRM, SIB, 32 bits of displacement.
const MAX_CALL: usize = 8;
/// Functions larger than this are not searched for jumps.
const MAX_FUNCTION: u64 = 64 << 10;
/// With call depth tracking a call goes to the padding before the function (arch/x86/kernel/callthunks.c, since 6.2).
const MAX_PADDING: u64 = 32;
/// What a call through a pointer is compiled to with retpolines, and what a static call goes through.
const THUNKS: [&str; 3] = ["__x86_indirect_", "__SCT__", "bpf_dispatcher_"];

/// What a return address says of the call that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The call goes to the function, or to one that jumps to it.
    Direct,
    /// The call goes through a pointer, or the function is not known.
    Open,
    /// There is no call before the address, or it goes to another function.
    Broken,
}

/// The start of the function that a code address lies in; for a part that was split off as cold, that of the whole.
pub(super) fn function_of(kernel: &Kernel<'_>, at: VirtAddr) -> Option<VirtAddr> {
    let place = kernel.place(at)?;
    if let Some((whole, _)) = place.symbol.split_once(".cold")
        && let Ok(start) = kernel.symbol(whole)
    {
        return Some(start);
    }
    Some(VirtAddr(at.0.wrapping_sub(place.offset)))
}

/// Whether the call that returns to `ret` can have been of `callee` (a function's start; `None` if not known).
pub(super) fn link(kernel: &Kernel<'_>, callee: Option<VirtAddr>, ret: VirtAddr) -> Link {
    let Some(call) = call_before(kernel, ret) else {
        return Link::Broken;
    };
    let Call::To(target) = call else {
        return Link::Open;
    };
    let is_thunk = kernel
        .place(target)
        .is_some_and(|place| THUNKS.iter().any(|thunk| place.symbol.starts_with(thunk)));
    match callee {
        _ if is_thunk => Link::Open,
        Some(callee) if reaches(kernel, target, callee) => Link::Direct,
        Some(_) => Link::Broken,
        None => Link::Open,
    }
}

fn reaches(kernel: &Kernel<'_>, target: VirtAddr, callee: VirtAddr) -> bool {
    callee.0.wrapping_sub(target.0) <= MAX_PADDING || jumps_to(kernel, target, callee)
}

enum Call {
    To(VirtAddr),
    Indirect,
}

/// The call instruction that ends at `ret`. A direct one is taken first: the bytes of another may look like an
/// indirect one's end.
fn call_before(kernel: &Kernel<'_>, ret: VirtAddr) -> Option<Call> {
    let mut bytes = [0; MAX_CALL];
    let start = VirtAddr(ret.0.checked_sub(MAX_CALL as u64)?);
    kernel.memory().read(start, &mut bytes).ok()?;
    let decode = |length: usize| {
        let tail = bytes.get(MAX_CALL.checked_sub(length)?..)?;
        let at = ret.0.wrapping_sub(length as u64);
        let instruction = Decoder::with_ip(64, tail, at, DecoderOptions::NONE).decode();
        (instruction.len() == length).then_some(instruction)
    };
    let is_direct =
        |found: &Instruction| found.flow_control() == FlowControl::Call && found.is_call_near();
    if let Some(direct) = decode(5).filter(is_direct) {
        return Some(Call::To(VirtAddr(direct.near_branch_target())));
    }
    (2..=MAX_CALL)
        .filter_map(decode)
        .any(|found| found.flow_control() == FlowControl::IndirectCall)
        .then_some(Call::Indirect)
}

/// Whether a function has a jump to another one's start: a tail call, whose caller leaves no return address.
fn jumps_to(kernel: &Kernel<'_>, function: VirtAddr, to: VirtAddr) -> bool {
    let Some((start, size)) = kernel.function_range(function) else {
        return false;
    };
    let length = usize::try_from(size.min(MAX_FUNCTION)).unwrap_or(0);
    let Ok(bytes) = kernel.memory().bytes(start, length) else {
        return false;
    };
    Decoder::with_ip(64, &bytes, start.0, DecoderOptions::NONE)
        .iter()
        .any(|found| {
            (found.is_jmp_short_or_near() || found.is_jcc_short_or_near())
                && found.near_branch_target() == to.0
        })
}
