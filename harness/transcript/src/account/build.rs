//! Puts the account together, part by part.
use super::case::{Case, of_log};
use super::registers::value;
use super::{Account, Basis, Known, Place, Registers, Task, Told};
use super::{allocation, exception, faulting, frames, hardened, kaslr, registers, slab, syscall};
use crate::evidence::Evidence;
use crate::{checks, like};

/// What follows from a text; `like` is the text of another crash of the same kernel build.
#[must_use]
pub fn of(evidence: &Evidence, like: Option<&Evidence>) -> Account {
    let mut case = Case::new(evidence);
    let (registers, mut contradictions) = registers::of(&case);
    let loan = like.map(|other| {
        like::lend(
            &mut case,
            registers.as_ref().ok().map(|known| &known.value),
            other,
        )
    });
    let loan = loan.unwrap_or_default();
    let known = registers.as_ref().ok().map(|known| &known.value);
    let place = place(&case, known);
    let (faulting, origins) = faulting::of(&case, known, &place);
    let freelist = slab::freelist(&case, known, &faulting, &origins);
    let decoded = slab::decoded(known, &faulting, &freelist);
    let cache = slab::cache(&case, known, &origins, &decoded, loan.cache.as_ref());
    let cache =
        cache.or_else(|why| hardened::cache(&case, known, &place, &faulting, &origins).ok_or(why));
    let hidden = cache
        .as_ref()
        .is_ok_and(|cache| cache.value.hardened == Some(true));
    let decoded = if hidden {
        Err("the list is hardened: its bytes are XORed with the cache's random and the object's address, which the text does not show".into())
    } else {
        decoded
    };
    let checks = checks::of(&case, known, &faulting, &freelist);
    contradictions.extend(checks::contradictions(&checks));
    let release = release(&case).or_else(|why| loan.release.clone().ok_or(why));
    let allocation = allocation::of(known, &cache, &release, &checks);
    let syscall = syscall::of(&case);
    let (chain, frames_end, left_over) = frames::of(&case, known, &place, &syscall);
    let (mut dropped, hints) = known
        .map(|known| registers::refuted(&case, known))
        .unwrap_or_default();
    dropped.extend(left_over);
    Account {
        task: task(&case),
        exception: exception::of(&case, &registers),
        kaslr: kaslr::of(&case, known),
        syscall,
        frames: chain,
        lent: loan.lent,
        release,
        registers,
        place,
        faulting,
        origins,
        checks,
        cache,
        freelist,
        decoded,
        allocation,
        frames_end,
        dropped,
        hints,
        contradictions,
    }
}

fn place(case: &Case<'_>, registers: Option<&Registers>) -> Told<Place> {
    if let Some(rip) = registers.and_then(|registers| value(registers, "rip"))
        && let Some((place, basis)) = case.place(rip)
    {
        return Ok(Known {
            value: place,
            basis: vec![basis],
        });
    }
    if let Some(found) = case.details().and_then(|details| details.rip.as_ref()) {
        let rip = &found.value;
        if let Some(symbol) = &rip.symbol {
            let value = Place {
                function: symbol.clone(),
                offset: rip.offset,
                module: rip.module.clone(),
                address: rip.address,
            };
            return Ok(Known {
                value,
                basis: vec![of_log(found.line, format!("RIP: {symbol}"))],
            });
        }
    }
    let block = case
        .blocks
        .iter()
        .find_map(|block| Some((block.exception.as_ref()?, block.line)));
    if let Some(((function, offset), line)) = block {
        let value = Place {
            function: function.clone(),
            offset: *offset,
            module: None,
            address: None,
        };
        return Ok(Known {
            value,
            basis: vec![Basis::Line {
                line,
                text: format!("[exception RIP: {function}]"),
            }],
        });
    }
    Err("the text names no function at the saved instruction pointer".into())
}

fn task(case: &Case<'_>) -> Told<Task> {
    let head = case.task.and_then(|index| case.evidence.tasks.get(index));
    if let Some(head) = head {
        let value = Task {
            pid: Some(head.pid),
            comm: head.comm.clone(),
            cpu: head.cpu,
        };
        return Ok(Known {
            value,
            basis: vec![Basis::Line {
                line: head.line,
                text: format!("PID: {}", head.pid),
            }],
        });
    }
    let system = &case.evidence.system;
    if let Some((pid, line)) = &system.pid {
        let value = Task {
            pid: Some(*pid),
            comm: system.comm.as_ref().map(|c| c.0.clone()),
            cpu: system.cpu.as_ref().map(|c| c.0),
        };
        return Ok(Known {
            value,
            basis: vec![Basis::Line {
                line: *line,
                text: format!("PID: {pid}"),
            }],
        });
    }
    let details = case.details().ok_or("the text names no task")?;
    let line = details
        .comm
        .as_ref()
        .map(|at| at.line)
        .or(details.pid.as_ref().map(|at| at.line))
        .ok_or("the report names no task")?;
    let value = Task {
        pid: details.pid.as_ref().map(|at| at.value),
        comm: details.comm.as_ref().map(|at| at.value.clone()),
        cpu: details.cpu.as_ref().map(|at| at.value),
    };
    Ok(Known {
        value,
        basis: vec![of_log(line, "CPU, PID and Comm")],
    })
}

/// `RELEASE:`, the report, or the folder of a source file that `dis -l` prints.
pub(crate) fn release(case: &Case<'_>) -> Told<String> {
    if let Some((release, line)) = &case.evidence.system.release {
        return Ok(Known {
            value: release.clone(),
            basis: vec![Basis::Line {
                line: *line,
                text: format!("RELEASE: {release}"),
            }],
        });
    }
    if let Some(found) = case.details().and_then(|details| details.release.as_ref()) {
        return Ok(Known {
            value: found.value.clone(),
            basis: vec![of_log(found.line, found.value.clone())],
        });
    }
    case.evidence
        .instructions
        .iter()
        .find_map(|line| {
            let source = line.source.as_ref()?;
            let value = source.split('/').find_map(|part| {
                part.strip_prefix("linux-")
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })?;
            Some(Known {
                value: value.into(),
                basis: vec![Basis::Line {
                    line: line.line,
                    text: source.clone(),
                }],
            })
        })
        .ok_or_else(|| "the text does not name the kernel release".into())
}
