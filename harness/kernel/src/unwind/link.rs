//! Whether a return address can be of a call to a given function: what the instruction before it says.
//! Return addresses that were left on the stack by calls long over are told apart by that.
use super::branches::{self, Branch, BranchKind};
use crate::kernel::Kernel;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Longest indirect call: prefix, opcode, ModRM, SIB, 32 bits of displacement.
const MAX_CALL: usize = 8;
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

/// The function that the call before `ret` goes to; `None` for a call through a pointer, or where there is none.
pub(super) fn target_of(kernel: &Kernel<'_>, ret: VirtAddr) -> Option<VirtAddr> {
    match call_before(kernel, ret)? {
        Call::To(target) if !is_thunk(kernel, target) => Some(target),
        Call::To(_) | Call::Indirect => None,
    }
}

/// The addresses behind those calls in a function that can have been of `callee`: direct ones, and those through a
/// pointer.
pub(super) fn returns_in(
    kernel: &Kernel<'_>,
    function: VirtAddr,
    callee: VirtAddr,
) -> Vec<VirtAddr> {
    let can_be = |call: &&Branch| match call.kind {
        BranchKind::IndirectCall => true,
        BranchKind::Call => is_thunk(kernel, call.target) || reaches(kernel, call.target, callee),
        BranchKind::Jump => false,
    };
    let branches = branches::of_function(kernel, function);
    branches
        .iter()
        .filter(can_be)
        .map(|call| call.next)
        .collect()
}

/// Whether the call that returns to `ret` can have been of `callee` (a function's start; `None` if not known).
pub(super) fn link(kernel: &Kernel<'_>, callee: Option<VirtAddr>, ret: VirtAddr) -> Link {
    let Some(call) = call_before(kernel, ret) else {
        return Link::Broken;
    };
    let Call::To(target) = call else {
        return Link::Open;
    };
    match callee {
        _ if is_thunk(kernel, target) => Link::Open,
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

fn is_thunk(kernel: &Kernel<'_>, target: VirtAddr) -> bool {
    let place = kernel.place(target);
    place.is_some_and(|place| THUNKS.iter().any(|thunk| place.symbol.starts_with(thunk)))
}

/// Whether a function has a jump to another one's start: a tail call, whose caller leaves no return address.
fn jumps_to(kernel: &Kernel<'_>, function: VirtAddr, to: VirtAddr) -> bool {
    branches::of_function(kernel, function)
        .iter()
        .any(|found| found.kind == BranchKind::Jump && found.target == to)
}
