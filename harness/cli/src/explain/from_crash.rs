//! The facts of a dump, in the shape of a text's account. Evidence is memory, so its lines have number 0.
use recrash_kernel::decode::Decoded;
use recrash_kernel::instruction::MemoryOperand;
use recrash_kernel::{Crash, Kernel, slice, unwind};
use recrash_transcript::account::{
    Account, Allocation, Basis, Cache, End, Exception, Faulting, Frame, Freelist, How, Known,
    Origin, Place, Registers, Role, Syscall, Task, Told,
};

use super::compose::CAME_FROM;
use super::facts::Facts;
use super::story::{Subject, SubjectKind};

/// The facts of a dump.
pub(crate) fn facts(name: &str, kernel: &Kernel<'_>, crash: &Crash) -> Facts {
    let decoding = crash.decoding.as_ref();
    let overwrite = decoding.map(|decoding| &decoding.overwrite);
    let field = crash.field.as_ref().ok();
    let mut notes: Vec<String> = kernel.notes();
    notes.extend(crash.device_gaps.iter().map(ToString::to_string));
    notes.extend(
        decoding
            .and_then(|decoding| decoding.gap.as_ref())
            .map(ToString::to_string),
    );
    notes.dedup();
    Facts {
        subject: Subject {
            name: name.into(),
            kind: SubjectKind::Vmcore,
        },
        account: account(kernel, crash),
        field: field.map(|field| field.name().to_owned()),
        bytes: match field {
            Some(field) => Some(field.pointer.to_le_bytes()),
            None => overwrite.and_then(|overwrite| overwrite.bytes),
        },
        reports: Vec::new(),
        panic: crash.panic.as_ref().ok().cloned().flatten(),
        calm: crash.calm.map(|calm| calm.label().into()),
        carrier: match field {
            Some(field) => Some(field.object.at.0),
            None => overwrite
                .and_then(|overwrite| overwrite.object)
                .map(|object| object.0),
        },
        still_there: match field {
            Some(_) => Some(true),
            None => overwrite.and_then(|overwrite| overwrite.still_there),
        },
        entry: Vec::new(),
        notes,
    }
}

fn known<T>(value: T, basis: Vec<Basis>) -> Known<T> {
    Known { value, basis }
}

fn memory(text: impl Into<String>) -> Basis {
    Basis::Line {
        line: 0,
        text: text.into(),
    }
}

/// The part where it is there; why not otherwise.
fn part<'c, T, U, E: ToString>(
    from: &'c Result<T, E>,
    value: impl FnOnce(&'c T) -> Known<U>,
) -> Told<U> {
    from.as_ref().map(value).map_err(ToString::to_string)
}

