//! Reads `qemu/scenarios/*.toml` and says what is wrong in one. Plays nothing: the agent in the guest does.
use crate::config::{self, ConfigError};
use recrash_agent::plan::{Act, DeviceId, Property, Scenario, Setup, Step, UrbTarget};
use std::path::Path;

/// The faults that repro-module knows, the default first (`faults[]` in repro-module/core.c).
pub const FAULTS: &[&str] = &["duplicate-dma", "early-free", "early-free-fixed", "none"];

/// `TASK_COMM_LEN` without its NUL, in bytes.
const MAX_COMM: usize = 15;
/// The longest transfer that repro-module takes, in bytes (`REPRO_MAX_LENGTH` in repro-module/repro.h).
const MAX_LENGTH: u16 = 4096;
/// As many steps as a person may want to read.
const MAX_STEPS: usize = 256;
/// `CONFIG_NR_CPUS` of the largest x86-64 kernels, less one.
const MAX_CPU: u32 = 8191;
/// bmRequestType and bRequest of GET_DESCRIPTOR (USB 2.0, 9.4.3).
const GET_DESCRIPTOR: (u8, u8) = (0x80, 6);
/// `USB_DIR_IN` in bmRequestType.
const DIR_IN: u8 = 0x80;

/// Reads a scenario and checks that its values go together.
///
/// # Errors
/// [`ConfigError`] naming the file, and line and column where the text itself is wrong.
pub fn load(file: &Path) -> Result<Scenario, ConfigError> {
    let scenario: Scenario = config::load(file)?;
    check(&scenario).map_err(|message| ConfigError::Invalid {
        file: file.into(),
        message,
    })?;
    Ok(scenario)
}

/// Puts another fault in a scenario, for `--fault`.
///
/// # Errors
/// Names the known faults.
pub fn with_fault(mut scenario: Scenario, fault: &str) -> Result<Scenario, String> {
    check_fault(fault)?;
    scenario.fault = fault.into();
    Ok(scenario)
}

/// Parameters for repro-module that fit a scenario: its fault, and the device's transfer before the fault, which
/// `duplicate-dma` repeats and `early-free` submits itself.
///
/// # Errors
/// A scenario without such a transfer ([`load`] gives none), or whose transfer is not the GET_DESCRIPTOR that the
/// module submits for `early-free` and `early-free-fixed`.
pub fn module_params(scenario: &Scenario, device: DeviceId) -> Result<String, String> {
    let Setup {
        request_type,
        request,
        value,
        index,
        length,
    } = setup_before_fault(scenario)?;
    let DeviceId { vendor, product } = device;
    let fault = &scenario.fault;
    if fault.starts_with("early-free") && (request_type, request) != GET_DESCRIPTOR {
        return Err(format!(
            "fault {fault} submits GET_DESCRIPTOR itself; the scenario's transfer before it is request_type {request_type:#04x} request {request}"
        ));
    }
    Ok(format!(
        "fault={fault} vid={vendor:#06x} pid={product:#06x} value={value:#06x} index={index:#06x} length={length}"
    ))
}

fn check_fault(fault: &str) -> Result<(), String> {
    if FAULTS.contains(&fault) {
        Ok(())
    } else {
        Err(format!(
            "fault \"{fault}\" is unknown; expected one of {}",
            FAULTS.join(", ")
        ))
    }
}

