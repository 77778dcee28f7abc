//! The fault in plain words: what came, the instruction, the address it used, what hardware raises for it, and what
//! an allocator that faulted was asked for.
use super::account::Gaps;
use recrash_kernel::instruction::{self, BadJump, Faulting, MemoryOperand, Verdict};
use recrash_kernel::{Crash, Kernel};

use crate::output;
use crate::report::Fact;

/// The trap, the instruction, its address, and what hardware raises for it.
pub(super) fn fault(kernel: &Kernel<'_>, crash: &Crash, gaps: &mut Gaps<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(message) = gaps.take("panic", &crash.panic).and_then(Option::as_ref) {
        facts.push(Fact::new("panic", message).proven_by("from the kernel log"));
    }
    facts.extend(crash.calm.map(|calm| Fact::new("exception", calm.label())));
    if let Some(exception) = gaps.take("exception", &crash.exception) {
        let value = exception.trap.map_or_else(
            || "unknown vector".into(),
            |trap| format!("{} {} (vector {})", trap.mnemonic, trap.name, trap.vector),
        );
        let entry = exception
            .entry
            .as_ref()
            .map_or_else(|| "?".into(), ToString::to_string);
        let proof = format!("entry code {entry}, pt_regs at {}", exception.at);
        facts.push(Fact::new("trap", value).proven_by(proof));
        facts.extend(
            exception
                .error_code
                .map(|code| Fact::new("error code", format!("{code:#x}"))),
        );
    }
    if let Some(jump) = &crash.jump {
        facts.push(jumped(jump));
    }
    if let Some(faulting) = gaps.take("faulting instruction", &crash.faulting) {
        let bytes = output::bytes(&faulting.bytes);
        let proof = format!("at {}, bytes {bytes}", faulting.at);
        facts.push(Fact::new("instruction", &faulting.text).proven_by(proof));
        facts.extend(faulting.operand.as_ref().map(address));
        facts.push(hardware(kernel, crash, faulting));
    }
    facts.extend(requested(crash));
    facts
}

/// The address that the instruction used, and how.
fn address(operand: &MemoryOperand) -> Fact {
    let kind = if operand.canonical {
        "canonical"
    } else {
        "not canonical"
    };
    let segment = match operand.segment {
        "ss" => "stack segment".to_string(),
        "gs" => "gs, the CPU's own data".into(),
        "ds" | "es" => "data segment".into(),
        other => format!("segment {other}"),
    };
    let access = match (operand.reads, operand.writes) {
        (true, true) => "read and written",
        (false, true) => "written",
        _ => "read",
    };
    let size = match operand.size {
        0 => String::new(),
        size => format!(", {size} bytes"),
    };
    let value = format!("{} ({kind}, {segment}, {access}{size})", operand.address());
    Fact::new("address", value)
}

/// What hardware raises for the instruction, held against what came.
fn hardware(kernel: &Kernel<'_>, crash: &Crash, faulting: &Faulting) -> Fact {
    let expected = &faulting.expected;
    let Some(vector) = expected.vector else {
        return Fact::new(
            "hardware",
            format!("raises nothing for it: {}", expected.why),
        );
    };
    let name = recrash_kernel::trap::TRAPS
        .iter()
        .find(|trap| trap.vector == vector)
        .map_or_else(
            || format!("vector {vector}"),
            |trap| trap.mnemonic.to_string(),
        );
    let code = expected
        .code
        .map(|code| format!(", error code {:#x}", code.bits()));
    let fact = Fact::new(
        "hardware",
        format!(
            "raises {name}{}: {}",
            code.unwrap_or_default(),
            expected.why
        ),
    );
    let Some(came) = crash.came else { return fact };
    let levels = kernel.memory().levels();
    match instruction::judge(expected, faulting.operand.as_ref(), came, levels) {
        Verdict::Same => fact
            .proven_by("as it came; the saved rip is the instruction itself (a fault, not a trap)"),
        Verdict::Explained(why) => fact.proven_by(why),
        Verdict::Unexplained(what) => {
            fact.proven_by(format!("{what}, which this does not explain"))
        }
        Verdict::Open => fact,
    }
}

/// A jump to where there is no code.
fn jumped(jump: &BadJump) -> Fact {
    let what = match (jump.canonical, jump.mapped) {
        (false, _) => "not canonical",
        (true, Some(true)) => "mapped, but code of nothing known",
        (true, Some(false)) => "not mapped",
        (true, None) => "whether it is mapped is not known",
    };
    let fact = Fact::new("jump", format!("to {} ({what})", jump.target));
    match &jump.from {
        Some((at, text)) => fact.proven_by(format!(
            "by `{text}` at {at}, whose return address is on the stack"
        )),
        None => fact,
    }
}

/// What the allocator was asked for.
fn requested(crash: &Crash) -> Vec<Fact> {
    let Ok(allocation) = &crash.allocation else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    if let Ok(size) = &allocation.size {
        facts.push(Fact::new("requested", format!("{} bytes", size.value)).proven_by(&size.by));
    }
    if let Ok(flags) = &allocation.flags {
        let names = allocation
            .flag_names
            .as_ref()
            .map(|names| format!(" = {names}"));
        let value = format!("{:#x}{}", flags.value, names.unwrap_or_default());
        facts.push(Fact::new("gfp flags", value).proven_by(&flags.by));
    }
    facts
}
