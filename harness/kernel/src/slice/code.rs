//! A function's machine code, decoded whole, with the ways that control takes through it.
//! Reads the text from the dump, as the kernel had patched it (alternatives, static calls, ftrace).
use super::around::{Around, Function};
use crate::object::Missing;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};

/// Longest function that is looked at, in bytes; the kernel's longest have about 60 KiB.
const MAX_FUNCTION: u64 = 128 << 10;
/// Out-of-line parts of one function.
const MAX_PARTS: usize = 4;

/// Functions that do not come back; what follows a call to one is another path (tools/objtool/noreturns.h).
const NO_RETURN: &[&str] = &[
    "__stack_chk_fail",
    "panic",
    "do_exit",
    "make_task_dead",
    "rewind_stack_and_make_dead",
    "__fortify_panic",
    "fortify_panic",
    "usercopy_abort",
    "__ubsan_handle_builtin_unreachable",
    "rest_init",
    "machine_real_restart",
    "kthread_exit",
    "kthread_complete_and_exit",
    "__module_put_and_kthread_exit",
    "__module_put_and_exit",
    "lbug_with_loc",
    "cpu_bringup_and_idle",
    "cpu_startup_entry",
];

/// A decoded function.
pub(super) struct Code {
    /// The symbol.
    pub(super) function: Function,
    /// Instructions by address; the out-of-line part's among them.
    pub(super) instructions: Vec<Instruction>,
    /// Number of the first instruction.
    pub(super) entry: usize,
    /// For each instruction, the numbers of those that may have run right before it.
    predecessors: Vec<Vec<usize>>,
    successors: Vec<Vec<usize>>,
    /// Jumps whose target is not known from the code.
    pub(super) unresolved: Vec<u64>,
}

impl Code {
    /// Decodes the function around `at`.
    pub(super) fn load(around: &dyn Around, at: u64) -> Result<Self, Missing> {
        let here = around.function(at).ok_or_else(|| {
            Missing::Implausible(format!("{at:#x} lies in no function that is known"))
        })?;
        let function = parent(around, &here).unwrap_or(here);
        let mut instructions = decode(around, &function)?;
        let mut parts = 0;
        for part in cold_parts(around, &function, &instructions) {
            parts += 1;
            if parts > MAX_PARTS {
                break;
            }
            instructions.extend(decode(around, &part)?);
        }
        instructions.sort_by_key(Instruction::ip);
        instructions.dedup_by_key(|instruction| instruction.ip());
        let fixups = around.fixups(function.start, function.start.saturating_add(function.size));
        Ok(Self::connect(around, function, instructions, &fixups))
    }

    fn connect(
        around: &dyn Around,
        function: Function,
        instructions: Vec<Instruction>,
        fixups: &[(u64, u64)],
    ) -> Self {
        let mut code = Self {
            entry: 0,
            predecessors: vec![Vec::new(); instructions.len()],
            successors: vec![Vec::new(); instructions.len()],
            unresolved: Vec::new(),
            instructions,
            function,
        };
        code.entry = code.find(code.function.start).unwrap_or(0);
        let mut edges = Vec::new();
        for (number, instruction) in code.instructions.iter().enumerate() {
            let (next, target) = code.ways(around, instruction);
            edges.extend(next.map(|to| (number, to)));
            edges.extend(target.map(|to| (number, to)));
            if matches!(instruction.flow_control(), FlowControl::IndirectBranch) {
                code.unresolved.push(instruction.ip());
            }
        }
        for (from, to) in fixups {
            edges.extend(code.find(*from).zip(code.find(*to)));
        }
        let live = code.reachable(&edges);
        for (from, to) in edges {
            // Code behind a disabled static branch leads to living code and never runs.
            let kept = !flag(&live, to) || flag(&live, from) || !code.unresolved.is_empty();
            if kept {
                code.link(from, to);
            }
        }
        code
    }

    fn link(&mut self, from: usize, to: usize) {
        for (lists, at, other) in [
            (&mut self.predecessors, to, from),
            (&mut self.successors, from, to),
        ] {
            if let Some(list) = lists.get_mut(at).filter(|list| !list.contains(&other)) {
                list.push(other);
            }
        }
    }