fn check(scenario: &Scenario) -> Result<(), String> {
    let Scenario {
        summary,
        comm,
        cpu,
        fault,
        device: _,
        golden: _,
        needs: _,
        steps,
    } = scenario;
    if summary.contains('\n') {
        return Err("summary: expected one line".into());
    }
    if comm.is_empty() || comm.len() > MAX_COMM {
        return Err(format!(
            "comm \"{comm}\" has {} bytes; expected 1 to {MAX_COMM}",
            comm.len()
        ));
    }
    if comm.chars().any(char::is_control) {
        return Err(format!("comm {comm:?} has control characters"));
    }
    if *cpu > MAX_CPU {
        return Err(format!("cpu {cpu}: expected at most {MAX_CPU}"));
    }
    check_fault(fault)?;
    if steps.len() > MAX_STEPS {
        return Err(format!(
            "{} steps; expected at most {MAX_STEPS}",
            steps.len()
        ));
    }
    for (step, number) in steps.iter().zip(1..) {
        if let Step::Urb { setup, .. } = step {
            check_setup(setup).map_err(|error| format!("step {number}: {error}"))?;
        }
    }
    check_acts(steps)?;
    match steps.iter().filter(|step| **step == Step::Fault).count() {
        1 => setup_before_fault(scenario).map(|_| ()),
        faults => Err(format!("{faults} fault steps; expected exactly one")),
    }
}

/// What the module undoes or uses, it must have done before.
fn check_acts(steps: &[Step]) -> Result<(), String> {
    let mut done = Vec::new();
    for (step, number) in steps.iter().zip(1..) {
        let Step::Module { act } = step else { continue };
        let before = match act {
            Act::FollowVictim => Some(Act::TakeVictim),
            Act::UnparkSlab => Some(Act::ParkSlab),
            Act::TakeVictim | Act::ParkSlab | Act::WorkerAllocates => None,
        };
        if let Some(before) = before.filter(|before| !done.contains(before)) {
            return Err(format!(
                "step {number}: {} without {} before it",
                act.word(),
                before.word()
            ));
        }
        if done.contains(act) && *act != Act::WorkerAllocates {
            return Err(format!("step {number}: {} a second time", act.word()));
        }
        done.push(*act);
    }
    Ok(())
}

/// What a scenario needs and a kernel with these properties is not; empty where it fits.
#[must_use]
pub fn lacking(scenario: &Scenario, provides: &[Property]) -> Vec<Property> {
    let needs = scenario.needs.iter().copied();
    needs.filter(|need| !provides.contains(need)).collect()
}

fn check_setup(setup: &Setup) -> Result<(), String> {
    if setup.request_type & DIR_IN == 0 {
        return Err(format!(
            "request_type {:#04x} is not IN (bit 7): the steps only read from a device",
            setup.request_type
        ));
    }
    if setup.length == 0 || setup.length > MAX_LENGTH {
        return Err(format!(
            "length {}: expected 1 to {MAX_LENGTH}",
            setup.length
        ));
    }
    Ok(())
}

