//! Tables of made-up matrices.
use super::super::cell::{Got, worst};
use super::*;
use crate::expect::{Expect, decide_verdict};
use recrash_signature::compare::Verdict;
use std::time::Duration;

fn key(controller: &str, fault: &str) -> Key {
    Key {
        target: "debian".into(),
        controller: controller.into(),
        speed: "high".into(),
        fault: fault.into(),
        capture: "kdump".into(),
        device: "long-string".into(),
        scenario: "s".into(),
    }
}

fn wanted(expect: Expect) -> Wanted {
    Wanted {
        expect,
        reason: format!("as {} does", expect.name()),
    }
}

fn done(fault: &str, expect: Expect, verdict: Verdict, unexplained: &[&str]) -> Cell {
    let got = Got {
        verdict,
        exit: decide_verdict(expect, verdict),
        why: "why so".into(),
        explained: 15,
        unexplained: unexplained.iter().map(|&field| field.into()).collect(),
        took: Duration::from_millis(25_340),
        case: None,
        run: Some("runs/1".into()),
    };
    Cell {
        key: key("usb-ehci", fault),
        state: State::Done(wanted(expect), got),
    }
}

fn impossible() -> Cell {
    Cell {
        key: key("piix3-usb-uhci", "none"),
        state: State::Impossible("no high | speed".into()),
    }
}

fn waiting() -> Cell {
    Cell {
        key: key("qemu-xhci", "none"),
        state: State::Waiting(wanted(Expect::NoCrash)),
    }
}

fn check(cells: &[Cell], when: Waiting, exit: Exit, expected: &str) {
    let text = anstream::adapter::strip_str(&text(cells, when)).to_string();
    assert_eq!(text.trim_end(), expected.trim());
    assert_eq!(worst(cells), exit);
}

#[test]
fn a_matrix_that_came_out_as_expected_has_no_marks() {
    check(
        &[
            done("early-free", Expect::SameCrash, Verdict::SameCrash, &[]),
            impossible(),
            impossible(),
        ],
        Waiting::NotRun,
        Exit::Met,
        "
target  controller      speed  fault       capture  expected    got         differences   time
debian  usb-ehci        high   early-free  kdump    same-crash  same-crash  15 explained  25.3 s
debian  piix3-usb-uhci  high   none        kdump    -           impossible  -             -
debian  piix3-usb-uhci  high   none        kdump    -           impossible  -             -

Expected
  same-crash: as same-crash does

Impossible
  no high | speed

3 combinations: 1 as expected, 0 not as expected, 2 impossible",
    );
}

#[test]
fn an_unexpected_verdict_is_marked_and_explained() {
    check(
        &[done(
            "early-free",
            Expect::SameCrash,
            Verdict::SameBug,
            &["frames.chain"],
        )],
        Waiting::NotRun,
        Exit::Differs,
        "
target  controller  speed  fault       capture  expected    got       differences                  time
debian  usb-ehci    high   early-free  kdump    same-crash  same-bug  15 explained, 1 unexplained  25.3 s  ← not as expected

Expected
  same-crash: as same-crash does

Not as expected
  debian, usb-ehci high, early-free, kdump: same-bug: why so (runs/1)

1 combination: 0 as expected, 1 not as expected",
    );
}

#[test]
fn a_matrix_that_was_stopped_is_inconclusive() {
    let cells = [
        done("none", Expect::NoCrash, Verdict::SameCrash, &[]),
        waiting(),
    ];
    assert_eq!(worst(&cells), Exit::CrashOrNot);
    assert_eq!(worst(&cells[1..]), Exit::Inconclusive);
    let text = text(&cells, Waiting::NotRun);
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "2 combinations: 0 as expected, 1 not as expected, 1 not run"
    );
}

#[test]
fn a_plan_tells_what_would_run() {
    check(
        &[waiting()],
        Waiting::Planned,
        Exit::Inconclusive,
        "
target  controller  speed  fault  capture  expected  got  differences  time
debian  qemu-xhci   high   none   kdump    no-crash  -    -            -

Expected
  no-crash: as no-crash does

1 combination: 1 to run",
    );
}

#[test]
fn markdown_has_a_row_a_cell_and_escapes_its_bars() {
    let text = markdown(&[waiting(), impossible()], Waiting::NotRun);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(
        rows[2],
        "| debian | qemu-xhci | high | none | kdump | no-crash | not run | - | - |  |"
    );
    assert!(text.contains("- no high \\| speed\n"));
}