fn account(kernel: &Kernel<'_>, crash: &Crash) -> Account {
    Account {
        release: kernel
            .info()
            .osrelease()
            .map(|release| known(release.to_owned(), Vec::new()))
            .ok_or_else(|| "VMCOREINFO does not name it".into()),
        task: part(&crash.task, |task| {
            let value = Task {
                pid: u64::try_from(task.pid).ok(),
                comm: Some(task.comm.clone()),
                cpu: crash.cpu.as_ref().ok().copied(),
            };
            known(value, vec![memory(format!("task_struct at {}", task.at))])
        }),
        exception: exception(crash),
        registers: registers(crash),
        place: place(kernel, crash),
        faulting: part(&crash.faulting, |found| {
            let basis = vec![memory(format!(
                "at {}, bytes {}",
                found.at,
                crate::output::bytes(&found.bytes)
            ))];
            known(faulting(found), basis)
        }),
        origins: origins(kernel, crash),
        checks: Vec::new(),
        cache: part(&crash.cache(), |cache| {
            let value = Cache {
                address: Some(cache.at.0),
                name: Some(cache.name.clone()),
                object_size: Some(cache.object_size),
                offset: Some(cache.offset),
                hardened: Some(cache.random.is_some()),
            };
            known(
                value,
                vec![memory(format!("struct kmem_cache at {}", cache.at))],
            )
        }),
        freelist: part(&crash.freelist, |hit| {
            let value = Freelist {
                cpu_slab: hit.cpu_slab.at.0,
                value: hit.site.pointer().0,
                tid: Some(hit.cpu_slab.tid),
            };
            known(
                value,
                vec![memory(format!(
                    "struct kmem_cache_cpu at {}",
                    hit.cpu_slab.at
                ))],
            )
        }),
        decoded: decoded(crash),
        allocation: part(&crash.allocation, allocation),
        syscall: part(&crash.syscall, |call| {
            let value = Syscall {
                name: call.name.clone(),
                number: call.number,
                fd: (call.name == "ioctl")
                    .then(|| call.arguments.first().copied())
                    .flatten(),
                request: call.request.clone(),
            };
            known(value, Vec::new())
        }),
        frames: frames(crash),
        frames_end: frames_end(crash),
        dropped: Vec::new(),
        hints: Vec::new(),
        contradictions: Vec::new(),
        lent: Vec::new(),
        kaslr: kernel
            .info()
            .kernel_offset()
            .map(|offset| {
                known(
                    offset != 0,
                    vec![memory(format!("KERNELOFFSET {offset:#x}"))],
                )
            })
            .ok_or_else(|| "VMCOREINFO has no KERNELOFFSET".into()),
    }
}

fn exception(crash: &Crash) -> Told<Exception> {
    part(&crash.exception, |found| {
        let value = Exception {
            vector: found.trap.map(|trap| trap.vector),
            mnemonic: found.trap.map(|trap| trap.mnemonic.into()),
            by: found
                .entry
                .as_ref()
                .map(|entry| entry.symbol.clone())
                .unwrap_or_default(),
            error_code: found.error_code,
            address: crash.came.and_then(|came| came.cr2),
            same_privilege: Some(!found.regs.is_user()),
            is_fault: None,
        };
        known(value, vec![memory(format!("pt_regs at {}", found.at))])
    })
}

fn registers(crash: &Crash) -> Told<Registers> {
    part(&crash.exception, |found| {
        let at = found.at.0;
        let words = found.regs.iter().zip(0_u64..);
        let basis = words
            .map(|((_, value), index)| Basis::StackWord {
                at: at.saturating_add(8 * index),
                value,
                line: 0,
            })
            .collect();
        let value = Registers {
            slots: found.regs.0.map(Some),
            basis,
            at: Some(at),
            how: How::Shape,
        };
        known(value, Vec::new())
    })
}

fn place(kernel: &Kernel<'_>, crash: &Crash) -> Told<Place> {
    let found = crash.exception.as_ref().map_err(ToString::to_string)?;
    let rip = found.regs.rip();
    let place = kernel
        .place(recrash_vmcore::VirtAddr(rip))
        .ok_or_else(|| format!("{rip:#x} lies in no known function"))?;
    let value = Place {
        function: place.symbol,
        offset: Some(place.offset),
        module: place.module,
        address: Some(rip),
    };
    Ok(known(value, Vec::new()))
}

fn faulting(found: &recrash_kernel::instruction::Faulting) -> Faulting {
    let operand = found.operand.as_ref();
    let name = |pick: fn(&MemoryOperand) -> Option<&String>| operand.and_then(pick).cloned();
    let index = name(|operand| operand.index.as_ref());
    let scale = operand.map_or(1, |operand| u8::try_from(operand.scale).unwrap_or(1));
    Faulting {
        text: found.text.clone(),
        by_place: String::new(),
        base: name(|operand| operand.base.as_ref()),
        index: index.map(|index| (index, scale)),
        displacement: operand.map_or(0, |operand| operand.displacement),
        segment: operand.map_or_else(String::new, |operand| operand.segment.into()),
        address: operand.map(|operand| operand.address().0),
        canonical: operand.map(|operand| operand.canonical),
        hardware: found
            .expected
            .vector
            .map(|vector| (vector, found.expected.why.clone())),
    }
}

