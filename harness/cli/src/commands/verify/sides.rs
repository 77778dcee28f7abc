//! The two sides of a verification: the baseline is what the options say, the candidate the same with one thing changed.
//! What a changed kernel would bring along by itself (another scenario, device, machine) is pinned to the baseline's.
//! Boots nothing.
use anyhow::anyhow;
use recrash_machine::capture::CaptureMode;
use recrash_signature::store::Golden;
use std::path::Path;
use std::str::FromStr;

use crate::commands::capture_args::ModeArg;
use crate::commands::run::plan::Plan;
use crate::commands::run::reproduction::Reproduction;
use crate::commands::target;
use crate::failure::Failure;
use crate::verify::summary::Difference;

/// What `--candidate` can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Target,
    Append,
    Fault,
    Device,
    Qemu,
}

const KEYS: [(&str, Key); 5] = [
    ("target", Key::Target),
    ("append", Key::Append),
    ("fault", Key::Fault),
    ("device", Key::Device),
    ("qemu", Key::Qemu),
];

/// `--candidate KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    name: &'static str,
    key: Key,
    value: String,
}

impl FromStr for Candidate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = KEYS.map(|(name, _)| name).join(", ");
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected KEY=VALUE; KEY is one of {names}"))?;
        let (name, key) = KEYS
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("there is no {name:?} to change; one of {names}"))?;
        if value.trim().is_empty() {
            return Err(format!("{name}= changes nothing: expected {name}=VALUE"));
        }
        Ok(Self {
            name,
            key,
            value: value.to_owned(),
        })
    }
}

/// One of the two.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// Its options, with what the plan came to.
    pub(super) what: Reproduction,
}

/// Both.
pub(super) struct Sides {
    pub(super) baseline: Prepared,
    pub(super) candidate: Prepared,
    pub(super) golden: Golden,
    pub(super) difference: Difference,
    /// What was made alike, and what a person has to know of it.
    pub(super) notes: Vec<String>,
}

impl Sides {
    /// Whether both have the same device, so that it must answer the same bytes.
    pub(super) fn same_device(&self) -> bool {
        self.baseline.plan.device == self.candidate.plan.device
    }
}

/// Puts them together.
///
/// # Errors
/// Usage: what is wrong with either, before anything boots.
pub(super) fn prepare(
    target_name: &str,
    what: &Reproduction,
    candidate: &Candidate,
) -> Result<Sides, Failure> {
    one_capture(what)?;
    let plan = what.resolve(target::load(target_name)?)?;
    let golden = what.golden(&plan)?;
    let pinned = pin(what, &plan);
    let mut changed = pinned.clone();
    let mut notes = Vec::new();
    let value = candidate.value.clone();
    let mut identical = false;
    let was = match candidate.key {
        Key::Target => {
            identical = value == plan.target.name;
            plan.target.name.clone()
        }
        Key::Append => {
            changed.append.push(value.clone());
            String::new()
        }
        Key::Fault => {
            identical = value == plan.scenario.fault;
            changed.fault = Some(value.clone());
            plan.scenario.fault.clone()
        }
        Key::Device => {
            identical = value == plan.device_name;
            changed.device = Some(value.clone());
            changed.hardware.usb_host = None;
            plan.device_name.clone()
        }
        Key::Qemu => {
            identical = what.qemu.as_deref() == Some(Path::new(&value));
            changed.qemu = Some(value.clone().into());
            let was = what.qemu.as_ref();
            was.map_or_else(
                || "qemu-system-x86_64 on the path".into(),
                |path| path.display().to_string(),
            )
        }
    };
    let mut kernel = target::load(match candidate.key {
        Key::Target => &value,
        _ => &plan.target.name,
    })?;
    if candidate.key == Key::Target {
        if let Some(why) = &kernel.left_out {
            return Err(Failure::usage(anyhow!(
                "target {} is left out: {why}",
                kernel.name
            )));
        }
        if kernel.machine != plan.target.machine {
            notes.push(format!(
                "both run on the machine of target {}; that of {} is another",
                plan.target.name, kernel.name
            ));
            kernel.machine = plan.target.machine.clone();
        }
        if kernel.boot.cmdline != plan.target.boot.cmdline {
            notes.push(format!(
                "the command line belongs to the kernel: target {} has {:?}, target {} has {:?}",
                plan.target.name, plan.target.boot.cmdline, kernel.name, kernel.boot.cmdline
            ));
        }
    }
    let other = changed.resolve(kernel)?;
    if other.capture != plan.capture {
        notes.push("how the memory is saved is each target's own".into());
    }
    Ok(Sides {
        difference: Difference {
            key: candidate.name,
            baseline: was,
            candidate: value,
            identical,
        },
        baseline: Prepared { plan, what: pinned },
        candidate: Prepared {
            plan: other,
            what: changed,
        },
        golden,
        notes,
    })
}

/// A list would be a matrix.
pub(in crate::commands) fn one_capture(what: &Reproduction) -> Result<(), Failure> {
    if what.capture.modes().len() > 1 {
        return Err(Failure::usage(anyhow!(
            "--capture: one way to save the memory, not a list"
        )));
    }
    Ok(())
}

