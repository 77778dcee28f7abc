//! Details of oopses of several kernel versions, and of the same ones after what happens to logs on their way.
use proptest::prelude::*;
use recrash_oops::Details;
use recrash_oops::details::{all, details};
use recrash_oops::report::{Kind, Report, reports};

/// Debian 5.10 on QEMU, shortened.
const OOPS: &str = "\
[   10.695207] general protection fault, probably for non-canonical address 0x27c7d0b918fd4f6c: 0000 [#1] SMP NOPTI
[   10.695875] CPU: 1 PID: 76 Comm: esdm-agent Kdump: loaded Tainted: G           OE     5.10.0-46-amd64 #1 Debian 5.10.262-1
[   10.696299] Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
[   10.696727] RIP: 0010:__kmalloc+0xad/0x250
[   10.696979] Code: bf 96 79 49 8b 00 49 83 78 10 00 48 89 04 24 0f 84 96 01 00 00 48 85 c0 0f 84 8d 01 00 00 41 8b 4c 24 28 49 8b 3c 24 48 01 c1 <48> 8b 19 48 89 ce 49 33 9c 24 b8 00 00 00 48 8d 4a 01 48 0f ce 48
[   10.697629] RSP: 0018:ffffa0418015fca0 EFLAGS: 00000206
[   10.697868] RAX: 27c7d0b918fd4eec RBX: 0000000000000680 RCX: 27c7d0b918fd4f6c
[   10.697868] RDX: 000000000000010c RSI: 0000000000000dc0 RDI: 0000000000038120
[   10.697868] RBP: 0000000000000dc0 R08: ffff8fbe9e938120 R09: ffff8fbe97824070
[   10.697868] R10: 0000000000000000 R11: 00000000000000fe R12: ffff8fbe81042700
[   10.697868] R13: 00000000000000fe R14: ffffffffc0394918 R15: ffff8fbe81042700
[   10.697868] FS:  0000555584992400(0000) GS:ffff8fbe9e900000(0000) knlGS:0000000000000000
[   10.697868] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
[   10.697868] CR2: 0000000000000000 CR3: 00000000167a0000 CR4: 0000000000750ee0
[   10.697868] Call Trace:
[   10.697868]  usb_hcd_submit_urb+0x1b8/0xc30 [usbcore]
[   10.697868]  ? proc_do_submiturb+0xbc7/0xd40 [usbcore]
[   10.697868]  entry_SYSCALL_64_after_hwframe+0x67/0xd1
[   10.697868] RIP: 0033:0x7fa1f19dbcab
[   10.697868] RSP: 002b:00007fffcbb250a0 EFLAGS: 00000246 ORIG_RAX: 0000000000000010
[   10.697868] RAX: ffffffffffffffda RBX: 00007fffcbb25210 RCX: 00007fa1f19dbcab
[   10.697868] Modules linked in: repro(OE) usbcore usb_common
[   10.697868] ---[ end trace 0123456789abcdef ]---
[   10.697868] RIP: 0010:__kmalloc+0xad/0x250
[   10.697868] RSP: 0018:ffffa0418015fca0 EFLAGS: 00000206
[   10.697868] RAX: 27c7d0b918fd4eec RBX: 0000000000000680 RCX: 27c7d0b918fd4f6c
";

