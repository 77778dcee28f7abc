//! Stacks of every kind, walked in a kernel that was written here.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its own dump is wrong"
)]
mod stack_world;

use proptest::prelude::*;
use recrash_kernel::regs::PtRegs;
use recrash_kernel::stacks::{self, StackKind};
use recrash_kernel::task::{self, Task};
use recrash_kernel::unwind::{self, Backtrace, End, FrameSource};
use recrash_kernel::{Kernel, Missing};
use recrash_vmcore::{VirtAddr, Vmcore};
use stack_world::{
    PERCPU, SCRATCH, THREAD_SIZE, World, after_call, function, irq_top, nmi_top, regs, stack, task,
    user_regs,
};

fn with_kernel<T>(dump: &Vmcore, look: impl FnOnce(&Kernel<'_>) -> T) -> T {
    let kernel = Kernel::open(dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    look(&kernel)
}

fn check<T>(world: World, look: impl FnOnce(&Kernel<'_>) -> T) -> T {
    with_kernel(&world.dump(), look)
}

fn walk(world: World, from: [u64; 21]) -> Backtrace {
    check(world, |kernel| unwind::from_regs(kernel, &PtRegs(from)))
}

fn names(trace: &Backtrace) -> Vec<String> {
    let name = |frame: &unwind::Frame| {
        frame
            .place
            .as_ref()
            .map_or("?".into(), |place| place.symbol.clone())
    };
    trace.frames.iter().map(name).collect()
}

fn kinds(trace: &Backtrace) -> Vec<StackKind> {
    trace
        .frames
        .iter()
        .map(|frame| frame.stack.unwrap().kind)
        .collect()
}

const SYSCALL: [&str; 3] = ["outer", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"];

/// A system call of task 2 that got as far as `middle`; its stack pointer there.
fn in_middle(world: &mut World) -> u64 {
    let sp = world.system_call(2, 3);
    world.frames(sp, &SYSCALL.map(after_call));
    sp
}

/// An interrupt of `middle` on CPU 0, handled on its IRQ stack; registers in the handler.
fn in_interrupt(world: &mut World) -> [u64; 21] {
    let sp = in_middle(world);
    let interrupted = sp - 0x100;
    world.words(interrupted, &regs(function("middle") + 0x30, sp));
    // common_interrupt's frame, below the registers; its stack pointer lies on top of the IRQ stack.
    let entry = interrupted - 16;
    world.words(entry + 8, &[after_call("asm_common_interrupt")]);
    world.words(irq_top(0) - 8, &[entry]);
    world.frames(irq_top(0) - 24, &[after_call("common_interrupt")]);
    regs(function("irq_handler") + 0x10, irq_top(0) - 24)
}

#[test]
fn an_nmi_in_an_interrupt_in_a_system_call_is_walked_over_three_stacks() {
    let mut world = World::new();
    let handler = in_interrupt(&mut world);
    let saved = nmi_top(0) - 0x200;
    world.words(saved, &handler);
    world.frames(saved - 16, &[after_call("asm_exc_nmi")]);
    let trace = walk(world, regs(function("exc_nmi") + 0x10, saved - 16));
    assert_eq!(
        names(&trace),
        [
            "exc_nmi",
            "asm_exc_nmi",
            "irq_handler",
            "common_interrupt",
            "asm_common_interrupt",
            "middle",
            "outer",
            "do_syscall_64",
            "entry_SYSCALL_64_after_hwframe"
        ]
    );
    use StackKind::{Irq, Nmi, Task};
    assert_eq!(
        kinds(&trace),
        [Nmi, Nmi, Irq, Irq, Task, Task, Task, Task, Task]
    );
    assert_eq!((trace.end, trace.fallback), (End::User, None));
    assert_eq!(trace.user, Some(PtRegs(user_regs())));
    let at: Vec<_> = trace.exceptions.iter().map(|(at, _)| at.0).collect();
    assert_eq!(at[0], saved);
    assert_eq!(trace.frames[2].regs_at, Some(VirtAddr(saved)));
    assert_eq!(trace.frames[2].source, FrameSource::ExceptionRegs);
}

#[test]
fn a_stack_is_visited_once() {
    let mut world = World::new();
    let saved = nmi_top(0) - 0x200;
    world.frames(saved - 16, &[after_call("asm_exc_nmi")]);
    // The registers of the NMI claim that it came on the IRQ stack, whose handler was interrupted on the NMI stack.
    world.words(
        saved,
        &regs(function("asm_common_interrupt") + 0x10, irq_top(0) - 0x200),
    );
    world.words(
        irq_top(0) - 0x200,
        &regs(function("exc_nmi") + 0x10, nmi_top(0) - 0x100),
    );
    let trace = walk(world, regs(function("exc_nmi") + 0x10, saved - 16));
    assert_eq!(trace.end, End::Revisited(VirtAddr(nmi_top(0) - 0x100 + 8)));
}

#[test]
fn one_cpus_interrupt_does_not_lead_to_another_cpus_stack() {
    let mut world = World::new();
    let saved = nmi_top(0) - 0x200;
    world.frames(saved - 16, &[after_call("asm_exc_nmi")]);
    world.words(
        saved,
        &regs(function("irq_handler") + 0x10, irq_top(1) - 0x100),
    );
    let trace = walk(world, regs(function("exc_nmi") + 0x10, saved - 16));
    assert_eq!(trace.end, End::OffStack(VirtAddr(irq_top(1) - 0x100 + 8)));
}

#[test]
fn a_stack_pointer_that_moves_inwards_ends_the_walk() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp, &regs(function("leaf") + 0x10, sp - 0x800));
    let trace = walk(world, regs(function("asm_exc_page_fault") + 0x10, sp));
    assert_eq!(trace.end, End::Runaway);
    assert_eq!(trace.frames.len(), 1);
}

fn sleeping(world: World, n: u64) -> Result<Backtrace, Missing> {
    check(world, |kernel| {
        let sleeper = task::read(kernel, VirtAddr(task(n))).unwrap();
        unwind::of_task(kernel, &sleeper)
    })
}

#[test]
fn a_sleeping_kernel_thread_is_walked_to_where_it_began() {
    let mut world = World::new();
    let sp = stack(3) + 0x3000;
    world.sleep(3, sp, function("schedule") + 0x80);
    world.frames(
        sp + 56,
        &["worker_thread", "kthread", "ret_from_fork_asm"].map(after_call),
    );
    let trace = sleeping(world, 3).unwrap();
    assert_eq!(
        names(&trace),
        ["schedule", "worker_thread", "kthread", "ret_from_fork_asm"]
    );
    assert_eq!(
        (trace.frames[0].source, trace.end),
        (FrameSource::SwitchFrame, End::Outermost)
    );
}

#[test]
fn a_task_that_has_not_run_yet_begins_where_forks_return() {
    let mut world = World::new();
    world.sleep(3, stack(3) + 0x3000, function("ret_from_fork_asm"));
    let trace = sleeping(world, 3).unwrap();
    assert_eq!((names(&trace).len(), trace.end), (1, End::Outermost));
}

#[test]
fn a_saved_stack_pointer_off_the_tasks_stack_is_not_followed() {
    let mut world = World::new();
    world.sleep(3, stack(2) + 0x3000, function("schedule") + 0x80);
    let reason = sleeping(world, 3).unwrap_err().to_string();
    assert!(reason.contains("not on its stack"), "{reason}");
}

#[test]
fn a_call_through_a_null_pointer_shows_its_caller() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp - 8, &[after_call("middle")]);
    let trace = walk(world, regs(0, sp - 8));
    assert_eq!(names(&trace)[1..3], ["middle", "outer"]);
    assert_eq!((trace.end, trace.fallback), (End::User, None));
}

