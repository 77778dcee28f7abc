//! Init of both boots, and the process that plays the scenario. PID 1 in either initramfs.
//!
//! Nothing here may end before the guest is powered off: the end of PID 1 is a kernel panic, which the
//! host would take for a crash.
mod boot;
mod capture;
mod elf_copy;
mod failure;
mod first;
mod report;
mod scenario;
#[expect(
    unsafe_code,
    reason = "kexec_file_load(2) and usbfs ioctls have no safe binding"
)]
mod sys;
mod sysfs;

use failure::{Doing, Failure};
use recrash_agent::PLAN_PATH;
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{Boot, Plan};
use report::Reporter;
use rustix::system::{RebootCommand, reboot};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(scenario::CHILD) {
        scenario::child();
        return ExitCode::SUCCESS;
    }
    if !rustix::process::getpid().is_init() {
        eprintln!("recrash-agent is the init of a guest, and powers it off; it only runs as PID 1");
        return ExitCode::from(2);
    }
    let mut reporter = Reporter::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| init(&mut reporter))).unwrap_or_else(|_| {
        Err(Failure::new(
            "running the init",
            "it panicked; see the console",
        ))
    });
    if let Err(Failure { doing, error }) = outcome {
        reporter.report(GuestEvent::Failed { doing, error });
    }
    power_off()
}

fn init(reporter: &mut Reporter) -> Result<(), Failure> {
    boot::mount_all()?;
    reporter.open_console();
    let plan: Plan = std::fs::read_to_string(PLAN_PATH)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
        .doing(|| format!("reading {PLAN_PATH}"))?;
    let kind = match plan.boot {
        Boot::First { .. } => "first",
        Boot::Capture { .. } => "capture",
    };
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    reporter.report(GuestEvent::Init {
        boot: kind.into(),
        release,
    });
    boot::load_modules(&plan.modules, reporter)?;
    match &plan.boot {
        Boot::First {
            capture,
            scenario,
            device,
            hold,
            dump_at_end,
        } => first::run(
            capture.as_ref(),
            scenario,
            *device,
            *hold,
            *dump_at_end,
            reporter,
        ),
        Boot::Capture { makedumpfile } => capture::run(makedumpfile.as_ref(), reporter),
    }
}

/// Powers off; without ACPI reboots, which ends a QEMU that runs with `-no-reboot`.
fn power_off() -> ExitCode {
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
    let _ = reboot(RebootCommand::Restart);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