/// 4.8, in its own layout.
const OLD: &str = "\
BUG: unable to handle kernel paging request at ffff88002bde1e40
IP: [<ffffffff82d4e304>] __memset+0x24/0x30
Oops: 0002 [#1] SMP
CPU: 1 PID: 4070 Comm: a b Not tainted 4.8.0-rc3+ #33
RIP: 0010:[<ffffffff82d4e304>]  [<ffffffff82d4e304>] __memset+0x24/0x30
RSP: 0018:ffff880066befc88  EFLAGS: 00010006
Call Trace:
 <IRQ>  [<ffffffff8170cafa>] ? inner+0x31a/0x325 [snd]
 <EOI>  [<ffffffff8113d9d4>] outer.part.16+0x54/0x60
Code: 48 89 (c3) 90
RIP  [<ffffffff82d4e304>] __memset+0x24/0x30
 RSP <ffff880066befc88>
";

fn read(log: &str) -> Details {
    details(log, &whole(log))
}

fn whole(log: &str) -> Report {
    Report {
        lines: 0..log.lines().count(),
        kind: Kind::Exception,
        title: String::new(),
        alternatives: Vec::new(),
        function: None,
        corrupted: None,
    }
}

fn value(details: &Details, name: &str) -> Option<u64> {
    let mut found = details
        .registers
        .iter()
        .filter(|register| register.value.0 == name);
    found.next().map(|register| register.value.1)
}

/// Everything but line numbers and what is lost.
fn plain(details: &Details) -> String {
    let registers = |list: &[recrash_oops::details::At<(String, u64)>]| {
        list.iter()
            .map(|register| format!("{:x?}", register.value))
            .collect::<Vec<_>>()
    };
    let frames: Vec<_> = details.frames.iter().map(|frame| &frame.value).collect();
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        details.rip.as_ref().map(|rip| &rip.value),
        details.code.as_ref().map(|code| &code.value),
        registers(&details.registers),
        registers(&details.user_registers),
        frames,
        details.modules,
    )
}

#[test]
fn an_oops_of_5_10_is_read_whole() {
    let found = read(OOPS);
    assert_eq!(found.lost, [] as [String; 0]);
    assert_eq!(value(&found, "rcx"), Some(0x27c7_d0b9_18fd_4f6c));
    assert_eq!(value(&found, "gs_base"), Some(0xffff_8fbe_9e90_0000));
    assert_eq!(value(&found, "ss"), Some(0x18));
    assert_eq!(
        found
            .registers
            .iter()
            .filter(|register| register.value.0 == "rax")
            .count(),
        1
    );
    assert_eq!(found.user_registers.len(), 9);
    assert_eq!(found.frames.len(), 3);
    assert!(!found.frames[1].value.reliable);
    assert_eq!(found.modules, ["repro", "usbcore", "usb_common"]);
    assert_eq!(found.release.unwrap().value, "5.10.0-46-amd64");
    assert_eq!(found.comm.unwrap().value, "esdm-agent");
    let code = found.code.unwrap().value;
    assert_eq!((code.bytes.len(), code.rip), (64, Some(42)));
    let exception = found.exception.unwrap().value;
    assert_eq!(
        (exception.vector, exception.address),
        (Some(13), Some(0x27c7_d0b9_18fd_4f6c))
    );
    assert!(exception.non_canonical);
}

#[test]
fn an_oops_of_4_8_is_read_in_its_own_layout() {
    let found = read(OLD);
    let exception = found.exception.unwrap().value;
    assert_eq!(
        (exception.vector, exception.error_code),
        (Some(14), Some(2))
    );
    assert_eq!(exception.address, Some(0xffff_8800_2bde_1e40));
    assert_eq!(
        found.rip.unwrap().value.address,
        Some(0xffff_ffff_82d4_e304)
    );
    assert_eq!(found.comm.unwrap().value, "a b");
    assert_eq!(found.frames.len(), 2);
    assert_eq!(found.frames[0].value.stack.as_deref(), Some("IRQ"));
    assert_eq!(found.frames[0].value.place.module.as_deref(), Some("snd"));
    assert_eq!(found.frames[1].value.stack, None);
    assert_eq!(found.code.unwrap().value.rip, Some(2));
}

#[test]
fn what_is_cut_off_is_told() {
    let log = OOPS.replace(
        "RCX: 27c7d0b918fd4f6c\n[   10.697868] RDX",
        "RCX: 27c7\n[   10.697868] RDX",
    );
    let found = read(&log);
    assert!(
        found
            .lost
            .iter()
            .any(|lost| lost.contains("rcx is cut off")),
        "{:?}",
        found.lost
    );
    let found = read(&OOPS.replace("Code: bf", "Code: Bad RIP value. bf"));
    assert!(found.code.is_none() && found.lost.iter().any(|lost| lost.contains("Bad RIP")));
}

#[test]
fn lines_of_other_callers_are_left_out() {
    let mut log = OOPS.replace("] ", "][    T7] ");
    log = log.replace(
        "[   10.697868][    T7] CS:",
        "[   10.697868][    C0]  foreign+0x1/0x2\n[   10.697868][    T7] CS:",
    );
    assert_eq!(plain(&read(&log)), plain(&read(OOPS)));
}

