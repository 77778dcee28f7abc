//! One run: one boot of one scenario on one target, with a folder that keeps everything it saw. Stages and
//! their deadlines are [`stage`]'s, the threads and QEMU are [`guest`]'s. Knows no signature and no golden.
pub mod campaign;
pub mod capture;
pub mod console;
pub mod events;
pub mod evidence;
pub mod folder;
pub mod guest;
pub mod lines;
pub mod manifest;
mod qemu_dump;
mod readers;
pub mod snapshot;
pub mod stage;
mod stop;

pub use campaign::{CampaignFolder, CampaignNote};
pub use events::{HostEvent, Observer, Record, Said};
pub use evidence::Evidence;
pub use folder::{Prune, RunFolder, RunSummary, list, prune};
pub use guest::DeviceSink;
pub use manifest::{CaptureNote, CrashNote, DumpNote, Ending, Manifest, Writer};
pub use stage::{FailureKind, Stage};
pub use stop::StopFlag;

use recrash_agent::plan::Scenario;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::device::UsbDevice;
use crate::initramfs::{self, FirstBoot, InitramfsError};
use crate::qemu::accel::{AccelChoice, AccelError, Chosen, Prober};
use crate::qemu::args::{DumpDevices, Machine};
use crate::setup::Provisioned;
use crate::target::Target;
use crate::usbhost::Physical;
use crate::usbpcap;
use crate::usbredir::{DeviceServer, DeviceState};
use guest::snapshot::Begin;
use guest::{Guest, GuestResult};
use snapshot::Snapshot;
use stage::{End, Failure, Limits};

/// What to run.
#[derive(Clone)]
pub struct RunRequest<'a> {
    /// The target.
    pub target: &'a Target,
    /// What set-up has made ready for it.
    pub provisioned: &'a Provisioned,
    /// Name of the device.
    pub device_name: &'a str,
    /// The device.
    pub device: &'a UsbDevice,
    /// Name of the scenario.
    pub scenario_name: &'a str,
    /// The scenario, with the fault to inject.
    pub scenario: &'a Scenario,
    /// Added to the first kernel's command line.
    pub append: &'a [String],
    /// How its memory is saved.
    pub capture: Capture,
    /// Which accelerator.
    pub accel: AccelChoice,
    /// Folder of the run folders, for example `target/recrash`.
    pub root: &'a Path,
    /// Parameters of repro-module, from [`crate::scenario::module_params`].
    pub module_params: &'a str,
    /// What it goes on from, instead of booting.
    pub snapshot: Option<&'a Snapshot>,
    /// Which attempt of which campaign it is, if of one.
    pub campaign: Option<CampaignNote>,
    /// What an experiment adds.
    pub extras: Extras,
}

/// What an experiment adds to a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// A kernel that survives its scenario is made to die, so that there is a dump of it: [`Outcome::Dumped`].
    #[serde(default)]
    pub dump_at_end: bool,
    /// The machine has an IOMMU (VT-d), which only a q35 can have.
    #[serde(default)]
    pub iommu: bool,
}

impl Extras {
    /// Whether nothing is added.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A run that has ended with its folder complete.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Its folder, locked against pruning as long as this lives.
    pub folder: Arc<RunFolder>,
    /// What came of it.
    pub outcome: Outcome,
    /// What the folder's manifest says.
    pub manifest: Manifest,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel died in the scenario.
    Crashed {
        /// The vmcore, whole and verified.
        vmcore: PathBuf,
        /// Its SHA-256 in hexadecimal.
        sha256: String,
        /// QEMU's dump of the same death, where `vmcore` is the capture kernel's.
        other: Option<PathBuf>,
        /// First line of the kernel's message; empty if the console did not tell.
        title: String,
    },
    /// The scenario ended and the kernel was alive, and the device was asked and the fault code ran.
    NoCrash,
    /// The scenario ended as in [`Outcome::NoCrash`], and the kernel was then made to die for its dump. No crash.
    Dumped {
        /// The vmcore, whole and verified.
        vmcore: PathBuf,
        /// Its SHA-256 in hexadecimal.
        sha256: String,
    },
    /// The run went to its end and still says nothing.
    Inconclusive {
        /// The stage concerned.
        stage: Stage,
        /// Why, for people.
        reason: String,
    },
}

