//! Plays a scenario in a process of its own, which has the name and the CPU that the scenario asks for.
//!
//! The parent ([`run`]) hands the child ([`child`]) its work as one line of JSON. Everything the child
//! needs is opened and allocated before the first step; results stay in memory until the last step is
//! over, because a report would use the very caches that the fault is about.
use crate::failure::{Doing, Failure};
use crate::report::Reporter;
use crate::sys;
use recrash_agent::GO_LINE;
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{Act, Scenario, Setup, Step, UrbTarget};
use rustix::event::Timespec;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// First argument of the child.
pub(crate) const CHILD: &str = "scenario";
/// repro-module's device.
const TRIGGER: &str = "/dev/recrash";
/// How long a URB may take.
const URB_PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
/// Time for the rest of the set-up (RCU callbacks, the device's enumeration) to leave the CPU's caches alone.
const SETTLE: Duration = Duration::from_millis(200);
/// The same for what being let go brings with it: an interrupt, a report, two processes that wake.
const SETTLE_AGAIN: Duration = Duration::from_millis(50);

/// What the child is told.
#[derive(Serialize, Deserialize)]
struct Work {
    scenario: Scenario,
    device: PathBuf,
    root_hub: PathBuf,
    /// Whether to wait for a line once everything is ready.
    hold: bool,
}

/// What the child says, one JSON object a line.
#[derive(Serialize, Deserialize)]
enum Said {
    /// Everything is ready, and a line is waited for.
    Ready,
    Event(GuestEvent),
    Failed {
        doing: String,
        error: String,
    },
}

/// A child that has played its scenario and waits to be let go: its end frees memory, which a
/// corrupted kernel may not survive.
pub(crate) struct Played {
    child: Child,
    hold: ChildStdin,
}

impl Played {
    /// Lets the child end.
    pub(crate) fn end(mut self) {
        drop(self.hold);
        let _ = self.child.wait();
    }
}

/// Plays a scenario on these device nodes, and reports its events when it is over. With `hold` it first waits, with
/// everything ready, until the host lets it go.
pub(crate) fn run(
    scenario: &Scenario,
    device: &Path,
    root_hub: &Path,
    hold: bool,
    reporter: &mut Reporter,
) -> Result<Played, Failure> {
    let started = || GuestEvent::ScenarioStarted {
        comm: scenario.comm.clone(),
        cpu: scenario.cpu,
    };
    if !hold {
        reporter.report(started());
    }
    leave_cpu(scenario.cpu)?;
    let work = Work {
        scenario: scenario.clone(),
        device: device.into(),
        root_hub: root_hub.into(),
        hold,
    };
    let mut line = serde_json::to_string(&work).doing(|| "writing the scenario".into())?;
    line.push('\n');
    let starting = || "starting the scenario's process".to_owned();
    let mut child = Command::new("/proc/self/exe")
        .arg(CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing(starting)?;
    let (Some(mut stdin), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::new(starting(), "no pipes"));
    };
    stdin.write_all(line.as_bytes()).doing(starting)?;
    for line in BufReader::new(out).lines() {
        let said = line.map_err(|error| error.to_string()).and_then(|line| {
            serde_json::from_str(&line).map_err(|error| format!("\"{line}\": {error}"))
        });
        match said.doing(|| "reading from the scenario's process".into())? {
            Said::Ready => {
                reporter.report(GuestEvent::Holding);
                reporter
                    .wait_for_line(GO_LINE)
                    .doing(|| "waiting to be let go".into())?;
                reporter.report(started());
                stdin.write_all(b"\n").doing(starting)?;
            }
            Said::Event(event) => {
                let last = event == GuestEvent::ScenarioSurvived;
                reporter.report(event);
                if last {
                    return Ok(Played { child, hold: stdin });
                }
            }
            Said::Failed { doing, error } => return Err(Failure { doing, error }),
        }
    }
    let status = child
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string());
    Err(Failure::new(
        "playing the scenario",
        format!("its process ended early: {status}"),
    ))
}

/// Moves this process to the other CPUs, where there are any.
fn leave_cpu(cpu: u32) -> Result<(), Failure> {
    let doing = || format!("leaving CPU {cpu}");
    let mut cpus = sched_getaffinity(None).doing(doing)?;
    let cpu = usize::try_from(cpu).unwrap_or(usize::MAX);
    if cpu >= CpuSet::MAX_CPU || !cpus.is_set(cpu) {
        return Err(Failure::new(
            format!("binding the scenario to CPU {cpu}"),
            "the guest has no such CPU",
        ));
    }
    cpus.unset(cpu);
    if cpus.count() > 0 {
        sched_setaffinity(None, &cpus).doing(doing)?;
    }
    Ok(())
}

/// The child: `/init scenario`.
pub(crate) fn child() {
    let mut said = match play() {
        Ok(events) => events.into_iter().map(Said::Event).collect(),
        Err(Failure { doing, error }) => vec![Said::Failed { doing, error }],
    };
    if !matches!(said.last(), Some(Said::Failed { .. })) {
        said.push(Said::Event(GuestEvent::ScenarioSurvived));
    }
    let mut out = std::io::stdout().lock();
    for line in said
        .iter()
        .filter_map(|said| serde_json::to_string(said).ok())
    {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
    // Until the parent lets go.
    let _ = std::io::stdin().lock().read(&mut [0]);
}

/// A step with everything it needs.
enum Ready<'a> {
    Urb {
        node: &'a File,
        buffer: Vec<u8>,
        result: Option<std::io::Result<sys::UrbResult>>,
    },
    Module {
        trigger: File,
        /// `None` for the fault.
        act: Option<Act>,
        result: Option<std::io::Result<usize>>,
    },
}