#[test]
fn carriage_returns_quotes_and_missing_times_change_nothing() {
    let whole = plain(&read(OOPS));
    assert_eq!(plain(&read(&OOPS.replace('\n', "\r\n"))), whole);
    let quoted: String = OOPS.lines().map(|line| format!("> {line}\n")).collect();
    assert_eq!(plain(&read(&quoted)), whole);
    let bare: String = OOPS
        .lines()
        .map(|line| format!("{}\n", &line[15..]))
        .collect();
    assert_eq!(plain(&read(&bare)), whole);
}

#[test]
fn lines_wrapped_at_80_columns_are_joined() {
    let mut wrapped = String::new();
    for line in OOPS.lines() {
        for (at, c) in line.chars().enumerate() {
            if at > 0 && at % 80 == 0 {
                wrapped.push('\n');
            }
            wrapped.push(c);
        }
        wrapped.push('\n');
    }
    assert_eq!(plain(&read(&wrapped)), plain(&read(OOPS)));
}

#[test]
fn real_oops_of_three_kernels_lose_nothing() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/own");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let file = std::fs::read_to_string(&path).unwrap();
        let (_, log) = file.split_once("\n\n").unwrap();
        let mut report = whole(log);
        report.kind = Kind::Other;
        let found = details(log, &report);
        // The stack of a double fault may be no stack, and its trace be empty.
        let lines: Vec<&str> = log.lines().collect();
        let empty = lines
            .windows(2)
            .any(|two| two[0].ends_with("Call Trace:") && two[1].contains("Modules linked in:"));
        let right = |lost: &&String| {
            lost.contains("Unable to access opcode bytes") || empty && lost.starts_with("no frame")
        };
        let lost: Vec<_> = found.lost.iter().filter(|lost| !right(lost)).collect();
        assert!(lost.is_empty(), "{path:?}: {lost:?}");
        assert_eq!(found.frames.is_empty(), empty, "{path:?}");
        let of_reports = all(log, &reports(log));
        let registers = of_reports.iter().map(|found| found.registers.len()).max();
        assert!(
            registers.is_some_and(|count| count >= 29 || found.registers.is_empty()),
            "{path:?}"
        );
        if log.contains("RIP: 0010:") {
            seen += 1;
            let code = log.contains("Code: Unable") || found.code.is_some();
            assert!(
                found.rip.is_some() && found.registers.len() >= 29 && code,
                "{path:?}"
            );
        }
    }
    assert!(seen >= 20, "{seen} oopses with registers");
}

#[test]
fn hostile_sizes_are_bounded_and_told() {
    let endless = read(&format!("RIP: 0010:{}", "RAX: ".repeat(2_000_000)));
    assert!(endless.lost.iter().any(|lost| lost.contains("bytes long")));
    let many = read(&"CPU: 1 Comm\nRAX: 12\nCall Trace:\n f+0x1/0x2\nx\n".repeat(200_000));
    assert!(many.lost.iter().any(|lost| lost.contains("lines are read")));
    assert!(many.lost.len() <= 300 && many.frames.len() <= 2048);
}

#[test]
fn headlines_give_vector_and_address() {
    let check = |line: &str, vector: Option<u8>, address: Option<u64>, code: Option<u64>| {
        let found = read(line).exception.map(|found| found.value);
        let told = found.map(|found| (found.vector, found.address, found.error_code));
        assert_eq!(
            told,
            vector.map(|vector| (Some(vector), address, code)),
            "{line}"
        );
    };
    check(
        "stack segment: 0000 [#1] PREEMPT SMP NOPTI",
        Some(12),
        None,
        Some(0),
    );
    check("divide error: 0000 [#1] SMP", Some(0), None, Some(0));
    check(
        "Oops: invalid opcode: 0000 [#1] PREEMPT SMP",
        Some(6),
        None,
        Some(0),
    );
    check(
        "PANIC: double fault, error_code: 0x0",
        Some(8),
        None,
        Some(0),
    );
    check(
        "BUG: kernel NULL pointer dereference, address: 0000000000000010\n#PF: error_code(0x0002) - not-present page",
        Some(14),
        Some(16),
        Some(2),
    );
    check(
        "BUG: unable to handle kernel NULL pointer dereference at           (null)\nOops: 0010 [#1] SMP",
        Some(14),
        Some(0),
        Some(16),
    );
    check(
        "Oops: general protection fault, probably for non-canonical address 0xd4b4798da9d0dcc7: 0000 [#1] SMP",
        Some(13),
        Some(0xd4b4_798d_a9d0_dcc7),
        Some(0),
    );
    check(
        "BUG: TASK stack guard page was hit at 00000000e333bb7d (stack is 1..2)",
        Some(8),
        None,
        None,
    );
    check("int3: 0000 [#1] SMP", Some(3), None, Some(0));
    check(
        "BUG: KFENCE: out-of-bounds read in f+0x1/0x2",
        None,
        None,
        None,
    );
    check("usb 1-1: general protection fault", None, None, None);
}