/// A run that broke off. What it had collected is in its folder.
#[derive(Debug, thiserror::Error)]
#[error("{stage}: {detail}")]
pub struct RunError {
    /// In which stage.
    pub stage: Stage,
    /// What kind of failure.
    pub kind: FailureKind,
    /// What happened.
    pub detail: String,
    /// Last lines of the guest's console.
    pub console_tail: Vec<String>,
    /// The run folder, if there is one; locked against pruning as long as this lives.
    pub folder: Option<Arc<RunFolder>>,
}

impl RunError {
    fn host(stage: Stage, folder: Option<&Arc<RunFolder>>, detail: impl ToString) -> Self {
        Self {
            stage,
            kind: FailureKind::Host,
            detail: detail.to_string(),
            console_tail: Vec::new(),
            folder: folder.cloned(),
        }
    }
}

/// Runs it to its end. Nothing is left running, whatever happens.
///
/// # Errors
/// [`RunError`] naming the stage: exit code 4.
pub fn run(
    request: &RunRequest<'_>,
    observer: &mut dyn Observer,
    stop: &StopFlag,
) -> Result<RunRecord, RunError> {
    let clock = Instant::now();
    let early = |error: &dyn ToString| RunError::host(Stage::Prepare, None, error.to_string());
    let accel = choose_accel(request).map_err(|error| early(&error))?;
    let started = jiff::ZonedDateTime::now();
    let folder = RunFolder::create(
        request.root,
        &started.strftime("%Y%m%d-%H%M%S").to_string(),
        &request.target.name,
        &request.scenario.fault,
    )
    .map_err(|error| early(&format!("{}: {error}", request.root.display())))?;
    let folder = Arc::new(folder);
    let mut manifest = first_manifest(request, &accel, &started);
    let prepare =
        |error: &dyn ToString| RunError::host(Stage::Prepare, Some(&folder), error.to_string());
    manifest
        .store(folder.path())
        .map_err(|error| prepare(&error))?;
    let result = (|| {
        let scratch = tempfile::tempdir().map_err(|error| prepare(&error))?;
        let own_memory = match request.snapshot {
            Some(snapshot) => snapshot
                .own_memory(request)
                .map_err(|error| prepare(&error))?,
            None => None,
        };
        let machine = match request.snapshot {
            Some(snapshot) => snapshot.machine(machine(request, &accel, None), own_memory.as_ref()),
            None => {
                let packed = pack(request, scratch.path(), false);
                let initramfs = packed.map_err(|error| prepare(&error))?;
                machine(request, &accel, Some(initramfs))
            }
        };
        let state = request.snapshot.map(Snapshot::state);
        let guest = Guest {
            begin: match &state {
                Some(state) => Begin::Restore(state),
                None => Begin::Boot,
            },
            own_memory: own_memory.as_ref(),
            ..guest_of(request, &machine, &folder, clock)
        };
        let device = request.snapshot.map(|snapshot| snapshot.device().clone());
        let plug = |sink: DeviceSink| plug(request.device, device, sink);
        let mut result = guest::run(&guest, plug, observer, stop)
            .map_err(|error| RunError::host(Stage::StartQemu, Some(&folder), error))?;
        if request.device.physical().is_some() {
            take_traffic(&folder, request.scenario, &mut result);
        }
        Ok(result)
    })();
    manifest.total_ms = guest::millis(clock.elapsed());
    let outcome = match result {
        Ok(result) => {
            note_result(&mut manifest, &result);
            settle(&folder, request, result)
        }
        Err(error) => Err(error),
    };
    manifest.outcome = Some(ending(&outcome));
    let written = manifest
        .list_files(folder.path())
        .and_then(|()| manifest.store(folder.path()));
    let outcome = outcome?;
    written.map_err(|error| RunError::host(Stage::Shutdown, Some(&folder), error))?;
    Ok(RunRecord {
        folder,
        outcome,
        manifest,
    })
}

