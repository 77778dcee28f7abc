//! The first boot: loads the capture kernel, finds the device, has the scenario played.
use crate::boot::wait_for;
use crate::failure::{Doing, Failure};
use crate::report::Reporter;
use crate::{scenario, sys, sysfs};
use recrash_agent::MODULE_LINE;
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{CaptureKernel, DeviceId, Scenario};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Makes the kernel panic at once (Linux, Documentation/admin-guide/sysrq.rst).
const SYSRQ: &str = "/proc/sysrq-trigger";
/// Time for the last report to reach the host before the kernel dies.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long the device may take to be enumerated.
const DEVICE_PATIENCE: Duration = Duration::from_secs(30);

/// An oops must panic.
const PANIC_ON_OOPS: (&str, &str) = ("/proc/sys/kernel/panic_on_oops", "1");
/// A panic that no capture kernel follows must reboot, which ends QEMU.
const REBOOT: (&str, &str) = ("/proc/sys/kernel/panic", "-1");
/// A panic must keep the memory as it is until the host has saved it.
const STAY: (&str, &str) = ("/proc/sys/kernel/panic", "0");

pub(crate) fn run(
    capture: Option<&CaptureKernel>,
    scenario: &Scenario,
    id: DeviceId,
    hold: bool,
    dump_at_end: bool,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    // What could not be dumped in the end is not begun.
    let trigger = dump_at_end.then(open_trigger).transpose()?;
    let after_panic = match capture {
        Some(capture) => {
            load_capture_kernel(capture)?;
            reporter.report(GuestEvent::CaptureKernelLoaded);
            REBOOT
        }
        None => {
            reporter.report(GuestEvent::CaptureLeftToHost);
            STAY
        }
    };
    for (file, value) in [PANIC_ON_OOPS, after_panic] {
        std::fs::write(file, value).doing(|| format!("writing {value} to {file}"))?;
    }

    let root = Path::new("/");
    let device = wait_for(DEVICE_PATIENCE, || sysfs::usb_device(root, id)).ok_or_else(|| {
        Failure::new(
            format!(
                "waiting for USB device {:04x}:{:04x}",
                id.vendor, id.product
            ),
            format!(
                "not there after {} s; on the bus: {:?}",
                DEVICE_PATIENCE.as_secs(),
                sysfs::usb_ids(root)
            ),
        )
    })?;
    let root_hub = sysfs::root_hub(root, &device).ok_or_else(|| {
        Failure::new(
            format!("finding {}", device.root_hub_name()),
            "not in sysfs",
        )
    })?;
    reporter.report(GuestEvent::DeviceFound {
        path: device.path.display().to_string(),
        bus: device.bus,
        device: device.device,
        root_hub: device.root_hub_name(),
    });

    let played = scenario::run(
        scenario,
        &device.node(root),
        &root_hub.node(root),
        hold,
        reporter,
    );
    // Also where the scenario failed: what the module did says why.
    for report in module_reports() {
        reporter.report(GuestEvent::ModuleReport { report });
    }
    let played = played?;
    if let Some(trigger) = trigger {
        // Its process still lives: the end of it would free memory.
        return die(trigger, reporter);
    }
    played.end();
    Ok(())
}

fn open_trigger() -> Result<File, Failure> {
    let opened = OpenOptions::new().write(true).open(SYSRQ);
    opened.doing(|| format!("opening {SYSRQ} (the kernel lacks CONFIG_MAGIC_SYSRQ?)"))
}

/// Makes the kernel panic; comes back only if that failed.
fn die(mut trigger: File, reporter: &mut Reporter) -> Result<(), Failure> {
    let doing = || format!("making the kernel die by {SYSRQ}");
    reporter.report(GuestEvent::DyingAsAsked);
    std::thread::sleep(LAST_WORDS);
    trigger.write_all(b"c").doing(doing)?;
    Err(Failure::new(doing(), "the kernel went on"))
}

fn load_capture_kernel(capture: &CaptureKernel) -> Result<(), Failure> {
    let open = |path: &str| File::open(path).doing(|| format!("opening {path}"));
    let doing = || format!("loading the capture kernel {}", capture.kernel);
    let cmdline = CString::new(capture.cmdline.as_str()).doing(doing)?;
    sys::kexec_load_on_crash(
        &open(&capture.kernel)?,
        &open(&capture.initramfs)?,
        &cmdline,
    )
    .map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL | libc::ENOMEM) => {
                " (is crashkernel= on the command line, and large enough?)"
            }
            Some(libc::ENOSYS) => " (the kernel lacks CONFIG_KEXEC_FILE)",
            Some(libc::ENOEXEC) => " (not a bzImage that kexec_file_load takes)",
            _ => "",
        };
        Failure::new(doing(), format!("{error}{hint}"))
    })
}

/// What repro-module wrote to the kernel log.
fn module_reports() -> Vec<serde_json::Value> {
    let Ok(mut log) = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
    else {
        return Vec::new();
    };
    let mut reports = Vec::new();
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => reports.extend(module_report(record.get(..length).unwrap_or_default())),
            // Records were overwritten meanwhile: the next read goes on with the oldest.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => break,
        }
    }
    reports
}

/// The report in a record of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg): a prefix up to `;`, the
/// message in which unprintable bytes are `\xNN`, then lines of key and value.
fn module_report(record: &[u8]) -> Option<serde_json::Value> {
    let text = std::str::from_utf8(record).ok()?;
    let message = text.split_once(';')?.1.lines().next()?;
    serde_json::from_str(message.split_once(MODULE_LINE)?.1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(record: &str, expected: Option<serde_json::Value>) {
        assert_eq!(module_report(record.as_bytes()), expected);
    }

    #[test]
    fn a_module_line_is_a_report() {
        check(
            "5,300,123456,-;recrash-module: {\"event\":\"fire\"}\n SUBSYSTEM=usb\n",
            Some(serde_json::json!({"event": "fire"})),
        );
    }

    #[test]
    fn other_lines_are_not() {
        check("6,1,0,-;usb 1-1: new device\n", None);
        check("5,1,0,-;recrash-module: {\"cut\":\n", None);
        check("recrash-module: {}", None);
    }

    proptest! {
        #[test]
        fn no_record_makes_the_parser_panic(bytes: Vec<u8>) {
            let _ = module_report(&bytes);
        }
    }
}
