//! Transcripts of runs against the state machine.
use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    start: Duration::from_secs(5),
    boot: Duration::from_secs(60),
    modules: Duration::from_secs(61),
    device: Duration::from_secs(62),
    snapshot: Duration::from_secs(30),
    scenario: Duration::from_secs(63),
    stop: Duration::from_secs(15),
    capture_boot: Duration::from_secs(64),
    dump: Duration::from_secs(100),
    dump_pause: Duration::from_secs(20),
    shutdown: Duration::from_secs(10),
};

/// One word of a transcript.
fn event(word: &str) -> GuestEvent {
    let init = |boot: &str| GuestEvent::Init {
        boot: boot.into(),
        release: "6.1".into(),
    };
    match word {
        "init" => init("first"),
        "init2" => init("capture"),
        "loaded" => GuestEvent::CaptureKernelLoaded,
        "left" => GuestEvent::CaptureLeftToHost,
        "scenario" => GuestEvent::ScenarioStarted {
            comm: "x".into(),
            cpu: 0,
        },
        "survived" => GuestEvent::ScenarioSurvived,
        "dying" => GuestEvent::DyingAsAsked,
        "dumping" => GuestEvent::DumpStarted {
            tool: "makedumpfile".into(),
        },
        "written" => GuestEvent::DumpWritten { bytes: 9 },
        "failed" => GuestEvent::Failed {
            doing: "mount".into(),
            error: "no".into(),
        },
        other => panic!("no such word: {other}"),
    }
}

fn feed(machine: &mut Machine, now: Duration, word: &str) -> Option<End> {
    let guest;
    let input = match word {
        "start" => Input::Start,
        "ready" => Input::QemuReady,
        "holding" => Input::Holding,
        "saved" => Input::Saved,
        "restoring" => Input::Restoring,
        "oops" => Input::Crash("general protection fault"),
        "stopped" => Input::Stopped,
        "given-up" => Input::NotEnumerated("usb usb1-port1: unable to enumerate USB device"),
        "qbytes" => Input::QemuDumpBytes,
        "qwhole" => Input::QemuDumpWhole,
        "bytes" => Input::DumpBytes(1),
        "whole" => Input::DumpWhole,
        "cut" => Input::DumpFailed("cut short"),
        "off" => Input::QemuShutdown("guest-shutdown"),
        "reset" => Input::QemuShutdown("guest-reset"),
        "exit" => Input::QemuExited {
            how: "exited with code 0",
            clean: true,
        },
        "killed" => Input::QemuExited {
            how: "was killed by signal 9",
            clean: false,
        },
        word => {
            guest = event(word);
            Input::Guest(&guest)
        }
    };
    machine.step(now, input)
}

/// Plays a transcript, a second a word. `expected` is the stage at the end, then how it ended.
fn check(transcript: &str, expected: &str) -> Machine {
    check_in(CaptureMode::Kdump, transcript, expected)
}

fn check_in(mode: CaptureMode, transcript: &str, expected: &str) -> Machine {
    let mut machine = Machine::new(LIMITS, mode);
    let mut end = None;
    for (second, word) in (0..).zip(transcript.split(' ')) {
        assert!(end.is_none(), "ended before {word}");
        end = feed(&mut machine, Duration::from_secs(second), word);
    }
    let end = match end {
        None => "goes on".into(),
        Some(End::Crashed) => "crashed".into(),
        Some(End::Survived) => "survived".into(),
        Some(End::Saved) => "saved".into(),
        Some(End::Failed(failure)) => format!("{:?}: {}", failure.kind, failure.detail),
    };
    assert_eq!(format!("{}, {end}", machine.stage()), expected);
    machine
}

#[test]
fn a_crash_with_a_vmcore_is_a_crash() {
    let machine = check(
        "start ready init loaded scenario oops init2 dumping bytes written whole exit",
        "shutdown, crashed",
    );
    assert_eq!(
        machine.crash(),
        Some(&CrashSeen {
            stage: Stage::Scenario,
            title: "general protection fault".into()
        })
    );
}

#[test]
fn a_guest_that_holds_is_saved_and_that_is_the_end() {
    check("start ready init loaded holding saved", "snapshot, saved");
    // Where nothing was to be saved, nothing has been.
    check("start ready init loaded saved", "device, goes on");
    check(
        "start ready init loaded oops holding saved",
        "capture-boot, goes on",
    );
    check(
        "start ready init loaded scenario holding saved",
        "scenario, goes on",
    );
}

