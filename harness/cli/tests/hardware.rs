//! The guest's USB hardware: each controller that QEMU has, at each speed, with a crash of its own; matrices of
//! combinations; physical devices as far as a host without them lets one go. One boot at a time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[expect(dead_code, reason = "shared with the other tests that boot")]
mod support;

use recrash_machine::usbpcap;
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use support::{
    Finished, command, finish, one_at_a_time, qemus_of, run_command, scratch, set_up, signal,
    wait_for,
};

/// wLength of the scenario's requests, by which they differ from the kernel's own (255).
const LENGTH: u64 = 254;

/// A crash on this controller is the golden's; the kernel found the device at this speed with this driver, and QEMU's
/// record of the traffic tells the same as the device itself.
fn check(controller: &str, speed: &str, fault: &str, capture: &str, driver: &str) {
    let _guard = one_at_a_time();
    let name = format!("{controller}-{speed}");
    let args = [
        "--controller",
        controller,
        "--speed",
        speed,
        "--fault",
        fault,
        "--capture",
        capture,
    ];
    let run = finish(&mut run_command(&name, &args));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(run.result["unexplained"], Value::Array(Vec::new()));

    let console = fs::read_to_string(run.folder().join("console.log")).unwrap();
    let found = format!("new {speed}-speed USB device number 2 using {driver}");
    assert!(
        console.contains(&found),
        "{found}: {}",
        run.folder().display()
    );
    let manifest = fs::read(run.folder().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["controller"], controller);
    assert_eq!(manifest["speed"], speed);
    the_record_tells_what_the_device_tells(&run);
}

/// What the device was asked and what it answered, by its own events and by QEMU's pcap, which is all there is of a
/// physical device.
fn the_record_tells_what_the_device_tells(run: &Finished) {
    let traffic = usbpcap::read(&run.folder().join("usb.pcap")).unwrap();
    assert_eq!(traffic.cut, None);
    let recorded: Vec<Value> = traffic
        .transfers
        .iter()
        .map(|transfer| (setup(transfer.setup), transfer.status))
        .filter(|(setup, _)| setup["length"] == LENGTH)
        .map(|(setup, status)| {
            // QEMU 7.2 records no end of a transfer on xhci that is not answered at once.
            let on_xhci = run.folder().to_string_lossy().contains("qemu-xhci");
            assert!(
                status == Some(0) || on_xhci && status.is_none(),
                "{status:?}"
            );
            setup
        })
        .collect();
    let events = run.said("device");
    let of = |kind: &str| {
        let events = events.iter().filter(|event| {
            event["event"] == kind && event["setup"]["length"].as_u64() == Some(LENGTH)
        });
        events
            .map(|event| event["setup"].clone())
            .collect::<Vec<Value>>()
    };
    assert!(!recorded.is_empty());
    assert_eq!(recorded, of("request"));
    assert_eq!(recorded, of("answer"));
}

/// A setup packet as the device's events have it.
fn setup(bytes: [u8; 8]) -> Value {
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    serde_json::json!({
        "request_type": bytes[0],
        "request": bytes[1],
        "value": word(2),
        "index": word(4),
        "length": word(6),
    })
}

#[test]
fn xhci_at_full_speed_crashes_alike() {
    check("qemu-xhci", "full", "duplicate-dma", "kdump", "xhci_hcd");
}

#[test]
fn ehci_at_high_speed_crashes_alike() {
    check("usb-ehci", "high", "early-free", "qemu", "ehci-pci");
}

#[test]
fn a_companion_of_ehci_takes_the_full_speed_device_and_crashes_alike() {
    check(
        "ich9-usb-ehci1",
        "full",
        "duplicate-dma",
        "qemu",
        "uhci_hcd",
    );
}

#[test]
fn ehci_with_companions_keeps_the_high_speed_device_and_crashes_alike() {
    check(
        "ich9-usb-ehci1",
        "high",
        "duplicate-dma",
        "qemu",
        "ehci-pci",
    );
}

#[test]
fn uhci_of_piix3_crashes_alike() {
    check(
        "piix3-usb-uhci",
        "full",
        "duplicate-dma",
        "kdump",
        "uhci_hcd",
    );
}

#[test]
fn uhci_of_piix4_crashes_alike() {
    check("piix4-usb-uhci", "full", "early-free", "qemu", "uhci_hcd");
}

#[test]
fn uhci_of_ich9_crashes_alike() {
    check("ich9-usb-uhci1", "full", "early-free", "qemu", "uhci_hcd");
}

