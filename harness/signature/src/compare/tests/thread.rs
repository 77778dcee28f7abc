//! A kernel thread makes no system call: nothing is missing then, and it is another place than any call.

use super::*;

/// The stock kernel's crash, in a worker with this stack.
fn worker(chain: &str) -> Signature {
    let mut worker = stock();
    worker.frames = Frames {
        chain: known(chain.split('|').map(|f| f.parse().unwrap()).collect()),
        syscall: Fact::absent("the stack was not walked up to user mode: outermost frame"),
    };
    worker
}

const WHOLE: &str =
    "__kmalloc|work_allocate [repro]|process_one_work|worker_thread|kthread|ret_from_fork";

fn check(golden: &Signature, found: &Signature, verdict: Verdict) -> Comparison {
    let comparison = compare(golden, found);
    assert_eq!(comparison.verdict, verdict, "{}", told(&comparison));
    comparison
}

#[test]
fn the_same_worker_is_the_same_place() {
    let comparison = check(&worker(WHOLE), &worker(WHOLE), Verdict::SameCrash);
    assert_eq!(comparison.uncovered, []);
    let later = WHOLE.replace("ret_from_fork", "ret_from_fork_asm");
    check(&worker(&later), &worker(&later), Verdict::SameCrash);
}

#[test]
fn a_worker_and_a_system_call_are_two_places() {
    let comparison = check(&stock(), &worker(WHOLE), Verdict::SameBug);
    let differs = |field: &str| comparison.unexplained.iter().any(|d| d.field == field);
    assert!(differs("frames.caller") && differs("frames.syscall"));
}

#[test]
fn a_stack_that_was_cut_short_may_have_come_from_any_call() {
    let cut = WHOLE.replace("|kthread|ret_from_fork", "");
    let comparison = check(&worker(&cut), &worker(&cut), Verdict::SameBug);
    assert!(
        comparison
            .uncovered
            .iter()
            .any(|gap| gap.field == "frames.syscall")
    );
}
