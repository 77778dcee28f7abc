//! The stages of a run as a state machine: what was seen, in; which stage comes next, out. Pure: no clock,
//! no process, no file. Whatever a guest says, it ends.
use recrash_agent::event::GuestEvent;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A part of a run with a deadline of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Initramfs images, run folder, accelerator.
    Prepare,
    /// QEMU, until it answers on QMP.
    StartQemu,
    /// Until the first init reports.
    Boot,
    /// Modules and the capture kernel.
    Modules,
    /// Until the guest has found the device.
    Device,
    /// Until the kernel dies or the scenario ends.
    Scenario,
    /// From the crash until the second init reports.
    CaptureBoot,
    /// Until the vmcore and its trailer are here and fit each other.
    Dump,
    /// Until QEMU has ended.
    Shutdown,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::StartQemu => "start-qemu",
            Self::Boot => "boot",
            Self::Modules => "modules",
            Self::Device => "device",
            Self::Scenario => "scenario",
            Self::CaptureBoot => "capture-boot",
            Self::Dump => "dump",
            Self::Shutdown => "shutdown",
        })
    }
}

/// How long each stage may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// [`Stage::StartQemu`].
    pub start: Duration,
    /// [`Stage::Boot`].
    pub boot: Duration,
    /// [`Stage::Modules`].
    pub modules: Duration,
    /// [`Stage::Device`].
    pub device: Duration,
    /// [`Stage::Scenario`].
    pub scenario: Duration,
    /// [`Stage::CaptureBoot`].
    pub capture_boot: Duration,
    /// [`Stage::Dump`].
    pub dump: Duration,
    /// In [`Stage::Dump`]: longest pause between two pieces of the vmcore.
    pub dump_pause: Duration,
    /// [`Stage::Shutdown`].
    pub shutdown: Duration,
}

impl Limits {
    fn of(&self, stage: Stage) -> Duration {
        match stage {
            // Nothing in it waits for the guest; the driver's own steps have their own limits.
            Stage::Prepare => Duration::MAX,
            Stage::StartQemu => self.start,
            Stage::Boot => self.boot,
            Stage::Modules => self.modules,
            Stage::Device => self.device,
            Stage::Scenario => self.scenario,
            Stage::CaptureBoot => self.capture_boot,
            Stage::Dump => self.dump,
            Stage::Shutdown => self.shutdown,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// QEMU is started.
    Start,
    /// QEMU answered on QMP.
    QemuReady,
    /// The guest's init reports.
    Guest(&'a GuestEvent),
    /// The console says that the kernel dies.
    Crash(&'a str),
    /// The vmcore has this many bytes so far.
    DumpBytes(u64),
    /// The vmcore is whole.
    DumpWhole,
    /// The vmcore will never be whole.
    DumpFailed(&'a str),
    /// QEMU has ended, and nothing more will come from it.
    QemuExited(&'a str),
}

/// How the guest's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It crashed, and the vmcore is whole.
    Crashed,
    /// The scenario ended and the kernel was alive until it was powered off.
    Survived,
    /// Neither.
    Failed(Failure),
}

/// Why a run has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In which stage.
    pub stage: Stage,
    /// What kind.
    pub kind: FailureKind,
    /// What happened, for people.
    pub detail: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// A stage's deadline passed.
    Stalled,
    /// QEMU ended too early.
    QemuDied,
    /// The init inside the guest reported a failure.
    Guest,
    /// The kernel died, and no whole vmcore came of it.
    NoVmcore,
    /// The host failed: a program, a file, a full disk.
    Host,
    /// Somebody stopped the run.
    Stopped,
}

/// A crash as the console told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashSeen {
    /// In which stage the kernel died.
    pub stage: Stage,
    /// First line of the message; empty if only the capture boot told of it.
    pub title: String,
}

/// Where a run is.
#[derive(Debug, Clone)]
pub struct Machine {
    limits: Limits,
    stage: Stage,
    since: Duration,
    last_byte: Option<Duration>,
    crash: Option<CrashSeen>,
    survived: bool,
    whole: bool,
}

impl Machine {
    /// A run that begins.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stage: Stage::Prepare,
            since: Duration::ZERO,
            last_byte: None,
            crash: None,
            survived: false,
            whole: false,
        }
    }

    /// The stage it is in.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The crash, once seen.
    #[must_use]
    pub fn crash(&self) -> Option<&CrashSeen> {
        self.crash.as_ref()
    }

    /// When the present stage is over time, on the clock of the inputs.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let total = self.since.saturating_add(self.limits.of(self.stage));
        match self.last_byte {
            Some(last) if self.stage == Stage::Dump => {
                total.min(last.saturating_add(self.limits.dump_pause))
            }
            _ => total,
        }
    }