/// Exit code 2, and what stderr says.
fn refused(args: &[&str], expected: &[&str]) {
    let output = command(&[&["run"], args].concat()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    for text in expected {
        assert!(stderr.contains(text), "{args:?}: {stderr}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_boots() {
    refused(
        &["--controller", "piix3-usb-uhci", "--speed", "high"],
        &["piix3-usb-uhci has no high speed, only full; qemu-xhci, usb-ehci, ich9-usb-ehci1 have"],
    );
    refused(
        &["--controller", "usb-ehci", "--speed", "full"],
        &["usb-ehci has no full speed, only high"],
    );
    refused(
        &["--controller", "pci-ohci"],
        &["there is no USB controller \"pci-ohci\"; expected one of qemu-xhci, "],
    );
    refused(&["--speed", "low"], &["there is no USB speed \"low\""]);
    refused(
        &[
            "--controller",
            "usb-ehci,piix3-usb-uhci",
            "--speed",
            "super",
        ],
        &[
            "no combination is possible: usb-ehci has no super speed",
            "--dry-run",
        ],
    );
    refused(
        &["--fault", "none,early-free", "--attempts", "2"],
        &["--attempts repeats one combination"],
    );
}

#[test]
fn a_physical_device_that_is_not_there_is_told_before_anything_boots() {
    // Bus 250 is on no host; on one without USB the folder itself is missing.
    refused(&["--usb-host", "250-1.2"], &["this host", "USB"]);
    refused(
        &["--usb-host", "1-2:1.0"],
        &["names no USB device; expected VID:PID", "or BUS-PORT"],
    );
    refused(
        &["--usb-host", "1-2", "--device", "long-string"],
        &["cannot be used with"],
    );
    refused(
        &["--usb-host", "1-2", "--speed", "full"],
        &["cannot be used with"],
    );
}

/// What `--dry-run` prints, without trailing blanks.
fn planned(args: &[&str]) -> String {
    set_up();
    let output = command(&[&["run", "--dry-run"], args].concat())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dry_run_shows_the_matrix_of_controllers_and_speeds() {
    insta::assert_snapshot!(planned(&["--controller", "all", "--speed", "all"]));
}

#[test]
fn a_dry_run_shows_what_each_fault_is_expected_to_give() {
    insta::assert_snapshot!(planned(&["--fault", "all", "--device", "virtual-media"]));
}

#[test]
fn a_dry_run_can_be_read_by_a_program() {
    let args = [
        "--json",
        "--controller",
        "usb-ehci,ich9-usb-uhci1",
        "--speed",
        "high",
    ];
    let text = planned(&args);
    let lines = support::json_lines(text.as_bytes());
    let states: Vec<_> = lines.iter().map(|line| line["state"].as_str()).collect();
    assert_eq!(states, [Some("planned"), Some("impossible"), None]);
    assert_eq!(lines[0]["expected"], "same-crash");
    assert_eq!(lines[1]["controller"], "ich9-usb-uhci1");
    assert_eq!(lines[2]["type"], "matrix");
    assert_eq!(lines[2]["cells"], 2);
}

#[test]
fn a_matrix_runs_what_is_possible_and_leaves_its_table() {
    let _guard = one_at_a_time();
    let args = [
        "--controller",
        "usb-ehci,piix3-usb-uhci",
        "--speed",
        "high",
        "--fault",
        "none",
    ];
    let run = finish(&mut run_command("matrix", &args));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["as_expected"], 1, "{}", run.text());
    assert_eq!(run.result["impossible"], 1);
    let table = run.result["table"].as_str().unwrap();
    let table = fs::read_to_string(table).unwrap();
    let row = "| debian | usb-ehci | high | none | kdump | no-crash | no-crash |";
    assert!(table.contains(row), "{table}");
    let row = "| debian | piix3-usb-uhci | high | none | kdump | - | impossible |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("2 combinations: 1 as expected"), "{table}");
}

#[test]
fn a_matrix_that_is_interrupted_says_what_it_has() {
    let _guard = one_at_a_time();
    let args = ["--fault", "none,early-free-fixed"];
    let mut command = run_command("interrupted", &args);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    wait_for("a guest", Duration::from_secs(60), || {
        !qemus_of(pid).is_empty()
    });
    signal("INT", pid);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = support::json_lines(stdout.as_bytes());
    let states: Vec<_> = lines.iter().map(|line| line["state"].as_str()).collect();
    assert_eq!(states, [Some("not-run"), Some("not-run"), None], "{stdout}");
    assert_eq!(lines[2]["not_run"], 2);
    assert!(qemus_of(pid).is_empty());
    let table = fs::read_to_string(lines[2]["table"].as_str().unwrap()).unwrap();
    assert!(table.contains("2 not run"), "{table}");
    assert!(scratch().join("interrupted/matrices").is_dir());
}
