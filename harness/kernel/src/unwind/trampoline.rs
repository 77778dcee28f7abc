//! Probes put a trampoline in place of a return address and keep the address elsewhere: the function graph tracer in
//! `task->ret_stack`, kretprobes in `task->rethooks` (since 5.18) or `task->kretprobe_instances` (since 5.11).
use super::End;
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use crate::stacks;
use crate::task;
use recrash_vmcore::{VirtAddr, VirtMem};

/// Trampolines, oldest names last.
const RETURN_TO_HANDLER: &str = "return_to_handler";
const KRETPROBE: [&str; 3] = [
    "arch_rethook_trampoline",
    "__kretprobe_trampoline",
    "kretprobe_trampoline",
];
/// A task's shadow stack: a page since 6.11 (SHADOW_STACK_SIZE), before 50 entries of up to 64 bytes.
const SHADOW_STACK: usize = 4096;
/// More probes than a call chain holds.
const MAX_PROBES: usize = 512;

/// The address that a call returns to: what was found at `slot`, or what a trampoline there replaced.
///
/// # Errors
/// [`End::Trampoline`] when it is a trampoline and the address was not found.
pub(super) fn resolve(kernel: &Kernel<'_>, found: VirtAddr, slot: u64) -> Result<VirtAddr, End> {
    let is = |name: &str| kernel.own_symbol(name) == Ok(found);
    if is(RETURN_TO_HANDLER) {
        return graph_tracer(kernel, slot).ok_or(End::Trampoline(RETURN_TO_HANDLER));
    }
    match KRETPROBE.iter().find(|name| is(name)) {
        Some(name) => kretprobe(kernel, found, slot).ok_or(End::Trampoline(name)),
        None => Ok(found),
    }
}

fn owner<'k>(kernel: &'k Kernel<'k>, slot: u64) -> Option<Object<'k>> {
    let stack = stacks::locate(kernel, VirtAddr(slot))?;
    let at = match (stack.task, stack.cpu) {
        (Some(task), _) => task.at,
        (None, Some(cpu)) => task::current(kernel, cpu).ok()?.at,
        (None, None) => return None,
    };
    Some(Object::new(kernel, "task_struct", at))
}

/// The entry whose `retp` is the slot; entries are of one size, on a stack whose layout changed in 6.11.
fn graph_tracer(kernel: &Kernel<'_>, slot: u64) -> Option<VirtAddr> {
    let entry = |field: &str| kernel.own_types().offset_of("ftrace_ret_stack", field);
    let (ret, retp) = (entry("ret")?, entry("retp")?);
    let at = owner(kernel, slot)?.ptr("ret_stack").ok()?;
    let bytes = kernel.memory().bytes(at, SHADOW_STACK).ok()?;
    let (words, _) = bytes.as_chunks::<8>();
    let index = words
        .iter()
        .position(|word| u64::from_le_bytes(*word) == slot)?;
    let retp_at = at.wrapping_add(u64::try_from(index).ok()?.wrapping_mul(8));
    let ret_at = VirtAddr(retp_at.0.wrapping_sub(retp).wrapping_add(ret));
    kernel.memory().u64_at(ret_at).ok().map(VirtAddr)
}

/// The node whose frame is the slot, or the first behind it whose address is not the trampoline itself: nested probes
/// of one function share the slot.
fn kretprobe(kernel: &Kernel<'_>, trampoline: VirtAddr, slot: u64) -> Option<VirtAddr> {
    let task = owner(kernel, slot)?;
    let (list, of, link, frame) = match task.has("rethooks.first") {
        true => ("rethooks.first", "rethook_node", "llist", "frame"),
        false => (
            "kretprobe_instances.first",
            "kretprobe_instance",
            "llist",
            "fp",
        ),
    };
    let link = kernel.own_types().offset_of(of, link)?;
    let mut node = task.ptr(list).ok()?;
    let mut met = false;
    for _ in 0..MAX_PROBES {
        if node.0 == 0 {
            return None;
        }
        let entry = Object::new(kernel, of, VirtAddr(node.0.wrapping_sub(link)));
        let address = probed(&entry, frame, slot).ok()?;
        met |= address.1;
        if met && address.0 != trampoline {
            return Some(address.0);
        }
        node = VirtAddr(kernel.memory().u64_at(node).ok()?);
    }
    None
}

/// The address that an entry replaced, and whether it is of this slot (its frame is the slot or just past it).
fn probed(entry: &Object<'_>, frame: &str, slot: u64) -> Result<(VirtAddr, bool), Missing> {
    let at = entry.u64(frame)?;
    Ok((
        entry.ptr("ret_addr")?,
        at == slot || at == slot.wrapping_add(8),
    ))
}
