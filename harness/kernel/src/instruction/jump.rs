//! An instruction pointer that lies in no code: where a wild jump or call went, and from where.
use super::spelled;
use crate::kernel::Kernel;
use crate::regs::PtRegs;
use iced_x86::{Decoder, FlowControl};
use recrash_vmcore::{ReadError, VirtAddr, VirtMem};

/// Longest function that is searched for the call.
const MAX_FUNCTION: u64 = 128 << 10;

/// A jump to where there is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadJump {
    /// Where it went.
    pub target: VirtAddr,
    /// Whether that can be an address at all.
    pub canonical: bool,
    /// Whether it is mapped; `None` where the dump does not say.
    pub mapped: Option<bool>,
    /// The call that left its return address on top of the stack: where it lies, and its text.
    pub from: Option<(VirtAddr, String)>,
}

/// A wild jump, if the instruction pointer lies outside of all code.
#[must_use]
pub fn bad_jump(kernel: &Kernel<'_>, regs: &PtRegs) -> Option<BadJump> {
    let target = VirtAddr(regs.rip());
    if regs.is_user() || kernel.is_text(target) {
        return None;
    }
    // Code that was written at run time (BPF, trampolines) is no symbol's but has an instruction there.
    let mapped = match kernel.memory().translate(target) {
        Ok(_) => Some(true),
        Err(ReadError::NotPresent { .. }) => Some(false),
        Err(_) => None,
    };
    let canonical = target.is_canonical(kernel.memory().levels());
    Some(BadJump {
        target,
        canonical,
        mapped: mapped.filter(|_| canonical),
        from: caller(kernel, regs),
    })
}

fn caller(kernel: &Kernel<'_>, regs: &PtRegs) -> Option<(VirtAddr, String)> {
    let back = VirtAddr(kernel.memory().u64_at(VirtAddr(regs.rsp())).ok()?);
    let (start, _) = kernel.function_range(back.offset(-1))?;
    let size = back
        .checked_since(start)
        .filter(|size| *size <= MAX_FUNCTION)?;
    let bytes = kernel
        .memory()
        .bytes(start, usize::try_from(size).ok()?)
        .ok()?;
    let call = Decoder::with_ip(64, &bytes, start.0, 0)
        .into_iter()
        .find(|instruction| {
            instruction.next_ip() == back.0
                && matches!(
                    instruction.flow_control(),
                    FlowControl::Call | FlowControl::IndirectCall
                )
        })?;
    Some((VirtAddr(call.ip()), spelled(&call)))
}
