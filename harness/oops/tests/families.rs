//! One made-up log for each family of headlines, in the words of the kernel's own messages, and what tells the reports
//! of one log apart. Logs with known titles are held against the rules in `corpus.rs` and `own.rs`.
#![expect(clippy::panic, reason = "a test that finds no report has failed")]
use proptest::prelude::*;
use recrash_oops::report::{Kind, Report, reports};
use std::time::{Duration, Instant};

/// Registers and a call trace: `inner` interrupted, called by `outer` from a system call.
fn oops(headline: &str, place: &str) -> String {
    format!(
        "{headline}\nCPU: 1 PID: 7 Comm: a Not tainted 6.1.0\nRIP: 0010:{place}+0x1/0x20\nCode: 90\nCall Trace:\n <TASK>\n {place}+0x1/0x20\n outer_call+0x9/0x30\n __x64_sys_ioctl+0x8/0x20\n do_syscall_64+0x3b/0x90\n </TASK>\n---[ end trace 0000000000000000 ]---\n"
    )
}

/// A call trace without registers.
fn trace(headline: &str, frames: &[&str]) -> String {
    let frames: String = frames
        .iter()
        .map(|frame| format!(" {frame}+0x1/0x20\n"))
        .collect();
    format!(
        "{headline}\nCPU: 1 PID: 7 Comm: a Not tainted 6.1.0\nCall Trace:\n dump_stack+0x1/0x2\n{frames}\n"
    )
}

fn first(log: &str) -> Report {
    reports(log)
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("no report in {log}"))
}

fn check(log: &str, kind: Kind, title: &str) {
    let report = first(log);
    assert_eq!((report.title.as_str(), report.kind), (title, kind), "{log}");
    assert_eq!(report.corrupted, None, "{log}");
}

#[test]
fn exceptions_name_the_interrupted_function() {
    for (headline, title) in [
        (
            "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
            "general protection fault in inner_call",
        ),
        (
            "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
            "general protection fault in inner_call",
        ),
        (
            "general protection fault: 0000 [#1] SMP",
            "general protection fault in inner_call",
        ),
        (
            "stack segment: 0000 [#1] SMP",
            "stack segment fault in inner_call",
        ),
        ("divide error: 0000 [#1] SMP", "divide error in inner_call"),
        (
            "invalid opcode: 0000 [#1] SMP",
            "invalid opcode in inner_call",
        ),
        (
            "Oops: invalid opcode: 0000 [#1] SMP",
            "invalid opcode in inner_call",
        ),
        ("int3: 0000 [#1] SMP", "int3 in inner_call"),
        (
            "PANIC: double fault, error_code: 0x0",
            "PANIC: double fault in inner_call",
        ),
    ] {
        check(&oops(headline, "inner_call"), Kind::Exception, title);
    }
}

#[test]
fn page_faults_of_every_kernel_have_one_title() {
    for headline in [
        "BUG: unable to handle kernel paging request at ffff88002bde1e40",
        "BUG: unable to handle page fault for address: ffff88002bde1e40",
    ] {
        check(
            &oops(headline, "inner_call"),
            Kind::PagingRequest,
            "BUG: unable to handle kernel paging request in inner_call",
        );
    }
    for headline in [
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    ] {
        check(
            &oops(headline, "inner_call"),
            Kind::NullDereference,
            "BUG: unable to handle kernel NULL pointer dereference in inner_call",
        );
    }
}

#[test]
fn a_helper_is_never_guilty() {
    check(
        &oops("general protection fault: 0000 [#1] SMP", "__kmalloc"),
        Kind::Exception,
        "general protection fault in outer_call",
    );
    check(
        &oops("general protection fault: 0000 [#1] SMP", "memcpy_erms"),
        Kind::Exception,
        "general protection fault in outer_call",
    );
}

