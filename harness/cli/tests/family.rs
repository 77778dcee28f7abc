//! The family of the bug: the same controller that writes late, but other bytes, other objects, other victims. Each
//! member crashes once, on the stock kernel where it can and else on `el8-layout`, and has its own golden; what is one
//! corruption is one bug to triage. Sets up what is missing, which takes minutes the first time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[expect(
    dead_code,
    reason = "shared with the tests of the whole loop, which use more of it"
)]
mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use support::{Finished, command, finish, one_at_a_time, scratch};

/// The golden of a real dump whose corruption is that of the default scenario.
const REAL: &str = "usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl";
/// A real dump that died in another place.
const REAL_ELSEWHERE: &str = "usb-string-descriptor-freelist/2022-02-23-kmalloc";

/// A member of the family: a scenario whose golden is a crash of its own.
struct Member {
    target: &'static str,
    scenario: &'static str,
    /// Verdict against the real dump's golden.
    to_the_real_one: &'static str,
    /// The bug's name.
    bug: &'static str,
}

const MEMBERS: [Member; 11] = [
    Member {
        target: "debian",
        scenario: "language-ids-over-field",
        to_the_real_one: "different",
        bug: "fwnode_handle.secondary overwritten by a USB string descriptor",
    },
    Member {
        target: "debian",
        scenario: "device-descriptor-over-field",
        to_the_real_one: "different",
        bug: "fwnode_handle.ops overwritten by a USB device descriptor",
    },
    Member {
        target: "debian",
        scenario: "configuration-in-kmalloc-512",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-512 overwritten by a USB interface descriptor",
    },
    Member {
        target: "debian",
        scenario: "string-in-kmalloc-32",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-32 overwritten by a USB string descriptor",
    },
    Member {
        target: "debian",
        scenario: "string-in-kmalloc-64",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-64 overwritten by a USB string descriptor",
    },
    Member {
        target: "debian",
        scenario: "string-on-partial-list",
        to_the_real_one: "same-bug",
        bug: "freelist of kmalloc-256 overwritten by a USB string descriptor",
    },
    Member {
        target: "debian",
        scenario: "string-then-worker",
        to_the_real_one: "same-bug",
        bug: "freelist of kmalloc-256 overwritten by a USB string descriptor",
    },
    Member {
        target: "el8-layout",
        scenario: "short-string-in-kmalloc-32",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-32 overwritten by a USB string descriptor",
    },
    Member {
        target: "el8-layout",
        scenario: "string-in-kmalloc-512",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-512 overwritten by a USB string descriptor",
    },
    Member {
        target: "el8-layout",
        scenario: "device-descriptor-in-kmalloc-32",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-32 overwritten by a USB device descriptor",
    },
    Member {
        target: "el8-layout",
        scenario: "configuration-in-kmalloc-256",
        to_the_real_one: "different",
        bug: "freelist of kmalloc-256 overwritten by a USB configuration descriptor",
    },
];

/// The member's crash, made once.
fn crash(scenario: &'static str) -> &'static Finished {
    type Runs = BTreeMap<&'static str, &'static Finished>;
    static RUNS: OnceLock<Mutex<Runs>> = OnceLock::new();
    let mut runs =
        (RUNS.get_or_init(Mutex::default).lock()).unwrap_or_else(PoisonError::into_inner);
    runs.entry(scenario).or_insert_with(|| {
        let _guard = one_at_a_time();
        // No second kernel to boot; that both ways to capture give one signature, others test.
        let words = ["--scenario", scenario, "--capture", "qemu"];
        let run = finish(&mut run_on(member(scenario).target, scenario, &words));
        Box::leak(Box::new(run))
    })
}

fn member(scenario: &str) -> &'static Member {
    let mut members = MEMBERS.iter();
    members.find(|member| member.scenario == scenario).unwrap()
}

/// `recrash run` on a target that is set up.
fn run_on(target: &'static str, name: &str, words: &[&str]) -> Command {
    static READY: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if ready.insert(target) {
        let output = command(&["setup", "--target", target]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "recrash setup: {said}");
    }
    let mut run = command(&["run", "--json", "--target", target, "--out"]);
    run.arg(scratch().join(name)).args(words);
    run
}