/// The options that name what the plan came to, so that another kernel's defaults change nothing.
pub(in crate::commands) fn pin(what: &Reproduction, plan: &Plan) -> Reproduction {
    let mut pinned = what.clone();
    pinned.scenario = Some(plan.scenario_name.clone());
    pinned.fault = Some(plan.scenario.fault.clone());
    if pinned.hardware.usb_host.is_none() {
        pinned.device = Some(plan.device_name.clone());
    }
    let controller = plan.target.machine.usb_controller;
    pinned.hardware.controller = Some(controller.name().to_owned());
    // A physical device has the speed that it has.
    if plan.device.physical().is_none() {
        let speed = plan.device.speed();
        pinned.hardware.speed = speed.map(|speed| speed.name().to_owned());
    }
    pinned.capture = what.capture.with_mode(Some(match plan.capture.mode {
        CaptureMode::Kdump => ModeArg::Kdump,
        CaptureMode::Qemu => ModeArg::Qemu,
        CaptureMode::Both => ModeArg::Both,
    }));
    pinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        what: Reproduction,
    }

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        let found = text.parse::<Candidate>();
        let found = found.as_ref().map(|one| (one.name, one.value.as_str()));
        assert_eq!(found.map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn a_candidate_is_a_key_and_a_value() {
        check("fault=none", Ok(("fault", "none")));
        check("append=a=b c", Ok(("append", "a=b c")));
        check(
            "fault",
            Err("expected KEY=VALUE; KEY is one of target, append, fault, device, qemu"),
        );
        check(
            "speed=high",
            Err("there is no \"speed\" to change; one of target, append, fault, device, qemu"),
        );
        check(
            "append= ",
            Err("append= changes nothing: expected append=VALUE"),
        );
    }

    /// The sides of a command line; an error's text.
    fn sides(options: &[&str], candidate: &str) -> Result<Sides, String> {
        let line = Line::parse_from(["verify"].iter().chain(options));
        let candidate = candidate.parse().unwrap();
        prepare("el8-layout", &line.what, &candidate).map_err(|failure| failure.chain())
    }

    /// Everything that makes a side another one, in words.
    fn words(side: &Prepared) -> Vec<String> {
        let Plan {
            target,
            device_name,
            device: _,
            scenario_name,
            scenario,
            module_params: _,
            append,
            capture,
            root: _,
        } = &side.plan;
        vec![
            format!("target {}", target.name),
            format!("machine {:?}", target.machine),
            format!("device {device_name}"),
            format!("scenario {scenario_name}"),
            format!("fault {}", scenario.fault),
            format!("append {append:?}"),
            format!("capture {:?}", capture.mode),
            format!("qemu {:?}", side.what.qemu),
        ]
    }

    /// What differs, as baseline and candidate.
    fn check_sides(options: &[&str], candidate: &str, expected: &[(&str, &str)]) -> Sides {
        let sides = sides(options, candidate).unwrap();
        let (a, b) = (words(&sides.baseline), words(&sides.candidate));
        let differ: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a != b).collect();
        let differ: Vec<_> = differ
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(differ, expected);
        sides
    }

    #[test]
    fn exactly_the_named_thing_differs() {
        let early = ["--fault", "early-free"];
        let fixed = "fault=early-free-fixed";
        let expected = ("fault early-free", "fault early-free-fixed");
        check_sides(&early, fixed, &[expected]);
        let expected = ("append []", "append [\"swiotlb=force\"]");
        check_sides(&[], "append=swiotlb=force", &[expected]);
        let expected = ("device virtual-media", "device wrong-type");
        let sides = check_sides(&[], "device=wrong-type", &[expected]);
        assert!(!sides.same_device());
        let expected = ("qemu None", "qemu Some(\"/opt/qemu\")");
        check_sides(&[], "qemu=/opt/qemu", &[expected]);
    }

    /// The target debian would bring another device, another machine and another way to boot.
    #[test]
    fn another_kernel_brings_nothing_else() {
        let expected = ("target el8-layout", "target debian");
        let sides = check_sides(&["--capture", "qemu"], "target=debian", &[expected]);
        assert!(sides.notes[0].starts_with("both run on the machine of target el8-layout"));
        assert!(sides.notes[1].contains("the command line belongs to the kernel"));
    }

    #[test]
    fn sides_that_are_the_same_are_allowed_and_known_as_such() {
        let sides = check_sides(&[], "fault=duplicate-dma", &[]);
        assert!(sides.difference.identical && sides.same_device());
        let sides = check_sides(&[], "target=el8-layout", &[]);
        assert!(sides.difference.identical && sides.notes.is_empty());
        let early = ["--fault", "early-free"];
        let sides = check_sides(&early, "fault=early-free", &[]);
        assert!(sides.difference.identical);
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_boots() {
        let refused = |options: &[&str], candidate: &str, why: &str| {
            let error = sides(options, candidate).err().unwrap();
            assert!(error.contains(why), "{error}");
        };
        refused(&[], "fault=nonsense", "nonsense");
        refused(&[], "device=nonsense", "there is no \"nonsense\"");
        refused(&[], "target=nonsense", "there is no target \"nonsense\"");
        refused(&[], "target=debian-cloud", "is left out");
        refused(&["--capture", "kdump,qemu"], "fault=none", "not a list");
        let short = ["--scenario", "short-string-in-kmalloc-32"];
        refused(&short, "target=debian", "does not provide");
    }
}