/// The guest that boots this machine.
fn guest_of<'g>(
    request: &'g RunRequest<'_>,
    machine: &'g Machine,
    folder: &'g RunFolder,
    clock: Instant,
) -> Guest<'g> {
    Guest {
        machine,
        program: request.provisioned.qemu.clone().into(),
        begin: Begin::Boot,
        own_memory: None,
        capture: &request.capture,
        limits: limits(request.target),
        vmcore_limit: u64::from(machine.memory_mib) << 22,
        scenario: request.scenario,
        folder,
        clock,
    }
}

/// Packs the first boot's initramfs, which holds the capture boot's. With `hold` it is to be saved before its scenario.
fn pack(request: &RunRequest<'_>, scratch: &Path, hold: bool) -> Result<PathBuf, InitramfsError> {
    let (target, provisioned) = (request.target, request.provisioned);
    let capture = if request.capture.mode.by_kdump() {
        Some(initramfs::capture(provisioned, target, &request.capture)?.to_bytes()?)
    } else {
        None
    };
    let module_params = match request.capture.pvpanic() {
        Some(port) => format!("{} stop_port={port:#x}", request.module_params),
        None => request.module_params.to_owned(),
    };
    let boot = FirstBoot {
        scenario: request.scenario,
        device: request.device.id(),
        module_params: &module_params,
        capture: &request.capture,
        capture_cmdline: &target.capture.cmdline,
        hold,
        dump_at_end: request.extras.dump_at_end,
    };
    let bytes = initramfs::first(provisioned, target, &boot, capture)?.to_bytes()?;
    let file = scratch.join("initramfs.cpio");
    std::fs::write(&file, bytes).map_err(|source| InitramfsError::Io {
        doing: "writing",
        file: file.clone(),
        source,
    })?;
    Ok(file)
}

fn choose_accel(request: &RunRequest<'_>) -> Result<Chosen, AccelError> {
    let machine = &request.target.machine;
    Prober {
        program: request.provisioned.qemu.clone().into(),
        machine_type: machine.machine_type.clone(),
        cpu: machine.cpu.clone(),
        cache: Some(request.provisioned.cache.clone()),
    }
    .choose(request.accel)
}

fn machine(request: &RunRequest<'_>, accel: &Chosen, initramfs: Option<PathBuf>) -> Machine {
    let settings = &request.target.machine;
    Machine {
        machine_type: settings.machine_type.clone(),
        accel: accel.accel,
        cpu: settings.cpu.clone(),
        memory_mib: settings.memory_mib,
        cpus: settings.cpus,
        kernel: request.provisioned.bzimage.clone(),
        initramfs,
        cmdline: cmdline(request),
        usb_controller: settings.usb_controller,
        usb_host: request.device.physical().map(Physical::qemu_device),
        pcap: folder::PCAP.into(),
        sandbox: accel.sandbox,
        memory: None,
        incoming: false,
        iommu: request.extras.iommu,
        dump: DumpDevices {
            vmcoreinfo: request.capture.mode.by_qemu(),
            pvpanic: request.capture.pvpanic(),
        },
    }
}

fn cmdline(request: &RunRequest<'_>) -> String {
    let mut cmdline = request.capture.cmdline(&request.target.boot.cmdline);
    for word in request.append {
        cmdline.push(' ');
        cmdline.push_str(word);
    }
    cmdline
}

fn limits(target: &Target) -> Limits {
    let deadlines = &target.deadlines;
    Limits {
        // A loaded host, or a QEMU that is read from a cold disk.
        start: Duration::from_secs(30),
        boot: deadlines.boot(),
        modules: deadlines.boot(),
        device: deadlines.scenario(),
        // A few MiB, and what the disk needs to take the memory.
        snapshot: Duration::from_secs(60),
        scenario: deadlines.scenario(),
        // The kernel prints its last lines on a serial port.
        stop: Duration::from_secs(30),
        capture_boot: deadlines.capture_boot(),
        dump: deadlines.capture(),
        // makedumpfile thinks for a while before the first byte; after that it flows.
        dump_pause: deadlines.capture().min(Duration::from_secs(30)),
        shutdown: Duration::from_secs(30),
    }
}