    /// Where control goes from an instruction: on, and to a target in this function.
    fn ways(
        &self,
        around: &dyn Around,
        instruction: &Instruction,
    ) -> (Option<usize>, Option<usize>) {
        let next = || self.find(instruction.next_ip());
        let target = || self.find(instruction.near_branch_target());
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall | FlowControl::XbeginXabortXend => {
                (next(), None)
            }
            FlowControl::ConditionalBranch => (next(), target()),
            FlowControl::UnconditionalBranch => (None, target()),
            FlowControl::Call => {
                let comes_back = !callee(around, instruction)
                    .is_some_and(|name| NO_RETURN.contains(&name.as_str()));
                (next().filter(|_| comes_back), None)
            }
            // A ud2 that warns goes on behind itself (WARN, include/asm-generic/bug.h); one that does not
            // (BUG) is followed by another path's code, which then has one predecessor too many.
            FlowControl::Exception if instruction.mnemonic() == Mnemonic::Ud2 => (next(), None),
            FlowControl::Exception
            | FlowControl::Interrupt
            | FlowControl::Return
            | FlowControl::IndirectBranch => (None, None),
        }
    }

    /// Which instructions can be reached from the function's entry.
    fn reachable(&self, edges: &[(usize, usize)]) -> Vec<bool> {
        let mut out = vec![Vec::new(); self.instructions.len()];
        for (from, to) in edges {
            if let Some(list) = out.get_mut(*from) {
                list.push(*to);
            }
        }
        let mut live = vec![false; self.instructions.len()];
        let mut work = vec![self.entry];
        while let Some(number) = work.pop() {
            if let Some(seen) = live.get_mut(number)
                && !std::mem::replace(seen, true)
            {
                work.extend(out.get(number).into_iter().flatten());
            }
        }
        live
    }

    /// Number of the instruction that begins at an address.
    pub(super) fn find(&self, at: u64) -> Option<usize> {
        self.instructions
            .binary_search_by_key(&at, Instruction::ip)
            .ok()
    }

    /// The instruction of this number.
    pub(super) fn get(&self, number: usize) -> Option<&Instruction> {
        self.instructions.get(number)
    }

    /// Numbers of the instructions that may run right before this one.
    pub(super) fn before(&self, number: usize) -> &[usize] {
        self.predecessors.get(number).map_or(&[], Vec::as_slice)
    }

    /// Numbers of the instructions that may run right after this one.
    pub(super) fn after(&self, number: usize) -> &[usize] {
        self.successors.get(number).map_or(&[], Vec::as_slice)
    }
}

fn flag(flags: &[bool], number: usize) -> bool {
    flags.get(number).copied().unwrap_or(false)
}

/// The function whose out-of-line part this is: gcc splits unlikely code off as `name.cold` (`.cold.N` before gcc 9).
fn parent(around: &dyn Around, part: &Function) -> Option<Function> {
    let (name, _) = part.name.split_once(".cold")?;
    let whole = around.function(around.address_of(name)?)?;
    // Local functions share names: the right one jumps here.
    let text = decode(around, &whole).ok()?;
    text.iter()
        .any(|i| in_part(part, i.near_branch_target()))
        .then_some(whole)
}

fn in_part(part: &Function, at: u64) -> bool {
    at.wrapping_sub(part.start) < part.size
}

/// The out-of-line parts that a function jumps to.
fn cold_parts(around: &dyn Around, function: &Function, text: &[Instruction]) -> Vec<Function> {
    let prefix = format!("{}.cold", function.name);
    let mut parts: Vec<Function> = Vec::new();
    for instruction in text {
        let branches = matches!(
            instruction.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
        );
        let target = instruction.near_branch_target();
        let known = in_part(function, target) || parts.iter().any(|part| in_part(part, target));
        if !branches || known {
            continue;
        }
        let part = around
            .function(target)
            .filter(|part| part.name.starts_with(&prefix));
        parts.extend(part);
    }
    parts
}

fn decode(around: &dyn Around, function: &Function) -> Result<Vec<Instruction>, Missing> {
    if function.size > MAX_FUNCTION {
        return Err(Missing::Implausible(format!(
            "{} would be {} bytes long",
            function.name, function.size
        )));
    }
    let size = usize::try_from(function.size).unwrap_or(0);
    let bytes = around.text(function.start, size)?;
    let decoder = Decoder::with_ip(64, &bytes, function.start, DecoderOptions::NONE);
    Ok(decoder
        .into_iter()
        .filter(|instruction| !instruction.is_invalid())
        .collect())
}

/// Name of the function that a direct call or jump goes to.
pub(super) fn callee(around: &dyn Around, instruction: &Instruction) -> Option<String> {
    let near = matches!(
        instruction.op0_kind(),
        OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16
    );
    let place = near
        .then(|| around.place(instruction.near_branch_target()))
        .flatten()?;
    (place.offset == 0).then_some(place.symbol)
}