fn play() -> Result<Vec<GuestEvent>, Failure> {
    let mut line = String::new();
    // One line and no more: the end of the input means something else.
    BufReader::with_capacity(1, std::io::stdin())
        .read_line(&mut line)
        .doing(|| "reading the scenario".into())?;
    let work: Work = serde_json::from_str(&line).doing(|| "reading the scenario".into())?;
    become_process(&work.scenario)?;
    let open = |path: &Path| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .doing(|| format!("opening {}", path.display()))
    };
    let (device, root_hub) = (open(&work.device)?, open(&work.root_hub)?);
    let mut ready = Vec::new();
    for step in &work.scenario.steps {
        ready.push(match step {
            Step::Urb { to, setup } => Ready::Urb {
                node: match to {
                    UrbTarget::Device => &device,
                    UrbTarget::RootHub => &root_hub,
                },
                buffer: setup_and_room(setup),
                result: None,
            },
            Step::Fault => module(None)?,
            Step::Module { act } => module(Some(*act))?,
        });
    }
    std::thread::sleep(SETTLE);
    if work.hold {
        hold()?;
    }
    for step in &mut ready {
        let failed = match step {
            Ready::Urb {
                node,
                buffer,
                result,
            } => result
                .insert(sys::control_urb(node.as_fd(), buffer, URB_PATIENCE))
                .is_err(),
            Ready::Module {
                trigger,
                act,
                result,
            } => {
                let word = act.map_or("fire", Act::word);
                result.insert(trigger.write(word.as_bytes())).is_err()
            }
        };
        if failed {
            break;
        }
    }
    results(ready)
}

/// Says that all is ready, and waits for the line that lets it go.
fn hold() -> Result<(), Failure> {
    let doing = || "waiting to be let go".to_owned();
    let mut ready = serde_json::to_string(&Said::Ready).doing(doing)?;
    ready.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(ready.as_bytes())
        .and_then(|()| out.flush())
        .doing(doing)?;
    let mut line = String::new();
    BufReader::with_capacity(1, std::io::stdin())
        .read_line(&mut line)
        .doing(doing)?;
    std::thread::sleep(SETTLE_AGAIN);
    Ok(())
}

/// A step that the module does.
fn module<'a>(act: Option<Act>) -> Result<Ready<'a>, Failure> {
    Ok(Ready::Module {
        trigger: OpenOptions::new()
            .write(true)
            .open(TRIGGER)
            .doing(|| format!("opening {TRIGGER}"))?,
        act,
        result: None,
    })
}

fn become_process(scenario: &Scenario) -> Result<(), Failure> {
    let name =
        CString::new(scenario.comm.as_str()).doing(|| "naming the scenario's process".into())?;
    rustix::thread::set_name(&name).doing(|| "naming the scenario's process".into())?;
    let mut cpus = CpuSet::new();
    // In range: the parent has looked.
    cpus.set(
        usize::try_from(scenario.cpu)
            .unwrap_or(0)
            .min(CpuSet::MAX_CPU - 1),
    );
    sched_setaffinity(None, &cpus).doing(|| format!("binding the scenario to CPU {}", scenario.cpu))
}

/// The setup packet as it goes over the bus, and room for the data stage, each page touched.
fn setup_and_room(setup: &Setup) -> Vec<u8> {
    let mut buffer = vec![setup.request_type, setup.request];
    for word in [setup.value, setup.index, setup.length] {
        buffer.extend(word.to_le_bytes());
    }
    buffer.resize(buffer.len() + usize::from(setup.length), 0xa5);
    buffer
}

fn results(ready: Vec<Ready<'_>>) -> Result<Vec<GuestEvent>, Failure> {
    let mut events = Vec::new();
    for (step, played) in (0..).zip(ready) {
        let doing = |what| move || format!("step {step} of the scenario: {what}");
        events.push(match played {
            Ready::Urb {
                result: Some(result),
                ..
            } => {
                let urb = result.doing(doing("URB"))?;
                GuestEvent::UrbReaped {
                    step,
                    status: urb.status,
                    actual_length: urb.actual_length,
                }
            }
            Ready::Module {
                act,
                result: Some(result),
                ..
            } => {
                result.doing(doing(act.map_or("fault", Act::word)))?;
                match act {
                    None => GuestEvent::FaultReturned { step },
                    Some(_) => GuestEvent::ModuleActed { step },
                }
            }
            // Steps after a failed one, which has returned above.
            _ => {
                return Err(Failure::new(
                    format!("step {step} of the scenario"),
                    "not played",
                ));
            }
        });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_packet_is_little_endian_with_room_behind_it() {
        let buffer = setup_and_room(&Setup {
            request_type: 0x80,
            request: 6,
            value: 0x0302,
            index: 0x0409,
            length: 254,
        });
        assert_eq!(
            buffer[..8],
            [0x80, 0x06, 0x02, 0x03, 0x09, 0x04, 0xfe, 0x00]
        );
        assert_eq!(buffer.len(), 8 + 254);
    }

    #[test]
    fn a_failed_step_is_named_and_later_ones_do_not_hide_it() {
        let ready = vec![
            Ready::Module {
                trigger: File::open("/dev/null").unwrap(),
                act: None,
                result: Some(Ok(4)),
            },
            Ready::Module {
                trigger: File::open("/dev/null").unwrap(),
                act: None,
                result: Some(Err(std::io::ErrorKind::TimedOut.into())),
            },
            Ready::Module {
                trigger: File::open("/dev/null").unwrap(),
                act: None,
                result: None,
            },
        ];
        let failure = results(ready).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "step 1 of the scenario: fault: timed out"
        );
    }
}
