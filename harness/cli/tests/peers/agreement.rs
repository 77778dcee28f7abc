//! Holds recrash's answers about one dump against the peers', one question at a time. Runs nothing itself.
use crate::dumps::Dump;
use crate::judges::{self, DrgnFacts, DrgnFrame};
use crate::ours::{self, Frame};
use crate::values::{self, Compared};
use std::collections::BTreeMap;

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Both say the same; how much was compared.
    Equal(String),
    /// What differs, for people.
    Differs(Vec<String>),
    /// The peer does not answer, and why.
    NoJudge(String),
}

/// Everything about one dump.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) dump: Dump,
    /// Functions and addresses of the stack, with drgn.
    pub(crate) frames: Outcome,
    /// The exception's registers, with crash.
    pub(crate) registers: Outcome,
    /// The kernel's log, with makedumpfile.
    pub(crate) log: Outcome,
    /// Members of structs, with drgn.
    pub(crate) structs: Outcome,
}

impl Row {
    pub(crate) fn of(dump: Dump) -> Self {
        let drgn = judges::drgn(&dump);
        Self {
            frames: judged(drgn.clone(), |facts| frames(&dump, &facts)),
            registers: judged(judges::crash_backtrace(&dump), |bt| registers(&dump, &bt)),
            log: judged(judges::kernel_log(&dump), |log| same_log(&dump, &log)),
            structs: judged(drgn, |facts| structs(&dump, &facts)),
            dump,
        }
    }
}

fn judged<T>(answer: judges::Answer<T>, compare: impl FnOnce(T) -> Outcome) -> Outcome {
    answer.map_or_else(Outcome::NoJudge, compare)
}

fn frames(dump: &Dump, facts: &DrgnFacts) -> Outcome {
    if facts.frames.is_empty() {
        return Outcome::NoJudge(format!("drgn has no frames: {}", facts.failed.join("; ")));
    }
    let all = [false, true].map(|with_dwarf| match ours::frames(dump, with_dwarf) {
        Ok(ours) => same_frames(&facts.frames, &ours, with_dwarf),
        Err(why) => Outcome::Differs(vec![format!("recrash has no frames: {why}")]),
    });
    let [alone, with_dwarf] = all;
    match alone {
        Outcome::Equal(_) => with_dwarf,
        _ => alone,
    }
}

/// Addresses and names of drgn's frames that are no inlined ones, and, if `inlined_too`, for each the names of what is
/// inlined there.
fn same_frames(theirs: &[DrgnFrame], ours: &[Frame], inlined_too: bool) -> Outcome {
    let mut differ = Vec::new();
    let groups: Vec<&[DrgnFrame]> = theirs.split_inclusive(|frame| !frame.inlined).collect();
    let mut inlined = 0;
    for index in 0..groups.len().max(ours.len()) {
        let (theirs, ours) = (groups.get(index), ours.get(index));
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            let pc = |pc: u64, name: &str| format!("{name} at {pc:#x}");
            let there = theirs.and_then(|group| group.last());
            let there = there.map(|frame| pc(frame.pc, &frame.name));
            let here = ours.map(|frame| pc(frame.pc, &frame.function));
            differ.push(format!(
                "frame {index}: {} there, {} here",
                there.as_deref().unwrap_or("none"),
                here.as_deref().unwrap_or("none")
            ));
            break;
        };
        let Some((outer, within)) = theirs.split_last() else {
            continue;
        };
        let named = outer.name == ours.function || outer.labels.contains(&ours.function);
        if outer.pc != ours.pc || !named {
            differ.push(format!(
                "frame {index}: {} at {:#x} there, {} at {:#x} here",
                outer.name, outer.pc, ours.function, ours.pc
            ));
        }
        let names: Vec<&str> = within.iter().map(|frame| frame.name.as_str()).collect();
        if inlined_too && ours.inlined != names {
            differ.push(format!(
                "inlined in {}: {names:?} there, {:?} here",
                outer.name, ours.inlined
            ));
        }
        inlined += ours.inlined.len();
    }
    if differ.is_empty() {
        let count = groups.len();
        return Outcome::Equal(match inlined_too {
            false => format!("{count}"),
            true => format!("{count} and {inlined} inlined"),
        });
    }
    Outcome::Differs(differ)
}

fn registers(dump: &Dump, backtrace: &str) -> Outcome {
    let theirs = exception_registers(backtrace);
    if theirs.is_empty() {
        return Outcome::NoJudge("crash shows no exception frame".into());
    }
    // Where no exception crashed the kernel (sysrq, NMI), crash shows what the panicking interrupt struck, and the
    // report what the CPU was doing last: the same context is the one at the same place.
    let mut struck = ours::interrupted(dump).unwrap_or_default();
    // In crash's own layout, which also has the registers that a dump of a running kernel begins with.
    struck.extend(ours::backtrace(dump).map(|text| exception_registers(&text)));
    let crashed = ours::registers(dump);
    let known = || crashed.iter().chain(&struck);
    let same_place = known().find(|ours| ours.get("rip") == theirs.get("rip"));
    let Some(ours) = same_place.or_else(|| known().next()) else {
        let why = crashed.err().unwrap_or_default();
        return Outcome::Differs(vec![format!("recrash has no registers: {why}")]);
    };
    let differ: Vec<String> = theirs
        .iter()
        .filter(|(name, value)| ours.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: {value:#x} there, {:x?} here", ours.get(name)))
        .collect();
    match differ.is_empty() {
        true => Outcome::Equal(theirs.len().to_string()),
        false => Outcome::Differs(differ),
    }
}

/// crash's first exception frame that interrupted the kernel: lines of `NAME: value` after `[exception RIP: …]`.
pub(crate) fn exception_registers(backtrace: &str) -> BTreeMap<String, u64> {
    let lines = backtrace
        .lines()
        .skip_while(|line| !line.contains("[exception RIP:"))
        .skip(1)
        .take_while(|line| line.starts_with("    "));
    let mut registers = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if let [name, value] = pair
                && let Some(name) = name.strip_suffix(':')
                && let Ok(value) = u64::from_str_radix(value, 16)
            {
                registers.insert(name.to_lowercase(), value);
            }
        }
    }
    registers
}