#[test]
fn registers_of_the_interrupted_context_serve_rules_that_need_them() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    let mut from = regs(function("realigned") + 0x10, sp - 0x80);
    from[7] = sp;
    world.words(sp + 8, &[after_call("outer")]);
    let trace = walk(world, from);
    assert_eq!(names(&trace)[..2], ["realigned", "outer"]);
    // After a call its value is not known any more.
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp - 8, &[after_call("realigned")]);
    let trace = walk(world, regs(function("leaf") + 0x10, sp - 16));
    assert_eq!(trace.end, End::UnknownRegister("r10"));
}

#[test]
fn registers_stay_known_over_entry_code_that_saved_only_the_interrupt_frame() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp + 8, &[after_call("outer")]);
    // The CPU pushed rip, cs, flags, rsp, ss; r10 is still the interrupted function's.
    world.words(
        sp - 0x80,
        &[function("realigned") + 0x10, 0x10, 0, sp - 0x40, 0x18],
    );
    let mut from = regs(function("entry_half_done") + 0x10, sp - 0x80);
    from[7] = sp;
    let trace = walk(world, from);
    assert_eq!(
        names(&trace)[..3],
        ["entry_half_done", "realigned", "outer"]
    );
}

/// A system call that is in a function without a rule, on a stack that is otherwise full of return addresses of calls
/// that are over.
fn without_rule(chain: &[&str], stale: &[&str]) -> Backtrace {
    let mut world = World::new();
    let deep = world.system_call(2, 3) - 0x400;
    let stale: Vec<u64> = stale.iter().map(|name| after_call(name)).collect();
    if !stale.is_empty() {
        let words: Vec<u64> = stale.iter().copied().cycle().take(0x380 / 8).collect();
        world.words(deep, &words);
    }
    let chain: Vec<u64> = chain.iter().map(|name| after_call(name)).collect();
    let start = world.system_call(2, chain.len() as u64);
    world.frames(start, &chain);
    walk(world, regs(function("no_rule") + 0x10, deep))
}

