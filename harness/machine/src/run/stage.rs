//! The stages of a run as a state machine: what was seen, in; which stage comes next, out. Pure: no clock,
//! no process, no file. Whatever a guest says, it ends.
use recrash_agent::event::GuestEvent;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

use crate::capture::CaptureMode;

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
    /// Until the guest, which holds before its scenario, is saved.
    Snapshot,
    /// Until a guest that was saved goes on.
    Restore,
    /// Until the kernel dies or the scenario ends.
    Scenario,
    /// From the crash until QEMU has stopped the guest, where QEMU dumps.
    Stop,
    /// Until QEMU's dump is whole.
    QemuDump,
    /// From the crash, or from QEMU's dump, until the second init reports.
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
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Scenario => "scenario",
            Self::Stop => "stop",
            Self::QemuDump => "qemu-dump",
            Self::CaptureBoot => "capture-boot",
            Self::Dump => "dump",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Those in which something is waited for.
const STAGES_WITH_LIMIT: [Stage; 12] = [
    Stage::StartQemu,
    Stage::Boot,
    Stage::Modules,
    Stage::Device,
    Stage::Snapshot,
    Stage::Restore,
    Stage::Scenario,
    Stage::Stop,
    Stage::QemuDump,
    Stage::CaptureBoot,
    Stage::Dump,
    Stage::Shutdown,
];

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
    /// [`Stage::Snapshot`] and [`Stage::Restore`].
    pub snapshot: Duration,
    /// [`Stage::Scenario`].
    pub scenario: Duration,
    /// [`Stage::Stop`].
    pub stop: Duration,
    /// [`Stage::CaptureBoot`].
    pub capture_boot: Duration,
    /// [`Stage::Dump`] and [`Stage::QemuDump`].
    pub dump: Duration,
    /// In [`Stage::Dump`] and [`Stage::QemuDump`]: longest pause between two pieces of the vmcore.
    pub dump_pause: Duration,
    /// [`Stage::Shutdown`].
    pub shutdown: Duration,
}

impl Limits {
    /// All together: no run takes longer, whatever the guest says and in which order.
    fn total(&self) -> Duration {
        STAGES_WITH_LIMIT.iter().fold(Duration::ZERO, |sum, stage| {
            sum.saturating_add(self.of(*stage))
        })
    }