fn same_log(dump: &Dump, theirs: &str) -> Outcome {
    // makedumpfile names the callers since 1.7.3.
    let callers = theirs
        .lines()
        .next()
        .is_some_and(|line| line.contains("] [ "));
    let ours = match ours::log(dump, callers) {
        Ok(log) => log,
        Err(why) => return Outcome::Differs(vec![format!("recrash has no log: {why}")]),
    };
    let theirs: Vec<&str> = theirs.lines().map(str::trim_end).collect();
    let ours: Vec<&str> = ours.lines().map(str::trim_end).collect();
    let differ: Vec<String> = (0..theirs.len().max(ours.len()))
        .filter(|index| theirs.get(*index) != ours.get(*index))
        .map(|index| {
            let line =
                |lines: &[&str]| lines.get(index).map_or("none".into(), |l| format!("{l:?}"));
            format!(
                "line {}: {} there, {} here",
                index + 1,
                line(&theirs),
                line(&ours)
            )
        })
        .take(4)
        .collect();
    match differ.is_empty() {
        true => Outcome::Equal(format!("{} lines", theirs.len())),
        false => Outcome::Differs(differ),
    }
}

fn structs(dump: &Dump, facts: &DrgnFacts) -> Outcome {
    if facts.structs.is_empty() {
        return Outcome::NoJudge(format!("drgn read none: {}", facts.failed.join("; ")));
    }
    let mut all = Compared::default();
    for theirs in &facts.structs {
        let path = format!("{} ({})", theirs.what, theirs.type_name);
        match ours::object(dump, &theirs.type_name, theirs.address) {
            Ok(ours) => values::compare(&path, &theirs.value, &ours, &mut all),
            Err(why) => all.differ.push(format!("{path}: {why}")),
        }
    }
    match all.differ.is_empty() {
        true => Outcome::Equal(format!("{} values of {}", all.equal, facts.structs.len())),
        false => Outcome::Differs(all.differ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKTRACE: &str = "\
 #5 [ffffd183c0393850] asm_exc_general_protection at ffffffffa4c00b42
    [exception RIP: __kmem_cache_alloc_node+302]
    RIP: ffffffffa432e10e  RSP: ffffd183c0393908  RFLAGS: 00000286
    ORIG_RAX: ffffffffffffffff  CS: 0010  SS: 0018
 #6 [ffffd183c0393950] __kmalloc at ffffffffa42b96a9
    RIP: 00007f8207778cab  RSP: 00007ffcf4679000  RFLAGS: 00000246
";

    #[test]
    fn the_registers_of_crashs_exception_frame_are_read_and_user_spaces_are_not() {
        let registers = exception_registers(BACKTRACE);
        assert_eq!(registers.get("rip"), Some(&0xffff_ffff_a432_e10e));
        assert_eq!(registers.get("orig_rax"), Some(&u64::MAX));
        assert_eq!(registers.get("ss"), Some(&0x18));
        assert_eq!(registers.len(), 6);
    }

    fn drgn(frames: &[(u64, &str, bool)]) -> Vec<DrgnFrame> {
        let frame = |(pc, name, inlined): &(u64, &str, bool)| DrgnFrame {
            pc: *pc,
            name: (*name).into(),
            labels: vec![format!("{name}_label")],
            inlined: *inlined,
        };
        frames.iter().map(frame).collect()
    }

    fn check(ours: &[(u64, &str, &[&str])], inlined_too: bool, equal: bool) {
        let theirs = drgn(&[(1, "inner", true), (1, "f", false), (2, "g", false)]);
        let ours: Vec<Frame> = ours
            .iter()
            .map(|(pc, function, inlined)| Frame {
                pc: *pc,
                function: (*function).into(),
                inlined: inlined.iter().map(|name| (*name).into()).collect(),
            })
            .collect();
        let outcome = same_frames(&theirs, &ours, inlined_too);
        assert_eq!(matches!(outcome, Outcome::Equal(_)), equal, "{outcome:?}");
    }

    #[test]
    fn frames_are_equal_with_and_without_the_inlined_ones() {
        check(&[(1, "f", &[]), (2, "g", &[])], false, true);
        check(&[(1, "f", &["inner"]), (2, "g", &[])], true, true);
        check(&[(1, "f", &[]), (2, "g_label", &[])], false, true);
    }

    #[test]
    fn another_name_address_number_or_inlined_function_is_a_difference() {
        check(&[(1, "f", &[]), (2, "h", &[])], false, false);
        check(&[(1, "f", &[]), (3, "g", &[])], false, false);
        check(&[(1, "f", &[])], false, false);
        check(&[(1, "f", &[]), (2, "g", &[]), (3, "h", &[])], false, false);
        check(&[(1, "f", &["other"]), (2, "g", &[])], true, false);
        check(&[(1, "f", &[]), (2, "g", &[])], true, false);
    }
}
