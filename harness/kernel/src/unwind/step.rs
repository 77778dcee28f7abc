//! One step outwards: an ORC rule applied to a frame (arch/x86/kernel/unwind_orc.c, `unwind_next_frame()`).
use super::state::{Known, R10, R13, RBP, RDI, RDX, State};
use super::walk::Stacks;
use super::{CodeAddr, End, FrameSource};
use crate::regs::{PT_REGS_SIZE, PtRegs};
use recrash_debuginfo::orc::{BpRule, CfaBase, OrcKind, OrcRule};
use recrash_vmcore::VirtAddr;

/// What the CPU pushes: rip, cs, rflags, rsp, ss.
const IRET_FRAME: u64 = 5 * 8;

/// A call through a null pointer has pushed its return address and run nothing (`null_orc_entry`).
const NULL_CALL: OrcRule = OrcRule {
    cfa: CfaBase::Sp,
    sp_offset: 8,
    bp: BpRule::Unchanged,
    kind: OrcKind::Call,
    signal: false,
};

/// Where a step leads.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub(super) enum Step {
    /// The next frame, how it was found, and the registers on the stack that it is of.
    To(State, FrameSource, Option<(VirtAddr, PtRegs)>),
    /// User mode, with the registers and where they lie, where they are whole.
    User(Option<(VirtAddr, PtRegs)>),
}

/// The frame outside of `state`.
///
/// # Errors
/// Why there is none.
pub(super) fn step(stacks: &mut Stacks<'_, '_>, state: &State) -> Result<Step, End> {
    let pc = state.pc.lookup();
    let no_rule = || match stacks.kernel().is_text(pc) {
        true => End::NoRule(state.pc.raw()),
        false => End::NotText(state.pc.raw()),
    };
    let rule = match state.pc {
        CodeAddr::Interrupted(VirtAddr(0)) => NULL_CALL,
        _ => stacks.kernel().orc(pc.0).ok_or_else(no_rule)?,
    };
    match rule.kind {
        OrcKind::End => return Err(End::Outermost),
        OrcKind::Undefined => return Err(End::NoRule(state.pc.raw())),
        OrcKind::Call | OrcKind::Regs | OrcKind::RegsPartial => {}
    }
    let cfa = cfa(stacks, &rule, state)?;
    match rule.kind {
        OrcKind::Regs => after_regs(stacks, cfa),
        OrcKind::RegsPartial => after_iret(stacks, &rule, state, cfa),
        _ => after_call(stacks, &rule, state, cfa),
    }
}

/// The canonical frame address: the stack pointer before the call, or where saved registers lie.
fn cfa(stacks: &mut Stacks<'_, '_>, rule: &OrcRule, state: &State) -> Result<u64, End> {
    let offset = i64::from(rule.sp_offset).cast_unsigned();
    let known = |(index, name): (usize, &'static str)| {
        state.known.get(index).ok_or(End::UnknownRegister(name))
    };
    let bp = || known((RBP, "rbp"));
    Ok(match rule.cfa {
        CfaBase::Sp => state.sp.wrapping_add(offset),
        CfaBase::Bp => bp()?.wrapping_add(offset),
        CfaBase::SpIndirect => stacks.word(state.sp)?.wrapping_add(offset),
        CfaBase::SpOffsetIndirect => stacks.word(state.sp.wrapping_add(offset))?,
        CfaBase::BpIndirect => stacks.word(bp()?.wrapping_add(offset))?,
        CfaBase::R10 => known(R10)?.wrapping_add(offset),
        CfaBase::R13 => known(R13)?.wrapping_add(offset),
        CfaBase::Di => known(RDI)?.wrapping_add(offset),
        CfaBase::Dx => known(RDX)?.wrapping_add(offset),
        CfaBase::PrevSp | CfaBase::Undefined => return Err(End::NoRule(state.pc.raw())),
    })
}

fn after_call(
    stacks: &mut Stacks<'_, '_>,
    rule: &OrcRule,
    state: &State,
    cfa: u64,
) -> Result<Step, End> {
    let slot = cfa.wrapping_sub(8);
    let found = stacks.word(slot)?;
    let return_address = super::trampoline::resolve(stacks.kernel(), VirtAddr(found), slot)?;
    let bp = caller_bp(stacks, rule, state, cfa)?;
    let next = State {
        pc: CodeAddr::Return(return_address),
        sp: cfa,
        known: Known::only_bp(bp),
    };
    Ok(Step::To(next, FrameSource::Orc, None))
}

fn caller_bp(
    stacks: &mut Stacks<'_, '_>,
    rule: &OrcRule,
    state: &State,
    cfa: u64,
) -> Result<Option<u64>, End> {
    let at = |base: u64, offset: i16| base.wrapping_add(i64::from(offset).cast_unsigned());
    match rule.bp {
        BpRule::Unchanged => Ok(state.bp()),
        BpRule::AtCfa(offset) => stacks.word(at(cfa, offset)).map(Some),
        BpRule::AtBp(offset) => match state.bp() {
            Some(bp) => stacks.word(at(bp, offset)).map(Some),
            None => Ok(None),
        },
    }
}

/// The frame below is entry code; a whole pt_regs lies at the CFA.
fn after_regs(stacks: &mut Stacks<'_, '_>, cfa: u64) -> Result<Step, End> {
    let mut bytes = [0; PT_REGS_SIZE as usize];
    stacks.read(cfa, &mut bytes, "pt_regs")?;
    let regs = PtRegs::from_bytes(&bytes);
    if regs.is_user() {
        return Ok(Step::User(Some((VirtAddr(cfa), regs))));
    }
    let next = State::interrupted(&regs);
    Ok(Step::To(
        next,
        FrameSource::ExceptionRegs,
        Some((VirtAddr(cfa), regs)),
    ))
}

/// Only what the CPU pushed lies at the CFA. The other registers are still those of the interrupted context, as far
/// as they are known here (`prev_regs` in the kernel's unwinder).
fn after_iret(
    stacks: &mut Stacks<'_, '_>,
    rule: &OrcRule,
    state: &State,
    cfa: u64,
) -> Result<Step, End> {
    let mut bytes = [0; IRET_FRAME as usize];
    stacks.read(cfa, &mut bytes, "interrupt frame")?;
    let mut words = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut next_word = || words.next().unwrap_or(0);
    let (rip, cs, _flags, rsp) = (next_word(), next_word(), next_word(), next_word());
    if cs & 3 == 3 {
        return Ok(Step::User(None));
    }
    let mut known = state.known;
    known.set(RBP, caller_bp(stacks, rule, state, cfa)?);
    let next = State {
        pc: CodeAddr::Interrupted(VirtAddr(rip)),
        sp: rsp,
        known,
    };
    Ok(Step::To(next, FrameSource::ExceptionRegs, None))
}
