//! The whole loop on real parts: set-up, QEMU, kdump, analysis, verdict. One boot at a time, and no boot
//! twice for the same question. Sets up what is missing by itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
#[path = "peers/expected.rs"]
mod expected;
mod support;

use expected::Expected;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{
    Finished, Running, checkout, command, crashed_run, finish, lives, one_at_a_time, qemus_of,
    run_command, scratch, signal, wait_for,
};

/// How long a killed QEMU may take to vanish.
const REAPED: Duration = Duration::from_secs(20);
/// wLength of the scenario's requests, by which they differ from the kernel's own (255).
const LENGTH: u64 = 254;

#[test]
fn a_repeated_dma_write_gives_the_crash_of_the_golden() {
    let _guard = one_at_a_time();
    let run = crashed_run();
    is_the_same_crash(run);
    for file in [
        "console.log",
        "events.jsonl",
        "usb.pcap",
        "vmcore",
        "signature.toml",
        "report.txt",
        "manifest.json",
    ] {
        let size = fs::metadata(run.folder().join(file)).map(|meta| meta.len());
        assert!(size.is_ok_and(|size| size > 0), "{file}");
    }
    let latest = run.folder().with_file_name("latest");
    assert_eq!(latest.canonicalize().unwrap(), run.folder());
    assert_eq!(run.reports("written").len(), 1, "one repeated write");
}

#[test]
fn a_buffer_freed_in_flight_gives_the_crash_of_the_golden() {
    let _guard = one_at_a_time();
    let run = finish(&mut run_command("early-free", &["--fault", "early-free"]));
    is_the_same_crash(&run);
    let freed = run.reports("freed");
    assert_eq!(freed.len(), 1, "{freed:?}");
    assert_eq!(freed[0]["in_flight"], true);
}

/// The same fault and the same bytes, but for bDescriptorType: 4 instead of 3.
#[test]
fn another_descriptor_type_is_another_crash_and_the_report_says_why() {
    let _guard = one_at_a_time();
    let args = ["--device", "wrong-type", "--expect", "different"];
    let run = finish(&mut run_command("wrong-type", &args));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "different", "{}", run.text());
    let written = run.reports("written");
    assert_eq!(written.len(), 1, "the fault happened");
    let sent = run.reports("note").remove(0);
    let sent = sent["bytes"].as_str().unwrap();
    assert!(sent.starts_with("fe04560069007200"), "{sent}");
    let why = "every reading of the bytes was tried, and none is part of a string descriptor";
    let said = run.result["why"].as_str().unwrap();
    assert_eq!(said, format!("corruption.decoded differs: {why}"));
    let report = fs::read_to_string(run.folder().join("report.txt")).unwrap();
    assert!(report.contains(why), "{report}");
    // What was tried, against what: without that, "none" would be a mere absence.
    let tried = "readings of the pointer compared with";
    assert!(report.contains(tried), "{report}");
}

#[test]
fn without_a_fault_nothing_crashes() {
    let _guard = one_at_a_time();
    let run = survives("none", &["--fault", "none"]);
    assert_eq!(run.reports("nothing-done").len(), 1);
    assert_eq!(run.reports("note").len(), 1, "the device's bytes arrived");

    // The same run, judged without the expectation: a crash was expected and none came.
    let folder = run.folder();
    let judged = finish(&mut command(&[
        "compare",
        "--json",
        folder.to_str().unwrap(),
    ]));
    assert_eq!(judged.code, 3, "{}", judged.text());
    assert_eq!(judged.result["verdict"], "no-crash");
}

#[test]
fn a_urb_killed_before_the_free_crashes_nothing() {
    let _guard = one_at_a_time();
    let run = survives("fixed", &["--fault", "early-free-fixed"]);
    let cancel = run.reports("cancel");
    assert_eq!(cancel.len(), 1);
    assert_eq!(cancel[0]["in_flight"], true, "the URB was out when killed");
    assert_eq!(run.reports("freed")[0]["in_flight"], false);
}

