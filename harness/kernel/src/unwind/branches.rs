//! The calls and jumps of a function, decoded once: guesses ask for the same functions again and again.
use crate::kernel::Kernel;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Functions larger than this are decoded so far.
const MAX_FUNCTION: u64 = 64 << 10;

/// What was decoded, by a function's start.
pub(crate) type Decoded = Mutex<HashMap<VirtAddr, Arc<[Branch]>>>;

/// What kind of branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchKind {
    /// A call of an address.
    Call,
    /// A call through a pointer.
    IndirectCall,
    /// A jump to an address, conditional or not.
    Jump,
}

/// A call or jump.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch {
    pub(crate) kind: BranchKind,
    /// Where it goes; null for a call through a pointer.
    pub(crate) target: VirtAddr,
    /// The instruction behind it.
    pub(crate) next: VirtAddr,
}

impl Branch {
    fn new(found: &Instruction) -> Option<Self> {
        let kind = match found.flow_control() {
            FlowControl::Call if found.is_call_near() => BranchKind::Call,
            FlowControl::IndirectCall => BranchKind::IndirectCall,
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => BranchKind::Jump,
            _ => return None,
        };
        Some(Self {
            kind,
            target: VirtAddr(found.near_branch_target()),
            next: VirtAddr(found.next_ip()),
        })
    }
}

/// The branches of the function that an address lies in; none where it can't be read.
pub(super) fn of_function(kernel: &Kernel<'_>, at: VirtAddr) -> Arc<[Branch]> {
    let Some((start, size)) = kernel.function_range(at) else {
        return Arc::default();
    };
    let decoded = &kernel.stack_cache().branches;
    let lock = || decoded.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&start) {
        return known.clone();
    }
    let length = usize::try_from(size.min(MAX_FUNCTION)).unwrap_or(0);
    let bytes = kernel.memory().bytes(start, length).unwrap_or_default();
    let decoder = Decoder::with_ip(64, &bytes, start.0, DecoderOptions::NONE);
    let found: Arc<[Branch]> = decoder
        .into_iter()
        .filter_map(|instruction| Branch::new(&instruction))
        .collect();
    lock().insert(start, found.clone());
    found
}