/// Counts what a physical device was asked by QEMU's record of the traffic: nobody else saw it. A record that cannot be
/// read is no evidence, so that a run which survived is inconclusive; that it cannot is said with it.
fn take_traffic(folder: &RunFolder, scenario: &Scenario, result: &mut GuestResult) {
    match usbpcap::read(&folder.file(folder::PCAP)) {
        Ok(traffic) => result.evidence.traffic(&traffic, scenario),
        Err(error) => result.evidence.unread_traffic = Some(error.to_string()),
    }
}

/// Serves an emulated device on a socket in a folder that only we can enter, and connects QEMU's end to it; then the
/// name is no longer needed. `from` is what the connection of a restored guest was. A physical device is QEMU's to
/// open.
fn plug(
    device: &UsbDevice,
    from: Option<DeviceState>,
    sink: DeviceSink,
) -> io::Result<(Option<DeviceServer>, Option<OwnedFd>)> {
    let UsbDevice::Emulated(device) = device else {
        return Ok((None, None));
    };
    let device = device.clone();
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("usb");
    let listener = UnixListener::bind(&path)?;
    let server = DeviceServer::resume(device, from, listener, move |event| {
        sink.send(serde_json::to_value(event).unwrap_or_default());
    })?;
    let stream = UnixStream::connect(&path)?;
    Ok((Some(server), Some(stream.into())))
}

fn first_manifest(
    request: &RunRequest<'_>,
    accel: &Chosen,
    started: &jiff::ZonedDateTime,
) -> Manifest {
    Manifest {
        recrash_run: manifest::SCHEMA,
        started: started.timestamp().to_string(),
        target: request.target.name.clone(),
        kernel_release: request.provisioned.kernel_release.clone(),
        packages: request.provisioned.packages.clone(),
        debug_dir: request.provisioned.debug_dir.clone(),
        qemu_version: qemu_version(&request.provisioned.qemu),
        accel: accel.accel,
        why_not_kvm: accel.why_not_kvm.clone(),
        device: request.device_name.into(),
        controller: Some(request.target.machine.usb_controller),
        speed: request.device.speed(),
        physical: request.device.physical().cloned(),
        scenario: request.scenario_name.into(),
        fault: request.scenario.fault.clone(),
        append: request.append.to_vec(),
        campaign: request.campaign.clone(),
        snapshot: request.snapshot.map(|snapshot| snapshot.made().to_owned()),
        cmdline: cmdline(request),
        capture: CaptureNote::of(&request.capture),
        extras: request.extras,
        stages: Vec::new(),
        total_ms: 0,
        qemu_ms: 0,
        outcome: None,
        crash: None,
        evidence: Evidence::default(),
        files: Vec::new(),
        verdict: None,
        title: None,
    }
}