/// The last setup packet that goes to the device before the fault.
fn setup_before_fault(scenario: &Scenario) -> Result<Setup, String> {
    let before = scenario
        .steps
        .iter()
        .take_while(|step| **step != Step::Fault);
    before
        .filter_map(|step| match step {
            Step::Urb {
                to: UrbTarget::Device,
                setup,
            } => Some(*setup),
            _ => None,
        })
        .last()
        .ok_or_else(|| {
            "no urb step to the device before the fault: the fault would have nothing to repeat"
                .into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
summary = "s"
comm = "esdm-agent"
cpu = 1
fault = "none"
[[step]]
do = "urb"
to = "device"
setup = { request_type = 0x80, request = 6, value = 0x0302, index = 0x0409, length = 254 }
[[step]]
do = "fault"
"#;

    /// Loads [`GOOD`] with one replacement; the error's text holds `expected`.
    fn check(from: &str, to: &str, expected: &str) {
        assert!(GOOD.contains(from), "{from}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert!(error.contains(expected), "{error}");
    }

    fn shipped() -> Scenario {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../qemu/scenarios/string-then-root-hub.toml");
        load(&file).unwrap()
    }

    #[test]
    fn the_default_scenario_repeats_the_real_dumps() {
        let scenario = shipped();
        assert_eq!(scenario.comm, "esdm-agent");
        assert_eq!(scenario.fault, FAULTS[0]);
        let Some(Step::Urb { to, setup }) = scenario.steps.last() else {
            panic!("ends with a URB");
        };
        assert_eq!((*to, setup.length), (UrbTarget::RootHub, 254));
    }

    #[test]
    fn the_module_is_told_the_devices_last_transfer_before_the_fault() {
        let device = DeviceId {
            vendor: 0x1209,
            product: 2,
        };
        assert_eq!(
            module_params(&shipped(), device).unwrap(),
            "fault=duplicate-dma vid=0x1209 pid=0x0002 value=0x0302 index=0x0409 length=254"
        );
    }

    #[test]
    fn early_free_wants_a_get_descriptor_before_it() {
        let mut scenario = with_fault(shipped(), "early-free").unwrap();
        if let Step::Urb { setup, .. } = &mut scenario.steps[0] {
            setup.request = 0;
        }
        let device = DeviceId {
            vendor: 1,
            product: 2,
        };
        let error = module_params(&scenario, device).unwrap_err();
        assert!(error.contains("GET_DESCRIPTOR"), "{error}");
    }

    #[test]
    fn another_fault_is_taken_if_it_is_known() {
        assert_eq!(
            with_fault(shipped(), "early-free").unwrap().fault,
            "early-free"
        );
        assert!(
            with_fault(shipped(), "late-free")
                .unwrap_err()
                .contains("early-free-fixed")
        );
    }

    #[test]
    fn a_comm_of_sixteen_bytes_is_an_error() {
        check("esdm-agent", "sixteen-bytes-xx", "16 bytes");
    }

    #[test]
    fn an_unknown_fault_is_an_error() {
        check("\"none\"", "\"nonne\"", "\"nonne\" is unknown");
    }

    #[test]
    fn a_scenario_without_a_fault_step_is_an_error() {
        check(
            "[[step]]\ndo = \"fault\"\n",
            "",
            "0 fault steps; expected exactly one",
        );
    }

    #[test]
    fn two_fault_steps_are_an_error() {
        check(
            "do = \"fault\"",
            "do = \"fault\"\n[[step]]\ndo = \"fault\"",
            "2 fault steps",
        );
    }

    #[test]
    fn a_fault_with_nothing_to_repeat_is_an_error() {
        check("\"device\"", "\"root-hub\"", "nothing to repeat");
    }

    #[test]
    fn what_a_kernel_must_be_like_is_told_from_what_it_is() {
        let mut scenario = shipped();
        assert_eq!(lacking(&scenario, &[]), []);
        scenario.needs = vec![Property::FreelistAtStart];
        assert_eq!(lacking(&scenario, &[]), [Property::FreelistAtStart]);
        assert_eq!(lacking(&scenario, &[Property::FreelistAtStart]), []);
    }

    #[test]
    fn a_victim_must_be_taken_before_it_is_followed() {
        check(
            "do = \"fault\"",
            "do = \"fault\"\n[[step]]\ndo = \"module\"\nact = \"follow-victim\"",
            "step 3: follow-victim without take-victim before it",
        );
    }

    #[test]
    fn an_act_that_the_module_does_not_know_is_an_error() {
        check(
            "do = \"fault\"",
            "do = \"module\"\nact = \"dance\"",
            "unknown variant `dance`",
        );
    }

    #[test]
    fn every_shipped_scenario_is_read_and_names_a_device_that_is_there() {
        let qemu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../qemu");
        for entry in std::fs::read_dir(qemu.join("scenarios")).unwrap() {
            let file = entry.unwrap().path();
            let scenario = load(&file).unwrap();
            if let Some(device) = scenario.device {
                let device = qemu.join("devices").join(device).with_extension("toml");
                assert!(device.is_file(), "{}", file.display());
            }
        }
    }

    #[test]
    fn an_out_request_is_an_error() {
        check("0x80", "0x00", "step 1: request_type 0x00 is not IN");
    }

    #[test]
    fn a_length_beyond_4096_is_an_error() {
        check("254", "4097", "step 1: length 4097");
    }

    #[test]
    fn an_unknown_key_names_its_line() {
        check("cpu = 1", "cpu = 1\ncpus = 2", ":5:1: unknown field `cpus`");
    }
}