#[test]
fn bugs_and_warnings_name_the_function_that_checks_or_its_caller() {
    for (headline, place, kind, title) in [
        (
            "kernel BUG at drivers/a.c:12!",
            "inner_call",
            Kind::Bug,
            "kernel BUG in inner_call",
        ),
        (
            "kernel BUG at lib/list_debug.c:29!",
            "__list_add_valid",
            Kind::Integrity,
            "BUG: corrupted list in outer_call",
        ),
        (
            "kernel BUG at mm/usercopy.c:99!",
            "usercopy_abort",
            Kind::Integrity,
            "BUG: bad usercopy in outer_call",
        ),
        (
            "WARNING: CPU: 1 PID: 7 at drivers/a.c:12 inner_call+0x1/0x20",
            "inner_call",
            Kind::Warning,
            "WARNING in inner_call",
        ),
        (
            "WARNING: drivers/a.c:12 at inner_call+0x1/0x20, CPU#1: a/7",
            "inner_call",
            Kind::Warning,
            "WARNING in inner_call",
        ),
        (
            "WARNING: CPU: 1 PID: 7 at lib/refcount.c:28 refcount_warn_saturate+0x1/0x20",
            "refcount_warn_saturate",
            Kind::Integrity,
            "WARNING: refcount bug in outer_call",
        ),
        (
            "WARNING: CPU: 1 PID: 7 at lib/debugobjects.c:28 debug_print_object+0x1/0x20",
            "debug_print_object",
            Kind::Integrity,
            "WARNING: ODEBUG bug in outer_call",
        ),
        (
            "WARNING: CPU: 1 PID: 7 at lib/kobject.c:28 kobject_get+0x1/0x20",
            "kobject_get",
            Kind::Warning,
            "WARNING: kobject bug in outer_call",
        ),
    ] {
        check(&oops(headline, place), kind, title);
    }
}

#[test]
fn sanitizers_name_kind_access_and_function() {
    let kasan = |what: &str| {
        trace(
            &format!(
                "BUG: KASAN: {what} in inner_call+0x1/0x20\nRead of size 8 at addr ffff888012345678 by task a/7"
            ),
            &["inner_call", "outer_call"],
        )
    };
    check(
        &kasan("slab-use-after-free"),
        Kind::Sanitizer,
        "KASAN: slab-use-after-free Read in inner_call",
    );
    check(
        &kasan("slab-out-of-bounds"),
        Kind::Sanitizer,
        "KASAN: slab-out-of-bounds Read in inner_call",
    );
    check(
        &trace(
            "BUG: KASAN: double-free in kfree+0x1/0x20",
            &["kfree", "outer_call"],
        ),
        Kind::Sanitizer,
        "KASAN: invalid-free in outer_call",
    );
    check(
        &trace(
            "UBSAN: shift-out-of-bounds in fs/a.c:12:3",
            &["__ubsan_handle_shift_out_of_bounds", "outer_call"],
        ),
        Kind::Sanitizer,
        "UBSAN: shift-out-of-bounds in outer_call",
    );
    check(
        "BUG: KMSAN: uninit-value in inner_call+0x1/0x20\n inner_call+0x1/0x20\n outer_call+0x1/0x20\n\nUninit was created at:\n slab_post_alloc_hook+0x1/0x20\n",
        Kind::Sanitizer,
        "KMSAN: uninit-value in inner_call",
    );
    check(
        "BUG: KCSAN: data-race in inner_call / outer_call\n",
        Kind::Sanitizer,
        "KCSAN: data-race in inner_call / outer_call",
    );
    check(
        "BUG: KFENCE: use-after-free read in inner_call+0x1/0x20\n\nUse-after-free read at 0x0000000012345678:\n inner_call+0x1/0x20\n",
        Kind::Sanitizer,
        "KFENCE: use-after-free read in inner_call",
    );
    check(
        "BUG: memory leak\nunreferenced object 0xffff888012345678 (size 32):\n  backtrace (crc 12345678):\n    [<00000000deadbeef>] kmalloc+0x1/0x20\n    [<00000000deadbeef>] outer_call+0x1/0x20\n    [<00000000deadbeef>] do_syscall_64+0x1/0x20\n",
        Kind::Leak,
        "memory leak in outer_call",
    );
}