#[test]
fn a_bounce_buffer_takes_the_repeated_write() {
    let _guard = one_at_a_time();
    let run = survives("swiotlb", &["--append", "swiotlb=force"]);
    assert_eq!(run.reports("written").len(), 1, "the write happened");
    let note = &run.reports("note")[0];
    assert_ne!(note["at_dma"], note["buffer"], "the DMA went elsewhere");
}

#[test]
fn the_vmcore_alone_gives_the_signature_of_its_run() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let output = command(&["analyze"])
        .arg(folder.join("vmcore"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let facts = |text: &str| -> Vec<String> {
        // Only the run knows what executed the guest.
        let lines = text.lines().filter(|line| !line.starts_with("accelerator"));
        lines.map(str::to_owned).collect()
    };
    let alone = String::from_utf8(output.stdout).unwrap();
    let of_run = fs::read_to_string(folder.join("signature.toml")).unwrap();
    assert_eq!(facts(&alone), facts(&of_run));
    for what in ["vmcore", "signature.toml", ""] {
        let judged = finish(command(&["compare", "--json"]).arg(folder.join(what)));
        assert_eq!(judged.code, 0, "{what:?}: {}", judged.text());
    }
}

/// The dying kernel is a judge of its own: it printed its registers and its stack, unwound by itself.
#[test]
fn the_kernels_own_oops_agrees_with_the_vmcore() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let console = fs::read(folder.join("console.log")).unwrap();
    let console = String::from_utf8_lossy(&console);
    let oops = support::oops(&console);
    let report = analysis(&folder)["report"].take();
    let registers: Vec<(String, String)> = report["registers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|register| {
            let name = register["name"].as_str().unwrap().to_uppercase();
            let value = register["value"].as_u64().unwrap();
            (name, format!("{value:016x}"))
        })
        .collect();
    assert!(oops.registers.len() >= 15, "{:?}", oops.registers);
    for register in &oops.registers {
        assert!(
            registers.contains(register),
            "{register:?} in {registers:?}"
        );
    }
    let frames: Vec<&str> = report["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|frame| frame["symbol"].as_str().unwrap())
        .collect();
    assert_eq!(frames, oops.frames);
}

/// The same crash told twice, by its memory and by the text it left.
#[test]
fn the_console_log_alone_gives_the_facts_of_the_vmcore() {
    /// What a console tells of this crash; the bytes of a hardened list it does not.
    const TOLD: [&str; 14] = [
        "/fault/vector",
        "/fault/class",
        "/fault/function",
        "/fault/offset",
        "/fault/instruction",
        "/fault/base-register",
        "/frames/chain",
        "/frames/syscall",
        "/slab/freelist-offset",
        "/slab/hardened",
        "/context/comm",
        "/context/cpu",
        "/context/release",
        "/context/request",
    ];
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let imported = finish(command(&["import", "--json"]).arg(folder.join("console.log")));
    assert_eq!(imported.code, 0, "{}", imported.text());
    let by_text = &imported.result["signature"];
    let by_memory = analysis(&folder)["signature"].take();
    for fact in TOLD {
        let known = by_text.pointer(&format!("{fact}/value"));
        assert!(known.is_some(), "{fact} in {by_text:#}");
    }
    assert_eq!(by_text["title"], by_memory["title"]);
    for group in ["fault", "frames", "slab", "corruption", "context"] {
        for (name, fact) in by_text[group].as_object().unwrap() {
            let both = fact.get("value").zip(by_memory[group][name].get("value"));
            if let Some((text, memory)) = both {
                assert_eq!(text, memory, "{group}.{name}");
            }
        }
    }
}

/// Where drgn and crash are not installed, what they said of this crash before is the judge.
#[test]
fn what_drgn_and_crash_said_of_this_crash_holds() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let analysis = analysis(&folder);
    let registers = support::registers(&analysis);
    let release = &analysis["signature"]["context"]["release"]["value"];
    let ask = |words: &[&str]| inspect(&folder, words);
    let differences =
        Expected::read("debian-6.1").differences(release.as_str().unwrap(), &registers, &ask);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The console shows what the kernel logged, as long as it lived.
