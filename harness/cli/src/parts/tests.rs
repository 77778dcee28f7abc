use super::merge::{Merged, list, merge};
use super::read::{Found, parse};
use super::*;
use crate::partition::Scheme;
use proptest::prelude::*;
use serde_json::json;

fn whole(attempts: u32) -> Whole {
    Whole::new(
        BTreeMap::from([("golden case/name".to_owned(), "00".to_owned())]),
        Runs::Campaign(Campaign {
            attempts,
            target: "t".into(),
            device: "d".into(),
            scenario: "s".into(),
            fault: "f".into(),
            append: Vec::new(),
            golden: "case/name".into(),
            expected: "same-crash".into(),
            from_snapshot: false,
        }),
    )
}

fn result(run: u32, verdict: &str, exit: u8) -> RunResult {
    RunResult {
        run,
        line: json!({"type": "attempt", "attempt": run, "verdict": verdict, "exit": exit, "took_ms": 5}),
        case: None,
    }
}

/// A slice of a campaign of eight attempts, all of which came to the same crash.
fn part(number: u32, of: u32) -> Part {
    let whole = whole(8);
    let partition = Partition::new(Scheme::Slice, number, of).unwrap();
    Part {
        recrash_part: SCHEMA,
        id: whole.id(),
        partition,
        started: format!("2022-06-05T00:00:0{number}Z"),
        complete: true,
        jobs: 1,
        wall_ms: 10,
        notes: vec!["a note".into()],
        kernels: BTreeMap::from([(
            "t".to_owned(),
            Kernel {
                release: "6.1".into(),
                packages: "p".into(),
            },
        )]),
        results: whole
            .of(partition)
            .into_iter()
            .map(|run| result(run, "same-crash", 0))
            .collect(),
        whole,
    }
}

fn found(parts: Vec<Part>) -> Vec<Found> {
    let all = (1..).zip(parts);
    all.map(|(n, part)| Found {
        file: format!("{n}/part.json").into(),
        part,
    })
    .collect()
}

fn fits(parts: Vec<Part>) -> Merged {
    merge(found(parts)).unwrap()
}

/// The reason why they do not fit.
fn refused(parts: Vec<Part>, expected: &str) {
    let why = merge(found(parts)).unwrap_err().join("\n");
    assert_eq!(why, expected);
}

fn numbers(merged: &Merged) -> Vec<u32> {
    merged.results.keys().copied().collect()
}

#[test]
fn all_parts_make_the_whole_in_any_order() {
    let merged = fits(vec![part(3, 3), part(1, 3), part(2, 3)]);
    assert!(merged.is_whole());
    assert_eq!(numbers(&merged), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        (merged.wall_ms, merged.started.as_str()),
        (30, "2022-06-05T00:00:01Z")
    );
    assert_eq!(merged.notes, ["a note"]);
    assert_eq!(merged.gaps(), None);
}

#[test]
fn missing_parts_are_listed() {
    let merged = fits(vec![part(2, 8), part(4, 8), part(8, 8)]);
    assert_eq!(merged.missing, [1, 3, 5, 6, 7]);
    assert_eq!(
        merged.gaps().unwrap(),
        "missing: 5 of 8 parts: 1, 3, 5 to 7"
    );
    assert_eq!(numbers(&merged), [2, 4, 8]);
}

#[test]
fn a_part_that_says_the_same_twice_is_taken_once() {
    let mut again = part(2, 2);
    again.started = "2022-06-06T00:00:00Z".into();
    again.results[0].line["took_ms"] = json!(99);
    let merged = fits(vec![again, part(1, 2), part(2, 2)]);
    assert!(merged.is_whole());
    assert_eq!(
        merged.remarks,
        [
            "part 2 is there 2 times (all say the same: a task that was made again); taken: 3/part.json"
        ]
    );
    assert_eq!(merged.results[&2].line["took_ms"], 5);
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let mut other = part(2, 2);
    other.results[1] = result(4, "no-crash", 3);
    refused(
        vec![part(1, 2), part(2, 2), other],
        "part 2: run 4 is same-crash in 2/part.json, and no-crash in 3/part.json",
    );
}