/// First line of `qemu --version`; empty if it does not say.
fn qemu_version(program: &Path) -> String {
    let text = duct::cmd(program, ["--version"])
        .stderr_null()
        .unchecked()
        .read()
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn note_result(manifest: &mut Manifest, result: &GuestResult) {
    manifest.stages.clone_from(&result.stages);
    manifest.qemu_ms = guest::millis(result.qemu_time);
    manifest.evidence.clone_from(&result.evidence);
    manifest.capture.note(result);
    // A death that was asked for is no crash; what looked like one before may tell something.
    let crash = result.crash.as_ref().filter(|_| !result.died_as_asked);
    let crash = crash.or(result.taken_back.as_ref());
    manifest.crash = crash.map(|crash| CrashNote {
        stage: crash.stage,
        title: crash.title.clone(),
    });
}

/// What the guest's end means.
fn settle(
    folder: &Arc<RunFolder>,
    request: &RunRequest<'_>,
    result: GuestResult,
) -> Result<Outcome, RunError> {
    let failed = |failure: Failure| RunError {
        stage: failure.stage,
        kind: failure.kind,
        detail: failure.detail,
        console_tail: result.console_tail.clone(),
        folder: Some(Arc::clone(folder)),
    };
    match result.end {
        End::Failed(failure) => Err(failed(failure)),
        End::Survived => Ok(survived(&result, request.scenario)),
        // Only what makes a snapshot asks for one.
        End::Saved => Err(RunError::host(
            Stage::Snapshot,
            Some(folder),
            "the guest was saved and not run",
        )),
        End::Crashed if request.extras.dump_at_end && result.died_as_asked => {
            dumped(folder, request.scenario, result)
        }
        End::Crashed => crashed(folder, &request.capture, result),
    }
}

/// The dump of a kernel that survived; like its survival, it says something only if the scenario did what it was to do.
fn dumped(
    folder: &Arc<RunFolder>,
    scenario: &Scenario,
    result: GuestResult,
) -> Result<Outcome, RunError> {
    let vmcore = name_vmcore(folder, &result)?;
    let proven = result.evidence.proves_survival(scenario);
    let whole = result.whole.or(result.qemu_whole);
    Ok(match proven {
        Ok(()) => Outcome::Dumped {
            vmcore,
            sha256: whole.map(|whole| whole.sha256).unwrap_or_default(),
        },
        Err(reason) => Outcome::Inconclusive {
            stage: Stage::Scenario,
            reason,
        },
    })
}

/// Gives the capture kernel's vmcore, which is whole, its name.
fn name_vmcore(folder: &Arc<RunFolder>, result: &GuestResult) -> Result<PathBuf, RunError> {
    let vmcore = folder.file(folder::VMCORE);
    if result.whole.is_some() {
        std::fs::rename(folder.file(folder::VMCORE_PARTIAL), &vmcore)
            .map_err(|error| RunError::host(Stage::Dump, Some(folder), error))?;
    }
    Ok(vmcore)
}

/// A crash with its dumps: all of those that were to be made, or it says nothing.
fn crashed(
    folder: &Arc<RunFolder>,
    capture: &Capture,
    result: GuestResult,
) -> Result<Outcome, RunError> {
    let vmcore = name_vmcore(folder, &result)?;
    let (stage, title) = result
        .crash
        .map_or((Stage::Scenario, String::new()), |crash| {
            (crash.stage, crash.title)
        });
    if stage < Stage::Scenario {
        return Ok(Outcome::Inconclusive {
            stage,
            reason: format!("the kernel died before the scenario began: {title}"),
        });
    }
    if capture.mode.by_qemu() && result.qemu_whole.is_none() {
        return Ok(Outcome::Inconclusive {
            stage: Stage::Stop,
            reason: "the capture kernel wrote its vmcore, but QEMU was never told that the kernel dies, so its own dump is missing".into(),
        });
    }
    let both = result.whole.is_some() && result.qemu_whole.is_some();
    let whole = result.whole.or(result.qemu_whole);
    Ok(Outcome::Crashed {
        vmcore,
        sha256: whole.map(|whole| whole.sha256).unwrap_or_default(),
        other: both.then(|| folder.file(folder::VMCORE_QEMU)),
        title,
    })
}

/// A survived run says something only if it did what it was to do, and looked alive all the time.
fn survived(result: &GuestResult, scenario: &Scenario) -> Outcome {
    if let Some(crash) = &result.taken_back {
        return Outcome::Inconclusive {
            stage: crash.stage,
            reason: format!(
                "the scenario went to its end, but the console says: {}",
                crash.title
            ),
        };
    }
    match result.evidence.proves_survival(scenario) {
        Ok(()) => Outcome::NoCrash,
        Err(reason) => Outcome::Inconclusive {
            stage: Stage::Scenario,
            reason,
        },
    }
}

fn ending(outcome: &Result<Outcome, RunError>) -> Ending {
    match outcome {
        Ok(Outcome::Crashed { sha256, .. }) => Ending::Crashed {
            sha256: sha256.clone(),
        },
        Ok(Outcome::Dumped { sha256, .. }) => Ending::Dumped {
            sha256: sha256.clone(),
        },
        Ok(Outcome::NoCrash) => Ending::NoCrash,
        Ok(Outcome::Inconclusive { stage, reason }) => Ending::Inconclusive {
            stage: *stage,
            kind: None,
            reason: reason.clone(),
        },
        Err(error) => Ending::Inconclusive {
            stage: error.stage,
            kind: Some(error.kind),
            reason: error.detail.clone(),
        },
    }
}