#[test]
fn stalls_name_what_the_dispatcher_called() {
    check(
        &oops(
            "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:7]",
            "inner_call",
        ),
        Kind::Stall,
        "BUG: soft lockup in outer_call",
    );
    check(
        "rcu: INFO: rcu_preempt self-detected stall on CPU\nCall Trace:\n <IRQ>\n rcu_check+0x1/0x2\n </IRQ>\n asm_sysvec_apic_timer_interrupt+0x1/0x2\nRIP: 0010:inner_call+0x1/0x2\n outer_call+0x1/0x2\n vfs_read+0x1/0x2\n do_syscall_64+0x1/0x2\n",
        Kind::Stall,
        "INFO: rcu detected stall in outer_call",
    );
    check(
        &trace(
            "INFO: task a:7 blocked for more than 120 seconds.",
            &[
                "__schedule",
                "schedule",
                "wait_for_completion",
                "outer_call",
            ],
        ),
        Kind::Stall,
        "INFO: task hung in outer_call",
    );
    check(
        &trace(
            "INFO: task a:7 blocked for more than 120 seconds.",
            &["__schedule", "__mutex_lock", "rtnl_lock", "outer_call"],
        ),
        Kind::Stall,
        "INFO: task hung in rtnl_lock",
    );
    check(
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 32s!\n",
        Kind::Stall,
        "BUG: workqueue lockup",
    );
}

#[test]
fn lock_checks_name_who_takes_the_lock() {
    let cycle = "WARNING: possible circular locking dependency detected\n6.1.0 Not tainted\na/7 is trying to acquire lock:\nffff8880 (&x->lock){+.+.}-{3:3}, at: inner_call+0x1/0x20\n\nbut task is already holding lock:\nffff8881 (&y->lock){+.+.}-{3:3}, at: outer_call+0x1/0x20\n";
    check(
        &trace(cycle, &["inner_call"]),
        Kind::Locking,
        "possible deadlock in inner_call",
    );
    check(
        &trace(
            "WARNING: possible recursive locking detected\na/7 is trying to acquire lock:\nffff8880 (&x->lock){+.+.}-{3:3}, at: inner_call+0x1/0x20",
            &["inner_call"],
        ),
        Kind::Locking,
        "possible deadlock in inner_call",
    );
    check(
        &trace(
            "BUG: scheduling while atomic: a/7/0x00000002",
            &["__schedule_bug", "schedule", "outer_call"],
        ),
        Kind::Locking,
        "BUG: scheduling while atomic in outer_call",
    );
    check(
        &trace(
            "BUG: sleeping function called from invalid context at mm/a.c:12",
            &["__might_resched", "outer_call"],
        ),
        Kind::Locking,
        "BUG: sleeping function called from invalid context in outer_call",
    );
    check(
        &trace(
            "BUG: spinlock bad magic on CPU#1, a/7",
            &["spin_bug", "_raw_spin_lock", "outer_call"],
        ),
        Kind::Locking,
        "BUG: spinlock bad magic in outer_call",
    );
    check(
        &trace(
            "WARNING: suspicious RCU usage\n6.1.0 Not tainted\nnet/a.c:12 suspicious rcu_dereference_check() usage!",
            &["lockdep_rcu_suspicious", "outer_call"],
        ),
        Kind::Locking,
        "WARNING: suspicious RCU usage in outer_call",
    );
}

#[test]
fn allocators_and_panics_say_what_is_wrong() {
    check(
        &trace(
            "BUG kmalloc-64 (Tainted: G    B): Object already free",
            &["outer_call"],
        ),
        Kind::Integrity,
        "BUG: Object already free",
    );
    check(
        &trace(
            "Kernel panic - not syncing: sysrq triggered crash",
            &["panic", "outer_call"],
        ),
        Kind::Panic,
        "kernel panic: sysrq triggered crash",
    );
    check(
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: inner_call+0x1/0x20\n",
        Kind::Integrity,
        "kernel panic: stack is corrupted in inner_call",
    );
    let page = trace(
        "BUG: Bad page state in process a  pfn:12345\npage last allocated via order 0\n alloc_pages+0x1/0x20\n outer_call+0x1/0x20",
        &["bad_page"],
    );
    check(&page, Kind::Integrity, "BUG: Bad page state in outer_call");
}

#[test]
fn a_panic_that_ends_a_report_is_no_report_of_its_own() {
    let log = oops("general protection fault: 0000 [#1] SMP", "inner_call")
        + "Kernel panic - not syncing: Fatal exception\n";
    assert_eq!(reports(&log).len(), 1);
}

