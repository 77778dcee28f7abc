//! What is made of parts is what an undivided campaign or matrix has; but for what tells of the parts.
use super::*;
use crate::campaign::tally::Ended;
use crate::combination::Key;
use crate::commands::run::matrix::cell::{Got, State, Wanted};
use crate::expect::of_verdict;
use crate::partition::{Partition, Scheme};
use crate::parts::merge::merge;
use crate::parts::read::Found;
use crate::parts::{Kernel, Matrix, Part, Planned, RunResult, SCHEMA, Whole};
use crate::report::document::{Case, Difference};
use recrash_signature::compare::Verdict;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const STARTED: &str = "2022-06-05T00:00:00Z";

/// The whole as its only part.
fn merged(runs: Runs, results: Vec<RunResult>) -> Merged {
    let whole = Whole::new(BTreeMap::new(), runs);
    let kernel = Kernel {
        release: "6.1.0".into(),
        packages: "p".into(),
    };
    let part = Part {
        recrash_part: SCHEMA,
        id: whole.id(),
        whole,
        partition: Partition::new(Scheme::Slice, 1, 1).unwrap(),
        started: STARTED.into(),
        complete: true,
        jobs: 1,
        wall_ms: 10,
        notes: vec!["a note".into()],
        kernels: BTreeMap::from([("debian".to_owned(), kernel)]),
        results,
    };
    let file = "part.json".into();
    merge(vec![Found { file, part }]).unwrap()
}

/// As a run's judgement leaves it.
fn case_of(verdict: Verdict, expect: Expect) -> Case {
    let difference = Difference {
        field: "corruption.observed".into(),
        part: "detail".into(),
        golden: "38 03".into(),
        found: "74 00".into(),
        rule: Some("freelist-mid-object".into()),
        reason: "a rule".into(),
    };
    let exit = of_verdict(expect, verdict, false);
    let mut case = Case::new("run", Outcome::of(exit), "why so");
    case.verdict = Some(verdict.to_string());
    case.expected = Some(expect.name().into());
    case.title = Some("general protection fault in f".into());
    case.golden = Some(GoldenRef {
        name: "case/name".into(),
        file: Some("golden/case/name.snap".into()),
    });
    case.explained = vec![difference.clone()];
    case.context = vec![difference];
    case.facts = vec![Fact::new("kernel", "6.1.0")];
    case
}

fn record(number: u32, verdict: Verdict, with_case: bool) -> Record {
    let expect = Expect::SameCrash;
    let exit = of_verdict(expect, verdict, false);
    let run = format!("/runs/{number}");
    let result = json!({
        "verdict": verdict.to_string(), "exit": exit as u8, "exact": false, "why": "why so", "run": run, "failure": null
    });
    Record {
        number,
        verdict,
        exit,
        why: "why so".into(),
        failure: None,
        took: Duration::from_millis(5000 + u64::from(number)),
        run: Some(run.into()),
        case: with_case.then(|| Box::new(case_of(verdict, expect))),
        result,
    }
}

#[test]
fn a_campaign_in_parts_has_the_cases_and_facts_of_an_undivided_one() {
    let records: Vec<Record> = (1..=12)
        .map(|number| match number {
            3 => record(number, Verdict::Different, true),
            5 => record(number, Verdict::Inconclusive, false),
            _ => record(number, Verdict::SameCrash, true),
        })
        .collect();
    let campaign = Campaign {
        attempts: 12,
        target: "debian".into(),
        device: "long-string".into(),
        scenario: "ioctl".into(),
        fault: "early-free".into(),
        append: vec!["quiet".into()],
        golden: "case/name".into(),
        expected: "same-crash".into(),
        from_snapshot: true,
    };
    let about = About {
        target: "debian",
        kernel: "6.1.0",
        scenario: "ioctl",
        fault: "early-free",
        device: "long-string",
        append: &["quiet".to_owned()],
        golden: GoldenRef {
            name: "case/name".into(),
            file: Some("golden/case/name.snap".into()),
        },
        expect: Expect::SameCrash,
        from_snapshot: true,
        of: 12,
        how: "in 1 parts".into(),
        started: STARTED.into(),
        notes: &["a note".to_owned()],
    };
    let tally = Tally::of(&records, 12, Ended::Complete, Duration::from_millis(10));
    let kind = (Kind::Campaign, "campaign".to_owned());
    let undivided = campaign::document::document(kind, &about, &tally, &records, &unplaced);

    let results = records.iter().map(|record| RunResult {
        run: record.number,
        line: record.line(),
        case: record.case.clone(),
    });
    let merged = merged(Runs::Campaign(campaign.clone()), results.collect());
    let mut together = super::super::of_campaign(&merged, &campaign)
        .unwrap()
        .document;
    assert_eq!(together.cases, undivided.cases);
    assert_eq!(together.cases[0].name, "attempt 01");
    assert!(together.cases[0].explained.is_empty());
    assert_eq!(together.sections, undivided.sections);
    assert_eq!(together.environment.pop(), Some(Fact::new("parts", "1")));
    assert_eq!(together.environment, undivided.environment);
    let rest = |document: &Document| {
        let Document {
            expected,
            exit,
            when,
            took_ms,
            missing,
            ..
        } = document.clone();
        (expected, exit, when, took_ms, missing)
    };
    assert_eq!(rest(&together), rest(&undivided));
    let goldens = against(&together, &Runs::Campaign(campaign));
    assert_eq!(
        goldens.into_iter().collect::<Vec<_>>(),
        ["golden/case/name.snap"]
    );
}

