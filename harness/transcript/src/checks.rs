//! Values of the text that should agree: structs against registers.
use crate::account::case::Case;
use crate::account::registers::{basis, value};
use crate::account::slab::member;
use crate::account::{Basis, Check, Contradiction, Faulting, Freelist, Registers, Told};
use recrash_kernel::regs::PT_REGS_NAMES;

pub(crate) fn of(
    case: &Case<'_>,
    registers: Option<&Registers>,
    faulting: &Told<Faulting>,
    freelist: &Told<Freelist>,
) -> Vec<Check> {
    let Some(registers) = registers else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    let mut add = |what: &str,
                   register: &str,
                   left: Option<(u64, Basis)>,
                   right: Option<u64>,
                   [agrees, differs]: [&str; 2]| {
        let (Some((left, from)), Some(right)) = (left, right) else {
            return;
        };
        let holds = left == right;
        let mut known = vec![from];
        known.extend(basis(registers, register));
        checks.push(Check {
            what: format!("{what} == {register}"),
            left,
            right,
            holds,
            meaning: if holds { agrees } else { differs }.into(),
            basis: known,
        });
    };
    let get = |name: &str| value(registers, name);
    let of_list = freelist.as_ref().ok().map(|known| &known.value);
    let cpu = case
        .structs("kmem_cache_cpu")
        .find(|found| of_list.is_some_and(|list| found.address == Some(list.cpu_slab)));
    let base = faulting
        .as_ref()
        .ok()
        .and_then(|known| known.value.base.clone());
    if let (Some(cpu), Some(list)) = (cpu, of_list) {
        // Where the code adds the offset first, the base is the sum, and another register still has the pointer.
        let holder = base
            .clone()
            .filter(|base| get(base) == Some(list.value))
            .or_else(|| holder(registers, list.value))
            .or(base);
        if let Some(holder) = holder {
            add(
                "kmem_cache_cpu.freelist",
                &holder,
                member(cpu, "freelist"),
                get(&holder),
                [
                    "the pointer that faulted is the head of the CPU's list",
                    "the list's head is not what faulted: another list, or it changed since",
                ],
            );
        }
        let line = Basis::Line {
            line: cpu.line,
            text: format!("struct kmem_cache_cpu {:#x}", list.cpu_slab),
        };
        add(
            "&kmem_cache_cpu",
            "r8",
            Some((list.cpu_slab, line)),
            get("r8").filter(|at| *at == list.cpu_slab),
            ["the register points at the struct shown", ""],
        );
        let tid = member(cpu, "tid");
        let step = get("rcx")
            .zip(get("rdx"))
            .is_some_and(|(next, tid)| next == tid.wrapping_add(1));
        if step || tid.as_ref().map(|tid| tid.0) == get("rdx") {
            let differs = "the registers are not those of this list at this moment, or one of the values was copied wrongly";
            add(
                "kmem_cache_cpu.tid",
                "rdx",
                tid.clone(),
                get("rdx"),
                [
                    "registers and memory are of the same moment: the list was not touched since",
                    differs,
                ],
            );
            // Some kernels put the next one into a register later, and rcx into the address.
            let in_address = faulting.as_ref().is_ok_and(|known| {
                let index = known.value.index.as_ref().map(|(name, _)| name);
                known
                    .value
                    .base
                    .iter()
                    .chain(index)
                    .any(|name| name == "rcx")
            });
            let next = tid.filter(|_| !in_address);
            let next = next.map(|(tid, line)| (tid.wrapping_add(1), line));
            add(
                "kmem_cache_cpu.tid + 1",
                "rcx",
                next,
                get("rcx"),
                ["the operands of the cmpxchg to come", differs],
            );
        }
    }
    let cache = case.structs("kmem_cache").find(|found| {
        found.address.is_some()
            && ["r15", "r14", "r12"]
                .iter()
                .any(|name| get(name) == found.address)
    });
    if let Some(cache) = cache {
        let at = |name: &str| get(name).filter(|at| Some(*at) == cache.address);
        for name in ["r15", "r14", "r12"] {
            let line = Basis::Line {
                line: cache.line,
                text: format!("struct kmem_cache {:#x}", cache.address.unwrap_or(0)),
            };
            add(
                "&kmem_cache",
                name,
                cache.address.map(|at| (at, line)),
                at(name),
                ["the register points at the struct shown", ""],
            );
        }
        let slot = member(cache, "cpu_slab").and_then(|found| holder(registers, found.0));
        let slot = slot.as_deref().unwrap_or("rdi");
        add(
            "kmem_cache.cpu_slab",
            slot,
            member(cache, "cpu_slab"),
            get(slot).filter(|offset| per_cpu(*offset)),
            [
                "the per-CPU offset of the cache's lists was loaded",
                "the registers are not those of this cache",
            ],
        );
        if let Some((index, _)) = faulting
            .as_ref()
            .ok()
            .and_then(|known| known.value.index.clone())
        {
            add(
                "kmem_cache.offset",
                &index,
                member(cache, "offset"),
                get(&index),
                [
                    "the index is the place of the next-free pointer",
                    "the index is not this cache's offset",
                ],
            );
        }
    }
    if let (Some(list), Some(offset)) = (
        of_list,
        get("rdi")
            .filter(|offset| per_cpu(*offset) && get("r8") == of_list.map(|list| list.cpu_slab)),
    ) {
        let area = list.cpu_slab.wrapping_sub(offset);
        let line = Basis::Follows(format!(
            "{:#x} minus the offset is {area:#x}",
            list.cpu_slab
        ));
        add(
            "kmem_cache_cpu modulo a page",
            "rdi",
            Some((list.cpu_slab & 0xfff, line)),
            Some(offset & 0xfff),
            [
                "the list is that of the per-CPU offset in rdi: areas of CPUs begin on a page",
                "rdi is not the per-CPU offset of this list",
            ],
        );
    }
    checks
}

/// Whether a value can be a per-CPU offset: areas of CPUs are smaller than 64 MiB.
fn per_cpu(offset: u64) -> bool {
    offset > 0 && offset < 1 << 26
}

/// The general register that holds a value.
fn holder(registers: &Registers, wanted: u64) -> Option<String> {
    let general = PT_REGS_NAMES.iter().take(15);
    general
        .copied()
        .find(|name| value(registers, name) == Some(wanted))
        .map(Into::into)
}

/// Those that do not hold.
pub(crate) fn contradictions(checks: &[Check]) -> Vec<Contradiction> {
    checks
        .iter()
        .filter(|check| !check.holds)
        .map(|check| Contradiction {
            what: check.what.clone(),
            one: format!("{:#x}", check.left),
            other: format!("{:#x}", check.right),
            basis: check.basis.clone(),
        })
        .collect()
}