#[test]
fn where_no_rule_is_a_guess_leads_on_and_says_so() {
    let chain = [
        "calls_no_rule",
        "outer_of_no_rule",
        "entry_SYSCALL_64_after_hwframe",
    ];
    let mut world = World::new();
    world.branch(
        after_call("entry_SYSCALL_64_after_hwframe") - 5,
        0xe8,
        "outer_of_no_rule",
    );
    let start = world.system_call(2, 3);
    // What calls that are over left behind, up to the words inside the frames.
    let stale = [
        "stale",
        "middle",
        "schedule",
        "do_syscall_64",
        "calls_through_pointer",
    ]
    .map(after_call);
    let words: Vec<u64> = stale.iter().copied().cycle().take(8 + 6).collect();
    world.words(start - 0x40, &words);
    world.frames(start, &chain.map(after_call));
    let trace = walk(world, regs(function("no_rule") + 0x10, start - 0x40));
    assert_eq!(names(&trace)[1..], chain);
    assert_eq!(trace.end, End::NoRule(VirtAddr(function("no_rule") + 0x10)));
    let guessed = trace.fallback.clone().unwrap();
    assert_eq!((guessed.first, guessed.end), (1, End::User));
    let sources: Vec<_> = trace.frames.iter().map(|frame| frame.source).collect();
    use FrameSource::{AfterGuess, Registers, StackScan};
    assert_eq!(sources, [Registers, StackScan, AfterGuess, AfterGuess]);
    assert_eq!(trace.trusted().len(), 1);
}

#[test]
fn stale_return_addresses_are_no_frames() {
    let stale = [
        "stale",
        "middle",
        "outer",
        "do_syscall_64",
        "calls_through_pointer",
        "calls_no_rule",
    ];
    let trace = without_rule(&SYSCALL, &stale);
    assert_eq!(names(&trace), ["no_rule"]);
    assert_eq!(trace.fallback, None);
}

#[test]
fn a_stack_of_stale_addresses_gives_no_frame_whatever_they_are() {
    for stale in [
        "calls_no_rule",
        "calls_through_pointer",
        "schedule",
        "ret_from_fork_asm",
    ] {
        let trace = without_rule(&SYSCALL, &[stale]);
        assert_eq!(names(&trace), ["no_rule"], "{stale}");
    }
}

/// `middle`'s return address is overwritten; below the rest of the chain lie addresses of calls that are over.
fn without_a_return_address(stale: &[&str]) -> Backtrace {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp + 8, &[0x0072_0069_0056_0338]);
    let stale: Vec<u64> = stale.iter().map(|name| after_call(name)).collect();
    world.words(sp + 16, &stale);
    walk(world, regs(function("middle") + 0x10, sp))
}

#[test]
fn a_lost_return_address_is_bridged_by_the_frame_that_fits() {
    let trace = without_a_return_address(&["stale"]);
    assert_eq!(names(&trace), ["middle", "?", "do_syscall_64", SYSCALL[2]]);
    assert_eq!(trace.end, End::NotText(VirtAddr(0x0072_0069_0056_0338)));
    assert_eq!(trace.fallback.unwrap().first, 2);
}