fn origins(kernel: &Kernel<'_>, crash: &Crash) -> Vec<Origin> {
    let Ok(slice) = &crash.slice else {
        return Vec::new();
    };
    let followed = slice.origins.iter();
    let followed = followed.filter(|origin| origin.role != slice::Role::Other);
    followed.map(|found| origin(kernel, found)).collect()
}

fn origin(kernel: &Kernel<'_>, found: &slice::Origin) -> Origin {
    let steps = found.chain.iter().map(|step| Basis::Instruction {
        place: kernel
            .place(step.at)
            .map_or_else(|| step.at.to_string(), |place| place.to_string()),
        text: step.text.clone(),
        line: 0,
    });
    let end = match &found.end {
        slice::End::Return {
            function: Some(function),
        } => End::Returned {
            function: function.clone(),
            type_name: found.type_name.clone(),
        },
        slice::End::Unknown(why) => End::Unknown(why.clone()),
        _ => {
            let known = found.meaning.as_ref().or(found.type_name.as_ref());
            let known = known.map(|known| format!(" = {known}")).unwrap_or_default();
            End::Unknown(format!("{CAME_FROM}{}{known}", found.expression))
        }
    };
    Origin {
        register: found.register.into(),
        value: found.value,
        role: match found.role {
            slice::Role::Base => Role::Base,
            slice::Role::Index => Role::Index,
            _ => Role::Other,
        },
        steps: steps.collect(),
        end,
    }
}

fn decoded(crash: &Crash) -> Told<Decoded> {
    if let Ok(field) = &crash.field {
        let value = Decoded {
            readings: vec![field.reading.clone()],
            tried: field.tried.clone(),
        };
        return Ok(known(value, field.tried.iter().map(memory).collect()));
    }
    let decoding = crash.decoding.as_ref();
    let decoding = decoding.ok_or("no list's pointer was found overwritten")?;
    let overwrite = &decoding.overwrite;
    let best = overwrite.reading.iter().chain(&overwrite.others);
    let value = Decoded {
        readings: best.cloned().collect(),
        tried: decoding.tried.clone(),
    };
    let basis = decoding.tried.iter().map(memory).collect();
    Ok(known(value, basis))
}

fn allocation(found: &recrash_kernel::allocation::Allocation) -> Known<Allocation> {
    let number = |from: &Result<recrash_kernel::allocation::Found, recrash_kernel::Missing>| {
        part(from, |found| {
            known(found.value, vec![memory(found.by.clone())])
        })
    };
    let value = Allocation {
        size: number(&found.size),
        flags: number(&found.flags),
        flag_names: found.flag_names.as_ref().ok().cloned(),
    };
    known(value, Vec::new())
}

fn frames(crash: &Crash) -> Told<Vec<Frame>> {
    part(&crash.backtrace, |trace| {
        let frames = trace.frames.iter().map(|frame| Frame {
            function: frame
                .place
                .as_ref()
                .map_or_else(|| frame.pc.raw().to_string(), |place| place.symbol.clone()),
            module: frame.place.as_ref().and_then(|place| place.module.clone()),
            inlined: false,
            basis: memory(frame.source.label()),
        });
        known(frames.collect(), Vec::new())
    })
}

fn frames_end(crash: &Crash) -> Told<String> {
    let trace = crash.backtrace.as_ref().map_err(ToString::to_string)?;
    let last = trace.frames.last().and_then(|frame| frame.place.as_ref());
    match (last, &trace.end) {
        (Some(place), unwind::End::User | unwind::End::Outermost) => {
            Ok(known(place.symbol.clone(), Vec::new()))
        }
        (_, end) => Err(end.to_string()),
    }
}
