use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Writes a run's two files and reads its time line: `when lane label` a line.
fn check(events: &[Value], console: &str) -> (Timeline, String) {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::fs::write(folder.path().join(EVENTS), lines).unwrap();
    std::fs::write(folder.path().join("console.log"), console).unwrap();
    let timeline = of_run(folder.path(), None).unwrap();
    let text = timeline.marks.iter().map(|mark| {
        format!(
            "{:8.3} {:<12} {} ({})\n",
            mark.at_ms,
            mark.lane.words(),
            mark.label,
            mark.detail
        )
    });
    let text = text.collect();
    (timeline, text)
}

fn host(at_ms: u64, data: Value) -> Value {
    json!({"at_ms": at_ms, "source": "host", "data": data})
}

fn module(at_ms: u64, ktime_us: u64, mut data: Value) -> Value {
    data["ktime_ns"] = (ktime_us * 1000).into();
    json!({"at_ms": at_ms, "source": "module", "data": data})
}

fn run() -> Vec<Value> {
    let setup =
        json!({"request_type": 128, "request": 6, "value": 770, "index": 1033, "length": 255});
    vec![
        host(100, json!({"event": "stage-started", "stage": "boot"})),
        json!({"at_ms": 5030, "source": "guest",
               "data": {"at_ms": 5000, "event": "init", "boot": "first", "release": "6.1.0"}}),
        host(
            5030,
            json!({"event": "stage-ended", "stage": "boot", "took_ms": 4930}),
        ),
        json!({"at_ms": 6015, "source": "guest",
               "data": {"at_ms": 6000, "event": "scenario-started", "comm": "agent", "cpu": 1}}),
        json!({"at_ms": 6020, "source": "device", "data": {"event": "request", "id": 1, "endpoint": 128, "setup": setup}}),
        json!({"at_ms": 6021, "source": "device", "data": {"event": "answer", "id": 1, "setup": setup,
               "status": "success", "length": 254, "bytes": "fe03", "delayed_ms": 0}}),
        module(
            6040,
            6_008_000,
            json!({"event": "note", "status": 0, "buffer": "ffff888000000100", "actual_length": 254}),
        ),
        module(
            6050,
            6_010_000,
            json!({"event": "write", "length": 254, "at_dma": "ffff888000000100"}),
        ),
        host(
            6060,
            json!({"event": "crash-seen", "line": "general protection fault: 0000"}),
        ),
        host(
            9000,
            json!({"event": "dump-verified", "bytes": 2048, "sha256": "00"}),
        ),
    ]
}

const CONSOLE: &str = "\
[    6.007900] recrash-module: {\"event\":\"note\",\"ktime_ns\":6008000000}\r
[    6.012400] general protection fault: 0000\r
";

#[test]
fn guest_and_host_stand_on_one_line_of_time() {
    let (timeline, text) = check(&run(), CONSOLE);
    insta::assert_snapshot!(text, @r"
     100.000 recrash      boot (QEMU starts the kernel)
    5015.000 kernel       first process runs (init of the first boot, kernel 6.1.0)
    6015.000 program      scenario starts (scenario starts: agent on CPU 1)
    6020.000 USB device   URB reaches the device (GET_DESCRIPTOR in (type 0x80, wValue 0x0302, wIndex 0x0409, wLength 255))
    6021.000 USB device   URB served: 254 bytes (GET_DESCRIPTOR in (type 0x80, wValue 0x0302, wIndex 0x0409, wLength 255))
    6023.000 kernel       URB completes: 254 bytes (status 0, buffer 0xffff888000000100)
    6025.000 fault module late write (254 bytes to 0xffff888000000100)
    6027.500 kernel       fault: the kernel dies (general protection fault: 0000)
    9000.000 recrash      capture: the vmcore is whole (2.0 KiB)
    ");
    let (from, to) = timeline.closer.unwrap();
    assert!(
        from > 6019.0 && from < 6020.0 && to > 6027.0 && to < 6029.0,
        "{from} {to}"
    );
    assert_eq!(timeline.stages.len(), 1);
    assert!(
        timeline.missing[0].starts_with("free: no event"),
        "{:?}",
        timeline.missing
    );
}

#[test]
fn without_a_console_the_host_s_clock_does() {
    let (timeline, _) = check(&run(), "");
    let death = timeline
        .marks
        .iter()
        .find(|mark| mark.label == marks::FAULT);
    assert_eq!(death.unwrap().clock, Clock::Host);
    assert!((death.unwrap().at_ms - 6060.0).abs() < 0.001);
}

#[test]
fn of_too_many_events_those_near_the_crash_stay() {
    let mut events = run();
    for n in 0..1000 {
        events.push(json!({"at_ms": 200 + n, "source": "device", "data": {"event": "reset"}}));
    }
    let (timeline, text) = check(&events, CONSOLE);
    assert_eq!(timeline.marks.len(), MAX_MARKS);
    assert!(
        text.contains("late write") && text.contains("URB served"),
        "{text}"
    );
    assert!(
        timeline
            .missing
            .iter()
            .any(|why| why.contains("no more than 300"))
    );
}

/// Whatever there is too much of, the fault, the death and the capture stay.
#[test]
fn of_too_many_events_the_death_and_what_follows_it_stay() {
    let programs = |n: u64| {
        json!({"at_ms": 200 + n, "source": "guest",
               "data": {"at_ms": 200 + n, "event": "scenario-started", "comm": "agent", "cpu": 1}})
    };
    let near =
        |n: u64| json!({"at_ms": 6052, "source": "device", "data": {"event": "reset", "n": n}});
    for many in [&programs as &dyn Fn(u64) -> Value, &near] {
        let mut events = run();
        events.extend((0..1000).map(many));
        events.push(host(9000, json!({"event": "guest-stopped"})));
        let (timeline, text) = check(&events, CONSOLE);
        assert_eq!(timeline.marks.len(), MAX_MARKS);
        for kept in ["late write", FAULT, "guest stopped"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert!(timeline.marks.is_sorted_by(|a, b| a.at_ms <= b.at_ms));
    }
}

#[test]
fn a_line_that_is_no_event_is_counted() {
    let mut events = run();
    events.push(json!({"at_ms": "late"}));
    let (timeline, _) = check(&events, "");
    assert!(
        timeline
            .missing
            .iter()
            .any(|why| why.starts_with("1 line of events.jsonl"))
    );
    let folder = tempfile::tempdir().unwrap();
    assert!(
        of_run(folder.path(), None)
            .unwrap_err()
            .contains("events.jsonl")
    );
}

proptest! {
    // Each writes a folder.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_event_of_a_guest_makes_it_panic(at: u64, ktime: u64, event in "(note|write|freed|x)", text: String, n: i64) {
        let report = json!({"event": event, "ktime_ns": ktime, "status": n, "at_dma": text, "buffer": text});
        let record = json!({"at_ms": at, "source": "module", "data": report});
        let (timeline, _) = check(&[record, host(at, json!({"event": "crash-seen", "line": text}))], &text);
        prop_assert!(timeline.marks.iter().all(|mark| mark.at_ms.is_finite()));
    }
}
