//! The reports of results as their readers see them: pages in a browser, files against their schemas. Two boots from one
//! snapshot and a matrix of two runs make what is looked at; comparisons and triages need none.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
mod browser;
mod page;
mod schemas;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use browser::Browser;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{checkout, command, one_at_a_time, scratch};

const TARGET: &str = "el8-layout";

/// A command with each form of report named, in a folder of its own. Gives its exit code and what it printed.
fn with_reports(name: &str, args: &[&str]) -> (i32, String, PathBuf) {
    let folder = scratch().join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut command = command(args);
    for (format, file) in [
        ("html", "report.html"),
        ("markdown", "report.md"),
        ("junit", "junit.xml"),
        ("sarif", "report.sarif"),
        ("json", "report.json"),
    ] {
        command.arg(format!("--report={format}={}", folder.join(file).display()));
    }
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code().unwrap_or(-1), said, folder)
}

/// Runs a command, holds all that it reports against schemas, and looks at its page. Gives report and text of the page.
fn check(name: &str, args: &[&str], code: i32) -> (Value, String, PathBuf) {
    let (exit, said, folder) = with_reports(name, args);
    assert_eq!(exit, code, "{said}");
    let report = schemas::check_json(&folder.join("report.json"));
    schemas::check_sarif(&folder.join("report.sarif"));
    schemas::check_junit(&folder.join("junit.xml"));
    let text = look(name, &folder.join("report.html"));
    assert!(
        text.contains(report["headline"].as_str().unwrap()),
        "{text}"
    );
    (report, text, folder)
}

/// Looks at a page; one browser at a time is enough for two cores.
fn look(name: &str, html: &Path) -> String {
    let mut browser = Browser::start();
    page::check(&mut browser, &html.canonicalize().unwrap(), scratch(), name)
}

fn set_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = command(&["setup", "--target", TARGET]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "recrash setup: {said}");
    });
}

/// A matrix of a run that crashes and one that does not.
fn matrix() -> &'static (Value, String, PathBuf) {
    static MADE: OnceLock<(Value, String, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        set_up();
        let out = scratch().join("runs");
        let out = out.to_str().unwrap();
        let faults = ["--fault", "duplicate-dma,none", "--capture", "qemu"];
        let args = [&["run", "--target", TARGET, "--out", out][..], &faults].concat();
        check("matrix", &args, 0)
    })
}

/// The folder of the matrix's run that crashed, as its report leads to it.
fn crashed() -> PathBuf {
    let (report, _, _) = matrix();
    let cases = report["cases"].as_array().unwrap();
    let crashed = cases
        .iter()
        .find(|case| case["verdict"] == "same-crash")
        .unwrap();
    let matrices = fs::read_dir(scratch().join("runs/matrices")).unwrap();
    let folder = matrices.flatten().next().unwrap().path();
    folder
        .join(crashed["folder"].as_str().unwrap())
        .canonicalize()
        .unwrap()
}

#[test]
fn a_matrix_s_page_leads_to_the_pages_of_its_runs() {
    let _guard = one_at_a_time();
    let (report, text, _) = matrix();
    assert_eq!(report["cases"].as_array().unwrap().len(), 2);
    assert!(text.contains("2 cases: 2 as expected"), "{text}");
    let matrices = fs::read_dir(scratch().join("runs/matrices")).unwrap();
    let folder = matrices.flatten().next().unwrap().path();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    let links: Vec<&str> = page
        .split("href=\"./")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0)
        .collect();
    assert_eq!(links.len(), 2);
    for link in links {
        assert!(folder.join(link).is_file(), "{link}");
    }
}

