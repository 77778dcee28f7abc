//! What was imported, for people: every statement with the lines that it rests on, what agrees, what contradicts, what
//! was dropped and lost.
use recrash_kernel::regs::PT_REGS_NAMES;
use recrash_transcript::account::{Account, Basis, Known, Told};
use recrash_transcript::evidence::Evidence;
use std::fmt::Write as _;

use super::Imported;
use crate::output::{BAD, DIM, GOOD, printable};
use crate::report::text::heading;

/// Bases that are shown of one statement; registers have one for each word of the stack.
const MAX_BASIS: usize = 6;

/// The whole table.
pub(crate) fn text(imported: &Imported) -> String {
    let mut out = String::new();
    let account = &imported.account;
    statements(&mut out, account);
    checks(&mut out, account);
    list(
        &mut out,
        "Frames that the evidence refutes",
        account.dropped.iter().map(|dropped| {
            (
                dropped.function.clone(),
                dropped.why.clone(),
                dropped.basis.as_slice(),
            )
        }),
    );
    list(
        &mut out,
        "Left over in registers",
        account.hints.iter().map(|hint| {
            let module = hint.module.as_deref().map(|module| format!(" [{module}]"));
            let what = format!("{}{}", hint.function, module.unwrap_or_default());
            (
                hint.register.clone(),
                format!("an address in {what}: a hint that it ran before, no more"),
                hint.basis.as_slice(),
            )
        }),
    );
    list(
        &mut out,
        "Contradictions",
        account.contradictions.iter().map(|found| {
            (
                found.what.clone(),
                format!("{}, but {}", found.one, found.other),
                found.basis.as_slice(),
            )
        }),
    );
    list(
        &mut out,
        "Lent by the other text",
        account
            .lent
            .iter()
            .map(|lent| (String::new(), lent.clone(), &[][..])),
    );
    lost(&mut out, &imported.evidence);
    out
}