#[test]
fn a_lost_return_address_is_not_bridged_by_what_does_not_fit() {
    // The next return address is gone too: calls over `outer` can't be told, and what is left proves nothing.
    let trace = without_a_return_address(&["stale", "calls_through_pointer"]);
    assert_eq!((names(&trace).len(), trace.fallback), (2, None));
    // A call of the right function, at a place to which its frame does not reach.
    let trace = without_a_return_address(&["do_syscall_64", "stale"]);
    assert_eq!((names(&trace).len(), trace.fallback), (2, None));
}

#[test]
fn a_task_that_runs_without_a_cpu_is_not_taken_for_asleep() {
    let mut world = World::new();
    world.sleep(3, stack(3) + 0x3000, function("schedule") + 0x80);
    world.words(task(3) + 136, &[1]);
    let reason = sleeping(world, 3).unwrap_err().to_string();
    assert!(reason.contains("was running"), "{reason}");
}

#[test]
fn a_frame_pointer_is_followed_where_the_frames_behind_it_hold() {
    let mut world = World::new();
    world.branch(after_call("outer") - 5, 0xe8, "calls_no_rule");
    let chain = [
        "calls_no_rule",
        "outer",
        "do_syscall_64",
        "entry_SYSCALL_64_after_hwframe",
    ];
    let start = world.system_call(2, 4);
    world.frames(start, &chain.map(after_call));
    let mut from = regs(function("no_rule") + 0x10, start - 0x40);
    from[4] = start;
    let trace = walk(world, from);
    assert_eq!(names(&trace)[1..], chain);
    assert_eq!(trace.frames[1].source, FrameSource::FramePointer);
}

#[test]
fn a_kernel_without_tables_is_walked_by_its_frame_pointers() {
    let mut world = World::new();
    world.orc = false;
    let top = stack(2) + THREAD_SIZE - 168;
    world.words(top, &user_regs());
    let [a, b, c] = [top - 0x300, top - 0x200, top - 0x100];
    world.words(a, &[b, after_call("middle")]);
    world.words(b, &[c, after_call("outer")]);
    world.words(c, &[top | 1, after_call("do_syscall_64")]);
    let mut from = regs(function("leaf") + 0x10, a - 0x20);
    from[4] = a;
    let trace = walk(world, from);
    assert_eq!(names(&trace), ["leaf", "middle", "outer", "do_syscall_64"]);
    assert!(matches!(trace.end, End::NoRule(_)));
    assert_eq!(trace.fallback.clone().unwrap().end, End::User);
    assert!(
        trace.frames[1..]
            .iter()
            .all(|frame| frame.source == FrameSource::FramePointer)
    );
}

#[test]
fn a_tail_call_leaves_its_callers_frame() {
    let mut world = World::new();
    world.orc = false;
    let top = stack(2) + THREAD_SIZE - 168;
    world.branch(after_call("outer") - 5, 0xe8, "jumps_to_leaf");
    world.words(top - 0x100, &[top | 1, after_call("outer")]);
    let mut from = regs(function("leaf") + 0x10, top - 0x140);
    from[4] = top - 0x100;
    assert_eq!(names(&walk(world, from)), ["leaf", "outer"]);
}

#[test]
fn what_a_probe_replaced_is_put_back() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    let slot = sp + 8;
    world.words(slot, &[function("return_to_handler")]);
    world.words(task(2) + 120, &[SCRATCH]);
    world.machine.write(SCRATCH, &[0; 0x1000]);
    world.words(SCRATCH + 64, &[after_call("outer"), 0, 0, slot]);
    let next = slot + 16;
    world.words(next, &[function("arch_rethook_trampoline")]);
    world.words(task(2) + 128, &[SCRATCH + 0x400]);
    world.words(SCRATCH + 0x400, &[SCRATCH + 0x500, 0, 0x1234]);
    world.words(SCRATCH + 0x500, &[0, after_call("do_syscall_64"), next + 8]);
    let trace = walk(world, regs(function("middle") + 0x10, sp));
    assert_eq!(names(&trace)[1..3], ["outer", "do_syscall_64"]);
    assert_eq!(trace.end, End::User);
}

#[test]
fn a_probe_whose_record_is_lost_is_named() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.words(sp + 8, &[function("return_to_handler")]);
    let trace = walk(world, regs(function("middle") + 0x10, sp));
    assert_eq!(trace.end, End::Trampoline("return_to_handler"));
}