#[test]
fn a_run_s_page_has_each_fact_of_its_signature() {
    let _guard = one_at_a_time();
    let folder = crashed();
    let report = schemas::check_json(&folder.join("report.json"));
    let text = look("run", &folder.join("report.html"));
    let signature: toml::Table = fs::read_to_string(folder.join("signature.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let mut facts = 0;
    for (group, values) in signature
        .iter()
        .filter_map(|(k, v)| Some((k, v.as_table()?)))
    {
        for (key, fact) in values {
            assert!(
                text.contains(&format!("{group}.{key}")),
                "{group}.{key}: {text}"
            );
            for value in fact.get("value").into_iter().flat_map(plain) {
                let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(
                    text.contains(&value),
                    "{group}.{key} is {value:?}, which the page has not"
                );
                facts += 1;
            }
        }
    }
    assert!(facts > 30, "{facts}");
    // The memory is the dump's own, and says what was read as a pointer.
    let crash = &report["crash"];
    let object = &crash["account"]["memory"]["object"];
    assert!(
        object["written"]["hex"]
            .as_str()
            .unwrap()
            .starts_with("3803"),
        "{object}"
    );
    let names: Vec<&str> = object["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|f| f["name"].as_str())
        .collect();
    assert_eq!(names, ["bLength", "bDescriptorType", "bString"]);
    let slab = &crash["account"]["memory"]["slab"];
    let corrupted = slab["list"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["corrupted"] == true);
    assert_eq!(corrupted.count(), 1, "{slab}");
    // From boot to capture, in the order in which it happened.
    let marks = crash["timeline"]["marks"].as_array().unwrap();
    let at = |label: &str| {
        let mark = marks
            .iter()
            .find(|mark| mark["label"].as_str().unwrap().starts_with(label));
        mark.unwrap_or_else(|| panic!("{label}: {marks:#?}"))["at-ms"]
            .as_f64()
            .unwrap()
    };
    let order = [
        "boot",
        "scenario starts",
        "URB completes",
        "late write",
        "allocation",
        "fault: the kernel dies",
        "capture",
    ];
    let times: Vec<f64> = order.into_iter().map(at).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(
        text.contains("▶ ") && text.contains("RIP: 0010:"),
        "the kernel's message is marked"
    );
}

/// The values of a fact as text, each as a page shows it.
fn plain(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::String(text) => vec![text.clone()],
        toml::Value::Array(items) => items.iter().flat_map(plain).collect(),
        toml::Value::Table(parts) => parts.values().flat_map(plain).collect(),
        other => vec![other.to_string()],
    }
}

#[test]
fn a_campaign_s_page_has_its_rates_and_its_attempts() {
    let _guard = one_at_a_time();
    set_up();
    let out = scratch().join("campaign-runs");
    let many = ["--attempts", "2", "--from-snapshot", "--capture", "qemu"];
    let args = [
        &["run", "--target", TARGET, "--out", out.to_str().unwrap()][..],
        &many,
    ]
    .concat();
    let (report, text, folder) = check("campaign", &args, 0);
    assert_eq!(report["cases"].as_array().unwrap().len(), 2);
    assert!(
        text.contains("2 of 2") && text.contains("interval"),
        "{text}"
    );
    let junit = fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert!(junit.contains("name=\"attempt 2\""), "{junit}");
}

#[test]
fn a_failed_comparison_says_in_each_form_what_differs() {
    let _guard = one_at_a_time();
    let args = ["compare", "2022-06-05-usbdev-ioctl", "2022-02-23-kmalloc"];
    let (report, text, folder) = check("comparison", &args, 1);
    let field = report["cases"][0]["unexplained"][0]["field"].as_str();
    let field = field
        .or(report["cases"][0]["unknown"][0]["field"].as_str())
        .unwrap();
    assert!(text.contains(field));
    for file in ["report.md", "junit.xml", "report.sarif"] {
        let contents = fs::read_to_string(folder.join(file)).unwrap();
        assert!(contents.contains(field), "{file}: {contents}");
    }
    let sarif = schemas::check_sarif(&folder.join("report.sarif"));
    let result = &sarif["runs"][0]["results"][0];
    let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert!(place.as_str().unwrap().starts_with("golden/"), "{result}");
}

#[test]
fn on_github_the_summary_grows_and_a_failed_case_points_at_its_golden() {
    let summary = scratch().join("summary.md");
    fs::write(&summary, "before\n").unwrap();
    let output = command(&["compare", "2022-06-05-usbdev-ioctl", "2022-02-23-kmalloc"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let command = said.lines().find(|line| line.starts_with("::error "));
    let command = command.unwrap_or_else(|| panic!("{said}"));
    assert!(
        command.starts_with("::error file=golden/usb-string-descriptor-freelist/"),
        "{command}"
    );
    let summary = fs::read_to_string(summary).unwrap();
    assert!(
        summary.starts_with("before\n## ❌ same-bug instead of same-crash"),
        "{summary}"
    );
}

#[test]
fn a_triage_s_page_has_every_crash_under_its_bug() {
    let _guard = one_at_a_time();
    let folder = checkout().join("golden/usb-string-descriptor-freelist");
    let (report, text, _) = check("triage", &["triage", folder.to_str().unwrap()], 0);
    assert!(text.contains("Bug 1: freelist of kmalloc-256"), "{text}");
    assert!(report["cases"].as_array().unwrap().len() >= 4);
    assert!(text.contains("2022-05-29-kmalloc"));
}

#[test]
fn kept_results_are_rendered_again_and_several_are_one() {
    let _guard = one_at_a_time();
    matrix();
    let runs = scratch().join("runs");
    // Without its report a run is told from its other files, and what is missing is said.
    let old = scratch().join("old");
    fs::create_dir_all(&old).unwrap();
    for file in [
        "manifest.json",
        "signature.toml",
        "events.jsonl",
        "console.log",
    ] {
        fs::copy(crashed().join(file), old.join(file)).unwrap();
    }
    let output = command(&["report", "--format", "json"])
        .args([&runs, &old])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let merged = scratch().join("merged.json");
    fs::write(&merged, &output.stdout).unwrap();
    let report = schemas::check_json(&merged);
    assert_eq!(report["kind"], "merged");
    // Two runs, the matrix of both, and the old one.
    assert_eq!(report["cases"].as_array().unwrap().len(), 5, "{report:#}");
    let missing = report["missing"].to_string();
    assert!(
        missing.contains("report.json: this run has none"),
        "{missing}"
    );
    let page = scratch().join("merged.html");
    let output = command(&["report", "--format", "html", "-o", page.to_str().unwrap()])
        .args([&runs, &old])
        .output()
        .unwrap();
    assert!(output.status.success());
    look("merged", &page);
}

#[test]
fn what_is_no_result_is_refused_with_what_to_do_next() {
    let check = |args: &[&str], code: i32, expected: &str| {
        let output = command(args).output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    };
    check(&["report", "no/such/run"], 2, "no/such/run");
    check(
        &["report", "golden"],
        2,
        "neither report.json nor a run's manifest.json",
    );
    check(&["report", "Cargo.toml"], 2, "not JSON of a report");
    check(&["report"], 2, "RUN|DIR|FILE");
    check(&["report", "--schema"], 0, "\"recrash-report\"");
    let both = [
        "compare",
        "2022-06-05",
        "2022-06-05",
        "--json",
        "--report",
        "json=-",
    ];
    check(&both, 2, "only one result can go to stdout");
    let nowhere = [
        "compare",
        "2022-06-05",
        "2022-06-05",
        "--report",
        "html=no/such/page.html",
    ];
    check(&nowhere, 2, "mkdir -p no/such");
    let unknown = [
        "compare",
        "2022-06-05",
        "2022-06-05",
        "--report",
        "pdf=page.pdf",
    ];
    check(&unknown, 2, "one of: html, markdown, junit, sarif, json");
}

/// With `-` stdout has the report and nothing else.
#[test]
fn a_report_has_stdout_for_itself() {
    let same = ["compare", "2022-06-05", "2022-06-05", "--report", "json=-"];
    let output = command(&same).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "same-crash");
    assert_eq!(report["cases"][0]["outcome"], "passed");
}