/// A combination that was run in this folder.
fn cell(fault: &str, run: &Path, with_case: bool) -> Cell {
    let (expect, verdict) = (Expect::SameCrash, Verdict::Different);
    std::fs::create_dir_all(run).unwrap();
    let got = Got {
        verdict,
        exit: of_verdict(expect, verdict, false),
        why: "why so".into(),
        exact: false,
        explained: 1,
        unexplained: vec!["corruption.kind".into()],
        took: Duration::from_millis(7000),
        run: Some(run.to_owned()),
        case: with_case.then(|| Box::new(case_of(verdict, expect))),
    };
    let wanted = Wanted {
        expect,
        reason: "as the table says".into(),
    };
    Cell {
        key: key(fault),
        state: State::Done(wanted, got),
    }
}

fn key(fault: &str) -> Key {
    Key {
        target: "debian".into(),
        controller: "usb-ehci".into(),
        speed: "high".into(),
        fault: fault.into(),
        capture: "kdump".into(),
        device: "long-string".into(),
        scenario: "ioctl".into(),
    }
}

#[test]
fn a_matrix_in_parts_has_the_cases_of_an_undivided_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("matrices/m");
    std::fs::create_dir_all(&folder).unwrap();
    let cells = [
        cell("early-free", &root.path().join("run-1"), true),
        cell("duplicate-dma", &root.path().join("run-2"), false),
        Cell {
            key: key("none"),
            state: State::Impossible("no high speed".into()),
        },
    ];
    let undivided = matrix::document::document(&cells, &folder, &jiff::ZonedDateTime::now());

    let planned = cells.iter().map(|cell| {
        let (expected, reason) = match &cell.state {
            State::Impossible(why) => (None, why.clone()),
            State::Waiting(wanted) | State::Done(wanted, _) => {
                (Some(wanted.expect.name().to_owned()), wanted.reason.clone())
            }
        };
        Planned {
            key: cell.key.clone(),
            golden: "case/other".into(),
            expected,
            reason,
        }
    });
    let plan = Matrix {
        cells: planned.collect(),
    };
    let results = (1..).zip(&cells).filter_map(|(run, cell)| {
        let State::Done(_, got) = &cell.state else {
            return None;
        };
        Some(RunResult {
            run,
            line: serde_json::to_value(cell.line("not-run")).unwrap(),
            case: got.case.clone(),
        })
    });
    let merged = merged(Runs::Matrix(plan.clone()), results.collect());
    let mut together = super::super::of_matrix(&merged, &plan).unwrap().document;
    place(&mut together, &folder);
    assert_eq!(together.cases, undivided.cases);
    assert_eq!(together.cases[0].folder.as_deref(), Some("../../run-1"));
    assert_eq!(
        (together.exit, &together.missing),
        (undivided.exit, &undivided.missing)
    );
    // Of the run without details the plan tells what it was held against.
    let goldens: Vec<String> = against(&together, &Runs::Matrix(plan))
        .into_iter()
        .collect();
    assert_eq!(goldens, ["golden/case/name.snap", "golden/case/other.snap"]);
}