#[test]
fn notes_are_given_to_their_cpus_whatever_their_order() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    world.notes = vec![
        // The kernel left CPU 0's out of order, and CPU 1 idles with process id 0.
        (0, regs(function("schedule") + 0x10, stack(1) + 0x3f00), 0),
        (41, regs(function("middle") + 0x10, sp), 0),
    ];
    check(world, |kernel| {
        assert_eq!(unwind::saved_regs(kernel, 0).unwrap().regs.rsp(), sp);
        assert_eq!(
            unwind::saved_regs(kernel, 1).unwrap().regs.rip(),
            function("schedule") + 0x10
        );
        assert_eq!(
            names(&unwind::of_cpu(kernel, 0).unwrap())[..2],
            ["middle", "outer"]
        );
    });
}

#[test]
fn a_hypervisors_notes_are_told_by_the_per_cpu_base() {
    let mut world = World::new();
    // Both stack pointers are wild; process ids are CPU numbers plus one.
    world.notes = vec![
        (1, regs(1, 0x10), PERCPU + 0x1000),
        (2, regs(2, 0x20), PERCPU),
    ];
    check(world, |kernel| {
        assert_eq!(unwind::saved_regs(kernel, 0).unwrap().regs.rip(), 2);
        assert_eq!(unwind::saved_regs(kernel, 1).unwrap().regs.rip(), 1);
    });
}

#[test]
fn a_cpu_in_user_mode_has_no_kernel_frames() {
    let mut world = World::new();
    world.notes = vec![(41, user_regs(), 0)];
    check(world, |kernel| {
        let trace = unwind::of_cpu(kernel, 0).unwrap();
        assert_eq!((trace.frames.len(), trace.end), (0, End::User));
        assert!(trace.user.is_some());
        assert!(unwind::of_cpu(kernel, 1).is_err());
    });
}

#[test]
fn a_cpu_without_a_note_is_found_where_the_nmi_stopped_it() {
    let mut world = World::new();
    let sp = in_middle(&mut world);
    let (rip, top) = (function("middle") + 0x30, nmi_top(0));
    // From the top: what the CPU pushed, rdx, the mark, the copy to return by, the registers.
    world.words(top - 40, &[rip, 0x10, 0, sp, 0x18]);
    world.words(top - 56, &[1]);
    world.words(top - 96 - 168, &regs(rip, sp));
    let dump = world.dump();
    with_kernel(&dump, |kernel| {
        let saved = unwind::saved_regs(kernel, 0).unwrap();
        assert_eq!(saved.from, "the NMI that stopped the CPU");
        assert_eq!(
            names(&unwind::of_cpu(kernel, 0).unwrap())[..2],
            ["middle", "outer"]
        );
        assert!(unwind::saved_regs(kernel, 1).is_err());
    });
}

fn pids(world: World) -> (Vec<i32>, Vec<Missing>) {
    check(world, |kernel| {
        let (tasks, missing) = task::tasks(kernel);
        (tasks.iter().map(|task| task.pid).collect(), missing)
    })
}

#[test]
fn every_thread_and_idle_task_is_listed_once() {
    let (pids, missing) = pids(World::new());
    assert_eq!((pids, missing), (vec![0, 0, 41, 42], Vec::new()));
}

#[test]
fn a_list_that_runs_in_a_circle_ends_and_says_so() {
    let mut world = World::new();
    let process = task(2) + 64;
    world.words(process, &[process]);
    let (pids, missing) = pids(world);
    assert_eq!(pids, [0, 0, 41, 42]);
    assert!(
        missing[0].to_string().contains("comes twice"),
        "{missing:?}"
    );
}

#[test]
fn a_cut_list_is_walked_from_its_other_end() {
    let mut world = World::new();
    // The head's forward pointer is overwritten by text.
    world.words(task(0) + 64, &[0x0072_0069_0056_0338]);
    let (pids, missing) = pids(world);
    assert_eq!(pids, [0, 0, 41, 42]);
    assert!(missing[0].to_string().contains("other end"), "{missing:?}");
}

#[test]
fn what_a_task_is_and_does_is_read() {
    check(World::new(), |kernel| {
        let read = |n| task::read(kernel, VirtAddr(task(n))).unwrap();
        let Task {
            tgid,
            parent,
            state,
            flags,
            ..
        } = read(3);
        assert_eq!((tgid, parent, flags), (Some(41), Some(0), Some(0)));
        assert_eq!(state.unwrap().letters(), "IN");
        assert_eq!(read(1).is_kernel_thread(), Some(true));
        assert_eq!(task::memory(kernel, &read(1)), Ok(None));
        assert!(task::user_regs(kernel, &read(2)).is_err());
    });
}