#[test]
fn a_panic_long_after_a_warning_is_one() {
    let log = oops(
        "WARNING: CPU: 1 PID: 7 at a.c:12 inner_call+0x1/0x20",
        "inner_call",
    ) + &trace(
        "Kernel panic - not syncing: sysrq triggered crash",
        &["outer_call"],
    );
    let titles: Vec<String> = reports(&log)
        .into_iter()
        .map(|report| report.title)
        .collect();
    assert_eq!(
        titles,
        [
            "WARNING in inner_call",
            "kernel panic: sysrq triggered crash"
        ]
    );
}

#[test]
fn a_boot_counts_only_while_a_kernel_was_running() {
    assert_eq!(
        reports("Booting the kernel.\n[    0.0] Linux version 6.1.0\n"),
        []
    );
    let again = "[   99.0] eth0: link up\nBooting the kernel.\n[    0.0] Linux version 6.1.0\n";
    assert_eq!(first(again).title, "unexpected kernel reboot");
}

#[test]
fn a_report_ends_where_the_next_kernel_boots() {
    let log = oops("general protection fault: 0000 [#1] SMP", "inner_call");
    let end = log.lines().count();
    let booted = log + "Linux version 6.1.0\nCommand line: quiet\n";
    assert_eq!(first(&booted).lines, 0..end);
}

#[test]
fn lines_of_another_cpu_do_not_mix_in() {
    let mixed: String = oops("general protection fault: 0000 [#1] SMP", "inner_call")
        .lines()
        .map(|line| format!("[    1.000000][    T7] {line}\n[    1.000000][    T8] RIP: 0010:stranger+0x1/0x20\n"))
        .collect();
    assert_eq!(
        first(&mixed).title,
        "general protection fault in inner_call"
    );
}

#[test]
fn a_cut_report_says_so() {
    for log in [
        "BUG: KASAN: use-after-free in inner_call+0x1/0x20\n",
        "general protection fault: 0000 [#1] SMP\nCPU: 1 PID: 7\n",
        "Kernel panic - not syncing: Fatal exception\n",
        "WARNING: possible circular locking dependency detected\n",
    ] {
        assert!(first(log).corrupted.is_some(), "{log}");
    }
}

#[test]
fn notes_of_the_kernel_and_of_programs_are_no_reports() {
    for log in [
        "INFO: lockdep is turned off.\n",
        "[    1.0] EXT4-fs (loop1): INFO: recovery required on readonly filesystem\n",
        "a[7] general protection fault ip:401000 sp:7ffe error:0 in a[400000+1000]\n",
        "Linux version 6.1.0\nCommand line: panic=1 oops=panic\n",
    ] {
        assert_eq!(reports(log), [], "{log}");
    }
}

#[test]
fn floods_and_endless_lines_take_bounded_time() {
    let headline = "[    1.0][    T7] BUG: KASAN: use-after-free in a+0x1/0x2\n";
    let many_callers: String = (0..100_000)
        .map(|n| format!("[    1.0][T{n}] general protection fault: 0000 [#1]\n"))
        .collect();
    for log in [
        headline.repeat(200_000),
        "BUG: ".repeat(2_000_000),
        "[ 1.0] at: ".repeat(1_000_000),
        many_callers,
        " foo+0x1/0x2\n".repeat(500_000),
    ] {
        let start = Instant::now();
        let found = reports(&log);
        assert!(found.len() <= 400);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{:?} for {}",
            start.elapsed(),
            &log[..30]
        );
    }
}

proptest! {
    #[test]
    fn any_words_of_reports_in_any_order_are_read(words in prop::collection::vec(prop::sample::select(vec![
        "BUG: ", "KASAN: ", "use-after-free in ", "a+0x1/0x2", "\n", "[ 1.0] ", "[ T1] ", "Call Trace:", "RIP: 0010:", " ", "? ",
        "WARNING: ", "at: ", "INFO: ", "rcu_sched detected stalls", "Kernel panic - not syncing: ", "\u{0}", "\u{fffd}", "\u{1b}[",
        "apic_timer_interrupt", "backtrace:", "Read of size 8", "general protection fault: ", "---[ end trace", "<IRQ>", "_RNvC",
    ]), 0..200)) {
        let log = words.concat();
        let lines = log.split('\n').count();
        for report in reports(&log) {
            prop_assert!(report.lines.start < report.lines.end && report.lines.end <= lines);
            prop_assert!(report.title.len() <= 120);
        }
    }
}