#[test]
fn a_restored_guest_begins_with_its_scenario() {
    check("start restoring", "restore, goes on");
    check(
        "start restoring scenario oops init2 dumping bytes written whole exit",
        "shutdown, crashed",
    );
    let machine = check("start restoring", "restore, goes on");
    let End::Failed(failure) = machine.timed_out(machine.deadline()) else {
        panic!("it did not go on");
    };
    assert_eq!(failure.stage, Stage::Restore);
}

#[test]
fn a_death_that_was_asked_for_has_its_dump_and_says_so() {
    let machine = check_in(
        CaptureMode::Qemu,
        "start ready init left scenario survived dying oops stopped qbytes qwhole",
        "shutdown, goes on",
    );
    assert!(machine.died_as_asked());
    // The word and the death come by different ways.
    let machine = check_in(
        CaptureMode::Qemu,
        "start ready init left scenario survived stopped dying qbytes qwhole",
        "shutdown, goes on",
    );
    assert!(machine.died_as_asked());
    let machine = check(
        "start ready init loaded scenario survived dying oops init2 dumping bytes written whole exit",
        "shutdown, crashed",
    );
    assert!(machine.died_as_asked());
}

#[test]
fn a_guest_that_died_in_its_scenario_did_not_ask_for_it() {
    let machine = check(
        "start ready init loaded scenario dying oops init2 dumping bytes written whole exit",
        "shutdown, crashed",
    );
    assert!(!machine.died_as_asked());
}

#[test]
fn a_survived_scenario_ends_with_qemu() {
    check(
        "start ready init loaded scenario survived off cut exit",
        "shutdown, survived",
    );
}

#[test]
fn a_guest_that_resets_has_not_survived() {
    check(
        "start ready init loaded scenario survived reset cut exit",
        "shutdown, QemuDied: QEMU exited with code 0, its reason: guest-reset",
    );
}

#[test]
fn a_qemu_that_is_killed_while_the_guest_powers_off_proves_nothing() {
    check(
        "start ready init loaded scenario survived cut killed",
        "shutdown, QemuDied: QEMU was killed by signal 9",
    );
}

#[test]
fn a_qemu_that_tells_no_reason_must_end_well() {
    check(
        "start ready init loaded scenario survived cut exit",
        "shutdown, survived",
    );
}

#[test]
fn a_crash_while_powering_off_is_a_crash() {
    let machine = check(
        "start ready init loaded scenario survived oops init2 bytes whole exit",
        "shutdown, crashed",
    );
    assert_eq!(machine.crash().map(|c| c.stage), Some(Stage::Shutdown));
}

#[test]
fn a_crash_nobody_saw_on_the_console_is_told_by_the_capture_boot() {
    let machine = check(
        "start ready init loaded scenario init2 bytes",
        "dump, goes on",
    );
    assert_eq!(machine.crash().map(|c| c.stage), Some(Stage::Scenario));
}

#[test]
fn a_crash_in_the_boot_says_so() {
    let machine = check(
        "start ready oops init2 bytes whole exit",
        "shutdown, crashed",
    );
    assert_eq!(machine.crash().map(|c| c.stage), Some(Stage::Boot));
}

#[test]
fn a_line_that_looked_like_an_oops_is_taken_back_and_kept() {
    let machine = check(
        "start ready init loaded scenario oops survived off exit",
        "shutdown, survived",
    );
    assert_eq!(machine.crash(), None);
    assert_eq!(
        machine.taken_back(),
        Some(&CrashSeen {
            stage: Stage::Scenario,
            title: "general protection fault".into()
        })
    );
}

#[test]
fn a_guest_that_survives_again_and_again_stops_the_clock_once() {
    let mut machine = check("start ready init loaded scenario", "scenario, goes on");
    let mut deadlines = Vec::new();
    for pair in 0..50 {
        for (word, second) in [("oops", 10 + 2 * pair), ("survived", 11 + 2 * pair)] {
            assert_eq!(feed(&mut machine, Duration::from_secs(second), word), None);
        }
        deadlines.push(machine.deadline());
    }
    // The first pair ends the scenario, the second one's oops is a crash without a vmcore.
    assert_eq!(deadlines[0], Duration::from_secs(11) + LIMITS.shutdown);
    let last = Duration::from_secs(12) + LIMITS.capture_boot;
    assert!(deadlines[1..].iter().all(|at| *at == last), "{deadlines:?}");
}