fn located(at: u64) -> Option<(StackKind, Option<u32>, Option<i32>, u64)> {
    check(World::new(), |kernel| {
        let found = stacks::locate(kernel, VirtAddr(at))?;
        Some((
            found.kind,
            found.cpu,
            found.task.map(|task| task.pid),
            found.offset,
        ))
    })
}

#[test]
fn addresses_are_located_on_every_kind_of_stack() {
    use StackKind::{DoubleFault, Irq, Nmi, Task};
    assert_eq!(located(irq_top(1) - 8), Some((Irq, Some(1), None, 0x3ff8)));
    assert_eq!(located(nmi_top(0) - 0x2000), Some((Nmi, Some(0), None, 0)));
    assert_eq!(located(nmi_top(0) - 0x2001), None, "a guard page");
    assert_eq!(
        located(nmi_top(0) - 0x4000),
        Some((DoubleFault, Some(0), None, 0))
    );
    assert_eq!(located(stack(2) + 8), Some((Task, Some(0), Some(41), 8)));
    assert_eq!(located(stack(3) + 0x10), Some((Task, None, Some(42), 0x10)));
    assert_eq!(located(stack(3) + THREAD_SIZE), None);
    assert_eq!(located(0), None);
}

#[test]
fn stacks_of_kernels_before_5_2_are_found_by_their_ends() {
    let mut world = World::new();
    world.hidden = vec!["hardirq_stack_ptr", "cea_exception_stacks", "log_buf"];
    // One behind the other, without guard pages: #DF, NMI, #DB of two pages, #MC.
    let base = 0xffff_fe00_0000_6000;
    world.words(PERCPU + 0x118, &[irq_top(0)]);
    world.words(
        PERCPU + 0x120,
        &[0x1000, 0x2000, 0x4000, 0x5000].map(|end| base + end),
    );
    check(world, |kernel| {
        let kind =
            |at: u64| stacks::locate(kernel, VirtAddr(at)).map(|found| (found.kind, found.offset));
        use StackKind::{Debug, DoubleFault, Irq, MachineCheck, Nmi};
        assert_eq!(kind(base + 0xfff), Some((DoubleFault, 0xfff)));
        assert_eq!(kind(base + 0x1000), Some((Nmi, 0)));
        assert_eq!(kind(base + 0x3ff8), Some((Debug, 0x1ff8)));
        assert_eq!(kind(base + 0x4000), Some((MachineCheck, 0)));
        assert_eq!(kind(base + 0x5000), None);
        assert_eq!(kind(irq_top(0) - 16), Some((Irq, 0x3ff0)));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever lies on the stacks, and wherever the registers point, a walk ends, without a panic and with no more
    /// frames than its stacks have words.
    #[test]
    fn no_stack_makes_a_walk_panic_or_run_away(
        words in proptest::collection::vec((0usize..4, 0u64..0x400, 0usize..9, any::<u64>()), 1..120),
        rip in 0usize..26, sp in (0usize..4, 0u64..0x800), bp in any::<u64>(),
    ) {
        let mut world = World::new();
        let tops = [stack(2) + THREAD_SIZE, irq_top(0), nmi_top(0), stack(3) + THREAD_SIZE];
        for (place, offset, what, value) in words {
            let word = match what {
                0..=3 => stack_world::TEXT + value % 0x1a00,
                4..=6 => tops[value as usize % 4] - 8 * (value >> 8 & 0x1ff),
                7 => 0x10,
                _ => value,
            };
            world.words(tops[place] - 8 - offset * 8, &[word]);
        }
        let mut from = regs(stack_world::TEXT + rip as u64 * 0x100 + 0x10, tops[sp.0] - 8 * (sp.1 & 0x3ff));
        from[4] = bp;
        let (trace, other) = check(world, |kernel| {
            let sleeper = task::read(kernel, VirtAddr(task(3))).unwrap();
            (unwind::from_regs(kernel, &PtRegs(from)), unwind::of_task(kernel, &sleeper))
        });
        prop_assert!(trace.frames.len() <= 4 * 0x800, "{}", trace.frames.len());
        prop_assert!(trace.trusted().iter().all(|frame| frame.source.is_trusted()));
        prop_assert!(other.is_ok() || other.is_err());
    }
}