#[test]
fn the_log_in_the_vmcore_is_what_the_console_showed() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let console = fs::read(folder.join("console.log")).unwrap();
    let console = String::from_utf8_lossy(&console);
    let log = command(&["inspect"])
        .arg(folder.join("vmcore"))
        .arg("log")
        .output()
        .unwrap();
    assert_eq!(log.status.code(), Some(0));
    let log = String::from_utf8(log.stdout).unwrap();
    let shown = support::first_boot(&console);
    // The console repeats the time before each line of a message of several lines.
    let is_logged = |line: &str| {
        let text = line.get(15..).unwrap_or_default();
        let same = |logged: &str| logged == line || logged.trim() == text.trim();
        log.lines().map(str::trim_end).any(same)
    };
    let missing: Vec<&&str> = shown.iter().filter(|line| !is_logged(line)).collect();
    assert!(shown.len() > 100, "{} lines on the console", shown.len());
    assert!(missing.is_empty(), "not in the log: {missing:#?}");
}

#[test]
fn the_object_and_the_bytes_found_are_those_that_the_fault_wrote() {
    let _guard = one_at_a_time();
    let run = crashed_run();
    run.proves(&analysis(&run.folder()), 128);
}

#[test]
fn a_truncated_vmcore_is_inconclusive() {
    let _guard = one_at_a_time();
    let vmcore = fs::read(crashed_run().folder().join("vmcore")).unwrap();
    let cut = scratch().join("vmcore-cut");
    for length in [0, 100, vmcore.len() / 2, vmcore.len() / 1000 * 999] {
        fs::write(&cut, &vmcore[..length]).unwrap();
        let judged = finish(command(&["compare", "--json"]).arg(&cut));
        assert_eq!(judged.code, 4, "{length} bytes: {}", judged.text());
        assert_eq!(judged.result["verdict"], "inconclusive", "{length} bytes");
    }
}

#[test]
fn the_agents_own_elf_copy_is_read_whole_and_refused_cut() {
    let _guard = one_at_a_time();
    let root = changed_checkout("elf", |target| {
        target.replace("\nmakedumpfile = \"makedumpfile\"", "")
    });
    // Under a name of its own: a lock file belongs to one version of a target's file.
    let targets = root.join("qemu/targets");
    fs::rename(targets.join("debian.toml"), targets.join("elf.toml")).unwrap();
    let set_up = command(&["setup", "--target", "elf"])
        .env("RECRASH_ROOT", &root)
        .output();
    assert!(set_up.unwrap().status.success());
    let run = finish(run_command("elf", &["--target", "elf"]).env("RECRASH_ROOT", root));
    is_the_same_crash(&run);
    let vmcore = fs::read(run.folder().join("vmcore")).unwrap();
    assert!(vmcore.starts_with(b"\x7fELF"));
    let cut = scratch().join("elf-cut");
    for length in [64, vmcore.len() / 2] {
        fs::write(&cut, &vmcore[..length]).unwrap();
        let judged = finish(command(&["compare", "--json"]).arg(&cut));
        assert_eq!(judged.code, 4, "{length} bytes: {}", judged.text());
        assert_eq!(judged.result["verdict"], "inconclusive", "{length} bytes");
    }
}

#[test]
fn runs_are_listed_and_pruned() {
    let _guard = one_at_a_time();
    let folder = crashed_run().folder();
    let copy = scratch().join("prune");
    fs::create_dir_all(copy.join("a-run")).unwrap();
    for file in ["manifest.json", "console.log"] {
        fs::copy(folder.join(file), copy.join("a-run").join(file)).unwrap();
    }
    let listed = finish(command(&["runs", "--json", "--out"]).arg(&copy));
    assert_eq!(listed.result["name"], "a-run");
    assert_eq!(listed.result["verdict"], "same-crash");
    assert!(listed.result["bytes"].as_u64() > Some(0));

    let prune = |extra: &[&str]| {
        let mut command = command(&["runs", "prune", "--keep", "0"]);
        command.args(extra).arg("--out").arg(&copy);
        assert!(command.status().unwrap().success());
    };
    prune(&["--dry-run"]);
    assert!(copy.join("a-run").exists());
    prune(&[]);
    assert!(!copy.join("a-run").exists());
}