#[test]
fn the_deadlines_of_all_stages_end_the_run_whatever_it_does() {
    let mut machine = check("start ready", "boot, goes on");
    machine.since = Duration::from_secs(1_000_000);
    let all = 5 + 60 + 61 + 62 + 30 + 30 + 63 + 15 + 100 + 64 + 100 + 10;
    assert_eq!(machine.deadline(), Duration::from_secs(all));
}

#[test]
fn a_crash_without_a_vmcore_is_none() {
    check(
        "start ready init loaded scenario oops exit",
        "capture-boot, NoVmcore: the kernel died, QEMU exited with code 0, and there is no whole vmcore",
    );
    check(
        "start ready init loaded scenario oops init2 bytes cut",
        "dump, NoVmcore: cut short",
    );
}

#[test]
fn qemu_dying_names_the_stage() {
    check(
        "start exit",
        "start-qemu, QemuDied: QEMU exited with code 0",
    );
    check(
        "start ready init loaded exit",
        "device, QemuDied: QEMU exited with code 0",
    );
}

#[test]
fn what_the_init_could_not_do_is_told() {
    check("start ready init failed", "modules, Guest: mount: no");
}

#[test]
fn a_guest_cannot_go_back() {
    check(
        "start ready init loaded scenario init loaded",
        "scenario, goes on",
    );
    check("start ready survived init", "modules, goes on");
}

#[test]
fn a_stall_names_the_stage() {
    let machine = check("start ready", "boot, goes on");
    assert_eq!(machine.deadline(), Duration::from_secs(1 + 60));
    let End::Failed(failure) = machine.timed_out(Duration::from_secs(61)) else {
        panic!("a stall has no result");
    };
    assert_eq!(failure.stage, Stage::Boot);
    assert_eq!(failure.kind, FailureKind::Stalled);
    assert_eq!(failure.detail, "nothing new within 60 s");
}

#[test]
fn a_dump_that_pauses_too_long_is_a_stall() {
    let machine = check(
        "start ready init loaded scenario oops init2 bytes",
        "dump, goes on",
    );
    assert_eq!(machine.deadline(), Duration::from_secs(7 + 20));
}

#[test]
fn a_dump_that_never_ends_is_a_stall() {
    let mut machine = check(
        "start ready init loaded scenario oops init2 bytes",
        "dump, goes on",
    );
    let mut now = Duration::from_secs(8);
    while now < machine.deadline() {
        assert!(now < Duration::from_secs(200));
        feed(&mut machine, now, "bytes");
        now += Duration::from_secs(1);
    }
    assert_eq!(machine.deadline(), Duration::from_secs(6 + 100));
}

#[test]
fn a_guest_that_cannot_power_off_has_not_survived() {
    let machine = check(
        "start ready init loaded scenario survived",
        "shutdown, goes on",
    );
    let End::Failed(failure) = machine.timed_out(machine.deadline()) else {
        panic!("a guest that hangs is not alive");
    };
    assert_eq!(failure.stage, Stage::Shutdown);
    assert_eq!(failure.kind, FailureKind::Stalled);
    assert_eq!(failure.detail, "the guest did not power off within 10 s");
}

#[test]
fn a_guest_that_cannot_power_off_after_its_dump_still_has_a_result() {
    let machine = check(
        "start ready init loaded scenario oops init2 bytes whole",
        "shutdown, goes on",
    );
    assert_eq!(machine.timed_out(machine.deadline()), End::Crashed);
}

const BY_QEMU: CaptureMode = CaptureMode::Qemu;

#[test]
fn a_crash_that_qemu_dumps_is_a_crash() {
    let machine = check_in(
        BY_QEMU,
        "start ready init left scenario oops stopped qbytes qwhole exit",
        "shutdown, crashed",
    );
    assert_eq!(
        machine.crash(),
        Some(&CrashSeen {
            stage: Stage::Scenario,
            title: "general protection fault".into()
        })
    );
}

#[test]
fn the_console_may_tell_of_the_crash_after_qemu_has_stopped_it() {
    let machine = check_in(
        BY_QEMU,
        "start ready init left scenario stopped oops qbytes",
        "qemu-dump, goes on",
    );
    assert_eq!(
        machine.crash(),
        Some(&CrashSeen {
            stage: Stage::Scenario,
            title: "general protection fault".into()
        })
    );
}

