//! The chain from the interrupted function outwards.
use super::case::{Case, is_panic_path, of_frame, of_log};
use super::registers::value;
use super::{Basis, Dropped, Frame, Known, Place, Registers, Syscall, Told, leftover};
use recrash_kernel::trap;

/// Bytes from the beginning of a `pt_regs` to its rip (arch/x86/include/asm/ptrace.h).
const RIP_SLOT: u64 = 0x80;
/// Functions with nothing above them.
const OUTERMOST: &[&str] = &[
    "entry_SYSCALL_64",
    "entry_SYSCALL_64_after_hwframe",
    "ret_from_fork",
    "ret_from_fork_asm",
    "secondary_startup_64",
    "start_kernel",
    "entry_SYSCALL_compat_after_hwframe",
    "entry_INT80_compat",
];

pub(super) fn of(
    case: &Case<'_>,
    registers: Option<&Registers>,
    place: &Told<Place>,
    call: &Told<Syscall>,
) -> (Told<Vec<Frame>>, Told<String>, Vec<Dropped>) {
    let (mut chain, mut basis) = (Vec::new(), Vec::new());
    let entry = case.entries().first().map(|frame| frame.at);
    let at = registers.and_then(|registers| registers.at);
    let rsp = registers.and_then(|registers| value(registers, "rsp"));
    let mut above = at
        .map(|at| at.wrapping_add(168))
        .max(rsp.filter(|rsp| rsp >> 63 == 1))
        .or(entry.map(|at| at.wrapping_add(1)));
    if place.is_err()
        && let Some(begin) = at.or(entry.map(|at| at.wrapping_add(8)))
    {
        // crash may take the slot of rip for a return address: the frame is then that of the interrupted function.
        let slot = begin.wrapping_add(RIP_SLOT);
        if !case.frames.iter().any(|frame| frame.at == slot) {
            let why = "the function that was interrupted is not known, so neither is whom its callers called";
            return (Err(why.into()), Err(why.into()), Vec::new());
        }
        above = Some(slot);
    }
    if let Ok(place) = place {
        let first = place
            .basis
            .first()
            .cloned()
            .unwrap_or(Basis::Follows("the saved rip".into()));
        chain.push(Frame {
            function: place.value.function.clone(),
            module: place.value.module.clone(),
            inlined: false,
            basis: first,
        });
        basis.extend(place.basis.clone());
    }
    for frame in &case.frames {
        let outside = above.map_or(!is_panic_path(&frame.function), |above| frame.at >= above);
        if outside && trap::by_entry(&frame.function).is_none() {
            chain.push(Frame {
                function: frame.function.clone(),
                module: frame.module.clone(),
                inlined: false,
                basis: of_frame(frame),
            });
        }
    }
    if case.frames.is_empty() {
        for found in case
            .details()
            .map(|details| details.frames.as_slice())
            .unwrap_or_default()
        {
            let frame = &found.value;
            let Some(symbol) = frame.place.symbol.clone().filter(|_| frame.reliable) else {
                continue;
            };
            if chain.len() == 1 && chain.first().is_some_and(|first| first.function == symbol) {
                continue;
            }
            chain.push(Frame {
                function: symbol.clone(),
                module: frame.place.module.clone(),
                inlined: frame.inlined,
                basis: of_log(found.line, symbol),
            });
        }
    }
    if let Some(number) = gap(case, above) {
        let why = format!("frame #{number} is missing in the text");
        return (Err(why.clone()), Err(why), Vec::new());
    }
    let (chain, dropped) = leftover::without(case, chain, call);
    let chain = match chain {
        Ok(chain) => chain,
        Err(why) => return (Err(why.clone()), Err(why), dropped),
    };
    let Some(last) = chain.last() else {
        let why = "no frame above the exception and no function at rip";
        return (Err(why.into()), Err(why.into()), dropped);
    };
    let end = if is_outermost(&last.function) {
        Ok(Known {
            value: last.function.clone(),
            basis: vec![last.basis.clone()],
        })
    } else {
        Err(format!(
            "the text ends at {}, its callers are not shown",
            last.function
        ))
    };
    (
        Ok(Known {
            value: chain,
            basis,
        }),
        end,
        dropped,
    )
}

/// The first frame that crash's own numbers say is missing among those outside of the exception.
fn gap(case: &Case<'_>, above: Option<u64>) -> Option<u32> {
    let pairs = case.frames.iter().zip(case.frames.iter().skip(1));
    let mut outside = pairs.filter(|(_, outer)| above.is_none_or(|above| outer.at >= above));
    outside.find_map(|(inner, outer)| {
        let next = inner.number.saturating_add(1);
        (outer.number > next).then_some(next)
    })
}

/// Whether nothing calls a function: it is where a stack begins.
pub(super) fn is_outermost(function: &str) -> bool {
    OUTERMOST.contains(&function)
}
