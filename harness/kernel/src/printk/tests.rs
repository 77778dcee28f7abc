//! Rendering and the search for the death's message, on records made here.
use super::*;

fn record(ts_nsec: u64, text: &str) -> Record {
    Record {
        seq: None,
        ts_nsec,
        level: 6,
        facility: 0,
        caller: None,
        text: text.as_bytes().to_vec(),
        dict: Vec::new(),
        data_less: false,
    }
}

fn check(ts_nsec: u64, text: &str, expected: &str) {
    assert_eq!(record(ts_nsec, text).line(), expected);
}

#[test]
fn lines_look_as_makedumpfile_prints_them() {
    check(1_234_567_899, "hello", "[    1.234567] hello");
    check(0, "a\nb", "[    0.000000] a\n               b");
    check(123_456_000_001_000, "x", "[123456.000001] x");
    check(0, "\u{1b}[0m\té", "[    0.000000] \\x1b[0m\t\\xc3\\xa9");
}

#[test]
fn a_record_without_data_is_no_line() {
    let mut log = Log {
        records: vec![record(0, ""), record(0, "end")],
        gaps: Vec::new(),
    };
    assert_eq!(log.dmesg(), "[    0.000000] \n[    0.000000] end\n");
    log.records[0].data_less = true;
    assert_eq!(log.dmesg(), "[    0.000000] end\n");
}

#[test]
fn the_caller_stands_behind_the_time_and_moves_further_lines() {
    let mut printed = record(0, "a\nb");
    printed.caller = Some("C12".into());
    let expected = "[    0.000000] [     C12] a\n                          b";
    assert_eq!(printed.line_with_caller(), expected);
}

#[test]
fn callers_are_threads_or_cpus() {
    assert_eq!(
        [caller(41), caller(0x8000_0003)],
        ["T41".to_string(), "C3".into()]
    );
}

#[test]
fn the_last_oops_is_the_first_line_of_the_last_group_before_the_panic() {
    let texts = [
        "BUG: an earlier one",
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "BUG: unable to handle page fault for address: 0000000000001000",
        "#PF: supervisor read access in kernel mode",
        "#PF: error_code(0x0000) - not-present page",
        "PGD 0 P4D 0 ",
        "Oops: 0000 [#1] PREEMPT SMP",
        "CPU: 1 PID: 41 Comm: agent",
        "Kernel panic - not syncing: Fatal exception",
        "Oops: behind",
    ];
    let log = Log {
        records: texts.iter().map(|text| record(0, text)).collect(),
        gaps: Vec::new(),
    };
    let oops = last_oops(&log);
    assert_eq!(oops.banner.map(|(index, _)| index), Some(7));
    assert_eq!(oops.panic, Some((13, "Fatal exception".into())));
}

#[test]
fn what_user_space_wrote_is_no_oops() {
    let mut fake = record(0, "Kernel panic - not syncing: really");
    fake.facility = 1;
    let log = Log {
        records: vec![fake],
        gaps: Vec::new(),
    };
    assert_eq!(last_oops(&log), Oops::default());
}