    fn of(&self, stage: Stage) -> Duration {
        match stage {
            // Nothing in it waits for the guest; the driver's own steps have their own limits.
            Stage::Prepare => Duration::MAX,
            Stage::StartQemu => self.start,
            Stage::Boot => self.boot,
            Stage::Modules => self.modules,
            Stage::Device => self.device,
            Stage::Snapshot | Stage::Restore => self.snapshot,
            Stage::Scenario => self.scenario,
            Stage::Stop => self.stop,
            Stage::CaptureBoot => self.capture_boot,
            Stage::Dump | Stage::QemuDump => self.dump,
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
    /// QEMU answered on QMP, and is going to restore a guest.
    Restoring,
    /// The guest holds, and is going to be saved.
    Holding,
    /// The guest is saved.
    Saved,
    /// The guest's init reports.
    Guest(&'a GuestEvent),
    /// The console says that the kernel dies.
    Crash(&'a str),
    /// The console says that the kernel has given up on a USB device.
    NotEnumerated(&'a str),
    /// QEMU has stopped the guest, because it dies.
    Stopped,
    /// QEMU's dump has more bytes.
    QemuDumpBytes,
    /// QEMU's dump is whole.
    QemuDumpWhole,
    /// The vmcore has this many bytes so far.
    DumpBytes(u64),
    /// The vmcore is whole.
    DumpWhole,
    /// The vmcore will never be whole.
    DumpFailed(&'a str),
    /// QEMU tells why it ends (`ShutdownCause` in QEMU's `qapi/run-state.json`).
    QemuShutdown(&'a str),
    /// QEMU has ended, and nothing more will come from it.
    QemuExited {
        /// How, for people.
        how: &'a str,
        /// With exit code 0.
        clean: bool,
    },
}

/// How long a device is waited for that the kernel has given up on: it might still come back on another port.
const LAST_HOPE: Duration = Duration::from_secs(3);

/// The reason that QEMU tells of a guest that has powered itself off.
const POWERED_OFF: &str = "guest-shutdown";

/// How the guest's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It crashed, and the vmcore is whole.
    Crashed,
    /// The scenario ended and the kernel was alive until it was powered off.
    Survived,
    /// It was saved where it held, which is what it was booted for.
    Saved,
    /// None of these.
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
    /// First line of the message; empty if only the capture boot, or QEMU, told of it.
    pub title: String,
}

/// Where a run is.
#[derive(Debug, Clone)]
pub struct Machine {
    limits: Limits,
    mode: CaptureMode,
    stage: Stage,
    since: Duration,
    started: Option<Duration>,
    last_byte: Option<Duration>,
    crash: Option<CrashSeen>,
    taken_back: Option<CrashSeen>,
    survived: bool,
    /// The guest has said that it makes its kernel die, because a dump was asked for.
    asked_to_die: bool,
    shutdown: Option<String>,
    /// When the kernel gave up on a USB device, and what it said.
    given_up: Option<(Duration, String)>,
    /// QEMU's dump is whole.
    qemu_whole: bool,
    /// The last dump is whole.
    whole: bool,
}

impl Machine {
    /// A run that begins.
    #[must_use]
    pub fn new(limits: Limits, mode: CaptureMode) -> Self {
        Self {
            limits,
            mode,
            stage: Stage::Prepare,
            since: Duration::ZERO,
            started: None,
            last_byte: None,
            crash: None,
            taken_back: None,
            survived: false,
            asked_to_die: false,
            shutdown: None,
            given_up: None,
            qemu_whole: false,
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

    /// What looked like a crash on the console before the guest said that it had survived.
    #[must_use]
    pub fn taken_back(&self) -> Option<&CrashSeen> {
        self.taken_back.as_ref()
    }

    /// Whether the kernel survived its scenario and then died because the guest made it die.
    #[must_use]
    pub fn died_as_asked(&self) -> bool {
        self.asked_to_die
    }

    /// When the present stage, or the whole run, is over time, on the clock of the inputs.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let stage = self.since.saturating_add(self.limits.of(self.stage));
        let pause = match self.last_byte {
            Some(last) if matches!(self.stage, Stage::Dump | Stage::QemuDump) => {
                last.saturating_add(self.limits.dump_pause)
            }
            _ => Duration::MAX,
        };
        let pause = match &self.given_up {
            Some((when, _)) if self.stage == Stage::Device => {
                pause.min((*when).max(self.since).saturating_add(LAST_HOPE))
            }
            _ => pause,
        };
        stage.min(pause).min(self.last_deadline())
    }

    fn last_deadline(&self) -> Duration {
        self.started.map_or(Duration::MAX, |started| {
            started.saturating_add(self.limits.total())
        })
    }

    /// Takes what was seen at `now`. Gives the end, if this is it; [`Machine::stage`] may have changed.
    pub fn step(&mut self, now: Duration, input: Input<'_>) -> Option<End> {
        match input {
            Input::Start => {
                self.started.get_or_insert(now);
                self.enter(now, Stage::StartQemu);
            }
            Input::QemuReady => self.forward(now, Stage::Boot),
            Input::Restoring => self.forward(now, Stage::Restore),
            Input::Holding => {
                // A guest that says so after it died, or after its scenario began, says nothing.
                if self.crash.is_none() && self.stage < Stage::Scenario {
                    self.forward(now, Stage::Snapshot);
                }
            }
            Input::Saved => {
                if self.stage == Stage::Snapshot {
                    return Some(End::Saved);
                }
            }
            Input::Guest(event) => return self.guest(now, event),
            Input::Crash(line) => self.crashed(now, line),
            Input::NotEnumerated(line) => {
                self.given_up.get_or_insert_with(|| (now, line.into()));
            }
            Input::Stopped => self.stopped(now),
            Input::QemuDumpBytes => self.last_byte = Some(now),
            Input::QemuDumpWhole => self.dumped_by_qemu(now),
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
            Input::QemuShutdown(reason) => {
                self.shutdown.get_or_insert_with(|| reason.into());
            }
            Input::QemuExited { how, clean } => return Some(self.exited(how, clean)),
        }
        None
    }

    /// The deadline has passed.
    #[must_use]
    pub fn timed_out(&self, now: Duration) -> End {
        if self.whole {
            // The result is there; a guest that cannot power off is ended by the harness.
            return End::Crashed;
        }
        let spent = now.saturating_sub(self.since).as_secs_f64();
        if let (Stage::Device, Some((_, line))) = (self.stage, &self.given_up) {
            let what = format!("the kernel gave up on the USB device: {line}");
            return self.fail(FailureKind::Guest, &what);
        }
        let what = match (self.stage, self.last_byte) {
            (Stage::Stop, _) => {
                format!("the kernel died, and QEMU was not told to stop it within {spent:.0} s")
            }
            (Stage::Dump | Stage::QemuDump, Some(last)) => format!(
                "no end after {spent:.0} s, last byte {:.0} s ago",
                now.saturating_sub(last).as_secs_f64()
            ),
            // Powering off frees what the scenario may have corrupted: it is part of surviving.
            (Stage::Shutdown, _) => format!("the guest did not power off within {spent:.0} s"),
            _ if now >= self.last_deadline() => format!(
                "no end {:.0} s after QEMU's start",
                self.limits.total().as_secs_f64()
            ),
            _ => format!("nothing new within {spent:.0} s"),
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

    fn guest(&mut self, now: Duration, event: &GuestEvent) -> Option<End> {
        match event {
            GuestEvent::Init { boot, .. } if boot == "capture" => self.capture_init(now),
            GuestEvent::Init { .. } => self.forward(now, Stage::Modules),
            GuestEvent::CaptureKernelLoaded | GuestEvent::CaptureLeftToHost => {
                self.forward(now, Stage::Device);
            }
            GuestEvent::ScenarioStarted { .. } => self.forward(now, Stage::Scenario),
            GuestEvent::ScenarioSurvived => {
                // The console's word is only a hint: a line that looks like an oops did not kill it. Once:
                // a guest that says so again and again must not start a deadline anew each time.
                let may = [Stage::Scenario, Stage::Stop, Stage::CaptureBoot];
                if !self.survived && !self.qemu_whole && may.contains(&self.stage) {
                    self.survived = true;
                    self.taken_back = self.crash.take();
                    self.enter(now, Stage::Shutdown);
                }
            }
            // After a scenario only: a guest that died in it cannot call that a wish.
            GuestEvent::DyingAsAsked => self.asked_to_die |= self.survived,
            GuestEvent::DumpStarted { .. } => {
                self.capture_init(now);
            }
            GuestEvent::Failed { doing, error } => {
                return Some(self.fail(FailureKind::Guest, &format!("{doing}: {error}")));
            }
            GuestEvent::ModuleLoaded { .. }
            | GuestEvent::DeviceFound { .. }
            | GuestEvent::Holding
            | GuestEvent::UrbReaped { .. }
            | GuestEvent::FaultReturned { .. }
            | GuestEvent::ModuleActed { .. }
            | GuestEvent::ModuleReport { .. }
            | GuestEvent::DumpWritten { .. } => {}
        }
        None
    }

    fn crashed(&mut self, now: Duration, title: &str) {
        // The first one counts. A capture kernel that dies resets, so QEMU ends; and behind a whole vmcore
        // nothing matters any more.
        if self.whole {
            return;
        }
        match &mut self.crash {
            // QEMU's word of the stop may come before the console's last lines.
            Some(seen) if seen.title.is_empty() && !self.qemu_whole => seen.title = title.into(),
            Some(_) => {}
            None => {
                self.crash = Some(CrashSeen {
                    stage: self.stage,
                    title: title.into(),
                });
                let next = if self.mode.by_qemu() {
                    Stage::Stop
                } else {
                    Stage::CaptureBoot
                };
                self.enter(now, next);
            }
        }
    }

    /// Once: a guest that is let go on and stopped again has had its dump.
    fn stopped(&mut self, now: Duration) {
        let early = self.stage < Stage::QemuDump || self.stage == Stage::Shutdown;
        if self.whole || self.qemu_whole || !early || !self.mode.by_qemu() {
            return;
        }
        self.crash.get_or_insert(CrashSeen {
            stage: self.stage,
            title: String::new(),
        });
        self.enter(now, Stage::QemuDump);
    }

    fn dumped_by_qemu(&mut self, now: Duration) {
        if self.stage != Stage::QemuDump {
            return;
        }
        self.qemu_whole = true;
        // The other dump's pauses are its own.
        self.last_byte = None;
        if self.mode.by_kdump() {
            self.enter(now, Stage::CaptureBoot);
        } else {
            self.whole = true;
            self.enter(now, Stage::Shutdown);
        }
    }

    fn capture_init(&mut self, now: Duration) {
        // While QEMU has it stopped the guest says nothing new.
        if self.whole || self.stage == Stage::QemuDump || !self.mode.by_kdump() {
            return;
        }
        if self.crash.is_none() {
            self.crash = Some(CrashSeen {
                stage: self.stage,
                title: String::new(),
            });
        }
        self.dumping(now);
    }

    fn dumping(&mut self, now: Duration) {
        if !self.whole && self.stage != Stage::QemuDump {
            self.enter(now, Stage::Dump);
        }
    }

    fn exited(&self, how: &str, clean: bool) -> End {
        if self.whole {
            return End::Crashed;
        }
        if self.crash.is_some() {
            let what = format!("the kernel died, QEMU {how}, and there is no whole vmcore");
            return self.fail(FailureKind::NoVmcore, &what);
        }
        match &self.shutdown {
            Some(reason) if self.survived && reason == POWERED_OFF => End::Survived,
            // A QEMU that tells no reason is believed if it ended well.
            None if self.survived && clean => End::Survived,
            Some(reason) => self.fail(
                FailureKind::QemuDied,
                &format!("QEMU {how}, its reason: {reason}"),
            ),
            None => self.fail(FailureKind::QemuDied, &format!("QEMU {how}")),
        }
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