#[test]
fn a_stopped_part_counts_only_until_it_is_made_again() {
    let stopped = || {
        let mut part = part(2, 2);
        part.complete = false;
        part.results.truncate(1);
        part.results[0] = result(2, "no-crash", 3);
        part
    };
    let merged = fits(vec![part(1, 2), stopped()]);
    assert!(!merged.is_whole());
    assert_eq!(
        merged.gaps().unwrap(),
        "part 2 was stopped: 1 of 4 attempts"
    );
    let merged = fits(vec![part(1, 2), stopped(), part(2, 2)]);
    assert!(merged.is_whole());
    assert_eq!(merged.results[&2].line["verdict"], "same-crash");
    assert!(
        merged.remarks[0].contains("one was stopped and made again"),
        "{:?}",
        merged.remarks
    );
}

#[test]
fn what_failed_contradicts_nothing_and_gives_way() {
    let mut failed = part(2, 2);
    failed.results[0] = result(2, "inconclusive", 4);
    let merged = fits(vec![failed.clone(), part(1, 2), part(2, 2)]);
    assert_eq!(merged.results[&2].line["verdict"], "same-crash");
    assert!(
        merged.remarks[0].contains("what failed in one was made again"),
        "{:?}",
        merged.remarks
    );
    // Alone it stands, and is not missing.
    assert!(fits(vec![failed, part(1, 2)]).is_whole());
}

#[test]
fn a_foreign_part_is_told_by_what_differs() {
    let mut other = part(2, 3);
    other
        .whole
        .inputs
        .insert("golden case/name".into(), "01".into());
    other.whole.inputs.insert("device d".into(), "02".into());
    other.id = other.whole.id();
    refused(
        vec![other, part(1, 3), part(3, 3)],
        "1/part.json is a part of something else than 2/part.json: device d, which the other has not, another golden case/name",
    );
    let mut other = part(2, 3);
    if let Runs::Campaign(campaign) = &mut other.whole.runs {
        campaign.expected = "no-crash".into();
    }
    other.id = other.whole.id();
    refused(
        vec![part(1, 3), part(3, 3), other],
        "3/part.json is a part of something else than 1/part.json: expected \"no-crash\" and \"same-crash\"",
    );
    refused(
        vec![part(1, 2), part(2, 2), part(3, 3)],
        "3/part.json is a part of something else than 1/part.json: it is slice:3/3, the other is slice:1/2: cut otherwise",
    );
}

#[test]
fn parts_that_booted_other_kernels_are_refused() {
    let mut other = part(2, 2);
    other.kernels.get_mut("t").unwrap().release = "6.12".into();
    refused(
        vec![part(1, 2), other],
        "2/part.json: target t is another kernel than in 1/part.json: 6.1 there, 6.12 here",
    );
}

/// The error that a part changed like this is refused with.
fn check_parse(change: impl Fn(&mut Value), expected: &str) {
    let mut value = serde_json::to_value(part(1, 2)).unwrap();
    change(&mut value);
    let why = parse(value.to_string().as_bytes()).unwrap_err();
    assert!(why.contains(expected), "{why}");
}