/// The crash is that of the member's golden, and so much is it the real dump's.
fn check(scenario: &'static str) -> &'static Finished {
    let member = member(scenario);
    let run = crash(scenario);
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(run.result["unexplained"], Value::Array(Vec::new()));
    let judged = against(run, REAL);
    assert_eq!(judged["verdict"], member.to_the_real_one, "{judged:#}");
    run
}

fn against(run: &Finished, golden: &str) -> Value {
    let folder = run.folder();
    let words = ["compare", "--json", "--golden", golden];
    finish(command(&words).arg(folder)).result
}

/// The same scenario without its fault, module's acts included: nothing crashes.
fn survives(scenario: &str) {
    let _guard = one_at_a_time();
    let name = format!("{scenario}-control");
    let words = [
        "--scenario",
        scenario,
        "--fault",
        "none",
        "--expect",
        "no-crash",
    ];
    let run = finish(&mut run_on(member(scenario).target, &name, &words));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "no-crash", "{}", run.text());
    assert_eq!(run.reports("nothing-done").len(), 1);
    for acted in run.reports("acted") {
        assert_eq!(acted["error"], 0, "{acted}");
    }
}

/// A fact of a run's signature, as TOML writes it.
fn fact(run: &Finished, name: &str) -> String {
    let text = fs::read_to_string(run.folder().join("signature.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.to_owned()
}

#[test]
fn language_ids_over_the_low_half_of_a_pointer_are_found_in_the_field() {
    let run = check("language-ids-over-field");
    let victim = &run.reports("victim")[0];
    assert_eq!(victim["object"], run.reports("note")[0]["buffer"]);
    assert!(fact(run, "bytes").contains("\"0..4\""));
    assert!(fact(run, "observed").contains("\"04 03 09 04\""));
    survives("language-ids-over-field");
}

#[test]
fn a_device_descriptor_over_two_pointers_is_found_in_the_one_that_was_followed() {
    let run = check("device-descriptor-over-field");
    // idVendor 1209, idProduct 0002, bcdDevice 0100, iManufacturer 1, iProduct 2.
    assert!(fact(run, "observed").contains("\"09 12 02 00 00 01 01 02\""));
}

#[test]
fn a_configuration_reaches_the_freelist_of_a_larger_cache() {
    let run = check("configuration-in-kmalloc-512");
    assert!(fact(run, "confidence").contains("\"proven\""));
}

#[test]
fn part_of_a_string_reaches_the_freelists_of_smaller_caches() {
    for scenario in ["string-in-kmalloc-32", "string-in-kmalloc-64"] {
        check(scenario);
    }
}

#[test]
fn an_object_on_a_partial_list_strikes_when_its_slab_is_a_cpus_again() {
    let run = check("string-on-partial-list");
    let parked = &run.reports("parked")[0];
    assert_eq!(parked["buffer"], run.reports("written")[0]["at_dma"]);
    assert_eq!(parked["buffer"], run.reports("unparked")[0]["buffer"]);
    survives("string-on-partial-list");
}

#[test]
fn a_worker_that_has_nothing_to_do_with_usb_dies_of_the_same_bug() {
    let run = check("string-then-worker");
    assert!(
        fact(run, "comm").contains("kworker/"),
        "{}",
        fact(run, "comm")
    );
    assert_eq!(against(run, REAL_ELSEWHERE)["verdict"], "same-bug");
    survives("string-then-worker");
}

#[test]
fn what_ends_before_the_middle_of_an_object_strikes_where_the_pointer_is_its_first_word() {
    let heads = [
        ("short-string-in-kmalloc-32", "38 03 56 00 69 00 72 00"),
        ("string-in-kmalloc-512", "38 03 56 00 69 00 72 00"),
        ("device-descriptor-in-kmalloc-32", "12 01 00 02 00 00 00 40"),
        ("configuration-in-kmalloc-256", "09 02 12 00 01 01 00 80"),
    ];
    for (scenario, head) in heads {
        let observed = fact(check(scenario), "observed");
        assert!(observed.contains(head), "{scenario}: {observed}");
    }
}

#[test]
fn triage_sees_one_bug_where_the_corruption_is_one() {
    let mut words = vec!["triage".to_owned(), "--json".to_owned()];
    for member in &MEMBERS {
        let folder = crash(member.scenario).folder();
        words.push(folder.join("signature.toml").display().to_string());
    }
    words.push(
        support::checkout()
            .join(format!("golden/{REAL}.snap"))
            .display()
            .to_string(),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = finish(&mut command(&words)).result;
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for bug in result["bugs"].as_array().unwrap() {
        let places = bug["places"].as_array().unwrap();
        let members = places
            .iter()
            .map(|place| place["members"].as_array().unwrap().len());
        found.insert(
            bug["name"].as_str().unwrap().into(),
            members.sum::<usize>() as u64,
        );
    }
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for bug in MEMBERS.iter().map(|member| member.bug) {
        *expected.entry(bug.into()).or_default() += 1;
    }
    // And the real dump.
    let of_it = member("string-then-worker").bug;
    *expected.entry(of_it.into()).or_default() += 1;
    assert_eq!(found, expected, "{result:#}");
}