#[test]
fn a_crash_after_which_nobody_stops_the_guest_is_a_stall() {
    let machine = check_in(
        BY_QEMU,
        "start ready init left scenario oops",
        "stop, goes on",
    );
    let End::Failed(failure) = machine.timed_out(machine.deadline()) else {
        panic!("there is no dump");
    };
    assert_eq!(failure.stage, Stage::Stop);
    assert_eq!(
        failure.detail,
        "the kernel died, and QEMU was not told to stop it within 15 s"
    );
}

#[test]
fn a_qemu_that_ends_before_its_dump_is_whole_has_none() {
    check_in(
        BY_QEMU,
        "start ready init left scenario oops stopped qbytes killed",
        "qemu-dump, NoVmcore: the kernel died, QEMU was killed by signal 9, and there is no whole vmcore",
    );
}

#[test]
fn a_guest_that_qemu_dumps_cannot_pretend_to_have_a_capture_kernel() {
    check_in(
        BY_QEMU,
        "start ready init left scenario init2 dumping",
        "scenario, goes on",
    );
}

#[test]
fn a_line_that_looked_like_an_oops_is_taken_back_while_a_stop_is_awaited() {
    let machine = check_in(
        BY_QEMU,
        "start ready init left scenario oops survived off exit",
        "shutdown, survived",
    );
    assert!(machine.taken_back().is_some());
}

#[test]
fn a_crash_while_powering_off_is_dumped_too() {
    let machine = check_in(
        BY_QEMU,
        "start ready init left scenario survived oops stopped qwhole",
        "shutdown, goes on",
    );
    assert_eq!(
        machine.crash().map(|crash| crash.stage),
        Some(Stage::Shutdown)
    );
}

#[test]
fn two_dumps_of_one_death_come_one_after_the_other() {
    check_in(
        CaptureMode::Both,
        "start ready init loaded scenario oops stopped qbytes qwhole init2 bytes whole exit",
        "shutdown, crashed",
    );
    let machine = check_in(
        CaptureMode::Both,
        "start ready init loaded scenario oops stopped qbytes qwhole",
        "capture-boot, goes on",
    );
    // From QEMU's dump on: the time that it took is not the capture kernel's.
    assert_eq!(machine.deadline(), Duration::from_secs(8 + 64));
}

#[test]
fn a_second_stop_begins_no_second_dump() {
    check_in(
        CaptureMode::Both,
        "start ready init loaded scenario oops stopped qwhole stopped",
        "capture-boot, goes on",
    );
}

#[test]
fn a_death_that_qemu_never_heard_of_still_has_the_vmcore_of_the_capture_kernel() {
    check_in(
        CaptureMode::Both,
        "start ready init loaded scenario oops init2 bytes whole exit",
        "shutdown, crashed",
    );
}

#[test]
fn a_device_that_the_kernel_has_given_up_on_is_not_waited_for() {
    for words in [
        "start ready init loaded given-up",
        "start ready init given-up loaded",
    ] {
        let machine = check(words, "device, goes on");
        assert!(machine.deadline() <= Duration::from_secs(10), "{words}");
        let End::Failed(failure) = machine.timed_out(machine.deadline()) else {
            panic!("{words}: it has failed");
        };
        assert_eq!(failure.kind, FailureKind::Guest);
        assert!(
            failure.detail.contains("unable to enumerate"),
            "{failure:?}"
        );
    }
    // It came back on another port.
    let machine = check(
        "start ready init loaded given-up scenario",
        "scenario, goes on",
    );
    assert!(machine.deadline() > Duration::from_secs(60));
}

proptest! {
    #[test]
    fn whatever_a_guest_says_it_ends(
        words in proptest::collection::vec(0_usize..16, 0..200),
        mode in 0_usize..3,
    ) {
        const WORDS: [&str; 16] = [
            "ready", "init", "init2", "loaded", "scenario", "survived", "dumping", "written", "oops",
            "bytes", "cut", "whole", "stopped", "qbytes", "qwhole", "given-up",
        ];
        let mode = [CaptureMode::Kdump, CaptureMode::Qemu, CaptureMode::Both][mode];
        let mut machine = Machine::new(LIMITS, mode);
        feed(&mut machine, Duration::ZERO, "start");
        let mut changes = 0;
        for word in words {
            let before = machine.stage();
            if feed(&mut machine, Duration::from_secs(1), WORDS[word]).is_some() {
                return Ok(());
            }
            changes += u32::from(machine.stage() != before);
        }
        // The stages are few and none starts anew for ever, so the deadlines add up to an end.
        prop_assert!(changes < 14, "{changes}");
        let _ = machine.timed_out(machine.deadline());
    }
}