    /// Takes what was seen at `now`. Gives the end, if this is it; [`Machine::stage`] may have changed.
    pub fn step(&mut self, now: Duration, input: Input<'_>) -> Option<End> {
        match input {
            Input::Start => self.enter(now, Stage::StartQemu),
            Input::QemuReady => self.forward(now, Stage::Boot),
            Input::Guest(event) => return self.guest(now, event),
            Input::Crash(line) => self.crashed(now, line),
            Input::DumpBytes(_) => {
                self.last_byte = Some(now);
                self.dumping(now);
            }
            Input::DumpWhole => {
                self.whole = true;
                self.dumping(now);
                self.enter(now, Stage::Shutdown);
            }
            Input::DumpFailed(why) => {
                // Without a crash the port simply ends, unused, with QEMU.
                if self.crash.is_some() || self.last_byte.is_some() {
                    return Some(self.fail(FailureKind::NoVmcore, why));
                }
            }
            Input::QemuExited(how) => return Some(self.exited(how)),
        }
        None
    }

    /// The deadline has passed.
    #[must_use]
    pub fn timed_out(&self, now: Duration) -> End {
        let spent = now.saturating_sub(self.since);
        if self.stage == Stage::Shutdown {
            // The result is there; a guest that cannot power off is ended by the harness.
            return self.result();
        }
        let what = match (self.stage, self.last_byte) {
            (Stage::Dump, Some(last)) => format!(
                "no end after {:.0} s, last byte {:.0} s ago",
                spent.as_secs_f64(),
                now.saturating_sub(last).as_secs_f64()
            ),
            _ => format!("nothing new within {:.0} s", spent.as_secs_f64()),
        };
        self.fail(FailureKind::Stalled, &what)
    }

    /// A failure in the present stage.
    #[must_use]
    pub fn fail(&self, kind: FailureKind, detail: &str) -> End {
        End::Failed(Failure {
            stage: self.stage,
            kind,
            detail: detail.into(),
        })
    }

    fn result(&self) -> End {
        if self.whole {
            End::Crashed
        } else if self.survived {
            End::Survived
        } else {
            self.fail(FailureKind::NoVmcore, "the kernel died and left no vmcore")
        }
    }

    fn guest(&mut self, now: Duration, event: &GuestEvent) -> Option<End> {
        match event {
            GuestEvent::Init { boot, .. } if boot == "capture" => self.capture_init(now),
            GuestEvent::Init { .. } => self.forward(now, Stage::Modules),
            GuestEvent::CaptureKernelLoaded => self.forward(now, Stage::Device),
            GuestEvent::ScenarioStarted { .. } => self.forward(now, Stage::Scenario),
            GuestEvent::ScenarioSurvived => {
                // The console's word is only a hint: a line that looks like an oops did not kill it.
                if matches!(self.stage, Stage::Scenario | Stage::CaptureBoot) {
                    self.survived = true;
                    self.crash = None;
                    self.enter(now, Stage::Shutdown);
                }
            }
            GuestEvent::DumpStarted { .. } => {
                self.capture_init(now);
            }
            GuestEvent::Failed { doing, error } => {
                return Some(self.fail(FailureKind::Guest, &format!("{doing}: {error}")));
            }
            GuestEvent::ModuleLoaded { .. }
            | GuestEvent::DeviceFound { .. }
            | GuestEvent::UrbReaped { .. }
            | GuestEvent::FaultReturned { .. }
            | GuestEvent::ModuleReport { .. }
            | GuestEvent::DumpWritten { .. } => {}
        }
        None
    }

    fn crashed(&mut self, now: Duration, title: &str) {
        // The first one counts. A capture kernel that dies resets, so QEMU ends; and behind a whole vmcore
        // nothing matters any more.
        if self.crash.is_none() && !self.whole {
            self.crash = Some(CrashSeen {
                stage: self.stage,
                title: title.into(),
            });
            self.enter(now, Stage::CaptureBoot);
        }
    }

    fn capture_init(&mut self, now: Duration) {
        if self.whole {
            return;
        }
        if self.crash.is_none() {
            self.crash = Some(CrashSeen {
                stage: self.stage,
                title: String::new(),
            });
        }
        self.survived = false;
        self.dumping(now);
    }

    fn dumping(&mut self, now: Duration) {
        if !self.whole {
            self.enter(now, Stage::Dump);
        }
    }

    fn exited(&self, how: &str) -> End {
        if self.whole || (self.survived && self.crash.is_none()) {
            return self.result();
        }
        if self.crash.is_some() {
            let what = format!("the kernel died, QEMU {how}, and there is no whole vmcore");
            return self.fail(FailureKind::NoVmcore, &what);
        }
        self.fail(FailureKind::QemuDied, &format!("QEMU {how}"))
    }

    /// Enters a stage only if it is a later one: a guest cannot go back and start a deadline anew.
    fn forward(&mut self, now: Duration, stage: Stage) {
        if stage > self.stage {
            self.enter(now, stage);
        }
    }

    fn enter(&mut self, now: Duration, stage: Stage) {
        if stage != self.stage {
            self.stage = stage;
            self.since = now;
        }
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