#[test]
fn a_part_is_checked_against_itself() {
    assert_eq!(
        parse(&serde_json::to_vec(&part(1, 2)).unwrap()),
        Ok(part(1, 2))
    );
    check_parse(
        |part| part["recrash_part"] = json!(2),
        "a part of version 2",
    );
    check_parse(|part| part["more"] = json!(2), "unknown field `more`");
    check_parse(
        |part| part["whole"]["inputs"]["x"] = json!("y"),
        "it was changed",
    );
    check_parse(
        |part| part["partition"]["number"] = json!(3),
        "no part 3 of 2",
    );
    check_parse(
        |part| part["partition"]["of"] = json!(u32::MAX),
        "expected 1 to 100000",
    );
    check_parse(
        |part| part["partition"]["number"] = json!(2),
        "run 1 is not in part slice:2/2",
    );
    check_parse(
        |part| part["results"][0]["run"] = json!(3),
        "two results of run 3",
    );
    check_parse(
        |part| drop(part["results"].as_array_mut().unwrap().pop()),
        "it says that it is complete, and run 7 is missing",
    );
    check_parse(
        |part| part["whole"]["runs"]["attempts"] = json!(u32::MAX),
        "attempts",
    );
    assert!(
        parse(b"[]")
            .unwrap_err()
            .contains("no part.json of recrash")
    );
}

#[test]
fn numbers_are_listed_in_ranges() {
    assert_eq!(list(&[]), "");
    assert_eq!(list(&[3, 4, 7, 9, 10, 11]), "3, 4, 7, 9 to 11");
    let odd: Vec<u32> = (0..50).map(|n| 2 * n + 1).collect();
    assert!(
        list(&odd).ends_with("37, 39, and 30 more"),
        "{}",
        list(&odd)
    );
}

#[test]
fn folders_are_searched_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let dir = folder.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    };
    part(1, 2).store(&place("artifacts/a/campaigns/x")).unwrap();
    part(2, 2).store(&place("artifacts/b/campaigns/y")).unwrap();
    let elsewhere = place("elsewhere");
    part(2, 2).store(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place("artifacts").join("link")).unwrap();
    let places = [place("artifacts"), place("artifacts/a")];
    let all = read::all(&places).unwrap();
    assert_eq!(all.len(), 2, "{all:?}");
    let none = read::all(&[place("empty"), folder.path().join("not")])
        .unwrap_err()
        .to_string();
    assert!(
        none.contains("no part.json in it") && none.contains("not"),
        "{none}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_part_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&bytes).is_err());
    }

    /// A part of which one thing was changed is refused, or says the same of itself.
    #[test]
    fn a_changed_part_never_passes_for_another(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&part(1, 2)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(found) = parse(&bytes) {
            prop_assert_eq!(found.id, part(1, 2).id);
        }
    }

    /// However the parts are cut, and whatever order they come in, the whole is the same.
    #[test]
    fn a_whole_survives_being_cut(of in 1_u32..12, hash: bool, rotate in 0_usize..12) {
        let whole = whole(8);
        let scheme = if hash { Scheme::Hash } else { Scheme::Slice };
        let mut parts: Vec<Part> = (1..=of).map(|number| {
            let partition = Partition::new(scheme, number, of).unwrap();
            let results = whole.of(partition).into_iter().map(|run| result(run, "same-crash", 0)).collect();
            Part { partition, results, ..part(1, 1) }
        }).collect();
        parts.rotate_left(rotate % of as usize);
        let merged = fits(parts);
        prop_assert!(merged.is_whole());
        prop_assert_eq!(numbers(&merged), (1..=8).collect::<Vec<_>>());
    }
}

#[test]
fn runs_that_came_with_their_part_are_found_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().canonicalize().unwrap().join("artifact");
    let own = out.join("campaigns/c");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(out.join("run-1")).unwrap();
    std::fs::write(out.join("run-1/manifest.json"), "{}").unwrap();
    let mut part = part(1, 1);
    for (result, run) in part.results.iter_mut().zip([
        "/of/another/machine/run-1",
        "/of/another/machine/run-2",
        "/..",
    ]) {
        result.line["run"] = json!(run);
    }
    part.store(&own).unwrap();
    let found = super::read::all(std::slice::from_ref(&out)).unwrap();
    let runs = found[0].part.results.iter().take(3);
    let runs: Vec<&str> = runs.map(|one| one.line["run"].as_str().unwrap()).collect();
    let here = out.join("run-1");
    assert_eq!(
        runs,
        [here.to_str().unwrap(), "/of/another/machine/run-2", "/.."]
    );
}