proptest! {
    #[test]
    fn a_dropped_line_is_not_replaced_by_wrong_values(dropped in 0usize..26) {
        let log: String = OOPS.lines().enumerate().filter(|(at, _)| *at != dropped).map(|(_, line)| format!("{line}\n")).collect();
        let (found, whole) = (read(&log), read(OOPS));
        for register in &found.registers {
            prop_assert_eq!(value(&whole, &register.value.0), Some(register.value.1));
        }
        let all = whole.registers.iter().filter(|register| ["rax", "rdx", "rbp", "r10", "r13"].contains(&register.value.0.as_str()));
        for register in all {
            prop_assert!(value(&found, &register.value.0).is_some() || found.lost.iter().any(|lost| lost.contains(&register.value.0)));
        }
    }

    #[test]
    fn a_repeated_line_changes_no_value(repeated in 0usize..26) {
        let log: String = OOPS
            .lines()
            .enumerate()
            .map(|(at, line)| format!("{line}\n").repeat(1 + usize::from(at == repeated)))
            .collect();
        let (found, whole) = (read(&log), read(OOPS));
        prop_assert_eq!(&found.rip.map(|rip| rip.value), &whole.rip.as_ref().map(|rip| rip.value.clone()));
        prop_assert_eq!(found.registers.len(), whole.registers.len());
        for register in &found.registers {
            prop_assert_eq!(value(&whole, &register.value.0), Some(register.value.1));
        }
    }

    #[test]
    fn wrapping_at_any_width_loses_no_register_without_telling(width in 66usize..120) {
        let mut wrapped = String::new();
        for line in OOPS.lines() {
            let characters: Vec<char> = line.chars().collect();
            for piece in characters.chunks(width) {
                wrapped.extend(piece);
                wrapped.push('\n');
            }
        }
        let (found, whole) = (read(&wrapped), read(OOPS));
        for register in &whole.registers {
            let now = value(&found, &register.value.0);
            let told = found.lost.iter().any(|lost| lost.contains(&register.value.0));
            prop_assert!(now == Some(register.value.1) || now.is_none() && told, "{:?}: {:?}", register.value, now);
        }
    }

    #[test]
    fn reports_and_details_of_any_oops_that_was_altered_agree_on_their_lines(
        at in 0usize..2600,
        text in "(?s)(\n|Oops: |BUG: |RIP: 0010:f\\+0x1/0x2|\\[    C1\\] |Code: 12|[ -~]){0,20}",
    ) {
        let mut log = OOPS.to_owned();
        log.insert_str(at.min(log.len()), &text);
        let reports = reports(&log);
        for (report, found) in reports.iter().zip(all(&log, &reports)) {
            let within = |line: usize| report.lines.contains(&line);
            prop_assert!(found.registers.iter().all(|register| within(register.line)));
            prop_assert!(found.frames.iter().all(|frame| within(frame.line)));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(log in "(?s)(RIP: |Code: |RSP: 0018:|Call Trace:|<IRQ>|\\[<|>\\]|\\+0x1/0x|RAX: |CPU: |PID: |Comm: |Oops: |\\[#1\\]|[ -~\u{e9}\n]){0,60}") {
        let _ = read(&log);
    }

    #[test]
    fn any_bytes_within_an_oops_are_read_without_a_panic(at in 0usize..2600, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut log = OOPS.as_bytes().to_vec();
        let at = at.min(log.len());
        log.splice(at..at, bytes);
        let _ = read(&String::from_utf8_lossy(&log));
    }
}