#[test]
fn a_killed_qemu_is_inconclusive() {
    let _guard = one_at_a_time();
    let running = Running::until_stage(&mut run_command("qemu-killed", &[]), "modules");
    for qemu in qemus(&running) {
        signal("KILL", qemu);
    }
    inconclusive_in(&running.end(), "modules");
}

#[test]
fn an_interrupted_run_leaves_no_qemu() {
    let _guard = one_at_a_time();
    for name in ["INT", "TERM"] {
        let running = Running::until_stage(&mut run_command("interrupted", &[]), "boot");
        let qemus = qemus(&running);
        signal(name, running.pid());
        let run = running.end();
        inconclusive_in(&run, "boot");
        assert_eq!(run.result["failure"], "stopped", "{}", run.text());
        assert!(!qemus.into_iter().any(lives), "QEMU was reaped");
    }
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let _guard = one_at_a_time();
    let start = || Running::until_stage(&mut run_command("two", &[]), "boot");
    let running = [start(), start()];
    let of_each = running.each_ref().map(qemus);
    assert!(of_each.iter().flatten().all(|&qemu| lives(qemu)));
    // Neither is pruned while it is at work.
    let mut prune = command(&["runs", "prune", "--keep", "0", "--out"]);
    assert!(prune.arg(scratch().join("two")).status().unwrap().success());
    let folders = running.map(|running| {
        signal("INT", running.pid());
        let run = running.end();
        inconclusive_in(&run, "boot");
        run.folder()
    });
    assert_ne!(folders[0], folders[1]);
    for folder in folders {
        assert!(folder.join("manifest.json").is_file(), "{folder:?}");
    }
    assert!(
        !of_each.into_iter().flatten().any(lives),
        "both were reaped"
    );
}

#[test]
fn a_killed_harness_takes_qemu_with_it() {
    let _guard = one_at_a_time();
    let running = Running::until_stage(&mut run_command("harness-killed", &[]), "modules");
    let qemus = qemus(&running);
    signal("KILL", running.pid());
    assert_eq!(running.end().code, -1, "ended by the signal");
    wait_for("QEMU has ended", REAPED, || {
        !qemus.iter().any(|&pid| lives(pid))
    });
}

#[test]
fn a_guest_that_hangs_is_stopped_at_its_deadline() {
    let _guard = one_at_a_time();
    // The kernel is told to start an init that its initramfs does not have: it panics and waits for ever.
    let root = changed_checkout("hang", |target| {
        target
            .replace("crashkernel=128M", "crashkernel=128M rdinit=/no/such/init")
            .replace("panic=-1 oops", "panic=0 oops")
            .replace("capture-boot = 120", "capture-boot = 5")
    });
    let run = finish(run_command("hang", &[]).env("RECRASH_ROOT", root));
    inconclusive_in(&run, "capture-boot");
    let shown = run.text();
    assert!(shown.contains("Unable to mount root fs"), "{shown}");
}

#[test]
fn a_boot_that_never_ends_is_stopped_at_its_deadline() {
    let _guard = one_at_a_time();
    // Without an init in its initramfs the kernel waits for a root device that never comes.
    let root = changed_checkout("stall", |target| {
        target
            .replace(
                "crashkernel=128M",
                "crashkernel=128M rdinit=/no/such/init root=/dev/nosuch rootwait",
            )
            .replace("\nboot = 120", "\nboot = 10")
    });
    let run = finish(run_command("stall", &[]).env("RECRASH_ROOT", root));
    inconclusive_in(&run, "boot");
    assert_eq!(run.result["failure"], "stalled", "{}", run.text());
}