fn statements(out: &mut String, account: &Account) {
    heading(out, "Statements");
    row(out, "release", &account.release, Clone::clone);
    row(out, "task", &account.task, |task| {
        let parts = [
            task.comm.as_ref().map(|comm| format!("{comm:?}")),
            task.pid.map(|pid| format!("pid {pid}")),
            task.cpu.map(|cpu| format!("CPU {cpu}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    row(out, "exception", &account.exception, |found| {
        let name = found.mnemonic.as_deref().unwrap_or("vector not known");
        format!("{name}, by {}", found.by)
    });
    row(out, "registers", &account.registers, |found| {
        let named = PT_REGS_NAMES.iter().zip(found.slots);
        let known = named.filter_map(|(name, value)| Some(format!("{name} {:#x}", value?)));
        known.collect::<Vec<_>>().join(", ")
    });
    row(out, "place", &account.place, |place| match place.offset {
        Some(offset) => format!("{}+{offset:#x}", place.function),
        None => place.function.clone(),
    });
    row(out, "instruction", &account.faulting, |faulting| {
        let kind = match faulting.canonical {
            Some(true) => ", canonical",
            Some(false) => ", not canonical",
            None => "",
        };
        let address = faulting
            .address
            .map(|address| format!(", address {address:#018x}{kind}"));
        format!(
            "{}{}, segment {}",
            faulting.text,
            address.unwrap_or_default(),
            faulting.segment
        )
    });
    for origin in &account.origins {
        let name = format!("{} from", origin.register);
        line(out, &name, &format!("{:?}", origin.end), &origin.steps);
    }
    row(out, "cache", &account.cache, |cache| {
        let hardened = cache
            .hardened
            .map(|on| if on { "hardened" } else { "not hardened" });
        format!(
            "{}, objects of {} bytes, offset {}, {}",
            cache.name.as_deref().unwrap_or("name not known"),
            or_unknown(cache.object_size),
            or_unknown(cache.offset),
            hardened.unwrap_or("hardening not known")
        )
    });
    row(out, "freelist", &account.freelist, |list| {
        format!("{:#018x}", list.value)
    });
    row(out, "decoded", &account.decoded, |found| {
        match found.best() {
            Some(reading) => format!("{:?}", reading.kind),
            None => "nothing recognised".into(),
        }
    });
    match &account.allocation {
        Ok(known) => {
            row(out, "size asked", &known.value.size, |size| {
                format!("{size} bytes")
            });
            let names = known.value.flag_names.clone().unwrap_or_default();
            row(out, "flags asked", &known.value.flags, |flags| {
                format!("{flags:#x} {names}")
            });
        }
        Err(why) => absent(out, "allocation", why),
    }
    row(out, "system call", &account.syscall, |call| {
        format!(
            "{} {}",
            call.name,
            call.request.as_deref().unwrap_or_default()
        )
    });
    row(out, "frames", &account.frames, |frames| {
        let names: Vec<&str> = frames.iter().map(|frame| frame.function.as_str()).collect();
        names.join(" ← ")
    });
    row(out, "frames end", &account.frames_end, Clone::clone);
    row(out, "kaslr", &account.kaslr, |moved| {
        if *moved {
            "moved".into()
        } else {
            "not moved".into()
        }
    });
}

fn or_unknown(value: Option<u64>) -> String {
    value.map_or_else(|| "?".into(), |value| value.to_string())
}

fn row<T>(out: &mut String, name: &str, told: &Told<T>, value: impl FnOnce(&T) -> String) {
    match told {
        Ok(Known {
            value: found,
            basis,
        }) => line(out, name, &value(found), basis),
        Err(why) => absent(out, name, why),
    }
}

fn absent(out: &mut String, name: &str, why: &str) {
    let _ = writeln!(
        out,
        "  {name:<12}  {DIM}not known: {}{DIM:#}",
        printable(why)
    );
}

fn line(out: &mut String, name: &str, value: &str, basis: &[Basis]) {
    let _ = writeln!(out, "  {name:<12}  {}", printable(value));
    for basis in basis.iter().take(MAX_BASIS) {
        let _ = writeln!(
            out,
            "                {DIM}{}{DIM:#}",
            printable(&spelled(basis))
        );
    }
    if let Some(more @ 1..) = basis.len().checked_sub(MAX_BASIS) {
        let _ = writeln!(out, "                {DIM}and {more} more{DIM:#}");
    }
}

fn checks(out: &mut String, account: &Account) {
    if account.checks.is_empty() {
        return;
    }
    heading(out, "What should agree");
    for check in &account.checks {
        let (style, word) = if check.holds {
            (GOOD, "holds")
        } else {
            (BAD, "FAILS")
        };
        let _ = writeln!(
            out,
            "  {style}{word}{style:#}  {} ({:#x}, {:#x}): {}",
            printable(&check.what),
            check.left,
            check.right,
            printable(&check.meaning)
        );
    }
}

fn list<'a>(
    out: &mut String,
    name: &str,
    rows: impl Iterator<Item = (String, String, &'a [Basis])>,
) {
    for (index, (what, text, basis)) in rows.enumerate() {
        if index == 0 {
            heading(out, name);
        }
        line(out, &what, &text, basis);
    }
}

fn lost(out: &mut String, evidence: &Evidence) {
    if evidence.lost.is_empty() {
        return;
    }
    heading(out, "Lines that could not be read");
    for lost in &evidence.lost {
        let _ = writeln!(out, "  line {:<6}  {}", lost.line, printable(&lost.why));
    }
}

/// What a statement rests on, in one line.
pub(crate) fn spelled(basis: &Basis) -> String {
    match basis {
        Basis::Line { line, text } => format!("line {line}: {text}"),
        Basis::StackWord { at, value, line } => {
            format!("line {line}: stack word {value:016x} at {at:016x}")
        }
        Basis::Instruction { place, text, line } => format!("line {line}: {place}: {text}"),
        Basis::Rule(rule) => rule.clone(),
        Basis::Follows(from) => from.clone(),
    }
}