#[test]
fn a_full_disk_is_inconclusive() {
    let _guard = one_at_a_time();
    let out = scratch().join("full");
    fs::create_dir_all(&out).unwrap();
    let inner = run_command("full", &[]);
    // Room for the boot's logs, not for a vmcore.
    let script = r#"mount -t tmpfs -o size=12m tmpfs "$0" && exec "$@""#;
    // A file-size limit stands in for it where nobody may mount. It has to let the initramfs pass, which is
    // smaller than a vmcore, but not by much.
    let limited = r#"trap "" XFSZ; ulimit -f "$0"; exec "$@""#;
    let mut outer = match unshare() {
        Some(flags) => {
            let mut outer = Command::new("unshare");
            outer.args(flags).args(["sh", "-c", script]).arg(&out);
            outer
        }
        None => {
            let mut outer = Command::new("bash");
            let vmcore = fs::metadata(crashed_run().folder().join("vmcore")).unwrap();
            let kibibytes = vmcore.len() / 1024 * 15 / 16;
            outer.args(["-c", limited, &kibibytes.to_string()]);
            outer
        }
    };
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(checkout()).env("CI", "1");
    inconclusive_in(&finish(&mut outer), "dump");
}

fn is_the_same_crash(run: &Finished) {
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "same-crash", "{}", run.text());
    assert_eq!(run.result["unexplained"], Value::Array(vec![]));
    let rules = run.rules();
    for rule in ["freelist-mid-object", "freelist-hardened"] {
        assert!(rules.contains(&rule), "{rule} in {rules:?}");
    }
}

/// A run that must end without a crash, after the device has answered the scenario and the fault fired.
fn survives(name: &str, args: &[&str]) -> Finished {
    let mut command = run_command(name, args);
    let run = finish(command.args(["--expect", "no-crash"]));
    assert_eq!(run.code, 0, "{}", run.text());
    assert_eq!(run.result["verdict"], "no-crash", "{}", run.text());
    let device = run.said("device");
    let asked = |event: &Value| event["event"] == "request" && event["setup"]["length"] == LENGTH;
    assert!(device.iter().any(asked), "the device was asked");
    assert_eq!(run.reports("fired").len(), 1, "the fault code ran");
    run
}

/// What `recrash analyze` says of the run's vmcore.
fn analysis(folder: &Path) -> Value {
    let judged = finish(command(&["analyze", "--json"]).arg(folder.join("vmcore")));
    assert_eq!(judged.code, 0, "{}", judged.text());
    judged.result
}

/// What `recrash inspect --json` prints of the run's vmcore.
fn inspect(folder: &Path, words: &[&str]) -> Value {
    let mut asked = command(&["inspect"]);
    asked.arg(folder.join("vmcore")).args(words).arg("--json");
    let answer = finish(&mut asked);
    assert_eq!(answer.code, 0, "{words:?}: {}", answer.text());
    answer.result
}

fn inconclusive(run: &Finished) {
    assert_eq!(run.code, 4, "{}", run.text());
    assert_eq!(run.result["verdict"], "inconclusive", "{}", run.text());
}

fn inconclusive_in(run: &Finished, stage: &str) {
    inconclusive(run);
    assert_eq!(run.result["stage"], stage, "{}", run.text());
}

/// The QEMUs of a run that is at work.
fn qemus(running: &Running) -> Vec<u32> {
    let qemus = qemus_of(running.pid());
    assert!(!qemus.is_empty(), "QEMU runs");
    qemus
}

/// A checkout whose debian target is changed; everything else is the real one.
fn changed_checkout(name: &str, change: impl Fn(String) -> String) -> PathBuf {
    let real = checkout().canonicalize().unwrap();
    let root = scratch().join(name).join("checkout");
    fs::create_dir_all(root.join("qemu/targets")).unwrap();
    for part in ["repro-module", "golden", "qemu/devices", "qemu/scenarios"] {
        std::os::unix::fs::symlink(real.join(part), root.join(part)).unwrap();
    }
    let target = Path::new("qemu/targets/debian.toml");
    let text = fs::read_to_string(real.join(target)).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    fs::write(root.join(target), changed).unwrap();
    root
}

/// How a mount of one's own can be had here, if at all.
fn unshare() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    WAYS.into_iter().find(|flags| {
        let script = "mount -t tmpfs tmpfs /mnt";
        let mut probe = Command::new("unshare");
        probe.args(*flags).args(["sh", "-c", script]);
        probe.output().is_ok_and(|output| output.status.success())
    })
}
